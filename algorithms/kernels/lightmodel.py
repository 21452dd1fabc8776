"""Variance of a spectrum from a model of its own light: per row from the other rows of the same fibre, never from the row itself.

As in the preprocessing of images (`algorithms.kernels.preproc`), at the level of sums over a window, where lines stand out far better:

- far model: the median of five means of four rows (-10..-7, -6..-3, (-2 -1 +1 +2), +3..+6, +7..+10);
- near model: a (b(-1) + b(+1)) + (1/2 - a) (b(-2) + b(+2)) with a = 0.758, the weights that follow lines of Gaussian sigma 1.05 to 1.2 pixel
  best, and at least 0.6 of the smaller one of rows -1 and +1, because beside a sharp line it swings below zero;
- the near model is taken where it differs from the far one by more than three sigma.

variance = variance without light + max(model, 0) + variance of the model over that of a sample (1/13.9 or 1.28 electron^2), so that the mean of
1 / variance is right to second order in the noise of the model. Beyond the ends rows are mirrored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.rows import FAR_VARIANCE
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO = _F(0)
HALO = 10
NEAR_WEIGHT = _F(0.758)
_FLOOR = _F(0.6)
_NEAR_WEIGHT2 = _F(0.5 - 0.758)
NEAR_VARIANCE = _F(2 * (0.758**2 + 0.258**2))
_SIGNIFICANT2 = _F(9) * (NEAR_VARIANCE + FAR_VARIANCE)


@jit
def fill_lost(values: Array, lost: Array, out: Array) -> None:
    """out = values, and where `lost` is not 0 the last value before, or the first one after."""
    n = values.size
    last = _ZERO
    for y in range(n):
        if not lost[y]:
            last = values[y]
            break
    for y in range(n):
        last = last if lost[y] else values[y]
        out[y] = last


@jit
def _median5(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    f = max(min(a, b), min(c, d))
    g = min(max(a, b), max(c, d))
    return max(min(f, g), min(max(f, g), e))


@jit
def model_variance(values: Array, own: Array, base: Array, out: Array) -> None:
    """out [n] = variance of sums; `values` [n] are their electrons over the `own` fractions of the light, `base` [n] the variance without light."""
    n = values.size
    b, four = np.empty(n + 2 * HALO, _F), np.empty(n + 2 * HALO, _F)
    for k in range(n + 2 * HALO):
        y = abs(k - HALO)
        y = 2 * (n - 1) - y if y >= n else y
        b[k] = values[min(max(y, 0), n - 1)]
    for k in range(n + 2 * HALO - 3):
        four[k] = _F(0.25) * ((b[k] + b[k + 1]) + (b[k + 2] + b[k + 3]))
    for y in range(n):
        k = y + HALO
        middle = _F(0.25) * ((b[k - 2] + b[k - 1]) + (b[k + 1] + b[k + 2]))
        far = max(_median5(four[k - 10], four[k - 6], four[k + 3], four[k + 7], middle), _ZERO)
        beside = NEAR_WEIGHT * (b[k - 1] + b[k + 1]) + _NEAR_WEIGHT2 * (b[k - 2] + b[k + 2])
        near = max(beside, _FLOOR * min(b[k - 1], b[k + 1]), _ZERO)
        low = base[y] + far * own[y]
        apart = near - far
        line = apart * apart > _SIGNIFICANT2 * low
        out[y] = base[y] + near * own[y] + NEAR_VARIANCE if line else low + FAR_VARIANCE
