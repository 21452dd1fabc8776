"""A look at traces: whether they lie on the detector, apart from each other, with wavelengths and widths that there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.ccd.spectra import TraceSet
from quicklook.io.reviewfacts import Review, known_waves

WIDTH_RANGE, MAX_ODD_WIDTHS = (0.2, 20.0), 0.25
"""Sigma of a line or trace, pixel: none is sharper than a pixel itself (0.29), nor as wide. At its ends a series may swing out of that."""
MARGIN_PIXEL = 20.0
"""So far outside of the detector a trace may run: the first and last fibre of a spectrograph may lie half on it."""
MIN_SEPARATION = 0.5
"""Pixel between neighbouring traces: nearer ones cannot be told apart, or cross."""


def look_traces(traces: TraceSet, out: Review) -> None:
    """Course, wavelengths, distances and widths of traces over wavelength."""
    wave = np.linspace(traces.wavemin, traces.wavemax, 65)
    x, y = traces.evaluate(traces.x, wave), traces.evaluate(traces.y, wave)
    out.facts |= {"fibres": traces.nfibre, "wave": f"{traces.wavemin:.1f} to {traces.wavemax:.1f} Angstrom", "x": _range(x), "y": _range(y)}
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        out.wrong.append("its traces hold values that are not finite")
        return
    falls = ~(np.diff(y, axis=1) > 0).all(axis=1)
    out.demand(not falls.any(), f"the wavelength does not rise along y for {falls.sum()} traces (fibre {_first(traces.fiber, falls)}, ...)")
    known_waves(out, traces.wavemin, traces.wavemax)
    _on_detector(out, traces, x, y)
    _fibres_apart(out, traces.fiber, x[:, len(wave) // 2])
    for name, series in (("xsig", traces.xsig), ("ysig", traces.ysig)):
        if series is not None:
            width = traces.evaluate(series, wave)
            out.facts[f"{name}_median"] = float(np.median(width))
            (low, high), fit = WIDTH_RANGE, np.isfinite(width).all() and np.median(width) > 0
            out.demand(fit, f"its widths {name} are no positive numbers")
            odd = float(((width < low) | (width > high)).mean())
            said = f"{100 * odd:.3g} % of its widths {name} are not within {low:g} to {high:g} pixel (median {np.median(width):.3g})"
            out.demand(not fit or odd <= MAX_ODD_WIDTHS, said)


def look_pixeltraces(traces: PixelTraces, out: Review) -> None:
    """Course and distances of traces over the rows of a detector."""
    x = traces.at_rows(traces.x, np.linspace(0, traces.npix_y - 1, 65))
    out.facts |= {"fibres": traces.nfibre, "lit": int(traces.lit.sum()), "detector": f"{traces.npix_x} x {traces.npix_y}", "x": _range(x)}
    away = ((x < -MARGIN_PIXEL) | (x > traces.npix_x - 1 + MARGIN_PIXEL)).any(axis=1)
    out.demand(not away.any(), f"{away.sum()} of its traces (fibre {_first(traces.fiber, away)}, ...) lie outside of the detector")
    _fibres_apart(out, traces.fiber, x[:, x.shape[1] // 2])


def _on_detector(out: Review, traces: TraceSet, x: Float64, y: Float64) -> None:
    if not (traces.npix_x and traces.npix_y):
        out.facts["detector"] = "not stated"
        return
    out.facts["detector"] = f"{traces.npix_x} x {traces.npix_y}"
    here = (y > -0.5) & (y < traces.npix_y - 0.5)
    away = ~here.any(axis=1) | (here & ((x < -MARGIN_PIXEL) | (x > traces.npix_x - 1 + MARGIN_PIXEL))).any(axis=1)
    size = f"{traces.npix_x} x {traces.npix_y}"
    out.demand(not away.any(), f"{away.sum()} of its traces (fibre {_first(traces.fiber, away)}, ...) lie outside of a detector of {size} pixels")


def _fibres_apart(out: Review, fibre: Raw, middle: Float64) -> None:
    ordered, nearest = _one_direction(middle)
    out.facts["nearest_pixel"] = nearest if np.isfinite(nearest) else "one trace"
    out.demand(ordered, "its traces cross: they are not in order along x in the middle of the detector")
    out.demand(not ordered or nearest >= MIN_SEPARATION, f"two of its traces are {nearest:.3g} pixel apart")
    out.demand(len(np.unique(fibre)) == len(fibre), "a fibre number stands for two traces")


def _one_direction(x: Float64) -> tuple[bool, float]:
    """Whether the places of fibres [nfibre] rise, or fall, all the way; and the smallest distance of neighbours."""
    if len(x) < 2:
        return True, float("inf")
    steps = np.diff(x) if x[-1] >= x[0] else -np.diff(x)
    return bool((steps > 0).all()), float(steps.min())


def _first(fibre: Raw, which: Any) -> int:
    return int(fibre[np.argmax(which)]) if which.any() else -1


def _range(values: Float64) -> str:
    return f"{values.min():.1f} to {values.max():.1f} pixel"
