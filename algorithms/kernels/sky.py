"""The spectrum of the sky from many fibres, each with its own wavelengths and its own line-spread function.

The sky S at a reference resolution is a quintic B-spline with equal knots of less than a pixel. A fibre whose line-spread function has the
variance v (that of the pixel included) sees exp(dv/2 d2/dw2) S, dv = v - v_ref: S convolved with a Gaussian of variance dv, which may be
negative where the reference is broader. Since S is a polynomial of degree five between knots, the series

    S + (dv/2) S'' + (dv/2)^2 S''''/2

is complete and costs as much as S itself. The coefficients follow from weighted least squares over all pixels of the sky fibres: the
normal matrix has six bands, is kept for each fibre apart, and the model without one of the fibres is one banded solution more.

Numbers: float64 throughout, but for the spectra themselves (float32). The slow reference of the tests (dense least squares with scipy's
B-splines and derivatives) is met to 1e-9 of the largest value.
"""

from __future__ import annotations

from math import comb, factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_MOST = 0.5
"""Largest broadening, in units of 2 step^2: a difference of one pixel^2 in variance."""
_PIXEL = 1.0 / 12.0
_T, _S, _V, _R = _F(2), _F(6), _F(20), _F(3)
ORDER = 6
"""Coefficients in the support of a point: degree + 1."""


def _pieces() -> Array:
    """M [6, 6]: basis function m on its part of the interval is sum_p M[m, p] t^p, t = 0 ... 1 (uniform B-splines)."""
    n = ORDER - 1
    out = np.zeros((ORDER, ORDER))
    for m in range(ORDER):
        shift = n - m  # how far the interval lies inside the support of this basis function
        for k in range(shift + 1):
            for p in range(ORDER):
                out[m, p] += (-1) ** k * comb(n + 1, k) * comb(n, p) * float(shift - k) ** (n - p)
    return out / factorial(n)


PIECES = _pieces()
_N = 1.0 / 120.0


@jit
def powers(t: float, s: float) -> Any:
    """Powers 0 ... 5 of t, broadened: s = dv / (2 step^2)."""
    t2 = t * t
    t3 = t2 * t
    half = 0.5 * s * s
    return (1.0, t, t2 + 2.0 * s, t3 + 6.0 * s * t, t2 * t2 + 12.0 * s * t2 + 24.0 * half, t2 * t3 + 20.0 * s * t3 + 120.0 * half * t)


@jit
def basis(t: float, s: float) -> Any:
    """The six basis functions at t, as a fibre of that line-spread function sees them: the rows of `PIECES`, without their zeros."""
    u0, u1, u2, u3, u4, u5 = powers(t, s)
    return (
        _N * (u0 - 5.0 * u1 + 10.0 * u2 - 10.0 * u3 + 5.0 * u4 - u5),
        _N * (26.0 * u0 - 50.0 * u1 + 20.0 * u2 + 20.0 * u3 - 20.0 * u4 + 5.0 * u5),
        _N * (66.0 * u0 - 60.0 * u2 + 30.0 * u4 - 10.0 * u5),
        _N * (26.0 * u0 + 50.0 * u1 + 20.0 * u2 - 20.0 * u3 - 20.0 * u4 + 10.0 * u5),
        _N * (u0 + 5.0 * u1 + 10.0 * u2 + 10.0 * u3 + 5.0 * u4 - 5.0 * u5),
        _N * u5,
    )


@jit
def broadenings(wave: Array, sigma: Array, step: float, reference: Array, middle: float, scale: float, s: Array) -> None:
    """dv / (2 step^2) of the samples of one spectrum [nwave], 0 where sigma is not known.

    dv is the variance of line-spread function and pixel less the reference (a cubic in (w - middle) scale), Angstrom^2.
    """
    n = wave.size
    half = 0.5 / (step * step)
    r0, r1, r2, r3 = reference[0], reference[1], reference[2], reference[3]
    for j in range(n):
        a, b = max(j - 1, 0), min(j + 1, n - 1)
        width = (0.5 if b - a == 2 else 1.0) * (wave[b] - wave[a])
        x = (wave[j] - middle) * scale
        own = np.float64(sigma[j])
        value = half * (own * own + width * width * _PIXEL - (r0 + x * (r1 + x * (r2 + x * r3))))
        value = min(max(value, -_MOST), _MOST)
        s[j] = value if own > 0.0 and own < 1e6 else 0.0


