from __future__ import annotations

import numpy as np
import pytest
from qa_frames import amplifier, pixels, raw_image

from qa.dead_amp import DeadAmp

QUARTER = np.s_[:256, 164:]
"""All pixels of amplifier B, overscan and prescan too."""
DATA = np.s_[:256, 196:324]


def dead(values: np.ndarray, **sizes: int) -> tuple[list[float], str]:
    got = DeadAmp().measure(raw_image(values, **sizes))["dead_amp"]
    return got.values.tolist(), got.remarks.get(("B",), "")


def test_healthy_frame() -> None:
    assert dead(pixels(2.0)) == ([0, 0, 0, 0], "")
    assert dead(pixels(0.5))[0] == [0, 0, 0, 0]


@pytest.mark.parametrize(("value", "dtype"), [(65535, np.uint16), (1005, np.int32), (0, np.int16), (0.0, np.float32)])
def test_constant_amplifier_by_name(value: float, dtype: type) -> None:
    values = pixels(2.0, dtype=dtype)
    values[QUARTER] = value
    assert dead(values) == ([0, 1, 0, 0], f"every pixel reads {value:g}")


def test_nearly_constant_amplifier_is_not_called_every_pixel() -> None:
    values = pixels(2.0)
    values[QUARTER] = 65535
    values[100:105, 200:260] = 60_000  # 300 of 40,960
    # the fraction is that of data and trimmed overscan (128 + 26 columns), not of the prescan
    assert dead(values) == ([0, 1, 0, 0], "99.23 % of the pixels read 65535")


def test_image_and_overscan_at_two_constants() -> None:
    values = pixels(2.0)
    values[QUARTER] = 100
    values[DATA] = 0
    assert dead(values) == ([0, 1, 0, 0], "constant: the image reads 0, the overscan 100")


def test_nan_amplifier() -> None:
    values = pixels(2.0, dtype=np.float32)
    values[QUARTER] = np.nan
    assert dead(values) == ([0, 1, 0, 0], "no finite pixel")


def test_no_noise_in_float_data() -> None:
    values = pixels(2.0, dtype=np.float32)
    values[QUARTER] = 1005 + np.random.default_rng(1).normal(0, 0.01, values[QUARTER].shape)
    state, why = dead(values)
    assert state == [0, 1, 0, 0]
    assert why.startswith("no noise: scatter 0.0")


def test_all_at_the_top_with_some_noise() -> None:
    values = pixels(2.0).astype(np.int32)
    values[QUARTER] = 65535 + np.random.default_rng(1).integers(0, 100, values[QUARTER].shape)
    state, why = dead(values)
    assert state == [0, 1, 0, 0]
    assert why == "its overscan is saturated (100 % of it at 65535 ADU or more), so that there is no bias level, its image too"


def test_overexposed_image_with_a_living_overscan_is_not_dead() -> None:
    values = pixels(2.0)
    values[DATA] = 65535
    assert dead(values) == ([0, 0, 0, 0], "")


def test_image_stuck_elsewhere_with_a_living_overscan_is_dead() -> None:
    values = pixels(2.0)
    values[DATA] = 1005
    assert dead(values) == ([0, 1, 0, 0], "the image reads 1005 throughout, although its overscan has noise")


def test_blank_overscan_beside_a_living_image_is_not_dead() -> None:
    values = pixels(2.0)
    values[:256, 164:196] = 0
    assert dead(values)[0] == [0, 0, 0, 0]


def test_saturated_overscan_beside_a_living_image_leaves_no_level() -> None:
    values = pixels(2.0)
    values[:256, 164:196] = 65535
    assert dead(values) == ([0, 1, 0, 0], "its overscan is saturated (100 % of it at 65535 ADU or more), so that there is no bias level")


@pytest.mark.parametrize("period", [2, 3, 4, 5, 7, 8, 13])
def test_a_pattern_that_pixels_at_even_distances_would_miss_is_not_constant(period: int) -> None:
    values = pixels(2.0)
    y, x = np.indices(values[QUARTER].shape)
    values[QUARTER] = 940 + (y + x) % period
    assert dead(values) == ([0, 0, 0, 0], "")


def test_without_overscan() -> None:
    values = pixels(2.0, over=0, pre=0)
    values[:256, 128:] = 7
    assert dead(values, over=0, pre=0) == ([0, 1, 0, 0], "every pixel reads 7")


def test_tiny_amplifiers_do_not_crash() -> None:
    values = np.full((2, 8), 100, np.uint16)
    got = DeadAmp().measure(raw_image(values, ny=1, nx=1, over=1, pre=2))
    assert got["dead_amp"].values.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "48.82 % of the pixels, in [197:324,1:125], read 0, far below the bias level of 1000 ADU"),
        (1000, "48.82 % of the pixels, in [197:324,1:125], read 1000 without noise"),
    ],
)
def test_amplifier_that_is_dead_in_part(value: int, words: str) -> None:
    values = pixels(2.0)
    values[:125, 196:324] = value
    got = DeadAmp().measure(raw_image(values))
    assert got["dead_amp"].values.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(got["dead_fraction"].values, [0, 125 / 256, 0, 0])
    assert got["dead_fraction"].remarks == {("B",): words}
    assert words in got.plots[0].caption


def test_dead_amplifier_has_no_dead_area_besides() -> None:
    values = pixels(2.0)
    values[QUARTER] = 0
    got = DeadAmp().measure(raw_image(values))["dead_fraction"]
    assert np.isnan(got.values[1])
    assert got.remarks == {("B",): "the amplifier is dead: every pixel reads 0"}


def test_known_bad_amplifier_is_left_out() -> None:
    values = pixels(2.0)
    values[QUARTER] = 0
    amps = tuple(amplifier(i, bad=i == 1) for i in range(4))
    got = DeadAmp().measure(raw_image(values, amps))
    for metric in got.metrics:
        assert np.isnan(metric.values[1])
        assert metric.left_out == {("B",)}
        assert metric.remarks["B",] == "known to be bad"
    assert got.plots[0].panels[0].layers[0].words == ("", "known bad", "", "")  # type: ignore[union-attr]
    none = DeadAmp().measure(raw_image(values, tuple(amplifier(i, bad=True) for i in range(4))))
    assert {m.not_applicable for m in none.metrics} == {"every amplifier is known to be bad"}


def test_constant_fraction_and_caption() -> None:
    values = pixels(2.0)
    values[QUARTER] = 65535
    got = DeadAmp().measure(raw_image(values))
    assert got["constant_fraction"].values[1] == 1.0
    assert got["constant_fraction"].values[0] == pytest.approx(0.2, abs=0.02)  # rounded Gaussian of 2 ADU: 1/(2 sqrt(2 pi))
    assert got.plots[0].caption == "B: every pixel reads 65535"
