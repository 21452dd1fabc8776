"""The kernels against slow numpy, and against truth for rounded Gaussian noise."""

from __future__ import annotations

import numpy as np
import pytest

from qa.kernels.counts import count_above
from qa.kernels.noise import CLIP, clip_factor, scatter, without_rounding
from qa.kernels.preview import preview
from qa.kernels.steps import beyond_noise, largest_step, rise, robust_mean, thin_out, without_drift
from qa.kernels.tracks import count_pixels, count_unusable


def slow_scatter(x: np.ndarray, width: int) -> tuple[float, np.ndarray]:
    """The same definition in plain numpy: clipped block means about medians, column means out, clipped standard deviation."""
    blocks = x.reshape(x.shape[0], -1, width).astype(np.float64)
    upper = np.sort(blocks, axis=2)[:, :, width // 2]
    deviation = np.abs(blocks - upper[:, :, None]).mean(axis=2)
    start = 1.2533141 * np.median(deviation)
    inside = np.abs(blocks - upper[:, :, None]) <= 1.25 * CLIP * start
    levels = np.where(inside, blocks, 0).sum(axis=2) / inside.sum(axis=2)
    residuals = (blocks - levels[:, :, None]).reshape(x.shape)
    kept = np.abs(residuals) <= 1.25 * CLIP * start
    residuals -= np.where(kept, residuals, 0).sum(axis=0) / kept.sum(axis=0)
    sigma = 1.25 * start
    for _ in range(20):
        good = residuals[np.abs(residuals) <= CLIP * sigma]
        sigma = np.sqrt(np.mean(good**2)) / clip_factor(CLIP)
    freedom = (1 - inside.shape[0] * inside.shape[1] / inside.sum()) * (1 - 1 / x.shape[0])
    return float(sigma / np.sqrt(freedom)), levels


def noise(sigma: float, shape: tuple[int, int], seed: int = 5) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(1000.3, sigma, shape)).astype(np.float32)


@pytest.mark.parametrize("width", [32, 64])
def test_scatter_equals_slow_numpy(width: int) -> None:
    x = noise(2.0, (300, 64))
    x[::7, 3] += 500
    sigma, levels = slow_scatter(x, width)
    got = scatter(x, width)
    assert got.sigma == pytest.approx(sigma, rel=1e-4)  # float32 residuals
    np.testing.assert_allclose(got.levels, levels, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 1.6, 2.1, 2.9, 5.0, 40.0])
def test_scatter_of_rounded_noise_is_unbiased(sigma: float) -> None:
    # 262,144 pixels: the sample itself scatters by 0.14 %, the claim is 0.3 %, together 0.7 % at three sigma
    got = without_rounding(scatter(noise(sigma, (4096, 64)), 64).sigma)
    assert got == pytest.approx(sigma, rel=0.007)


def test_scatter_ignores_rays_level_changes_and_column_patterns() -> None:
    clean = noise(2.0, (2000, 60))
    dirty = clean + np.linspace(0, 300, 2000)[:, None] + np.linspace(-5, 5, 60)[None, :]
    rng = np.random.default_rng(2)
    dirty[rng.integers(0, 2000, 600), rng.integers(0, 60, 600)] += 3000  # 0.5 % of the pixels
    # 0.5 % of outliers far outside of the clip bias nothing; half a per cent is left for the other sample of pixels
    assert scatter(dirty, 60).sigma == pytest.approx(scatter(clean, 60).sigma, rel=0.005)


def test_levels_follow_the_majority_of_a_row() -> None:
    x = noise(2.0, (100, 60))
    x[10:20, :18] += 10_000  # 30 % of ten rows
    assert np.abs(scatter(x, 60).levels[:, 0] - 1000.3).max() < 5 * 2.0 / np.sqrt(42)  # five sigma of a mean of 42


def test_scatter_skips_nan_and_says_when_there_is_nothing() -> None:
    x = noise(2.0, (400, 64))
    x[:, 5] = np.nan
    x[7] = np.nan
    got = scatter(x, 64)
    assert got.sigma == pytest.approx(2.0, rel=0.03)  # 25,000 pixels: 0.45 % one sigma, and 1 % of rounding
    assert np.isnan(got.levels[7, 0])
    assert np.isfinite(np.delete(got.levels[:, 0], 7)).all()
    assert np.isnan(scatter(np.full((4, 8), np.nan, np.float32), 8).sigma)
    assert np.isnan(scatter(np.ones((1, 1), np.float32), 1).sigma)
    assert scatter(np.full((20, 20), 7.0, np.float32), 20).sigma == 0.0


def test_largest_step_finds_height_and_place() -> None:
    levels = np.random.default_rng(1).normal(1000, 0.25, 1000)
    levels[600:] += 3.0
    levels[100] += 500.0  # a glitch of one line is no step
    step = largest_step(levels, 64)
    assert step is not None
    assert step.height == pytest.approx(3.0, abs=5 * 0.25 * np.sqrt(2 / 64))
    assert abs(step.line - 600) <= 6
    assert step.noise == pytest.approx(0.25 * np.sqrt(2 / 64), rel=0.15)


def test_slow_drift_is_drift_and_no_step() -> None:
    step = largest_step(np.linspace(0.0, 10.0, 2000), 64)
    assert step is not None
    assert abs(step.height) == pytest.approx(10.0 * 64 / 2000, rel=0.01)
    assert step.drift == pytest.approx(10.0 * (1 - 64 / 2000), rel=0.01)


