"""Flexure: how far the traces of an exposure lie from those of the calibration."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.linewindows import BIN, MARGIN, LineTerms, Windows, peak, scores
from algorithms.tracegeometry import Places, added, check_traces, edges, group_starts, moved, on_detector, shift_of, slit, tilt_shift
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import ArcLines, LineList, SkyLines, shipped_lines
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import AxisShift, ShiftSamples, TraceShift
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.quantity import Unit

Array = npt.NDArray[Any]
Terms = list[tuple[int, int]]
Samples = tuple[Array, Array, Array, Array]

_ROUNDS, _SETTLED = 5, 0.005
_SHARP = 1.3
_AGREE = 6
_FEW, _ENOUGH = 100, 5
_SPARE = 2
_BLOCKS = 12
_LIT = 5.0
_SURE = 3.0
_TELLING = 2
_KNOWN = 0.1
_SEEN = 8.0
_MOSTLY = 0.5
_WIDE, _SOME = 60.0, 20
_FREE = math.inf


class FlexureParams(Params):
    """Parameters of `flexure`."""

    search: Annotated[float, Unit("pixel")] = Field(3.3, ge=0, le=6, description="largest shift that is looked for")
    samples: int = Field(128, ge=16, description="places along a trace where its profile is measured")
    max_lines: int = Field(60, ge=3, description="lines used at most, the brightest ones of evenly divided wavelengths")
    half_width: Annotated[float, Unit("pixel")] = Field(2.0, gt=1, le=8, description="half width across a trace in which lines are summed")
    fibre_floor: Annotated[float, Unit("pixel")] = Field(0.03, gt=0, description="what single fibres may differ from their neighbours")
    max_error: Annotated[float, Unit("pixel")] = Field(0.1, gt=0, description="a mean shift that is known no better than this is not applied")
    use_y: bool = Field(True, description="measure the shift in wavelength, where the flavor has lines")
    prior_linear: Annotated[float, Unit("pixel")] = Field(0.05, gt=0, description="expected size of slopes along slit and dispersion")
    prior_quadratic: Annotated[float, Unit("pixel")] = Field(0.005, gt=0, description="expected size of the terms of second order")


class Flexure(PipelineAlg[FlexureParams]):
    """Measure the shift of the traces across and along the dispersion as smooth functions of fibre and wavelength, and move them."""

    name = "flexure"

    def run(
        self, image: Image, traces: TraceSet, exposure: Exposure, skylines: SkyLines | None, arclines: ArcLines | None
    ) -> tuple[TraceSet, TraceShift]:
        """The moved traces and the shift. A shift that cannot be measured is zero, with a remark. Raises BadData for traces of another detector.

        x comes from profiles across the traces, in any exposure with light; y from sky lines, in arcs from arc lines, with the shipped lists where
        there is none of the calibration; flats have no lines.
        """
        check_traces(image, traces)
        lines: LineList | None = None
        if exposure.flavor == "arc":
            lines = arclines or shipped_lines(ArcLines)
        elif exposure.flavor not in ("flat", "zero", "dark"):
            lines = skylines or shipped_lines(SkyLines)
        u = slit(traces)
        work = _Work(image, traces, u, self.params)
        x = work.measure_x(lines if exposure.flavor == "arc" else None)
        y = work.measure_y(lines, x) if lines is not None and self.params.use_y else unmeasured("there are no lines in this exposure")
        n = traces.x.shape[1]
        dy = shift_of(y.model, u, n)
        shifted = moved(traces, added(shift_of(x.model, u, n), tilt_shift(traces, dy)), dy)
        expected = lines is not None and self.params.use_y
        found = work.found if expected and isinstance(lines, SkyLines) else None
        return shifted, TraceShift(camera=image.camera, x=x, y=y, y_expected=expected, lines_found=found)


def unmeasured(remark: str) -> AxisShift:
    """A shift that is not known."""
    one = np.full(1, math.nan)
    samples = ShiftSamples(fibre=one, wave=one.copy(), shift=one.copy(), error=one.copy())
    nan = math.nan
    return AxisShift(model=np.zeros((1, 1)), mean=nan, low=nan, high=nan, rms=nan, error=nan, samples=samples, remark=remark)


class _Work:
    """One exposure and its traces."""

    def __init__(self, image: Image, traces: TraceSet, u: Array, params: FlexureParams) -> None:
        from algorithms.kernels import flexure as kernel

        self.image, self.traces, self.u, self.p, self.k = image, traces, u, params, kernel
        self.starts = group_starts(traces.nfibre)
        self.span = on_detector(traces)
        ends = np.append(self.starts[1:], traces.nfibre)
        self.centre = 0.5 * (self.starts + ends - 1)
        self.group_u = np.array([u[a:b].mean() for a, b in zip(self.starts, ends, strict=True)])
        self.remark, self.found, self.clear = "", math.nan, 0
        self.terms: Terms = self.k.powers(2, 2, 2)
        sizes = (_FREE, params.prior_linear, params.prior_quadratic)
        self.prior = np.array([sizes[i + j] for i, j in self.terms])

    # ---- across the dispersion

    def measure_x(self, arc: LineList | None) -> AxisShift:
        wave, offsets = self._sample_waves(arc)
        places = Places(self.traces, wave)
        row = np.rint(places.y).astype(np.int64) + offsets[:, None]
        x0 = places.x + places.slope * (row - places.y)
        coarse = self._coarse_x(x0[::4], row[::4]) if arc is None else self._coarse_x(x0, row)
        if coarse is None:
            return unmeasured("no light on the traces")
        model = np.array([[coarse]])
        for step in (4, 1):
            chosen = slice(step // 2, None, step if arc is None else 1)
            args = (x0[chosen], row[chosen], places.t[chosen], places.sigma_x[chosen], wave[chosen])
            model, result, samples = self._round_x(model, *(np.ascontiguousarray(a) for a in args))
            if result is None:
                return unmeasured(self.remark or "too few samples of the traces")
        return self._axis(model, result, samples)

    def _round_x(self, model: Array, x0: Array, row: Array, t: Array, sigma: Array, wave: Array) -> tuple[Array, Any, Samples]:
        """One improvement of the model from samples [nsample, nfibre]."""
        out = np.empty((3, *x0.shape))
        x = x0 + self._model_at(model, t)
        self.k.cross_terms(self.image.pixels, self.image.ivar, x, row, sigma, 3, _noise2(self.image), out)
        block = np.arange(len(wave)) * min(_BLOCKS, len(wave)) // len(wave)
        self.remark = self._dark(out, sigma)
        if self.remark:
            return model, None, (wave, t, wave, t)
        shift, error = self._blocks(out, block)
        count = np.bincount(block)
        t, wave = np.bincount(block, t) / count, np.bincount(block, wave) / count
        result = self._fit(t, shift, error, np.full(len(t), 1e-4))
        return (model if result is None else _sum(model, result.model)), result, (wave, t, shift, error)

    def _sample_waves(self, arc: LineList | None) -> tuple[Array, Array]:
        """Wavelengths at which profiles are looked at, and rows to add: even steps; in an arc the rows of its lines."""
        low, high = (0.5 * (t + 1.0) * (self.traces.wavemax - self.traces.wavemin) + self.traces.wavemin for t in self.span)
        if arc is None:
            return np.linspace(low, high, self.p.samples), np.zeros(self.p.samples, np.int64)
        lines = arc.wave[(arc.wave > low) & (arc.wave < high)]
        return np.repeat(lines, 2), np.tile(np.arange(2), len(lines))

    def _coarse_x(self, x: Array, row: Array) -> float | None:
        """Shift to 0.1 pixel, from the mean profile of all traces."""
        profile = np.zeros(2 * int((self.p.search + MARGIN) / BIN) + 1)
        if not len(x):
            return None
        self.k.cross_profile(self.image.pixels, self.image.ivar, np.ascontiguousarray(x), np.ascontiguousarray(row), BIN, profile)
        return peak(profile, BIN, self.p.search, 1.2)

    def _dark(self, out: Array, sigma: Array) -> str:
        """Why no shift can be taken from these samples, or nothing: the traces are dark, or those at one side of all bundles are."""
        amp, _, var = out
        noise = np.sqrt(np.sum(var / (2.0 * sigma**2), axis=0))  # of the amplitude, from that of the shifted profile
        lit = np.sum(amp, axis=0) > _LIT * noise
        if lit.mean() < 0.2:
            return "fewer than a fifth of the traces have light"
        total = np.sum(amp, axis=0)
        for side in edges(self.traces):
            lacking = 0.5 * len(side) * float(np.median(total)) - float(total[side].sum())  # of half of the usual light
            sure = lacking > _SURE * float(np.sqrt(np.sum(noise[side] ** 2)))
            if len(side) > 1 and sure and lit[side].mean() < 0.5 * lit.mean():
                return "the fibres at one side of the bundles alone are dark: the traces are off by a fibre or more; certify other traces"
        return ""

    def _blocks(self, out: Array, block: Array) -> tuple[Array, Array]:
        """Samples of a block summed for each fibre, then over groups of fibres: [nblock, ngroup]."""
        amp, moved_, var = out
        ok = var > 0
        typical = np.where(ok, var, 1.0) + (0.1 * amp) ** 2
        w = np.where(ok, 1.0 / typical, 0.0)
        n = int(block.max()) + 1
        first = np.searchsorted(block, np.arange(n))
        top, bottom = (np.add.reduceat(w * a, first, axis=0) for a in (amp * moved_, amp * amp))
        root = np.sqrt(bottom)
        with np.errstate(invalid="ignore", divide="ignore"):  # a fibre is one number B/A of unit variance
            each = np.where(bottom > 0, top / root, 0.0)
        shift, error = self.k.group_shifts(root, each, np.where(bottom > 0, 1.0, 0.0), self.starts, self.p.fibre_floor)
        return shift, error

    # ---- along the dispersion

    def measure_y(self, lines: LineList, x: AxisShift) -> AxisShift:
        chosen = self._choose(lines)
        if not len(chosen):
            return unmeasured("no line of the list falls on the detector")
        traces = moved(self.traces, shift_of(x.model, self.u, 1), np.zeros((self.traces.nfibre, 1)))
        places = Places(traces, lines.wave[chosen])
        some, coarse = self._coarse_y(places)
        far = self._far(places, lines.strength[chosen]) if isinstance(lines, SkyLines) else None  # lamps that are off would stand for any offset
        if far is not None:
            return unmeasured(f"the lines lie about {far:+.0f} pixel from where the traces have them: more than is searched; certify other traces")
        if coarse is None:
            return unmeasured("no line was found")
        scale = self._pixels_per_angstrom(lines.wave[chosen])
        terms = LineTerms(lines, chosen, traces, places, scale)
        sys_error = np.maximum(lines.sigma[chosen] * scale, 1e-3)
        model = np.array([[coarse]])
        model, cut = (model, some) if some.fibres.step == 1 else self._begun_y(terms, some, model, sys_error)
        use = np.ones(places.y.shape, bool)
        for n in range(_ROUNDS):
            result, (shift, error, light, noise), use = self._round_y(terms, cut, model, sys_error, use)
            if result is None:
                return unmeasured("too few lines were found")
            model = _sum(model, result.model)
            if n and np.abs(result.model).sum() < _SETTLED:
                break
        kept = (result.kept > 0.1) & np.isfinite(shift).any(axis=1)
        self.found = part_seen(lines, chosen, light, noise, kept)
        if not self.found and isinstance(lines, SkyLines) and self.clear < _TELLING:  # nothing says how bright they are here
            self.found = math.nan
            return unmeasured("too few lines of the sky stand out of the noise")
        if self.found < _MOSTLY:
            return unmeasured(f"{100 * self.found:.0f} % alone of what is bright in the list is where the traces have it: check traces, list and sky")
        return self._axis(model, result, (places.wave, places.t, shift, error))

    def _coarse_y(self, places: Places) -> tuple[Windows, float | None]:
        """Shift to a tenth of a pixel, and the windows that show it: of some of the fibres where they have light enough."""
        step = min(5, max(1, self.traces.nfibre // _FEW))
        for stride in (step, 1):
            some = slice(stride // 2, None, stride)
            cut = Windows(self.image, places, self.p.half_width, math.ceil(self.p.search) + MARGIN, fibres=some)
            profile, clear = cut.profile(self.p.search)
            if stride == 1 or clear >= _ENOUGH:
                break
        self.clear = clear
        return cut, peak(profile, BIN, self.p.search, _SHARP)

    def _begun_y(self, terms: LineTerms, some: Windows, model: Array, sys_error: Array) -> tuple[Array, Windows]:
        """The model improved with some of the fibres, and windows of all fibres, about where it has the lines."""
        begun = self._round_y(terms, some, model, sys_error, np.ones(some.y.shape, bool))[0]
        model = model if begun is None else _sum(model, begun.model)
        shift = self._model_at(model, terms.places.t)
        return model, Windows(self.image, terms.places, self.p.half_width, int(terms.half.max()) + _SPARE, shift=shift)

    def _round_y(self, terms: LineTerms, cut: Windows, model: Array, sys_error: Array, use: Array) -> tuple[Any, Samples, Array]:
        """One improvement of the model (None where lines are too few), what `_lines` says, and which lines of which fibres could be fitted."""
        out = terms.measure(cut, cut.y + self._model_at(model, terms.places.t)[:, cut.fibres], use)
        seen = self._lines(out, np.searchsorted(np.arange(self.traces.nfibre)[cut.fibres], self.starts))
        return self._fit(terms.places.t, *seen[:2], np.hypot(sys_error, terms.blends.extra)), seen, out[0] != 0

    def _choose(self, lines: LineList) -> Array:
        """Indices of the lines on the detector: the brightest in each of several parts of the wavelength range."""
        t = self.traces.reduced(lines.wave)
        low, high = self.span
        inside = np.flatnonzero((t > low) & (t < high) & (lines.sigma * self._pixels_per_angstrom(lines.wave) < _KNOWN))
        if len(inside) <= self.p.max_lines:
            return inside
        part = ((t[inside] - low) / (high - low) * 8).astype(int)
        order = np.lexsort((-lines.strength[inside], part))
        rank = np.empty(len(inside), int)
        rank[order] = np.concatenate([np.arange(n) for n in np.bincount(part) if n])
        best = np.lexsort((-lines.strength[inside], rank))[: self.p.max_lines]
        return np.sort(inside[best])

    def _far(self, places: Places, strength: Array) -> float | None:
        """Shift to a pixel, from some of the fibres, where the lines fit much better beyond what is searched: they may lie on others by chance."""
        bright = np.argsort(-strength, kind="stable")[:_SOME]
        some = slice(None, None, max(1, self.traces.nfibre // _SOME))
        cut = Windows(self.image, places, self.p.half_width, int(_WIDE) + MARGIN, lines=bright, fibres=some)
        profile, clear = cut.profile(_WIDE, (strength[bright] / strength.max()) ** 0.3)
        trial, score = scores(profile, BIN, _WIDE, _SHARP)
        near = np.abs(trial) <= self.p.search + 1.0
        if clear < _TELLING:  # noise, or one line alone, fits anywhere
            return None
        best = int(np.argmax(score))
        return float(trial[best]) if score[best] > 1.5 * max(float(score[near].max()), 0.0) and score[best] > 0 else None

    def _lines(self, out: Array, starts: Array) -> tuple[Array, Array, Array, Array]:
        """Shift and error of every line and group of fibres, NaN for lines that are not there; light of every line in a fibre, and its noise."""
        amp, moved_, var_a, var_b = out
        each, light, noise = self.k.expected_light(amp, var_a, starts)
        found = light > _SEEN * noise
        shift, error = self.k.group_shifts(np.where(found[:, None], each, 0.0), moved_, var_b, starts, self.p.fibre_floor)
        usable = found[:, None] & (error < 0.5) & (np.abs(shift) < 1.5)
        return np.where(usable, shift, math.nan), error, light, noise

    def _pixels_per_angstrom(self, wave: Array) -> Array:
        """Of the fibre in the middle."""
        y, t = self.traces.y[self.traces.nfibre // 2], self.traces.reduced(wave)
        slope = np.polynomial.legendre.legval(t, np.polynomial.legendre.legder(y))
        return np.asarray(np.abs(slope) * 2.0 / (self.traces.wavemax - self.traces.wavemin))

    # ---- both

    def _model_at(self, model: Array, t: Array) -> Array:
        """A model at reduced wavelengths [n] for all fibres: [n, nfibre]."""
        basis = np.polynomial.legendre.legvander(t, model.shape[1] - 1)
        return np.asarray(basis @ (self.u[:, None] ** np.arange(model.shape[0]) @ model).T)

    def _fit(self, t: Array, shift: Array, error: Array, sys_error: Array) -> Any:
        return self.k.fit_smooth(self.group_u, t, shift, np.sqrt(error**2 + 1e-6), sys_error, self.terms, self.prior)

    def _axis(self, model: Array, result: Any, samples: Samples) -> AxisShift:
        wave, t, shift, error = samples
        if not result.error < self.p.max_error:
            return unmeasured(f"it is known to {result.error:.2f} pixel alone: too little light, or too few lines")
        n, m = shift.shape
        last = self._groups_at(_difference(model, result.model), t)
        grid = self._model_at(model, np.linspace(*self.span, 21))
        ok = np.isfinite(shift) & np.isfinite(error)
        kept = ShiftSamples(
            fibre=np.tile(self.centre, (n, 1))[ok], wave=np.repeat(wave[:, None], m, axis=1)[ok], shift=(shift + last)[ok], error=error[ok]
        )
        return AxisShift(
            model=model, mean=float(grid.mean()), low=float(grid.min()), high=float(grid.max()), rms=result.rms, error=result.error, samples=kept
        )

    def _groups_at(self, model: Array, t: Array) -> Array:
        basis = np.polynomial.legendre.legvander(t, model.shape[1] - 1)
        return np.asarray(basis @ (self.group_u[:, None] ** np.arange(model.shape[0]) @ model).T)


def part_seen(lines: LineList, chosen: Array, light: Array, noise: Array, kept: Array) -> float:
    """Which part of the lines that must be bright was found where it belongs, 0 ... 1, each with the root of its strength as weight.

    light, noise [nline] of the chosen lines, kept [nline]: those that agree. A line must be bright where its strength in the list, on the scale of
    the lines that were found, is far above its noise; of lamps, those of which a line was found. What a list says of the strengths of lamps holds
    for no lamp in particular, so where many arc lines agree all is found: by chance one or two do.
    """
    strength = lines.strength[chosen]
    there = kept & (light > 0)
    if not there.any():
        return 0.0
    if isinstance(lines, ArcLines) and there.sum() >= _AGREE:
        return 1.0
    scale = float(np.median(light[there] / strength[there]))
    expected = np.isfinite(noise) & (scale * strength > 3.0 * _SEEN * noise)
    if isinstance(lines, ArcLines):
        on = {lines.name[k] for k in chosen[there]}
        expected &= np.array([lines.name[k] in on for k in chosen])
    weight = np.sqrt(strength) * expected
    return float(weight[there].sum() / weight.sum()) if expected.any() else 1.0


def _noise2(image: Image) -> float:
    noise = [v for v in image.read_noise.values() if math.isfinite(v) and v > 0]
    return float(np.median(noise)) ** 2 if noise else 9.0


def _sum(a: Array, b: Array) -> Array:
    out = np.zeros(tuple(np.maximum(a.shape, b.shape)))
    out[: a.shape[0], : a.shape[1]] += a
    out[: b.shape[0], : b.shape[1]] += b
    return out


def _difference(a: Array, b: Array) -> Array:
    return _sum(a, -b)