@jit
def place(
    wave: Array, sigma: Array, first: float, step: float, reference: Array, middle: float, scale: float, index: Array, t: Array, s: Array
) -> None:
    """Where each sample of spectra [n, nwave] lies on the knots: interval, fraction of it, broadening dv / (2 step^2)."""
    inverse = 1.0 / step
    for i in range(wave.shape[0]):
        broadenings(wave[i], sigma[i], step, reference, middle, scale, s[i])
        for j in range(wave.shape[1]):
            u = (wave[i, j] - first) * inverse
            k = int(u)
            index[i, j] = k
            t[i, j] = u - k


@jit
def accumulate(index: Array, t: Array, s: Array, flux: Array, weight: Array, sign: float, matrix: Array, right: Array) -> None:
    """Add a spectrum [nwave] to the normal equations: matrix [ncoef, 6] (bands: [k, d] couples k and k + d) and right side [ncoef].

    sign: 1, or -1 to take it out again.
    """
    for j in range(flux.size):
        w = np.float64(weight[j])
        if w > 0.0:
            add(matrix, right, index[j], basis(t[j], s[j]), sign * w, np.float64(flux[j]))


@jit
def add(matrix: Array, right: Array, k: int, b: Any, w: float, value: float) -> None:
    """Add one sample of weight w (negative: take it out again) with its basis functions b."""
    b0, b1, b2, b3, b4, b5 = b
    wy = w * value
    right[k] += wy * b0
    right[k + 1] += wy * b1
    right[k + 2] += wy * b2
    right[k + 3] += wy * b3
    right[k + 4] += wy * b4
    right[k + 5] += wy * b5
    w0, w1, w2, w3, w4 = w * b0, w * b1, w * b2, w * b3, w * b4
    matrix[k, 0] += w0 * b0
    matrix[k, 1] += w0 * b1
    matrix[k, 2] += w0 * b2
    matrix[k, 3] += w0 * b3
    matrix[k, 4] += w0 * b4
    matrix[k, 5] += w0 * b5
    matrix[k + 1, 0] += w1 * b1
    matrix[k + 1, 1] += w1 * b2
    matrix[k + 1, 2] += w1 * b3
    matrix[k + 1, 3] += w1 * b4
    matrix[k + 1, 4] += w1 * b5
    matrix[k + 2, 0] += w2 * b2
    matrix[k + 2, 1] += w2 * b3
    matrix[k + 2, 2] += w2 * b4
    matrix[k + 2, 3] += w2 * b5
    matrix[k + 3, 0] += w3 * b3
    matrix[k + 3, 1] += w3 * b4
    matrix[k + 3, 2] += w3 * b5
    matrix[k + 4, 0] += w4 * b4
    matrix[k + 4, 1] += w4 * b5
    matrix[k + 5, 0] += w * b5 * b5


@jit
def stiffen(matrix: Array, amount: float) -> None:
    """Add `amount` times the sum of squared third differences of the coefficients: gaps in the data are bridged smoothly."""
    d = (-1.0, 3.0, -3.0, 1.0)
    for k in range(matrix.shape[0] - 3):
        for a in range(4):
            for b in range(a, 4):
                matrix[k + a, b - a] += amount * d[a] * d[b]


