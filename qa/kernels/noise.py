"""Level and scatter of pixels in short blocks along the rows, robust and unbiased for integer data.

The levels are clipped means about the median of each block, so that a cosmic ray, or light that leaks into a few pixels, moves
them little; the scatter is a clipped standard deviation divided by what clipping takes from a Gaussian. Neither is quantised, as
the median absolute deviation of integers is: for a noise of 2 ADU that one moves in steps of 0.7 ADU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Pixels = npt.NDArray[np.float32]
Levels = npt.NDArray[np.float64]

CLIP = 4.0
"""Pixels farther than this many sigma from their level are left out."""
_MEAN_DEVIATION = 1.2533141  # sigma of a Gaussian over its mean absolute deviation, sqrt(pi/2)
_MIN_BLOCK = 2
_MIN_COLUMN = 8
_MIN_PIXELS = 16
_CENTRE_PIXELS = 16


@dataclass(frozen=True, slots=True)
class Scatter:
    """Result of `scatter`.

    `sigma` is the scatter about the level (unit of the input; NaN if there are too few pixels), corrected for clipping and for
    the degrees of freedom that the levels took; `levels` [nrow, nblock] is NaN where a block has fewer than two finite
    pixels; `residuals` has the shape of the input; `columns` [nx] are the means of the columns that were taken out, NaN where none were.
    """

    sigma: float
    levels: Levels
    residuals: Pixels
    used: int
    columns: Levels


def clip_factor(kappa: float) -> float:
    """Standard deviation of a unit Gaussian that is cut at +-kappa (see Barr & Sherrill 1999, Am. Stat. 53, 357)."""
    density = math.exp(-0.5 * kappa * kappa) / math.sqrt(2.0 * math.pi)
    return math.sqrt(1.0 - 2.0 * kappa * density / math.erf(kappa / math.sqrt(2.0)))


@jit
def median_of(buffer, n):  # type: ignore[no-untyped-def]
    """Upper median of the first n values (a few tens) by insertion; orders them."""
    for i in range(1, n):
        value, j = buffer[i], i - 1
        while j >= 0 and buffer[j] > value:
            buffer[j + 1] = buffer[j]
            j -= 1
        buffer[j + 1] = value
    return buffer[n // 2]


@jit
def _block_centres(x, width, centre, spread):  # type: ignore[no-untyped-def]
    """A rough robust level of every block, the median of some 16 to 31 pixels spread over it, and the mean absolute deviation from it.

    The level is only where clipping starts, so that 0.3 sigma of error do no harm. NaN where there are fewer than two finite pixels.
    """
    buffer = np.empty(width, np.float32)
    step = max(1, width // _CENTRE_PIXELS)
    for i in range(x.shape[0]):
        for b in range(centre.shape[1]):
            first, last = b * width, min((b + 1) * width, x.shape[1])
            centre[i, b] = np.nan
            spread[i, b] = np.nan
            n = 0
            for j in range(first, last, step):
                if np.isfinite(x[i, j]):
                    buffer[n] = x[i, j]
                    n += 1
            if n == 0:
                continue
            middle = median_of(buffer, n)
            total = np.float32(0.0)
            count = 0
            block = x[i, first:last]
            for j in range(block.size):
                deviation = abs(block[j] - middle)
                finite = deviation < np.float32(np.inf)
                total += deviation if finite else np.float32(0.0)
                count += finite
            if count >= _MIN_BLOCK:
                centre[i, b] = middle
                spread[i, b] = total / count


@jit
def _block_levels(x, width, cut, centre, residuals):  # type: ignore[no-untyped-def]
    """Replace the centres by means of what lies within `cut` of them; residuals about those. Returns blocks and pixels used."""
    limit = np.float32(cut)
    blocks = 0
    pixels = 0
    for i in range(x.shape[0]):
        for b in range(centre.shape[1]):
            middle = np.float32(centre[i, b])
            total = np.float32(0.0)
            n = 0
            block = x[i, b * width : min((b + 1) * width, x.shape[1])]
            out = residuals[i, b * width : b * width + block.size]
            for j in range(block.size):
                offset = block[j] - middle
                inside = (offset <= limit) & (offset >= -limit)
                total += offset if inside else np.float32(0.0)
                n += inside
            level = centre[i, b]
            if n > 0:
                level += total / n
                blocks += 1
                pixels += n
            centre[i, b] = level
            for j in range(block.size):
                out[j] = block[j] - np.float32(level)
    return blocks, pixels


@jit
def _remove_columns(residuals, cut):  # type: ignore[no-untyped-def]
    """Take the clipped mean of every column from the residuals, and return it: a fixed pattern along the rows is no noise."""
    sums = np.zeros(residuals.shape[1])
    counts = np.zeros(residuals.shape[1])
    for i in range(residuals.shape[0]):
        for j in range(residuals.shape[1]):
            value = residuals[i, j]
            if abs(value) <= cut:
                sums[j] += value
                counts[j] += 1.0
    for j in range(residuals.shape[1]):
        sums[j] = sums[j] / counts[j] if counts[j] > 0 else 0.0
    for i in range(residuals.shape[0]):
        for j in range(residuals.shape[1]):
            residuals[i, j] -= np.float32(sums[j])
    return sums


@jit
def _clipped_squares(residuals, cut):  # type: ignore[no-untyped-def]
    """Sum and number of the squares of what lies within the cut. One axis."""
    # Vectorised: `&` and a count of integers keep the compiler from making a branch, float32 in short stretches keeps the precision.
    limit = np.float32(cut)
    total = 0.0
    n = 0
    for first in range(0, residuals.size, 1024):
        squares = np.float32(0.0)
        count = 0
        part = residuals[first : first + 1024]  # indices from 0: the compiler must see that none is negative
        for j in range(part.size):
            value = part[j]
            inside = (value <= limit) & (value >= -limit)
            squares += value * value if inside else np.float32(0.0)
            count += inside
        total += float(squares)
        n += count
    return total, n


def _clipped_sigma(residuals: Pixels, start: float) -> tuple[float, int]:
    """Clipped standard deviation about zero, repeated until it stands still, corrected for clipping."""
    factor, sigma, n = clip_factor(CLIP), start, 0
    for _ in range(20):
        total, n = _clipped_squares(residuals.ravel(), CLIP * sigma)
        new = math.sqrt(total / n) / factor if n else math.nan
        if not new < sigma * (1.0 - 1e-4) and not new > sigma * (1.0 + 1e-4):
            return new, n
        sigma = new
    return sigma, n


def scatter(x: Pixels, width: int, *, columns: bool = True) -> Scatter:
    """Scatter of the pixels [ny, nx] about the level of their block of `width` pixels along the row.

    float32 in any unit, NaN allowed. With `columns` the mean of every column is taken out too, where there are at least eight rows. Against
    a loop in plain numpy it agrees to 1e-4; for Gaussian noise rounded to integers it is unbiased within 0.3 % (after the
    1/12 of rounding, see `without_rounding`) from a sigma of 0.6 up.
    """
    x = np.ascontiguousarray(x, dtype=np.float32)
    width = max(1, min(width, x.shape[1]))
    shape = (x.shape[0], -(-x.shape[1] // width))
    centre, spread, residuals = np.empty(shape), np.empty(shape), np.empty_like(x)
    _block_centres(x, width, centre, spread)
    known, means = spread[np.isfinite(spread)], np.full(x.shape[1], np.nan)
    if known.size == 0:
        return Scatter(math.nan, centre, np.full_like(x, np.nan), 0, means)
    start = _MEAN_DEVIATION * float(np.median(known)) or _MEAN_DEVIATION * float(known.mean())
    blocks, pixels = _block_levels(x, width, 1.25 * CLIP * start, centre, residuals)
    freedom = 1.0 - blocks / max(pixels, 1)
    if columns and x.shape[0] >= _MIN_COLUMN:
        means = _remove_columns(residuals, 1.25 * CLIP * start)
        freedom *= 1.0 - 1.0 / x.shape[0]
    sigma, used = _clipped_sigma(residuals, 1.25 * start)
    if used < _MIN_PIXELS or freedom <= 0.0:
        return Scatter(math.nan, centre, residuals, used, means)
    return Scatter(sigma / math.sqrt(freedom), centre, residuals, used, means)


def without_rounding(sigma: float) -> float:
    """Scatter before values were rounded to integers: sqrt(sigma^2 - 1/12) (Sheppard's correction; sigma in ADU); 0 where nothing is left."""
    return math.sqrt(max(sigma * sigma - 1.0 / 12.0, 0.0))
