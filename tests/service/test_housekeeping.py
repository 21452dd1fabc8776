"""Housekeeping watched by the daemon: a growing log, a limit, a log that stops, a watch that fails and one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.alerts.observing import Observer
from monitor.alerts.rules import load_rules
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.events import HkChanged
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import hk_monitor
from quicklook.core.severity import Severity
from quicklook.io.configfiles import find_config
from quicklook.service.daemon import Daemon
from quicklook.service.running import housekeeping
from quicklook.service.site import load_site

CONFIG = """
sources:
  cryo:
    plugin: text
    params: {path: "LOG", delimiter: comma, time: time, time_format: unix}
    silent_after_s: STALE
    silent_severity: ALARM
channels:
  - {name: ccd_temp, unit: degC, fill: [999999], stale_after_s: STALE}
limits:
  - name: cold
    channels: ccd_temp
    unit: degC
    performance: [-121, -119]
    persistence: {count: 2, of: 3, clear: 2}
    reason: Dark current holds at -120 degC alone.
    action: Wait until it has settled.
"""


class Bench:
    """A daemon over a log that grows; what it says is not old on a busy machine, unless the test is about that."""

    def __init__(self, folder: Path, stale_after_s: float = 250.0) -> None:
        self.log, self.config = folder / "hk.csv", folder / "hk.yaml"
        self.log.write_text("time,ccd_temp\n")
        self.text = CONFIG.replace("LOG", str(self.log)).replace("STALE", str(stale_after_s))
        self.config.write_text(self.text)
        (folder / "raw").mkdir()
        (folder / "calib").mkdir()
        (folder / "out").mkdir()
        self.options: dict[str, Any] = {
            "instrument": "desi", "cameras": ["r0"], "raw": str(folder / "raw"), "calib": str(folder / "calib"), "out": str(folder / "out"),
            "work": {"executor": "inline"}, "sinks": {}, "commands": {"endpoint": ""}, "housekeeping": {"config": str(self.config), "every_s": 0.1},
        }  # fmt: skip
        self.daemon = Daemon(load_site(None, options=self.options))

    def add(self, *values: float) -> None:
        with self.log.open("a") as file:
            for value in values:
                file.write(f"{time.time():.3f},{value}\n")
                time.sleep(0.02)

    def changes(self) -> list[Any]:
        return [c for e in self.daemon.journal.events(kinds=["hk"]) for c in HkChanged.model_validate(e.payload).changes]

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.daemon.step()
            if condition():
                return True
            time.sleep(0.02)
        return False

    def states(self) -> dict[str, str]:
        return {c.subject: str(c.state) for c in self.changes()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.daemon.start()
    yield made
    made.daemon.stop()


def test_what_changes_is_an_event_and_an_alarm_stands_on_it(bench: Bench) -> None:
    bench.add(-120.0, 999999, -120.0)
    assert bench.until(lambda: bench.states().get("ccd_temp/cold") == "NORMAL")
    bench.add(-110.0, -110.0)
    assert bench.until(lambda: bench.states().get("ccd_temp/cold") == "VIOLATING")
    found = next(c for c in bench.changes() if c.state == "VIOLATING")
    assert (found.value, found.bound, found.unit, found.direction) == (-110.0, -119.0, "degC", "high")
    rules, observe = load_rules(find_config("alerts", "default")), Observer()
    signals = [s for e in bench.daemon.journal.events(kinds=["hk"]) for o in observe(e) for s in rules.signals(o)]
    raised = [s for s in signals if s.active]
    assert [s.key for s in raised] == ["housekeeping/ccd_temp/cold"]
    assert "-110" in raised[0].what
    bench.add(-120.0, -120.0, -120.0)
    assert bench.until(lambda: bench.states().get("ccd_temp/cold") == "NORMAL")
    last = bench.daemon.journal.events(kinds=["hk"])[-1]
    assert [s.active for o in observe(last) for s in rules.signals(o) if s.key.endswith("/cold")][-1] is False


def test_a_log_that_stops_is_stale_and_never_normal(tmp_path: Path) -> None:
    bench = Bench(tmp_path, stale_after_s=2.0)
    bench.daemon.start()
    try:
        bench.add(-120.0, -120.0)
        assert bench.until(lambda: any((c.subject, c.state) == ("ccd_temp/cold", "NORMAL") for c in bench.changes()))
        assert bench.until(lambda: bench.states().get("source:cryo") in ("STALE", "VIOLATING"))
        assert bench.until(lambda: bench.states()["ccd_temp/cold"] != "NORMAL")
    finally:
        bench.daemon.stop()


def test_a_watch_that_fails_is_told_and_comes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_AGAIN_S", 0.1)
    bench.add(-120.0, -120.0)
    assert bench.until(lambda: bool(bench.changes()))
    kind = type(hk_monitor().watch(find_config("hk", str(bench.config)), bench.log.with_name("other.sqlite"), time.time()))
    with monkeypatch.context() as patch:
        patch.setattr(kind, "turn", lambda *_: 1 / 0)
        assert bench.until(lambda: bench.states().get("watch") == "VIOLATING")
    assert bench.until(lambda: bench.states().get("watch") == "NORMAL")


def test_a_source_that_hangs_keeps_nobody_waiting_and_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_HANGS_S", 0.5)
    bench.add(-120.0, -120.0)
    assert bench.until(lambda: bool(bench.changes()))
    kind = type(hk_monitor().watch(find_config("hk", str(bench.config)), bench.log.with_name("other.sqlite"), time.time()))
    turn = kind.turn
    monkeypatch.setattr(kind, "turn", lambda self, now: (time.sleep(1.5), turn(self, now))[1])
    assert bench.until(lambda: bench.states().get("watch") == "VIOLATING")
    monkeypatch.setattr(kind, "turn", turn)
    assert bench.until(lambda: bench.states().get("watch") == "NORMAL")


def test_what_is_written_while_a_watch_begins_anew_is_none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one would take its first changes for kept, and not tell them again after a restart."""
    monkeypatch.setattr(housekeeping, "_AGAIN_S", 0.01)
    change = HkChange(subject="a/b", channel="a", limit="b", kind="absolute", state=HkState.VIOLATING, before=HkState.NORMAL, time=1.0, since=1.0,
                      severity=Severity.ALARM)  # fmt: skip
    writes, fail, kept = threading.Event(), threading.Event(), list[int]()

    class First:
        def __init__(self) -> None:
            self.given = False

        def kept(self, n: int) -> None: ...

        def turn(self, now: float) -> tuple[HkChange, ...]:
            if not self.given:
                self.given = True
                return (change,)
            assert not fail.is_set(), "it fails"
            return ()

        def faults(self) -> tuple[()]:
            return ()

        def close(self) -> None: ...

    class Second(First):
        def kept(self, n: int) -> None:
            kept.append(n)

        def turn(self, now: float) -> tuple[HkChange, ...]:
            return ()

    watches = iter((First(), Second()))

    def append(_drafts: object) -> None:
        if not writes.is_set():
            writes.set()
            fail.set()
            time.sleep(0.5)  # meanwhile it begins anew, if it does not wait

    site = SimpleNamespace(file=SimpleNamespace(housekeeping=SimpleNamespace(every_s=0.01)))
    around: Any = SimpleNamespace(site=site, journal=SimpleNamespace(append=append), recipe=SimpleNamespace(tag="live"))
    monitor: Any = SimpleNamespace(watch=lambda *_: next(watches))
    made = housekeeping.HousekeepingWatch(around, monitor, Document.from_data({}, "hk.yaml"), Path())
    end = time.monotonic() + 60
    while len(kept) < 3 and time.monotonic() < end:
        made.turn()
        time.sleep(0.01)
    made.close()
    assert set(kept) == {0}


def test_a_configuration_that_is_wrong_is_refused_at_the_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.config.write_text(bench.text.replace("[-121, -119]", "[-119, -121]"))
    with pytest.raises(BadConfig, match="hk.yaml"):
        Daemon(load_site(None, options=bench.options)).start()
