"""Variance against level from the difference of two alike exposures.

What is fixed in place, light and detector alike, goes out of a difference; what is left is noise. Pixels are sorted into bins of their own mean
level, so that the light may have any structure: fibres, a slit, a gradient. With b brought to the level of a by a ratio k, d = a - k b of a pixel of
true level m has the variance (1 + k) m / gain + (1 + k^2) R^2 (ADU; gain electron/ADU; R: noise without light). Divided by 1 + k^2 this is a single
exposure of the level (1 + k) / (1 + k^2) m, by which the kernels count. Sorting by the measured a + k b does no harm: for Poisson noise the
variance of a difference at a given sum is that sum.

Source: Janesick (2001, Scientific Charge-Coupled Devices, chapter 2), photon transfer by differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32


@jit
def box_sums(a: Array, b: Array, ivar_a: Array, ivar_b: Array, least: Any, box: int, sum_a: Array, sum_b: Array) -> None:
    """Sums of a and b [ny, nx] float32 over boxes of `box` pixels, where both are usable and a + b is above `least`; float64 [ny / box, nx / box]."""
    sum_a[:, :] = 0.0
    sum_b[:, :] = 0.0
    for y in range(a.shape[0]):
        i = y // box
        for x in range(a.shape[1]):
            if ivar_a[y, x] > 0 and ivar_b[y, x] > 0 and a[y, x] + b[y, x] > least:
                sum_a[i, x // box] += a[y, x]
                sum_b[i, x // box] += b[y, x]


@jit
def pair_sums(
    a: Array, b: Array, ivar_a: Array, ivar_b: Array, ratio: Array, box: int, scale: Any, limit: Array, sums: Array
) -> None:
    """Sums over the usable pixels of a pair, by bins of level: `sums` [5, nbin] = number, level, |d|, d, d^2 (d in units of a single exposure).

    `ratio` float32 [ny / box, nx / box]: a over b. A pixel of level m falls into bin floor(scale sqrt(m)), those below 0 into the first, the highest
    into the last; left out where |d| is above `limit` [nbin].
    """
    sums[:, :] = 0.0
    last = sums.shape[1] - 1
    for y in range(a.shape[0]):
        i = y // box
        for x in range(a.shape[1]):
            if not (ivar_a[y, x] > 0 and ivar_b[y, x] > 0):
                continue
            k = ratio[i, x // box]
            other = k * b[y, x]
            norm = _F(1) / (_F(1) + k * k)
            d = (a[y, x] - other) * np.sqrt(norm)
            m = _F(0.5) * (a[y, x] + other) * (_F(1) + k) * norm
            j = min(int(scale * np.sqrt(max(m, _F(0)))), last)
            if abs(d) <= limit[j]:
                sums[0, j] += 1.0
                sums[1, j] += m
                sums[2, j] += abs(d)
                sums[3, j] += d
                sums[4, j] += d * d


@jit
def drop_rays(a: Array, b: Array, ivar_a: Array, ivar_b: Array, ratio: Array, box: int, scale: Any, limit: Array, grow: int) -> int:
    """Set `ivar_b` to 0 within `grow` pixels of every usable pixel whose |d| is above `limit`: a cosmic ray has wings that no limit sees.

    Arguments as of `pair_sums`. Returns how many pixels were above.
    """
    last, found = limit.size - 1, 0
    ny, nx = a.shape
    for y in range(ny):
        i = y // box
        for x in range(nx):
            k = ratio[i, x // box]
            other = k * b[y, x]
            norm = _F(1) / (_F(1) + k * k)
            d = (a[y, x] - other) * np.sqrt(norm)
            m = _F(0.5) * (a[y, x] + other) * (_F(1) + k) * norm
            j = min(int(scale * np.sqrt(max(m, _F(0)))), last)
            if ivar_a[y, x] > 0 and abs(d) > limit[j]:
                found += 1
                for v in range(max(y - grow, 0), min(y + grow + 1, ny)):
                    for u in range(max(x - grow, 0), min(x + grow + 1, nx)):
                        ivar_b[v, u] = _F(0)
    return found
