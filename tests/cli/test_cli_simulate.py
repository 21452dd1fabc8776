"""`quicklook simulate` with what spectra can have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits


def simulate(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quicklook", "simulate", str(out), "--flavor", "science", "--expid", "102", "--scale", "tiny", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_options_of_light_and_sky(tmp_path: Path) -> None:
    done = simulate(tmp_path, "--camera", "r0", "--wings", "0.02", "--sky-gradient", "0.1", "--airmass", "1.4", "--exptime", "600", "--fault", "lost_sky:19")
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "truth/truth-r0.json").read_text())
    exposure = said["exposures"]["102"]
    assert (said["wings"], said["sky_gradient"], exposure["airmass"], exposure["exptime"]) == (0.02, 0.1, 1.4, 600.0)
    assert exposure["fault_info"]["lost_sky"]["strength"] == 19.0
    assert (tmp_path / "calib/spec/sm4/fluxcalib-r0.fits").is_file()


def test_a_fault_of_the_calibrations(tmp_path: Path) -> None:
    assert simulate(tmp_path, "--camera", "r0", "--fault", "nan_calib:32").returncode == 0
    assert np.isnan(fits.getdata(tmp_path / "calib/spec/sm4/pixflat-r0.fits")).sum() > 20


def test_traces_for_which_camera(tmp_path: Path) -> None:
    done = simulate(tmp_path, "--camera", "b0,r0", "--traces", "psf.fits")
    assert (done.returncode, "write b0=psf.fits" in done.stderr) == (2, True)
    done = simulate(tmp_path, "--camera", "r0", "--traces", "psf.fits")
    assert (done.returncode, "psf.fits" in done.stderr) == (2, True)
