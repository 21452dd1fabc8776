"""Real sky: extracted spectra of VIRUS, 224 fibres without a fibre flat, most of them on faint stars or on the sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from algorithms.compute_sky import ComputeSky
from algorithms.subtract_sky import SubtractSky
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.spectra import Frame

FILES = ("Fepses20160409T100026.3_094_sci_R.fits.gz", "Fepses20160409T100026.3_105_sci_L.fits.gz")
FAINT = 100
ENDS = 60


def read(folder: Path, name: str) -> tuple[Frame, np.ndarray]:
    """The spectra, the 100 faintest marked as sky; and the rows of these."""
    flux = fits.getdata(folder / name).astype(np.float32)
    error = fits.getdata(folder / f"e.{name}").astype(np.float32)
    good = (error > 0) & np.isfinite(flux)
    ivar = np.where(good, 1 / np.where(good, error, 1) ** 2, 0).astype(np.float32)
    level = np.nanmedian(np.where(good, flux, np.nan), axis=1)
    faint = np.sort(np.argsort(level)[:FAINT])
    n, m = flux.shape
    types = tuple("SKY" if i in set(faint.tolist()) else "TGT" for i in range(n))
    fibermap = FiberMap(fiber=np.arange(n, dtype=np.int32), objtype=types, source="by brightness")
    wave = np.tile(3500 + 1.9 * np.arange(m), (n, 1))
    sigma = np.full(flux.shape, 2.2, np.float32)
    frame = Frame(camera="virus", flux=flux, ivar=ivar, mask=np.zeros(flux.shape, np.uint32), wave=wave, sigma=sigma, fibermap=fibermap)
    return frame, faint


def width(pull: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(pull - np.median(pull))))


@pytest.mark.parametrize("name", FILES)
def test_pulls_of_faint_fibres(shared_data: Path, name: str) -> None:
    folder = shared_data / "virus_extracted"
    if not folder.is_dir():
        pytest.skip("no extracted VIRUS spectra")
    frame, faint = read(folder, name)
    got = SubtractSky().run(frame, ComputeSky().run(frame))
    inside = np.zeros(frame.flux.shape, bool)
    inside[:, ENDS:-ENDS] = True
    good = inside[faint] & (got.ivar[faint] > 0)
    pull = (got.flux[faint] * np.sqrt(got.ivar[faint]))[good]
    assert 0.55 < width(pull) < 0.80  # the errors of the files are larger than the noise: see the index of the data
    assert abs(np.median(pull)) < 0.05
    median = np.median(frame.flux[faint], axis=0)
    plain = ((frame.flux[faint] - median) * np.sqrt(frame.ivar[faint]))[good]
    assert width(pull) < 0.85 * width(plain)
