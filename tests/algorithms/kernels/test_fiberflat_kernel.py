"""The lamp spectrum and the ratios of the fibres against dense least squares with scipy's splines."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline

from algorithms.kernels import fiberflat as kernel

N, M = 6, 300
FIRST, STEP, INTERVALS = 4995.0, 62.0, 5


def spectra() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    wave = 5000 + np.arange(M) + rng.uniform(0, 1, (N, 1))
    flux = (1e4 * (1 + 0.1 * rng.normal(size=(N, 1))) * (1 + 0.01 * rng.normal(size=(N, M)))).astype(np.float32)
    ivar = np.full(flux.shape, 1e-4, np.float32)
    ivar[2, 100:120] = 0
    return flux, ivar, wave


def design(wave: np.ndarray) -> np.ndarray:
    knots = FIRST + STEP * np.arange(-5, INTERVALS + 6)
    return np.asarray(BSpline.design_matrix(wave, knots, 5).toarray())


def fitted(clip: float, flux: np.ndarray, ivar: np.ndarray, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    grid_mean = np.full(400, 1e4)
    pieces, variance = np.zeros((N, INTERVALS, 6)), np.zeros((N, INTERVALS))
    use = np.array([True] * 5 + [False])
    n = kernel.ratios(flux, ivar.copy(), wave, use, 4990.0, 1.0, grid_mean, FIRST, STEP, clip, 10, 1, pieces, variance)
    flat, var = np.zeros((N, M)), np.zeros((N, M))
    at = 5000.5 + np.arange(M)
    kernel.sample(at, use, FIRST, STEP, pieces, variance, flat, var)
    return flat, var, n


def test_ratios_agree_with_dense_least_squares() -> None:
    flux, ivar, wave = spectra()
    flat, var, removed = fitted(1e3, flux, ivar, wave)
    at = 5000.5 + np.arange(M)
    for i in range(5):
        a, w = design(wave[i]), ivar[i] * 1e8
        normal = a.T @ (w[:, None] * a)
        third = np.diff(np.eye(a.shape[1]), 3, axis=0)
        normal += 1e-5 * np.diag(normal).sum() / a.shape[1] * third.T @ third
        coefficients = np.linalg.solve(normal, a.T @ (w * flux[i] / 1e4))
        np.testing.assert_allclose(flat[i], design(at) @ coefficients, rtol=1e-6)
        exact = np.einsum("ij,jk,ik->i", design(at), np.linalg.inv(normal), design(at))
        inside = (at > FIRST + STEP) & (at < FIRST + (INTERVALS - 1) * STEP)
        np.testing.assert_allclose(var[i][inside].mean(), exact[inside].mean(), rtol=0.05)  # one value per interval, from three points
    assert removed == 0
    assert (flat[5] == 0).all()


def test_outliers_are_left_out() -> None:
    flux, ivar, wave = spectra()
    clean, _, _ = fitted(5.0, flux, ivar, wave)
    hit = flux.copy()
    hit[0, [20, 21, 150]] += [5e4, 2e3, 1e6]
    hit[1, 200] = 0
    flat, _, removed = fitted(5.0, hit, ivar, wave)
    assert removed == 4
    np.testing.assert_allclose(flat[:2], clean[:2], atol=0.003)  # 0.2 % is the error of the ratio


def test_lamp_is_sum_over_sum() -> None:
    flux, ivar, wave = spectra()
    pieces = np.zeros((N, INTERVALS, 6))
    pieces[:, :, 0] = np.linspace(0.9, 1.1, N)[:, None]
    use = np.ones(N, bool)
    total, share = np.empty(160), np.empty(160)
    kernel.lamp(flux, ivar, wave, use, 4996.0, 2.0, pieces, STEP, FIRST, total, share)
    u = (wave - 4996.0) / 2
    k = u.astype(int)
    expected, weight = np.zeros(160), np.zeros(160)
    for shift in (0, 1):
        x = np.abs(1 - shift - (u - k)) * (ivar > 0)
        np.add.at(expected, k + shift, x * flux)
        np.add.at(weight, k + shift, x * np.linspace(0.9, 1.1, N)[:, None])
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose(share, weight, rtol=1e-9, atol=1e-9)
