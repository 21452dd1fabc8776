"""Samples of which a pixel is unusable: their electrons come from the other pixels by the profile (Horne 1986, PASP 98, 609).

electrons = sum of P D / V over sum of P^2 / V, over the usable pixels of the window, D without the light of the neighbours; its variance is
1 / sum of P^2 / V + (error of the profile x fraction of the light that is lost x electrons)^2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.profile import below
from algorithms.kernels.tracegrid import cubic
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO = _F(0)
_HUGE = _F(1e30)


@jit
def at_row(knots: Any, f: int, block: int, s: float) -> tuple[float, float]:
    """x and sigma across of a fibre at s = 0 ... 1 of a block."""
    a, b, c, d = cubic(knots.x[f, block], knots.dx[f, block], knots.x[f, block + 1], knots.dx[f, block + 1])
    return a + s * (b + s * (c + s * d)), (1 - s) * knots.xsig[f, block] + s * knots.xsig[f, block + 1]


@jit
def judged(good: float, up: float, down: float, kinds: int, settings: Any, bits: Any) -> tuple[float, float, int]:
    """(electrons, ivar, mask) from the sums over the usable pixels, which hold the fraction `good` of the light in the window."""
    if kinds & bits.saturated:
        return 0.0, 0.0, bits.spec_saturated | bits.some
    if good < settings.least or down <= 0:
        flag = bits.all if good < 0.01 else bits.some
        return 0.0, 0.0, flag | (bits.spec_cosmic if kinds & bits.cosmic else 0)
    value = up / down
    return value, 1.0 / (1.0 / down + (settings.error * (1.0 - good) * value) ** 2), 0


@jit
def reach_of(sigma: float, wings: Any) -> float:
    """Distance beyond which a profile has no light to speak of (less than a millionth in a pixel), pixel."""
    return 0.5 + (5.0 * sigma if wings.weight.size == 0 else max(5.0 * sigma, 4.0 * wings.sigma.max()))


@jit
def _light_of_neighbours(f: int, first: int, places: Array, sigmas: Array, electrons: Array, wings: Any, light: Array) -> None:
    """light [n] = electrons of the neighbours of fibre f on the pixels of a row from `first` on."""
    light[:] = 0.0
    for g in range(f - 1, f + 2, 2):
        if not 0 <= g < places.size:
            continue
        centre, sigma = places[g], sigmas[g]
        reach = reach_of(sigma, wings)
        start, stop = max(math.ceil(centre - reach) - first, 0), min(math.floor(centre + reach) - first + 1, light.size)
        if start >= stop:
            continue
        edge = below(first + start - 0.5 - centre, sigma, wings)
        for i in range(start, stop):
            following = below(first + i + 0.5 - centre, sigma, wings)
            light[i] += electrons[g] * (following - edge)
            edge = following


@jit
def repair_row(pixels: Array, ivar: Array, mask: Array, wings: Any, settings: Any, bits: Any, r: int, work: Any) -> None:
    """Samples of a row with an unusable pixel: electrons and ivar (electron^-2) into `work`, or the mask of a lost one; their variance becomes 0."""
    total, variance, out_ivar, flags, sigmas = work.total[r], work.variance[r], work.ivar[r], work.flags[r], work.sigma
    flags[:] = 0
    bad = 0
    for f in range(variance.size):
        bad += not variance[f] < _HUGE
    if bad == 0:
        return
    n, half, low, phase = math.ceil(settings.width) + 1, 0.5 * settings.width, work.first[r], work.phase[r]
    places, others = np.empty(sigmas.size), np.empty(n)
    for f in range(places.size):
        places[f] = low[f] + (phase[f] + half - 0.5)
    for f in range(places.size):
        if variance[f] < _HUGE:
            continue
        centre, sigma = places[f], sigmas[f]
        first = math.floor(centre - half + 0.5)
        _light_of_neighbours(f, first, places, sigmas, total, wings, others)
        light = left = up = down = 0.0
        kinds = 0
        edge = below(first - 0.5 - centre, sigma, wings)
        for i in range(n):
            k = first + i
            following = below(k + 0.5 - centre, sigma, wings)
            part, edge = following - edge, following
            light += part
            if not 0 <= k < pixels.size:
                continue
            weight = ivar[k]
            if weight > 0:
                left += part
                up += part * (pixels[k] - others[i]) * weight
                down += part * part * weight
            elif part > 1e-3:
                kinds |= mask[k]
        total[f], out_ivar[f], flags[f] = judged(left / light, up, down, kinds, settings, bits)
        variance[f] = _ZERO
