"""Images: colour scales, binning, masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.render.colours import image_scale, point_scale
from monitor.render.images import binned, equal_scales, extent_of, mask_picture
from quicklook.core.plots import Axis, Image

SIGNAL = Axis(label="signal", unit="electron")


def test_the_scale_spans_the_percentiles_and_says_what_lies_beyond() -> None:
    scale = image_scale(SIGNAL, np.arange(1001.0), "linear", (1.0, 99.0))
    assert (scale.norm.vmin, scale.norm.vmax) == pytest.approx((10.0, 990.0))
    assert scale.extend == "both"


def test_the_range_of_the_axis_comes_before_the_percentiles() -> None:
    scale = image_scale(Axis(label="s", range=(0.0, None)), np.arange(-10, 11.0), "linear", (0.0, 100.0))
    assert (scale.norm.vmin, scale.norm.vmax) == pytest.approx((0.0, 10.0))
    assert scale.extend == "min"


def test_asinh_stretches_the_sky_and_compresses_the_bright_end() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 3, 9000), rng.uniform(0, 10000, 1000)])
    norm = image_scale(SIGNAL, values, "asinh", (0.0, 100.0)).norm
    low, sky, bright, top = (float(norm(v)) for v in (values.min(), 10.0, 5000.0, values.max()))
    assert (low, top) == pytest.approx((0.0, 1.0))
    assert sky > 0.2, "ten electrons of ten thousand are seen"
    assert low < sky < bright < top


def test_a_logarithmic_scale_of_what_is_not_above_zero_is_linear_and_says_so() -> None:
    scale = image_scale(SIGNAL, np.array([-3.0, -1.0]), "log", (0.0, 100.0))
    assert not scale.log
    assert "no value above zero" in scale.notes[0]


@pytest.mark.parametrize("stretch", ["linear", "asinh", "log"])
@pytest.mark.parametrize("values", [np.full(9, 65535.0), np.full(9, 0.0), np.full(9, -2.0), np.full(9, np.nan), np.empty(0)])
def test_constant_and_empty_images_have_a_scale(stretch: str, values: np.ndarray) -> None:
    scale = image_scale(SIGNAL, values, stretch, (1.0, 99.0))  # type: ignore[arg-type]
    assert scale.norm.vmin < scale.norm.vmax
    constant = values.size > 0 and np.isfinite(values).all()
    assert any("every value is" in n for n in scale.notes) == constant
    assert bool(scale.ticks) == constant


def test_points_of_both_signs_get_a_scale_about_zero_and_others_do_not() -> None:
    both = point_scale(Axis(label="residual"), np.array([-1.0, 0.5, 2.0]))
    assert (both.norm.vmin, both.norm.vmax) == (-2.0, 2.0)
    one = point_scale(Axis(label="S/N"), np.array([0.1, 5.0]))
    assert (one.norm.vmin, one.norm.vmax) == (0.1, 5.0)
    assert both.cmap.name != one.cmap.name


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
@settings(deadline=None)
def test_binning_is_the_mean_of_the_finite_pixels(ny: int, nx: int, factor: int) -> None:
    rng = np.random.default_rng(ny * 100 + nx)
    values = rng.normal(size=(ny, nx))
    values[rng.uniform(size=values.shape) < 0.3] = np.nan
    out = binned(values, factor)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            cell = values[j * factor : (j + 1) * factor, i * factor : (i + 1) * factor]
            expected = np.nan if np.isnan(cell).all() else np.nanmean(cell)
            # sums of at most 81 numbers of order one: rounding stays below 1e-13
            np.testing.assert_allclose(out[j, i], expected, atol=1e-13)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120), st.integers(1, 120), st.data())
@settings(deadline=None, max_examples=60)
def test_no_masked_pixel_is_lost_on_a_smaller_page(ny: int, nx: int, height: int, width: int, data: st.DataObject) -> None:
    y, x = data.draw(st.integers(0, ny - 1)), data.draw(st.integers(0, nx - 1))
    mask = np.zeros((ny, nx), np.uint16)
    mask[y, x] = 4
    shown = mask_picture(mask, (height, width))[..., 3] > 0
    assert shown.shape == (height, width)
    assert shown.any()
    # it is where it should be: not more than a pixel of the page, or of the mask, away
    places = np.argwhere(shown) / (height, width)
    slack = max(1 / height, 1 / ny, 1 / width, 1 / nx)
    assert np.abs(places - ((y + 0.5) / ny, (x + 0.5) / nx)).max() <= slack + 1e-9


def test_a_large_masked_area_lets_the_data_through_between_stripes_and_a_small_one_is_solid() -> None:
    mask = np.zeros((200, 200), bool)
    mask[:100] = True
    mask[150, 150] = True
    alpha = mask_picture(mask, (200, 200))[..., 3]
    assert 0.3 < np.mean(alpha[10:90] == 255) < 0.8
    assert alpha[150, 150] == 255
    assert not alpha[120:140].any()


def test_pictures_in_one_unit_are_not_stretched_and_heat_maps_are() -> None:
    pixel, fibre = Axis(label="x", unit="pixel"), Axis(label="fibre")
    assert equal_scales(pixel, pixel, (0, 100, 0, 200)) == 2.0
    assert equal_scales(pixel, pixel, (0, 1000, 0, 10)) is None
    assert equal_scales(pixel, fibre, (0, 100, 0, 200)) is None


@pytest.mark.parametrize("extent", [(0, 0, 0, 1), (0, np.nan, 0, 1), (0, 1, -np.inf, 1)])
def test_an_extent_without_width_is_replaced_by_that_of_the_pixels(extent: tuple[float, float, float, float]) -> None:
    assert extent_of(Image(values=np.zeros((4, 6)), extent=extent, c_axis=SIGNAL)) == (-0.5, 5.5, -0.5, 3.5)
