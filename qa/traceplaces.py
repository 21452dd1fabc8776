"""Where traces lie at given wavelengths, and which lines of a list stand alone, as the QAs of widths and wavelengths need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.linelist import LineList
from quicklook.ccd.spectra import TraceSet

_EXACT = 0.05
"""Lines whose place is known worse than this (Angstrom) are neighbours, no lines of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Column `x`, row `y`, `slope` dx/dy, expected Gaussian sigma across and along (NaN: not stated), pixel, each [nwave, nfibre]."""

    x: Float64
    y: Float64
    slope: Float64
    sigma_x: Float64
    sigma_y: Float64


def places(traces: TraceSet, wave: Float64) -> Places:
    """Of all fibres at wavelengths [nwave], Angstrom."""
    t = traces.reduced(wave)
    n = max(c.shape[1] for c in (traces.x, traces.y, traces.xsig, traces.ysig) if c is not None)
    basis = np.asarray(np.polynomial.legendre.legvander(t, n - 1), np.float64)
    slopes = np.asarray(np.polynomial.legendre.legval(t, np.polynomial.legendre.legder(np.eye(n), axis=0)).T, np.float64) if n > 1 else 0.0 * basis

    def at(c: Float64, b: Float64 = basis) -> Float64:
        return np.asarray(b[:, : c.shape[1]] @ c.T)

    x, y = at(traces.x), at(traces.y)
    along = at(traces.y, slopes)
    slope = np.divide(at(traces.x, slopes), along, out=np.zeros_like(x), where=along != 0)
    unknown = np.full(x.shape, np.nan)
    sigmas = [unknown if c is None else at(c) for c in (traces.xsig, traces.ysig)]
    return Places(x=x, y=y, slope=slope, sigma_x=sigmas[0], sigma_y=sigmas[1])


def on_detector(traces: TraceSet) -> tuple[float, float]:
    """The wavelengths (Angstrom) that fall on the detector for half of the fibres or more; both NaN where there are none."""
    wave = np.linspace(traces.wavemin, traces.wavemax, 101)
    y = np.polynomial.legendre.legvander(traces.reduced(wave), traces.y.shape[1] - 1) @ traces.y.T
    inside = wave[((y > 0) & (y < traces.npix_y - 1)).mean(axis=1) >= 0.5]
    return (float(inside[0]), float(inside[-1])) if inside.size else (float("nan"), float("nan"))


def lone_lines(lines: LineList, low: float, high: float, *, reach: float, share: float) -> Raw:
    """Indices of the lines between two wavelengths whose neighbours within `reach` (Angstrom) have less than `share` of their light."""
    light = np.concatenate([[0.0], np.cumsum(lines.strength)])
    first, last = np.searchsorted(lines.wave, lines.wave - reach), np.searchsorted(lines.wave, lines.wave + reach)
    others = light[last] - light[first] - lines.strength
    return np.flatnonzero((lines.wave > low) & (lines.wave < high) & (lines.sigma < _EXACT) & (others < share * lines.strength))


def brightest(strength: Float64, wave: Float64, parts: int, each: int) -> Raw:
    """Indices, rising, of the `each` brightest lines in each of `parts` equal stretches between the first and the last wavelength."""
    if not wave.size:
        return np.zeros(0, np.int64)
    part = np.minimum((wave - wave[0]) / max(wave[-1] - wave[0], 1e-9) * parts, parts - 1).astype(np.int64)
    order = np.lexsort((-strength, part))
    rank = np.concatenate([np.arange(n) for n in np.bincount(part, minlength=parts)])
    return np.sort(order[rank < each])
