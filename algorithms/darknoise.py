"""The noise of a master dark: how much of what a pixel shows is its own, and how much would only be added to every frame it is subtracted from."""

from __future__ import annotations

import math

import numpy as np

from quicklook.ccd.arrays import Float32, Raw

_DOUBT = 0.01
"""The variance of the noise is known to 1 % at best: so much scatter may always be structure that was not seen."""
_CORE = 3.0


def settle(rate: Float32, variance: Float32, box: int, keep: float) -> float:
    """Draw the rates of an amplifier towards their surroundings as far as they are noise; in place. Returns the part of a deviation that is kept.

    `rate` [ny, nx], electron/s, with `variance` (electron/s)^2, 0 where a pixel has no rate. The surroundings are medians over boxes of `box` pixels
    and the means of columns and rows about them. What pixels scatter about these beyond their noise, V, is their own: a deviation is multiplied by
    V / (V + variance), the least mean square estimate, and has then the variance V variance / (V + variance). What deviates by more than `keep`
    sigma is a warm pixel and stays as it was measured, with its variance. A dark of many exposures is hardly changed; one whose noise is larger than
    what it could correct becomes smooth.
    """
    known = variance > 0
    if not known.any():
        return 0.0
    level = _surroundings(rate, variance, box)
    off = np.where(known, rate - level, np.float32(0))
    noise = float(np.median(variance[::4, ::4][known[::4, ::4]])) if known[::4, ::4].any() else float(np.median(variance[known]))
    own = max(_scatter(off, known) ** 2 - noise, 0.0)
    warm = off**2 > keep**2 * (own + variance)
    kept = np.divide(own, own + variance, out=np.zeros_like(variance), where=known)
    np.copyto(rate, level + off * kept, where=known & ~warm)
    unseen = own + _DOUBT * variance
    np.copyto(variance, unseen * variance / np.where(known, unseen + variance, 1), where=known & ~warm)
    return own / (own + noise)


def _scatter(off: Float32, known: Raw) -> float:
    """1.4826 MAD of the known pixels (every second one along each axis: a per mille of a sigma for a million)."""
    some = off[known] if off.size < 1 << 16 else off[::2, ::2][known[::2, ::2]]
    return 1.4826 * float(np.median(np.abs(some - np.median(some)))) if some.size else math.nan


def _surroundings(rate: Float32, variance: Float32, box: int) -> Float32:
    """Medians of boxes, interpolated, and the clipped means of columns and rows about them."""
    from algorithms.kernels.background import median_background

    level = median_background(rate, variance, box)
    for axis in (0, 1):
        off = rate - level
        sigma = _scatter(off, variance > 0)
        use = (variance > 0) & (np.abs(off) <= _CORE * sigma)
        mean = off.sum(axis=axis, where=use, dtype=np.float64) / np.maximum(use.sum(axis=axis), 1)
        level += np.expand_dims(mean.astype(np.float32), axis)
    return level
