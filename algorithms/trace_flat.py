"""Traces from flats alone: where the light of every fibre (or aperture of a slit) lies on the detector, and how wide it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.fibrenumbers import Numbers, median_pitch, number_fibres
from algorithms.traceseries import fit_series, spread_out
from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.image import Image
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph, TraceFit
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.quantity import Unit

Array = npt.NDArray[Any]

_FIRST_SIGMA = 0.14
"""Width of a profile to begin with, in pitches."""
_NARROWEST = 2.6
"""Pixel: five pixels at least are needed for a profile, wherever it lies; light of neighbours is taken off."""
_MAX_STEP = 0.5
_OFF = 0.3
"""A fibre that moves so much otherwise than its neighbours from block to block, pixel, was not measured well."""


class TraceFlatParams(Params):
    """Parameters of `trace_flat`."""

    rows: int = Field(8, ge=1, le=64, description="rows that are put together before traces are measured")
    start: int = Field(9, ge=1, le=99, description="blocks of rows, around the brightest part, in which the fibres are looked for")
    least: float = Field(10.0, gt=3, description="a fibre is lit if its peak stands so many sigma out of the noise")
    floor: float = Field(0.03, gt=0, lt=1, description="and has this part of the typical peak")
    half_width: Annotated[float, Unit("pixel")] = Field(3.5, gt=1.5, le=20, description="profiles are fitted on half a pitch, at most twice this")
    degree: int = Field(6, ge=1, le=12, description="degree of the traces along the dispersion")
    degree_width: int = Field(3, ge=0, le=8, description="degree of their width")
    least_coverage: float = Field(0.2, gt=0, lt=1, description="a trace that is measured on a smaller part of the rows counts as dark")
    edge: float = Field(0.5, gt=0.05, lt=0.95, description="slit: its edges are where the light falls to this part of what it is beside them")


class TraceFlat(PipelineAlg[TraceFlatParams]):
    """Find, number and trace the fibres, or the apertures of a slit, in flats; nothing else is needed."""

    name = "trace_flat"

    def run(self, images: Sequence[Image], spectrographs: Sequence[Spectrograph] | None, fibers: KnownFibers | None) -> tuple[PixelTraces, TraceFit]:
        """Traces by row, and how well they fit. Several flats are averaged.

        Without a description of the spectrograph every peak across the dispersion is a fibre. Fibres known to be dark help to number the others where
        their distances alone leave it open. Raises BadData where nothing is lit, images differ in size, or the numbers of the fibres are not certain.
        """
        known = spectrographs[0] if spectrographs else None
        blocks = _average(images, self.params.rows)
        known = known or Spectrograph(camera=blocks.camera)
        if known.slit:
            from algorithms.slitedges import trace_slit

            return trace_slit(blocks.camera, blocks.mean, blocks.var, blocks.shape, self.params.rows, known, self.params.edge, self.params.degree)
        return _Tracer(blocks, known, fibers, self.params).run()


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Mean over blocks of rows, mean of all images: mean, var [nblock, nx], electron; `shape` of the images."""

    camera: str
    mean: Array
    var: Array
    shape: tuple[int, int]


