"""Traces on the rows of the detector: the series against wavelength are inverted, y(wavelength) = row, at every 32nd row.

Between these knots wavelength and x follow the cubic through values and derivatives of both ends (Hermite). With traces as smooth as those
of a spectrograph the difference from the exact inversion is below 1e-6 Angstrom and 1e-6 pixel.
"""

from __future__ import annotations

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


def monomials(series: Float64) -> Float64:
    """Legendre series [nfibre, n] as plain polynomials in the same variable, lowest order first."""
    n = series.shape[1]
    turn = np.zeros((n, n))
    for k in range(n):
        one = np.polynomial.legendre.leg2poly(np.eye(k + 1)[k])
        turn[k, : len(one)] = one
    return np.ascontiguousarray(series @ turn)


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
    """t in low ... high with c(t) = y, where c rises and y lies between its ends; Newton, with bisection where a step leaves the bracket."""
    t = min(max(start, low), high)
    for _ in range(60):
        v, d = _value(c, t)
        miss = v - y
        if miss > 0:
            high = t
        else:
            low = t
        following = t - miss / d if d > 0 else 2.0
        if not low <= following <= high:
            following = 0.5 * (low + high)
        if abs(following - t) < 1e-13:
            return following
        t = following
    return t


@jit
def _fill(x: Array, y: Array, sx: Array, sy: Array, middle: float, half: float, out: Any) -> int:
    """Fill the arrays of `out` (Knots); returns the number of fibres whose y does not rise with wavelength."""
    wrong = 0
    for f in range(x.shape[0]):
        low, low_slope = _value(y[f], -1.0)
        high, high_slope = _value(y[f], 1.0)
        out.first[f], out.last[f] = low, high
        if not (high > low and low_slope > 0 and high_slope > 0):
            wrong += 1
            continue
        t0, t1 = -1.0 - _MARGIN, 1.0 + _MARGIN
        if not _value(y[f], t0)[1] > 0:
            t0 = -1.0
        if not _value(y[f], t1)[1] > 0:
            t1 = 1.0
        low, high = _value(y[f], t0)[0], _value(y[f], t1)[0]
        t = t0
        for k in range(out.wave.shape[1]):
            row = float(k * STEP)
            beyond = 0.0
            if row <= low:
                t, beyond = t0, row - low
            elif row >= high:
                t, beyond = t1, row - high
            else:
                t = _solve(y[f], row, t, t0, t1)
            slope = _value(y[f], t)[1]
            value, dx = _value(x[f], t)
            out.wave[f, k] = middle + half * (t + beyond / slope)
            out.dwave[f, k] = half / slope
            out.x[f, k] = value + beyond * dx / slope
            out.dx[f, k] = dx / slope
            out.xsig[f, k] = _value(sx[f], t)[0]
            out.ysig[f, k] = _value(sy[f], t)[0]
            t += STEP / slope
    return wrong


def trace_knots(x: Float64, y: Float64, xsig: Float64, ysig: Float64, wavemin: float, wavemax: float, ny: int) -> Knots:
    """Invert the traces (Legendre series [nfibre, n], pixel) for a detector of `ny` rows. Raises ValueError where y does not rise with wavelength."""
    nfibre, nknot = x.shape[0], (ny - 1 + STEP - 1) // STEP + 1
    a, b, c, d, e, g = (np.zeros((nfibre, max(nknot, 2))) for _ in range(6))
    out = Knots(a, b, c, d, e, g, np.zeros(nfibre), np.zeros(nfibre))
    series = [monomials(np.asarray(c, np.float64)) for c in (x, y, xsig, ysig)]
    wrong = _fill(*series, 0.5 * (wavemin + wavemax), 0.5 * (wavemax - wavemin), out)
    if wrong:
        raise ValueError(f"y does not rise with wavelength in {wrong} of {nfibre} traces")
    return out


@jit
def cubic(v0: float, d0: float, v1: float, d1: float) -> tuple[float, float, float, float]:
    """Coefficients in s = (row - knot) / 32 of the cubic with values v and derivatives d (per row) at both knots."""
    a, b = d0 * STEP, d1 * STEP
    return v0, a, 3 * (v1 - v0) - 2 * a - b, 2 * (v0 - v1) + a + b
