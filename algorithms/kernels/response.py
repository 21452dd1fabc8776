"""The response of a spectrograph from bins of standard stars: a stiff, robust spline through the logarithm of the ratios."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
_DEGREE = 3
_ROUNDS = 12


class Smooth(NamedTuple):
    """A fitted curve at the places asked for: `value` and its `variance`; `kept` [nbin]: bins that were not taken for outliers."""

    value: Float64
    variance: Float64
    kept: Bool


def bin_ratios(wave: Float64, flux: Float64, ivar: Float64, expected: Float64, edges: Float64) -> tuple[Float64, Float64]:
    """Sum of `flux` over sum of `expected` in bins, and its error; NaN in bins with less than half of their samples. All samples [n]."""
    nbin = edges.size - 1
    at = np.searchsorted(edges, wave, side="right") - 1
    inside = (at >= 0) & (at < nbin)
    good = inside & (ivar > 0) & (expected > 0) & np.isfinite(flux)

    def summed(values: Float64, which: Bool) -> Float64:
        return np.asarray(np.bincount(at[which], values[which], nbin), np.float64)

    top, bottom = summed(flux, good), summed(expected, good)
    noise = summed(np.where(good, 1.0 / np.where(good, ivar, 1.0), 0.0), good)
    count, all_ = summed(np.ones(wave.size), good), summed(np.ones(wave.size), inside)
    known = (2 * count >= all_) & (count > 0) & (bottom > 0)
    safe = np.where(known, bottom, 1.0)
    return np.where(known, top / safe, np.nan), np.where(known, np.sqrt(noise) / safe, np.nan)


def blurred(wave: Float64, flux: Float64, sigma: float) -> Float64:
    """A spectrum [n] seen with a Gaussian of `sigma` Angstrom more; flux per Angstrom is conserved."""
    if not sigma > 0:
        return flux
    step = min(0.25 * sigma, float(np.median(np.diff(wave))))
    grid = np.arange(wave[0], wave[-1] + step, step)
    half = int(np.ceil(5 * sigma / step))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * step / sigma) ** 2)
    padded = np.pad(np.interp(grid, wave, flux), half, mode="edge")
    return np.asarray(np.interp(wave, grid, np.convolve(padded, kernel / kernel.sum(), mode="valid")))


def design(wave: Float64, knots: Float64) -> Float64:
    """Cubic B-splines [n, ncoef] on `knots` (the inner ones and both ends); beyond the ends the last polynomials go on."""
    from scipy.interpolate import BSpline

    full = np.concatenate([[knots[0]] * _DEGREE, knots, [knots[-1]] * _DEGREE])
    n = full.size - _DEGREE - 1
    return np.stack([BSpline(full, np.eye(n)[k], _DEGREE, extrapolate=True)(wave) for k in range(n)], axis=1)


def fit_smooth(wave: Float64, value: Float64, error: Float64, use: Bool, knots: Float64, at: Float64, stiffness: float, clip: float) -> Smooth:
    """Penalised spline (Eilers & Marx 1996, Statistical Science 11, 89; third differences of the coefficients) through bins [nbin], given at `at`.

    Bins off by more than `clip` times the robust scatter (and their own error) are left out, in turns. The variance is that of the coefficients,
    scaled by the scatter where this is larger than the errors. Raises ValueError with fewer usable bins than 4.
    """
    basis = design(wave, knots)
    n = basis.shape[1]
    order = min(3, n - 1)
    bend = np.diff(np.eye(n), order, axis=0)
    kept, covariance, coefficients = use.copy(), np.eye(n), np.zeros(n)
    for _ in range(_ROUNDS):
        if kept.sum() < 4:
            raise ValueError(f"{int(kept.sum())} bins can be used, 4 are needed")
        w = np.where(kept, 1.0 / np.where(kept, error, 1.0) ** 2, 0.0)
        normal = basis.T @ (basis * w[:, None])
        penalty = stiffness * float(np.trace(normal)) / n * bend.T @ bend
        covariance = np.linalg.inv(normal + penalty)
        coefficients = covariance @ (basis.T @ (w * np.where(kept, value, 0.0)))
        residual = np.where(use, value, 0.0) - basis @ coefficients
        scatter = 1.4826 * float(np.median(np.abs(residual[kept])))
        following = use & (np.abs(residual) <= clip * np.hypot(scatter, error))
        if (following == kept).all():
            break
        kept = following
    freedom = max(int(kept.sum()) - n, 1)
    chi2 = float(np.sum((residual[kept] / error[kept]) ** 2)) / freedom
    places = design(at, knots)
    return Smooth(places @ coefficients, np.einsum("ij,jk,ik->i", places, covariance, places) * max(chi2, 1.0), kept)