def test_steps_of_little_or_nothing() -> None:
    assert largest_step(np.arange(7.0), 64) is None
    assert largest_step(np.full(100, np.nan), 64) is None
    half = np.where(np.arange(100) % 3 == 0, np.nan, 5.0)
    step = largest_step(half, 64)
    assert step is not None
    assert step.height == 0.0


def test_robust_mean() -> None:
    values = np.concatenate([np.random.default_rng(3).normal(10, 1, 1000), [1e5, np.nan]])
    assert robust_mean(values) == pytest.approx(10.0, abs=5 / np.sqrt(1000))
    assert np.isnan(robust_mean(np.array([np.nan])))
    assert robust_mean(np.array([3.0, 3.0])) == 3.0


def test_thin_out_means_stretches() -> None:
    x, y = thin_out(np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan, 9.0]), 4)
    np.testing.assert_array_equal(y, [2.0, 5.0, np.nan, 9.0])
    np.testing.assert_array_equal(x, [0.5, 2.5, 4.5, 6.5])


@pytest.mark.parametrize(("shape", "size"), [((70, 100), 20), ((10, 10), 384), ((257, 33), 16)])
def test_preview_equals_slow_numpy(shape: tuple[int, int], size: int) -> None:
    rng = np.random.default_rng(9)
    pixels = rng.normal(100, 5, shape).astype(np.float32)
    mask = (rng.uniform(size=shape) < 0.1).astype(np.uint16)
    mask[:6, :6] = 1
    out, masked, block = preview(pixels, mask, size)
    assert max(out.shape) <= size
    step = 4 if block >= 8 else 1
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            at = np.s_[i * block : (i + 1) * block : step, j * block : (j + 1) * block]
            good = pixels[at][mask[at] == 0]
            expected = good.mean(dtype=np.float64) if good.size else np.nan
            assert out[i, j] == pytest.approx(expected, rel=1e-5, nan_ok=True)
            assert masked[i, j] == (2 * np.count_nonzero(mask[at]) >= mask[at].shape[0])


def test_rise_against_polyfit() -> None:
    values = np.random.default_rng(1).normal(0.0, 1.0, 200) + np.linspace(0.0, 7.0, 200)
    values[[3, 50]] = np.nan
    at = np.flatnonzero(np.isfinite(values))
    assert rise(values) == pytest.approx(np.polyfit(at, values[at], 1)[0] * 199, rel=1e-9)
    assert np.isnan(rise(np.array([np.nan, 1.0])))


def test_drift_goes_and_white_noise_keeps_its_variance() -> None:
    rng = np.random.default_rng(2)
    kept = [np.var(without_drift(rng.normal(0.0, 1.0, 1024), 64)) for _ in range(40)]
    assert np.mean(kept) == pytest.approx(1.0, abs=5 * np.sqrt(2.0 / 1024 / 40))
    drift = np.linspace(0.0, 100.0, 1024)
    np.testing.assert_allclose(without_drift(drift, 64)[40:-40], 0.0, atol=0.06)  # half a line off the middle: 0.05
    short = without_drift(np.array([1.0, 2.0, 3.0]), 64)
    np.testing.assert_allclose(short, [-1.0, 0.0, 1.0])


@pytest.mark.parametrize("pattern", [0.0, 0.5])
def test_rms_beyond_the_noise(pattern: float) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.normal(0.0, 2.0, (4000, 50)) + rng.normal(0.0, pattern, 4000)[:, None]
    # the variance of a mean of 50 pixels, 0.08, is known to 0.0018
    assert beyond_noise(pixels.mean(axis=1), 2.0, 50) == pytest.approx(pattern, abs=0.1 if pattern == 0 else 0.03)


def test_columns_that_were_taken_out_are_told() -> None:
    values = np.random.default_rng(4).normal(0.0, 1.0, (400, 30)).astype(np.float32)
    values[:, 7] += 1.0
    columns = scatter(values, 30).columns
    expected = values.mean(axis=0) - values.mean()
    np.testing.assert_allclose(columns, expected, atol=0.02)  # clipping: 3e-4 of the pixels; the levels of rows hold a thirtieth of the column
    assert np.isnan(scatter(values, 30, columns=False).columns).all()


def test_pixels_with_a_bit_are_counted() -> None:
    mask = np.random.default_rng(5).integers(0, 2048, (60, 90)).astype(np.uint16)
    mask[10:50] = 3
    section = (slice(2, 58), slice(5, 90))
    assert count_pixels(mask, 1024, section) == np.count_nonzero(mask[section] & 1024)
    ivar = np.where(np.arange(90) % 7, 1.0, 0.0).astype(np.float32) * np.ones((60, 1), np.float32)
    some = np.s_[2:58:4, 5:90]
    lost = np.count_nonzero((mask[some] != 0) | (ivar[some] <= 0))
    assert count_unusable(mask, ivar, 1024, section, 4) == (lost, np.count_nonzero(mask[some] & 1024), mask[some].size)


@pytest.mark.parametrize("edge", [-1.0, 0.0, 0.5, 1e30])
def test_counts_of_good_and_bright_pixels(edge: float) -> None:
    rng = np.random.default_rng(4)
    pixels, mask = rng.normal(0.0, 1.0, (37, 101)).astype(np.float32), rng.choice([0, 0, 0, 4, 16], (37, 101)).astype(np.uint16)
    pixels[3, 5:9] = np.nan
    good, above = count_above(pixels[::2, 3:90], mask[::2, 3:90], edge)
    here = mask[::2, 3:90] == 0
    np.testing.assert_array_equal(good, here.sum(axis=1))
    np.testing.assert_array_equal(above, (here & (pixels[::2, 3:90] > edge)).sum(axis=1))
