"""Profiles across traces and along lines: how bright, how far off, how wide, by linear least squares about an expected Gaussian.

The model on pixels k is A G(k) + B dG/dc + C dG/dv + level, with G a Gaussian of unit area, centre c and variance v = sigma^2 + 1/12 (a Gaussian
integrated over pixels differs from it by less than 0.4 % of its peak for sigma of a pixel and more). To first order the light lies B / A beside
the expected place, and its variance is C / A larger than expected. A, B and C are linear in the pixels, so they are summed over rows, lines and
fibres before a ratio is taken: nothing is lost in the noise, and nothing is biased by it.
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
_BIG = 1e30
_SHAPE = 0.05
"""What a profile may differ from the model, of its peak, before a fit is called bad."""


@jit
def _gaussian(centre: Any, v: Any, g: Array) -> float:
    """Gaussian of unit area on pixels 0 ... len(g) - 1, by recurrence from the first pixel within 6 sigma; gives its peak."""
    peak = 1.0 / math.sqrt(2.0 * math.pi * v)
    first = max(0, math.ceil(centre - 6.0 * math.sqrt(v)))
    g[:first] = 0.0
    z = first - centre
    value, ratio, fall = peak * math.exp(-0.5 * z * z / v), math.exp(-(z + 0.5) / v), math.exp(-1.0 / v)
    for k in range(first, g.size):
        g[k] = value
        value *= ratio
        ratio *= fall
    return peak


@jit
def fit_profile(flux: Array, var: Array, centre: Any, v: Any, out: Array, g: Array) -> None:
    """Fit flux [n] of variance var (1e30: unusable) at pixels 0 ... n - 1; out [6]: A, B, C and their variances, zeros if there is none.

    A fit with more than one unusable pixel, or a chi2 of more than 6 a degree of freedom beyond 5 % of the peak, is none. The level is eliminated
    from the normal equations by hand, the other three are solved by cofactors. g [n]: room to work in.
    """
    out[:] = 0.0
    n, good, inverse = flux.size, 0, 1.0 / v
    peak = _gaussian(centre, v, g)
    s1 = sa = sb = sc = aa = ab = ac = bb = bc = cc = f1 = fa = fb = fc = 0.0
    for k in range(n):
        if var[k] < _BIG:
            w, z = 1.0 / var[k], k - centre
            a = g[k]
            b = a * z * inverse
            c = 0.5 * a * (z * z * inverse - 1.0) * inverse
            wa, wb, wc, f = w * a, w * b, w * c, flux[k]
            s1 += w
            sa += wa
            sb += wb
            sc += wc
            aa += wa * a
            ab += wa * b
            ac += wa * c
            bb += wb * b
            bc += wb * c
            cc += wc * c
            f1 += w * f
            fa += wa * f
            fb += wb * f
            fc += wc * f
            good += 1
    if good < n - 1 or good < 6:
        return
    r = 1.0 / s1
    aa -= sa * sa * r
    ab -= sa * sb * r
    ac -= sa * sc * r
    bb -= sb * sb * r
    bc -= sb * sc * r
    cc -= sc * sc * r
    fa -= sa * f1 * r
    fb -= sb * f1 * r
    fc -= sc * f1 * r
    iaa, ibb, icc = bb * cc - bc * bc, aa * cc - ac * ac, aa * bb - ab * ab
    iab, iac, ibc = ac * bc - ab * cc, ab * bc - ac * bb, ab * ac - aa * bc
    det = aa * iaa + ab * iab + ac * iac
    if not det > 1e-9 * aa * bb * cc:
        return
    r = 1.0 / det
    light, moved, wider = (iaa * fa + iab * fb + iac * fc) * r, (iab * fa + ibb * fb + ibc * fc) * r, (iac * fa + ibc * fb + icc * fc) * r
    level = (f1 - light * sa - moved * sb - wider * sc) / s1
    if _misfit(flux, var, g, centre, inverse, level, light, moved, wider, (_SHAPE * light * peak) ** 2) > 6.0 * (good - 4) + 12.0:
        return
    out[0], out[1], out[2] = light, moved, wider
    out[3], out[4], out[5] = iaa * r, ibb * r, icc * r


@jit
def _misfit(flux: Array, var: Array, g: Array, centre: Any, inverse: Any, level: Any, light: Any, moved: Any, wider: Any, allowed: Any) -> float:
    """chi2 of a profile about its model, with `allowed` added to the variance of every pixel."""
    chi2 = 0.0
    for k in range(flux.size):
        if var[k] < _BIG:
            z = k - centre
            off = flux[k] - level - g[k] * (light + (moved * z + 0.5 * wider * (z * z * inverse - 1.0)) * inverse)
            chi2 += off * off / (var[k] + allowed)
    return chi2


@jit
def across(pixels: Array, ivar: Array, row: Array, x: Array, sigma: Array, half: int, out: Array) -> None:
    """Profiles across traces.

    pixels, ivar [ny, nx]; row [nsample, nfibre] int64, x, sigma [nsample, nfibre]: place and expected sigma there, pixel; `half` pixels are taken
    on either side. out [6, nsample, nfibre]: A, B, C (electron times pixel^0, 1, 2) and their variances; zeros where there is no fit.
    """
    ny, nx = pixels.shape
    n = 2 * half + 1
    flux, var, g, res = np.empty(n), np.empty(n), np.empty(n), np.empty(6)
    for i in range(row.shape[0]):
        for f in range(row.shape[1]):
            out[:, i, f] = 0.0
            r = row[i, f]
            if not (r >= 0 and r < ny and x[i, f] >= half and x[i, f] < nx - 1.0 - half):
                continue
            first = math.floor(x[i, f] + 0.5) - half
            for k in range(n):
                flux[k] = pixels[r, first + k]
                iv = ivar[r, first + k]
                var[k] = 1.0 / iv if iv > 0.0 and abs(flux[k]) < _BIG else _BIG
            fit_profile(flux, var, x[i, f] - first, sigma[i, f] ** 2 + PIXEL, res, g)
            out[:, i, f] = res


@jit
def along(pixels: Array, ivar: Array, y: Array, x: Array, slope: Array, sigma: Array, half_x: Any, half: int, out: Array) -> None:
    """Profiles of lines along traces, summed over x +- half_x pixel (parts of pixels at the edges).

    y, x, slope, sigma [nline, nfibre]: row and column of the line, dx/dy of the trace, expected sigma along y, pixel; `half` rows are taken on
    either side. out [6, nline, nfibre] as of `across`.
    """
    ny, n = pixels.shape[0], 2 * half + 1
    flux, var, g, res = np.empty(n), np.empty(n), np.empty(n), np.empty(6)
    for i in range(y.shape[0]):
        for f in range(y.shape[1]):
            out[:, i, f] = 0.0
            if not (y[i, f] >= half and y[i, f] < ny - 1.0 - half):
                continue
            first = math.floor(y[i, f] + 0.5) - half
            for k in range(n):
                _sum_row(pixels, ivar, first + k, x[i, f] + slope[i, f] * (first + k - y[i, f]), half_x, flux, var, k)
            fit_profile(flux, var, y[i, f] - first, sigma[i, f] ** 2 + PIXEL, res, g)
            out[:, i, f] = res


@jit
def _sum_row(pixels: Array, ivar: Array, row: int, centre: Any, half_x: Any, flux: Array, var: Array, k: int) -> None:
    """Sum of one row over centre +- half_x, and its variance, into flux[k], var[k]; 1e30 where a pixel of it cannot be used."""
    flux[k], var[k] = 0.0, _BIG
    low, high = centre - half_x + 0.5, centre + half_x + 0.5
    if not (low >= 0.5 and high <= pixels.shape[1] - 0.5):
        return
    j0, j1 = int(low), int(high)
    one = np.float32(1)
    left, right = np.float32(j0 + 1.0 - low), np.float32(high - j1)
    total, least = left * pixels[row, j0] + right * pixels[row, j1], min(ivar[row, j0], ivar[row, j1])
    for j in range(j0 + 1, j1):
        total += pixels[row, j]
        least = min(least, ivar[row, j])
    if not (least > 0.0 and abs(total) < _BIG):
        return
    variance = left / ivar[row, j0] + right / ivar[row, j1]
    for j in range(j0 + 1, j1):
        variance += one / ivar[row, j]
    flux[k], var[k] = total, variance


@jit
def in_spectra(flux: Array, ivar: Array, mask: Array, wave: Array, sigma: Array, rows: Array, lines: Array, half: int, out: Array) -> None:
    """Lines in spectra.

    flux, ivar (electron/Angstrom), mask, wave, sigma (Angstrom) [nfibre, nwave], wavelengths rising; rows [n] int64: the spectra looked at; lines
    [nline] Angstrom; `half` samples on either side. out [6, nline, n]: A (electron), B (electron Angstrom: light times shift to the red),
    C (electron Angstrom^2) and their variances; zeros where there is no fit.
    """
    size = 2 * half + 1
    value, var, g, res = np.empty(size), np.empty(size), np.empty(size), np.empty(6)
    nwave = flux.shape[1]
    for n in range(rows.size):
        f = rows[n]
        own = wave[f]
        for i in range(lines.size):
            out[:, i, n] = 0.0
            j = np.searchsorted(own, lines[i])
            if j < half + 2 or j + half + 2 >= nwave:
                continue
            step = own[j] - own[j - 1]
            place = j - 1 + (lines[i] - own[j - 1]) / step
            first = math.floor(place + 0.5) - half
            for k in range(size):
                at = first + k
                width = 0.5 * (own[at + 1] - own[at - 1])  # electrons of a sample
                usable = ivar[f, at] > 0.0 and mask[f, at] == 0 and abs(flux[f, at]) < _BIG
                value[k] = flux[f, at] * width if usable else 0.0
                var[k] = width * width / ivar[f, at] if usable else _BIG
            s = sigma[f, j] / step
            if not (s > 0.1 and s < half):
                continue
            fit_profile(value, var, place - first, s * s + PIXEL, res, g)
            for k in range(3):
                out[k, i, n] = res[k] * step**k
                out[3 + k, i, n] = res[3 + k] * step ** (2 * k)
