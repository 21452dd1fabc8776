"""Dark current of single darks, and its scaling with temperature."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from qa_frames import NAMES, exposure, image

from qa.dark_level import DarkLevel
from qa.dark_scaling import dark_ratio
from quicklook.core.errors import NotApplicable

SHAPE = (400, 400)


def frame(rate_per_h: float, seconds: float) -> np.ndarray:
    return np.random.default_rng(8).normal(rate_per_h * seconds / 3600.0, 3.0, SHAPE).astype(np.float32)


@pytest.mark.parametrize(("rate", "seconds"), [(3.0, 900.0), (40.0, 300.0), (-30.0, 300.0)])
def test_rate_and_its_error(rate: float, seconds: float) -> None:
    got = DarkLevel().measure(image(frame(rate, seconds)), exposure("dark", seconds))
    error = 1.2533 * 3.0 / 200.0 * 3600.0 / seconds  # of the median of 200 x 200 pixels
    np.testing.assert_allclose(got["dark_rate_error"].values, error, rtol=0.05)
    np.testing.assert_allclose(got["dark_rate"].values, rate, atol=5 * error)


def test_hot_pixels_and_masked_areas_do_not_move_it() -> None:
    values, mask = frame(10.0, 900.0), np.zeros(SHAPE, np.uint16)
    values[::40, ::40] = 5000.0
    values[:100, :100] = 400.0
    mask[:100, :100] = 4
    got = DarkLevel().measure(image(values, mask.copy()), exposure("dark", 900.0))
    np.testing.assert_allclose(got["dark_rate"].values, 10.0, atol=0.5)  # 30000 pixels: 0.09
    nearly = mask.copy()
    nearly[:200, :200] = 4
    assert np.isnan(DarkLevel().measure(image(values, nearly), exposure("dark", 900.0))["dark_rate"].values[0])


def test_where_it_does_not_apply() -> None:
    one = image(frame(1.0, 900.0))
    for what, match in ((exposure("zero"), "zero exposure"), (exposure("dark", 5.0), "too short")):
        with pytest.raises(NotApplicable, match=match):
            DarkLevel().measure(one, what)
    with pytest.raises(NotApplicable, match="subtracted"):
        DarkLevel().measure(replace(one, applied=("dark",)), exposure("dark", 900.0))
    unknown = DarkLevel().measure(one, exposure("dark", math.nan))["dark_rate"]
    assert np.isnan(unknown.values).all()
    assert set(unknown.remarks) == {(n,) for n in NAMES}
    dead = DarkLevel().measure(replace(one, dead={"B": "no noise"}), exposure("dark", 900.0))["dark_rate"]
    assert np.isnan(dead.values).tolist() == [False, True, False, False]


def test_scaling_with_temperature() -> None:
    assert dark_ratio(-140.0, -140.0, 0.6) == 1.0
    doubling = math.log(2.0) * 8.617333e-5 * 258.15**2 / 0.6  # K, at -15 degree Celsius
    assert doubling == pytest.approx(6.63, abs=0.01)
    assert dark_ratio(-15.0 + doubling / 2, -15.0 - doubling / 2, 0.6) == pytest.approx(2.0, rel=1e-3)
    with pytest.raises(ValueError, match="no temperature"):
        dark_ratio(-300.0, -140.0, 0.6)
