"""The watch: what fails stops nothing else and is told; a restart goes on where it was; the cost of 1000 channels."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hk_tools import WHY, MemorySource, batch

from monitor.hk.loading import load_hk
from monitor.hk.monitor import HkMonitor
from monitor.hk.watch import Watch
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.housekeeping import Taken

LIMIT = {"name": "temp", "channels": "t*", "performance": [-1, 1], **WHY}


def made(monkeypatch: pytest.MonkeyPatch, path: Path, *names: str, **more: object) -> tuple[Watch, dict[str, MemorySource]]:
    sources = {n: MemorySource() for n in names or ("s",)}
    monkeypatch.setattr("monitor.hk.watch.make_source", lambda _c, name: sources[name])
    data = {"sources": {n: {"plugin": "text"} for n in sources}, "limits": [LIMIT], **more}
    return Watch(load_hk(Document.from_data(data, "x")), path / "hk.db", 0.0), sources


def test_samples_are_stored_and_judged_and_a_restart_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    sources["s"].coming = [Taken(batches=(batch([1, 2], t=[0, 5]),), positions={"k": "2"})]
    changes = watch.turn(3.0)
    assert [(c.subject, str(c.state)) for c in changes] == [("t/temp", "NORMAL"), ("t/temp", "VIOLATING")]
    watch.close()
    watch, sources = made(monkeypatch, tmp_path)
    watch.turn(4.0)
    assert sources["s"].opened == [{"k": "2"}]
    assert watch.store.read(["t"], 0, 10)["t"][1].tolist() == [0.0, 5.0]
    watch.close()


def test_a_source_that_fails_is_told_once_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path, "bad", "good")
    sources["bad"].coming = [ZeroDivisionError("of a plugin"), Transient("away"), Taken(batches=(batch([3], source="bad", t2=[0]),))]
    sources["good"].coming = [Taken(batches=(batch([i + 1], source="good", t=[0]),)) for i in range(3)]
    seen = [[(c.subject, str(c.state)) for c in watch.turn(float(i + 1)) if "works" in c.subject] for i in range(3)]
    assert seen == [[("source:bad/works", "VIOLATING")], [], [("source:bad/works", "NORMAL")]]
    assert [f.message for f in watch.faults()] == ["ZeroDivisionError: of a plugin", "away"]
    assert watch.faults() == ()
    assert watch.channels() == {"t": "NORMAL", "t2": "NORMAL"}
    watch.close()


def test_a_checker_that_fails_is_an_alarm_and_nothing_is_normal_until_it_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    sources["s"].coming = [Taken(batches=(batch([i + 1], t=[0]),)) for i in range(3)]
    watch.turn(1.0)
    assert watch.channels()["t"] == "NORMAL"
    with monkeypatch.context() as patch:
        patch.setattr("monitor.hk.checker.Checker.feed", lambda *_: 1 / 0)
        failed = watch.turn(2.0)
    assert [(c.subject, str(c.severity)) for c in failed] == [("checker", "ALARM")]
    assert watch.channels().get("t") != "NORMAL"
    back = watch.turn(3.0)
    assert ("checker", "NORMAL") in [(c.subject, str(c.state)) for c in back]
    assert len(watch.store.read(["t"], 0, 10)["t"][0]) == 3
    watch.close()


def test_a_store_that_cannot_be_written_is_an_alarm_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    sources["s"].coming = [Taken(batches=(batch([i + 1], t=[5]),), positions={"k": str(i)}) for i in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr("monitor.hk.store.HkStore.put", lambda *_: (_ for _ in ()).throw(Transient("disk")))
        first = watch.turn(1.0)
        watch.turn(2.0)
    assert {("store", "VIOLATING"), ("t/temp", "VIOLATING")} <= {(c.subject, str(c.state)) for c in first}
    assert ("store", "NORMAL") in {(c.subject, str(c.state)) for c in watch.turn(3.0)}
    assert watch.store.read(["t"], 0, 10)["t"][0].tolist() == [1.0, 2.0, 3.0]
    watch.close()


def test_a_sample_of_the_future_does_not_make_all_later_ones_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    sources["s"].coming = [Taken(batches=(batch([1e9], t=[0]),)), Taken(batches=(batch([2], t=[5]),))]
    watch.turn(1.0)
    assert [str(c.state) for c in watch.turn(2.0) if c.subject == "t/temp"] == ["VIOLATING"]
    assert "ahead of our clock" in watch.faults()[0].message
    watch.close()


def test_a_source_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    for plugin, said in (("modbus", "no hk_source is called 'modbus'"), ("text", "unknown key 'pth'")):
        doc = Document.from_data({"sources": {"s": {"plugin": plugin, "params": {"pth": "x"}}}}, "x.yaml")
        with pytest.raises(BadConfig, match=said):
            HkMonitor().check(doc)


def test_a_thousand_channels_at_ten_hertz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    rng = np.random.default_rng(1)
    seconds = 20
    names = [f"t{i}" for i in range(1000)]
    parts = [np.round(rng.normal(0, 0.2, (10, 1000)), 3) for _ in range(seconds)]
    sources["s"].coming = [Taken(batches=(batch((i + np.arange(10) / 10 + 1).tolist(), **dict(zip(names, p.T, strict=True))),)) for i, p in enumerate(parts)]
    start = time.process_time()
    for i in range(seconds):
        watch.turn(i + 2.0)
    watch.store.compact(0, all_of_it=True)
    spent = time.process_time() - start
    # one core is to be busy for less than 20 %; measured 2 %; other tests run beside this one
    assert spent / seconds < 0.2
    times, values = watch.store.read(["t7"], 0, 1e9)["t7"]
    np.testing.assert_array_equal(values, np.concatenate(parts)[:, 7])
    assert len(times) == 10 * seconds
    watch.close()


def test_a_log_that_grows_over_restarts_is_stored_once(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    config = Document.from_data({"sources": {"s": {"plugin": "text", "params": {"path": str(log)}}}, "limits": [LIMIT]}, "x")
    log.write_text("time,t\n")
    start = 1577836800.0
    for i in range(6):
        with open(log, "a") as f:
            f.write(f"{start + 2 * i},{i}\n{start + 2 * i + 1},")
        watch = HkMonitor().watch(config, tmp_path / "hk.db", start)
        watch.turn(start + 100)
        watch.close()
        with open(log, "a") as f:
            f.write(f"{i}.5\n")
    watch = HkMonitor().watch(config, tmp_path / "hk.db", start)
    watch.turn(start + 100)
    stored = watch.store.read(["t"], 0, 2e9)["t"]
    watch.close()
    assert stored[0].tolist() == [start + i for i in range(12)]
    assert stored[1].tolist() == [i / 2 for i in range(12)]


def test_one_row_of_the_future_does_not_keep_the_others_from_being_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    sources["s"].coming = [Taken(batches=(batch([1, 2, 9e8], t=[0, 5, 0]),))]
    assert [str(c.state) for c in watch.turn(3.0) if c.subject == "t/temp"] == ["NORMAL", "VIOLATING"]
    assert [f.kind for f in watch.faults()] == ["Clock"]
    watch.close()


@pytest.mark.parametrize("name", ["x" * 300, " ", "a\u202eb", "a\nb"])
def test_a_name_that_is_none_is_a_fault_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    watch, sources = made(monkeypatch, tmp_path)
    sources["s"].coming = [Taken(batches=(batch([1.0], **{name: [0.0], "t": [5.0]}),))]
    found = watch.turn(2.0)
    assert [(c.subject, str(c.state)) for c in found] == [("t/temp", "VIOLATING")]
    assert "names of channels" in watch.faults()[0].message
    watch.close()
