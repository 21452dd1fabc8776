"""Kernels of profiles and pulls against slow references in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from qa.kernels import gaussians
from qa.kernels.pulls import sum_pulls


def integrated(n: int, centre: float, sigma: float) -> np.ndarray:
    edges = (np.arange(n + 1) - 0.5 - centre) / sigma
    return np.diff(ndtr(edges))


def reference(flux: np.ndarray, var: np.ndarray, centre: float, v: float) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares by the normal equations of the whole design matrix."""
    z = np.arange(flux.size) - centre
    g = np.exp(-0.5 * z**2 / v) / np.sqrt(2 * np.pi * v)
    design = np.stack([g, g * z / v, 0.5 * g * (z**2 / v - 1) / v, np.ones_like(g)], axis=1)
    good = var < 1e30
    weight = 1 / var[good]
    covariance = np.linalg.inv(design[good].T @ (weight[:, None] * design[good]))
    return (covariance @ (design[good].T @ (weight * flux[good])))[:3], np.diag(covariance)[:3]


@pytest.mark.parametrize("seed", range(8))
def test_a_fit_is_weighted_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, centre, v = 9, 4 + rng.uniform(-0.5, 0.5), rng.uniform(0.8, 2.5)
    var = rng.uniform(1, 9, n)
    if seed % 2:
        var[rng.integers(n)] = 1e30
    flux = 500 * integrated(n, centre + 0.05, 1.1 * np.sqrt(v)) + 7 + rng.normal(0, np.sqrt(np.minimum(var, 9)))
    out = np.empty(6)
    gaussians.fit_profile(flux, var, centre, v, out, np.empty(n))
    value, variance = reference(flux, var, centre, v)
    np.testing.assert_allclose(out[:3], value, rtol=1e-8, atol=1e-8 * abs(value[0]))
    np.testing.assert_allclose(out[3:], variance, rtol=1e-8)


def test_too_few_pixels_and_other_shapes_are_no_fit() -> None:
    out, flux, var = np.ones(6), 100 * integrated(9, 4.0, 1.0), np.ones(9)
    var[[2, 6]] = 1e30
    gaussians.fit_profile(flux, var, 4.0, 1.1, out, np.empty(9))
    assert not out.any()
    spiked = flux.copy()
    spiked[1] += 1000.0
    gaussians.fit_profile(spiked, np.ones(9), 4.0, 1.1, out, np.empty(9))
    assert not out.any(), "a spike beside the profile is called a profile"


def test_profiles_across_and_along() -> None:
    """Light, place and width of Gaussians integrated over pixels; the width is that of the Gaussian within 1 % for an excess of 3 %."""
    ny, nx, x0, y0, sx, sy = 41, 41, 20.3, 19.6, 1.03, 1.1
    image = (1000 * np.outer(integrated(ny, y0, sy * 1.03), integrated(nx, x0, sx * 1.03)) + 5).astype(np.float32)
    ivar = np.ones_like(image)
    out = np.empty((6, 1, 1))
    gaussians.across(image, ivar, np.array([[20]]), np.array([[x0 - 0.1]]), np.array([[sx]]), 4, out)
    a, b, c = out[:3, 0, 0]
    assert b / a == pytest.approx(0.1, abs=0.01)  # first order
    assert np.sqrt(sx**2 + c / a) == pytest.approx(1.03 * sx, rel=0.01)
    gaussians.along(image, ivar, np.array([[y0 + 0.1]]), np.array([[x0]]), np.zeros((1, 1)), np.array([[sy]]), 3.5, 5, out)
    a, b, c = out[:3, 0, 0]
    assert b / a == pytest.approx(-0.1, abs=0.01)
    assert np.sqrt(sy**2 + c / a) == pytest.approx(1.03 * sy, rel=0.01)
    assert a == pytest.approx(1000, rel=0.01)  # all but the light beyond 3.5 pixel
    ivar[20, 20] = 0
    gaussians.along(image, ivar, np.array([[y0]]), np.array([[x0]]), np.zeros((1, 1)), np.array([[sy]]), 3.5, 5, out)
    assert out[0, 0, 0] == pytest.approx(1000, rel=0.02), "one row that is lost does not spoil a line"
    gaussians.along(image, ivar, np.array([[2.0]]), np.array([[x0]]), np.zeros((1, 1)), np.array([[sy]]), 3.5, 5, out)
    assert not out.any(), "a line at the edge"


