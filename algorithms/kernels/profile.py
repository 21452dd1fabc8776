"""The profile of a fibre across its trace, integrated over pixels: a Gaussian core, and wings as wider Gaussians.

The profile is (1 - sum of w) G(sigma) + sum of w_k G(s_k), of unit area, with sigma from the trace set and the wings the same for all fibres.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
_LIMIT, _STEPS = 6.5, 128
_NORMAL = np.array([0.5 * math.erfc(-(i / _STEPS - _LIMIT) / math.sqrt(2.0)) for i in range(int(2 * _LIMIT * _STEPS) + 1)])

PHASES = 16
"""Steps of the table over the place of the window within a pixel."""
FIRST_DISTANCE, LAST_DISTANCE, DISTANCE_STEP = 2.0, 24.0, 0.125
"""Range of the table over the distance of a neighbour, pixel; farther ones give nothing."""


class Profile(NamedTuple):
    """Wings: fraction of the light `weight` [n] in Gaussians of `sigma` [n] pixel."""

    weight: Float64
    sigma: Float64


NO_WINGS = Profile(np.zeros(0), np.zeros(0))


class WindowTables(NamedTuple):
    """Fractions of the light of a fibre in a window of `width` pixel, for `sigma` [n] of its core.

    `own` [n, PHASES + 1]: in its own window, against the place of the window's lower edge within a pixel; `other` [n, distances]: in a window
    centred at a distance, mean over places.
    """

    width: float
    sigma: Float64
    own: Float64
    other: Float64


@jit
def _normal(z: float) -> Any:
    """Integral of the normal distribution up to z, from a table; error below 2e-6."""
    at = (z + _LIMIT) * _STEPS
    if at <= 0:
        return 0.0
    i = int(at)
    if i >= _NORMAL.size - 1:
        return 1.0
    return _NORMAL[i] + (at - i) * (_NORMAL[i + 1] - _NORMAL[i])


@jit
def below(x: float, sigma: float, wings: Any) -> Any:
    """Fraction of the light of a profile of core `sigma` at coordinates smaller than x from its centre."""
    core, total = 1.0, 0.0
    for k in range(wings.weight.size):
        core -= wings.weight[k]
        total += wings.weight[k] * _normal(x / wings.sigma[k])
    return total + core * _normal(x / sigma)


@jit
def in_pixel(pixel: int, centre: float, sigma: float, wings: Any) -> Any:
    """Fraction of the light of a profile at `centre` that falls on a pixel, which reaches from pixel - 0.5 to pixel + 0.5."""
    return below(pixel + 0.5 - centre, sigma, wings) - below(pixel - 0.5 - centre, sigma, wings)


@jit
def in_window(low: float, width: float, centre: float, sigma: float, wings: Any) -> Any:
    """Fraction of the light in the window from `low` on, where pixels at its edges count by the part of them that lies in it; a pixel or wider.

    Coordinates are those of pixel edges: pixel k reaches from k to k + 1.
    """
    high = low + width
    a, b = math.ceil(low), math.floor(high)  # whole pixels lie between a and b
    left = (a - low) * (below(a - centre, sigma, wings) - below(a - 1 - centre, sigma, wings))
    right = (high - b) * (below(b + 1 - centre, sigma, wings) - below(b - centre, sigma, wings))
    return left + right + below(b - centre, sigma, wings) - below(a - centre, sigma, wings)


@jit
def _fill(tables: Any, wings: Any) -> None:
    width = tables.width
    for i in range(tables.sigma.size):
        sigma = tables.sigma[i]
        for p in range(tables.own.shape[1]):
            low = p / PHASES
            tables.own[i, p] = in_window(low, width, low + 0.5 * width, sigma, wings)
        for j in range(tables.other.shape[1]):
            distance = FIRST_DISTANCE + j * DISTANCE_STEP
            total = 0.0
            for p in range(4):
                low = p / 4 + 0.125
                total += 0.25 * in_window(low, width, low + 0.5 * width + distance, sigma, wings)
            tables.other[i, j] = total


def window_tables(width: float, smallest: float, largest: float, wings: Profile = NO_WINGS, n: int = 12) -> WindowTables:
    """Tables for cores of sigma from `smallest` to `largest`, pixel."""
    sigma = np.linspace(smallest, max(largest, smallest + 1e-3), n)
    nd = round((LAST_DISTANCE - FIRST_DISTANCE) / DISTANCE_STEP) + 1
    tables = WindowTables(float(width), sigma, np.zeros((n, PHASES + 1)), np.zeros((n, nd)))
    _fill(tables, wings)
    return tables


@jit
def place(tables: Any, sigma: float) -> tuple[int, float]:
    """Where a sigma lies in the tables: index and fraction to the next."""
    at = (sigma - tables.sigma[0]) / (tables.sigma[1] - tables.sigma[0])
    at = min(max(at, 0.0), tables.sigma.size - 1.0)
    i = min(int(at), tables.sigma.size - 2)
    return i, at - i


@jit
def of_neighbour(tables: Any, sigma: float, distance: float) -> float:
    """Fraction of the light of a fibre in a window centred `distance` away from it; 0 beyond the range of the tables."""
    at = (distance - FIRST_DISTANCE) / DISTANCE_STEP
    if not 0 <= at < tables.other.shape[1] - 1:
        return 0.0
    i, part = place(tables, sigma)
    j = int(at)
    here = (1 - part) * tables.other[i, j] + part * tables.other[i + 1, j]
    there = (1 - part) * tables.other[i, j + 1] + part * tables.other[i + 1, j + 1]
    return float(here + (at - j) * (there - here))
