"""A bench of one CCD that takes zeros for the tests of a session: a daemon that works in this process, in milliseconds a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from bench_site import WATCH

from quicklook.service.daemon import Daemon
from quicklook.service.sessions.session import Session
from quicklook.service.site import Site, load_site

NIGHT = 20220101
INSTRUMENT = """\
name: bench
files: {patterns: ["{night:8d}_{expid:4d}_{camera}.fits"]}
header:
  flavor: {keywords: FLAVOR, default: zero}
  tags: {position: [SEQPOS], serial: [SN]}
layouts:
  - amplifiers:
      A: {data: "[1:64,:]", overscan: "[65:96,:]", gain: 1.0, read_noise: 3.0}
"""
SESSION = """\
# Tests of a morning.
session: morning
hardware: {a: {serial: S-1}}
position: position
tests:
  - name: BIAS01
    of: {program: bias01}
    expect: [{flavor: zero, count: 3, exptime: 0}]
    analyses: [zeros]
  - name: BIAS02
    of: {program: bias02}
    expect: [{flavor: zero, count: 2}]
"""


def session_site(folder: Path, text: str = SESSION, *, settings: dict[str, Any] | None = None, **options: Any) -> Site:
    """A site with this session in `session.yaml`."""
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "bench.yaml").write_text(INSTRUMENT)
    session = folder / "session.yaml"
    if not session.is_file():
        session.write_text(text)
    given = {
        "instrument": str(folder / "bench.yaml"), "cameras": ["a"], "raw": str(folder / "raw"), "out": str(folder / "out"), "plots": False,
        "chains": {"_default": "zero"}, "watch": WATCH, "work": {"executor": "inline"}, "sinks": {"files": {}},
        "session": {"file": str(session), **(settings or {})}, **options,
    }  # fmt: skip
    return load_site(None, options=given)


def take_zero(folder: Path, expid: int, program: str = "BIAS01", *, position: int | None = None, serial: str = "S-1", noise: float = 3.0) -> Path:
    """One zero, whole at once."""
    path = folder / "raw" / f"{NIGHT}_{expid:04d}_a.fits"
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(expid).normal(1000, noise, (96, 96)).round().astype(np.int16)
    cards = {"FLAVOR": "zero", "EXPTIME": 0.0, "PROGRAM": program, "SN": serial, "DATE-OBS": f"2022-01-01T20:{expid % 60:02d}:00"}
    header = fits.Header({**cards, **({"SEQPOS": position} if position is not None else {})})
    beside = path.with_name(f".{path.name}")
    fits.PrimaryHDU(pixels, header).writeto(beside, overwrite=True)
    return beside.rename(path)


def session_in(daemon: Daemon) -> Session:
    """The attendant of a daemon that has started."""
    return next(a for a in daemon._attendants if isinstance(a, Session))
