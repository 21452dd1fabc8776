"""Where traces lie across the dispersion, and smooth models of shifts over fibres and wavelength."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.lines import PIXEL
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_ROUNDS = 9
_LIGHT = 0.1
"""What fibres may differ in throughput."""
_MODEL = 0.08
"""What a profile may differ from the Gaussian, of its peak, before a sample is called bad: wings, neighbours."""


@jit
def cross_profile(pixels: Array, ivar: Array, x: Array, row: Array, step: Any, total: Array) -> None:
    """Mean cross-dispersion profile about the traces: total [nbin], bins of `step` pixel around the middle bin.

    x, row [nsample, nfibre]. Each sample is a window of pixels as wide as `total`, less its lowest value, and counts with its sum up to a limit, so
    that neither a star nor a cosmic ray is the profile.
    """
    ny, nx = pixels.shape
    nbin = total.shape[0]
    reach = int(nbin // 2 * step)
    weight = np.zeros(nbin)
    total[:] = 0.0
    for i in range(x.shape[0]):
        for f in range(x.shape[1]):
            r, j = row[i, f], math.floor(x[i, f] + 0.5)
            if not (r >= 0 and r < ny and j - reach >= 0 and j + reach < nx):
                continue
            low, size, good = 1e30, 0.0, True
            for k in range(j - reach, j + reach + 1):
                good = good and ivar[r, k] > 0.0
                low = min(low, pixels[r, k])
                size += pixels[r, k]
            size -= low * (2 * reach + 1)
            if not (good and size < 1e30):
                continue
            scale = 1.0 / max(size, 1000.0) + 1.0 / 1000.0
            for k in range(j - reach, j + reach + 1):
                b = math.floor((k - x[i, f]) / step + 0.5) + nbin // 2
                if b >= 0 and b < nbin:
                    total[b] += (pixels[r, k] - low) * scale
                    weight[b] += 1.0
    for b in range(nbin):
        total[b] = total[b] / weight[b] if weight[b] > 0.0 else 0.0


@jit
def cross_terms(pixels: Array, ivar: Array, x: Array, row: Array, sigma: Array, half: int, noise2: Any, out: Array) -> None:
    """What each sample of each trace says of a small shift in x.

    x, row (int), sigma [nsample, nfibre]; least squares of A P + B P' + level on 2 half + 1 pixels of the row, P a Gaussian of unit area (as in
    `algorithms.kernels.lines`), all pixels with the same weight: with weights from the counts a bright pixel would pull the fit. out [3, nsample,
    nfibre]: A, B, variance of B; zeros where a pixel is unusable or the profile is something else (cosmic ray, saturation).
    """
    ny, nx = pixels.shape
    e = np.empty(2 * half + 1)
    d = np.empty(2 * half + 1)
    for i in range(x.shape[0]):
        for f in range(x.shape[1]):
            out[0, i, f] = out[1, i, f] = out[2, i, f] = 0.0
            r, c = row[i, f], x[i, f]
            j = math.floor(c + 0.5)
            if not (r >= 0 and r < ny and j - half >= 0 and j + half < nx):
                continue
            s2 = sigma[i, f] * sigma[i, f] + PIXEL
            norm = 1.0 / math.sqrt(2.0 * math.pi * s2)
            z = j - half - c
            g = norm * math.exp(-0.5 * z * z / s2)
            ratio, q = math.exp(-(z + 0.5) / s2), math.exp(-1.0 / s2)
            n = 2.0 * half + 1.0
            p1 = d1 = pp = pd = dd = fp = fd = f1 = 0.0
            good = True
            for k in range(2 * half + 1):  # Gaussians at unit steps by recurrence: three exponentials in all
                v = pixels[r, j - half + k]
                good = good and ivar[r, j - half + k] > 0.0
                dz = g * (z + k) / s2
                e[k], d[k] = g, dz
                p1 += g
                d1 += dz
                pp += g * g
                pd += g * dz
                dd += dz * dz
                fp += g * v
                fd += dz * v
                f1 += v
                g *= ratio
                ratio *= q
            if not (good and abs(f1) < 1e30):
                continue
            pp, pd, dd, fp, fd = pp - p1 * p1 / n, pd - p1 * d1 / n, dd - d1 * d1 / n, fp - p1 * f1 / n, fd - d1 * f1 / n
            det = pp * dd - pd * pd
            amp, moved = (fp * dd - fd * pd) / det, (fd * pp - fp * pd) / det
            level = (f1 - amp * p1 - moved * d1) / n
            chi2 = 0.0
            extra = (_MODEL * amp * norm) ** 2
            var = 0.0
            for k in range(2 * half + 1):
                res = pixels[r, j - half + k] - level - amp * e[k] - moved * d[k]
                v = noise2 + max(level, 0.0) + max(amp * e[k], 0.0)
                chi2 += res * res / (v + extra)
                h = ((d[k] - d1 / n) * pp - (e[k] - p1 / n) * pd) / det
                var += h * h * v
            if chi2 < 6.0 * (n - 3.0) + 12.0:
                out[0, i, f], out[1, i, f], out[2, i, f] = amp, moved, var


def _sums(values: Array, starts: Array) -> Array:
    """Sums over groups of fibres (last axis)."""
    return np.asarray(np.add.reduceat(values, starts, axis=-1))


def group_shifts(amp: Array, moved: Array, var: Array, starts: Array, floor: float) -> tuple[Array, Array]:
    """Shift and its error of groups of fibres, from amplitude A and moved amplitude B of every fibre, [nline, nfibre] -> [nline, ngroup].

    Sum of w A B over sum of w A^2, w = 1 / (var + (floor A)^2), where fibres further than 4 sigma from their group, begun from the median of the
    clear ones, are left out; NaN and infinity where nothing is left. `floor` pixel: what a single fibre may differ. In the noise errors of A would
    meet themselves in A^2, and those of B in A B: then A must be an amplitude that is expected (`expected_light`).
    """
    safe = var > 0
    total = np.where(safe, var + (floor * amp) ** 2, 1.0)
    w = np.where(safe, 1.0 / total, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        clear = safe & (amp > 5.0 * np.sqrt(total))
        single = np.where(clear, moved / amp, np.nan)
        start = np.stack([_median(single[:, a:b]) for a, b in zip(starts, [*starts[1:], amp.shape[1]], strict=True)], axis=1)
        known = np.isfinite(start)
        shift = np.where(known, start, _sums(w * amp * moved, starts) / _sums(w * amp * amp, starts))
        widths = np.diff([*starts, amp.shape[1]])
        for limit in (5.0, 4.0, 4.0):
            each = np.repeat(shift, widths, axis=1)
            kept = w * (np.abs(moved - amp * each) < limit * np.sqrt(total))
            weight = _sums(kept * amp * amp, starts)
            shift = _sums(kept * amp * moved, starts) / weight
        return shift, np.where(weight > 0, 1.0 / np.sqrt(weight), np.inf)


def expected_light(amp: Array, var: Array, starts: Array) -> tuple[Array, Array, Array]:
    """Amplitude that is expected of every fibre [nline, nfibre] from those that were measured, their mean for the line [nline], and its error.

    Fibres that stand out of the noise have their own; others the mean of their group, and that where it is uncertain the mean of the line, as if
    fibres and groups differed by a tenth. var: of amp, zero where there is no measurement.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.where(var > 0, 1.0 / var, 0.0)
        weight = np.sum(w, axis=1, keepdims=True)
        line = np.where(weight > 0, np.sum(w * amp, axis=1, keepdims=True) / weight, 0.0)
        stiff = np.where(line != 0, 1.0 / (_LIGHT * line) ** 2, 0.0)
        group = (_sums(w * amp, starts) + stiff * line) / (_sums(w, starts) + stiff)
        each = np.repeat(group, np.diff([*starts, amp.shape[1]]), axis=1)
        fibre = (w * amp + stiff * each) / (w + stiff)
        error = np.where(weight > 0, 1.0 / np.sqrt(weight), np.inf)
    return np.where(var > 0, fibre, 0.0), line[:, 0], error[:, 0]


