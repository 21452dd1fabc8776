"""Overscan kernels against slow references, known noise, and the ways in which real overscans misbehave."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference_preproc as reference
from scipy.signal import savgol_filter

from algorithms.kernels import overscan as kernel

SIGMA = 2.1


def noise(shape: tuple[int, int], sigma: float = SIGMA, seed: int = 1, level: float = 1000.3) -> np.ndarray:
    """Gaussian noise about a level, rounded to whole ADU, float32."""
    rng = np.random.default_rng(seed)
    return np.round(level + sigma * rng.normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize("width", [64, 33, 20, 7, 4, 3, 2, 1])
def test_agrees_with_reference(width: int) -> None:
    block = noise((300, width))
    block[::17, width // 2] += 400
    block[5] = np.nan
    block[6, 0] = np.inf
    mean, used, scatter = reference.measure_lines(block)
    found = kernel.measure_lines(block)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_array_equal(found.used, used)
    if width == 1:
        assert math.isnan(found.scatter)
    else:
        assert found.scatter == pytest.approx(scatter, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0, 5.0, 50.0])
def test_read_noise_is_unbiased(sigma: float) -> None:
    # 2 x 10^5 samples: statistical error of sigma 0.16 %; 1 % is what is asked for
    lines = kernel.measure_lines(noise((3200, 64), sigma))
    assert kernel.read_noise(lines.scatter, True) == pytest.approx(sigma, rel=0.006)
    assert lines.scatter == pytest.approx(math.sqrt(sigma**2 + 1 / 12), rel=0.006)


def test_read_noise_below_the_step_of_the_converter_is_an_upper_limit() -> None:
    lines = kernel.measure_lines(noise((2000, 64), 0.2, level=1000.5))
    assert kernel.read_noise(lines.scatter, True) >= 0.2
    assert kernel.read_noise(0.7, False) == 0.7
    assert math.isnan(kernel.read_noise(math.nan, True))


def test_cosmics_and_trails_move_nothing() -> None:
    clean = noise((2000, 64))
    hit = clean.copy()
    rng = np.random.default_rng(2)
    for row in rng.permutation(np.arange(140, 2000))[:200]:  # every tenth line: five neighbouring samples hit
        x = rng.integers(0, 59)
        hit[row, x : x + 5] += rng.uniform(30, 3000)
    hit[100:140, :12] += 60  # charge trailed into the first columns beside a bright spectrum
    before, after = kernel.measure_lines(clean), kernel.measure_lines(hit)
    # what is left: samples close to the limit; 0.5 sigma of a line mean is 0.13 ADU
    assert np.abs(after.mean - before.mean).max() < 0.5
    assert np.abs(np.mean(after.mean - before.mean)) < 0.005
    assert after.scatter == pytest.approx(before.scatter, rel=0.003)


def test_constant_lines_have_no_scatter() -> None:
    lines = kernel.measure_lines(np.full((10, 32), 65535, np.float32))
    assert lines.scatter == 0
    assert (lines.mean == 65535).all()


def test_nothing_finite_is_unknown() -> None:
    lines = kernel.measure_lines(np.full((4, 32), np.nan, np.float32))
    assert math.isnan(lines.scatter)
    assert np.isnan(lines.mean).all()
    level = kernel.level_of(lines, "line", window=5)
    assert (level.level == 0).all()


@pytest.mark.parametrize(("n", "window", "order"), [(200, 51, 2), (200, 7, 3), (51, 51, 2), (60, 21, 0), (9, 5, 4)])
def test_savgol_agrees_with_scipy(n: int, window: int, order: int) -> None:
    values = 1000 + np.cumsum(np.random.default_rng(3).normal(size=n))
    found, weight = kernel.savgol(values, window, order)
    np.testing.assert_allclose(found, savgol_filter(values, window, order, mode="interp"), rtol=1e-9)
    moved = values.copy()
    moved[n // 2] += 1
    assert kernel.savgol(moved, window, order)[0][n // 2] - found[n // 2] == pytest.approx(weight[n // 2], abs=1e-9)


def test_savgol_shortens_what_does_not_fit() -> None:
    values = np.array([1.0, 5.0, 3.0, 2.0])
    np.testing.assert_allclose(kernel.savgol(values, 50, 2)[0], savgol_filter(values, 3, 2, mode="interp"))
    np.testing.assert_allclose(kernel.savgol(values[:1], 51, 2)[0], values[:1])


def measured(jitter: np.ndarray, seed: int = 4) -> tuple[kernel.Lines, np.ndarray]:
    truth = 1000 + jitter
    rng = np.random.default_rng(seed)
    block = truth[:, None] + SIGMA * rng.normal(size=(truth.size, 64))
    return kernel.measure_lines(block.astype(np.float32)), truth


def test_quiet_lines_are_smoothed_and_their_variance_is_honest() -> None:
    errors, claimed = [], []
    for seed in range(20):
        lines, truth = measured(np.zeros(2000), seed)
        level = kernel.level_of(lines, "line", window=51, order=2)
        errors.append(np.mean((level.level - truth) ** 2))
        claimed.append(level.variance.mean())
    own = SIGMA**2 / 64
    # 0.044 from the smoothing and up to 0.1 from the noise of the adaptive share, of the variance of one line
    assert np.mean(errors) < 0.15 * own
    assert np.mean(claimed) == pytest.approx(np.mean(errors), rel=0.25)


def test_jumping_lines_keep_their_own_level() -> None:
    rng = np.random.default_rng(5)
    lines, truth = measured(2.0 * rng.normal(size=2000))
    level = kernel.level_of(lines, "line", window=51, order=2)
    own = SIGMA**2 / 64
    assert np.mean((level.level - truth) ** 2) < 1.1 * own
    assert level.variance.mean() == pytest.approx(own, rel=0.1)
    smooth = kernel.level_of(lines, "line", window=51, order=2, adaptive=False)
    assert np.std(smooth.level - truth) > 1.5


def test_a_step_is_followed() -> None:
    lines, truth = measured(np.where(np.arange(2000) < 900, 0.0, 5.0))
    level = kernel.level_of(lines, "line", window=51, order=2)
    assert np.abs(level.level - truth).max() < 5 * SIGMA / 8  # never worse than five sigma of a line's own mean
    plain = kernel.level_of(lines, "line", window=51, order=2, adaptive=False)
    assert np.abs(plain.level - truth).max() > 2


def test_one_level_and_own_means() -> None:
    lines, _ = measured(np.zeros(500))
    one = kernel.level_of(lines, "median")
    assert np.ptp(one.level) == 0
    assert one.level[0] == pytest.approx(1000, abs=5 * math.sqrt(one.variance[0]))
    own = kernel.level_of(lines, "line")
    np.testing.assert_allclose(own.level, lines.mean, rtol=1e-6)
    assert own.variance[0] == pytest.approx(SIGMA**2 / 64, rel=0.02)


def test_lines_without_samples_are_interpolated() -> None:
    block = noise((100, 32))
    block[40:45] = np.nan
    level = kernel.level_of(kernel.measure_lines(block), "line", window=11)
    assert np.isfinite(level.level).all()
    assert np.abs(level.level[40:45] - 1000.3).max() < 2