def _average(images: Sequence[Image], rows: int) -> _Blocks:
    from algorithms.kernels import tracing

    camera, shape = "", (0, 0)
    total, weight, variance = (np.zeros((0, 0)) for _ in range(3))
    for image in images:
        if not camera:
            camera, shape = image.camera, image.shape
            total, weight, variance = (np.zeros((max(1, shape[0] // rows), shape[1])) for _ in range(3))
        if image.shape != shape:
            sizes = f"{shape[1]} x {shape[0]} and {image.shape[1]} x {image.shape[0]}"
            raise BadData(f"camera {image.camera}: flats of {sizes} pixels in one group; take those of one read-out")
        mean, var = np.empty_like(total), np.empty_like(total)
        tracing.row_blocks(image.pixels, image.ivar, rows, mean, var)
        good = np.isfinite(var)
        total += np.where(good, mean, 0.0)
        variance += np.where(good, var, 0.0)
        weight += good
    if not camera:
        raise BadData("there is no flat in the group")
    n = np.maximum(weight, 1)
    return _Blocks(camera, total / n, np.where(weight > 0, variance / n**2, math.inf), shape)


class _Tracer:
    """The traces of one camera: arrays [nblock, nfibre] while they are followed."""

    def __init__(self, blocks: _Blocks, known: Spectrograph, fibers: KnownFibers | None, params: TraceFlatParams) -> None:
        from algorithms.kernels import peaks, tracing

        self.b, self.known, self.p, self.k, self.peaks = blocks, known, params, tracing, peaks
        dark = (fibers.broken if fibers else ()) or ()
        self.dark = frozenset(f - known.first_fibre for f in dark if 0 <= f - known.first_fibre < max(known.fibres, 1))
        nblock = len(blocks.mean)
        self.row = (np.arange(nblock) + 0.5) * params.rows - 0.5
        self.t = 2.0 * self.row / (blocks.shape[0] - 1) - 1.0

    def run(self) -> tuple[PixelTraces, TraceFit]:
        """See TraceFlat.run."""
        start, x = self._first()
        numbers = self._numbers(x)
        pitch = numbers.pitch if np.isfinite(numbers.pitch) else 4.0 * self.p.half_width
        half = min(max(_NARROWEST, 0.5 * pitch), 2.0 * self.p.half_width)
        place, width, error, flux = self._follow(start, x, half, min(_FIRST_SIGMA * pitch, 0.4 * half))
        return self._series(numbers, place, width, error, flux)

    def _numbers(self, x: Array) -> Numbers:
        """Numbers of the fibres. One too small for those of the instrument (a cut-out, a small simulation) has as many whole bundles as are lit."""
        count, bundle = self.known.fibres, self.known.bundle
        if len(x) > 1 and bundle and count * float(np.median(median_pitch(x))) > 1.1 * self.b.shape[1]:
            count = bundle * max(1, math.ceil(len(x) / bundle))
        return number_fibres(x, count, bundle, self.dark)

    def _first(self) -> tuple[int, Array]:
        """The block in the middle of the brightest part, and the peaks across it."""
        light = np.where(np.isfinite(self.b.var), self.b.mean, 0.0).sum(axis=1)
        n = min(self.p.start, len(light))
        start = int(np.argmax(np.convolve(light, np.ones(n), mode="valid"))) + n // 2
        part = slice(max(0, start - n // 2), start + n // 2 + 1)
        good = np.isfinite(self.b.var[part])
        profile = np.ma.median(np.ma.masked_array(self.b.mean[part], ~good), axis=0).filled(np.nan)  # type: ignore[no-untyped-call]
        error = np.sqrt(np.ma.median(np.ma.masked_array(self.b.var[part], ~good), axis=0).filled(np.nan) / max(1, n))  # type: ignore[no-untyped-call]
        profile, error = _bridged(profile), _bridged(error)
        place, height = self.peaks.peaks(profile, np.nan_to_num(error, nan=np.inf), 0.0, self.p.least)
        if not len(place):
            raise BadData(f"camera {self.b.camera}: nothing stands out across the dispersion; is the lamp on, and is this a flat?")
        typical = np.array([np.median(height[max(0, i - 15) : i + 16]) for i in range(len(height))])
        lit = height > self.p.floor * typical
        return start, place[lit]

    def _follow(self, start: int, x: Array, half: float, sigma: float) -> tuple[Array, Array, Array, Array]:
        """From the start block upwards and downwards; places where nothing was measured are predicted, with infinite error."""
        shape = (len(self.row), len(x))
        place, width, error, flux = (np.full(shape, np.nan) for _ in range(4))
        u = _unit(x)
        now, s = x.copy(), np.full(len(x), sigma)
        for _ in range(3):  # the width is not known to begin with
            now, s, *_ = self._fit(start, now, s, half, u, 3.0 * _OFF)
        for direction in (1, -1):
            at, drift, own = now.copy(), np.zeros(len(x)), s.copy()
            end = shape[0] if direction > 0 else -1
            for b in range(start, end, direction):
                got, w, e, f, step = self._fit(b, at + drift, own, half, u)
                place[b], width[b], error[b], flux[b] = got, w, e, f
                own = np.where(np.isfinite(e), 0.8 * own + 0.2 * w, own)
                if b != start:
                    drift = 0.7 * drift + 0.3 * (drift + step)
                at = got
        return place, width, error, flux

    def _fit(self, block: int, x: Array, sigma: Array, half: float, u: Array, off: float = _OFF) -> tuple[Array, Array, Array, Array, Array]:
        """Places, widths, errors, fluxes, and the smooth step against x. A fibre that disagrees with the others keeps the place that they predict."""
        flux, shift, width, error, chi2 = (np.empty(len(x)) for _ in range(5))
        self.k.fit_profiles(self.b.mean[block], self.b.var[block], x, sigma, half, flux, shift, width, error, chi2)
        noise = np.where(error > 0, width / np.maximum(error, 1e-9), 0.0)
        good = (flux > 0) & (noise > 5.0) & (error < 0.3) & (np.abs(shift) < max(_MAX_STEP, off)) & (chi2 < 50.0)
        smooth = _smooth(u, shift, good)
        good &= np.abs(shift - smooth) < off
        return np.where(good, x + shift, x + smooth), width, np.where(good, error, math.inf), flux, smooth

    def _series(self, numbers: Numbers, place: Array, width: Array, error: Array, flux: Array) -> tuple[PixelTraces, TraceFit]:
        seen = np.isfinite(error)
        coverage = seen.mean(axis=0)
        lit = coverage > self.p.least_coverage
        if not lit.any():
            raise BadData(f"camera {self.b.camera}: no trace could be followed; check lamp and focus")
        u = _unit(place[len(place) // 2])
        index = numbers.index
        degree = min(self.p.degree, max(1, len(self.t) // 4))
        series, used = fit_series(self.t, place.T[lit], error.T[lit], degree, u[lit])
        sigma_error = np.where(seen, np.maximum(0.02, error), math.inf)
        sigmas, _ = fit_series(self.t, width.T[lit], sigma_error.T[lit], min(self.p.degree_width, degree), u[lit])
        x = self._all_fibres(index[lit], series, numbers)
        rest = np.where(used, place.T[lit] - series @ np.polynomial.legendre.legvander(self.t, degree).T, np.nan)
        fit = self._report(numbers, index[lit], place[:, lit], width[:, lit], flux[:, lit], rest, seen[:, lit])
        bright = np.zeros(numbers.count, bool)
        bright[index[lit]] = True
        number = (np.arange(numbers.count) + self.known.first_fibre).astype(np.int32)
        ny, nx = self.b.shape
        traces = PixelTraces(x=x, xsig=spread_out(index[lit], sigmas, numbers.count), npix_x=nx, npix_y=ny, fiber=number, lit=bright)
        return traces, fit

    def _all_fibres(self, index: Array, series: Array, numbers: Numbers) -> Array:
        """Series of all fibres: dark ones lie between their neighbours, bundle gaps taken into account."""
        bundle = self.known.bundle
        steps = np.arange(numbers.count) * numbers.pitch if np.isfinite(numbers.pitch) else np.zeros(numbers.count)
        if bundle:
            steps = steps + (np.arange(numbers.count) // bundle) * numbers.gap
        own = series.copy()
        own[:, 0] -= steps[index]
        x = spread_out(index, own, numbers.count)
        x[:, 0] += steps
        return np.ascontiguousarray(x)

    def _report(self, numbers: Numbers, index: Array, place: Array, width: Array, flux: Array, rest: Array, seen: Array) -> TraceFit:
        def column(values: Array) -> Array:
            out = np.full(numbers.count, np.nan)
            out[index] = values
            return out

        def median(values: Array) -> Array:
            return np.array([np.median(v[s]) if s.any() else np.nan for v, s in zip(values.T, seen.T, strict=True)])

        scatter = np.sqrt(np.nanmean(rest**2, axis=1))
        first = self.known.first_fibre
        dark = tuple(int(i) + first for i in sorted(set(range(numbers.count)) - set(index.tolist())))
        return TraceFit(
            camera=self.b.camera, fiber=(np.arange(numbers.count) + first).astype(np.int32), rms=column(scatter), sigma=column(median(width)),
            flux=column(median(flux)), coverage=column(seen.mean(axis=0)), centre=column(place[len(place) // 2]),
            expected=numbers.count if self.known.fibres else 0, pitch=numbers.pitch, dark=dark,
        )  # fmt: skip


def _unit(x: Array) -> Array:
    """Places along the slit as -1 ... 1."""
    low, high = float(x.min()), float(x.max())
    return np.asarray(2.0 * (x - low) / (high - low) - 1.0) if high > low else np.zeros(len(x))


def _smooth(u: Array, shift: Array, good: Array) -> Array:
    """A cubic along the slit through the shifts of good fibres, outliers left out; of lower degree where there are few."""
    if not good.any():
        return np.zeros(len(u))
    use = good.copy()
    degree = min(3, int(good.sum()) // 4)
    fit: Array = np.zeros(1)
    for _ in range(4):
        fit = np.polynomial.polynomial.polyfit(u[use], shift[use], degree)
        rest = np.abs(shift - np.polynomial.polynomial.polyval(u, fit))
        width = max(1.4826 * float(np.median(rest[use])), 0.003)
        new = good & (rest < 4.0 * width)
        if new.sum() <= degree + 1 or np.array_equal(new, use):
            break
        use = new
    return np.asarray(np.polynomial.polynomial.polyval(u, fit))


def _bridged(profile: Array) -> Array:
    """Without holes of single columns: the mean of their neighbours."""
    holes = np.flatnonzero(~np.isfinite(profile))
    out = profile.copy()
    inner = holes[(holes > 0) & (holes < len(profile) - 1)]
    out[inner] = 0.5 * (profile[inner - 1] + profile[inner + 1])
    return out
