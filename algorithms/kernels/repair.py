"""Samples of which a pixel is unusable: their electrons come from the other pixels by the profile (Horne 1986, PASP 98, 609).

electrons = sum of P D / V over sum of P^2 / V, over the usable pixels of the window, D without the light of the neighbours; its variance is
1 / sum of P^2 / V + (error of the profile x fraction of the light that is lost x electrons)^2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.tracegrid import cubic
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_LARGEST = 1e30
_ZERO, _SOME = np.float32(0), np.float32(1e-3)


@jit
def at_row(knots: Any, f: int, block: int, s: float) -> tuple[float, float]:
    """x and sigma across of a fibre at s = 0 ... 1 of a block."""
    a, b, c, d = cubic(knots.x[f, block], knots.dx[f, block], knots.x[f, block + 1], knots.dx[f, block + 1])
    return a + s * (b + s * (c + s * d)), (1 - s) * knots.xsig[f, block] + s * knots.xsig[f, block + 1]


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def judged(good: float, up: float, down: float, kinds: int, settings: Any, bits: Any) -> Any:
    """(electrons, ivar, mask) from the sums over the usable pixels, which hold the fraction `good` of the light in the window."""
    if kinds & bits.saturated:
        return 0.0, 0.0, bits.spec_saturated | bits.some
    if not (good >= settings.least and down > 0 and abs(up) < _LARGEST):
        flag = bits.all if good < 0.01 else bits.some
        return 0.0, 0.0, flag | (bits.spec_cosmic if kinds & bits.cosmic else 0)
    value = up / down
    return value, 1.0 / (1.0 / down + (settings.error * (1.0 - good) * value) ** 2), 0


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def repair(pixels: Array, ivar: Array, mask: Array, first: int, profile: Array, others: Array, settings: Any, bits: Any) -> Any:
    """(electrons, ivar in electron^-2, mask) from the pixels of a row from `first` on; `profile` [n]: the part of the light on each, `others` [n]:
    electrons of the neighbours there."""
    total = left = up = down = _ZERO
    kinds = 0
    for i in range(profile.size):
        k, part = first + i, profile[i]
        total += part
        if not 0 <= k < pixels.size:
            continue
        w = ivar[k]
        if w > 0:
            left += part
            up += part * (pixels[k] - others[i]) * w
            down += part * part * w
        elif part > _SOME:
            kinds |= mask[k]
    return judged(left / total, up, down, kinds, settings, bits)
