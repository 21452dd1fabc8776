"""Page Housekeeping: every channel with its limits; what is old, or not watched, is never green."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from web_host import Writer, serving, web_site

from monitor.hk.checker import Checker
from monitor.hk.loading import load_hk
from monitor.hk.memory import remembered
from monitor.hk.store import HkStore
from monitor.web.pages.housekeeping_channels import thinned
from quicklook.core.events import HkChanged
from quicklook.core.housekeeping import Batch, HkChange, HkState
from quicklook.core.housekeeping_watch import HkSeries
from quicklook.core.severity import Severity
from quicklook.io.configfiles import find_config

CONFIG: dict[str, Any] = {
    "defaults": {"stale_after_s": 60},
    "sources": {"roe": {"plugin": "text", "params": {"path": "roe.txt"}}},
    "channels": [{"name": "temp_*", "unit": "degC"}],
    "limits": [{"name": "cold", "channels": "temp_*", "unit": "degC", "performance": [-125, -115], "survival": [-150, -90], "reason": "dark", "action": "cool"}],
}


def _writer(folder: Path, **given: Any) -> Writer:
    (folder / "out").mkdir()
    (folder / "hk.yaml").write_text(yaml.safe_dump({**CONFIG, **given}))
    return Writer(web_site(folder, housekeeping={"config": str(folder / "hk.yaml")}))


def _sample(writer: Writer, ages: list[float], values: dict[str, list[float]]) -> None:
    store = HkStore(writer.site.out / "hk.sqlite", writing=True)
    times = np.array([time.time() - a for a in ages])
    store.append("roe", [Batch(source="roe", times=times, channels=tuple(values), values=np.array(list(values.values())).T)], {})
    store.close()


def _change(channel: str, state: HkState, value: float) -> HkChange:
    now = time.time()
    return HkChange(subject=f"{channel}/cold", channel=channel, limit="cold", kind="absolute", state=state, before=HkState.UNKNOWN,
                    severity=Severity.WARNING if state is HkState.VIOLATING else Severity.NONE, time=now, since=now, value=value, unit="degC",
                    reason="dark", action="cool")  # fmt: skip


def test_states_are_those_of_events_and_of_age(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    _sample(writer, [30.0, 20.0, 10.0], {"temp_1": [-120, -120, -119], "temp_2": [-120, -100, -90], "temp_3": [-120, -120, -120], "free": [1, 2, 3]})
    _sample(writer, [3000.0], {"temp_old": [-120.0]})
    writer.beat()
    states = {"temp_1": HkState.NORMAL, "temp_2": HkState.VIOLATING, "temp_old": HkState.NORMAL}
    writer.say(HkChanged(changes=[_change(c, s, -119.0) for c, s in states.items()]))
    with serving(writer.site) as served:
        said = served.get("/housekeeping").json
        found = {c["name"]: c for c in said["channels"]}
        assert {n: c["state"] for n, c in found.items()} == {
            "temp_1": "NORMAL", "temp_2": "VIOLATING", "temp_3": "UNKNOWN", "temp_old": "STALE", "free": "OFF",
        }  # fmt: skip
        assert said["channels"][0]["name"] == "temp_2", "the worst first"
        assert found["temp_1"]["value"] == -119
        assert found["temp_1"]["unit"] == "degC"
        assert [v for v in found["temp_2"]["spark"] if v is not None] != []
        assert found["temp_1"]["limits"][0]["words"] == "normal -125 to -115 degC, survives -150 to -90 degC"
        series = served.get("/housekeeping/series?channel=temp_2&start=-3600").json
        assert series["values"] == [-120, -100, -90]
        assert served.get("/housekeeping/series?channel=../x").status == 404


def test_nothing_is_green_where_the_daemon_is_silent(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    _sample(writer, [1.0], {"temp_1": [-120.0]})
    writer.say(HkChanged(changes=[_change("temp_1", HkState.NORMAL, -120.0)]))  # and no sign of life
    with serving(writer.site) as served:
        said = served.get("/housekeeping").json
        assert said["watched"] is False
        assert said["counts"] == {"STALE": 1}


def test_every_channel_with_a_limit_and_every_source_is_there_before_anything_was_told(tmp_path: Path) -> None:
    limits = [*CONFIG["limits"], {**CONFIG["limits"][0], "name": "warm", "channels": ["named"]}]
    writer = _writer(tmp_path, limits=limits)
    _sample(writer, [9000.0], {"temp_9": [-120.0], "free": [1.0]})
    with serving(writer.site) as served:
        said = served.get("/housekeeping").json
        assert {c["name"]: c["state"] for c in said["channels"]} == {"named": "UNKNOWN", "temp_9": "UNKNOWN", "free": "STALE"}
        assert [(s["name"], s["state"]) for s in said["sources"]] == [("source:roe", "STALE")]
        writer.beat()
        said = served.get("/housekeeping").json
        assert {c["name"]: c["state"] for c in said["channels"]} == dict.fromkeys(("named", "temp_9", "free"), "STALE"), "samples of hours ago, or none"
        assert [(s["name"], s["state"]) for s in said["sources"]] == [("source:roe", "UNKNOWN")], "nothing was told of it"
        silent = HkChange(subject="source:roe", channel="", limit="silence", kind="silence", state=HkState.STALE, before=HkState.NORMAL,
                          severity=Severity.WARNING, time=time.time(), since=time.time(), text="it gave no sample")  # fmt: skip
        writer.say(HkChanged(changes=[silent]))
        assert [(s["name"], s["said"]) for s in served.get("/housekeeping").json["sources"]] == [("source:roe", "it gave no sample")]


def test_a_source_that_speaks_from_the_beginning_has_the_state_of_its_last_sample(tmp_path: Path) -> None:
    """Nothing is told of one that is never silent: what the watch has noted with its samples says when it spoke."""
    sources = {name: {"plugin": "text", "params": {"path": f"{name}.txt"}, "silent_after_s": 60} for name in ("roe", "late", "never")}
    writer = _writer(tmp_path, sources=sources)
    config = load_hk(find_config("hk", str(tmp_path / "hk.yaml")))
    now = time.time()
    checker = Checker(config, now - 500)
    for name, age in (("late", 400.0), ("roe", 5.0)):
        checker.feed(Batch(source=name, times=np.array([now - age]), channels=(f"temp_{name}",), values=np.array([[-120.0]])))
    store = HkStore(writer.site.out / "hk.sqlite", writing=True)
    store.put([], {"checker": remembered(checker)})
    store.close()
    writer.beat()
    with serving(writer.site) as served:
        found = {s["name"]: (s["state"], s["said"]) for s in served.get("/housekeeping").json["sources"]}
    assert found["source:roe"] == ("NORMAL", "its samples come")
    assert found["source:late"][0] == "STALE"
    assert found["source:never"] == ("UNKNOWN", "it has given no sample yet")


def test_a_note_of_the_watch_that_cannot_be_read_costs_no_channel(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    _sample(writer, [5.0], {"temp_1": [-120.0]})
    store = HkStore(writer.site.out / "hk.sqlite", writing=True)
    store.put([], {"checker": b"no such thing"})
    store.close()
    writer.beat()
    with serving(writer.site) as served:
        said = served.get("/housekeeping").json
    assert [c["name"] for c in said["channels"]] == ["temp_1"]
    assert [s["state"] for s in said["sources"]] == ["UNKNOWN"]


def test_a_channel_of_many_samples_is_thinned_and_keeps_its_extremes(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    n = 5000
    values = np.sin(np.arange(n) / 50.0)
    values[1234] = 40.0
    _sample(writer, list(np.linspace(3000, 10, n)), {"temp_1": list(values)})
    with serving(writer.site) as served:
        said = served.get("/housekeeping/series?channel=temp_1&points=200").json
        assert said["thinned"]
        assert len(said["times"]) <= 200
        assert max(v for v in said["values"] if v is not None) == 40.0
        assert said["times"] == sorted(said["times"])


def test_none_is_watched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path))
    writer.beat()
    with serving(writer.site) as served:
        assert served.get("/housekeeping").json["configured"] is False
        assert served.get("/housekeeping/series?channel=x").status == 404


@pytest.mark.parametrize(("every", "kept"), [(100, [0, 100, 200, 299]), (1, list(range(291, 300))), (300, [0, 299])])
def test_of_words_the_last_changes_are_kept_and_that_it_stayed_so(every: int, kept: list[int]) -> None:
    n = np.arange(300)
    one = HkSeries(channel="state", unit="", times=n * 10.0, values=np.ma.array(n // every % 2.0), words=("on", "off"))
    assert list(thinned(one, 10)) == kept
