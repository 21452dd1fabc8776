"""Spectra on a common grid: light is conserved, errors are honest, and the field's own reader takes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import spectra_made as made
from astropy.io import fits

from quicklook.ccd.spectra import SpecMask
from quicklook.core.errors import BadData
from quicklook.io.commongrid import STEP, common_grid, export_product, rebin, resolution
from quicklook.io.flatfile import write_fiberflat
from quicklook.io.spectrafile import write_frame, write_sky
from quicklook.io.tracefile import write_traces

RNG = np.random.default_rng(8)


def spectra(n: int = 300) -> tuple[np.ndarray, ...]:
    wave = 6000.0 + np.cumsum(RNG.uniform(0.5, 0.62, (2, n)), axis=1)
    flux = RNG.normal(10.0, 2.0, (2, n)).astype(np.float32)
    return wave, flux, RNG.uniform(0.2, 0.6, (2, n)).astype(np.float32), np.zeros((2, n), np.uint32)


def slow(wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, centre: float) -> tuple[float, float]:
    """One bin, sample by sample: mean flux and ivar."""
    own = np.concatenate([[wave[0] - (wave[1] - wave[0]) / 2], (wave[1:] + wave[:-1]) / 2, [wave[-1] + (wave[-1] - wave[-2]) / 2]])
    light = length = variance = 0.0
    for j in range(len(wave)):
        part = min(own[j + 1], centre + STEP / 2) - max(own[j], centre - STEP / 2)
        if part > 0 and ivar[j] > 0:
            light, length, variance = light + part * flux[j], length + part, variance + part**2 / ivar[j]
    if length == 0:
        return 0.0, 0.0
    return light / length, length**2 / variance if length > 0.5 * STEP else 0.0


def test_against_a_slow_loop() -> None:
    wave, flux, ivar, mask = spectra()
    ivar[0, RNG.integers(0, 300, 60)] = 0.0
    grid = common_grid(wave, "x0")
    got = rebin(wave, flux, ivar, mask, grid)
    expected = np.array([[slow(wave[i], flux[i], ivar[i], w) for w in grid] for i in range(2)])
    np.testing.assert_allclose(got[0], expected[..., 0], rtol=1e-5)  # float32
    np.testing.assert_allclose(got[1], expected[..., 1], rtol=1e-5)


def test_light_is_conserved_and_pulls_are_one() -> None:
    wave, _, ivar, mask = spectra(4000)
    truth = 50.0 + 10.0 * np.sin(wave / 30.0)
    flux = (truth + RNG.normal(size=wave.shape) / np.sqrt(ivar)).astype(np.float32)
    grid = common_grid(wave, "x0")
    got, weight, _ = rebin(wave, flux, ivar, mask, grid)
    inside = (wave > grid[0] - STEP / 2) & (wave < grid[-1] + STEP / 2)
    total = (flux * np.gradient(wave, axis=1) * inside).sum(axis=1)
    np.testing.assert_allclose(got.sum(axis=1) * STEP, total, rtol=3e-4)  # the two samples at the ends
    pull = (got - (50.0 + 10.0 * np.sin(grid / 30.0))) * np.sqrt(weight)
    assert pull.std() == pytest.approx(1.0, abs=0.03)  # 5000 bins: 1 %, and neighbours share samples


def test_bins_with_too_little_are_not_known() -> None:
    wave, flux, ivar, mask = spectra()
    ivar[1, 100:110] = 0.0
    mask[1, 100:110] = SpecMask.COSMIC
    mask[0, 50] = SpecMask.COSMIC
    grid = common_grid(wave, "x0")
    got, weight, bits = rebin(wave, flux, ivar, mask, grid)
    hole = (grid > wave[1, 101] + STEP / 2) & (grid < wave[1, 108] - STEP / 2)
    assert not weight[1, hole].any()
    assert ((bits[1, hole] & (SpecMask.ALLBADPIX | SpecMask.COSMIC)) == (SpecMask.ALLBADPIX | SpecMask.COSMIC)).all()
    assert (weight[0] > 0).all()
    assert 1 <= (bits[0] & SpecMask.COSMIC != 0).sum() <= 3
    assert np.isfinite(got).all()


def test_the_grid_is_that_of_the_arm() -> None:
    wave = np.broadcast_to(np.arange(5600.0, 7800.0, 0.55), (3, 4000))
    grid = common_grid(np.ascontiguousarray(wave), "r3")
    assert (grid[0], grid[-1]) == pytest.approx((5760.0, 7620.0))
    assert len(grid) == 2326  # the length of r frames in the DESI data model
    with pytest.raises(BadData, match="no wavelengths in common"):
        common_grid(np.ascontiguousarray(wave) + 1000.0, "b0")


def test_the_resolution_spreads_as_the_line_spread_function_does() -> None:
    wave = np.linspace(6000.0, 6300.0, 500)[np.newaxis]
    matrix = resolution(np.full(wave.shape, 0.7, np.float32), wave, common_grid(wave, "x0"))
    offsets = matrix.shape[1] // 2 - np.arange(matrix.shape[1])
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-3)  # cut at four sigma
    spread = np.sqrt((matrix[0, :, 50] * (offsets * STEP) ** 2).sum())
    assert spread == pytest.approx(np.sqrt(0.7**2 + STEP**2 / 12.0), rel=0.01)  # and the width of a bin


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    write_traces(tmp_path / "psf.fits", made.traces(), made.EXPOSURE, "r0")
    with pytest.raises(BadData, match="neither spectra"):
        export_product(tmp_path / "psf.fits", tmp_path / "out")


READER = """
import json, sys
import desispec.io as io
from desispec.qproc.io import read_qframe
native, common = sys.argv[1:]
frame, sky = io.read_frame(common + '/cframe.fits'), io.read_sky(common + '/sky.fits')
flat, quick = io.read_fiberflat(native + '/fiberflat.fits'), read_qframe(native + '/cframe.fits')
print(json.dumps({
    'frame': frame.flux.shape, 'wave': frame.wave.ndim, 'fibers': [int(f) for f in frame.fibers], 'resolution': frame.resolution_data.shape[0],
    'objtype': [str(t) for t in frame.fibermap['OBJTYPE']], 'sky': sky.flux.shape, 'flat': [flat.fiberflat.shape, float(flat.fiberflat[2, 3])],
    'quick': [quick.flux.shape, quick.wave.shape, float(quick.flux[1, 2]), float(quick.ivar[1, 2])],
    'bunit': frame.meta['BUNIT'], 'scores': 'TSNR2_ELG_R' in frame.scores.dtype.names,
}))
"""


@pytest.fixture(scope="module")
def desispec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with desispec from PyPI, in an environment of its own; QUICKLOOK_DESISPEC_PYTHON names one that is there."""
    if given := os.environ.get("QUICKLOOK_DESISPEC_PYTHON"):
        return Path(given)
    folder = tmp_path_factory.mktemp("desispec")
    venv.create(folder, with_pip=True)
    done = subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "desispec"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"desispec cannot be installed here: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return folder / "bin/python"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_field_reads_our_products(tmp_path: Path, desispec: Path) -> None:
    """Frames as they are with read_qframe, on the common grid with read_frame; fibre flats and skies."""
    native, common = tmp_path / "native", tmp_path / "common"
    frame, flat = made.frame("cframe", "10**-17 erg/(s cm2 Angstrom)"), made.fiberflat()
    write_frame(native / "cframe.fits", frame, made.EXPOSURE, scores=made.scores())
    write_sky(native / "sky.fits", made.sky(), made.EXPOSURE, "r0", fibermap=made.fibermap())
    write_fiberflat(native / "fiberflat.fits", flat, made.EXPOSURE, "r0", fibermap=made.fibermap())
    _as_arm(native / "cframe.fits", native / "sky.fits")
    for name in ("cframe", "sky"):
        export_product(native / f"{name}.fits", common)
    done = subprocess.run([desispec, "-c", READER, native, common], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.strip().splitlines()[-1])
    n = fits.getdata(common / "cframe.fits").shape[1]
    assert (said["frame"], said["wave"], said["sky"], said["resolution"]) == ([6, n], 1, [6, n], 6)
    assert (said["fibers"], said["objtype"]) == (list(range(6)), list(frame.fibermap.objtype))
    assert said["flat"] == [[6, 40], pytest.approx(float(flat.flat[2, 3]))]
    assert said["quick"] == [[6, 40], [6, 40], pytest.approx(float(frame.flux[1, 2])), pytest.approx(0.25)]
    assert (said["bunit"], said["scores"]) == (frame.unit, True)


def _as_arm(*paths: Path) -> None:
    """The spectra that are made lie in the z arm; say so."""
    for path in paths:
        with fits.open(path, mode="update") as f:
            f[0].header["CAMERA"] = "z0"


def test_the_command(tmp_path: Path) -> None:
    write_frame(tmp_path / "cframe-z0-00000102.fits", made.frame("cframe"), made.EXPOSURE)
    _as_arm(tmp_path / "cframe-z0-00000102.fits")
    command = [sys.executable, "-m", "quicklook", "export", str(tmp_path / "cframe-z0-00000102.fits"), "--out"]
    done = subprocess.run([*command, str(tmp_path / "grid")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with fits.open(tmp_path / "grid" / "cframe-z0-00000102.fits") as f:
        f.verify("exception")
        assert [h.name for h in f] == ["FLUX", "IVAR", "MASK", "WAVELENGTH", "RESOLUTION", "FIBERMAP", "SCORES"]
        assert f["WAVELENGTH"].data.ndim == 1
        assert (f[0].header["EXPID"], f[0].header["STAGE"]) == (102, "cframe")
    over = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (over.returncode, "would be overwritten" in over.stderr) == (2, True)
