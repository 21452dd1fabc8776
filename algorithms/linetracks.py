"""Lines of an arc before their wavelengths are known: found in one fibre, and followed from fibre to fibre."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from quicklook.ccd.image import Image
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.core.errors import BadData

Array = npt.NDArray[Any]

_HALF = 5
_SEARCH = 12
_STACK = 8
_SIGMA = 1.2
_MAX_LINES = 90
_WINDOW = 3.0
_SLIT_WINDOW = 5.0


@dataclass(frozen=True, slots=True)
class Tracks:
    """Lines followed over the fibres, [nline, nfibre]: `y` row (predicted where not `good`) and `error`, `sigma` pixel, `flux` electron.

    `reference`: the fibre in which they were found; `height` [nline]: their peaks there, in the stack around it.
    """

    y: Array
    error: Array
    sigma: Array
    flux: Array
    good: Array
    reference: int
    height: Array


def follow_lines(image: Image, traces: PixelTraces, least: float) -> Tracks:
    """Find lines `least` sigma above the noise, around the middle of the slit, and follow them to all others. Raises BadData for fewer than two."""
    work = _Lines(image, traces)
    y, height = work.find(least)
    if len(y) < 2:
        raise BadData(f"camera {image.camera}: {len(y)} lines stand out of the spectra of this arc; check lamps and exposure time")
    return work.follow(y, height)


class Fit(NamedTuple):
    """Lines fitted in one fibre, [nline]: flux in electron, width (sigma) and error of the place in pixel."""

    flux: Array
    width: Array
    error: Array


class _Lines:
    def __init__(self, image: Image, traces: PixelTraces) -> None:
        from algorithms.kernels import identify, peaks, tracing

        self.k, self.fit, self.peaks = identify, tracing, peaks
        self.camera, self.lit = image.camera, np.flatnonzero(traces.lit)
        rows = np.arange(image.shape[0])
        x = np.ascontiguousarray(traces.at_rows(traces.x, rows))
        if traces.slit:
            width = traces.xsig[:, 0] * math.sqrt(12.0)
            half = np.minimum(0.5 * width, _SLIT_WINDOW)
        else:
            half = np.full(traces.nfibre, min(_WINDOW, 0.45 * _pitch(x)))
        self.flux, self.var = np.empty(x.shape), np.empty(x.shape)
        self.k.spectra(image.pixels, image.ivar, x, half, self.flux, self.var)
        self.n, self.ny = x.shape
        known = np.isfinite(self.var)
        self.clean = np.ascontiguousarray(np.nan_to_num(_without_continuum(np.where(known, self.flux, np.nan))))
        noise = np.sqrt(np.where(known, self.var, 1.0))
        # what is correlated: lines, compressed so that a few bright ones do not decide alone
        self.pattern = np.arcsinh(np.clip(self.clean, 0.0, None) / (5.0 * np.median(noise, axis=1, keepdims=True)))
        self.reference = self._reference()

    def _reference(self) -> int:
        """The lit fibre with usable rows nearest to the middle of the slit, and at least as bright as half of the lit ones."""
        light = np.array([np.sum(self.pattern[f]) * np.isfinite(self.var[f]).mean() for f in self.lit])
        if not len(light) or not light.max() > 0:
            raise BadData(f"camera {self.camera}: there are no lines in this arc; check the lamps")
        bright = self.lit[light >= np.median(light)]
        return int(bright[np.argmin(np.abs(bright - 0.5 * (self.n - 1)))])

    def shift(self, a: int, b: int, guess: float) -> float:
        """How far the lines of fibre b lie above those of fibre a, pixel."""
        out = np.empty(2 * _SEARCH + 1)
        first = round(guess) - _SEARCH
        self.k.correlate(self.pattern[a], self.pattern[b], first, out)
        i = int(np.argmax(out))
        if not (0 < i < len(out) - 1 and out[i] > 0):
            return guess
        curve = out[i - 1] - 2.0 * out[i] + out[i + 1]
        return first + i + (0.5 * (out[i - 1] - out[i + 1]) / curve if curve < 0 else 0.0)

    def find(self, least: float) -> tuple[Array, Array]:
        """Rows and heights of the lines of the reference fibre, from the median of fibres around it."""
        r = self.reference
        at = int(np.flatnonzero(self.lit == r)[0])
        around = self.lit[max(0, at - _STACK) : at + _STACK + 1]
        rows = np.arange(self.ny)
        moved, noise = [], []
        for f in around:
            s = 0.0 if f == r else self.shift(r, int(f), 0.0)
            moved.append(np.interp(rows + s, rows, np.where(np.isfinite(self.var[f]), self.clean[f], np.nan)))
            noise.append(self.var[f])
        several = np.stack(moved).T
        stack = np.where(np.isfinite(several).any(axis=1), _quiet_median(several), np.nan) if len(moved) > 2 else moved[len(moved) // 2]
        variance = np.median(np.stack(noise), axis=0) / max(1.0, 0.6 * len(noise))
        floor = 1e-3 * float(np.nanpercentile(np.abs(stack), 99.9))
        y, height = self.peaks.peaks(stack, np.sqrt(variance), floor, least)
        inside = (y > _HALF) & (y < self.ny - 1 - _HALF)
        y, height = y[inside], height[inside]
        chosen = np.sort(np.argsort(-height)[:_MAX_LINES])
        return y[chosen], height[chosen]

    def follow(self, y: Array, height: Array) -> Tracks:
        """From the reference outwards, each fibre from the one before it."""
        shape = (len(y), self.n)
        values = {k: np.full(shape, np.nan) for k in ("y", "error", "sigma", "flux")}
        good = np.zeros(shape, bool)
        r, width = self.reference, np.full(len(y), _SIGMA)
        for _ in range(3):
            at, fit, ok = self._measure(r, y, width)
            width = np.where(ok, fit.width, np.median(fit.width[ok]) if ok.any() else _SIGMA)
            y = np.where(ok, at, y)
        for direction in (1, -1):
            previous, now, own = r, y.copy(), width.copy()
            for f in range(r, self.n if direction > 0 else -1, direction):
                step = 0.0
                if f != r and f in self.lit:
                    step = self.shift(previous, f, 0.0)
                at, fit, ok = self._measure(f, now + step, own)
                values["y"][:, f], values["flux"][:, f], values["sigma"][:, f] = at, fit.flux, fit.width
                values["error"][:, f] = np.where(ok, fit.error, math.inf)
                good[:, f] = ok
                if ok.sum() >= 2:
                    previous, now = f, at
                    own = np.where(ok, 0.8 * own + 0.2 * fit.width, own)
        return Tracks(**values, good=good, reference=r, height=height)

    def _measure(self, f: int, y: Array, sigma: Array) -> tuple[Array, Fit, Array]:
        """Places of the lines of a fibre, each fitted with its neighbours taken off; the fit; which are good. The others are moved as these are."""
        flux, shift, width, error, chi2 = (np.empty(len(y)) for _ in range(5))
        self.fit.fit_profiles(self.clean[f], self.var[f], y, sigma, _HALF, flux, shift, width, error, chi2)
        error *= np.sqrt(np.clip(chi2, 1.0, 25.0))  # a profile that is no Gaussian is measured no better than that
        inside = (y > _HALF) & (y < self.ny - 1 - _HALF)
        good = (flux > 0) & (error < 0.25) & (np.abs(shift) < 1.4) & (width > 0.3) & inside
        common = _line(y / self.ny, shift, good)
        good &= np.abs(shift - common) < np.maximum(0.7, 5.0 * error)
        return np.where(good, y + shift, y + common), Fit(flux, width, error), good


def _pitch(x: Array) -> float:
    middle = np.sort(x[:, x.shape[1] // 2])
    return float(np.median(np.diff(middle))) if len(middle) > 1 else 20.0


def _without_continuum(flux: Array, block: int = 64) -> Array:
    """Spectra [nfibre, ny] less the medians of blocks of rows, with straight lines between them."""
    ny = flux.shape[1]
    n = max(2, ny // block)
    edges = np.linspace(0, ny, n + 1).astype(int)
    with np.errstate(all="ignore"):
        level = np.stack([_quiet_median(flux[:, a:b]) for a, b in itertools.pairwise(edges)], axis=1)
    centre = 0.5 * (edges[:-1] + edges[1:] - 1)
    rows = np.arange(ny)
    return np.stack([one - np.interp(rows, centre, np.nan_to_num(lv)) for one, lv in zip(flux, level, strict=True)])


def _quiet_median(values: Array) -> Array:
    """Median over the last axis of what is finite; 0 where nothing is."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    low, high = ordered[rows, np.maximum(count - 1, 0) // 2], ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]
    return np.where(count > 0, 0.5 * (low + high), 0.0)


def _line(t: Array, value: Array, good: Array) -> Array:
    """A robust straight line through good values; a constant where there are few."""
    if good.sum() < 2:
        return np.zeros(len(t))
    use = good.copy()
    fit = np.array([float(np.median(value[good]))])
    if good.sum() >= 6:
        for _ in range(4):
            fit = np.polynomial.polynomial.polyfit(t[use], value[use], 1)
            rest = np.abs(value - np.polynomial.polynomial.polyval(t, fit))
            new = good & (rest < max(0.05, 4.0 * 1.4826 * float(np.median(rest[use]))))
            if new.sum() < 4:
                break
            use = new
    return np.asarray(np.polynomial.polynomial.polyval(t, fit))
