"""With 500 exposures waiting, a new one starts within 5 s."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import fitsio
import pytest

from quicklook.core.keys import Unit
from quicklook.service.daemon import Daemon
from quicklook.service.site import load_site
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

NIGHT = 20220101
CAMERAS = sim_instruments(("r0",), scale="tiny", seed=3)
START_S = 5.0


def another(first: Path, expid: int) -> None:
    """The same exposure once more, under another number."""
    folder = first.parent.parent / f"{expid:08d}"
    folder.mkdir()
    path = folder / first.name.replace(f"{100:08d}", f"{expid:08d}")
    shutil.copy(first, folder / ".new")
    with fitsio.FITS(str(folder / ".new"), "rw") as file:
        for hdu in file:
            hdu.write_key("EXPID", expid)
    (folder / ".new").rename(path)


@pytest.mark.long
def test_a_new_exposure_starts_at_once_though_500_wait(tmp_path):
    calib = write_calibrations(tmp_path, CAMERAS)
    first = write_exposure(tmp_path, plan_exposure("zero", 100, night=NIGHT), CAMERAS)
    for expid in range(101, 600):
        another(first, expid)
    options = {
        "instrument": "desi",
        "cameras": ["r0"],
        "chains": {"_default": "zero"},
        "raw": str(tmp_path / "raw"),
        "calib": str(calib),
        "out": str(tmp_path / "out"),
        "plots": False,
        "work": {"workers": 2},
        "sinks": {"files": {}},
    }
    daemon = Daemon(load_site(None, options=options))
    daemon.start()
    try:
        began = _steps(daemon, lambda: bool(daemon.journal.events(kinds=["verdict"], limit=1)), 300)
        assert began, "nothing was done"
        waiting = 500 - len(daemon.journal.events(kinds=["started"]))
        another(first, 900)
        start = time.monotonic()
        newest = str(Unit(NIGHT, 900))
        assert _steps(daemon, lambda: any(e.unit == newest for e in daemon.journal.events(kinds=["started"], limit=2000)), 60)
        took = time.monotonic() - start
    finally:
        daemon.stop()
    print(f"{waiting} were waiting; the new one started {took:.2f} s after its last byte")
    assert waiting > 400
    assert took < START_S


def _steps(daemon: Daemon, condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        daemon.step()
        if condition():
            return True
    return False
