"""One decision on what is dead, one level of saturation, one trimmed overscan."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.ccd.deadarea import NOTHING, _may_be_quiet, dead_area
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.health import health, percent
from quicklook.ccd.strips import sample_lines, saturation_level, trimmed

NY, NX, OVER = 600, 300, 32


def amplifier(*, right: bool = False, upright: bool = False, overscan: bool = True, saturation: float | None = None) -> Amplifier:
    """Overscan right or left of the data; `upright`: above or below."""
    x = (OVER, OVER + NX, 0, OVER) if right else (0, NX, NX, NX + OVER)
    data, over = Section(0, NY, x[0], x[1]), Section(0, NY, x[2], x[3])
    if upright:
        data, over = (Section(s.x0, s.x1, s.y0, s.y1) for s in (data, over))
    ny, nx = data.shape
    return Amplifier(name="A", data=data, ccd=Section(0, ny, 0, nx), overscan=over if overscan else None, gain=1.0, saturation=saturation)


def frame(sigma: float = 2.0, dtype: type = np.uint16, *, upright: bool = False) -> np.ndarray:
    values = np.random.default_rng(1).normal(1000.0, sigma, (NY, NX + OVER))
    values = np.rint(values).astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)
    return np.ascontiguousarray(values.T) if upright else values


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("upright", [False, True])
def test_trimmed_beside_the_data_and_at_the_far_end(right: bool, upright: bool) -> None:
    amp = amplifier(right=right, upright=upright)
    assert amp.overscan is not None
    got = trimmed(amp.overscan, amp, (5, 2))
    along = (got.y0, got.y1) if upright else (got.x0, got.x1)
    assert along == ((2, OVER - 5) if right else (NX + 5, NX + OVER - 2))
    narrow = trimmed(Section(0, 10, NX, NX + 4), amplifier(), (3, 3))
    assert (narrow.x0, narrow.x1) == (NX, NX + 4)  # a quarter of three at most


@pytest.mark.parametrize(
    ("stated", "dtype", "level"),
    [
        (None, np.uint16, 65535), (None, np.int16, 32767), (None, np.int32, 65535), (None, np.float32, 65535), (60000.0, np.uint16, 60000),
        (200000.0, np.uint16, 65535), (262143.0, np.int32, 262143), (40000.0, np.int16, 32767),
    ],
)  # fmt: skip
def test_saturation_level(stated: float | None, dtype: type, level: float) -> None:
    assert saturation_level(amplifier(saturation=stated), dtype) == level


@pytest.mark.parametrize(("number", "wanted"), [(10, 40), (100, 10), (2064, 256), (1, 8)])
def test_sampled_lines_are_in_order_within_and_of_no_period(number: int, wanted: int) -> None:
    lines = sample_lines(number, wanted)
    assert 0 <= lines[0] <= lines[-1] < number
    assert (np.diff(lines) > 0).all()
    assert len(lines) == min(number, wanted)
    if number > 1000:
        for period in range(2, 12):
            assert np.bincount(lines % period).min() > 0.5 * len(lines) / period


def test_same_verdict_of_an_image_that_is_turned() -> None:
    pixels = frame()
    pixels[:, :NX] = 65535
    pixels[:, NX:] = 65535
    assert health(pixels, amplifier()).dead == "every pixel reads 65535"
    assert health(np.ascontiguousarray(pixels.T), amplifier(upright=True)).dead == "every pixel reads 65535"
    assert health(pixels, amplifier()).cause == "the amplifier is dead: every pixel reads 65535"


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("overscan", [True, False])
def test_no_area_of_a_healthy_amplifier_is_dead(dtype: type, sigma: float, overscan: bool) -> None:
    assert dead_area(frame(sigma, dtype), amplifier(overscan=overscan)) is NOTHING


@pytest.mark.parametrize("sigma", [0.15, 0.25, 0.3])
def test_noise_below_the_step_of_the_converter_is_not_taken_for_death(sigma: float) -> None:
    assert dead_area(frame(sigma), amplifier()).fraction == 0.0


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("value", [0, 1000, 400])
def test_dead_rows_are_found_with_their_place(value: int, upright: bool) -> None:
    pixels = frame()
    pixels[100:200, :NX] = value
    pixels = np.ascontiguousarray(pixels.T) if upright else pixels
    got = dead_area(pixels, amplifier(upright=upright))
    assert got.fraction == pytest.approx(1 / 6)
    assert got.pixels is not None
    wanted = np.zeros((NY, NX), bool)
    wanted[100:200] = True
    np.testing.assert_array_equal(got.pixels.T if upright else got.pixels, wanted)
    place = "[101:200,1:300]" if upright else "[1:300,101:200]"
    assert got.words.startswith(f"16.66 % of the pixels, in {place}, read {value}")


def test_rows_of_one_value_each_and_noise_far_below_are_dead_too() -> None:
    pixels = frame()
    pixels[:200, :NX] = 1000 + np.arange(200)[:, None]
    assert dead_area(pixels, amplifier()).words == "33.33 % of the pixels, in [1:300,1:200], read about 1100 without noise"
    pixels = frame()
    pixels[:200, :NX] -= 500
    assert dead_area(pixels, amplifier()).fraction == pytest.approx(1 / 3)


def test_a_single_dead_row_of_many_is_counted_when_others_are_dead() -> None:
    pixels = frame()
    pixels[7, :NX] = 0
    pixels[300:310, :NX] = 0
    assert dead_area(pixels, amplifier()).fraction == pytest.approx(11 / NY)


def test_saturated_areas_and_steep_light_are_not_dead() -> None:
    pixels = frame()
    pixels[100:300, :NX] = 65535
    assert dead_area(pixels, amplifier()) is NOTHING
    pixels = frame(dtype=np.float32)
    pixels[:, :NX] += np.linspace(0, 50_000, NX)
    assert dead_area(pixels, amplifier()) is NOTHING


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38])
def test_wild_floats_raise_nothing(value: float) -> None:
    pixels = frame(dtype=np.float32)
    pixels[50:100] = value
    assert 0.0 <= dead_area(pixels, amplifier()).fraction <= 1.0
    assert health(pixels, amplifier()).dead == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 70), (70, 3)])
def test_tiny_amplifiers(shape: tuple[int, int]) -> None:
    amp = Amplifier(name="A", data=Section(0, shape[0], 0, shape[1]), ccd=Section(0, shape[0], 0, shape[1]), gain=1.0)
    pixels = np.random.default_rng(2).integers(900, 1100, shape).astype(np.uint16)
    assert dead_area(pixels, amp).fraction == 0.0
    health(pixels, amp)


@pytest.mark.parametrize(("fraction", "words"), [(1.0, "100 %"), (0.999999, "99.99 %"), (0.4857142, "48.57 %"), (0.0009, "0.09 %")])
def test_percent_is_never_all_of_what_is_not(fraction: float, words: str) -> None:
    assert percent(fraction) == words


@pytest.mark.parametrize("length", [2, 5, 16, 64])
def test_a_quiet_stretch_is_never_overlooked(length: int) -> None:
    """The quick look ahead sees every stretch of one value, wherever it begins; noise alone is mostly told from one."""
    noise = np.random.default_rng(2).integers(0, 1 << 30, (3, 200)).astype(np.int32)
    assert length < 4 or not _may_be_quiet(noise, length)
    for first in range(200 - length + 1):
        lines = noise.copy()
        lines[1, first : first + length] = 7
        assert _may_be_quiet(lines, length), first
