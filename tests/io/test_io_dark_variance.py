"""The variance of a dark is read where it can matter, and stays in the file where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.ccd.calibs import Dark
from quicklook.io.calibfile import DARK_MATTERS, load_calibration
from quicklook.io.calibwrite import write_calibration

SHAPE = (40, 30)


def written(tmp_path: Path, sigma: float) -> Dark:
    variance = np.full(SHAPE, sigma**2, np.float32)
    variance[3, 4] = 0.0
    dark = Dark(pixels=np.full(SHAPE, 0.001, np.float32), variance=variance)
    again = load_calibration(write_calibration(dark, tmp_path / "dark.fits"), Dark, {})
    assert isinstance(again, Dark)
    return again


def test_the_variance_of_a_noisy_dark_comes_with_it(tmp_path: Path) -> None:
    variance = written(tmp_path, 0.005).variance
    assert variance is not None
    assert variance.dtype == np.float32
    assert variance[3, 4] == 0
    np.testing.assert_allclose(variance[variance > 0], 0.005**2, rtol=1e-6)


@pytest.mark.parametrize(("part", "there"), [(1.1, True), (0.9, False)])
def test_a_good_dark_is_not_twice_as_large(tmp_path: Path, part: float, there: bool) -> None:
    assert (written(tmp_path, part * DARK_MATTERS).variance is not None) == there
