"""`quicklook hk`: its output and exit status."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from monitor.hk import figure as figures
from monitor.hk.loading import load_hk
from monitor.hk.monitor import HkMonitor
from monitor.hk.store import HkStore
from monitor.render.renderer import render_png
from quicklook.cli.hkwatch import _changed
from quicklook.cli.main import app
from quicklook.core.document import Document
from quicklook.core.housekeeping import Batch, HkChange, HkState
from quicklook.core.housekeeping_watch import HkRow, HkSeries
from quicklook.core.plots import Plot, Scatter
from quicklook.core.severity import Severity

CONFIG = """
sources:
  log: {plugin: text, params: {path: "x/HK_*.csv"}}
defaults: {stale_after_s: 100}
limits:
  - {name: temp, channels: t, unit: degC, performance: [-1, 1], survival: [-5, 5], reason: It matters., action: Cool it.}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "hk.yaml").write_text(CONFIG)
    return tmp_path


def log(place: Path, values: list[str], name: str = "HK_1.csv") -> Path:
    path = place / name
    path.write_text("time,t\n" + "".join(f"2020-01-01T00:{i // 60:02d}:{i % 60:02d},{v}\n" for i, v in enumerate(values)))
    return path


def run(place: Path, *args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["hk", *args, "--config", str(place / "hk.yaml")])
    return done.exit_code, done.output if done.exception is None or isinstance(done.exception, SystemExit) else repr(done.exception)


def test_a_log_is_replayed(place: Path) -> None:
    assert run(place, "check")[0] == 0
    assert run(place, "check", str(log(place, ["0"] * 5)))[0] == 0
    code, said = run(place, "check", str(log(place, ["0", "2", "0"])))
    assert (code, "t temp: 2 degC above 1 degC, performance" in said) == (0, True)
    code, said = run(place, "check", str(log(place, ["0", "9", "1e20"])))
    assert (code, "ALARM" in said, "1 excursions in 1 days" in said) == (1, True, True)
    assert run(place, "check", str(log(place, [])))[0] == 3
    assert run(place, "check", str(log(place, ["0"] + ["1e20"] * 200)))[0] == 3


def test_a_folder_and_json(place: Path) -> None:
    log(place, ["0", "9"], "HK_1.csv")
    (place / "HK_2.csv").write_text("time,t\n2020-01-03T00:00:00,0\nbroken\n")
    code, said = run(place, "check", str(place), "--json")
    found = json.loads(said)
    assert (code, found["rows"], found["per_day"]["2020-01-01"], len(found["faults"])) == (1, 3, 1, 1)
    assert found["changes"][0]["action"] == "Cool it."


def test_what_cannot_be_read_is_said(place: Path) -> None:
    for args in (["check", str(place / "nothing")], ["check", str(log(place, ["0"], "other.csv"))], ["check", str(place), "--source", "wrong"]):
        code, said = run(place, *args)
        assert code != 0
        assert "BadConfig" in said


def test_history_of_a_log_and_of_a_store(place: Path) -> None:
    code, said = run(place, "history", str(log(place, ["1", "2", "1e20", "4"])), "-n", "t", "--bins", "1")
    assert (code, "4 samples, 1 masked" in said, said.split()[-3:]) == (0, True, ["1", "2", "4"])
    store = HkStore(place / "hk.db", writing=True)
    store.append("log", [Batch(source="log", times=np.arange(10.0) + 1.5e9, channels=("t",), values=np.arange(10.0)[:, None])], {})
    store.close()
    code, said = run(place, "history", str(place / "hk.db"), "-n", "t*", "--bins", "2", "--json")
    assert code == 0
    assert [b["median"] for b in json.loads(said)["t"]["bins"]] == [2.0, 7.0]
    assert run(place, "history", str(place / "hk.db"), "-n", "u")[0] == 3
    assert run(place, "history", str(place / "hk.db"), "-n", "t", "--until", "2017-01-01")[0] == 3


