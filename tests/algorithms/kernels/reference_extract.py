"""Slow, plain numpy (float64) versions of the extraction kernels, written from the formulas in their docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import erf

Array = npt.NDArray[Any]


def rows_of(x: Array, y: Array, wavemin: float, wavemax: float, ny: int) -> tuple[Array, Array]:
    """(wavelength, x) [nfibre, ny] by root finding, one row at a time."""
    wave, place = np.zeros((len(x), ny)), np.zeros((len(x), ny))
    for f in range(len(x)):
        for row in range(ny):
            t = brentq(lambda t, f=f, row=row: np.polynomial.legendre.legval(t, y[f]) - row, -1, 1, xtol=1e-14)
            wave[f, row] = wavemin + 0.5 * (t + 1) * (wavemax - wavemin)
            place[f, row] = np.polynomial.legendre.legval(t, x[f])
    return wave, place


def profile(pixels: Array, centre: float, sigma: float, wings: tuple[tuple[float, float], ...] = ()) -> Array:
    """Fraction of the light on each pixel."""
    total = np.zeros(len(pixels))
    for weight, width in ((1 - sum(w for w, _ in wings), sigma), *wings):
        edges = (np.append(pixels, pixels[-1] + 1) - 0.5 - centre) / (width * np.sqrt(2))
        total += weight * 0.5 * np.diff(erf(edges))
    return total


def window_weights(nx: int, centre: float, width: float) -> Array:
    """Part of each pixel that lies in the window."""
    k = np.arange(nx)
    return np.clip(np.minimum(k + 0.5, centre + width / 2) - np.maximum(k - 0.5, centre - width / 2), 0, 1)


def light_of(electrons: Array, place: Array, sigma: Array, nx: int, wings: tuple[tuple[float, float], ...] = ()) -> Array:
    """Image [ny, nx] of fibres with `electrons`, `place`, `sigma` [nfibre, ny]."""
    image = np.zeros((electrons.shape[1], nx))
    for f in range(len(electrons)):
        for y in range(electrons.shape[1]):
            image[y] += electrons[f, y] * profile(np.arange(nx), place[f, y], sigma[f, y], wings)
    return image


def boxcar(image: Array, ivar: Array, place: Array, sigma: Array, width: float, wings: tuple[tuple[float, float], ...] = ()) -> tuple[Array, Array]:
    """(electrons, variance) [nfibre, ny] of rows without unusable pixels: the window sums, corrected with exact fractions of own and neighbours."""
    nfibre, ny = place.shape
    electrons, variance = np.zeros((nfibre, ny)), np.zeros((nfibre, ny))
    k = np.arange(image.shape[1])
    for y in range(ny):
        w = [window_weights(image.shape[1], place[f, y], width) for f in range(nfibre)]
        p = [profile(k, place[f, y], sigma[f, y], wings) for f in range(nfibre)]
        own = np.array([w[f] @ p[f] for f in range(nfibre)])
        b = np.array([w[f] @ image[y] for f in range(nfibre)]) / own
        for f in range(nfibre):
            near = sum((w[f] @ p[g]) * b[g] for g in (f - 1, f + 1) if 0 <= g < nfibre)
            electrons[f, y] = b[f] - near  # what is taken off is small: over the own fraction or not makes no difference to first order
            variance[f, y] = (w[f] ** 2 / ivar[y]).sum() / own[f] ** 2
    return electrons, variance


def model_variance(values: Array, own: Array, base: Array) -> Array:
    """Variance of one fibre from a model of its light: see `algorithms.kernels.lightrows`."""
    n = len(values)
    index = np.abs(np.arange(-10, n + 10))
    b = values[np.where(index >= n, 2 * (n - 1) - index, index)]
    at = lambda k: b[10 + k : 10 + k + n]  # noqa: E731
    groups = [(-10, -9, -8, -7), (-6, -5, -4, -3), (-2, -1, 1, 2), (3, 4, 5, 6), (7, 8, 9, 10)]
    far = np.maximum(np.median([np.mean([at(k) for k in g], axis=0) for g in groups], axis=0), 0)
    beside = 0.758 * (at(-1) + at(1)) - 0.258 * (at(-2) + at(2))
    near = np.maximum(np.maximum(beside, 0.6 * np.minimum(at(-1), at(1))), 0)
    noise = 2 * (0.758**2 + 0.258**2)
    low = base + far * own
    line = (near - far) ** 2 > 9 * (noise + 1 / 13.9) * low
    return np.where(line, base + near * own + noise, low + 1 / 13.9)
