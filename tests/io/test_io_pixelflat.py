"""A pixel flat on disk: its responses come back, its ivar stands in the file for those who want it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from quicklook.ccd.calibs import PixelFlat
from quicklook.io.calibfile import load_calibration
from quicklook.io.calibwrite import write_calibration


def test_responses_and_ivar_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(1.0, 0.01, (20, 30)).astype(np.float32)
    ivar = rng.uniform(0.0, 1e5, (20, 30)).astype(np.float32)
    path = write_calibration(PixelFlat(pixels=pixels, ivar=ivar), tmp_path / "pixflat.fits")
    np.testing.assert_array_equal(fits.getdata(path, "IVAR"), ivar)
    loaded = load_calibration(path, PixelFlat, {})
    assert isinstance(loaded, PixelFlat)
    np.testing.assert_array_equal(loaded.pixels, pixels)
    without = write_calibration(PixelFlat(pixels=pixels), tmp_path / "without.fits")
    with fits.open(without) as hdus:
        assert len(hdus) == 1
