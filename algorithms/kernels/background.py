"""Smooth light and shadows that are no spectrum: background, light scattered between bundles of fibres, dark trails."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
_F = np.float32


def _between(values: Array, at: Array, n: int) -> Array:
    """Values [..., k] at coordinates `at` [k], interpolated to 0 ... n - 1 and constant beyond the ends."""
    x = np.arange(n, dtype=np.float64)
    return np.apply_along_axis(lambda v: np.interp(x, at, v), -1, values)


def _edges(n: int, box: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, n, max(1, round(n / box)) + 1).astype(np.int64)


def _filled(values: Float64) -> Float64 | None:
    """NaN of a line become the interpolation of its neighbours; None where there are nothing but NaN."""
    known = np.flatnonzero(np.isfinite(values))
    return None if known.size == 0 else np.interp(np.arange(values.size), known, values[known])


def median_background(image: Float32, ivar: Float32, box: int) -> Float32:
    """Background [ny, nx]: medians of the pixels with ivar > 0 in boxes of about `box` pixels, interpolated linearly between their centres.

    A box without a usable pixel takes the value of those beside it; 0 where there is none at all.
    """
    (ny, nx), usable = image.shape, np.where(ivar > 0, image, np.nan)
    ys, xs = _edges(ny, box), _edges(nx, box)
    grid = np.full((len(ys) - 1, len(xs) - 1), np.nan)
    for i in range(len(ys) - 1):
        for j in range(len(xs) - 1):
            part = usable[ys[i] : ys[i + 1], xs[j] : xs[j + 1]]
            good = part[np.isfinite(part)]
            grid[i, j] = np.median(good) if good.size else np.nan
    rows = [filled for row in grid if (filled := _filled(row)) is not None]
    if not rows:
        return np.zeros((ny, nx), _F)
    missing = ~np.isfinite(grid).any(axis=1)
    whole = np.full(grid.shape, np.nan)
    whole[~missing] = rows
    columns = [_filled(column) for column in whole.T]  # every one has a number by now
    full = np.stack([c for c in columns if c is not None], axis=1)
    across = _between(full, 0.5 * (xs[1:] + xs[:-1]) - 0.5, nx)
    return _between(across.T, 0.5 * (ys[1:] + ys[:-1]) - 0.5, ny).T.astype(_F)


def scattered_light(image: Float32, ivar: Float32, gaps: Sequence[Float64], half_width: int, rows: int) -> Float32 | None:
    """Light [ny, nx] between the bundles, interpolated under the spectra; None where no gap has a usable pixel.

    `gaps`: x [ny] of the middle of each gap, from left to right. In each the median of the usable pixels within `half_width` columns and `rows` rows
    is taken, interpolated along y between the middles of the rows, and then linearly along x from gap to gap (constant beyond the last).
    """
    (ny, nx), edges = image.shape, _edges(image.shape[0], rows)
    offsets = np.arange(-half_width, half_width + 1)
    levels, places = [], []
    for middle in gaps:
        columns = np.clip(np.rint(middle).astype(np.int64)[:, np.newaxis] + offsets, 0, nx - 1)
        index = np.arange(ny)[:, np.newaxis]
        pixels = np.where(ivar[index, columns] > 0, image[index, columns], np.nan)
        parts = [pixels[a:b][np.isfinite(pixels[a:b])] for a, b in itertools.pairwise(edges)]
        level = _filled(np.array([np.median(p) if p.size else np.nan for p in parts]))
        if level is not None:
            levels.append(_between(level, 0.5 * (edges[1:] + edges[:-1]) - 0.5, ny))
            places.append(np.asarray(middle, np.float64))
    if not levels:
        return None
    out, x = np.empty((ny, nx), _F), np.arange(nx)
    for y in range(ny):
        out[y] = np.interp(x, [p[y] for p in places], [v[y] for v in levels])
    return out


@jit
def _trail(image: Array, y0: int, y1: int, x0: int, x1: int, from_right: bool, gain: Any, decay: Any) -> None:
    for y in range(y0, y1):
        memory = _F(0)
        for i in range(x1 - x0):
            x = x1 - 1 - i if from_right else x0 + i
            image[y, x] += gain * memory
            memory = decay * (memory + max(image[y, x], _F(0)))


def correct_dark_trails(
    image: Float32, boxes: Sequence[tuple[int, int, int, int]], from_right: Sequence[bool], amplitude: float, width: float
) -> None:
    """Give back, in place, what pixels lose after bright ones that were read before them in their row.

    trail(i) = amplitude / sum of exp(-k / width) x sum over k >= 1 of exp(-k / width) x charge(i - k), in the order of the read-out of each amplifier
    (`boxes` y0, y1, x0, x1 on the image; `from_right`: its register is read from the right). `amplitude` is the fraction of the charge that is
    missing in the trail, `width` (pixel) its length.
    """
    decay = math.exp(-1.0 / width)
    gain = amplitude * (1.0 - decay) / decay
    for (y0, y1, x0, x1), right in zip(boxes, from_right, strict=True):
        _trail(image, y0, y1, x0, x1, right, _F(gain), _F(decay))
