from __future__ import annotations

import numpy as np
import pytest
from qa_frames import amplifier, pixels, raw_image

from qa.saturation import Saturation


@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.int32, 65535), (np.int16, 32767), (np.float32, 65535)])
def test_counts_at_the_top_of_the_converter(dtype: type, top: int) -> None:
    values = pixels(2.0, dtype=dtype)
    values[10:20, 10:30] = top
    values[:256, 140:150] = top  # overscan is not counted
    got = Saturation().measure(raw_image(values))
    assert got["saturated_pixels"].values.tolist() == [200, 0, 0, 0]
    np.testing.assert_allclose(got["saturated_fraction"].values, [200 / (256 * 128), 0, 0, 0])
    assert got["saturated_fraction"].remarks == {("A",): f"200 of 32768 pixels at {top} ADU or more"}


def test_stated_saturation_level() -> None:
    values = pixels(2.0)
    values[10:20, 10:30] = 60_000
    amps = tuple(amplifier(i, saturation=59_999.5) for i in range(4))
    assert Saturation().measure(raw_image(values, amps))["saturated_pixels"].values[0] == 200


def test_level_above_the_converter_counts_its_top() -> None:
    values = pixels(2.0)
    values[10:20, 10:30] = 65535
    amps = tuple(amplifier(i, saturation=200_000.0) for i in range(4))
    assert Saturation().measure(raw_image(values, amps))["saturated_pixels"].values[0] == 200


def test_converter_of_18_bits_by_its_stated_level() -> None:
    values = pixels(2.0, dtype=np.int32)
    values[10:20, 10:30] = 262_143
    values[30:40, 10:30] = 200_000
    amps = tuple(amplifier(i, saturation=262_143.0) for i in range(4))
    assert Saturation().measure(raw_image(values, amps))["saturated_pixels"].values[0] == 200


def test_nan_is_not_counted_and_nothing_finite_is_not_measured() -> None:
    values = pixels(2.0, dtype=np.float32)
    values[:256, 164:] = np.nan
    values[0:128, 4:132] = np.nan
    values[130, 10] = np.inf
    got = Saturation().measure(raw_image(values))
    assert got["saturated_fraction"].values[0] == pytest.approx(1 / 16384, rel=1e-3)
    assert np.isnan(got["saturated_fraction"].values[1])
    assert got["saturated_fraction"].remarks["B",] == "the amplifier is dead: no finite pixel"


def test_plot_and_facts() -> None:
    raw = raw_image(pixels(2.0))
    before = raw.pixels.copy()
    got = Saturation().measure(raw)
    np.testing.assert_array_equal(raw.pixels, before)
    line = got.plots[0].panels[1].layers[0]
    assert np.nansum(line.y) == pytest.approx(raw.amplifiers[0].data.shape[0] * 128, rel=0.01)  # type: ignore[union-attr]
    assert got.facts["saturation_adu_A"] == 65535
