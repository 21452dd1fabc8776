"""The spline of the sky against scipy's B-splines, dense least squares and dense inverses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from algorithms.kernels import sky, skyfit
from algorithms.kernels.resample import new_room

FIRST, STEP, INTERVALS = 10.0, 0.8, 30
SIZE = INTERVALS + sky.ORDER - 1
KNOTS = FIRST + STEP * np.arange(-5, INTERVALS + 6)


def reference(w: np.ndarray, dv: np.ndarray) -> np.ndarray:
    """Design matrix [n, ncoef] by scipy: S + dv/2 S'' + (dv/2)^2 S''''/2."""
    columns = []
    for k in range(SIZE):
        b = BSpline(KNOTS, np.eye(SIZE)[k], 5)
        columns.append(b(w) + 0.5 * dv * b.derivative(2)(w) + 0.125 * dv**2 * b.derivative(4)(w))
    return np.stack(columns, axis=-1)


def samples(n: int = 8, m: int = 24, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Wavelengths, places, fluxes, weights of n spectra."""
    rng = np.random.default_rng(seed)
    wave = np.sort(rng.uniform(FIRST, FIRST + STEP * INTERVALS * 0.999, (n, m)), axis=1)
    u = (wave - FIRST) / STEP
    index = u.astype(np.int32)
    dv = rng.uniform(-0.1, 0.1, wave.shape)
    return wave, index, u - index, 0.5 * dv / STEP**2, rng.normal(100, 10, wave.shape).astype(np.float32), rng.uniform(0.5, 2, wave.shape), dv


def equations(n: int = 8) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    got = samples(n)
    matrix, right = np.zeros((SIZE, sky.ORDER)), np.zeros(SIZE)
    for i in range(n):
        sky.accumulate(got[1][i], got[2][i], got[3][i], got[4][i], got[5][i], 1.0, matrix, right)
    return matrix, right, got


def dense(bands: np.ndarray) -> np.ndarray:
    out = np.zeros((SIZE, SIZE))
    for d in range(sky.ORDER):
        i = np.arange(SIZE - d)
        out[i, i + d] = out[i + d, i] = bands[: SIZE - d, d]
    return out


def test_pieces_are_the_basis_functions() -> None:
    for t in (0.0, 0.3, 0.99):
        np.testing.assert_allclose(sky.basis(t, 0.0), sky.PIECES @ t ** np.arange(6), atol=1e-14)
        assert sum(sky.basis(t, 0.0)) == pytest.approx(1.0, abs=1e-14)


def test_normal_equations_agree_with_scipy() -> None:
    matrix, right, (wave, _, _, _, flux, weight, dv) = equations()
    a = reference(wave.ravel(), dv.ravel())
    np.testing.assert_allclose(dense(matrix), a.T @ (weight.ravel()[:, None] * a), atol=1e-9)
    np.testing.assert_allclose(right, a.T @ (weight * flux).ravel(), atol=1e-7)


def test_solution_inverse_and_polynomials_agree_with_dense_algebra() -> None:
    matrix, right, (wave, index, t, s, _, _, dv) = equations()
    lower, x, pieces = np.empty_like(matrix), np.empty_like(right), np.empty((INTERVALS, 6))
    skyfit.solution(matrix, right, 1e-6, lower, x, pieces)
    third = np.diff(np.eye(SIZE), 3, axis=0)
    full = dense(matrix) + 1e-6 * third.T @ third
    expected = np.linalg.solve(full, right)
    np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    model = np.array([[sky.spline_at(pieces, index[i, j], t[i, j], s[i, j]) for j in range(wave.shape[1])] for i in range(len(wave))])
    np.testing.assert_allclose(model.ravel(), reference(wave.ravel(), dv.ravel()) @ expected, rtol=1e-9)
    bands = np.empty_like(matrix)
    sky.inverse_bands(lower, bands)
    inverse = np.linalg.inv(full)
    for d in range(sky.ORDER):
        np.testing.assert_allclose(bands[: SIZE - d, d], np.diag(inverse, d), rtol=1e-8, atol=1e-9 * inverse.max())


def test_model_without_one_spectrum_is_that_of_the_others() -> None:
    matrix, right, got = equations()
    lower, x, pieces = np.empty_like(matrix), np.empty_like(right), np.empty((INTERVALS, 6))
    skyfit.solution_without(*(a[0] for a in got[1:6]), matrix, right, 1e-6, lower, x, pieces)
    m2, r2, alone = np.zeros_like(matrix), np.zeros_like(right), np.empty_like(pieces)
    for i in range(1, 8):
        sky.accumulate(*(a[i] for a in got[1:6]), 1.0, m2, r2)
    skyfit.solution(m2, r2, 1e-6, lower, x, alone)
    np.testing.assert_allclose(pieces, alone, rtol=1e-6, atol=1e-6 * np.abs(alone).max())


def test_variance_of_an_interval_is_its_mean_and_right() -> None:
    rng = np.random.default_rng(3)
    wave = FIRST + np.sort(rng.uniform(0, STEP * INTERVALS * 0.999, (20, 40)), axis=1)
    u = (wave - FIRST) / STEP
    index = u.astype(np.int32)
    matrix, zero = np.zeros((SIZE, 6)), np.zeros(SIZE)
    for i in range(20):
        sky.accumulate(index[i], u[i] - index[i], np.zeros(40), np.zeros(40, np.float32), np.ones(40), 1.0, matrix, zero)
    full = dense(matrix)
    lower = matrix.copy()
    sky.factor(lower)
    bands, out = np.empty_like(matrix), np.empty(INTERVALS)
    sky.inverse_bands(lower, bands)
    sky.variances(bands, out)
    inverse = np.linalg.inv(full)
    fine = np.linspace(0, 1, 21)
    exact = [
        np.mean([np.array(sky.basis(x, 0.0)) @ inverse[k : k + 6, k : k + 6] @ np.array(sky.basis(x, 0.0)) for x in fine])
        for k in range(2, INTERVALS - 2)
    ]
    np.testing.assert_allclose(out[2:-2], exact, rtol=0.05)  # three points for the mean of a smooth curve


def test_evaluation_agrees_with_the_spline() -> None:
    _, right, _ = equations()
    pieces = np.empty((INTERVALS, 6))
    sky.polynomials(np.abs(right), pieces)
    rng = np.random.default_rng(4)
    wave = FIRST - 2 + np.arange(40)[None, :] * 0.7 + rng.uniform(0, 0.1, (3, 1))
    sigma = rng.uniform(0.4, 0.5, wave.shape).astype(np.float32)
    flux, ivar, mask = np.empty(wave.shape, np.float32), np.empty(wave.shape, np.float32), np.empty(wave.shape, np.uint32)
    ref, level = np.array([0.2, 0.01, 0.0, 0.0]), np.array([1.0, 2.0, 1.0])
    information = np.full(INTERVALS, 4.0, np.float32)
    information[5] = 0
    places = (FIRST, STEP, ref, 22.0, 0.1)
    sky.evaluate(wave, sigma, np.arange(3), *places, pieces.astype(np.float32), information, level, np.uint32(64), new_room(40), flux, ivar, mask)
    k = np.floor((wave - FIRST) / STEP).astype(int)
    known = (k >= 0) & (k < INTERVALS) & (k != 5)
    np.testing.assert_array_equal(mask == 0, known)
    np.testing.assert_array_equal(ivar > 0, known)
    assert ivar[1][known[1]][0] == pytest.approx(1.0)  # twice the sky: four times the variance
    spline = BSpline(KNOTS, np.abs(right), 5)
    width = np.gradient(wave, axis=1)
    dv = sigma.astype(float) ** 2 + width**2 / 12 - (ref[0] + ref[1] * (wave - 22.0) * 0.1)
    full = spline(wave) + 0.5 * dv * spline.derivative(2)(wave) + 0.125 * dv**2 * spline.derivative(4)(wave)
    expected = level[:, None] * full
    np.testing.assert_allclose(flux[known], expected[known], rtol=2e-5, atol=2e-5 * np.abs(expected[known]).max())


def test_broadening_follows_a_gaussian() -> None:
    fine = np.arange(0, 40, 0.5)
    truth = lambda sigma: np.exp(-0.5 * ((fine - 20.3) / sigma) ** 2) / sigma  # noqa: E731
    knots = -STEP * 5 + STEP * np.arange(70)
    design = BSpline.design_matrix(fine, knots, 5).toarray()
    pieces = np.empty((knots.size - 11, 6))
    sky.polynomials(np.linalg.lstsq(design, truth(1.1), rcond=None)[0], pieces)
    for sigma in (1.05, 1.15):
        s = 0.5 * (sigma**2 - 1.1**2) / STEP**2
        model = [sky.spline_at(pieces, int(w / STEP), w / STEP - int(w / STEP), s) for w in fine]
        # the series ends at the fourth derivative, which costs 2e-4; the derivatives of the spline itself are off by 1.5e-3
        assert np.abs(np.array(model) - truth(sigma))[:70].max() < 2e-3 * truth(sigma).max()
        assert np.abs(truth(1.1) - truth(sigma)).max() > 0.03 * truth(sigma).max()


def test_gaps_are_bridged_and_singular_equations_do_not_break() -> None:
    matrix, right, _ = equations()
    matrix[12:18] = 0
    matrix[7:12, :] = 0
    lower, x, pieces = np.empty_like(matrix), np.empty_like(right), np.empty((INTERVALS, 6))
    skyfit.solution(matrix, right, 1e-6, lower, x, pieces)
    assert np.isfinite(pieces).all()
    skyfit.solution(np.zeros_like(matrix), np.zeros_like(right), 0.0, lower, x, pieces)
    assert (pieces == 0).all()
