"""Smooth light of a flat, fibre by fibre, so that what single pixels depart from it is their own response.

In a stretch of rows the light of a fibre is a function of the distance from its trace, a cubic B-spline with knots of half a pixel, times a
polynomial along the rows: the trace moves across the columns, so that a profile cannot be told column by column. Each pixel belongs to the nearest
trace; what neighbours give there follows the same distance. Stretches overlap by half and are blended by triangles. For a long slit every column is a
trace of its own, with a constant in place of the spline.

Fits are least squares with the ivar of the pixels and a part of the light as error of the model; pixels that lie off are left out, in rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit, run_tasks

Array = npt.NDArray[Any]
_F = np.float32
KNOT = 0.5
"""Distance of the knots of the profile, pixel."""
_LEAST = 1.5
"""So many usable pixels a coefficient are needed."""


@jit
def _basis(u: float, out: Array) -> int:
    """The four cubic B-splines that are not 0 at u (knots at whole numbers); returns the number of the first."""
    k = int(np.floor(u))
    t = u - k
    s = 1.0 - t
    out[0] = s * s * s / 6.0
    out[1] = (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0
    out[2] = (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0
    out[3] = t * t * t / 6.0
    return k


@jit
def _cholesky(a: Array, b: Array, n: int) -> bool:
    """Solve a x = b in place (a symmetric positive: its lower half is used); False where it is singular."""
    for j in range(n):
        for i in range(j, n):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                a[j, j] = np.sqrt(total)
            else:
                a[i, j] = total / a[j, j]
    for i in range(n):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]
    return True


@jit
def _terms(u: float, reach: float, t: float, degree: int, profile: bool, spline: Array, place: Array, value: Array) -> int:
    """The functions that are not 0 at distance u and place t = -1 ... 1 along the stretch: their numbers and values; returns how many."""
    if profile:
        first = _basis((u + reach) / KNOT, spline)
    n = 0
    for i in range(4 if profile else 1):
        power = spline[i] if profile else 1.0
        for k in range(degree + 1):
            place[n] = (first + i if profile else 0) * (degree + 1) + k
            value[n] = power
            power *= t
            n += 1
    return n


@jit
def _one(
    pixels: Array, ivar: Array, centre: Array, low: Array, high: Array, y0: int, y1: int, reach: float, degree: int, profile: bool,
    softness: float, clip: float, rounds: int, light: Array, weight: Array,
) -> None:  # fmt: skip
    """One stretch of rows y0 <= y < y1 of one trace: its light times the triangle is added to `light`, the triangle to `weight`."""
    nfun = (int(2.0 * reach / KNOT) + 5 if profile else 1) * (degree + 1)
    a, b, x = np.zeros((nfun, nfun)), np.zeros(nfun), np.zeros(nfun)
    spline, place, value = np.zeros(4), np.zeros(4 * (degree + 1), np.int64), np.zeros(4 * (degree + 1))
    middle, half = 0.5 * (y0 + y1 - 1), 0.5 * (y1 - y0)
    for turn in range(rounds):
        a[:, :] = 0.0
        b[:] = 0.0
        used = 0
        for y in range(y0, y1):
            t = (y - middle) / half
            for p in range(low[y], high[y]):
                iv = ivar[y, p]
                if not iv > 0:
                    continue
                n = _terms(p - centre[y], reach, t, degree, profile, spline, place, value)
                variance = 1.0 / iv
                if turn > 0:
                    model = 0.0
                    for i in range(n):
                        model += x[place[i]] * value[i]
                    off = pixels[y, p] - model
                    variance += softness * softness * model * model
                    if off * off > clip * clip * variance:
                        continue
                used += 1
                w = 1.0 / variance
                for i in range(n):
                    wi = w * value[i]
                    b[place[i]] += wi * pixels[y, p]
                    for j in range(n):
                        a[place[i], place[j]] += wi * value[j]
        if used < _LEAST * nfun:
            return
        scale = 0.0
        for i in range(nfun):
            scale = max(scale, a[i, i])
        for i in range(nfun):
            a[i, i] += 1e-6 * scale
            x[i] = b[i]
        if not _cholesky(a, x, nfun):
            return
    for y in range(y0, y1):
        t = (y - middle) / half
        share = 1.0 - abs(t)
        for p in range(low[y], high[y]):
            n = _terms(p - centre[y], reach, t, degree, profile, spline, place, value)
            model = 0.0
            for i in range(n):
                model += x[place[i]] * value[i]
            light[y, p] += _F(share * model)
            weight[y, p] += _F(share)


@jit
def _trace(
    pixels: Array, ivar: Array, centre: Array, low: Array, high: Array, length: int, reach: float, degree: int, profile: bool, softness: float,
    clip: float, rounds: int, light: Array, weight: Array,
) -> None:  # fmt: skip
    ny = pixels.shape[0]
    step = max(length // 2, 1)
    for y0 in range(-step, ny - step // 2, step):
        _one(
            pixels, ivar, centre, low, high, max(y0, 0), min(y0 + length, ny), reach, degree, profile, softness, clip, rounds, light, weight
        )


@jit
def _divide(light: Array, weight: Array) -> None:
    for y in range(light.shape[0]):
        for p in range(light.shape[1]):
            light[y, p] = light[y, p] / weight[y, p] if weight[y, p] > _F(1e-3) else np.nan


def smooth_light(
    pixels: Array, ivar: Array, centre: Array, low: Array, high: Array, *, length: int, reach: float, degree: int, profile: bool,
    softness: float = 0.02, clip: float = 4.0, rounds: int = 3,
) -> Array:  # fmt: skip
    """The smooth light [ny, nx] float32, NaN where no trace has a pixel, or too few are usable.

    `centre` [ntrace, ny] float64 pixel; the pixels low <= x < high (int64, [ntrace, ny]) of a row belong to a trace, at most `reach` from it.
    `length`: rows of a stretch; `degree` of the polynomial along it; `profile`: a profile across, else a constant; `softness`: error of the model, as
    a part of the light; `clip`: pixels farther off, sigma, are left out, in `rounds` rounds.
    """
    light, weight = (np.zeros(pixels.shape, np.float32) for _ in range(2))

    def one(i: int) -> None:
        _trace(pixels, ivar, centre[i], low[i], high[i], length, reach, degree, profile, softness, clip, rounds, light, weight)

    run_tasks(one, range(len(centre)))
    _divide(light, weight)
    return light


@jit
def add_ratio(pixels: Array, ivar: Array, light: Array, least: Any, total: Array, weights: Array) -> None:
    """Add pixels over light to `total`, weighted, and the weights light^2 ivar; where light is above `least` and the pixel is usable."""
    for y in range(pixels.shape[0]):
        for p in range(pixels.shape[1]):
            smooth = light[y, p]
            if ivar[y, p] > 0 and smooth > least:
                w = smooth * smooth * ivar[y, p]
                total[y, p] += w * pixels[y, p] / smooth
                weights[y, p] += w
