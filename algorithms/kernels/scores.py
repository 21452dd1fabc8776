"""Sums and medians over the samples of each fibre."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_INF, _ZERO = _F(np.inf), _F(0)
_SAMPLE = 31
_NEAR, _FAR, _ROUNDS = 4, 40, 12
"""Ranks from the median at which the search ends, and below which it may; and its rounds."""


@jit
def _count(values: Array, limit: Any) -> Any:
    """Number of values up to a limit."""
    n = np.int32(0)
    for j in range(values.size):
        n += np.int32(1) if values[j] <= limit else np.int32(0)
    return n


@jit
def _next(values: Array, limit: Any) -> Any:
    """The smallest value above a limit."""
    least = _INF
    for j in range(values.size):
        least = min(least, values[j] if values[j] > limit else _INF)
    return least


@jit
def _bracket(values: Array, rank: int) -> Any:
    """(low, number of values up to it, high, number): the value of a rank lies between; from an ordered sample. Both 0 where it does not work."""
    sample = np.sort(values[:: max(1, values.size // _SAMPLE)])
    size = int(np.searchsorted(sample, _INF))
    if size == 0:
        return _ZERO, 0, _ZERO, 0
    i, step = size // 2, max(1, size // 8)
    low = high = sample[i]
    below = above = _count(values, low)
    while below > rank and i > 0:
        i = max(i - step, 0)
        high, above = low, below
        low = sample[i]
        below = _count(values, low)
    while above <= rank and i < size - 1:
        i = min(i + step, size - 1)
        low, below = high, above
        high = sample[i]
        above = _count(values, high)
    return (low, below, high, above) if below <= rank < above else (_ZERO, 0, _ZERO, 0)


@jit
def median(values: Array, n: int) -> float:
    """Median of the n finite ones among values [nwave] float32, of which the others are +infinity; NaN where n is 0.

    Exact. Values are counted against limits that close in on the median, which the compiler vectorises, and never moved.
    """
    if n == 0:
        return np.nan
    rank = (n - 1) // 2
    low, below, high, above = _bracket(values, rank)
    for _ in range(_ROUNDS):
        if rank - below <= _NEAR or above == 0:
            break
        limit = _F(low + (high - low) * _F((rank - _NEAR // 2 - below) / (above - below)))
        if not low < limit < high:
            break
        count = _count(values, limit)
        if count <= rank:
            low, below = limit, count
        else:
            high, above = limit, count
    if above == 0 or rank - below > _FAR:
        return float(np.median(values[values < _INF].astype(np.float64)))
    found = _next(values, low)
    while _count(values, found) <= rank:
        found = _next(values, found)
    if n % 2 or _count(values, found) > rank + 1:
        return np.float64(found)
    return 0.5 * (np.float64(found) + np.float64(_next(values, found)))


@jit
def _usable(flux: Array, ivar: Array, mask: Array, out: Array) -> Any:
    """out = flux, +infinity where it is not usable; the number of usable samples, and their sum."""
    n, total = np.int32(0), 0.0
    for j in range(out.size):
        good = (ivar[j] > _ZERO) & (mask[j] == 0) & (abs(flux[j]) < _INF)
        value = flux[j]
        out[j] = value if good else _INF
        n += np.int32(1) if good else np.int32(0)
        total += np.float64(value) if good else 0.0
    return n, total


@jit
def _integral(values: Array, wave: Array) -> float:
    """Sum of the finite ones among values per Angstrom times the Angstrom of their samples; NaN for a single sample."""
    last = values.size - 1
    if last == 0:
        return np.nan
    total = 0.0
    for j in range(1, last):
        total += (np.float64(values[j]) if values[j] < _INF else 0.0) * (wave[j + 1] - wave[j - 1])
    total *= 0.5
    total += values[0] * (wave[1] - wave[0]) if values[0] < _INF else 0.0
    total += values[last] * (wave[last] - wave[last - 1]) if values[last] < _INF else 0.0
    return total


@jit
def moments(flux: Array, ivar: Array, mask: Array, wave: Array, buffer: Array, out: Array) -> None:
    """Of the usable samples of each fibre: sum of flux times Angstrom, mean and median flux: out [3, nfibre], float64; NaN without any.

    `buffer` [nwave] float32: room to work in.
    """
    for i in range(flux.shape[0]):
        n, s = _usable(flux[i], ivar[i], mask[i], buffer)
        out[0, i] = _integral(buffer, wave[i]) if n > 0 else np.nan
        out[1, i] = s / n if n > 0 else np.nan
        out[2, i] = median(buffer, n)


@jit
def template_snr2(ivar: Array, mask: Array, wave: Array, first: float, step: float, templates: Array, weight: Array, out: Array) -> None:
    """Sum of each template [n, m] (on equal steps) times ivar of each fibre, [n, nfibre]; NaN where no sample is usable.

    ivar is gathered on the steps of the templates first. `weight` [m]: room to work in, 0 on entry.
    """
    m, inverse = templates.shape[1], 1.0 / step
    for i in range(ivar.shape[0]):
        low, high = m, 0
        for j in range(ivar.shape[1]):
            u = (wave[i, j] - first) * inverse
            if ivar[i, j] > _ZERO and mask[i, j] == 0 and u >= 0 and u < m - 1:
                k = int(u)
                part = ivar[i, j] * (u - k)
                weight[k] += ivar[i, j] - part
                weight[k + 1] += part
                low, high = min(low, k), max(high, k + 2)
        for t in range(templates.shape[0]):
            total = 0.0
            for k in range(low, high):
                total += weight[k] * templates[t, k]
            out[t, i] = total if low < high else np.nan
        weight[low:high] = 0.0
