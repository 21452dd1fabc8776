"""Stacking with clipping, against slow references in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from algorithms.kernels import stacking

F = np.float32
Array = npt.NDArray[np.float32]
ZERO = np.zeros(1, F)


def frames(n: int, seed: int = 1, shape: tuple[int, int] = (9, 13)) -> Array:
    return np.random.default_rng(seed).normal(3.0, 2.0, (n, *shape)).astype(F)


def reference(data: Array, k: int, floor: float, clip: float) -> tuple[Array, Array]:
    """Clipped mean and number of values: median and MAD of the first k, then every value within the clip."""
    head = np.where(np.isfinite(data[:k]), data[:k], stacking.LARGEST)
    centre = np.median(head, axis=0)
    scale = np.maximum(1.482602 * np.median(np.abs(head - centre), axis=0), floor)
    inside = np.abs(data - centre) <= clip * scale
    inside &= np.isfinite(data) & (centre < stacking.LARGEST)
    n = inside.sum(axis=0)
    total = np.where(inside, data, 0.0).astype(np.float64).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(n > 0, total / n, np.nan).astype(F), n


def stacked(data: Array, k: int, floor: float, clip: float, weight: float = 10.0) -> tuple[Array, Array, npt.NDArray[np.uint16]]:
    """By the kernels: mean, variance and number of values."""
    shape = data.shape[1:]
    levels = np.zeros(shape[0], F), np.zeros(shape[1], F)
    head = np.empty((k, *shape), F)
    for i in range(k):
        stacking.subtract_levels(data[i], *levels, head[i])
    centre, scale, total, square, mean, variance = (np.zeros(shape, F) for _ in range(6))
    count = np.zeros(shape, np.uint16)
    stacking.middle(head, floor, centre, scale)
    for one in data:
        stacking.add_levelled(one, *levels, centre, scale, F(clip), total, square, count)
    stacking.finish_mean(centre, total, square, count, F(floor), F(weight), mean, variance)
    return mean, variance, count


@pytest.mark.parametrize(("n", "k"), [(3, 3), (5, 5), (8, 7), (25, 7), (20, 15)])
def test_mean_and_number_are_those_of_the_reference(n: int, k: int) -> None:
    data = frames(n)
    data[n // 2, 4, 4] = 500.0
    data[0, 2, 3] = np.nan
    mean, _, count = stacked(data, k, 2.0, 5.0)
    wanted, used = reference(data, k, 2.0, 5.0)
    np.testing.assert_array_equal(count, used)
    np.testing.assert_allclose(mean, wanted, rtol=2e-6)  # sums about the median in float32
    assert count[4, 4] == n - 1
    assert count[2, 3] == n - 1


def test_levels_are_subtracted_by_row_and_by_column() -> None:
    raw = np.arange(12, dtype=np.int32).reshape(3, 4)
    by_row, by_column, out = np.array([1, 2, 3], F), np.array([0, 10, 20, 30], F), np.zeros((3, 4), F)
    stacking.subtract_levels(raw, by_row, by_column, out)
    np.testing.assert_array_equal(out, raw - by_row[:, None] - by_column[None, :])
    centre, scale, total, square, count = np.zeros((3, 4), F), np.full((3, 4), 1e6, F), np.zeros((3, 4), F), np.zeros((3, 4), F), np.zeros((3, 4), np.uint16)
    stacking.add_levelled(raw, by_row, by_column, centre, scale, F(5), total, square, count)
    np.testing.assert_array_equal(total, out)
    np.testing.assert_array_equal(square, out * out)


def test_the_variance_is_that_of_the_mean() -> None:
    """Over many pixels the scatter of the mean is its stated error; of one pixel it lies between its own scatter and that of all."""
    data = frames(9, shape=(200, 200))
    mean, variance, count = stacked(data, 7, 2.0, 5.0)
    assert np.std(mean) == pytest.approx(np.sqrt(np.mean(variance)), rel=0.02)  # 40000 pixels: 0.4 %, and the clip takes 1e-4 of the variance
    own = data.var(axis=0, ddof=1) / 9
    whole = count == 9
    assert whole.mean() > 0.999
    np.testing.assert_allclose(variance[whole], ((10 * 4.0 / 9 + 8 * own) / 18)[whole], rtol=1e-3, atol=1e-5)


def test_a_noisy_pixel_is_not_clipped_away() -> None:
    data = frames(25)
    data[:, 3, 3] = np.random.default_rng(3).normal(0.0, 200.0, 25).astype(F)
    _, variance, count = stacked(data, 7, 2.0, 5.0)
    assert count[3, 3] >= 23
    assert variance[3, 3] > 500.0


def test_a_pixel_that_never_had_a_value_has_none() -> None:
    data = frames(7)
    data[:, 1, 1] = np.nan
    data[:5, 2, 2] = np.inf
    mean, variance, count = stacked(data, 7, 2.0, 5.0)
    for at in ((1, 1), (2, 2)):
        assert np.isnan(mean[at])
        assert (variance[at], count[at]) == (0.0, 0)
    assert np.isfinite(mean).sum() == mean.size - 2


def test_the_result_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    head = frames(7, shape=(600, 8))
    one, other = (np.zeros((600, 8), F) for _ in range(2)), (np.zeros((600, 8), F) for _ in range(2))
    (c1, s1), (c2, s2) = one, other
    stacking.middle(head, 1.0, c1, s1)
    monkeypatch.setattr(stacking, "_BAND", 1000)
    stacking.middle(head, 1.0, c2, s2)
    np.testing.assert_array_equal(c1, c2)
    np.testing.assert_array_equal(s1, s2)


def test_weights_masks_and_the_noise_of_the_exposure() -> None:
    shape = (2, 3)
    centre, scale, total, weights = np.full(shape, 2.0, F), np.full(shape, 0.1, F), *(np.zeros(shape, F) for _ in range(2))
    count = np.zeros(shape, np.uint16)
    pixels = np.array([[20, 24, 200], [20, 20, np.nan]], F)
    mask = np.array([[0, 0, 0], [1, 2, 0]], np.uint16)
    stacking.add_weighted(pixels, mask, np.uint16(1), F(0.1), F(4.0), F(0.2), centre, scale, F(5), total, weights, count)
    np.testing.assert_array_equal(count, [[1, 1, 0], [0, 1, 0]])
    np.testing.assert_allclose(weights, [[4, 4, 0], [0, 4, 0]])
    np.testing.assert_allclose(total, [[0, 1.6, 0], [0, 0, 0]], atol=1e-5)
    mean, variance = np.zeros(shape, F), np.zeros(shape, F)
    stacking.finish_weighted(centre, total, weights, F(1e-20), mean, variance)
    np.testing.assert_allclose(mean, [[2, 2.4, np.nan], [np.nan, 2, np.nan]], rtol=1e-5)
    np.testing.assert_allclose(variance, [[0.25, 0.25, 0], [0, 0.25, 0]], rtol=1e-5)


def test_noise_from_a_pair() -> None:
    a, b = frames(2, shape=(400, 400))
    a[3, 3] = stacking.LARGEST
    assert stacking.pair_noise(a, b) == pytest.approx(2.0, rel=0.03)  # 50000 differences: 0.5 % of a MAD
    assert np.isnan(stacking.pair_noise(np.full((2, 2), stacking.LARGEST, F), np.zeros((2, 2), F)))


def test_the_head_is_odd() -> None:
    assert [stacking.head_size(n) for n in (3, 4, 5, 6, 7, 8, 100)] == [3, 3, 5, 5, 7, 7, 7]
    assert stacking.head_size(100, 9) == 9
    with pytest.raises(ValueError, match="three at least"):
        stacking.head_size(2)
