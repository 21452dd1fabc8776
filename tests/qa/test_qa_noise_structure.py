"""Noise that is not white, put in and found again; kernels against slow loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qa_frames import NAMES, NX, NY, OVER, PRE, amplifier, exposure, pixels, raw_image

from qa.kernels.overscan import Block, block_noise, correlation, line_noise, strongest_sine
from qa.noise_structure import NoiseStructure
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures

WIDTH = PRE + NX + OVER


def measure(values: np.ndarray) -> Measures:
    return NoiseStructure().measure(raw_image(values), exposure("dark"))


def sine(adu: float, frequency: float) -> np.ndarray:
    """Added in the order of the read-out to amplifier B, which is read from the lower right corner; rounded after that."""
    values = pixels(2.0, dtype=np.float64)
    time = np.arange(NY * WIDTH).reshape(NY, WIDTH)
    values[:NY, WIDTH:] += adu * np.sin(2.0 * np.pi * frequency * time)[:, ::-1]
    return np.rint(values).astype(np.uint16)


@pytest.mark.parametrize("seed", range(6))
def test_white_noise_has_nothing_of_it(seed: int) -> None:
    got = measure(pixels(2.0, seed=seed))
    assert got["row_noise_ratio"].values.max() < 1.2  # medians of 16 rows of 26 pixels: 5 % each, the largest of sixteen
    assert got["noisy_row_fraction"].values.max() == 0.0
    assert got["pickup_ratio"].values.max() < 0.15  # 256 x 26 pixels: sqrt(4 ln(4000) / 4400) is 0.09
    assert np.isnan(got["pickup_frequency"].values).all()
    assert np.abs(got["noise_correlation"].values).max() < 5.0 / np.sqrt(256 * 26)
    assert got["noise_correlation"].coords["pair"] == ("A-B", "A-C", "A-D", "B-C", "B-D", "C-D")


@pytest.mark.parametrize("frequency", [0.0317, 0.1371, 0.3333, 0.4871])
@pytest.mark.parametrize("adu", [1.0, 3.0])
def test_a_sine_is_found_with_amplitude_and_frequency(adu: float, frequency: float) -> None:
    got = measure(sine(adu, frequency))
    # amplitude: 2 ADU of noise in 256 x 26 pixels with a Hann window, sigma sqrt(2 / 4400) = 0.04 ADU, and up to 5 % between the places looked at
    assert got["pickup_amplitude"].values[1] / 1.25 == pytest.approx(adu, rel=0.1, abs=0.15)
    assert got["pickup_frequency"].values[1] == pytest.approx(frequency, abs=0.2 / 26)  # a fifth of a bin
    assert "cycles per pixel" in got["pickup_ratio"].remarks["B",]
    assert np.delete(got["pickup_ratio"].values, 1).max() < 0.15


def test_a_slow_sine_changes_from_row_to_row_alone() -> None:
    """Its period is 16.5 rows: the pixels of a row have one value."""
    got = measure(sine(2.0, 1.0 / (16.5 * WIDTH)))
    assert got["pickup_amplitude"].values[1] / 1.25 == pytest.approx(2.0, rel=0.1)
    assert got["pickup_frequency"].values[1] < 0.01


@pytest.mark.parametrize("change", ["step", "drift"])
def test_steps_and_drifts_are_no_sine(change: str) -> None:
    values = pixels(2.0, dtype=np.float32)
    values[:NY] += np.where(np.arange(NY) > 100, 10.0, 0.0)[:, None] if change == "step" else np.linspace(0.0, 20.0, NY)[:, None]
    assert measure(np.rint(values))["pickup_ratio"].values.max() < 0.25  # the limit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("adu", [1.0, 2.0, 4.0])
def test_noise_from_row_to_row_is_no_sine(adu: float, seed: int) -> None:
    values = pixels(2.0, dtype=np.float64)
    values[:NY] += np.random.default_rng(seed).normal(0.0, adu, NY)[:, None]
    got = measure(np.rint(values))
    assert got["pickup_ratio"].values.max() < 0.25  # the limit
    assert np.isnan(got["pickup_frequency"].values).all()
    assert not got["pickup_ratio"].remarks


def test_a_sine_from_row_to_row_is_one_among_rows_that_have_noise() -> None:
    values = pixels(2.0, dtype=np.float64)
    values[:NY] += (np.random.default_rng(3).normal(0.0, 1.0, NY) + 3.0 * np.sin(2.0 * np.pi * np.arange(NY) / 16.5))[:, None]
    got = measure(np.rint(values))
    assert got["pickup_ratio"].values[0] > 0.25
    assert "per row" in got["pickup_ratio"].remarks["A",]


def test_noisy_rows() -> None:
    values = pixels(2.0, dtype=np.float64)
    rng = np.random.default_rng(5)
    values[40:80] += rng.normal(0.0, 3.0, values[40:80].shape)  # of 256 rows of A and B
    values[[300, 400]] += rng.normal(0.0, 20.0, (2, values.shape[1]))  # bursts, in C and D
    got = measure(np.rint(values))
    np.testing.assert_allclose(got["row_noise_ratio"].values[:2], np.hypot(2.0, 3.0) / 2.0, rtol=0.12)  # medians of 16 rows of 26 pixels: 5 %
    assert got["row_noise_ratio"].values[2:].max() < 1.2
    np.testing.assert_allclose(got["noisy_row_fraction"].values[2:], 2 / NY)
    assert got["noisy_row_fraction"].values[:2].min() > 5 / NY


@pytest.mark.parametrize("common", [0.7, 2.0])
def test_noise_that_amplifiers_share_in_the_order_of_the_read_out(common: float) -> None:
    values = pixels(2.0, dtype=np.float64)
    noise = np.random.default_rng(9).normal(0.0, common, (NY, WIDTH))
    values[:NY, :WIDTH] += noise  # A is read from the lower left
    values[NY:, WIDTH:] += noise[::-1, ::-1]  # D from the upper right
    got = measure(np.rint(values))["noise_correlation"]
    expected = common**2 / (common**2 + 4.0 + 1.0 / 12.0)
    assert got.values[got.coords["pair"].index("A-D")] == pytest.approx(expected, abs=5.0 / np.sqrt(256 * 26))
    others = [v for p, v in zip(got.coords["pair"], got.values, strict=True) if p != "A-D"]
    assert np.abs(others).max() < 5.0 / np.sqrt(256 * 26)


def test_dead_and_known_bad_amplifiers() -> None:
    values = pixels(2.0)
    values[:NY, WIDTH:] = 1005
    got = NoiseStructure().measure(raw_image(values, tuple(amplifier(i, bad=i == 3) for i in range(4))), exposure("dark"))
    pairs = got["noise_correlation"]
    assert pairs.coords["pair"] == ("A-B", "A-C", "B-C")
    assert np.isnan(pairs.values[[0, 2]]).all()
    assert "amplifier B: the amplifier is dead" in pairs.remarks["A-B",]
    assert np.isnan(got["row_noise_ratio"].values[[1, 3]]).all()


def test_where_there_is_no_overscan_it_does_not_apply_but_in_zeros() -> None:
    raw = raw_image(pixels(2.0, over=0, pre=0), over=0, pre=0)
    with pytest.raises(NotApplicable):
        NoiseStructure().measure(raw, exposure("flat"))
    assert np.isfinite(NoiseStructure().measure(raw, exposure("zero"))["pickup_ratio"].values).all()


def test_one_amplifier_has_no_pairs() -> None:
    raw = RawImage(camera="x", pixels=pixels(2.0), amplifiers=(amplifier(0),))
    assert "no two amplifiers" in str(NoiseStructure().measure(raw, None)["noise_correlation"].not_applicable)


def test_noise_of_lines_against_a_loop() -> None:
    strip = np.random.default_rng(2).normal(0.0, 3.0, (40, 30)).astype(np.float32)
    strip[3, 5] = np.nan
    strip[7] = np.inf
    expected = []
    for line in strip.astype(np.float64):
        steps = [abs(b - a) for a, b in itertools.pairwise(line) if np.isfinite(a) and np.isfinite(b)]
        expected.append(np.sqrt(np.pi) / 2 * np.mean(steps) if steps else np.nan)
    np.testing.assert_allclose(line_noise(strip), expected, rtol=1e-5)
    blocks = block_noise(np.array([1.0, 2.0, 9.0, np.nan, 4.0, 6.0, 5.0]), 3)
    np.testing.assert_allclose(blocks, [2.0, 5.0])  # the last one is left out


def test_correlation_and_sine_against_plain_numpy() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(0.0, 2.0, (64, 20)).astype(np.float32)
    b = (0.5 * a + rng.normal(0.0, 1.0, a.shape)).astype(np.float32)
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    assert correlation(a, b) == pytest.approx((x @ y) / np.sqrt((x @ x) * (y @ y)), rel=1e-5)
    assert np.isnan(correlation(a, np.zeros_like(a)))
    assert strongest_sine([Block(a, a, 0.0)]) is None
    at = np.arange(64)[:, None] * 9.0 / 64 + np.arange(20) * 4.0 / 20
    wave = (5.0 * np.cos(2.0 * np.pi * at)).astype(np.float32)  # at a bin: nothing lies between
    found = strongest_sine([Block(wave + a, wave, 2.0)])
    assert found is not None
    assert found.amplitude == pytest.approx(5.0, abs=0.5)  # noise: 2 sqrt(2 / 853) = 0.1
    assert (found.per_pixel, found.per_line) == (pytest.approx(0.2, abs=0.01), pytest.approx(9 / 64, abs=0.003))
    assert found.power == pytest.approx(20 * 32.5**2 / 24.4 * (5.0 / 4.0) ** 2, rel=0.2)  # n sum(w)^2 / sum(w^2) (A / 2 sigma)^2


def test_inputs_stay_and_the_plot_has_units() -> None:
    raw = raw_image(pixels(2.0))
    before = raw.pixels.copy()
    got = NoiseStructure().measure(raw, exposure("dark"))
    np.testing.assert_array_equal(raw.pixels, before)
    assert [p.y.unit for p in got.plots[0].panels] == ["electron", "", "", ""]
    assert {layer.label for layer in got.plots[0].panels[0].layers} == set(NAMES)  # type: ignore[union-attr]
