"""Where traces lie on the detector at given wavelengths, and how a smooth shift is added to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData

Array = npt.NDArray[Any]

SIGMA = 1.1
"""Gaussian sigma, pixels, of profiles of which a trace set says nothing."""
GROUP = 25
"""Fibres of a group (a bundle of DESI), of which one shift is measured."""


class Places:
    """Places of all fibres at wavelengths: x, y, slope dx/dy, sigma_x, sigma_y, each [nwave, nfibre]."""

    def __init__(self, traces: TraceSet, wave: Array) -> None:
        t = traces.reduced(wave)
        n = max(c.shape[1] for c in (traces.x, traces.y, traces.xsig, traces.ysig) if c is not None)
        basis = np.polynomial.legendre.legvander(t, n - 1)
        slopes = np.stack([np.polynomial.legendre.legval(t, np.polynomial.legendre.legder(np.eye(n)[i])) for i in range(n)], axis=1)

        def at(c: Array, b: Array = basis) -> Array:
            return b[:, : c.shape[1]] @ c.T

        self.wave, self.t = wave, t
        self.x, self.y = at(traces.x), at(traces.y)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.slope = np.nan_to_num(at(traces.x, slopes) / at(traces.y, slopes), posinf=0.0, neginf=0.0)
        self.sigma_x = _sigma(traces.xsig, at, self.x.shape)
        self.sigma_y = _sigma(traces.ysig, at, self.x.shape)


def _sigma(c: Array | None, at: Any, shape: tuple[int, ...]) -> Array:
    if c is None:
        return np.full(shape, SIGMA)
    values = np.asarray(at(c))
    return np.where(np.isfinite(values) & (values > 0.3) & (values < 5.0), values, SIGMA)


def check_traces(image: Image, traces: TraceSet) -> None:
    """Raises BadData where the traces are of another detector, or hold no numbers."""
    if (traces.npix_y, traces.npix_x) != image.shape:
        ny, nx = image.shape
        raise BadData(f"camera {image.camera}: traces of {traces.npix_x} x {traces.npix_y} pixels, the image has {nx} x {ny}; certify other traces")
    if not (np.isfinite(traces.x).all() and np.isfinite(traces.y).all()):
        raise BadData(f"camera {image.camera}: the traces hold values that are no numbers; certify other traces")


def slit(traces: TraceSet) -> Array:
    """Place of every fibre along the slit, -1 ... 1 over the traces, [nfibre]."""
    middle = np.polynomial.legendre.legval(np.zeros(1), traces.x.T)[:, 0]
    low, high = float(middle.min()), float(middle.max())
    return np.asarray(2.0 * (middle - low) / (high - low) - 1.0) if high > low else np.zeros(len(middle))


def on_detector(traces: TraceSet) -> tuple[float, float]:
    """The reduced wavelengths that fall on the detector for half of the fibres or more, as (low, high)."""
    t = np.linspace(-1.0, 1.0, 201)
    y = np.polynomial.legendre.legvander(t, traces.y.shape[1] - 1) @ traces.y.T
    inside = t[((y > 0) & (y < traces.npix_y - 1)).mean(axis=1) >= 0.5]
    return (float(inside[0]), float(inside[-1])) if len(inside) > 1 else (-1.0, 1.0)


def edges(traces: TraceSet) -> tuple[Array, Array]:
    """The first and the last fibres of the bundles: those with a gap of more than 1.5 pitches, or with no fibre, before or behind them."""
    middle = np.polynomial.legendre.legval(np.zeros(1), traces.x.T)[:, 0]
    step = np.diff(middle)
    wide = step > 1.5 * np.median(step) if len(step) else np.zeros(0, bool)
    return np.flatnonzero(np.concatenate([[True], wide])), np.flatnonzero(np.concatenate([wide, [True]]))


def group_starts(nfibre: int) -> Array:
    """First fibres of the groups of which one shift is measured: 25 fibres each, less where there are few."""
    size = GROUP if nfibre >= 4 * GROUP else max(1, nfibre // 10)
    return np.arange(0, nfibre, size)


def shift_of(model: Array, u: Array, ncoef: int) -> Array:
    """The shift u^i P_j(t) as a Legendre series of every fibre, [nfibre, ncoef]."""
    out = np.zeros((len(u), max(ncoef, model.shape[1])))
    out[:, : model.shape[1]] = u[:, None] ** np.arange(model.shape[0]) @ model
    return out


def moved(traces: TraceSet, dx: Array, dy: Array) -> TraceSet:
    """Traces with a series [nfibre, n] added to x and to y."""
    return replace(traces, x=added(traces.x, dx), y=added(traces.y, dy))


def tilt_shift(traces: TraceSet, dy: Array) -> Array:
    """What a shift dy [nfibre, n] of a tilted trace adds to the x that is measured in a row, as a series [nfibre, 4].

    The light found in row y stood in row y - dy before: it lies dx - (dx/dy) dy beside the trace of that row.
    """
    t = np.linspace(-0.95, 0.95, 12)
    wave = traces.wavemin + 0.5 * (t + 1.0) * (traces.wavemax - traces.wavemin)
    extra = Places(traces, wave).slope * np.polynomial.legendre.legval(t, dy.T).T
    return np.asarray((np.linalg.pinv(np.polynomial.legendre.legvander(t, 3)) @ extra).T)


def added(a: Array, b: Array) -> Array:
    """Sum of two series [nfibre, n] of any lengths."""
    out = np.zeros((len(a), max(a.shape[1], b.shape[1])))
    out[:, : a.shape[1]] += a
    out[:, : b.shape[1]] += b
    return out
