"""Housekeeping watched by the daemon: a growing log, a limit, a log that stops, a watch that fails and one that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.alerts.observing import Observer
from monitor.alerts.rules import load_rules
from quicklook.core.errors import BadConfig
from quicklook.core.events import HkChanged
from quicklook.core.housekeeping_watch import hk_monitor
from quicklook.io.configfiles import find_config
from quicklook.service.daemon import Daemon
from quicklook.service.running import housekeeping
from quicklook.service.site import load_site

CONFIG = """
sources:
  cryo:
    plugin: text
    params: {path: "LOG", delimiter: comma, time: time, time_format: unix}
    silent_after_s: 2
    silent_severity: ALARM
channels:
  - {name: ccd_temp, unit: degC, fill: [999999], stale_after_s: 2}
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
    """A daemon over a log that grows."""

    def __init__(self, folder: Path) -> None:
        self.log, self.config = folder / "hk.csv", folder / "hk.yaml"
        self.log.write_text("time,ccd_temp\n")
        self.config.write_text(CONFIG.replace("LOG", str(self.log)))
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

    def until(self, condition: Callable[[], bool], seconds: float = 40.0) -> bool:
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


def test_a_log_that_stops_is_stale_and_never_normal(bench: Bench) -> None:
    bench.add(-120.0, -120.0)
    assert bench.until(lambda: bench.states().get("ccd_temp/cold") == "NORMAL")
    assert bench.until(lambda: bench.states().get("source:cryo") in ("STALE", "VIOLATING"))
    assert bench.states()["ccd_temp/cold"] != "NORMAL"


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


def test_a_configuration_that_is_wrong_is_refused_at_the_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.config.write_text(CONFIG.replace("LOG", str(bench.log)).replace("[-121, -119]", "[-119, -121]"))
    with pytest.raises(BadConfig, match="hk.yaml"):
        Daemon(load_site(None, options=bench.options)).start()
