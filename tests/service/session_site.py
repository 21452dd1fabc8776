"""A bench of one CCD that takes zeros for the tests of a session: a daemon that works in this process, in milliseconds a frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from bench_site import WATCH, said
from bench_site import turn as turn_for

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


LATE = SESSION.replace("session: morning", "session: morning\ntimeout_h: 0.0002")
"""Closed 0.72 s after the launch."""


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


def turn(daemon: Daemon, until: Callable[[], object]) -> None:
    """Turn until something holds; machines that are busy take their time."""
    turn_for(daemon, until, 120)


def outcomes(daemon: Daemon, count: int = 1) -> list[dict[str, Any]]:
    """What is said of tests, once so many are over."""
    turn(daemon, lambda: len(said(daemon, "test")) >= count)
    return [e.payload for e in said(daemon, "test")]


def of_run(daemon: Daemon, name: str) -> Path:
    """A file of the run of the session."""
    return session_in(daemon).folder / name


def record_of(daemon: Daemon, test: str) -> dict[str, Any]:
    """The outcome of a test, as it is kept."""
    record: dict[str, Any] = json.loads(of_run(daemon, f"{test}/test.json").read_text())
    return record


def change_run(folder: Path, **update: object) -> None:
    """Change what is kept of the one run there is, while no daemon works."""
    (path,) = folder.glob("out/tests/*/run.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **update}))


def session_in(daemon: Daemon) -> Session:
    """The attendant of a daemon that has started."""
    return next(a for a in daemon._attendants if isinstance(a, Session))
