from __future__ import annotations

import numpy as np
import pytest
from qa_frames import pixels, raw_image

from qa.dead_amp import DeadAmp, DeadAmpParams

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
    # the fraction is that of data and overscan, not of the prescan
    assert dead(values) == ([0, 1, 0, 0], "99.26 % of the pixels read 65535")


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
    assert "at or above saturation" in why


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


def test_without_overscan() -> None:
    values = pixels(2.0, over=0, pre=0)
    values[:256, 128:] = 7
    assert dead(values, over=0, pre=0) == ([0, 1, 0, 0], "every pixel reads 7")


def test_tiny_amplifiers_do_not_crash() -> None:
    values = np.full((2, 8), 100, np.uint16)
    got = DeadAmp().measure(raw_image(values, ny=1, nx=1, over=1, pre=2))
    assert got["dead_amp"].values.tolist() == [1, 1, 1, 1]


def test_constant_fraction_and_caption() -> None:
    values = pixels(2.0)
    values[QUARTER] = 65535
    got = DeadAmp(DeadAmpParams(constant_fraction=0.95)).measure(raw_image(values))
    assert got["constant_fraction"].values[1] == 1.0
    assert got["constant_fraction"].values[0] == pytest.approx(0.2, abs=0.02)  # rounded Gaussian of 2 ADU: 1/(2 sqrt(2 pi))
    assert got.plots[0].caption == "B: every pixel reads 65535"
