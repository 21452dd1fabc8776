"""Overscan: robust mean of every line, scatter of a pixel, and level along the lines.

A line is what one level belongs to: a row where the overscan lies beside the data, a column where it lies above or below. Blocks
are float32 [nline, nsample], ADU, one line after the other.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import finite, jit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

CLIP = 5.0
"""Samples farther from their line than this many sigma are left out; a Gaussian loses 6e-7 of its samples and 1.5e-5 of its variance."""
QUANTISATION = 1.0 / 12.0
"""Variance of rounding to whole ADU."""
_LARGEST = 1e30


class Lines(NamedTuple):
    """Robust mean of each line [nline], ADU, NaN where no sample is left; samples used [nline]; scatter of a sample in ADU.

    `scatter` is that of a single sample about the mean of its line, with the degrees of freedom that the means took, NaN if
    there are none. Quantisation is part of it.
    """

    mean: Float64
    used: npt.NDArray[np.int64]
    scatter: float


class Level(NamedTuple):
    """Level of each line, ADU, and its variance, ADU^2; float32 [nline]."""

    level: Float32
    variance: Float32


@jit
def _middle(values: Any, n: int) -> Any:
    """Lower median of the first n values, which are sorted in place (n is 8 at most): what spoils a value makes it larger."""
    for i in range(1, n):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return values[(n - 1) // 2]


@jit
def _groups(block: Any, width: int, centre: Any, variance: Any) -> None:
    """Median of the group means of each line, and the variance of each group (NaN with fewer than two finite samples)."""
    nline, nsample = block.shape
    ngroup = max(1, nsample // width)
    means = np.empty(ngroup)
    for i in range(nline):
        good = 0
        for g in range(ngroup):
            stop = nsample if g == ngroup - 1 else (g + 1) * width
            total, square, n = 0.0, 0.0, 0
            first = float(block[i, g * width])
            origin = first if finite(first) else 0.0  # sums about a sample: no digits are lost
            for x in range(g * width, stop):
                value = float(block[i, x]) - origin
                if finite(value):
                    total += value
                    square += value * value
                    n += 1
            variance[i, g] = (square - total * total / n) / (n - 1) if n > 1 else np.nan
            if n > 0:
                means[good] = origin + total / n
                good += 1
        centre[i] = _middle(means, good) if good > 0 else np.nan


@jit
def _clipped(block: Any, centre: Any, limit: float, mean: Any, used: Any) -> float:
    """Mean and number of the samples within `limit` of the centre of their line, twice; returns their squares about the mean."""
    squares = 0.0
    for i in range(block.shape[0]):
        middle, n, square = centre[i], 0, 0.0
        for _ in range(2):
            total, square, n = 0.0, 0.0, 0
            for x in range(block.shape[1]):
                off = float(block[i, x]) - middle
                inside = abs(off) <= limit
                total += off if inside else 0.0
                square += off * off if inside else 0.0
                n += 1 if inside else 0
            if n == 0:
                break
            square -= total * total / n
            middle += total / n
        mean[i] = middle if n > 0 else np.nan
        used[i] = n
        squares += square if n > 0 else 0.0
    return squares


def _width(nsample: int) -> int:
    """Samples of a group: eight groups of a line where there are 32 samples and more."""
    return nsample // 8 if nsample >= 32 else min(4, nsample)


def measure_lines(block: Float32) -> Lines:
    """Robust mean of each line of `block` [nline, nsample] and the scatter of a sample, both unbiased for Gaussian noise.

    The centre of a line is first the median of means of groups of neighbouring samples, so that a cosmic ray or a trail at one end is
    left out; the scale is the median of the variances of all groups. Then means of the samples within `CLIP` sigma. NaN and
    infinities are left out. Agrees with the reference of the tests within 1e-6 relative.
    """
    nline, nsample = block.shape
    width = _width(nsample)
    centre = np.empty(nline)
    variance = np.empty((nline, max(1, nsample // width)))
    _groups(block, width, centre, variance)
    known = variance[np.isfinite(variance)]
    dof = width - 1
    # chi^2 with few degrees of freedom has its median below its mean (Wilson & Hilferty 1931)
    scale2 = float(np.median(known)) / (1 - 2 / (9 * dof)) ** 3 if known.size and dof > 0 else math.inf
    if scale2 == 0.0:  # noise below the step of the converter: most groups hold one value
        scale2 = float(np.mean(known))
    mean, used = np.empty(nline), np.zeros(nline, np.int64)
    squares = _clipped(block, centre, CLIP * math.sqrt(scale2) + 0.5, mean, used)
    freedom = int(np.sum(np.maximum(used - 1, 0)))
    return Lines(mean, used, math.sqrt(squares / freedom) if freedom > 0 else math.nan)


def read_noise(scatter: float, integers: bool) -> float:
    """Gaussian sigma, ADU, behind the scatter of samples that were rounded to whole ADU (`integers`), or the scatter itself.

    scatter^2 = sigma^2 + 1/12 holds within 0.1 % from sigma = 0.5 ADU on; below, the scatter is returned, an upper limit.
    """
    if not integers or not scatter > 0.55:
        return scatter
    return math.sqrt(scatter * scatter - QUANTISATION)


def savgol_matrix(window: int, order: int) -> Float64:
    """Hat matrix [window, window] of a polynomial fit (Savitzky & Golay 1964): its middle row smooths, the others serve the ends."""
    x = np.linspace(-1.0, 1.0, window)
    basis = np.polynomial.legendre.legvander(x, order)
    return np.asarray(basis @ np.linalg.pinv(basis))


def savgol(values: Float64, window: int, order: int) -> tuple[Float64, Float64]:
    """`values` [n] smoothed by polynomials of `order` over `window` of them, and the weight of each value in its own result.

    An even window, or one longer than the values, is shortened, and the order below the window. At the ends the polynomial
    through the first or last window is taken, as scipy's `savgol_filter` does (agreement 1e-9 relative).
    """
    n = values.size
    window = min(window, n)
    window -= 1 - window % 2
    order = min(order, window - 1)
    hat = savgol_matrix(window, order)
    half = window // 2
    smooth, weight = np.empty(n), np.full(n, hat[half, half])
    smooth[half : n - half] = np.convolve(values, hat[half][::-1], mode="valid")
    smooth[:half], weight[:half] = hat[:half] @ values[:window], np.diag(hat)[:half]
    if half:
        smooth[-half:], weight[-half:] = hat[-half:] @ values[-window:], np.diag(hat)[-half:]
    return smooth, weight


def _complete(values: Float64) -> Float64:
    """NaN replaced by linear interpolation; 0 where there is nothing at all."""
    good = np.isfinite(values)
    if good.all():
        return values
    if not good.any():
        return np.zeros_like(values)
    where = np.arange(values.size)
    return np.asarray(np.interp(where, where[good], values[good]))


def _running_mean(values: Float64, window: int) -> Float64:
    """Mean over up to `window` values around each, fewer at the ends."""
    half = min(window, values.size) // 2
    total = np.concatenate(([0.0], np.cumsum(values)))
    first = np.maximum(np.arange(values.size) - half, 0)
    last = np.minimum(np.arange(values.size) + half + 1, values.size)
    return np.asarray((total[last] - total[first]) / (last - first))


def level_of(lines: Lines, mode: Literal["line", "median"], *, window: int = 0, order: int = 2, adaptive: bool = True) -> Level:
    """Level of each line and its variance from the means of the lines.

    ``median``: one level for all. ``line``: each its own mean, whose noise (scatter^2 / samples) is common to all pixels of the
    line; with `window` > 1 smoothed (Savitzky-Golay); `adaptive` then gives back to each line the part of its departure from the
    smooth level that is more than noise: level = smooth + w (mean - smooth), w = 1 - 1/F, F the mean square of the departures around it
    over that expected from noise, w = 0 where F lies within two sigma of 1 (a local Wiener filter: 0 for a quiet detector, near 1
    where lines jump or step).
    Lines without a sample are interpolated.
    """
    mean = _complete(lines.mean)
    noise2 = lines.scatter**2 if math.isfinite(lines.scatter) else 0.0
    own = noise2 / np.maximum(lines.used, 1)
    if mode == "median":
        level = np.full(mean.size, np.median(mean))
        variance = np.full(mean.size, 0.5 * math.pi * float(np.mean(own)) / mean.size)
    elif window <= 1 or mean.size < 3:
        level, variance = mean, own
    else:
        level, weight = savgol(mean, window, order)
        variance = own * weight
        if adaptive:
            level, variance = _give_back(mean, level, own, weight, window)
    return Level(single(level), single(variance))


def single(values: Float64) -> Float32:
    """As float32; what only a broken file holds is cut where sums and squares of float32 still have room."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)


def _give_back(mean: Float64, smooth: Float64, own: Float64, weight: Float64, window: int) -> tuple[Float64, Float64]:
    apart = mean - smooth
    expected = np.maximum(own * (1 - weight), 1e-12)
    ratio = _running_mean(apart * apart / expected, window)
    share = np.where(ratio > 1.0 + 2.0 * math.sqrt(2.0 / window), 1.0 - 1.0 / np.maximum(ratio, 1.0), 0.0)
    return smooth + share * apart, own * (weight * (1 - share) ** 2 + share)