@jit
def factor(matrix: Array) -> None:
    """L D L^T in place of a symmetric matrix: [k, 0] holds 1 / D_k, [k, d] holds L_{k + d, k}. A pivot that is not positive counts as infinite.

    The last five rows reach beyond the matrix: what lies there must be 0, and stays 0.
    """
    n = matrix.shape[0]
    for k in range(n - ORDER + 1):
        pivot = matrix[k, 0]
        inverse = 1.0 / pivot if pivot > 1e-300 else 0.0
        m1, m2, m3, m4, m5 = matrix[k, 1], matrix[k, 2], matrix[k, 3], matrix[k, 4], matrix[k, 5]
        l1, l2, l3, l4, l5 = m1 * inverse, m2 * inverse, m3 * inverse, m4 * inverse, m5 * inverse
        matrix[k, 0] = inverse
        matrix[k, 1], matrix[k, 2], matrix[k, 3], matrix[k, 4], matrix[k, 5] = l1, l2, l3, l4, l5
        matrix[k + 1, 0] -= l1 * m1
        matrix[k + 1, 1] -= l1 * m2
        matrix[k + 1, 2] -= l1 * m3
        matrix[k + 1, 3] -= l1 * m4
        matrix[k + 1, 4] -= l1 * m5
        matrix[k + 2, 0] -= l2 * m2
        matrix[k + 2, 1] -= l2 * m3
        matrix[k + 2, 2] -= l2 * m4
        matrix[k + 2, 3] -= l2 * m5
        matrix[k + 3, 0] -= l3 * m3
        matrix[k + 3, 1] -= l3 * m4
        matrix[k + 3, 2] -= l3 * m5
        matrix[k + 4, 0] -= l4 * m4
        matrix[k + 4, 1] -= l4 * m5
        matrix[k + 5, 0] -= l5 * m5
    for k in range(n - ORDER + 1, n):
        pivot = matrix[k, 0]
        inverse = 1.0 / pivot if pivot > 1e-300 else 0.0
        matrix[k, 0] = inverse
        for a in range(1, n - k):
            low = matrix[k, a] * inverse
            for d in range(n - k - a):
                matrix[k + a, d] -= low * matrix[k, a + d]
        for a in range(1, n - k):
            matrix[k, a] *= inverse


@jit
def solve(lower: Array, right: Array) -> None:
    """L D L^T x = right in place, with the factors of `factor`."""
    n = right.size
    y1 = y2 = y3 = y4 = y5 = 0.0  # the values before, newest first
    for k in range(n):
        y = right[k]
        if k >= ORDER - 1:
            y -= (lower[k - 5, 5] * y5 + lower[k - 4, 4] * y4 + lower[k - 3, 3] * y3 + lower[k - 2, 2] * y2) + lower[k - 1, 1] * y1
        else:
            for d in range(1, k + 1):
                y -= lower[k - d, d] * right[k - d]
        right[k] = y
        y5, y4, y3, y2, y1 = y4, y3, y2, y1, y
    for k in range(n):
        right[k] *= lower[k, 0]
    for k in range(n - 1, max(n - ORDER, -1), -1):
        for d in range(1, n - k):
            right[k] -= lower[k, d] * right[k + d]
    top = n - ORDER
    if top < 0:
        return
    y1, y2, y3, y4, y5 = right[top + 1], right[top + 2], right[top + 3], right[top + 4], right[top + 5]
    for k in range(top, -1, -1):
        y = right[k] - (lower[k, 5] * y5 + lower[k, 4] * y4 + lower[k, 3] * y3 + lower[k, 2] * y2) - lower[k, 1] * y1
        right[k] = y
        y5, y4, y3, y2, y1 = y4, y3, y2, y1, y


@jit
def inverse_bands(lower: Array, out: Array) -> None:
    """The bands of the inverse of L D L^T, from the last row upwards (Takahashi's equations)."""
    n = lower.shape[0]
    for k in range(n - 1, -1, -1):
        top = min(ORDER, n - k)
        for a in range(1, top):
            total = 0.0
            for b in range(1, top):
                low, high = min(a, b), max(a, b)
                total += lower[k, b] * out[k + low, high - low]
            out[k, a] = -total
        total = lower[k, 0]
        for b in range(1, top):
            total -= lower[k, b] * out[k, b]
        out[k, 0] = total


