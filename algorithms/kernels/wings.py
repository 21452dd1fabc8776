"""Wings of the profile across the traces, measured in the valleys between fibres and in the gaps between bundles.

In pixels far from all traces the light above the Gaussian cores is a sum of wider Gaussians, each fibre's in proportion to its light:

    image - sum of c_f G(sigma_f) = background + sum_k w_k sum_f c_f (G(s_k) - G(sigma_f)).

Least squares for w_k >= 0 over rows sampled all over the detector, with a free background for every bundle and eight such rows (stray light
is smooth and not taken for wings, which follow the lines of the spectra).
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from algorithms.kernels.profile import NO_WINGS, Profile, add_profile, place, window_tables
from algorithms.kernels.tracegrid import STEP, Knots
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]

WIDTHS = (2.0, 3.0, 4.5)
"""Gaussian sigma of the wings, in pixel for a core of one pixel."""
FAR, REACH = 3.1, 14.0
"""Pixels nearer than FAR to a trace are left out; fibres farther than REACH give nothing."""
LARGEST = 0.15
ROWS = 8
"""Sampled rows that share a background."""
_SIGNIFICANT = 5.0
_STEPS = 64
"""Steps of the tables of wings, a pixel."""
_MARGIN, _NEAR = 7, 3
"""Pixels beyond the first and last fibre of a bundle that are looked at; fibres on either side of a pixel whose light is counted."""
_MANY = 250
"""Fibres; half of the rows tell as much about them as all tell about fewer."""
_F = np.float32


def _wing_tables(widths: Array) -> Array:
    """Fraction of the light of a wing on a pixel at distance 0, 1/64, ... REACH + 1 pixel, [n, distances]."""
    distance = np.arange(int((REACH + 1.0) * _STEPS) + 2) / _STEPS
    variance = widths[:, None] ** 2 + 1.0 / 12.0
    return np.asarray(np.exp(-0.5 * distance**2 / variance) / np.sqrt(2 * np.pi * variance))


@jit
def _estimates(pixels: Array, ivar: Array, tables: Any, x: Array, place_of: Array, part: Array, electrons: Array, good: Array) -> None:
    """Electrons of the fibres of one row from sums over their windows, without a thought of neighbours, and whether all their pixels are usable."""
    n, own = math.ceil(tables.width) + 1, tables.own
    for f in range(x.size):
        low = x[f] - 0.5 * tables.width + 0.5
        first = math.floor(low)
        electrons[f], good[f] = 0.0, first >= 0 and first + n <= pixels.size
        if not good[f]:
            continue
        total, phase, usable = 0.0, low - first, True
        for k in range(n):
            weight = max(min(1.0, k + 1 - phase, tables.width + phase - k), 0.0)
            total += weight * pixels[first + k]
            usable &= ivar[first + k] > 0
        i = place_of[f]
        electrons[f] = total / ((1 - part[f]) * own[i, 0] + part[f] * own[i + 1, 0])
        good[f] = usable


@jit
def _add_row(pixels: Array, ivar: Array, c: Array, good: Array, x: Array, first: int, last: int, cores: Array, wings: Array, moments: Array) -> None:
    """Add the pixels around fibres `first` to `last` (exclusive) of one row to the weighted moments [n + 2, n + 2] of (1, light of widths, value).

    From the other two the light of the cores (`cores`, of this row) is taken off. Left out: pixels near a trace, and those with light not known.
    """
    n, near = wings.shape[0], first
    row = np.zeros(n + 2)
    row[0] = 1.0
    for k in range(max(int(x[first] - _MARGIN), 0), min(int(x[last - 1] + _MARGIN + 1), pixels.size)):
        while near + 1 < last and abs(x[near + 1] - k) < abs(x[near] - k):
            near += 1
        weight = ivar[k]
        if abs(k - x[near]) < FAR or not weight > 0:
            continue
        for i in range(n):
            row[1 + i] = -cores[k]
        known = True
        for g in range(max(near - _NEAR, 0), min(near + _NEAR + 1, x.size)):
            distance = abs(k - x[g])
            if distance <= REACH:
                known &= good[g]
                at = distance * _STEPS
                j = int(at)
                for i in range(n):
                    row[1 + i] += c[g] * (wings[i, j] + (at - j) * (wings[i, j + 1] - wings[i, j]))
        if not known:
            continue
        row[n + 1] = pixels[k] - cores[k]
        for i in range(n + 2):
            part = weight * row[i]
            for j in range(i, n + 2):
                moments[i, j] += part * row[j]


@jit
def _eliminate(moments: Array, normal: Array, right: Array) -> None:
    """Add the normal equations of a group, its background eliminated."""
    n = right.size
    if moments[0, 0] <= 0:
        return
    for i in range(n):
        right[i] += moments[i + 1, n + 1] - moments[0, i + 1] * moments[0, n + 1] / moments[0, 0]
        for j in range(i, n):
            term = moments[i + 1, j + 1] - moments[0, i + 1] * moments[0, j + 1] / moments[0, 0]
            normal[i, j] += term
            normal[j, i] += term if j > i else 0.0


@jit
def _core_light(tables: Any, x: Array, place_of: Array, part: Array, electrons: Array, window: Array, out: Array) -> None:
    """out [nx] = light of the cores of all fibres on a row; window [n]: room to work in."""
    out[:] = 0.0
    for f in range(x.size):
        first = math.floor(x[f]) - window.size // 2
        window[:] = _F(0)
        add_profile(tables.pixel, place_of[f], part[f], first - x[f], _F(1), tables.reach, window)
        for i in range(max(-first, 0), min(window.size, out.size - first)):
            out[first + i] += electrons[f] * window[i]


class Room(NamedTuple):
    """Working arrays: [nfibre] place of sigma in the tables (index and part), electrons, whether they are known; [nx] light of cores on a row; [n]
    one profile; [bundle, 5, 5] moments."""

    place: npt.NDArray[np.int64]
    part: npt.NDArray[np.float32]
    electrons: npt.NDArray[np.float64]
    good: npt.NDArray[np.bool_]
    cores: npt.NDArray[np.float64]
    window: npt.NDArray[np.float32]
    moments: npt.NDArray[np.float64]


def _new_room(nfibre: int, nx: int, bundles: int, reach: float) -> Room:
    n, terms = nfibre, len(WIDTHS) + 2
    window = np.zeros(2 * math.ceil(reach) + 1, _F)
    moments = np.zeros((bundles, terms, terms))
    return Room(np.zeros(n, np.int64), np.zeros(n, _F), np.zeros(n), np.zeros(n, np.bool_), np.zeros(nx), window, moments)


@jit
def _collect(pixels: Array, ivar: Array, tables: Any, x: Array, sigma: Array, every: int, starts: Array, wings: Array, room: Any) -> Any:
    """Normal equations over every so many knots; x, sigma [nknot, nfibre] at rows 0, 32, ..."""
    n, last = wings.shape[0], (pixels.shape[0] - 1) // STEP + 1
    normal, right, moments, electrons, good, cores = np.zeros((n, n)), np.zeros(n), room.moments, room.electrons, room.good, room.cores
    for block in range(0, x.shape[0], every * ROWS):
        moments[:] = 0.0
        for k in range(block, min(block + every * ROWS, x.shape[0], last), every):
            row, weight = pixels[k * STEP], ivar[k * STEP]
            for f in range(x.shape[1]):
                room.place[f], room.part[f] = place(tables.sigma, sigma[k, f])
            _estimates(row, weight, tables, x[k], room.place, room.part, electrons, good)
            _core_light(tables, x[k], room.place, room.part, electrons, room.window, cores)
            for b in range(starts.size - 1):
                _add_row(row, weight, electrons, good, x[k], starts[b], starts[b + 1], cores, wings, moments[b])
        for b in range(starts.size - 1):
            _eliminate(moments[b], normal, right)
    return normal, right


def _solve(normal: Array, right: Array) -> Array:
    """Least squares with weights >= 0: of all subsets of terms whose solution is positive and significant the best.

    The middle width alone is taken unless another subset is better by five sigma.
    """
    n, best, chosen = len(right), 0.0, np.zeros(len(right))
    subsets = [s for size in range(1, n + 1) for s in itertools.combinations(range(n), size)]
    for subset in sorted(subsets, key=lambda s: (len(s), abs(s[0] - n // 2))):
        rows = list(subset)
        part = normal[np.ix_(rows, rows)]
        if np.linalg.cond(part) > 1e10:
            continue
        w, error = np.linalg.solve(part, right[rows]), np.sqrt(np.diag(np.linalg.inv(part)))
        gain = float(w @ right[rows])
        if np.all(w > _SIGNIFICANT * error) and gain > best + _SIGNIFICANT**2:
            best, chosen = gain, np.zeros(n)
            chosen[rows] = w
    return chosen


def measure_wings(pixels: Array, ivar: Array, knots: Knots, width: float = 7.0, every: int = 0) -> Profile:
    """Wings of an image [ny, nx] (electron, float32, with ivar), from first estimates of the electrons in windows of `width` pixel.

    `every`: each so many 32nd row is used; 0: each one, or every second where there are more than 250 fibres. No wings where none are
    significant (five sigma) or where they would hold more than 15 % of the light (something else than wings). On a simulated exposure of a full
    camera 3 % in a Gaussian of 3 pixels are found as 3.0 % (flat) and 3.2 % (science).
    """
    x = np.ascontiguousarray(knots.x.T)
    if x.shape[1] < 3:
        return NO_WINGS
    pitch = np.diff(x[x.shape[0] // 2])
    breaks = np.flatnonzero(pitch > 1.5 * np.median(pitch)) + 1
    starts = np.concatenate([[0], breaks, [x.shape[1]]]).astype(np.int64)
    widths = float(np.median(knots.xsig)) * np.array(WIDTHS)
    tables = window_tables(width, float(knots.xsig.min()), float(knots.xsig.max()))
    room = _new_room(x.shape[1], pixels.shape[1], len(starts) - 1, tables.reach)
    every = every or (2 if x.shape[1] > _MANY else 1)
    normal, right = _collect(pixels, ivar, tables, x, np.ascontiguousarray(knots.xsig.T), every, starts, _wing_tables(widths), room)
    weight = _solve(normal, right)
    if not 0 < weight.sum() <= LARGEST:
        return NO_WINGS
    used = weight > 0
    return Profile(weight[used], widths[used])
