"""`quicklook simulate` with what spectra can have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from inprocess import Done, quicklook


def simulate(out: Path, *options: str) -> Done:
    return quicklook("simulate", out, "--flavor", "science", "--expid", "102", "--scale", "tiny", *options)


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


def test_a_series_with_files_fibres_and_a_fault_in_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "sky.txt").write_text("6300 0\n6340 0\n6340.1 300\n6340.2 0\n6400 0\n")
    (tmp_path / "arc.dat").write_text("6330 5000\n6350 9000\n")
    command = ["simulate", str(tmp_path / "o"), "--expids", "100,102", "--exposures", "2", "--scale", "tiny"]
    command += ["--camera", "b0,r0", "--sky", str(tmp_path / "sky.txt"), "--arc-lines", str(tmp_path / "arc.dat"), "--nsky", "4", "--standards", "2"]
    command += ["--low-fibers", "1", "--fault", "hot_noise_amp:5,camera=r0,amp=D", "--fault-expid", "103"]
    done = quicklook(*command)
    assert done.returncode == 0, done.stderr
    said = {c: json.loads((tmp_path / f"o/truth/truth-{c}.json").read_text()) for c in ("b0", "r0")}
    assert {k: v["faults"] for k, v in said["r0"]["exposures"].items()} == {"100": [], "102": [], "103": ["hot_noise_amp"]}
    assert not any(v["faults"] for v in said["b0"]["exposures"].values())
    hit = said["r0"]["exposures"]["103"]
    assert (hit["fault_info"]["hot_noise_amp"]["amp"], hit["rdnoise"]["D"]) == ("D", 5 * said["r0"]["rdnoise"]["D"])
    wanted = ("sky.txt", "arc.dat", 4, 2, 1)
    assert (*(said["r0"][k] for k in ("sky_lines", "arc_lines", "nsky", "nstd")), len(said["r0"]["low_fibres"])) == wanted
    assert [said["r0"]["exposures"][e]["flavor"] for e in ("100", "102", "103")] == ["arc", "science", "science"]
    assert len(fits.getdata(tmp_path / "o/truth/truth-r0-00000100.fits", "LINES")) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--airmass", "nan"], "airmass nan is not between"), (["--exptime", "0"], "has no flux"), (["--fault", "trace_shift:nan"], "strength nan"),
        (["--fault", "light_leak:inf"], "strength inf"), (["--fault", "wrong_night:0.5"], "strength 0.5"), (["--sky", "uves"], "--sky-file FILE"),
        (["--sky", "nofile"], "no file nofile"), (["--expids", "1,x"], "separated by commas"), (["--fault-expid", "3"], "none is named"),
        (["--fault", "dead_amp,camera=z9"], "camera z9 is not simulated"), (["--fault", "low_fibers,fibers=99"], "has no fibre 99"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_a_file_is_written(tmp_path: Path, options: list[str], words: str) -> None:
    done = simulate(tmp_path / "o", "--camera", "r0", *options)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "fault of the program" not in done.stderr
    assert not (tmp_path / "o").exists()
