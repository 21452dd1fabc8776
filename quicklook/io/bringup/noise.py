"""Gain and read noise from pairs of frames (photon transfer: Janesick 2001, Scientific Charge-Coupled Devices, chapter 5)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_CELL = 16
_CLIP = 4.0
_EVEN = 0.15


def read_noise_of(one: Array, other: Array) -> float:
    """Read noise, ADU, from two frames without light [ny, nx]: standard deviation of the difference over sqrt 2, outliers beyond 5 sigma left out.

    NaN where there is none (a dead amplifier).
    """
    off = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    off = off - np.median(off)
    for _ in range(3):
        sigma = float(np.std(off))
        off = off[np.abs(off) <= 5 * sigma] if sigma > 0 else off
    return float(np.std(off)) / math.sqrt(2) if float(np.std(off)) > 0 else math.nan


def mad_noise_of(one: Array, other: Array) -> float:
    """The same by the median absolute deviation, 1.4826 MAD / sqrt 2, ADU, as many state it. Of whole numbers it is a multiple of 1.05 ADU."""
    off = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return 1.4826 * float(np.median(np.abs(off - np.median(off)))) / math.sqrt(2)


def gain_of(one: Array, other: Array, bias: tuple[float, float], noise: float, saturation: float = 60000.0) -> tuple[float, float]:
    """Gain, electron/ADU, and its error from two flats of one light [ny, nx], with their bias levels and the read noise (ADU).

    In cells of 16 x 16 pixels the second flat is scaled to the first, and gain = 2 mean / (variance of the difference - 2 noise^2), corrected for
    the scale; the median over cells with light. NaN where fewer than 20 cells have light.
    """
    a, b = _cells(np.asarray(one, np.float64) - bias[0]), _cells(np.asarray(other, np.float64) - bias[1])
    if a is None or b is None:
        return math.nan, math.nan
    top = np.maximum(a.max(axis=1), b.max(axis=1))
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    even = np.std(a, axis=1) < _EVEN * mean_a  # at the edge of a slit the noise differs within a cell
    use = even & (top < saturation - max(bias)) & (mean_a > 50 * max(noise, 1.0)) & (mean_b > 50 * max(noise, 1.0))
    if use.sum() < 20:
        return math.nan, math.nan
    scale = (mean_a[use] / mean_b[use])[:, None]
    off = a[use] - scale * b[use]
    off = off - off.mean(axis=1, keepdims=True)
    sigma = 1.4826 * np.median(np.abs(off), axis=1, keepdims=True)
    good = np.abs(off) <= _CLIP * np.maximum(sigma, 1e-9)
    n = good.sum(axis=1)
    variance = np.where(good, off**2, 0.0).sum(axis=1) / (n - 1) / 0.99865  # a Gaussian cut at 4 sigma has lost so much of its variance
    scale = scale[:, 0]
    light = variance - noise**2 * (1 + scale**2)
    known = light > 0
    # variance of a - s b is (A + s^2 B) / gain with A = s B: A (1 + s) / gain
    gains = mean_a[use][known] * (1 + scale[known]) / light[known]
    if gains.size < 20:
        return math.nan, math.nan
    middle = _unbiased(gains, n[known])
    return middle, 1.25 * float(np.std(gains[np.abs(gains - middle) < 0.5 * middle])) / math.sqrt(gains.size)


def _unbiased(gains: Array, n: Array) -> float:
    """Gain by the mean of the inverse: a variance is unbiased, its inverse is not."""
    inverse = 1.0 / gains
    middle = float(np.median(inverse))
    sigma = 1.4826 * float(np.median(np.abs(inverse - middle)))
    near = np.abs(inverse - middle) <= 4 * max(sigma, 1e-9)
    return 1.0 / float(np.average(inverse[near], weights=n[near]))


def _cells(image: Array) -> Array | None:
    """Pixels of all whole cells, [ncell, 256]; None where there is none."""
    ny, nx = image.shape[0] // _CELL, image.shape[1] // _CELL
    if not ny or not nx:
        return None
    cut = image[: ny * _CELL, : nx * _CELL].reshape(ny, _CELL, nx, _CELL).swapaxes(1, 2)
    return np.asarray(cut.reshape(ny * nx, _CELL * _CELL))
