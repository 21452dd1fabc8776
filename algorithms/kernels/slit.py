"""Sums over the apertures of a slit: between two edges on every row, pixels at the edges counted by the part of them that lies within.

With w_k the part of pixel k that lies in the aperture, the light of a row is S = sum of w_k D_k with variance sum of w_k^2 V_k. An aperture has
no profile of its own (sky fills it, an object lies somewhere in it), so where pixels are unusable the profile is that of the rows
around: P_k = sum of D_k over the nearest rows whose pixels are all usable, and

    S = sum of w_k D_k over usable pixels x F,   F = sum of w_k P_k / sum of w_k P_k over usable pixels,

with variance F^2 sum of w_k^2 V_k + (error x S x (1 - 1/F))^2. Where less than a given part of the light is usable (1/F), or no row around is
whole, the sample is lost: its value is for display, its variance infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
WIDEST = 512
"""Pixels of the widest aperture."""


@jit
def _part(k: int, low: float, high: float) -> float:
    """Part of pixel k (from k - 0.5 to k + 0.5) that lies between the edges."""
    return max(0.0, min(high, k + 0.5) - max(low, k - 0.5))


@jit
def _is_whole(ivar: Array, first: int, last: int) -> bool:
    whole = True
    for k in range(first, last):
        whole &= ivar[k] > 0
    return whole


@jit
def _profile(pixels: Array, ivar: Array, y: int, first: int, last: int, rows: int, out: Array) -> int:
    """Sum the pixels `first` to `last` (exclusive) of up to `rows` whole rows on each side of y into `out`; returns how many there were."""
    used = 0
    out[: last - first] = 0.0
    for side in (-1, 1):
        taken, r = 0, y + side
        while taken < rows and abs(r - y) <= 4 * rows and 0 <= r < pixels.shape[0]:
            if _is_whole(ivar[r], first, last):
                for k in range(first, last):
                    out[k - first] += pixels[r, k]
                taken += 1
            r += side
        used += taken
    return used


@jit
def _factor(ivar: Array, low: float, high: float, first: int, profile: Array, n: int) -> tuple[float, float]:
    """All light of the profile over that on usable pixels (infinite where there is none), and the fraction that is lost."""
    everything, usable = 0.0, 0.0
    for i in range(n):
        light = _part(first + i, low, high) * max(profile[i], 0.0)
        everything += light
        usable += light if ivar[first + i] > 0 else 0.0
    if not (usable > 0.0 and everything > 0.0):
        return math.inf, 1.0
    return everything / usable, 1.0 - usable / everything


@jit
def sum_apertures(
    pixels: Array, ivar: Array, low: Array, high: Array, rows: int, least: float, error: float, total: Array, variance: Array, lost: Array
) -> None:
    """Light between the edges `low` and `high` [naperture, ny] (pixel) of every row into `total`, `variance`, `lost` (1: not usable).

    `pixels`, `ivar` [ny, nx]; `rows` around on each side give the profile; `least`: smallest usable part of the light; `error`: relative error of
    the profile. An aperture that reaches beyond the image, or has no width, is lost.
    """
    ny, nx = pixels.shape
    profile = np.empty(WIDEST)
    for f in range(low.shape[0]):
        for y in range(ny):
            a, b = low[f, y], high[f, y]
            total[f, y], variance[f, y], lost[f, y] = 0.0, math.inf, 1
            if not (a >= -0.5 and b <= nx - 0.5 and a < b < a + WIDEST - 2):
                continue
            first, last = max(math.floor(a + 0.5), 0), min(math.ceil(b + 0.5), nx)
            value, noise = 0.0, 0.0
            for k in range(first, last):
                if ivar[y, k] > 0:
                    w = _part(k, a, b)
                    value += w * pixels[y, k]
                    noise += w * w / ivar[y, k]
            if _is_whole(ivar[y], first, last):
                total[f, y], variance[f, y], lost[f, y] = value, noise, 0
                continue
            found = _profile(pixels, ivar, y, first, last, rows, profile)
            factor, gone = _factor(ivar[y], a, b, first, profile, last - first)
            if found == 0 or not factor * least <= 1.0:
                continue
            total[f, y] = value * factor
            variance[f, y] = noise * factor * factor + (error * value * factor * gone) ** 2
            lost[f, y] = 0


def edges_between(centres: npt.NDArray[np.float64], width: float | None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lower and upper edges [n, ny] of apertures around `centres` [n, ny]: those of `width` pixels, or (None) halfway to the neighbours.

    The outer edges lie as far from their centres as the inner ones. Raises ValueError where one aperture alone is given no width.
    """
    if width is not None:
        return centres - 0.5 * width, centres + 0.5 * width
    if len(centres) < 2:
        raise ValueError("one aperture has no neighbours to lie between; give it a width")
    middle = 0.5 * (centres[1:] + centres[:-1])
    first, last = 2 * centres[:1] - middle[:1], 2 * centres[-1:] - middle[-1:]
    edges = np.concatenate([first, middle, last])
    return np.ascontiguousarray(edges[:-1]), np.ascontiguousarray(edges[1:])
