"""Kernels of tracing and identification against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import erf

from algorithms.kernels import identify, peaks, tracing


def profile(x: np.ndarray, flux: np.ndarray, sigma: float, n: int) -> np.ndarray:
    """Gaussians integrated over pixels."""
    edges = np.arange(n + 1) - 0.5
    each = 0.5 * np.diff(erf((edges[None, :] - x[:, None]) / (np.sqrt(2.0) * sigma)), axis=1)
    return np.asarray((flux[:, None] * each).sum(axis=0))


def test_row_blocks_are_clipped_means() -> None:
    rng = np.random.default_rng(1)
    pixels = (100.0 + 3.0 * rng.normal(size=(40, 30))).astype(np.float32)
    ivar = np.full(pixels.shape, 1.0 / 9.0, np.float32)
    pixels[5, 7] += 4000.0  # a cosmic ray
    ivar[11, 3] = 0.0
    ivar[:, 20] = 0.0
    mean, var = np.empty((5, 30)), np.empty((5, 30))
    tracing.row_blocks(pixels, ivar, 8, mean, var)
    want = np.zeros((5, 30))
    for b in range(5):
        for j in range(30):
            good = [i for i in range(8 * b, 8 * b + 8) if ivar[i, j] > 0]
            values = np.array([float(pixels[i, j]) for i in good])
            if len(values):
                middle = np.median(values)
                want[b, j] = values[np.abs(values - middle) <= 15.0 + 0.1 * abs(middle)].mean()
    assert np.allclose(mean, want, atol=1e-5)
    assert np.isinf(var[:, 20]).all()
    assert var[1, 3] == pytest.approx(9.0 / 7.0)
    assert var[0, 7] == pytest.approx(9.0 / 7.0)


def test_profiles_are_fitted_with_their_neighbours() -> None:
    """Against least squares of all parameters at once; pitch 5 at sigma 1.2: a neighbour gives a hundredth of its light."""
    rng = np.random.default_rng(2)
    x, flux = 8.0 + 5.0 * np.arange(9) + rng.uniform(-0.3, 0.3, 9), rng.uniform(500, 5000, 9)
    clean = profile(x, flux, 1.2, 60)
    data = clean + rng.normal(size=60) * np.sqrt(clean + 9.0)
    var = clean + 9.0
    start, sigma = np.round(x * 2) / 2, np.full(9, 1.0)
    out = [np.empty(9) for _ in range(5)]
    tracing.fit_profiles(data, var, start, sigma, 2.5, *out)
    got, shift, width, error, _ = out

    def residuals(p: np.ndarray) -> np.ndarray:
        model = sum(profile(p[i : i + 1], p[9 + i : 10 + i], p[18 + i], 60) for i in range(9))
        return np.asarray((data - model) / np.sqrt(var))

    best = least_squares(residuals, np.concatenate([x, flux, np.full(9, 1.2)])).x
    assert np.abs(start + shift - best[:9]).max() < 0.02  # half of the error of one, since the windows differ
    assert np.abs(got / best[9:18] - 1.0).max() < 0.06
    assert np.abs(width - best[18:]).max() < 0.06
    assert np.all(np.abs(start + shift - x) < 5.0 * error)


def test_profiles_without_noise_are_exact() -> None:
    x = 10.0 + 7.3 * np.arange(5) + 0.31
    clean = profile(x, np.full(5, 1000.0), 1.05, 60)
    out = [np.empty(5) for _ in range(5)]
    tracing.fit_profiles(clean, clean + 1.0, x - 0.4, np.full(5, 1.3), 3.5, *out)
    assert np.abs(out[1] - 0.4).max() < 0.002  # the Gaussian that stands for the integrated one
    assert np.abs(out[2] - 1.05).max() < 0.005


def test_a_column_that_is_lost_and_a_fibre_without_light() -> None:
    x = 10.0 + 7.3 * np.arange(4)
    clean = profile(x, np.array([1000.0, 1000.0, 0.0, 1000.0]), 1.05, 50)
    var = clean + 4.0
    var[10] = np.inf  # the middle of the first
    out = [np.empty(4) for _ in range(5)]
    tracing.fit_profiles(clean, var, x, np.full(4, 1.05), 3.5, *out)
    assert abs(out[1][0]) < 0.005
    assert out[0][0] == pytest.approx(1000.0, rel=0.01)
    assert not out[0][2] > 5.0


def slow_peaks(profile: np.ndarray, error: float, least: float) -> list[int]:
    """Maxima by prominence, as mountains have it: the drop on both sides before higher ground, or what counts as a rise."""
    found = []
    for i in range(1, len(profile) - 1):
        if profile[i] > profile[i - 1] and profile[i] >= profile[i + 1]:
            sides = []
            for step in (-1, 1):
                j, low = i, profile[i]
                while 0 <= j + step < len(profile) and profile[j + step] <= profile[i]:
                    j += step
                    low = min(low, profile[j])
                sides.append(low)
            if profile[i] - max(sides) > least * error:
                found.append(i)
    return found


def test_peaks_are_those_that_stand_out() -> None:
    x = 20.0 + 15.0 * np.arange(12)
    clean = profile(x, np.geomspace(100, 3000, 12), 1.5, 220)
    data = clean + np.random.default_rng(3).normal(size=220)
    place, height = peaks.peaks(data, 1.0, 0.0, 8.0)
    assert sorted(np.rint(place).astype(int)) == slow_peaks(data, 1.0, 8.0)
    assert np.abs(place - x[-len(place) :]).max() < 0.3
    assert (np.diff(height) > 0).all()
    assert len(peaks.peaks(np.full(50, np.nan), 1.0)[0]) == 0
    assert len(peaks.peaks(np.ones(50), 1.0)[0]) == 0


def test_search_tries_all_scales() -> None:
    rng = np.random.default_rng(4)
    t, weight = np.sort(rng.uniform(-1, 1, 6)), rng.uniform(0.5, 1, 6)
    scale, bend, gain = np.array([90.0, 100.0]), np.array([-0.02, 0.0, 0.03]), rng.normal(size=700)
    score, place = np.empty((2, 3, 2)), np.empty((2, 3, 2), np.int64)
    identify.search(t, weight, scale, bend, gain, 120, 1.0, 10, score, place)
    for i, s in enumerate(scale):
        for j, q in enumerate(bend):
            at = 120 + np.floor(s * (t + q * (1.5 * t**2 - 0.5)) + 0.5).astype(int)
            total = np.array([np.sum(weight * gain[at + o]) for o in range(460)])
            assert place[i, j, 0] == np.argmax(total)
            assert score[i, j, 0] == pytest.approx(total.max())
            far = np.abs(np.arange(460) - np.argmax(total)) > 10
            assert score[i, j, 1] == pytest.approx(total[far].max())


def test_spectra_are_sums_of_parts_of_pixels() -> None:
    rng = np.random.default_rng(5)
    pixels, ivar = rng.normal(size=(12, 20)).astype(np.float32), rng.uniform(0.5, 2.0, (12, 20)).astype(np.float32)
    ivar[4, 9] = 0.0
    x, half = np.stack([np.full(12, 8.3), np.full(12, 1.0)]), np.array([2.2, 2.2])
    flux, var = np.empty((2, 12)), np.empty((2, 12))
    identify.spectra(pixels, ivar, x, half, flux, var)
    part = np.array([max(0.0, min(8.3 + 2.2, j + 0.5) - max(8.3 - 2.2, j - 0.5)) for j in range(20)])
    rows = [i for i in range(12) if i != 4]
    assert np.allclose(flux[0][rows], (pixels @ part)[rows], atol=1e-5)
    assert np.allclose(var[0][rows], ((1.0 / np.where(ivar > 0, ivar, 1)) @ part)[rows], rtol=1e-5)
    assert np.isinf(var[0, 4])
    assert np.isinf(var[1]).all()  # reaches out of the image


def test_correlation() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=50), rng.normal(size=50)
    out = np.empty(9)
    identify.correlate(a, b, -4, out)
    full = np.correlate(b, a, mode="full")
    assert np.allclose(out, full[49 - 4 : 49 + 5])
