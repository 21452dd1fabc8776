"""From identified lines in every fibre to a trace set: y and the width of lines as smooth functions over the slit and wavelength."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.ccd.spectra import TraceSet

Array = npt.NDArray[Any]
legval, legvander = np.polynomial.legendre.legval, np.polynomial.legendre.legvander

_MARGIN = 4.0
"""Rows beyond the detector up to which the domain of wavelengths reaches."""
_TERMS_X = 8


@dataclass(frozen=True, slots=True)
class Smooth:
    """A model over slit and wavelength: terms [nslit, nwave] of P_i(u) P_j(t), weight of every line [nline] and value [nline, nfibre]."""

    terms: Array
    line: Array
    used: Array

    def series(self, u: Array) -> Array:
        """Legendre series in t of every fibre, [nfibre, nwave]."""
        return np.asarray(legvander(u, self.terms.shape[0] - 1) @ self.terms)


def fit_smooth(
    u: Array, t: Array, value: Array, error: Array, floor: Array, slit: int, wave: int, expected: Array | None = None
) -> Smooth:
    """A polynomial of degree `slit` along the slit and `wave` in wavelength through value [nline, nfibre] at u [nfibre], t [nline].

    error [nline, nfibre], infinite where there is no value. `floor` [nline]: what the place of a line may be wrong in all fibres alike. Mixed terms
    have a total degree of at most the larger of both. Values beyond 5 sigma are left out; a line that lies off as a whole counts less
    (Cauchy weights on the median of its residuals). `expected` [2, wave + 1]: sigma of the terms in wavelength, those that are the same along the
    slit and those that change along it, as a prior where the lines are few; None: none.
    """
    known = np.isfinite(value) & np.isfinite(error)
    slit = min(slit, max(0, int(known.any(axis=0).sum()) - 1))
    pairs = [(i, j) for i in range(slit + 1) for j in range(wave + 1) if i + j <= max(slit, wave) or i == 0]
    bu, bt = legvander(u, slit), legvander(t, wave)
    basis = np.stack([bt[:, None, j] * bu[None, :, i] for i, j in pairs], axis=-1)
    prior = np.zeros(len(pairs)) if expected is None else np.array([1.0 / expected[min(i, 1), j] ** 2 for i, j in pairs])
    changes = np.array([i > 0 for i, _ in pairs])
    used, line = known.copy(), np.ones(len(t))
    coefficient = np.zeros(len(pairs))
    for _ in range(8):
        count = np.maximum(used.sum(axis=1, keepdims=True), 1)
        variance = np.where(known, error, 1.0) ** 2 + 1e-6
        # an error that all fibres of a line share does not get less with their number: each counts by that part of the line's weight
        mean = 1.0 / np.where(used, 1.0 / variance, 0.0).sum(axis=1, keepdims=True).clip(1e-30)
        shared = mean / (mean + floor[:, None] ** 2)
        w = np.where(used, line[:, None] / variance * shared, 0.0)
        a = basis[used]
        ww = w[used]
        h = a.T @ (a * ww[:, None])
        h[np.arange(len(pairs)), np.arange(len(pairs))] += 1e-9 * np.trace(h) / len(pairs)
        # a line that is wrong in all fibres alike says nothing wrong of changes along the slit: its lesser weight must not make the prior stronger
        h[np.arange(len(pairs)), np.arange(len(pairs))] += np.where(changes, float(np.mean(shared)), 1.0) * prior
        coefficient = np.linalg.solve(h, a.T @ (ww * value[used]))
        rest = np.where(known, value - basis @ coefficient, np.nan)
        off = np.array([np.median(r[k]) if k.any() else 0.0 for r, k in zip(rest, known, strict=True)])
        spread = np.array([1.4826 * np.median(np.abs(r[k] - o)) if k.any() else 1.0 for r, k, o in zip(rest, known, off, strict=True)])
        present = count[:, 0] > 1
        scale = max(1.4826 * float(np.median(np.abs(off[present]))) if present.any() else 0.0, 0.005)
        line = 1.0 / (1.0 + (off / (3.0 * np.maximum(scale, floor))) ** 2)
        with np.errstate(invalid="ignore"):
            used = known & (np.abs(rest - off[:, None]) < 5.0 * np.maximum(spread, 0.003)[:, None])
    terms = np.zeros((slit + 1, wave + 1))
    for (i, j), c in zip(pairs, coefficient, strict=True):
        terms[i, j] = c
    return Smooth(terms, line, used)


def best_degree(t: Array, y: Array, error: Array, most: int) -> int:
    """The degree in wavelength with which lines y [nline] at t predict each other best: least squares when each is left out in turn.

    Lines that lie off the solution of the highest degree (blends) are left out for all degrees alike: else a low degree would lose the ends of the
    detector and be praised for the rest.
    """
    highest = max(1, min(most, (len(t) - 2) // 2))
    w = 1.0 / np.maximum(error, 0.01)
    off = np.abs(y - legvander(t, highest) @ robust_series(t, y, 1.0 / w, highest)) * w
    keep = off <= max(float(np.quantile(off, 0.75)) * 2.0, 1.0)
    best, least = 1, math.inf
    for degree in range(1, highest + 1):
        a = legvander(t[keep], degree) * w[keep, None]
        rest = w[keep] * y[keep] - a @ np.linalg.lstsq(a, w[keep] * y[keep], rcond=None)[0]
        hat = np.einsum("ij,ji->i", a, np.linalg.pinv(a))
        score = float(np.sqrt(np.mean((rest / np.maximum(1.0 - hat, 0.05)) ** 2)))
        if score < 0.93 * least:
            best, least = degree, score
    return best


def robust_series(t: Array, y: Array, error: Array, degree: int) -> Array:
    """Legendre series [degree + 1] through y [n] with error [n]; what lies far off counts less (Cauchy weights)."""
    basis, weight = legvander(t, degree), np.ones(len(t))
    series: Array = np.zeros(degree + 1)
    for _ in range(10):
        w = weight / error
        series = np.linalg.lstsq(basis * w[:, None], y * w, rcond=None)[0]
        pull = (y - basis @ series) / error
        scale = max(1.4826 * float(np.median(np.abs(pull))), 0.3)
        weight = 1.0 / np.sqrt(1.0 + (pull / (2.0 * scale)) ** 2)
    return np.asarray(series)


def domain(series: Array, dispersion: float) -> tuple[float, float]:
    """Wavelengths that the detector sees: of a series [n] in rows, a little beyond its first and last row."""
    ends = legval(np.array([-1.0, 1.0]), series)
    return float(ends[0] - _MARGIN * dispersion), float(ends[1] + _MARGIN * dispersion)


def x_of_wave(traces: PixelTraces, y: Array) -> Array:
    """x as Legendre series in wavelength [nfibre, n] of traces given by row, where y [nfibre, m] are rows as series in wavelength."""
    nodes = np.cos(np.pi * (np.arange(24) + 0.5) / 24)
    rows = y @ legvander(nodes, y.shape[1] - 1).T
    reduced = 2.0 * rows / (traces.npix_y - 1) - 1.0
    # beyond the detector the traces go on straight
    x = _straight_beyond(traces.x, reduced)
    degree = max(_TERMS_X, traces.x.shape[1]) - 1
    return np.ascontiguousarray((np.linalg.pinv(legvander(nodes, degree)) @ x.T).T)


def _straight_beyond(series: Array, t: Array) -> Array:
    inside = np.clip(t, -1.0, 1.0)
    n = series.shape[1]
    value = np.stack([legval(tt, s) for tt, s in zip(inside, series, strict=True)])
    slope = np.stack([legval(tt, np.polynomial.legendre.legder(s) if n > 1 else np.zeros(1)) for tt, s in zip(inside, series, strict=True)])
    return np.asarray(value + slope * (t - inside))


def sigma_of_wave(traces: PixelTraces, y: Array) -> Array:
    """Widths across the dispersion as series in wavelength, [nfibre, 4]."""
    nodes = np.cos(np.pi * (np.arange(12) + 0.5) / 12)
    reduced = 2.0 * (y @ legvander(nodes, y.shape[1] - 1).T) / (traces.npix_y - 1) - 1.0
    width = np.stack([legval(np.clip(t, -1.0, 1.0), s) for t, s in zip(reduced, traces.xsig, strict=True)])
    return np.ascontiguousarray((np.linalg.pinv(legvander(nodes, 3)) @ width.T).T)


def trace_set(traces: PixelTraces, y: Array, ysig: Array, low: float, high: float) -> TraceSet:
    """A trace set of y and ysig [nfibre, n] in wavelength between low and high, with x and xsig of the traces."""
    return TraceSet(
        x=x_of_wave(traces, y), y=np.ascontiguousarray(y), wavemin=low, wavemax=high, npix_x=traces.npix_x, npix_y=traces.npix_y,
        fiber=traces.fiber.copy(), xsig=sigma_of_wave(traces, y), ysig=np.ascontiguousarray(ysig),
    )  # fmt: skip
