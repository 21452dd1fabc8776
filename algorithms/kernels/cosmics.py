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
lower limits and grows them by their neighbours; `algorithms.kernels.trackrepair` interpolates over them and remakes the inverse variance beside.
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
    `profile_seed`, `profile_grow`: excess over the profile of the fibre, in sigma, of a seed that is not so sharp, and of a pixel that touches
    a track; `profile_track`: that which one pixel of every track has.
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
    profile_seed: Any
    profile_grow: Any
    profile_track: Any


def limits(
    psf_x: float, psf_y: float, *, level: float = 4.8, sharp: float = 3.4, grow: float = 3.3, grow_sharp: float = 1.0, margin: float = 0.9
) -> Limits:
    """Limits for a point-spread function of Gaussian sigma `psf_x`, `psf_y` (pixel); `margin` is taken off the ratios for its errors."""
    rx, ry = (margin * math.exp(-0.5 / (s * s + 1 / 12)) for s in (psf_x, psf_y))
    rd = rx * ry
    wx, wy, wd = (1 / math.sqrt(r * r + 0.5) for r in (rx, ry, rd))
    return Limits(*(_F(v) for v in (rx, ry, rd, wx, wy, wd, level, sharp, (level**2 - 1) / 6, grow, grow_sharp, 5.0, 3.0, 3.5)))


@jit
def seek(a: Array, b: Array, c: Array, far: Array, var: Array, lim: Any, hits: Array) -> None:
    """hits[x] > 0 where pixel x of row b, between rows a and c, is a seed. `far`: expectation, `var`: variance of row b (electron).

    The first and the last pixel are never seeds. A seed stands above its expectation, and above what light makes of a pair of its neighbours in
    one of the four directions; or the same along the row without any expectation.
    """
    rx, ry, rd, wx, wy, wd = lim.rx, lim.ry, lim.rd, lim.wx, lim.wy, lim.wd
    level, sharp, skew = lim.level, lim.sharp, lim.skew
    for x in range(1, b.size - 1):
        beside, here = far[x - 1] + far[x + 1], b[x] - far[x]
        row = b[x - 1] + b[x + 1]
        along_x = wx * (rx * here - _HALF * (row - beside))
        along_y = wy * (ry * here + far[x] - _HALF * (a[x] + c[x]))
        diagonal = wd * (rd * here - _HALF * (min(a[x - 1] + c[x + 1], c[x - 1] + a[x + 1]) - beside))
        noise = np.sqrt(var[x])
        low, high = level * noise + skew, sharp * noise
        above = min(here - low, max(along_x, along_y, diagonal) - high)
        hits[x] = max(above, min(b[x] - low, wx * (rx * b[x] - _HALF * row) - high))


@jit
def collect(hits: Array, first: int, seeds: Array, count: int) -> tuple[Array, int]:
    """Append `first` + x for every hit x to `seeds`, which grows; returns (seeds, count)."""
    whole = hits.size // _BLOCK
    for k in range(whole + 1):
        start = _BLOCK * k
        if k < whole:
            some = np.int32(0)
            for x in range(_BLOCK):  # a constant number: unrolled into a few vector operations
                some += np.int32(hits[start + x] > _ZERO)
            if some == 0:
                continue
        if count + _BLOCK > seeds.size:
            longer = np.empty(2 * seeds.size + _BLOCK, seeds.dtype)
            longer[:count] = seeds[:count]
            seeds = longer
        for x in range(start, min(start + _BLOCK, hits.size)):
            if hits[x] > _ZERO:
                seeds[count] = first + x
                count += 1
    return seeds, count
