"""Wings of the profile across the traces, measured in the valleys between fibres and in the gaps between bundles.

In pixels far from all traces the light above the Gaussian cores is a sum of wider Gaussians, each fibre's in proportion to its light:

    image - sum of c_f G(sigma_f) = background + sum_k w_k sum_f c_f (G(s_k) - G(sigma_f)).

Least squares for w_k >= 0 over rows sampled all over the detector, with a free background for every bundle and eight such rows (stray light
is smooth and not taken for wings, which follow the lines of the spectra).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.profile import NO_WINGS, Profile, in_pixel
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


@jit
def _terms(c: Array, good: Array, x: Array, sigma: Array, near: int, k: int, widths: Array, out: Array) -> bool:
    """out = core light and light of each width on pixel k, from the fibres around `near`.

    False where the pixel is near a trace, or the light of a fibre that reaches it is not known.
    """
    if abs(k - x[near]) < FAR:
        return False
    out[:] = 0.0
    for g in range(max(near - 3, 0), min(near + 4, x.size)):
        distance = k - x[g]
        if abs(distance) < FAR:
            return False
        if abs(distance) > REACH:
            continue
        if not good[g]:
            return False
        core = in_pixel(k, x[g], sigma[g], NO_WINGS) if abs(distance) < 0.5 + 5.0 * sigma[g] else 0.0
        out[0] += c[g] * core
        for i in range(widths.size):
            var = widths[i] ** 2 + 1.0 / 12.0
            wing = np.exp(-0.5 * distance * distance / var) / np.sqrt(2 * np.pi * var)
            out[1 + i] += c[g] * (wing - core)
    return True


@jit
def _add_row(pixels: Array, ivar: Array, c: Array, good: Array, x: Array, sigma: Array, first: int, last: int, widths: Array, moments: Array) -> None:
    """Add the pixels around fibres `first` to `last` (exclusive) of one row to the weighted moments of (1, terms, value), [n + 2, n + 2]."""
    n, near = widths.size, first
    terms, row = np.zeros(n + 1), np.zeros(n + 2)
    for k in range(max(int(x[first] - 7), 0), min(int(x[last - 1] + 8), pixels.size)):
        while near + 1 < last and abs(x[near + 1] - k) < abs(x[near] - k):
            near += 1
        if not (ivar[k] > 0 and _terms(c, good, x, sigma, near, k, widths, terms)):
            continue
        row[0], row[1 : n + 1], row[n + 1] = 1.0, terms[1:], pixels[k] - terms[0]
        for i in range(n + 2):
            for j in range(i, n + 2):
                moments[i, j] += ivar[k] * row[i] * row[j]


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
def _collect(pixels: Array, ivar: Array, electrons: Array, good: Array, x: Array, sigma: Array, every: int, starts: Array, widths: Array) -> Any:
    """Normal equations over every so many knots; x, sigma, electrons, good [nfibre, nknot] at rows 0, 32, ..."""
    n, ny = widths.size, pixels.shape[0]
    normal, right, moments = np.zeros((n, n)), np.zeros(n), np.zeros((n + 2, n + 2))
    for b in range(starts.size - 1):
        for block in range(0, x.shape[1], every * ROWS):
            moments[:] = 0.0
            for k in range(block, min(block + every * ROWS, x.shape[1]), every):
                if k * STEP < ny:
                    row, weight, c = pixels[k * STEP], ivar[k * STEP], electrons[:, k]
                    _add_row(row, weight, c, good[:, k], x[:, k], sigma[:, k], starts[b], starts[b + 1], widths, moments)
            _eliminate(moments, normal, right)
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


def measure_wings(pixels: Array, ivar: Array, electrons: Array, good: npt.NDArray[np.bool_], knots: Knots, every: int = 2) -> Profile:
    """Wings of an image [ny, nx] (electron, with ivar) from first estimates of the electrons at the knots [nfibre, nknot]; `good`: usable ones.

    `every`: each so many 32nd row is used. No wings where none are significant (five sigma) or where they would hold more than 15 % of the light
    (something else than wings). On a simulated exposure of a full camera 3 % in a Gaussian of 3 pixels are found as 3.0 % (flat) and 3.2 % (science).
    """
    x = knots.x
    if x.shape[0] < 3:
        return NO_WINGS
    pitch = np.diff(x[:, x.shape[1] // 2])
    breaks = np.flatnonzero(pitch > 1.5 * np.median(pitch)) + 1
    starts = np.concatenate([[0], breaks, [x.shape[0]]]).astype(np.int64)
    core = float(np.median(knots.xsig))
    widths = core * np.array(WIDTHS)
    normal, right = _collect(pixels, ivar, electrons, good, np.ascontiguousarray(x), np.ascontiguousarray(knots.xsig), every, starts, widths)
    weight = _solve(normal, right)
    if not 0 < weight.sum() <= LARGEST:
        return NO_WINGS
    used = weight > 0
    return Profile(weight[used], widths[used])