def test_what_people_would_be_told_of_a_log(place: Path) -> None:
    path = log(place, ["0", "9", "9", "0", "0", "0"])
    (place / "HK_2.csv").write_text("time,t\n2020-01-03T00:00:00,0\n")
    code, said = run(place, "check", str(place), "--messages", "--json")
    days = {d["day"]: d for d in json.loads(said)["days"]}
    assert (code, days["2020-01-01"]["began"], days["2020-01-01"]["ended"]) == (1, 1, 1)
    assert days["2020-01-03"]["about"] == {"source:log": 1}, "two days of silence are told"
    code, said = run(place, "check", str(path), "--messages")
    assert "at most 1 a day" in said
    code, said = run(place, "check", str(log(place, [], "HK_9.csv")), "--messages")
    assert (code, said.strip()) == (3, "no samples: nothing was judged")
    assert json.loads(run(place, "check", str(place / "HK_9.csv"), "--messages", "--json")[1])["days"] == []
    assert "there is no such severity" in run(place, "check", str(path), "--messages", "--least", "loud")[1]


def test_a_log_is_watched(place: Path) -> None:
    path = log(place, ["0", "9", "1e20"])
    code, said = run(place, "watch", "--path", str(path), "--once", "--lite")
    assert (code, said.splitlines()[0].split()[:4]) == (1, ["ALARM", "t", "9", "degC"])
    assert "no valid sample since" in said.splitlines()[0]
    assert " d " in said, "it is old, and that is said"
    code, said = run(place, "watch", "--path", str(log(place, ["0"], "HK_3.csv")), "--once", "--warnings")
    assert (code, "STALE" in said) == (1, True), "a source that is silent is an alarm"
    now = datetime.now(UTC)
    fresh = place / "HK_4.csv"
    fresh.write_text("time,t,word\n" + "".join(f"{(now - timedelta(seconds=5 - i)).isoformat()},{i / 9},on\n" for i in range(5)))
    code, said = run(place, "watch", "--path", str(fresh), "--once")
    assert (code, "NORMAL" in said, "temp: -1 .. 1" in said, " on " in said) == (0, True, True, True)
    code, said = run(place, "watch", "--path", str(fresh), "--once", "--warnings")
    assert (code, "STALE" in said, "0 shown" in said) == (0, False, True), "what is not shown counts for the exit status"
    for args, words in ((("--remote", "x", "--path", "y"), "one of --path"), (("--mirror", "m"), "no such place"), ((), "what is to be watched")):
        assert words in run(place, "watch", "--once", *args)[1]


def test_what_is_not_judged_is_not_called_good(place: Path) -> None:
    """A limit whose reference never came: neither an alarm nor all is well."""
    text = CONFIG + "  - {name: pair, channels: u, kind: relative, reference: gone, performance: [-1, 1], reason: R, action: A}\n"
    (place / "hk.yaml").write_text(text.replace("stale_after_s: 100", "stale_after_s: 100, stale_severity: NOTICE"))
    now = datetime.now(UTC)
    (place / "HK_4.csv").write_text("time,t,u\n" + "".join(f"{(now - timedelta(seconds=5 - i)).isoformat()},{i / 9},0\n" for i in range(5)))
    code, said = run(place, "watch", "--path", str(place / "HK_4.csv"), "--once", "--lite")
    assert (code, [line.split()[0] for line in said.splitlines() if " u " in line]) == (3, ["UNKNOWN"])


def test_a_folder_of_a_strange_name_is_watched(place: Path) -> None:
    (folder := place / "night[/red]").mkdir(parents=True)
    assert "[/red]/HK_1.csv,judgedhere" in "".join(run(place, "watch", "--path", str(log(folder, ["0"])), "--once")[1].split())


def test_faults_of_a_log_that_is_watched_are_shown(place: Path) -> None:
    path = log(place, ["0"])
    path.write_text(path.read_text() + "2020-01-01T00:01:00,1,2,3\n2020-01-01T00:02:00,4,5,6\n")
    _, said = run(place, "watch", "--path", str(path), "--once")
    assert "2 faults in it, the last one:" in " ".join(said.split())


def test_what_falls_silent_twice_is_told_twice() -> None:
    silent = HkRow(name="source:log", state=HkState.STALE, why="it gave no sample")
    known: dict[str, str] = {}
    told = [list(_changed(rows, known, warnings=True)) for rows in ([silent], [silent], [], [], [silent])]
    assert [len(t) for t in told] == [1, 0, 1, 0, 1]
    assert told[2][0].split()[:2] == ["over", "source:log"]


