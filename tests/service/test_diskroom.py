"""A disk that is nearly full, with the daemon at work: verdicts are given, products wait, nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quicklook.core.events import RawFolder, draft
from quicklook.io import room as rooms
from quicklook.io.room import Room
from quicklook.service.daemon import Daemon
from quicklook.service.journal.journal import Journal
from quicklook.service.running import diskroom, outcomes
from quicklook.service.running.lastsaid import was_blind
from quicklook.service.settings import DiskSettings
from quicklook.service.site import load_site
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("r0",), scale="tiny", seed=3)
LONG_S = 120.0


def test_products_wait_for_room_and_verdicts_do_not(tmp_path: Path, monkeypatch) -> None:
    calib = write_calibrations(tmp_path, CAMERAS)
    write_exposure(tmp_path, plan_exposure("zero", 100, night=20220101), CAMERAS)
    free_gb = [0.5]

    def room_of(folder: Path) -> Room:
        return Room(path=folder, total=10**12, free=int(free_gb[0] * 1e9))

    monkeypatch.setattr(rooms, "room_of", room_of)
    monkeypatch.setattr(diskroom, "room_of", room_of)
    monkeypatch.setattr(outcomes, "FULL_DISK_PAUSE_S", 0.1)
    options = {
        "instrument": "desi",
        "cameras": ["r0"],
        "chains": {"_default": "zero"},
        "products": ["preproc"],
        "raw": str(tmp_path / "raw"),
        "calib": str(calib),
        "out": str(tmp_path / "out"),
        "plots": False,
        "work": {"executor": "inline", "attempts": 1},
        "watch": {"settle_s": 0.05},
        "disk": {"warn_gb": 10, "keep_gb": 1, "look_s": 0.01},
        "sinks": {},
        "commands": {"endpoint": ""},
    }
    daemon = Daemon(load_site(None, options=options))
    daemon.start()
    image = tmp_path / "out/live/exposures/20220101/00000100/preproc-r0-00000100.fits"
    try:
        assert _steps(daemon, lambda: len(_kinds(daemon, "unit_verdict")) == 1)
        assert image.with_name("qa-r0-00000100.json").is_file()
        assert not image.exists()
        assert not daemon.idle
        assert [e.payload["status"] for e in _kinds(daemon, "disk")] == ["ALARM"]
        free_gb[0] = 50.0
        assert _steps(daemon, lambda: daemon.idle)
        assert image.is_file()
        assert [e.payload["status"] for e in _kinds(daemon, "disk")] == ["ALARM", "NORMAL"]
        assert len(_kinds(daemon, "verdict")) == len(_kinds(daemon, "unit_verdict")) == 1
        assert _kinds(daemon, "failed") == []
    finally:
        daemon.stop()


def _kinds(daemon: Daemon, kind: str):
    return daemon.journal.events(kinds=[kind])


def _steps(daemon: Daemon, condition) -> bool:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        daemon.step()
        if condition():
            return True
    return False


def test_what_was_said_before_a_restart_is_taken_back_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alarm that stands since before it ends by an event alone."""
    free_gb = [0.5]
    monkeypatch.setattr(diskroom, "room_of", lambda folder: Room(path=folder, total=10**12, free=int(free_gb[0] * 1e9)))
    journal = Journal(None, time.time_ns)
    settings = DiskSettings(warn_gb=10, keep_gb=1, look_s=0.01)
    site = SimpleNamespace(out=tmp_path, file=SimpleNamespace(disk=settings))
    around: Any = SimpleNamespace(site=site, recipe=SimpleNamespace(tag="live"), journal=journal)
    for free in (0.5, 50.0, 50.0):
        free_gb[0] = free
        diskroom.DiskWatch(around).turn()
    assert [e.payload["status"] for e in journal.events()] == ["ALARM", "NORMAL"]
    for there, trouble, blind in ((True, "", False), (False, "", True), (True, "no permission", True), (True, "", False)):
        journal.append([draft(RawFolder(path="/raw", there=there, trouble=trouble))])
        assert was_blind(journal, "live") is blind
    assert not was_blind(journal, "other")
    journal.close()
