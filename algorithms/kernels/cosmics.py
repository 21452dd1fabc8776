"""Cosmic rays: pixels sharper than the optics can make them.

A pixel is compared with the four pairs of neighbours opposite each other (along x, along y, both diagonals). Light has the width of
the point-spread function, so that the mean of a pair is at least r times the pixel, r = exp(-d^2 / (2 (sigma^2 + 1/12))) for
neighbours at distance d = 1 along an axis, and the product of both for the diagonals; a cosmic ray need not hold to this. The
comparison is made on what stands above the far model of the preprocessing (a robust mean over 20 rows along the dispersion, without
the pixel itself), so that it works in the light of a flat lamp as well as in the dark; along x it is also made on the pixels
themselves, which finds tracks along the columns. Gradient limits of this kind are those of SDSS (Lupton et al. 2001, ASP 238, 269) and
of the DESI pipeline; the expectation along the dispersion is ours.

The search has two parts. `seek` is a loop over one row inside the fused pass of the preprocessing, where the rows and the far model
lie in the cache; it gives seeds. `algorithms.kernels.tracks` confirms them on the flat-fielded image, follows them from pixel to pixel with
lower limits, grows them by their neighbours, interpolates over them and remakes the inverse variance beside them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_HALF, _ZERO = _F(0.5), _F(0)
_BLOCK = 64


class Limits(NamedTuple):
    """Limits of the search, as the compiled code takes them.

    `rx`, `ry`, `rd`: smallest mean of a pair over its middle pixel that light can have, along x, along y, along a diagonal. `wx`, `wy`,
    `wd`: 1 / noise of (r pixel - mean of the pair) in units of the noise of a pixel. `level`, `sharp`: the excess over the
    expectation and of the excess over the point-spread function, in sigma, of a seed; `grow`, `grow_sharp` the same for pixels that touch one.
    """

    rx: Any
    ry: Any
    rd: Any
    wx: Any
    wy: Any
    wd: Any
    level: Any
    sharp: Any
    skew: Any
    grow: Any
    grow_sharp: Any


def limits(
    psf_x: float, psf_y: float, *, level: float = 4.8, sharp: float = 3.4, grow: float = 3.0, grow_sharp: float = 1.2, margin: float = 0.9
) -> Limits:
    """Limits for a point-spread function of Gaussian sigma `psf_x`, `psf_y` (pixel); `margin` is taken off the ratios for its errors."""
    rx, ry = (margin * math.exp(-0.5 / (s * s + 1 / 12)) for s in (psf_x, psf_y))
    rd = rx * ry
    wx, wy, wd = (1 / math.sqrt(r * r + 0.5) for r in (rx, ry, rd))
    return Limits(*(_F(v) for v in (rx, ry, rd, wx, wy, wd, level, sharp, (level**2 - 1) / 6, grow, grow_sharp)))


@jit
def seek(a: Array, b: Array, c: Array, far: Array, var: Array, lim: Any, scratch: Array, hits: Array) -> None:
    """hits[x] > 0 where pixel x of row b, between rows a and c, is a seed. `far`: expectation, `var`: variance of row b (electron).

    `scratch` [3, n] is overwritten. The first and the last pixel are never seeds.
    """
    da, db, dc = scratch[0], scratch[1], scratch[2]
    for x in range(b.size):
        da[x] = a[x] - far[x]
    for x in range(b.size):
        dc[x] = c[x] - far[x]
    for x in range(b.size):
        db[x] = b[x] - far[x]
    _excess(da, db, dc, lim, hits)
    _significant(b, db, var, lim, hits)


@jit
def _excess(da: Array, db: Array, dc: Array, lim: Any, out: Array) -> None:
    """out = the largest excess over the point-spread function of the four directions, in sigma times the noise of a pixel."""
    rx, ry, rd, wx, wy, wd = lim.rx, lim.ry, lim.rd, lim.wx, lim.wy, lim.wd
    for x in range(1, db.size - 1):
        along_x = wx * (rx * db[x] - _HALF * (db[x - 1] + db[x + 1]))
        along_y = wy * (ry * db[x] - _HALF * (da[x] + dc[x]))
        diagonal = wd * (rd * db[x] - _HALF * min(da[x - 1] + dc[x + 1], dc[x - 1] + da[x + 1]))
        out[x] = max(along_x, along_y, diagonal)


@jit
def _significant(b: Array, db: Array, var: Array, lim: Any, out: Array) -> None:
    """out, the excess over the point-spread function, becomes what a pixel has over all that a seed needs; the same along the column."""
    rx, wx, level, sharp, skew = lim.rx, lim.wx, lim.level, lim.sharp, lim.skew
    for x in range(1, b.size - 1):
        noise = np.sqrt(var[x])
        column = wx * (rx * b[x] - _HALF * (b[x - 1] + b[x + 1]))
        low, high = level * noise + skew, sharp * noise
        out[x] = max(min(db[x] - low, out[x] - high), min(b[x] - low, column - high))


@jit
def collect(hits: Array, first: int, seeds: Array, count: int) -> tuple[Array, int]:
    """Append `first` + x for every hit x to `seeds`, which grows; returns (seeds, count)."""
    for start in range(0, hits.size, _BLOCK):
        end = min(start + _BLOCK, hits.size)
        some = np.int32(0)
        for x in range(start, end):
            some += np.int32(hits[x] > _ZERO)
        if some == 0:
            continue
        for x in range(start, end):
            if hits[x] > _ZERO:
                if count == seeds.size:
                    longer = np.empty(2 * seeds.size, seeds.dtype)
                    longer[:count] = seeds
                    seeds = longer
                seeds[count] = first + x
                count += 1
    return seeds, count
