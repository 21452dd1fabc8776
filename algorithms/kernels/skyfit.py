"""Loops over the pixels of the sky fibres: robust levels, honest weights, outliers, leave-one-out.

Spectra are [n, nwave] of the n sky fibres alone, float32; `index`, `t`, `s` are their places on the knots (`algorithms.kernels.sky.place`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.sky import accumulate, add, basis, factor, polynomials, solve, spline_at, stiffen
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_EVERY = 3
_OWN = 2.0
"""A pixel whose variance is more than this times that of its neighbours keeps its own: it was repaired, or is noisy."""


@jit
def block_medians(flux: Array, ivar: Array, index: Array, width: int, out: Array, error: Array) -> None:
    """Median flux of each spectrum in blocks of `width` intervals [n, nblock], and its error.

    NaN where a spectrum does not cover the whole block, or has less than half of it.
    """
    n, nwave = flux.shape
    buffer = np.empty(nwave, np.float32)
    out[:] = np.nan
    error[:] = np.inf
    for i in range(n):
        j = 0
        while j < nwave:
            block = index[i, j] // width
            count, total, variance, begin = 0, 0, 0.0, j
            while j < nwave and index[i, j] // width == block:
                total += 1
                if ivar[i, j] > 0:
                    buffer[count] = flux[i, j]
                    variance += 1.0 / ivar[i, j]
                    count += 1
                j += 1
            whole = begin > 0 and j < nwave
            if whole and 2 * count >= total and count > 4:
                out[i, block] = np.median(buffer[:count])
                error[i, block] = 1.2533 * np.sqrt(variance) / count


@jit
def mean_variance(ivar: Array, index: Array, limit: Array, out: Array) -> None:
    """Mean of 1 / ivar over all spectra in every interval, of those up to `limit` [interval]; NaN where there is none."""
    count = np.zeros(out.size, np.int64)
    out[:] = 0.0
    for i in range(ivar.shape[0]):
        for j in range(ivar.shape[1]):
            w = ivar[i, j]
            if w > 0:
                k = index[i, j]
                v = 1.0 / float(w)
                if v <= limit[k]:
                    out[k] += v
                    count[k] += 1
    for k in range(out.size):
        out[k] = out[k] / count[k] if count[k] > 0 else np.nan


@jit
def model_weights(ivar: Array, index: Array, variance: Array, width: int, weight: Array) -> None:
    """Weights that do not know the noise of their own pixel: the mean variance at that wavelength, scaled for each spectrum and stretch.

    `width` is the length of a stretch, in samples.
    """
    n, nwave = ivar.shape
    buffer = np.empty(nwave, np.float64)
    for i in range(n):
        for start in range(0, nwave, width):
            stop = min(nwave, start + width)
            count = 0
            for j in range(start, stop, _EVERY):
                if ivar[i, j] > 0:
                    buffer[count] = 1.0 / (float(ivar[i, j]) * variance[index[i, j]])
                    count += 1
            scale = np.median(buffer[:count]) if count > 0 else 1.0
            for j in range(start, stop):
                if ivar[i, j] > 0:
                    v = scale * variance[index[i, j]]
                    own = 1.0 / float(ivar[i, j])
                    weight[i, j] = 1.0 / (own if own > _OWN * v else v)
                else:
                    weight[i, j] = 0.0


@jit
def clip(
    index: Array, t: Array, s: Array, flux: Array, weight: Array, pieces: Array, lines: Array, level: float, matrix: Array, right: Array, worst: Array
) -> int:
    """Take samples that lie off by more than `level` sigma out of the normal equations; returns how many.

    `lines` [interval]: error of the model itself, added to that of the sample. A sample is taken out only if it is off by at least half as
    much as the worst within three intervals: the others may be off because of the worst. `worst` [interval] is room to work in.
    """
    n, nwave = flux.shape
    worst[:] = 0.0
    for i in range(n):
        for j in range(nwave):
            if weight[i, j] > 0:
                k = index[i, j]
                r = flux[i, j] - spline_at(pieces, k, t[i, j], s[i, j])
                z = r * r / (1.0 / weight[i, j] + lines[k] * lines[k])
                worst[k] = max(worst[k], z)
    removed = 0
    for i in range(n):
        for j in range(nwave):
            k = index[i, j]
            if weight[i, j] > 0 and worst[k] > level * level:
                r = flux[i, j] - spline_at(pieces, k, t[i, j], s[i, j])
                z = r * r / (1.0 / weight[i, j] + lines[k] * lines[k])
                if z > level * level:
                    near = 0.0
                    for m in range(max(0, k - 3), min(worst.size, k + 4)):
                        near = max(near, worst[m])
                    if z >= 0.25 * near:
                        b = basis(t[i, j], s[i, j])
                        add(matrix, right, k, b, -weight[i, j], float(flux[i, j]))
                        weight[i, j] = 0.0
                        removed += 1
    return removed


@jit
def solution(matrix: Array, right: Array, stiffness: float, lower: Array, coefficients: Array, pieces: Array) -> None:
    """Polynomials of the spline that solves the normal equations; `lower` [ncoef, 6] is left holding the factors."""
    lower[:] = matrix
    coefficients[:] = right
    finish(stiffness, lower, coefficients, pieces)


@jit
def solution_without(
    index: Array,
    t: Array,
    s: Array,
    flux: Array,
    weight: Array,
    matrix: Array,
    right: Array,
    stiffness: float,
    lower: Array,
    coefficients: Array,
    pieces: Array,
) -> None:
    """As `solution`, from the normal equations less one spectrum [nwave]."""
    lower[:] = matrix
    coefficients[:] = right
    accumulate(index, t, s, flux, weight, -1.0, lower, coefficients)
    finish(stiffness, lower, coefficients, pieces)


@jit
def finish(stiffness: float, lower: Array, coefficients: Array, pieces: Array) -> None:
    """Factors and solution in place, and the polynomials."""
    stiffen(lower, stiffness)
    factor(lower)
    solve(lower, coefficients)
    polynomials(coefficients, pieces)


@jit
def error_moments(
    index: Array,
    t: Array,
    s: Array,
    flux: Array,
    weight: Array,
    level: float,
    pieces: Array,
    variance: Array,
    lines: Array,
    slopes: Array,
    out: Array,
) -> None:
    """Add one spectrum to the moments of excess variance: r^2 - V = e2 L^2 + d2 D^2, L the light of lines and D the slope of the model.

    `level`: sky of this fibre in units of the model; V: variance of the residual r; `lines`, `slopes` [interval]. `out` [5]: sums of L^4, L^2 D^2,
    D^4, (r^2 - V) L^2, (r^2 - V) D^2, each over V^2.
    """
    for j in range(flux.size):
        k = index[j]
        if weight[j] > 0 and variance[k] < 1e30 and (lines[k] > 0 or slopes[k] > 0):
            r = flux[j] - level * spline_at(pieces, k, t[j], s[j])
            v = 1.0 / weight[j] + variance[k]
            light, slope = lines[k] * lines[k], slopes[k] * slopes[k]
            excess = (min(r * r, 25.0 * (v + 1e-4 * light)) - v) / (v * v)
            out[0] += light * light / (v * v)
            out[1] += light * slope / (v * v)
            out[2] += slope * slope / (v * v)
            out[3] += excess * light
            out[4] += excess * slope


@jit
def amplitudes(index: Array, t: Array, s: Array, flux: Array, weight: Array, pieces: Array, value: Array, error: Array) -> None:
    """Of each spectrum the factor by which the model fits it best, less 1, and its error."""
    for i in range(flux.shape[0]):
        top, bottom = 0.0, 1e-300
        for j in range(flux.shape[1]):
            if weight[i, j] > 0:
                m = spline_at(pieces, index[i, j], t[i, j], s[i, j])
                top += weight[i, j] * m * (flux[i, j] - m)
                bottom += weight[i, j] * m * m
        value[i] = top / bottom
        error[i] = 1.0 / np.sqrt(bottom)
