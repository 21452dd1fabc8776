"""A simulated camera of DESI with no calibration at all: traces from its flat, wavelengths from its arc, against the truth of the simulation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from algorithms.identify_arc import IdentifyArc
from algorithms.trace_flat import TraceFlat
from quicklook.api import open_session
from quicklook.ccd.image import Image
from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.ccd.spectra import TraceSet
from quicklook.io.tracefile import read_traces


def rms(values: np.ndarray, inside: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values[inside] ** 2)))


def made(folder: Path, camera: str, dispersion: float, centre: float) -> TraceSet:
    session = open_session(instrument="desi")
    raw = {e: folder / f"raw/20220101/{e:08d}/desi-{e:08d}.fits.fz" for e in (100, 101)}
    flat, arc = (session.run("raw", raw[e], camera=camera)[Image] for e in (101, 100))
    assert isinstance(flat, Image)
    assert isinstance(arc, Image)
    about = Spectrograph(camera=camera, fibres=500, bundle=25, dispersion=dispersion, centre=centre, lamps=("Hg", "Cd", "Ne", "Ar", "Kr", "Xe"))
    traces, fit = TraceFlat().run([flat], [about], None)
    assert len(fit.dark) == 1
    solution, _ = IdentifyArc().run([arc], traces, [about], None)
    return solution


def check(folder: Path, camera: str, got: TraceSet, dispersion: float) -> None:
    """Traces within 0.02 pixel, wavelengths within 0.01 Angstrom, widths within 0.01 pixel (the goals of the project)."""
    true = read_traces(folder / f"truth/psf-true-{camera}-00000100.fits")
    assert got.ysig is not None
    assert true.ysig is not None
    wave = np.linspace(true.wavemin, true.wavemax, 150)
    y = true.evaluate(true.y, wave)
    inside = (y > 0) & (y < true.npix_y - 1)
    assert rms(got.evaluate(got.x, wave) - true.evaluate(true.x, wave), inside) < 0.02
    assert rms((got.evaluate(got.y, wave) - y) * dispersion, inside) < 0.01
    assert rms(got.evaluate(got.ysig, wave) - true.evaluate(true.ysig, wave), inside) < 0.01


def simulate(kit: Path, out: Path, *options: str) -> None:
    subprocess.run([sys.executable, str(kit / "simulate.py"), "--out", str(out), "--expids", "100,101", *options], check=True, capture_output=True)


@pytest.mark.long
def test_small_camera(shared_validation: Path, tmp_path: Path) -> None:
    """Eight lines; the dispersion 5 % wrong."""
    simulate(shared_validation, tmp_path, "--camera", "r0", "--scale", "small")
    check(tmp_path, "r0", made(tmp_path, "r0", 0.53 * 1.05, 6710.0), 0.53)


@pytest.mark.long
@pytest.mark.parametrize(("camera", "dispersion", "centre"), [("b0", 0.59, 4780.0), ("r0", 0.53, 6710.0), ("z0", 0.59, 8670.0)])
def test_full_camera(shared_validation: Path, tmp_path: Path, camera: str, dispersion: float, centre: float) -> None:
    simulate(shared_validation, tmp_path, "--camera", camera, "--wings", "0.02")
    check(tmp_path, camera, made(tmp_path, camera, dispersion * 0.95, centre), dispersion)
