"""How wide the profiles of the fibres are, across the traces and along the dispersion: focus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.gaps import gaps
from qa.traceplaces import brightest, lone_lines, on_detector, places
from qa.values import numbered, scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import ArcLines, LineList, SkyLines, shipped_lines
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.quantity import Unit

_DARK = ("zero", "dark")
_CLOSE, _PASSES = 0.06, 3
_LIT, _LIGHT = 10.0, 5.0
_FEW = 3
_OFF = 0.25
_TELLING = 0.1
_SURE = 5.0
"""Errors by which a width is off that is known badly, and stated all the same."""
_UNSTATED = "the trace set states no widths"
_NEAR, _SHARE = 6.0, 0.05
_ROWS = (12, 48)

WIDTH_X = MetricDef("width_x", "pixel", dims=("amp",), doc="Gaussian sigma of the profiles across the dispersion, median over the fibres.")
RATIO_X = MetricDef("width_x_ratio", "", dims=("amp",), doc="Width of the profiles across the dispersion over that of the trace set, median.")
WIDTH_Y = MetricDef("width_y", "pixel", dims=("amp",), doc="Gaussian sigma of lines of sky or lamp along the dispersion, median over the fibres.")
RATIO_Y = MetricDef("width_y_ratio", "", dims=("amp",), doc="Width of lines along the dispersion over that of the trace set, median over the fibres.")
FIBRE_X = MetricDef("fiber_width_x", "", dims=("fiber",), doc="Width of the profile of each fibre across the dispersion over that of the trace set.")
FIBRE_Y = MetricDef("fiber_width_y", "", dims=("fiber",), doc="Width of the lines of each fibre along the dispersion over that of the trace set.")
BROAD = MetricDef(
    "broad_fibers", "", doc="Part of the lit fibres whose profile across the dispersion is wider than that of all by 15 % and 5 sigma of its noise."
)


class TraceWidthsParams(Params):
    """Parameters of `trace_widths`."""

    profiles: int = Field(6000, ge=100, description="profiles across the traces that are measured in all, on 12 to 48 rows")
    lines: int = Field(6, ge=1, le=100, description="lines that are measured at most, the brightest of either half of the wavelengths")
    half_x: Annotated[int, Unit("pixel")] = Field(3, ge=3, le=20, description="half width of the window across a trace")
    half_y: Annotated[int, Unit("pixel")] = Field(4, ge=3, le=20, description="half width of the window along the dispersion")
    sigma: Annotated[float, Unit("pixel")] = Field(1.1, gt=0.3, le=10, description="where the search starts if the trace set states no widths")
    known: float = Field(
        0.02, gt=0, description="lines that tell the relative width no better leave an amplifier out; profiles from 1.4 times this on, if not far off"
    )
    broad: float = Field(1.15, gt=1, description="a fibre is called broad where its width is more than this times that of all")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moments:
    """Light A and light times excess of variance C of every sample, with their variances, their amplifiers (-1: none), and the widths that
    they started from and that the trace set states, pixel, all [nsample, nfibre]."""

    a: Float64
    c: Float64
    var_a: Float64
    var_c: Float64
    amp: Raw
    used: Float64
    stated: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Widths:
    """sigma, pixel, over what is stated (NaN: not lit, or not stated), relative error of sigma, each [nfibre]."""

    sigma: Float64
    ratio: Float64
    error: Float64


class TraceWidths(MonitoringAlg[TraceWidthsParams]):
    """Measures the width of the profiles of the fibres, across the traces on rows all over the detector and along them on lone lines of sky or lamp.

    Single samples may be lost in noise: light and moments are summed before a ratio is taken.
    Formula: to each profile A G + B dG/dc + C dG/dv + level is fitted, G the Gaussian that the trace set expects, c its centre, v its variance:
    sigma^2 = v + sum C / sum A over the samples of a fibre, pixel^2, to first order (repeated from the new width where it is far off); relative
    error of sigma = 0.5 sqrt(sum of var C) / (sum A x sigma^2). width_x, width_y = median of sigma over the fibres on an amplifier, width_x_ratio,
    width_y_ratio, fiber_width_x, fiber_width_y = sigma / that of the trace set; broad_fibers = part of the lit fibres wider than the median ratio
    by the factor `broad` and by 5 errors.
    Source: it stands for XWSIGMA (Calc_XWSigma) of DESI's quick-look. The fit is own definition: linear least squares on a Taylor series of a
    Gaussian, so that faint samples are not biased.
    """

    name = "trace_widths"
    group = "Fibres"
    metrics = (WIDTH_X, RATIO_X, WIDTH_Y, RATIO_Y, FIBRE_X, FIBRE_Y, BROAD)

    def measure(self, image: Image, traces: TraceSet, exposure: Exposure, skylines: SkyLines | None, arclines: ArcLines | None) -> Measures:
        """On traces that were moved onto the exposure. Along the dispersion it does not apply where there are no lines (flats), or none that is
        bright enough. Raises NotApplicable for exposures without light, BadData where the traces are of another detector."""
        if exposure.flavor in _DARK:
            raise NotApplicable(f"a {exposure.flavor} has no light in its fibres")
        if (traces.npix_y, traces.npix_x) != image.shape:
            (ny, nx), of = image.shape, f"{traces.npix_x} x {traces.npix_y}"
            raise BadData(f"camera {image.camera}: traces for {of} pixels, the image has {nx} x {ny}; certify others")
        low, high = on_detector(traces)
        lines: LineList | None = None
        if exposure.flavor == "arc":
            lines = arclines or shipped_lines(ArcLines)
        elif exposure.flavor != "flat":
            lines = skylines or shipped_lines(SkyLines)
        chosen = np.zeros(0) if lines is None else _chosen(lines, low, high, self.params.lines)
        rows = min(max(self.params.profiles // traces.nfibre, _ROWS[0]), _ROWS[1])
        x = self._across(image, traces, chosen if exposure.flavor == "arc" else np.linspace(low, high, rows + 2)[1:-1])
        y = self._along(image, traces, chosen) if chosen.size else None
        why = "there are no lines in this exposure" if lines is None else "no lone line of the list falls on the detector"
        return self._measures(image, traces, x, y, why, arc=exposure.flavor == "arc")

    def _across(self, image: Image, traces: TraceSet, wave: Float64) -> _Moments:
        from qa.kernels import gaussians

        p = places(traces, wave)
        row = np.rint(p.y).astype(np.int64)
        x = np.ascontiguousarray(p.x + p.slope * (row - p.y))

        def run(sigma: Float64, out: Float64) -> None:
            gaussians.across(image.pixels, image.ivar, row, x, sigma, self.params.half_x, out)

        return self._repeated(run, p.sigma_x, _amps(image.amplifiers, row, x), robust=False)

    def _along(self, image: Image, traces: TraceSet, wave: Float64) -> _Moments:
        from qa.kernels import gaussians

        p = places(traces, wave)
        half = self.params.half_x - 0.5

        def run(sigma: Float64, out: Float64) -> None:
            gaussians.along(image.pixels, image.ivar, p.y, p.x, p.slope, sigma, half, self.params.half_y, out)

        return self._repeated(run, p.sigma_y, _amps(image.amplifiers, p.y, p.x), robust=True)

    def _repeated(self, run: object, stated: Float64, amp: Raw, *, robust: bool) -> _Moments:
        """Fitted about the stated widths, and again about wider or narrower ones while the mean profile is far from them."""
        assert callable(run)
        start = np.where(np.isfinite(stated) & (stated > 0.3), stated, self.params.sigma)
        scale, out = 1.0, np.empty((6, *stated.shape))
        for _ in range(_PASSES):
            used = np.ascontiguousarray(scale * start)
            run(used, out)
            a, c = (out[0], out[2]) if not robust else _agreeing(out, used)
            total = a.sum()
            change = 1.0 + (c.sum() / total / float(np.mean(used**2)) if total > 0 else 0.0)
            if not (total > 0 and abs(math.sqrt(max(change, 0.25)) - 1.0) > _CLOSE):
                break
            scale *= math.sqrt(min(max(change, 0.5), 2.0))
        kept = a != 0
        return _Moments(a=a, c=c, var_a=np.where(kept, out[3], 0), var_c=np.where(kept, out[5], 0), amp=amp, used=used, stated=stated)

    def _measures(self, image: Image, traces: TraceSet, x: _Moments, y: _Moments | None, why: str, *, arc: bool) -> Measures:
        fiber = traces.fiber
        each, lines = _of_fibres(x), None if y is None else _of_fibres(y)
        wx, ox = self._by_amp((WIDTH_X, RATIO_X), image, x, lines=arc)
        fx = _by_fibre(FIBRE_X, fiber, each)
        if y is None or lines is None:
            wy, oy, fy = (not_applicable(d.name, why) for d in (WIDTH_Y, RATIO_Y, FIBRE_Y))
        else:
            wy, oy = self._by_amp((WIDTH_Y, RATIO_Y), image, y, lines=True)
            fy = _by_fibre(FIBRE_Y, fiber, lines)
        metrics = (wx, ox, wy, oy, fx, fy, self._broad(fiber, each, _light(x, x.amp >= 0)))
        both = (each, x), None if y is None or lines is None else (lines, y)
        facts = {"lit_fibers": int(np.isfinite(each.sigma).sum()), "lines": 0 if y is None else len(y.a)}
        return Measures(metrics, plots=(_plot(image.camera, fiber, metrics, both),), facts=facts)

    def _by_amp(self, both: tuple[MetricDef, MetricDef], image: Image, m: _Moments, *, lines: bool) -> tuple[Measured, Measured]:
        """Median over the fibres that are lit on an amplifier, in pixel and over the trace set; NaN where it is dead, or its traces are dark.

        Left out where no trace or line lies on it, or what light there is does not tell it well enough; `lines` may be none at all.
        """
        found = [self._one(m, m.amp == i, lines, amp, image.dead.get(amp.name, "")) for i, amp in enumerate(image.amplifiers)]
        names = [a.name for a in image.amplifiers]
        told: dict[Coord | tuple[Coord, ...], str] = {n: f[2] for n, f in zip(names, found, strict=True) if f[2]}
        left = [n for n, f in zip(names, found, strict=True) if not f[3]]
        if len(left) == len(names):
            why = "; ".join(dict.fromkeys(told.values()))
            return not_applicable(both[0].name, why), not_applicable(both[1].name, why)
        pixel = measured(both[0].name, [f[0] for f in found], amp=names, remarks=told, left_out=left)
        if not np.isfinite(m.stated).any():
            return pixel, not_applicable(both[1].name, _UNSTATED)
        return pixel, measured(both[1].name, [f[1] for f in found], amp=names, remarks=told, left_out=left)

    def _one(self, m: _Moments, here: Raw, lines: bool, amp: Amplifier, dead: str) -> tuple[float, float, str, bool]:
        """Width in pixel and over the trace set, what is to be said of it, and whether it is judged."""
        nothing = math.nan, math.nan
        if amp.bad or not here.any():
            return *nothing, "known to be bad" if amp.bad else ("no line" if lines else "no trace") + " lies on it", False
        if dead:
            return *nothing, cause(dead), True
        found = _of_fibres(m, here)
        known = np.isfinite(found.sigma)
        n = int(known.sum())
        error = 1.2533 * float(np.sqrt(np.mean(found.error[known] ** 2) / n)) if n else math.inf  # that of a median
        if n >= _FEW and (error < (1 if lines else 1.4) * self.params.known or (not lines and _far_off(found, error))):
            return float(np.median(found.sigma[known])), float(np.median(found.ratio[known])), "", True
        if lines:
            return *nothing, f"the lines there tell it to {100 * error:.2g} % alone" if n else "no line there is bright enough", False
        # a short exposure is no broken one: light that is there, and too faint in each fibre, is no reason to doubt the amplifier
        if n or _light(m, here):
            return *nothing, f"the fibres there tell it to {100 * error:.2g} % alone" if n else "no fibre there is bright enough", False
        return *nothing, "no fibre there is lit", True

    def _broad(self, fiber: Raw, each: _Widths, light: bool) -> Measured:
        known = np.isfinite(each.ratio)
        if not known.any():
            if np.isfinite(each.sigma).any():
                return not_applicable(BROAD.name, _UNSTATED)
            return not_applicable(BROAD.name, "no fibre is bright enough") if light else scalar(BROAD, math.nan, "no fibre is lit")
        relative = each.ratio / np.median(each.ratio[known])
        broad = known & (relative > self.params.broad) & (relative - 1.0 > 5.0 * each.error)
        return scalar(BROAD, float(broad.sum() / known.sum()), numbered("fibre", fiber[broad]))


def _chosen(lines: LineList, low: float, high: float, most: int) -> Float64:
    """Wavelengths of the brightest lone lines in either half of the range."""
    lone = lone_lines(lines, low, high, reach=_NEAR, share=_SHARE)
    return np.ascontiguousarray(lines.wave[lone][brightest(lines.strength[lone], lines.wave[lone], 2, max(1, most // 2))])


def _amps(amplifiers: tuple[Amplifier, ...], row: Raw, x: Float64) -> Raw:
    """Index of the amplifier of every sample; -1 beside all of them."""
    out = np.full(x.shape, -1)
    for i, a in enumerate(amplifiers):
        out[(row >= a.ccd.y0) & (row < a.ccd.y1) & (x >= a.ccd.x0) & (x < a.ccd.x1)] = i
    return out


def _agreeing(out: Float64, used: Float64) -> tuple[Float64, Float64]:
    """A and C of lines, weighted so that each line counts by what it tells; zero for lines that are not there, or as wide as no other (blends)."""
    a, c, var = out[0], out[2], out[5]
    n = np.maximum((a != 0).sum(axis=1), 1)
    light, noise = a.sum(axis=1) / n, var.sum(axis=1) / n
    seen = (light > 0) & (a.sum(axis=1) > _LIT * np.sqrt(out[3].sum(axis=1)))
    excess = np.divide(c.sum(axis=1), a.sum(axis=1), out=np.full(len(a), np.nan), where=seen) / np.mean(used**2, axis=1)
    middle = np.median(excess[seen]) if seen.any() else 0.0
    seen &= np.abs(np.nan_to_num(excess) - middle) < _OFF
    weight = np.where(seen, light / np.maximum(noise, 1e-30), 0.0)
    weight /= max(float(weight.max(initial=0.0)), 1e-30)
    out[3] *= weight[:, None] ** 2
    out[5] *= weight[:, None] ** 2
    return a * weight[:, None], c * weight[:, None]


def _of_fibres(m: _Moments, here: Raw | None = None) -> _Widths:
    """Widths of every fibre from its samples (those at `here`)."""
    seen = m.a != 0 if here is None else here & (m.a != 0)
    a, c, va, vc, used2, stated2 = (np.where(seen, v, 0.0).sum(axis=0) for v in (m.a, m.c, m.var_a, m.var_c, m.used**2, m.stated**2))
    lit = a > _LIT * np.sqrt(va)
    safe, count = np.where(lit, a, 1.0), np.maximum(seen.sum(axis=0), 1)
    square = used2 / count + c / safe
    good = lit & (square > 0)
    sigma = np.sqrt(np.where(good, square, np.nan))
    ratio = sigma / np.sqrt(np.where(stated2 > 0, stated2 / count, np.nan))
    return _Widths(sigma=sigma, ratio=ratio, error=np.where(good, 0.5 * np.sqrt(vc) / safe / np.where(good, square, 1.0), np.nan))


def _light(m: _Moments, here: Raw) -> bool:
    """Whether there is light in these samples all together, though it may be too faint in each fibre."""
    return bool(m.a[here].sum() > _LIGHT * math.sqrt(float(m.var_a[here].sum())))


def _far_off(found: _Widths, error: float) -> bool:
    """Whether the median width is off what is stated by more than its noise, `error` relative, makes."""
    known = np.isfinite(found.ratio)
    return bool(known.any() and error < _TELLING and abs(float(np.median(found.ratio[known])) - 1.0) > _SURE * error)


def _by_fibre(definition: MetricDef, fiber: Raw, found: _Widths) -> Measured:
    told = np.isfinite(found.ratio) & (found.error < _TELLING)
    if not told.any():
        return not_applicable(definition.name, "no fibre tells it to 10 %, or the trace set states no widths")
    value, names = np.where(told, found.ratio, np.nan), fiber.tolist()
    return measured(definition.name, value, fiber=names, remarks=gaps(value, names, why="too little light, or none"))


def _plot(camera: str, fiber: Raw, metrics: tuple[Measured, ...], both: tuple[tuple[_Widths, _Moments] | None, ...]) -> Plot:
    """`both`: widths and moments across and along the dispersion; None where there are none."""
    number = np.asarray(fiber, np.float64)
    panels = []
    for found, name, title, bar, definition in zip(both, "xy", ("across", "along"), (1, 3), (RATIO_X, RATIO_Y), strict=True):
        got, label = metrics[bar], f"sigma in {name} / trace set"
        bar_of = bars(definition, got, title=f"Width {title} the dispersion", label=label, range_=_span(got))
        layers: tuple[Scatter | Line, ...] = ()
        if found is not None:
            sigma, stated = found[0].sigma, np.sqrt(np.mean(found[1].stated ** 2, axis=0))
            seen = np.isfinite(sigma)
            layers = (Scatter(x=number[seen], y=sigma[seen], label="measured"),)
            layers = (*layers, Line(x=number, y=stated, label="trace set")) if np.isfinite(stated).any() else layers
        y = Axis(label=f"sigma in {name}", unit="pixel")
        panels += [bar_of, Panel(x=Axis(label="fibre"), y=y, layers=layers, title=f"Of each fibre, {title} the dispersion")]
    return Plot(name="trace_widths", title=f"Widths of the profiles, camera {camera}", panels=tuple(panels), columns=2)


def _span(ratio: Measured) -> tuple[float, float]:
    """Part of the axis around 1 in which the ratios are told apart."""
    known = ratio.values[np.isfinite(ratio.values)]
    return min(0.7, *(float(v) - 0.1 for v in known), 0.7), max(1.35, *(float(v) + 0.1 for v in known), 1.35)
