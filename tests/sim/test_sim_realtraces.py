"""Real traces for the simulator: badly fitted widths do not come through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial import legendre

from quicklook.sim.geometry import layout_of
from quicklook.sim.light import light_path
from quicklook.sim.realtraces import _usual, read_traces_of


def test_widths_that_run_away_are_replaced_by_the_usual_one() -> None:
    rng = np.random.default_rng(2)
    series = np.array([1.1, 0.05, 0.02]) + 0.01 * rng.normal(size=(30, 3))
    series[4] = [1.1, 0.9, 0.5]  # runs from 0.7 to 2.5
    series[9] = [1.1, -1.3, 0.0]  # below zero
    got = _usual(series)
    kept = np.delete(np.arange(30), [4, 9])
    np.testing.assert_array_equal(got[kept], series[kept])
    for fibre in (4, 9):
        np.testing.assert_allclose(got[fibre], np.median(series[kept], axis=0), atol=0.01)


@pytest.mark.parametrize("arm", ["b", "z"])
def test_traces_of_the_instrument_have_widths_everywhere(arm: str, shared_data: Path) -> None:
    layout = layout_of(arm, "full")
    path = light_path(layout, read_traces_of(str(shared_data / "desi_psf" / f"psf-{arm}0.fits"), layout))
    for width in (path.sigma_x, path.sigma_y):
        assert width.min() > 0.5
        assert width.max() < 2.5
    assert np.isfinite(legendre.legval(0.0, path.traces.y.T)).all()
