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
PIXEL_STEPS = 64
"""Steps of the table of the light on a pixel, a pixel."""


class Profile(NamedTuple):
    """Wings: fraction of the light `weight` [n] in Gaussians of `sigma` [n] pixel."""

    weight: Float64
    sigma: Float64


NO_WINGS = Profile(np.zeros(0), np.zeros(0))


class WindowTables(NamedTuple):
    """Fractions of the light of a fibre in a window of `width` pixel, for `sigma` [n] of its core.

    `photons` [n]: sum of w^2 P over the pixels, w the part of each that lies in the window, mean over places: the variance of the sum by light.

    `own` [n, PHASES + 1]: in its own window, against the place of the window's lower edge within a pixel; `other` [n, distances]: in a window
    centred at a distance, mean over places; `pixel` [n, distances] float32: on a pixel at -24 ... 24 pixel from the centre;
    `reach`: beyond that distance (pixel) less than a millionth is on a pixel.
    """

    width: float
    sigma: Float64
    own: Float64
    photons: Float64
    other: Float64
    pixel: npt.NDArray[np.float32]
    reach: float


@jit
def normal(z: float) -> Any:
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
        total += wings.weight[k] * normal(x / wings.sigma[k])
    return total + core * normal(x / sigma)


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
def photons_in_window(low: float, width: float, centre: float, sigma: float, wings: Any) -> Any:
    """As `in_window`, but pixels count by the square of the part of them that lies in it."""
    high = low + width
    a, b = math.ceil(low), math.floor(high)
    left, right = a - low, high - b
    outer = left * left * (below(a - centre, sigma, wings) - below(a - 1 - centre, sigma, wings))
    outer += right * right * (below(b + 1 - centre, sigma, wings) - below(b - centre, sigma, wings))
    return outer + below(b - centre, sigma, wings) - below(a - centre, sigma, wings)


@jit
def reach_of(sigma: float, wings: Any) -> float:
    """Distance beyond which a profile has no light to speak of (less than a millionth in a pixel), pixel."""
    return 0.5 + (5.0 * sigma if wings.weight.size == 0 else max(5.0 * sigma, 4.0 * wings.sigma.max()))


@jit
def _fill_pixels(tables: Any, wings: Any) -> None:
    m = tables.pixel.shape[1]
    edges = np.empty(m + PIXEL_STEPS)
    for i in range(tables.sigma.size):
        for j in range(edges.size):
            edges[j] = below(j / PIXEL_STEPS - LAST_DISTANCE - 0.5, tables.sigma[i], wings)
        for j in range(m):
            tables.pixel[i, j] = edges[j + PIXEL_STEPS] - edges[j]


@jit
def _fill(tables: Any, wings: Any) -> None:
    width = tables.width
    for i in range(tables.sigma.size):
        sigma = tables.sigma[i]
        for p in range(tables.own.shape[1]):
            low = p / PHASES
            tables.own[i, p] = in_window(low, width, low + 0.5 * width, sigma, wings)
            if p < PHASES:
                tables.photons[i] += photons_in_window(low, width, low + 0.5 * width, sigma, wings) / PHASES
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
    pixels = np.zeros((n, int(2 * LAST_DISTANCE * PIXEL_STEPS) + 1), np.float32)
    tables = WindowTables(float(width), sigma, np.zeros((n, PHASES + 1)), np.zeros(n), np.zeros((n, nd)), pixels, reach_of(float(sigma[-1]), wings))
    _fill(tables, wings)
    _fill_pixels(tables, wings)
    return tables


@jit
def place(sigmas: Array, sigma: float) -> tuple[int, float]:
    """Where a sigma lies among those of the tables: index and fraction to the next."""
    at = (sigma - sigmas[0]) / (sigmas[1] - sigmas[0])
    at = min(max(at, 0.0), sigmas.size - 1.0)
    i = min(int(at), sigmas.size - 2)
    return i, at - i


@jit
def of_neighbour(other: Array, i: int, part: float, distance: float) -> float:
    """Fraction of the light of a fibre in a window centred `distance` away from it; 0 beyond the range of the table `other`.

    `i`, `part`: as of `place`.
    """
    at = (distance - FIRST_DISTANCE) / DISTANCE_STEP
    if not 0 <= at < other.shape[1] - 1:
        return 0.0
    j = int(at)
    here = (1 - part) * other[i, j] + part * other[i + 1, j]
    there = (1 - part) * other[i, j + 1] + part * other[i + 1, j + 1]
    return float(here + (at - j) * (there - here))


@jit
def add_profile(pixel: Array, i: int, part: Any, distance: float, light: Any, reach: float, out: Array) -> None:
    """out [n] += `light` times the fractions on the pixels at `distance`, `distance` + 1, ... from the centre, up to `reach`.

    `pixel`: the table, `i`, `part`: the place of sigma in it (`place`). Error below 3e-5 of the light; nothing beyond 24 pixels.
    """
    at = (distance + LAST_DISTANCE) * PIXEL_STEPS
    j = math.floor(at)
    x = np.float32(at - j)
    reach = min(reach, LAST_DISTANCE - 0.01)
    first, last = max(math.ceil(-reach - distance), 0), min(math.ceil(reach - distance), out.size)
    for k in range(first, last):
        m = j + k * PIXEL_STEPS
        low = pixel[i, m] + x * (pixel[i, m + 1] - pixel[i, m])
        high = pixel[i + 1, m] + x * (pixel[i + 1, m + 1] - pixel[i + 1, m])
        out[k] += light * (low + part * (high - low))
