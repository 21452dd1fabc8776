"""`quicklook hk`: its output and exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.hk.store import HkStore
from quicklook.cli.main import app
from quicklook.core.housekeeping import Batch

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
    import numpy as np

    store = HkStore(place / "hk.db", writing=True)
    store.append("log", [Batch(source="log", times=np.arange(10.0) + 1.5e9, channels=("t",), values=np.arange(10.0)[:, None])], {})
    store.close()
    code, said = run(place, "history", str(place / "hk.db"), "-n", "t*", "--bins", "2", "--json")
    assert code == 0
    assert [b["median"] for b in json.loads(said)["t"]["bins"]] == [2.0, 7.0]
    assert run(place, "history", str(place / "hk.db"), "-n", "u")[0] == 3
    assert run(place, "history", str(place / "hk.db"), "-n", "t", "--until", "2017-01-01")[0] == 3
