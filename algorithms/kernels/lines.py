"""Spectral lines: cut out of an image, moved by least squares, fitted.

Profiles are Gaussians of sigma^2 + 1/12, which stand for a Gaussian integrated over pixels: for sigma of 1 pixel and more the shape differs by less
than 0.4 % of the peak, the centre by less than 0.001 pixel, sigma by less than 0.002 pixel (compared with erf in the tests).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]

PIXEL = 1.0 / 12.0
"""Variance of a pixel of width 1."""
_MODEL = 0.05
"""What a profile may differ from the Gaussian, of its peak, before a fit is called bad."""
_CONTINUUM = 0.003
"""Slope of the continuum that is expected, of the mean flux in the window and pixel; without it the slope would cost a fifth of the precision."""
_BIG = 1e30


@jit
def _solve(a: Array, b: Array, n: int) -> bool:
    """Solve a x = b in place (a symmetric positive, [n, n]); b becomes x and a its inverse. False where a is singular."""
    for k in range(n):
        if not a[k, k] > 1e-300:
            return False
    for k in range(n):  # Gauss-Jordan in place; scaled by the caller
        p = a[k, k]
        if not abs(p) > 1e-12:
            return False
        a[k, k] = 1.0
        r = 1.0 / p
        for j in range(n):
            a[k, j] *= r
        b[k] *= r
        for i in range(n):
            if i != k:
                f = a[i, k]
                a[i, k] = 0.0
                for j in range(n):
                    a[i, j] -= f * a[k, j]
                b[i] -= f * b[k]
    return True


@jit
def cut_windows(pixels: Array, ivar: Array, x: Array, slope: Array, y: Array, half_x: Any, half_y: int, flux: Array, var: Array) -> None:
    """Boxcar spectra around lines.

    x, y [nline, nfibre] float64: centre of the line, pixels; slope: dx/dy of the trace there. flux, var [nline, nfibre, 2 half_y + 1] float32 are
    filled: electrons of row rint(y) - half_y + k within x +- half_x (fractional pixels at the edges), and their variance, infinite (1e30) where a
    pixel of the row is unusable or outside.
    """
    ny, nx = pixels.shape
    nline, nfibre = x.shape
    for i in range(nline):
        for f in range(nfibre):
            row0 = math.floor(y[i, f] + 0.5) - half_y
            for k in range(2 * half_y + 1):
                row = row0 + k
                flux[i, f, k] = 0.0
                var[i, f, k] = _BIG
                centre = x[i, f] + slope[i, f] * (row - y[i, f])
                if not (row >= 0 and row < ny and centre - half_x >= 0.0 and centre + half_x <= nx - 1.0):
                    continue
                lo, hi = centre - half_x + 0.5, centre + half_x + 0.5
                j0, j1 = math.floor(lo), math.floor(hi)
                total, variance = 0.0, 0.0
                for j in range(j0, j1 + 1):
                    w = min(hi, j + 1.0) - max(lo, float(j))
                    iv = ivar[row, j]
                    if not iv > 0.0:
                        variance = _BIG
                        break
                    total += w * pixels[row, j]
                    variance += w / iv
                if variance < _BIG and abs(total) < _BIG:
                    flux[i, f, k] = total
                    var[i, f, k] = variance


@jit
def _terms(flux: Array, var: Array, centre: Any, s2: Any, lo: int, hi: int, a: Array, b: Array, out: Array) -> None:
    """One linear fit of amplitude, amplitude times shift, level and slope; out: amplitude, moved amplitude, their variances; 0 if there is none."""
    norm = 1.0 / math.sqrt(2.0 * math.pi * s2)
    a[:, :] = 0.0
    b[:] = 0.0
    good = 0
    mean = 0.0
    for k in range(lo, hi + 1):
        if var[k] < _BIG:
            z = k - centre
            g = norm * math.exp(-0.5 * z * z / s2)
            d = g * z / s2
            w = 1.0 / var[k]
            t = 0.2 * z
            mean += flux[k]
            a[0, 0] += w * g * g
            a[0, 1] += w * g * d
            a[0, 2] += w * g
            a[0, 3] += w * g * t
            a[1, 1] += w * d * d
            a[1, 2] += w * d
            a[1, 3] += w * d * t
            a[2, 2] += w
            a[2, 3] += w * t
            a[3, 3] += w * t * t
            b[0] += w * g * flux[k]
            b[1] += w * d * flux[k]
            b[2] += w * flux[k]
            b[3] += w * t * flux[k]
            good += 1
    out[:] = 0.0
    if good < 5 or good < hi - lo:  # one lost row at most
        return
    expected = 5.0 * max(_CONTINUUM * mean / good, 0.1)
    a[3, 3] += 1.0 / (expected * expected)
    scale = a[2, 2]
    for i in range(4):
        for j in range(i):
            a[i, j] = a[j, i]
    for i in range(4):
        b[i] /= scale
        for j in range(4):
            a[i, j] /= scale
    if not _solve(a, b, 4):
        return
    chi2 = 0.0
    allowed = (_MODEL * b[0] * norm) ** 2
    for k in range(lo, hi + 1):
        if var[k] < _BIG:
            z = k - centre
            g = norm * math.exp(-0.5 * z * z / s2)
            r = flux[k] - b[0] * g - b[1] * g * z / s2 - b[2] - b[3] * 0.2 * z
            chi2 += r * r / (var[k] + allowed)
    if chi2 > 6.0 * (good - 4) + 12.0 or not (a[0, 0] > 0.0 and a[1, 1] > 0.0):
        return
    out[0], out[1], out[2], out[3] = b[0], b[1], a[0, 0] / scale, a[1, 1] / scale


@jit
def shift_terms(flux: Array, var: Array, row0: Array, y: Array, sigma: Array, half: Array, out: Array) -> None:
    """What every line of every fibre says of a small shift against the places y.

    Least squares of A G(k - y) + B G'(y) + level + slope on the window, G a Gaussian of unit area and sigma [nline, nfibre]; the shift is B / A,
    but it is B and A that are to be summed over fibres, since they are unbiased where a single line is lost in the noise. flux, var [nline, nfibre,
    n], row0: row of k = 0; half [nline] rows are taken on either side. out [4, nline, nfibre]: A, B, var(A), var(B); zeros where there is no fit.
    """
    a, b, res = np.empty((4, 4)), np.empty(4), np.empty(4)
    for i in range(flux.shape[0]):
        for f in range(flux.shape[1]):
            centre = y[i, f] - row0[i, f]
            middle = math.floor(centre + 0.5)
            lo, hi = middle - half[i], middle + half[i]
            out[:, i, f] = 0.0
            if lo >= 0 and hi < flux.shape[2]:
                _terms(flux[i, f], var[i, f], centre, sigma[i, f] * sigma[i, f] + PIXEL, lo, hi, a, b, res)
                out[:, i, f] = res


@jit
def stack(flux: Array, var: Array, row0: Array, y: Array, step: Any, total: Array, weight: Array) -> None:
    """Mean profile of every line about its place y, over fibres: total and weight [nline, nbin], bins of `step` pixel around the middle bin.

    The level of a window is taken as its median, so that continuum does not count; the variance stands for the weight.
    """
    nline, nfibre, n = flux.shape
    nbin = total.shape[1]
    total[:, :] = 0.0
    weight[:, :] = 0.0
    for i in range(nline):
        for f in range(nfibre):
            level = np.median(flux[i, f])
            for k in range(n):
                v = var[i, f, k]
                if v < _BIG:
                    j = math.floor((k + row0[i, f] - y[i, f]) / step + 0.5) + nbin // 2
                    if j >= 0 and j < nbin:
                        total[i, j] += (flux[i, f, k] - level) / v
                        weight[i, j] += 1.0 / v


@jit
def _gauss_step(flux: Array, var: Array, p: Array, lo: int, hi: int, a: Array, b: Array) -> Any:
    """One Gauss-Newton step for p: flux, centre, variance of the profile, level. Gives chi2 before the step, or -1; a becomes the covariance."""
    a[:, :] = 0.0
    b[:] = 0.0
    s2 = p[2]
    norm = 1.0 / math.sqrt(2.0 * math.pi * s2)
    chi2 = 0.0
    d = np.empty(4)
    for k in range(lo, hi + 1):
        if var[k] < _BIG:
            z = k - p[1]
            g = norm * math.exp(-0.5 * z * z / s2)
            d[0] = g
            d[1] = p[0] * g * z / s2
            d[2] = 0.5 * p[0] * g * (z * z / s2 - 1.0) / s2
            d[3] = 1.0
            w = 1.0 / (var[k] + (0.01 * p[0] * norm) ** 2)
            r = flux[k] - p[0] * g - p[3]
            chi2 += r * r * w
            for i in range(4):
                b[i] += w * d[i] * r
                for j in range(i + 1):
                    a[i, j] += w * d[i] * d[j]
    size = np.empty(4)
    for i in range(4):
        if not a[i, i] > 0.0:
            return -1.0
        size[i] = math.sqrt(a[i, i])
    for i in range(4):
        b[i] /= size[i]
        for j in range(i + 1):
            a[i, j] /= size[i] * size[j]
            a[j, i] = a[i, j]
    if not _solve(a, b, 4):
        return -1.0
    for i in range(4):
        b[i] /= size[i]
        for j in range(4):
            a[i, j] /= size[i] * size[j]
    return chi2


@jit
def fit_lines(flux: Array, var: Array, row0: Array, y: Array, sigma: Array, half: int, out: Array) -> None:
    """Gaussian with a level, fitted to every line of every fibre.

    As `shift_terms`, but not linear, for lines well above the noise; starts at y and sigma, takes `half` rows on either side, allows 1 % of the
    peak as error of the model. out [6, nline, nfibre]: flux, shift against y, its error, sigma without the pixel, its error, chi2 per degree of
    freedom; flux 0 where the fit has failed or has left the window.
    """
    a, b, p = np.empty((4, 4)), np.empty(4), np.empty(4)
    for i in range(flux.shape[0]):
        for f in range(flux.shape[1]):
            out[:, i, f] = 0.0
            centre = y[i, f] - row0[i, f]
            lo = max(0, math.floor(centre + 0.5) - half)
            hi = min(flux.shape[2] - 1, math.floor(centre + 0.5) + half)
            if hi - lo < 2 * half:
                continue
            _fit_one(flux[i, f], var[i, f], centre, sigma[i, f] ** 2 + PIXEL, lo, hi, a, b, p, out[:, i, f])


@jit
def _fit_one(flux: Array, var: Array, centre: Any, s2: Any, lo: int, hi: int, a: Array, b: Array, p: Array, out: Array) -> None:
    good, top, bottom = 0, -_BIG, _BIG
    for k in range(lo, hi + 1):
        if var[k] < _BIG:
            good += 1
            top, bottom = max(top, flux[k]), min(bottom, flux[k])
    if good < hi - lo or top <= bottom:  # one lost row at most
        return
    p[0], p[1], p[2], p[3] = (top - bottom) * math.sqrt(2.0 * math.pi * s2), centre, s2, bottom
    chi2 = -1.0
    for _ in range(12):
        chi2 = _gauss_step(flux, var, p, lo, hi, a, b)
        if chi2 < 0.0:
            return
        p[0] += b[0]
        p[1] += min(max(b[1], -0.7), 0.7)
        p[2] = min(max(p[2] + b[2], 0.5 * p[2]), 2.0 * p[2])
        p[3] += b[3]
        if not (abs(p[1] - centre) < 3.0 and p[2] > 0.2 and p[2] < 9.0):
            return
        if abs(b[1]) < 1e-4 and abs(b[2]) < 1e-4 * p[2]:
            break
    chi2 = _gauss_step(flux, var, p, lo, hi, a, b)
    if chi2 < 0.0 or not (p[0] > 0.0 and p[2] > PIXEL):
        return
    s = math.sqrt(p[2] - PIXEL)
    out[0], out[1], out[2] = p[0], p[1] - centre, math.sqrt(a[1, 1])
    out[3], out[4], out[5] = s, 0.5 * math.sqrt(a[2, 2]) / s, chi2 / (good - 4)