def test_a_figure_says_where_its_samples_were_not_judged(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = Document.from_data(yaml.safe_load(CONFIG), "hk.yaml")
    config, path, titles = load_hk(doc), log(place, ["0", "9", "9", "0"]), list[str]()
    monkeypatch.setattr("monitor.render.renderer.render_png", lambda plot: titles.append(plot.title) or b"")
    figures.drawn(config, path, ["t"], -math.inf, math.inf, "", "png")
    monkeypatch.setattr(figures, "_MOST_JUDGED", 3)
    figures.drawn(config, path, ["t"], -math.inf, math.inf, "", "png")
    assert titles == ["Housekeeping", "Housekeeping: more than 3 rows, not judged against limits"]


def test_a_store_is_watched_as_the_daemon_knows_it(place: Path) -> None:
    start = time.time() - 30
    (place / "x").mkdir()
    (place / "x/HK_1.csv").write_text("time,t\n" + "".join(f"{datetime.fromtimestamp(start + i, UTC).isoformat()},{v}\n" for i, v in enumerate((0, 9))))
    doc = Document.from_data({**yaml.safe_load(CONFIG), "sources": {"log": {"plugin": "text", "params": {"path": str(place / "x/HK_*.csv")}}}}, "hk.yaml")
    watch = HkMonitor().watch(doc, place / "hk.db", start)
    watch.turn(start + 5)
    watch.close()
    code, said = run(place, "watch", "--path", str(place / "hk.db"), "--once")
    assert (code, "ALARM" in said, "as the daemon knows it" in said) == (1, True, True)


def test_channels_are_drawn(place: Path) -> None:
    path = log(place, ["0", "0.5", "1e20", "9", "9", "0.2"])
    code, _ = run(place, "plot", "t", "--path", str(path), "--out", str(place / "t.png"))
    assert (code, (place / "t.png").read_bytes()[:4]) == (0, b"\x89PNG")
    assert run(place, "plot", "t", "--path", str(path), "--out", str(place / "t.pdf"))[0] == 0
    assert run(place, "plot", "nothing", "--path", str(path), "--out", str(place / "t.png"))[0] == 3
    assert "ends in .png" in run(place, "plot", "t", "--path", str(path), "--out", str(place / "t.jpg"))[1]


def test_a_time_that_ends_before_it_begins_is_said(place: Path) -> None:
    path = str(log(place, ["0", "1"]))
    for command in (("history", path, "-n", "t"), ("plot", "t", "--path", path, "--out", str(place / "x.png"))):
        code, said = run(place, *command, "--since", "2020-01-02", "--until", "2020-01-01")
        assert code != 0
        assert "is not after" in said
        assert "no channel" not in said


def test_a_mark_looks_the_same_in_every_panel_and_none_is_off_the_axis() -> None:
    """A layer's place gives its colour and shape."""
    config = load_hk(Document.from_data(yaml.safe_load(CONFIG), "hk.yaml"))
    times = np.arange(0.0, 100.0, 10.0)
    series = [HkSeries(channel=n, unit="", times=times, values=np.ma.MaskedArray(np.zeros(10), mask=np.arange(10) == m)) for n, m in (("t", 3), ("u", 99))]
    common = {"kind": "absolute", "before": HkState.NORMAL, "severity": Severity.ALARM, "since": 0.0}
    changes = [
        HkChange(subject="t/temp", channel="t", limit="temp", state=HkState.VIOLATING, time=50.0, **common),
        *(HkChange(subject=f"{n}/data", channel=n, limit="data", state=HkState.STALE, time=600.0, **common) for n in ("t", "u")),
    ]
    panels = figures.figure(config, series, changes).panels
    places = [[i for i, layer in enumerate(p.layers) if getattr(layer, "label", "").startswith("stale")] for p in panels]
    assert places[0] == places[1]
    assert len(places[0]) == 1
    for panel in panels:
        low, high = panel.x.range
        assert low is not None
        assert high is not None
        stale = panel.layers[places[0][0]]
        assert isinstance(stale, Scatter)
        assert low <= float(stale.x[0]) <= high
        assert render_png(Plot(name="x", title="x", panels=(panel,))).startswith(b"\x89PNG")
