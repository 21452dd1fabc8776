"""A session of a night: arcs and science exposures of a simulated spectrograph, from their arrival to their analyses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from quicklook.service.daemon import Daemon
from quicklook.service.site import load_site

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
SESSION = """\
session: night
tests:
  - name: ARCS
    expect: [{flavor: arc, count: 2}]
    analyses: [arcs]
  - name: NIGHT
    expect: [{flavor: science, count: 2}]
    analyses: [sciences]
"""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session that is over."""
    folder = tmp_path_factory.mktemp("night")
    for flavor, expid, more in (("science", "101", []), ("arc", "201", ["--no-calibrations"])):
        what = ["simulate", str(folder), "--scale", "small", "--camera", "r0", "--exposures", "2", "--flavor", flavor, "--expid", expid, *more]
        subprocess.run([sys.executable, "-m", "quicklook", *what], check=True, capture_output=True)
    (folder / "night.yaml").write_text(SESSION)
    options = {
        "instrument": "desi", "cameras": ["r0"], "raw": str(folder / "raw"), "calib": str(folder / "calib"), "out": str(folder / "out"),
        "plots": False, "work": {"executor": "inline"}, "sinks": {"files": {}}, "session": {"file": str(folder / "night.yaml"), "until_done": True},
    }  # fmt: skip
    end = time.monotonic() + 900
    Daemon(load_site(None, options=options)).run(lambda: time.monotonic() > end)
    return folder


def series(night: Path, test: str, analysis: str) -> dict[str, dict[str, Any]]:
    """The series of an analysis of r0, by name."""
    (path,) = night.glob(f"out/tests/*/{test}/meta.json")
    rows = json.loads(path.read_text())["data"]["series"][analysis]["r0"]
    return {row["name"]: row for row in rows}


def of_exposures(night: Path, name: str, *expids: int) -> list[list[float]]:
    """The values of a metric in the merged QA of exposures."""
    out = []
    for expid in expids:
        result = json.loads((night / f"out/live/exposures/20220101/{expid:08d}/qa-r0-{expid:08d}.json").read_text())
        out.append(next(m["values"] for qa in result["qas"] for m in qa["metrics"] if m["name"] == name))
    return out


def test_science_exposures_are_added_up(night: Path) -> None:
    made = series(night, "NIGHT", "sciences")
    effective = of_exposures(night, "effective_time", 101, 102)
    assert made["effective_time_sum"]["values"] == pytest.approx([a + b for a, b in zip(*effective, strict=True)])
    (one,), (other,) = of_exposures(night, "sky_brightness", 101, 102)
    assert made["sky_brightness_mean"]["values"] == pytest.approx([0.5 * (one + other)])
    assert made["sky_brightness_range"]["values"] == pytest.approx([abs(one - other)])
    assert made["sky_brightness_range"]["status"] == "NORMAL"


def snr_of(path: Path) -> np.ndarray:
    """Median signal to noise of a sample, of each fibre."""
    with fits.open(path) as hdus:
        flux, ivar = (np.asarray(hdus[name].data, float) for name in ("FLUX", "IVAR"))
    return np.asarray(np.median(flux * np.sqrt(ivar), axis=1))


def test_their_spectra_are_added_up(night: Path) -> None:
    """Independently: two exposures add their signal to noise as the root of the sum of squares; of the brightest fibres to 3 %, noise and rejection."""
    (coadd,) = night.glob("out/tests/*/NIGHT/basic/sciences/coadd-r0-*.fits")
    one, other = (snr_of(night / f"out/live/exposures/20220101/{e:08d}/cframe-r0-{e:08d}.fits") for e in (101, 102))
    expected = np.hypot(one, other)
    bright = np.argsort(expected)[-8:]
    np.testing.assert_allclose(snr_of(coadd)[bright], expected[bright], rtol=0.03)
    with fits.open(coadd) as hdus:
        assert sorted(hdus["EXPOSURES"].data["EXPID"]) == [101, 102]


def test_the_drift_of_arcs(night: Path) -> None:
    made = series(night, "ARCS", "arcs")
    one, other = of_exposures(night, "trace_shift", 201, 202)
    assert made["trace_shift_range"]["values"] == pytest.approx([abs(a - b) for a, b in zip(one, other, strict=True)])
    assert made["trace_shift_slope"]["unit"] == "pixel/h"


def test_both_are_over_with_all_their_exposures(night: Path) -> None:
    for test, numbers in (("ARCS", "201-202"), ("NIGHT", "101-102")):
        (path,) = night.glob("out/tests/*/summary.txt")
        assert f"{test}: " in path.read_text()
        assert f"2 of 2 exposures: {numbers}" in path.read_text()
