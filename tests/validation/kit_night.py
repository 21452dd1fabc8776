"""A night of the validation kit with as many zeros, darks, flats and arcs as are wanted: the kit itself makes one of each, and no darks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

NIGHT = 20220101
ARC, FLAT, SCIENCE = 100, 101, 102
ZEROS, DARKS, FLATS, ARCS = range(110, 117), range(120, 125), range(130, 136), range(140, 142)
"""Numbers of further exposures."""
_TABLE = "exps = {100:"
_NONE, _FLAT, _ARC = "(0, 0, 0), (0, 0, 0)", "(.08, .01, .0), (.05, .0, .0)", "(.03, .0, .0), (.02, .0, .0)"


def _rows() -> Iterable[str]:
    """Further rows of the kit's table of exposures: flavor, kind, program, seconds, shifts of the traces along x and y."""
    for numbers, row in (
        (ZEROS, f"('zero', 'ZERO', 'CALIB ZERO', 0., {_NONE})"),
        (DARKS, f"('dark', 'DARK', 'CALIB DARK', 900., {_NONE})"),
        (FLATS, f"('flat', 'FLAT', 'CALIB FLAT', 120., {_FLAT})"),
        (ARCS, f"('arc', 'ARC', 'CALIB ARC', 5., {_ARC})"),
    ):
        yield from (f"{n}: {row}" for n in numbers)


def simulate(kit: Path, out: Path, expids: Iterable[int], *options: str) -> Path:
    """Run the kit's simulator with a longer table of exposures; returns `out`. The instrument is that of the seed, whatever the exposures are."""
    source = (kit / "simulate.py").read_text(encoding="utf-8")
    assert source.count(_TABLE) == 1, "the kit's simulator has another table of exposures: write the further rows anew"
    longer = source.replace(_TABLE, "exps = {" + ", ".join(_rows()) + ", 100:").replace("minutes=expid - 100", "minutes=2 * (expid - 100)")
    run = f"import sys; sys.argv[0] = {str(kit / 'simulate.py')!r}; __file__ = sys.argv[0]\n{longer}"
    script = out / "simulate_more.py"
    out.mkdir(parents=True, exist_ok=True)
    script.write_text(run, encoding="utf-8")
    numbers = ",".join(str(n) for n in expids)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, "--out", out, "--expids", numbers, *options], check=True, capture_output=True, env=environment)
    return out


def raw(folder: Path, expid: int) -> Path:
    """The raw file of an exposure."""
    return folder / "raw" / str(NIGHT) / f"{expid:08d}" / f"desi-{expid:08d}.fits.fz"
