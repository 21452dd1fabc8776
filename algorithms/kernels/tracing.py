"""Traces of fibres across the dispersion: rows put together in blocks, and all profiles of a block fitted with their neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]

PIXEL = 1.0 / 12.0
"""Variance of a pixel of width 1, which stands for the integration of a Gaussian over pixels."""
_CLIP = 5.0
_MODEL = 0.02
"""What a profile may differ from the Gaussian, of its peak."""
_LEVEL = 0.05
"""Expected size of the level, of the peak."""
_ROUNDS = 5


@jit
def row_blocks(pixels: Array, ivar: Array, rows: int, mean: Array, var: Array) -> None:
    """Mean over blocks of rows, without what stands out of them (cosmic rays, bad pixels).

    pixels, ivar [ny, nx]; mean, var [nblock, nx] float64 are filled for the blocks of `rows` rows that begin at 0, rows, 2 rows, ... A pixel counts
    if its ivar is positive and it lies within 5 sigma, and 10 % of the level, of the median of its column in the block. var is infinite where no
    pixel is good.
    """
    nx = pixels.shape[1]
    values, weights = np.empty(rows), np.empty(rows)
    for b in range(mean.shape[0]):
        for j in range(nx):
            n = 0
            for i in range(b * rows, min((b + 1) * rows, pixels.shape[0])):
                if ivar[i, j] > 0:  # sorted by insertion: n is small
                    v, w, k = float(pixels[i, j]), float(ivar[i, j]), n
                    while k > 0 and values[k - 1] > v:
                        values[k], weights[k] = values[k - 1], weights[k - 1]
                        k -= 1
                    values[k], weights[k] = v, w
                    n += 1
            mean[b, j], var[b, j] = 0.0, math.inf
            if n == 0:
                continue
            middle = 0.5 * (values[(n - 1) // 2] + values[n // 2])
            total, variance, used = 0.0, 0.0, 0
            for k in range(n):
                if abs(values[k] - middle) <= _CLIP / math.sqrt(weights[k]) + 0.1 * abs(middle):
                    total += values[k]
                    variance += 1.0 / weights[k]
                    used += 1
            if used > 0:
                mean[b, j], var[b, j] = total / used, variance / (used * used)


@jit
def _gauss(z: float, s2: float) -> Any:
    return math.exp(-0.5 * z * z / s2) / math.sqrt(2.0 * math.pi * s2)


@jit
def _solve4(a: Array, b: Array) -> bool:
    """Solve a x = b for 4 unknowns in place; a becomes the inverse. False where it is singular."""
    for k in range(4):
        p = a[k, k]
        if not abs(p) > 1e-30:
            return False
        a[k, k] = 1.0
        for j in range(4):
            a[k, j] /= p
        b[k] /= p
        for i in range(4):
            if i != k:
                f = a[i, k]
                a[i, k] = 0.0
                for j in range(4):
                    a[i, j] -= f * a[k, j]
                b[i] -= f * b[k]
    return True


@jit
def _others(x: Array, flux: Array, s2: Array, f: int, j: int) -> Any:
    """Light of the two fibres on either side of f in pixel j."""
    total = 0.0
    for k in (f - 2, f - 1, f + 1, f + 2):
        if k >= 0 and k < x.size and flux[k] > 0:
            z = j - x[k]
            if z * z < 36.0 * s2[k]:
                total += flux[k] * _gauss(z, s2[k])
    return total


@jit
def _first_flux(mean: Array, var: Array, x: Any, s2: Any) -> Any:
    """What stands at the peak, or beside it, as the flux of a Gaussian there."""
    middle, top = math.floor(x + 0.5), -1
    for j in range(max(0, middle - 1), min(mean.size, middle + 2)):
        if var[j] < math.inf and (top < 0 or mean[j] > mean[top]):
            top = j
    return max(mean[top], 0.0) / _gauss(top - x, s2) if top >= 0 else 0.0


@jit
def _equations(mean: Array, var: Array, at: Array, flux: Array, s2: Array, level: Any, f: int, half: Any, a: Array, b: Array) -> tuple[int, float]:
    """Normal equations of a Gauss-Newton step of fibre f: flux, place, variance, level. Gives the number of good pixels and chi2."""
    d = np.empty(4)
    peak = flux[f] * _gauss(0.0, s2[f])
    a[:, :] = 0.0
    b[:] = 0.0
    good, total = 0, 0.0
    for j in range(max(0, math.ceil(at[f] - half)), min(mean.size - 1, math.floor(at[f] + half)) + 1):
        if not var[j] < math.inf:
            continue
        z = j - at[f]
        g = _gauss(z, s2[f])
        d[0], d[1] = g, flux[f] * g * z / s2[f]
        d[2], d[3] = 0.5 * flux[f] * g * (z * z / s2[f] - 1.0) / s2[f], 1.0
        w = 1.0 / (var[j] + (_MODEL * peak) ** 2)
        r = mean[j] - _others(at, flux, s2, f, j) - flux[f] * g - level
        total += w * r * r
        good += 1
        for i in range(4):
            b[i] += w * d[i] * r
            for k in range(4):
                a[i, k] += w * d[i] * d[k]
    hold = 1.0 / (_LEVEL * peak + 1e-3) ** 2  # the level is small against the peak
    a[3, 3] += hold
    b[3] -= level * hold
    for i in range(3):
        a[i, i] *= 1.0 + 1e-9
    return good, total


@jit
def fit_profiles(
    mean: Array, var: Array, x: Array, sigma: Array, half: Any, flux: Array, shift: Array, width: Array, error: Array, chi2: Array
) -> None:
    """All profiles of one block of rows (or lines of a spectrum), each with its neighbours taken off.

    mean, var [nx]; x, sigma [nfibre] where the fibres are expected, x rising. The model is a Gaussian of sigma^2 + 1/12 (for its integration over
    pixels) and a level, on x +- half. Filled, [nfibre]: flux (0 where there is no fit), shift against x, width sigma, error of shift (with 2 % of the
    peak as error of the model), chi2 per degree of freedom.
    """
    n = x.size
    a, b = np.empty((4, 4)), np.empty(4)
    at, s2, level = x.copy(), sigma * sigma + PIXEL, np.zeros(n)
    for f in range(n):
        flux[f] = _first_flux(mean, var, at[f], s2[f])
    for turn in range(_ROUNDS + 1):
        for f in range(n):
            shift[f], width[f], error[f], chi2[f] = at[f] - x[f], math.sqrt(max(s2[f] - PIXEL, 1e-6)), math.inf, math.inf
            good, total = 0, 0.0
            if flux[f] > 0:
                good, total = _equations(mean, var, at, flux, s2, level[f], f, half, a, b)
            if good < 5 or not _solve4(a, b):
                flux[f] = 0.0
                continue
            if turn == _ROUNDS:
                error[f], chi2[f] = math.sqrt(abs(a[1, 1])), total / max(1, good - 4)
                continue
            flux[f] = max(flux[f] + b[0], 0.0)
            at[f] += min(max(b[1], -0.3), 0.3)
            s2[f] = min(max(s2[f] + b[2], 0.5 * s2[f]), 2.0 * s2[f])
            level[f] += b[3]
            if abs(at[f] - x[f]) > 0.5 * half or not (s2[f] > 0.2 and s2[f] < half * half):
                at[f], s2[f], flux[f] = x[f], sigma[f] * sigma[f] + PIXEL, 0.0
