"""Variance of spectra from a model of their own light: per row from the other rows of the same fibre, never from the row itself.

As in the preprocessing of images, at the level of sums over a window, where lines stand out far better:

- far model: the median of five means of four rows (-10..-7, -6..-3, (-2 -1 +1 +2), +3..+6, +7..+10);
- near model: a (b(-1) + b(+1)) + (1/2 - a) (b(-2) + b(+2)) with a = 0.758, the weights that follow lines of Gaussian sigma 1.05 to 1.2 pixel
  best, and at least 0.6 of the smaller one of rows -1 and +1, because beside a sharp line it swings below zero;
- the near model is taken where it differs from the far one by more than three sigma.

variance = variance without light + p max(model, 0) + variance of the model over that of a sample (1/13.9 or 1.28 electron^2), so that the mean of
1 / variance is right to second order in the noise of the model; p is the variance that a unit of light brings into a window, close to 1.
Beyond the ends rows are mirrored.

Loops over one row of all fibres (float32 [nfibre]), with few arrays each, so that the compiler vectorises them. Called from kernels alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Row = npt.NDArray[Any]
_F = np.float32
_ZERO, _QUARTER = _F(0), _F(0.25)
HALO = 10
"""Rows before and after a row on which its variance depends."""
RING = 32
"""Means of four rows that are kept, a power of two not below 18."""
NEAR_WEIGHT = _F(0.758)
_FLOOR = _F(0.6)
_NEAR_WEIGHT2 = _F(0.5 - 0.758)
NEAR_VARIANCE = _F(2 * (0.758**2 + 0.258**2))
FAR_VARIANCE = _F(1 / 13.9)
"""Variance of the far model in units of that of a sample: a median of five has 0.287 of the variance of one mean of four."""
_SIGNIFICANT2 = _F(9) * (NEAR_VARIANCE + FAR_VARIANCE)


@jit
def _mirrored(y: int, n: int) -> int:
    """Row y of n, mirrored at both ends."""
    y = abs(y)
    y = 2 * (n - 1) - y if y >= n else y
    return min(max(y, 0), n - 1)


@jit
def _mean4(a: Row, b: Row, c: Row, d: Row, out: Row) -> None:
    for f in range(out.size):
        out[f] = _QUARTER * ((a[f] + b[f]) + (c[f] + d[f]))


@jit
def _median5(a: Row, b: Row, c: Row, d: Row, out: Row) -> None:
    """out = median of four rows and itself, at least 0."""
    for f in range(out.size):
        low = max(min(a[f], b[f]), min(c[f], d[f]))
        high = min(max(a[f], b[f]), max(c[f], d[f]))
        out[f] = max(min(low, high), min(max(low, high), out[f]), _ZERO)


@jit
def _near(a: Row, b: Row, c: Row, d: Row, out: Row) -> None:
    """out = near model from rows -2, -1, 1, 2."""
    for f in range(out.size):
        beside = NEAR_WEIGHT * (b[f] + c[f]) + _NEAR_WEIGHT2 * (a[f] + d[f])
        out[f] = max(beside, _FLOOR * min(b[f], c[f]), _ZERO)


@jit
def _choose(far: Row, near: Row, photons: Row, base: Row, out: Row) -> None:
    """out = variance of the sums in the windows; `photons`: that by a unit of light."""
    for f in range(out.size):
        low = base[f] + far[f] * photons[f]
        apart = near[f] - far[f]
        line = apart * apart > _SIGNIFICANT2 * low
        out[f] = base[f] + near[f] * photons[f] + NEAR_VARIANCE if line else low + FAR_VARIANCE


@jit
def add_mean(values: Row, start: int, ny: int, k: int, ring: Row) -> None:
    """Mean of rows k to k + 3 of the ny rows, of which `values` [n, nfibre] are those from `start` on, into its place in the ring [RING, nfibre]."""
    a, b, c, d = _mirrored(k, ny) - start, _mirrored(k + 1, ny) - start, _mirrored(k + 2, ny) - start, _mirrored(k + 3, ny) - start
    _mean4(values[a], values[b], values[c], values[d], ring[k % RING])


@jit
def model_variance(values: Row, start: int, ny: int, y: int, photons: Row, base: Row, ring: Row, far: Row, near: Row, out: Row) -> None:
    """out [nfibre] = variance of the sums of row y; `values`, `start`, `ny`: as of `add_mean`, electrons of all the light; `photons`: variance of a
    sum by a unit of light; `base`: variance without light. `ring` must hold the means that begin at rows y - 10 to y + 7; `far`, `near` [nfibre]:
    room to work in."""
    a, b, c, d = _mirrored(y - 2, ny) - start, _mirrored(y - 1, ny) - start, _mirrored(y + 1, ny) - start, _mirrored(y + 2, ny) - start
    _mean4(values[a], values[b], values[c], values[d], far)
    _median5(ring[(y - 10) % RING], ring[(y - 6) % RING], ring[(y + 3) % RING], ring[(y + 7) % RING], far)
    _near(values[a], values[b], values[c], values[d], near)
    _choose(far, near, photons, base, out)