@jit
def polynomials(coefficients: Array, out: Array) -> None:
    """Of a spline with coefficients [ncoef] its six polynomial coefficients in every interval [ncoef - 5, 6]: the columns of `PIECES`."""
    for k in range(out.shape[0]):
        a, b, c = _N * coefficients[k], _N * coefficients[k + 1], _N * coefficients[k + 2]
        d, e, f = _N * coefficients[k + 3], _N * coefficients[k + 4], _N * coefficients[k + 5]
        out[k, 0] = a + 26.0 * b + 66.0 * c + 26.0 * d + e
        out[k, 1] = 5.0 * (e - a) + 50.0 * (d - b)
        out[k, 2] = 10.0 * (a + e) + 20.0 * (b + d) - 60.0 * c
        out[k, 3] = 10.0 * (e - a) + 20.0 * (b - d)
        out[k, 4] = 5.0 * (a + e) - 20.0 * (b + d) + 30.0 * c
        out[k, 5] = f - a + 5.0 * (b - e) + 10.0 * (d - c)


@jit
def variances(bands: Array, out: Array) -> None:
    """Mean variance of the spline in every interval, from the bands of the inverse normal matrix.

    It is largest at knots and smallest between them, by 13 % of it each way; the mean of both is right on the average.
    """
    at_knot, between = basis(0.0, 0.0), basis(0.5, 0.0)
    knot = form(bands, 0, at_knot)
    for k in range(out.size):
        middle = form(bands, k, between)
        last, knot = knot, form(bands, k + 1, at_knot) if k + 1 < out.size else knot
        out[k] = 0.25 * (last + knot) + 0.5 * middle


@jit
def form(bands: Array, k: int, b: Any) -> float:
    """b^T C b with the part of a banded matrix C that belongs to interval k."""
    total = 0.0
    for m in range(ORDER):
        total += b[m] * b[m] * bands[k + m, 0]
        for d in range(1, ORDER - m):
            total += 2.0 * b[m] * b[m + d] * bands[k + m, d]
    return total


@jit
def spline_at(pieces: Array, k: int, t: float, s: float) -> Any:
    """The spline in interval k at the fraction t, broadened by s."""
    u0, u1, u2, u3, u4, u5 = powers(t, s)
    p = pieces[k]
    return p[0] * u0 + p[1] * u1 + p[2] * u2 + p[3] * u3 + p[4] * u4 + p[5] * u5


@jit
def evaluate(
    wave: Array,
    sigma: Array,
    rows: Array,
    first: float,
    step: float,
    reference: Array,
    middle: float,
    scale: float,
    pieces: Array,
    ivar: Array,
    level: Array,
    bad_bit: Any,
    room: Any,
    out: Array,
    out_ivar: Array,
    out_mask: Array,
) -> None:
    """The model of the fibres `rows`: flux times `level` [nfibre], ivar from that of every interval (0: not known), mask.

    `pieces` and `ivar` are float32 here: a relative error of 1e-6. `room`: as of `resample.new_room`.
    """
    n, m = ivar.size, wave.shape[1]
    inverse = 1.0 / step
    s, t, index = room
    for i in rows:
        broadenings(wave[i], sigma[i], step, reference, middle, scale, s)
        for j in range(m):
            u = (wave[i, j] - first) * inverse
            k = np.int32(min(max(u, 0.0), n - 1.0))
            index[j] = k
            t[j] = np.float32(u - k)
        factor_flux = _F(level[i])
        factor_ivar = _F(1.0 / (level[i] * level[i]))
        for j in range(m):
            k, x, y = index[j], t[j], s[j]
            x2 = x * x
            x3 = x2 * x
            y2 = y * y
            p0, p1, p2, p3, p4, p5 = pieces[k, 0], pieces[k, 1], pieces[k, 2], pieces[k, 3], pieces[k, 4], pieces[k, 5]
            flux = p0 + p1 * x + p2 * (x2 + _T * y) + p3 * (x3 + _S * y * x)
            flux += p4 * (x2 * x2 + _T * _S * (y * x2 + y2)) + p5 * (x2 * x3 + _V * y * x3 + _V * _R * y2 * x)
            known = ivar[k] > _F(0) and x >= _F(0) and x <= _F(1)
            out[i, j] = factor_flux * flux if known else _F(0)
            out_ivar[i, j] = factor_ivar * ivar[k] if known else _F(0)
            out_mask[i, j] = np.uint32(0) if known else bad_bit
