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
def solve(a: Array, b: Array, n: int) -> bool:
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
                j0, j1 = int(lo), int(hi)
                left, right = j0 + 1.0 - lo, hi - j1
                p, iv = pixels[row], ivar[row]
                good = iv[j0] > 0.0 and iv[j1] > 0.0
                total = left * p[j0] + right * p[j1]
                variance = left / iv[j0] + right / iv[j1] if good else _BIG
                for j in range(j0 + 1, j1):
                    total += p[j]
                    variance += 1.0 / iv[j] if iv[j] > 0.0 else _BIG
                if variance < _BIG and abs(total) < _BIG:
                    flux[i, f, k] = total
                    var[i, f, k] = variance


@jit
def gaussian_form(s2: Any) -> tuple[float, float, float, float]:
    """What `add_gaussian` needs of a variance: 1 / s2, the peak for unit area, exp(-1 / s2), and 5 sigma, beyond which it is cut."""
    return 1.0 / s2, 1.0 / math.sqrt(2.0 * math.pi * s2), math.exp(-1.0 / s2), 5.0 * math.sqrt(s2)


@jit
def add_gaussian(centre: Any, form: Any, lo: int, hi: int, size: Any, g: Array, slope: Any, d: Array) -> None:
    """Add a Gaussian of area `size` to g, and minus the derivative of one of area `slope` to d, on rows lo ... hi, which are g[0] ... g[hi - lo]."""
    inverse, peak, q, reach = form
    first, last = max(lo, math.ceil(centre - reach)), min(hi, math.floor(centre + reach))
    if last < first:
        return
    z = first - centre
    v = peak * math.exp(-0.5 * z * z * inverse)
    ratio = math.exp(-(z + 0.5) * inverse)
    slope *= inverse
    for k in range(first - lo, last - lo + 1):  # at unit steps by recurrence: two exponentials in all
        g[k] += size * v
        d[k] += slope * v * z
        v *= ratio
        ratio *= q
        z += 1.0


@jit
def profile(centre: Any, form: Any, lo: int, hi: int, offset: Array, ratio: Array, g: Array, d: Array) -> None:
    """A line of light 1 and its neighbours on rows lo ... hi, of one `gaussian_form`: g their Gaussians, d minus the derivative."""
    g[: hi - lo + 1] = 0.0
    d[: hi - lo + 1] = 0.0
    add_gaussian(centre, form, lo, hi, 1.0, g, 1.0, d)
    for m in range(len(offset)):
        if ratio[m] != 0.0:
            add_gaussian(centre + offset[m], form, lo, hi, ratio[m], g, ratio[m], d)


@jit
def _terms(flux: Array, var: Array, centre: Any, peak: Any, lo: int, hi: int, g: Array, d: Array, out: Array) -> None:
    """One linear fit of amplitude, amplitude times shift, level and slope; out: amplitude, moved amplitude, their variances; 0 if there is none.

    Level and slope are eliminated from the normal equations by hand: sums in variables, not in arrays, are what makes this fast.
    """
    pp = pq = p1 = pt = qq = q1 = qt = s0 = s1 = s2 = fp = fq = f0 = f1 = mean = 0.0
    good = 0
    for k in range(lo, hi + 1):
        if var[k] < _BIG:
            p, q, f = g[k - lo], d[k - lo], flux[k]
            w = 1.0 / var[k]
            t = 0.2 * (k - centre)
            wp, wq, wt = w * p, w * q, w * t
            mean += f
            pp += wp * p
            pq += wp * q
            p1 += wp
            pt += wp * t
            qq += wq * q
            q1 += wq
            qt += wq * t
            s0 += w
            s1 += wt
            s2 += wt * t
            fp += wp * f
            fq += wq * f
            f0 += w * f
            f1 += wt * f
            good += 1
    out[0] = out[1] = out[2] = out[3] = 0.0
    if good < 5 or good < hi - lo:  # one lost row at most
        return
    s2 += slope_weight(mean / good)
    inverse = 1.0 / (s0 * s2 - s1 * s1)
    pl, ps = (s2 * p1 - s1 * pt) * inverse, (s0 * pt - s1 * p1) * inverse
    ql, qs = (s2 * q1 - s1 * qt) * inverse, (s0 * qt - s1 * q1) * inverse
    a, b, c = pp - pl * p1 - ps * pt, pq - pl * q1 - ps * qt, qq - ql * q1 - qs * qt
    x, y = fp - pl * f0 - ps * f1, fq - ql * f0 - qs * f1
    det = a * c - b * b
    if not (a > 0.0 and c > 0.0 and det > 1e-12 * a * c):
        return
    amp, moved = (c * x - b * y) / det, (a * y - b * x) / det
    level = (s2 * f0 - s1 * f1) * inverse - amp * pl - moved * ql
    slope = (s0 * f1 - s1 * f0) * inverse - amp * ps - moved * qs
    chi2 = 0.0
    allowed = (_MODEL * amp * peak) ** 2
    for k in range(lo, hi + 1):
        if var[k] < _BIG:
            r = flux[k] - amp * g[k - lo] - moved * d[k - lo] - level - slope * 0.2 * (k - centre)
            chi2 += r * r / (var[k] + allowed)
    if chi2 > 6.0 * (good - 4) + 12.0:
        return
    out[0], out[1], out[2], out[3] = amp, moved, c / det, a / det


@jit
def slope_weight(mean: Any) -> Any:
    """Inverse variance of the slope over 5 rows that a continuum of this mean is expected to have."""
    expected = 5.0 * max(_CONTINUUM * mean, 0.1)
    return 1.0 / (expected * expected)


@jit
def shift_terms(
    flux: Array, var: Array, row0: Array, y: Array, sigma: Array, half: Array, first: Array, offset: Array, ratio: Array, out: Array
) -> None:
    """What every line of every fibre says of a small shift against the places y.

    Least squares of A G(k - y) + B G'(y) + level + slope on the window, G a Gaussian of unit area and sigma [nline, nfibre], with those of the
    neighbours of the line: first[i] ... first[i + 1] are the neighbours of line i, offset [nneighbour, nfibre] rows from it, ratio [nneighbour] of
    their light to its. The shift is B / A, but it is B and A that are to be summed over fibres, since they are unbiased where a single line is lost
    in the noise. flux, var [nline, nfibre, n], row0: row of k = 0; half [nline] rows are taken on either side. out [4, nline, nfibre]: A, B, var(A),
    var(B); zeros where there is no fit.
    """
    res = np.empty(4)
    g, d = np.empty(flux.shape[2]), np.empty(flux.shape[2])
    for i in range(flux.shape[0]):
        mine = ratio[first[i] : first[i + 1]]
        for f in range(flux.shape[1]):
            centre = y[i, f] - row0[i, f]
            middle = math.floor(centre + 0.5)
            lo, hi = middle - half[i], middle + half[i]
            out[:, i, f] = 0.0
            if lo >= 0 and hi < flux.shape[2]:
                form = gaussian_form(sigma[i, f] * sigma[i, f] + PIXEL)
                profile(centre, form, lo, hi, offset[first[i] : first[i + 1], f], mine, g, d)
                _terms(flux[i, f], var[i, f], centre, form[1], lo, hi, g, d, res)
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
    if not solve(a, b, 4):
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
