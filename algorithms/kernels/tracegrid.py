"""Traces on the rows of the detector: the series against wavelength are inverted, y(wavelength) = row, at every 32nd row.

Between these knots wavelength and x follow the cubic through values and derivatives of both ends (Hermite). With traces as smooth as those
of a spectrograph the difference from the exact inversion is below 1e-6 Angstrom and 1e-6 pixel.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

STEP = 32
"""Rows from knot to knot."""
_MARGIN = 0.05
"""The series are followed so far beyond their ends (reduced wavelength), because the last knot lies beyond the last row."""


class Knots(NamedTuple):
    """Traces at rows 0, 32, 64, ... up to the last row or beyond, each [nfibre, nknot] float64.

    `wave` Angstrom, `dwave` Angstrom per row, `x` pixel, `dx` pixel per row, `xsig` and `ysig` pixel. `first`, `last` [nfibre]: the rows between
    which the series are defined; a little beyond them the series are followed, farther on a straight line.
    """

    wave: Float64
    dwave: Float64
    x: Float64
    dx: Float64
    xsig: Float64
    ysig: Float64
    first: Float64
    last: Float64


@functools.lru_cache
def _turn(n: int) -> Float64:
    """Legendre polynomials as plain ones [n, n], lowest order first."""
    turn = np.zeros((n, n))
    for k in range(n):
        one = np.polynomial.legendre.leg2poly(np.eye(k + 1)[k])
        turn[k, : len(one)] = one
    turn.flags.writeable = False
    return turn


def monomials(series: Float64) -> Float64:
    """Legendre series [nfibre, n] as plain polynomials in the same variable, lowest order first."""
    return np.ascontiguousarray(series @ _turn(series.shape[1]))


@jit
def _value(c: Array, t: float) -> tuple[float, float]:
    """Polynomial and its derivative."""
    v, d = 0.0, 0.0
    for k in range(c.size - 1, -1, -1):
        d = d * t + v
        v = v * t + c[k]
    return v, d


@jit
def _solve(c: Array, y: float, start: float, low: float, high: float) -> float:
    """t in low ... high with c(t) = y, where c rises and y lies between its ends; Newton, with bisection where a step leaves the bracket.

    A step of Newton's leaves an error of the order of its square: after one below 1e-7 nothing is left to do.
    """
    t = min(max(start, low), high)
    for _ in range(60):
        v, d = _value(c, t)
        miss = v - y
        if miss > 0:
            high = t
        else:
            low = t
        following = t - miss / d if d > 0 else 2.0
        if low <= following <= high:
            if abs(following - t) < 1e-7:
                return following
        else:
            following = 0.5 * (low + high)
            if high - low < 1e-13:
                return following
        t = following
    return t


@jit
def _ends(y: Array, first: Array, last: Array, limits: Array) -> int:
    """Rows at both ends of the traces; `limits` [4, nfibre]: to where they are followed beyond, as t and as row. Returns how many y do not rise."""
    wrong = 0
    for f in range(y.shape[0]):
        low, low_slope = _value(y[f], -1.0)
        high, high_slope = _value(y[f], 1.0)
        first[f], last[f] = low, high
        wrong += 0 if high > low and low_slope > 0 and high_slope > 0 else 1
        t0, t1 = -1.0 - _MARGIN, 1.0 + _MARGIN
        t0 = t0 if _value(y[f], t0)[1] > 0 else -1.0
        t1 = t1 if _value(y[f], t1)[1] > 0 else 1.0
        limits[0, f], limits[1, f] = t0, t1
        limits[2, f], limits[3, f] = _value(y[f], t0)[0], _value(y[f], t1)[0]
    return wrong


@jit
def _values(c: Array, t: Array, v: Array) -> None:
    """Polynomials of all fibres, coefficients [n, nfibre], each at its t."""
    v[:] = c[-1]
    for k in range(c.shape[0] - 2, -1, -1):
        row = c[k]
        for f in range(t.size):
            v[f] = v[f] * t[f] + row[f]


@jit
def _values_and_slopes(c: Array, t: Array, v: Array, d: Array) -> None:
    """As `_values`, with derivatives."""
    v[:] = c[-1]
    d[:] = 0.0
    for k in range(c.shape[0] - 2, -1, -1):
        row = c[k]
        for f in range(t.size):
            d[f] = d[f] * t[f] + v[f]
            v[f] = v[f] * t[f] + row[f]


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _rows_at(y: Array, turned: Array, row: float, limits: Array, t: Array, beyond: Array, room: Array) -> None:
    """t [nfibre], first guesses, become those where y(t) = row, and `beyond` what lies beyond the range that is followed, in rows.

    Two steps of Newton's for all fibres at once, which is enough from the knot before; where it is not, one by one. `room` [4, nfibre].
    """
    start, v, d, step = room[0], room[1], room[2], room[3]
    start[:] = t
    for _ in range(2):
        _values_and_slopes(turned, t, v, d)
        for f in range(t.size):
            step[f] = (v[f] - row) / d[f]
            t[f] -= step[f]
    for f in range(t.size):
        t0, t1, low, high = limits[0, f], limits[1, f], limits[2, f], limits[3, f]
        beyond[f] = 0.0
        if row <= low:
            t[f], beyond[f] = t0, row - low
        elif row >= high:
            t[f], beyond[f] = t1, row - high
        elif not (abs(step[f]) < 1e-7 and t0 <= t[f] <= t1):
            t[f] = _solve(y[f], row, start[f], t0, t1)


@jit
def _fill(y: Array, turned: Any, middle: float, half: float, out: Any) -> int:
    """Fill the arrays of `out` (Knots) from y [nfibre, n] and `turned`: x, y, xsig, ysig, each [n, nfibre]. Returns how many y do not rise."""
    n = y.shape[0]
    tx, ty, tsx, tsy = turned
    limits, room = np.empty((4, n)), np.empty((4, n))
    wrong = int(_ends(y, out.first, out.last, limits))
    if wrong > 0:
        return wrong
    t, beyond, slope, value, dx, sx, sy = limits[0].copy(), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for k in range(out.wave.shape[1]):
        _rows_at(y, ty, float(k * STEP), limits, t, beyond, room)
        _values_and_slopes(ty, t, value, slope)
        _values_and_slopes(tx, t, value, dx)
        _values(tsx, t, sx)
        _values(tsy, t, sy)
        for f in range(n):
            inverse = 1.0 / slope[f]
            out.wave[f, k] = middle + half * (t[f] + beyond[f] * inverse)
            out.dwave[f, k] = half * inverse
            out.x[f, k] = value[f] + beyond[f] * dx[f] * inverse
            out.dx[f, k] = dx[f] * inverse
            out.xsig[f, k] = sx[f]
            out.ysig[f, k] = sy[f]
            t[f] += STEP * inverse
    return wrong


def trace_knots(x: Float64, y: Float64, xsig: Float64, ysig: Float64, wavemin: float, wavemax: float, ny: int) -> Knots:
    """Invert the traces (Legendre series [nfibre, n], pixel) for a detector of `ny` rows. Raises ValueError where y does not rise with wavelength."""
    nfibre, nknot = x.shape[0], (ny - 1 + STEP - 1) // STEP + 1
    a, b, c, d, e, g = (np.zeros((nfibre, max(nknot, 2))) for _ in range(6))
    out = Knots(a, b, c, d, e, g, np.zeros(nfibre), np.zeros(nfibre))
    series = [monomials(np.asarray(c, np.float64)) for c in (x, y, xsig, ysig)]
    turned = tuple(np.ascontiguousarray(c.T) for c in series)
    wrong = _fill(series[1], turned, 0.5 * (wavemin + wavemax), 0.5 * (wavemax - wavemin), out)
    if wrong:
        raise ValueError(f"y does not rise with wavelength in {wrong} of {nfibre} traces")
    return out


@jit
def cubic(v0: float, d0: float, v1: float, d1: float) -> tuple[float, float, float, float]:
    """Coefficients in s = (row - knot) / 32 of the cubic with values v and derivatives d (per row) at both knots."""
    a, b = d0 * STEP, d1 * STEP
    return v0, a, 3 * (v1 - v0) - 2 * a - b, 2 * (v0 - v1) + a + b
