"""Relative throughput of fibres from a flat exposure: the mean spectrum of the lamp, and each fibre's ratio to it as a smooth spline.

Spectra are [nfibre, nwave], flux and ivar float32, wave float64. The mean spectrum is a piecewise linear function on equal steps; it is the
sum of fluxes over the sum of ratios, which is the best mean for Poisson noise and, unlike one weighted by ivar, has no bias. The ratios use
the splines of `algorithms.kernels.sky` without broadening. The slow reference of the tests (scipy's splines, dense) is met to 1e-6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.sky import ORDER, accumulate, add, basis, factor, inverse_bands, polynomials, solve, spline_at, stiffen, variances
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_LOW = 1e-6
_STRETCH = 32


@jit
def spline_of(wave: Array, row: int, first: float, step: float, pieces: Array) -> Any:
    """A spline [interval, 6] at wave[row]; beyond its intervals the last polynomial goes on."""
    u = (wave[row] - first) / step
    k = min(max(int(u), 0), pieces.shape[0] - 1)
    return spline_at(pieces, k, u - k, 0.0)


@jit
def drop_spikes(flux: Array, ivar: Array, sigma: float, part: float) -> None:
    """Set ivar to 0 where the flux departs from the medians of stretches of 32 samples by more than `sigma` sigma and `part` of it.

    The light of the lamp is smooth, so that only cosmic rays do. What is left moves the mean of the fibres little.
    """
    nwave = flux.shape[1]
    stretches = max(1, nwave // _STRETCH)
    length = nwave / stretches
    inverse, limit, sigma2 = 1.0 / length, np.float32(part), np.float32(sigma * sigma)
    medians, buffer = np.zeros(stretches), np.empty(nwave, np.float32)
    for i in range(flux.shape[0]):
        known = 0.0
        for k in range(stretches):
            n = 0
            for j in range(int(k * length), int((k + 1) * length), 2):
                if ivar[i, j] > 0:
                    buffer[n] = flux[i, j]
                    n += 1
            known = float(np.median(buffer[:n])) if n > 0 else known
            medians[k] = known
        for j in range(nwave):
            u = (j + 0.5) * inverse - 0.5
            k = min(max(int(u), 0), max(stretches - 2, 0))
            m = np.float32(medians[k] + (u - k) * (medians[min(k + 1, stretches - 1)] - medians[k]))
            off = max(abs(flux[i, j] - m) - limit * abs(m), np.float32(0))
            ivar[i, j] = ivar[i, j] if off * off * ivar[i, j] <= sigma2 else np.float32(0)


@jit
def lamp(
    flux: Array,
    ivar: Array,
    wave: Array,
    use: Array,
    first: float,
    step: float,
    pieces: Array,
    grid: float,
    ratio_first: float,
    total: Array,
    share: Array,
) -> None:
    """Sums over the fibres `use` of flux and of ratio, each sample shared between its two points of the grid [m] (first, step: of the grid).

    `pieces` [nfibre, interval, 6]: the ratio of each fibre, with intervals of `grid` Angstrom from `ratio_first` on.
    """
    total[:] = 0.0
    share[:] = 0.0
    for i in range(flux.shape[0]):
        if not use[i]:
            continue
        for j in range(flux.shape[1]):
            if ivar[i, j] > 0:
                u = (wave[i, j] - first) / step
                k = min(max(int(u), 0), total.size - 2)
                x = u - k
                r = spline_of(wave[i], j, ratio_first, grid, pieces[i])
                total[k] += (1.0 - x) * flux[i, j]
                total[k + 1] += x * flux[i, j]
                share[k] += (1.0 - x) * r
                share[k + 1] += x * r


@jit
def _place_samples(
    flux: Array, ivar: Array, wave: Array, first: float, step: float, mean: Array, ratio_first: float, ratio_step: float, every: int, samples: Any
) -> None:
    """Of every `every`-th sample of one fibre [nwave]: interval and fraction of it, ratio to the mean spectrum, weight; the others have weight 0."""
    index, t, y, w, intervals = samples
    w[:] = 0.0
    for j in range(0, flux.size, every):
        u = (wave[j] - first) / step
        k = min(max(int(u), 0), mean.size - 2)
        m = mean[k] + (u - k) * (mean[k + 1] - mean[k])
        good = ivar[j] > 0 and m > _LOW
        y[j] = flux[j] / m if good else 0.0  # where there is no weight, nothing reads it
        w[j] = ivar[j] * m * m if good else 0.0
        v = (wave[j] - ratio_first) / ratio_step
        index[j] = min(max(int(v), 0), intervals - 1)
        t[j] = v - index[j]


@jit
def _leave_out(samples: Any, pieces: Array, clip: float, off: Array, worst: Array, ivar: Array, matrix: Array, right: Array) -> int:
    """Take the samples that lie off by more than `clip` sigma, and are among the worst around them, out of the normal equations; how many."""
    index, t, y, w, intervals = samples
    out = 0
    worst[:] = 0.0
    for j in range(w.size):
        off[j] = 0.0
        if w[j] > 0:
            r = y[j] - spline_at(pieces, index[j], t[j], 0.0)
            off[j] = w[j] * r * r
            worst[index[j]] = max(worst[index[j]], off[j])
    for j in range(w.size):
        k = index[j]
        if off[j] > clip * clip and off[j] >= 0.25 * max(worst[k], worst[max(k - 1, 0)], worst[min(k + 1, intervals - 1)]):
            add(matrix, right, k, basis(t[j], 0.0), -w[j], y[j])
            w[j] = 0.0
            ivar[j] = 0
            out += 1
    return out


@jit
def ratios(
    flux: Array,
    ivar: Array,
    wave: Array,
    use: Array,
    first: float,
    step: float,
    mean: Array,
    ratio_first: float,
    ratio_step: float,
    clip: float,
    rounds: int,
    every: int,
    pieces: Array,
    variance: Array,
) -> int:
    """The ratio of each fibre to the mean spectrum [m], as polynomials [nfibre, interval, 6], and its variance [nfibre, interval].

    Samples that lie off by more than `clip` sigma are left out, the worst first, in `rounds` rounds, and get ivar 0;
    returns how many were. Only every `every`-th sample is used.
    """
    intervals, nwave = pieces.shape[1], flux.shape[1]
    size = intervals + ORDER - 1
    index, t, s, y, w = np.zeros(nwave, np.int32), np.zeros(nwave), np.zeros(nwave), np.empty(nwave), np.empty(nwave)
    samples = (index, t, y, w, intervals)
    off, worst, bands = np.empty(nwave), np.empty(intervals), np.empty((size, ORDER))
    matrix, right, lower, x = np.empty((size, ORDER)), np.empty(size), np.empty((size, ORDER)), np.empty(size)
    removed = 0
    for i in range(flux.shape[0]):
        if not use[i]:
            continue
        _place_samples(flux[i], ivar[i], wave[i], first, step, mean, ratio_first, ratio_step, every, samples)
        matrix[:] = 0.0
        right[:] = 0.0
        accumulate(index, t, s, y, w, 1.0, matrix, right)
        stiffness = 1e-5 * matrix[:, 0].sum() / size + 1e-30
        for turn in range(rounds + 1):
            lower[:] = matrix
            x[:] = right
            stiffen(lower, stiffness)
            factor(lower)
            solve(lower, x)
            polynomials(x, pieces[i])
            out = _leave_out(samples, pieces[i], clip, off, worst, ivar[i], matrix, right) if turn < rounds else 0
            removed += out
            if out == 0:
                break
        inverse_bands(lower, bands)
        variances(bands, variance[i])
    return removed


@jit
def sample(wave: Array, use: Array, ratio_first: float, ratio_step: float, pieces: Array, variance: Array, flat: Array, flat_var: Array) -> None:
    """Ratios and their variances on common wavelengths [m]: flat, flat_var [nfibre, m]."""
    for i in range(flat.shape[0]):
        if use[i]:
            for j in range(wave.size):
                u = (wave[j] - ratio_first) / ratio_step
                k = min(max(int(u), 0), pieces.shape[1] - 1)
                flat[i, j] = spline_at(pieces[i], k, u - k, 0.0)
                flat_var[i, j] = variance[i, k]