def _median(values: Array) -> Array:
    """Median of the finite values over the last axis where there are three or more, else NaN."""
    count = np.isfinite(values).sum(axis=-1)
    ordered = np.sort(values, axis=-1)  # NaN last
    at = np.maximum(count - 1, 0)
    rows = np.arange(len(values))
    middle = 0.5 * (ordered[rows, at // 2] + ordered[rows, (at + 1) // 2])
    return np.where(count >= 3, middle, np.nan)


def powers(degree_u: int, degree_t: int, total: int) -> list[tuple[int, int]]:
    """Exponents (i, j) of u^i P_j(t) up to the degrees in each and in all."""
    return [(i, j) for j in range(degree_t + 1) for i in range(degree_u + 1) if i + j <= total]


def design(u: Array, t: Array, terms: list[tuple[int, int]]) -> Array:
    """u^i P_j(t) of samples [n] for the terms: [n, nterm]."""
    legendre = np.polynomial.legendre.legvander(t, max(j for _, j in terms))
    return np.stack([u**i * legendre[:, j] for i, j in terms], axis=1)


@dataclass(frozen=True, slots=True)
class SmoothFit:
    """A smooth model of shifts: `model` [ni, nj] as in `AxisShift`, scatter about it, error of its mean, weights of the groups."""

    model: Array
    rms: float
    error: float
    kept: Array


def fit_smooth(
    u: Array, t: Array, shift: Array, error: Array, group_error: Array, terms: list[tuple[int, int]], prior: Array
) -> SmoothFit | None:
    """Low-order model of shifts [ngroup, nu], each with its own error and one common to its group (a line whose wavelength is uncertain).

    u [nu], t [ngroup]. Ridge regression: coefficients have `prior` as sigma (infinite: free), offsets of the groups have `group_error` and are
    eliminated. Robust in two ways: single samples are weighted by Huber's function, groups that lie off the others lose weight as 1 / (1 +
    (z/2.5)^4). None where there are too few samples.
    """
    ok = np.isfinite(shift) & np.isfinite(error)
    if ok.sum() < 3:
        return None
    n, m = shift.shape
    basis = design(np.tile(u, n), np.repeat(t, m), terms).reshape(n, m, -1)
    value = np.where(ok, shift, 0.0)
    inverse = np.where(ok, 1.0 / np.where(ok, error, 1.0) ** 2, 0.0)
    ridge = np.diag(1.0 / prior**2)
    weight, group_weight = inverse.copy(), np.ones(n)
    for step in range(_ROUNDS):
        w = weight * group_weight[:, None]
        share = 1.0 / (w.sum(axis=1) + 1.0 / group_error**2)
        wb = w[:, :, None] * basis
        sums, level = wb.sum(axis=1), (w * value).sum(axis=1)
        normal = wb.reshape(n * m, -1).T @ basis.reshape(n * m, -1) - (sums * share[:, None]).T @ sums + ridge
        solution = np.linalg.solve(normal, np.einsum("gmk,gm->k", wb, value) - sums.T @ (share * level))
        fitted = basis @ solution
        residual = value - fitted - (share * (level - sums @ solution))[:, None]
        z = np.abs(residual) * np.sqrt(inverse)
        weight = inverse * np.where(z < 2.0, 1.0, 2.0 / np.maximum(z, 2.0))
        group_weight = _group_weights(value - fitted, weight, group_error, 6.0 if step < 2 else 2.5)
    model = np.zeros((max(i for i, _ in terms) + 1, max(j for _, j in terms) + 1))
    for (i, j), coefficient in zip(terms, solution, strict=True):
        model[i, j] = coefficient
    side = np.linspace(-1.0, 1.0, 21)
    mean = design(np.tile(side, 21), np.repeat(0.9 * side, 21), terms).mean(axis=0)
    spread = float(np.sqrt(mean @ np.linalg.inv(normal) @ mean))
    rms = float(np.sqrt(np.sum(w * residual**2) / np.sum(w))) if w.any() else math.inf
    return SmoothFit(model, rms, spread, group_weight)


def _group_weights(offset: Array, weight: Array, group_error: Array, limit: float) -> Array:
    """Weights of the groups, from how far the mean offset of each lies from the model in units of its error."""
    total = weight.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    z = np.abs((weight * offset).sum(axis=1) / safe) / np.sqrt(group_error**2 + 1.0 / safe)
    return np.where(total > 0, 1.0 / (1.0 + (z / limit) ** 4), 0.0)
