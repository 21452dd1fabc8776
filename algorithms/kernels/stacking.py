"""Stacking of exposures with clipping, in one pass over any number of them.

The first few exposures (the head, an odd number) give each pixel its centre, their median, and its scale, their median absolute
deviation, but at least the noise of the detector: from so few values alone it would be too small at many pixels. Then all exposures,
the head among them, are added up one by one; what lies farther than `clip` scales from the centre is left out. Sums are taken about
the centre, so that float32 holds them.

All arrays are float32 [ny, nx] but where another type is said. What is no finite number takes no part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit, run_tasks

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

LARGEST = np.float32(1e30)
"""What is no finite number is taken for this, which is always clipped."""
MAD_TO_SIGMA = np.float32(1.482602)
_BAND = 256
_F = np.float32
_ZERO = _F(0)
_ONE = _F(1)


@jit
def subtract_levels(raw: Array, by_row: Float32, by_column: Float32, out: Float32) -> None:
    """out = raw - by_row[:, None] - by_column[None, :]; `raw` of any type."""
    for y in range(out.shape[0]):
        level = by_row[y]
        for x in range(out.shape[1]):
            value = _F(raw[y, x]) - level - by_column[x]
            out[y, x] = value if abs(value) < LARGEST else LARGEST


@jit
def _sort(rows: Float32) -> None:
    """Sort along the first axis (odd-even transposition: loops without branches, which the compiler vectorises)."""
    k, n = rows.shape
    for turn in range(k):
        for i in range(turn % 2, k - 1, 2):
            low, high = rows[i], rows[i + 1]
            for x in range(n):
                a, b = low[x], high[x]
                low[x] = min(a, b)
                high[x] = max(a, b)


@jit
def _middle(head: Float32, y0: int, y1: int, floor: Any, centre: Float32, scale: Float32) -> None:
    k, _, nx = head.shape
    rows = np.empty((k, nx), _F)
    for y in range(y0, y1):
        for i in range(k):
            for x in range(nx):
                rows[i, x] = head[i, y, x]
        _sort(rows)
        for x in range(nx):
            centre[y, x] = rows[k // 2, x]
        for i in range(k):
            for x in range(nx):
                rows[i, x] = abs(rows[i, x] - centre[y, x])
        _sort(rows)
        for x in range(nx):
            scale[y, x] = max(MAD_TO_SIGMA * rows[k // 2, x], floor)


def middle(head: Float32, floor: float, centre: Float32, scale: Float32) -> None:
    """Median and scale of a head [k, ny, nx] (k odd) of one amplifier, whose noise is `floor`, into `centre` and `scale`."""
    ny = head.shape[1]
    run_tasks(lambda y0: _middle(head, y0, min(y0 + _BAND, ny), _F(floor), centre, scale), range(0, ny, _BAND))


@jit
def add_levelled(
    raw: Array, by_row: Float32, by_column: Float32, centre: Float32, scale: Float32, clip: Any, total: Float32, square: Float32, count: Array
) -> None:
    """Add one exposure of zeros: raw - by_row - by_column, to `total` and `square` about the centre and to `count` (uint16)."""
    ny, nx = centre.shape
    for y in range(ny):
        level = by_row[y]
        for x in range(nx):
            off = _F(raw[y, x]) - level - by_column[x] - centre[y, x]
            inside = (abs(off) <= clip * scale[y, x]) & (centre[y, x] < LARGEST)
            kept = off if inside else _ZERO
            total[y, x] += kept
            square[y, x] += kept * kept
            count[y, x] += np.uint16(1) if inside else np.uint16(0)


@jit
def finish_mean(
    centre: Float32, total: Float32, square: Float32, count: Array, prior: Any, prior_weight: Any, mean: Float32, variance: Float32
) -> None:
    """Mean of what was added, and its variance; NaN and 0 where nothing was.

    variance = s^2 / n, with s^2 = (w prior^2 + sum of squares about the mean) / (w + n - 1): the scatter of the pixel itself, drawn towards the
    variance `prior`^2 of the amplifier with the weight of `prior_weight` values, since a scatter from five values is 35 % uncertain.
    """
    ny, nx = centre.shape
    for y in range(ny):
        for x in range(nx):
            n = _F(count[y, x])
            shift = total[y, x] / max(n, _ONE)
            squares = max(square[y, x] - n * shift * shift, _ZERO)
            pooled = (prior_weight * prior * prior + squares) / (prior_weight + max(n - _ONE, _ZERO))
            mean[y, x] = centre[y, x] + shift if n > 0 else np.nan
            variance[y, x] = pooled / n if n > 0 else _ZERO


@jit
def add_weighted(
    pixels: Float32, mask: Array, unusable: Any, factor: Any, weight: Any, sigma: Any, centre: Float32, scale: Float32, clip: Any,
    total: Float32, weights: Float32, count: Array,
) -> None:  # fmt: skip
    """Add one exposure with a weight: factor pixels to `total` (times weight, about the centre), to `weights` and `count` (uint16).

    Left out: pixels with a bit of `unusable` in their mask, and those farther from the centre than `clip` times the larger of `scale` (of
    the pixel) and `sigma` (of this exposure).
    """
    ny, nx = centre.shape
    for y in range(ny):
        for x in range(nx):
            off = factor * pixels[y, x] - centre[y, x]
            inside = (abs(off) <= clip * max(scale[y, x], sigma)) & (centre[y, x] < LARGEST) & ((mask[y, x] & unusable) == 0)
            kept = off if inside else _ZERO
            total[y, x] += weight * kept
            weights[y, x] += weight if inside else _ZERO
            count[y, x] += np.uint16(1) if inside else np.uint16(0)


@jit
def finish_weighted(centre: Float32, total: Float32, weights: Float32, least: Any, mean: Float32, variance: Float32) -> None:
    """Weighted mean and its variance 1 / (sum of weights); NaN and 0 where the weights come to less than `least`."""
    ny, nx = centre.shape
    for y in range(ny):
        for x in range(nx):
            w = weights[y, x]
            mean[y, x] = centre[y, x] + total[y, x] / max(w, least) if w >= least else np.nan
            variance[y, x] = _ONE / w if w >= least else _ZERO


def pair_noise(a: Float32, b: Float32) -> float:
    """Noise of one exposure from the difference of two alike ones: 1.4826 MAD / sqrt(2), over rows at even distances; NaN if none is finite."""
    step = max(1, a.shape[0] // 128)
    apart = a[::step].astype(np.float64) - b[::step]
    apart = apart[np.abs(apart) < LARGEST]
    if apart.size == 0:
        return float("nan")
    return float(MAD_TO_SIGMA * np.median(np.abs(apart - np.median(apart))) / np.sqrt(2.0))


def head_size(n: int, most: int = 7) -> int:
    """How many of n exposures make the head: an odd number, `most` at most. Raises ValueError for fewer than three."""
    if n < 3:
        raise ValueError(f"{n} exposures have no median; three at least are needed")
    k = min(n, most)
    return k if k % 2 else k - 1
