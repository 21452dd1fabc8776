"""Our simulator and the other one, which shares no code with it, put the same light on the same pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.image import Header
from quicklook.io.tracefile import read_traces
from quicklook.sim import SimInstrument
from quicklook.sim.light import HALF_ROWS, image_of, light_path, spread_lines
from quicklook.sim.traces import Traces


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, validation_kit: Path) -> Path:
    """An arc and a science exposure of the validation kit, with wings."""
    out = tmp_path_factory.mktemp("kit")
    command = [sys.executable, str(validation_kit / "simulate.py"), "--out", str(out), "--scale", "small", "--expids", "100,102", "--wings", "0.02"]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return out


@pytest.fixture(scope="module")
def kit_layout() -> SimInstrument:
    return SimInstrument(camera="r0", scale="small", seed=7)


def traces_of(other: Path, expid: int) -> Traces:
    given = read_traces(other / f"truth/psf-true-r0-{expid:08d}.fits")
    assert given.xsig is not None
    assert given.ysig is not None
    return Traces(wave_min=given.wavemin, wave_max=given.wavemax, x=given.x, y=given.y, sigma_x=given.xsig, sigma_y=given.ysig)


def test_wavelengths_of_rows(other: Path, kit_layout: SimInstrument) -> None:
    path = light_path(kit_layout.layout, traces_of(other, 102))
    wave = fits.getdata(other / "truth/truth-r0-00000102.fits", "WAVE")
    np.testing.assert_allclose(path.on_image(path.wave), wave, atol=1e-6)  # both invert by Newton's method


def test_arc_lines_on_rows(other: Path, kit_layout: SimInstrument) -> None:
    path = light_path(kit_layout.layout, traces_of(other, 100))
    with fits.open(other / "truth/truth-r0-00000100.fits") as f:
        lines, counts, flat, wave = (f[n].data for n in ("LINES", "COUNTS", "FIBERFLAT", "WAVE"))
    relative = np.array([np.interp(lines["WAVE"], wave[i], flat[i]) for i in range(len(flat))])
    ours = spread_lines(path, lines["WAVE"].astype(float), lines["ELECTRONS"] * relative)
    inside = slice(HALF_ROWS, -HALF_ROWS)
    # the kit cuts a line at 7 pixels; lines of 60000 electrons agree to a tenth of an electron
    np.testing.assert_allclose(ours[:, inside], counts[:, inside], rtol=2e-4, atol=0.1)


def test_profile_across_the_trace(other: Path, kit_layout: SimInstrument) -> None:
    path = light_path(kit_layout.layout, traces_of(other, 102))
    with fits.open(other / "truth/truth-r0-00000102.fits") as f:
        counts, image = f["COUNTS"].data.astype(float), f["IMAGE_E"].data.astype(float)
    dark = fits.getdata(other / "calib/spec/sm4/dark-r0.fits").astype(float) * 900.0
    light = (image - dark) / fits.getdata(other / "calib/spec/sm4/pixflat-r0.fits")
    ours = image_of(path, counts, kit_layout.layout, 0.02)
    hot = dark > 20.0  # float32 loses the light beside them
    np.testing.assert_allclose(ours[~hot], light[~hot], rtol=1e-3, atol=0.02)


def test_photon_statistics(other: Path) -> None:
    """The scatter of the other simulator's raw pixels about its truth is that of photons and read-out, as ours is tested to be."""
    path = other / "raw/20220101/00000102/desi-00000102.fits.fz"
    with fits.open(path) as f, fits.open(other / "truth/truth-r0-00000102.fits") as t:
        raw, header = f["R0"].data.astype(float), Header(dict(f["R0"].header))
        image, cosmics = t["IMAGE_E"].data.astype(float), t["COSMIC_E"].data
    bias = fits.getdata(other / "calib/spec/sm4/bias-r0.fits").astype(float)
    x0, x1, y0, y1 = (int(n) for n in str(header["DATASECA"]).strip("[]").replace(",", ":").split(":"))
    cx, cy = x1 - x0 + 1, y1 - y0 + 1
    electrons = (raw - bias - 1005.3)[y0 - 1 : y1, x0 - 1 : x1] * float(str(header["GAINA"]))
    expected, clean = image[:cy, :cx], cosmics[:cy, :cx] == 0
    pull = (electrons - expected)[clean] / np.sqrt(expected + 2.6**2 + 1.28**2 / 12.0)[clean]
    assert pull.var() == pytest.approx(1.0, abs=0.01)  # half a million pixels: 0.002
    assert abs(pull.mean()) < 0.01
