"""Cosmic rays, third part: their pixels are interpolated for display, and the inverse variance beside them is made again without them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from algorithms.kernels.pixelmodels import median_and_spread, near_model
from algorithms.kernels.rows import BESIDE_LINE, FAR_LEAST, FAR_VARIANCE, NEAR_LEAST, NEAR_VARIANCE, SIGNIFICANT2, SPREAD2
from quicklook.core.compiled import jit

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
_F = np.float32
_ZERO = _F(0)


class Noise(NamedTuple):
    """What the variance of a pixel is made of beside its light: boxes y0, y1, x0, x1 of the amplifiers [n, 4], their variance without light [n]
    (electron^2), dark current [ny, nx] (electron/s) and the exposure time (s), pixel flat [ny, nx]. Absent arrays are [1, 1]."""

    boxes: npt.NDArray[np.int64]
    variance: Float32
    dark: Float32
    exptime: Any
    has_dark: bool
    flat: Float32
    has_flat: bool


@jit
def repair(image: Array, ivar: Array, mask: Array, pixels: Array, bit: Any, noise: Any) -> None:
    """Give the pixels of cosmic rays ivar 0 and a value interpolated along their column; remake ivar of the good pixels above and below.

    A pixel two rows from a cosmic ray (one from its grown mask) had it in the near model of its own signal.
    """
    ny, nx = image.shape
    for i in pixels:
        ivar[i // nx, i % nx] = _ZERO
        _interpolate(image, mask, i // nx, i % nx, bit)
    for i in pixels:
        y, x = i // nx, i % nx
        for v in range(y - 1, y + 2, 2):
            if 0 < v < ny - 1 and ivar[v, x] > 0:
                ivar[v, x] = remade(image, noise, v, x)


@jit
def _interpolate(image: Array, mask: Array, y: int, x: int, bit: Any) -> None:
    """Between the nearest pixels above and below without the bit; at the ends of the image the one there is."""
    low, high = y - 1, y + 1
    while low >= 0 and mask[low, x] & bit:
        low -= 1
    while high < image.shape[0] and mask[high, x] & bit:
        high += 1
    if low >= 0 and high < image.shape[0]:
        part = _F(y - low) / _F(high - low)
        image[y, x] = image[low, x] + part * (image[high, x] - image[low, x])
    elif low >= 0:
        image[y, x] = image[low, x]
    elif high < image.shape[0]:
        image[y, x] = image[high, x]


@jit
def remade(image: Array, noise: Any, y: int, x: int) -> Any:
    """Inverse variance of a pixel by the formulas of the fused pass."""
    flat = noise.flat[y, x] if noise.has_flat else _F(1)
    variance = _ZERO
    for k in range(noise.variance.size):
        y0, y1, x0, x1 = noise.boxes[k]
        if y0 <= y < y1 and x0 <= x < x1:
            variance = noise.variance[k]
    base = variance + (max(noise.exptime * noise.dark[y, x], _ZERO) if noise.has_dark else _ZERO)
    far, spread = median_and_spread(image, y, x)
    sigma = np.sqrt(variance)
    far, spread, near = far * flat, spread * flat, near_model(image, y, x, BESIDE_LINE * sigma / flat) * flat
    low = base + max(far, FAR_LEAST * sigma)
    line = (near - far) ** 2 > SIGNIFICANT2 * low or spread**2 > SPREAD2 * low
    var = base + max(near, NEAR_LEAST * sigma) + NEAR_VARIANCE if line else low + FAR_VARIANCE
    return flat * flat / var if var > _ZERO else _ZERO