def test_lines_in_spectra() -> None:
    step, n, w0, sigma = 0.6, 200, 6000.0, 0.7
    wave = (w0 + step * np.arange(n) + np.array([[0.0], [0.23]])).astype(np.float64)
    centres = np.array([6040.13, 6080.4])
    flux = 4.0 + sum(900 * np.diff(ndtr((np.append(wave, wave[:, -1:] + step, axis=1) - 0.5 * step - c - 0.02) / sigma), axis=1) / step for c in centres)
    arrays = (flux.astype(np.float32), np.ones(flux.shape, np.float32), np.zeros(flux.shape, np.uint32), wave, np.full(flux.shape, sigma, np.float32))
    out = np.empty((6, 3, 2))
    gaussians.in_spectra(*arrays, np.array([0, 1]), np.append(centres, 6001.0), 5, out)
    np.testing.assert_allclose(out[0, :2], 900, rtol=0.005)
    np.testing.assert_allclose(out[1, :2] / out[0, :2], 0.02, atol=0.001)
    assert np.abs(out[2, :2] / out[0, :2]).max() < 0.01
    assert not out[:, 2].any(), "a line whose window leaves the spectrum"


def test_sums_of_pulls() -> None:
    rng = np.random.default_rng(3)
    nfibre, nwave, parts = 7, 90, 9
    flux, ivar = rng.normal(0, 2, (nfibre, nwave)).astype(np.float32), rng.uniform(0.1, 0.4, (nfibre, nwave)).astype(np.float32)
    mask, model = (rng.uniform(size=flux.shape) < 0.1).astype(np.uint32), rng.uniform(0, 10, flux.shape).astype(np.float32)
    ivar[2, :5], flux[3, 7], model[4, 8] = 0, np.nan, np.inf
    rows, cut, stretch = np.array([0, 2, 3, 4]), np.array([5.0, 6.0, 7.0, np.inf]), np.arange(nwave) * parts // nwave
    square, count, excess, light = np.zeros((2, 4, parts)), np.zeros((2, 4, parts)), np.zeros(2), np.zeros((3, 4))
    flux[0, 30], mask[0, 30] = 80, 0  # a cosmic ray
    bars, some = np.zeros(12), np.empty(50, np.float32)
    n = sum_pulls(flux, ivar, mask, model, rows, cut, stretch, square, count, excess, light, bars, 6.0, some, 3)
    good = (mask[rows] == 0) & (ivar[rows] > 0) & np.isfinite(flux[rows]) & np.isfinite(model[rows])
    pull = np.where(good, flux[rows], 0) * np.sqrt(ivar[rows])
    line = model[rows] > cut[:, None]
    for on in (0, 1):
        here = good & (line == on)
        for p in range(parts):
            at = here & (stretch == p)
            np.testing.assert_allclose(square[on][:, p], np.where(at, np.minimum(pull**2, 36), 0).sum(axis=1), rtol=1e-5)
            np.testing.assert_array_equal(count[on][:, p], at.sum(axis=1))
    np.testing.assert_allclose(square.sum() + excess.sum(), (pull[good] ** 2).sum(), rtol=1e-5)
    assert excess.max() > 100
    between = good & ~line
    variance = 1 / np.where(ivar > 0, ivar, 1)
    summed = [np.where(between, v[rows], 0).sum(axis=1) for v in (np.nan_to_num(flux), np.where(np.isfinite(model), model, 0), variance)]
    np.testing.assert_allclose(light, summed, rtol=1e-5)
    np.testing.assert_array_equal(bars, np.histogram(pull[good], np.linspace(-6, 6, 13))[0])
    np.testing.assert_allclose(some[:n], pull[good][::3][:50], rtol=1e-5)
