"""What is left in the sky fibres when the sky is subtracted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import EMPTY
from qa.values import row_medians, scalar
from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_STRETCHES, _EIGHTH = 128, 8
_REACH, _BARS = 6.0, 60
_HITS = 2
"""Samples that cosmic rays may have hit where few tell anything."""
_MIN = 20
_SAMPLE = 32_768
"""Pulls of which the width is taken at most: it is then known to a per cent."""
_EVERY = 8
_TELLING = 200
"""From so many samples a mean squared pull is known to 0.1; what fewer say within their own scatter is no evidence of anything."""
_SURE, _WAVE_SURE = 3.0, 5.0
"""Sigma that is no chance: of a mean squared pull, and of the squared scatter of wavelengths, which rests on few bright samples."""
_LEVEL_SURE, _SCATTER_SURE = 4.0, 3.0
"""Errors of the left-over sky, and times what noise makes of the scatter of some ten fibres, that are no chance."""
_LINE_SURE = 5.0
"""Errors of a sample of the model above its median at which it is on a line and no noise."""
_MEDIAN_ERROR = 1.2533

CHI2 = MetricDef("sky_chi2", "", doc="Mean squared pull of the sky fibres that made the model, each left out of its own; 1 if the errors are right.")
ON = MetricDef("sky_chi2_on_lines", "", doc="Mean squared pull of these fibres where sky lines are.")
OFF = MetricDef("sky_chi2_off_lines", "", doc="Mean squared pull of these fibres between the sky lines.")
BIAS = MetricDef("sky_residual", "", doc="Median residual of these fibres relative to the sky, between the lines.")
BY_WAVE = MetricDef("sky_chi2_wave", "", dims=("wave",), doc="Mean squared pull of these fibres by wavelength, a pull counted as 6 at most.")
BY_FIBRE = MetricDef("sky_chi2_fiber", "", dims=("fiber",), doc="Mean squared pull of each of these fibres, a pull counted as 6 at most.")
WIDTH = MetricDef("sky_pull_width", "", doc="Robust width of the pulls of these fibres.")
USED = MetricDef("sky_fibers_used", "", doc="Number of sky fibres that the model rests on.")
REJECTED = MetricDef("sky_fibers_rejected", "", doc="Part of the sky fibres that was left out, because they see something else than the others.")
SCATTER = MetricDef("sky_level_scatter", "", doc="Robust scatter of the level of the sky among these fibres, relative to the sky.")
WAVE = MetricDef("sky_wave_error", "Angstrom", doc="Scatter of the wavelengths among these fibres that their sky lines show beyond the noise.")


class SkyResidualParams(Params):
    """Parameters of `sky_residual`."""

    line_level: float = Field(2.0, gt=1.0, description="sky lines are where the model has more than this times its median")
    wave_known: float = Field(
        0.02, gt=0.0, description="where noise alone makes a larger scatter of wavelengths than this, what it may have made is taken off [Angstrom]"
    )
    residual_known: float = Field(0.0025, gt=0.0, description="where noise tells `sky_residual` worse than this, it is stated if it is no noise")
    scatter_known: float = Field(0.01, gt=0.0, description="where noise alone makes a larger scatter of the level, it is stated if it is no noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Of the sky fibres: their rows, sums of squared pulls (each 6 at most) and numbers of samples [2, n, nstretch] (0 between lines, 1 on lines),
    what larger pulls have beyond [2], sums of the residual, of the sky and of the variance between lines [3, n], histogram of the pulls, some of
    the pulls, middles of the stretches (Angstrom)."""

    rows: Raw
    square: Float64
    count: Float64
    excess: Float64
    light: Float64
    bars: Float64
    some: Float32
    wave: Float64


class SkyResidual(MonitoringAlg[SkyResidualParams]):
    """Measures the residuals of sky fibres, on and between sky lines, by wavelength and by fibre, against their errors.

    The mean squared pull is 1 where model and errors are right. Each fibre is compared with the model of the others. By wavelength (sixteen
    stretches) and by fibre single pulls count as 6 at most: there one sample that a cosmic ray hit would outweigh the rest.
    Formula: pull = residual x sqrt(ivar); sky_chi2 = mean of pull^2 over the n usable samples, its error sqrt(2 / n), sky_chi2_on_lines,
    sky_chi2_off_lines = that where the sky is above `line_level` x its median and 5 errors of the model above it, and where it is not;
    sky_chi2_wave, sky_chi2_fiber = that by wavelength and by fibre, of pulls cut at 6; sky_pull_width = 1.4826 MAD of the pulls. r = sum of the
    residual / sum of the sky between lines, of a fibre: sky_residual = median of r, sky_level_scatter = 1.4826 MAD of r. A faint sky (a short
    exposure) tells them badly: where the error of sky_residual, 1.2533 e / sqrt(fibres) with e the median error of r, exceeds `residual_known`, it
    is stated if it is 4 errors; where e exceeds `scatter_known`, the scatter beyond e is stated if the scatter is 3 e; else they do not apply.
    sky_wave_error = scatter of the wavelengths among the fibres beyond the noise, Angstrom, as `compute_sky` fits it; sky_fibers_used,
    sky_fibers_rejected = fibres that the model rests on, part of them that it leaves out.
    Source: sky_residual stands for RESIDUAL (Sky_Residual) of DESI's quick-look; the mean squared pull is the reduced chi squared.
    """

    name = "sky_residual"
    group = "Spectra"
    metrics = (CHI2, ON, OFF, BY_WAVE, BY_FIBRE, BIAS, WIDTH, USED, REJECTED, SCATTER, WAVE)

    def measure(self, frame: Frame, sky: SkyModel) -> Measures:
        """Of the sky-subtracted frame. Raises NotApplicable where the model rests on no fibre of this frame (a sky from a file)."""
        rows = np.flatnonzero(np.isin(frame.fibermap.fiber, np.array(sky.fibers, np.int64)))
        if not rows.size or sky.flux.shape != frame.flux.shape:
            raise NotApplicable("the sky model rests on no fibre of this exposure")
        s = self._sums(frame, sky, rows)
        residual, noise = _relative(s)
        metrics = (
            _mean_square(CHI2, s.square.sum() + s.excess.sum(), s.count.sum(), s),
            _mean_square(ON, s.square[1].sum() + s.excess[1], s.count[1].sum(), s),
            _mean_square(OFF, s.square[0].sum() + s.excess[0], s.count[0].sum(), s),
            _by_wave(s),
            _by_fibre(frame, s),
            self._left_over(residual, noise),
            _robust(WIDTH, s.some, width=True),
            scalar(USED, len(sky.fibers)),
            _rejected(sky),
            self._unlike(residual, noise),
            self._wave(sky),
        )
        return Measures(metrics, plots=(_plot(frame, s),), facts={"leave_one_out": sky.leave_one_out, "line_error": sky.line_error})

    def _left_over(self, residual: Float64, noise: float) -> Measured:
        """Median of the relative residuals, as far as their noise tells it."""
        got = _robust(BIAS, residual, width=False)
        value, error = float(got.values), _MEDIAN_ERROR * noise / math.sqrt(max(residual.size, 1))
        if not error > self.params.residual_known:
            return got
        if abs(value) < _LEVEL_SURE * error:
            return not_applicable(BIAS.name, f"so faint a sky tells it to {error:.2g} alone: {value:+.2g}")
        return scalar(BIAS, value, f"known to {error:.2g}")

    def _unlike(self, residual: Float64, noise: float) -> Measured:
        """Scatter of the relative residuals over the fibres, as far as their noise tells it."""
        got = _robust(SCATTER, residual, width=True)
        value = float(got.values)
        if not noise > self.params.scatter_known:
            return got
        if value < _SCATTER_SURE * noise:
            return not_applicable(SCATTER.name, f"the noise of so faint a sky alone makes {noise:.2g}; seen: {value:.2g}")
        return scalar(SCATTER, math.sqrt(value**2 - noise**2), f"beyond its noise, which alone makes {noise:.2g}")

    def _wave(self, sky: SkyModel) -> Measured:
        """Where noise makes more than `wave_known`, five sigma of what it makes beyond that are taken off; left out where nothing is left."""
        e, noise, known = sky.wave_error, sky.wave_noise, self.params.wave_known
        if noise <= known:
            return scalar(WAVE, e, f"noise alone makes {noise:.2g} Angstrom")
        if not math.isfinite(noise):
            return not_applicable(WAVE.name, "the sky lines in these fibres do not tell it")
        beyond = e**2 - _WAVE_SURE * (noise**2 - known**2)  # the squares are what is measured
        if not (beyond > 0 and e**2 > _SURE * noise**2):
            return not_applicable(WAVE.name, f"the sky lines in these fibres tell it to {noise:.2g} Angstrom alone")
        return scalar(WAVE, math.sqrt(beyond), f"{e:.2g} Angstrom, less what noise may make of it, which alone makes {noise:.2g}")

    def _sums(self, frame: Frame, sky: SkyModel, rows: Raw) -> _Sums:
        from qa.kernels.pulls import sum_pulls

        nwave = frame.flux.shape[1]
        cut = self._line_cut(frame, sky, rows)
        parts = min(_STRETCHES, nwave)
        stretch = np.arange(nwave) * parts // nwave
        square, count = np.zeros((2, rows.size, parts)), np.zeros((2, rows.size, parts))
        excess, light, bars, some = np.zeros(2), np.zeros((3, rows.size)), np.zeros(_BARS), np.empty(_SAMPLE, np.float32)
        step = max(1, rows.size * nwave // _SAMPLE)
        arrays = (frame.flux, frame.ivar, frame.mask, sky.flux, rows, cut, stretch)
        n = sum_pulls(*arrays, square, count, excess, light, bars, _REACH, some, step)
        first = np.searchsorted(stretch, np.arange(parts))
        wave = frame.wave[rows[rows.size // 2]][(first + np.append(first[1:], nwave) - 1) // 2]
        return _Sums(rows=rows, square=square, count=count, excess=excess, light=light, bars=bars, some=some[:n], wave=wave)

    def _line_cut(self, frame: Frame, sky: SkyModel, rows: Raw) -> Float64:
        """From which light of the model on a sample is on a line [n]: above the median by a factor, and by more than the noise of the model makes."""
        model, weight = sky.flux[rows, ::_EVERY], sky.ivar[rows, ::_EVERY]
        good = np.isfinite(model) & (frame.ivar[rows, ::_EVERY] > 0)
        level, typical = row_medians(model, good), row_medians(weight, good & (weight > 0))
        with np.errstate(invalid="ignore"):  # NaN stays NaN
            noise = np.where(typical > 0, 1.0 / np.sqrt(typical), 0.0)
        return np.where(np.isfinite(level), np.maximum(self.params.line_level * level, level + _LINE_SURE * noise), np.inf)


def _relative(s: _Sums) -> tuple[Float64, float]:
    """Residual over sky between lines, of the fibres that have sky, and the median of what noise makes of it in one (0 where there is none)."""
    top, bottom, variance = s.light
    seen = (bottom > 0) & np.isfinite(top) & np.isfinite(variance)
    if not seen.any():
        return np.empty(0), 0.0
    return top[seen] / bottom[seen], float(np.median(np.sqrt(variance[seen]) / bottom[seen]))


def _mean_square(definition: MetricDef, total: float, count: float, s: _Sums) -> Measured:
    """NaN where there is nothing to measure it from. On lines, which may be few, samples that do not tell 1 from 1.3 leave it out."""
    n = int(count)
    if n < _MIN and definition is not ON:
        return scalar(definition, math.nan, f"{n} samples there, {_MIN} are needed")
    value = float(total / n) if n else 1.0
    error = math.sqrt(2.0 / max(n, 1))
    sure = _SURE * error + _HITS * _REACH**2 / max(n, 1)
    if definition is ON and n < _TELLING and s.count.any() and abs(float(s.square[1].sum()) / max(n, 1) - 1.0) < sure:
        return not_applicable(definition.name, f"{n} samples of sky lines tell it to {error:.2g} alone")
    return scalar(definition, value if n else math.nan, "" if n else "no sample can be used")


def _by_wave(s: _Sums) -> Measured:
    """Over eight stretches together each; where few samples are usable it is not judged."""
    first = np.arange(0, s.wave.size, _EIGHTH)
    square, n = (np.asarray(np.add.reduceat(v.sum(axis=(0, 1)), first), np.float64) for v in (s.square, s.count))
    middle = np.minimum(first + _EIGHTH // 2, s.wave.size - 1)
    names = [round(float(w), 1) for w in s.wave[middle]]
    left: list[Coord] = [w for w, k in zip(names, n, strict=True) if k < _TELLING]
    if len(left) == len(names):
        return not_applicable(BY_WAVE.name, f"fewer than {_TELLING} samples can be used at any wavelength")
    value = np.where(n >= _TELLING, square / np.maximum(n, 1), np.nan)
    return measured(BY_WAVE.name, value, wave=names, left_out=left, remarks=_few(left))


def _few(left: list[Coord]) -> dict[Coord | tuple[Coord, ...], str]:
    return dict.fromkeys(left, "few samples can be used")


def _by_fibre(frame: Frame, s: _Sums) -> Measured:
    square, n = (v.sum(axis=(0, 2)) for v in (s.square, s.count))
    names = [int(f) for f in frame.fibermap.fiber[s.rows]]
    left: list[Coord] = [f for f, k in zip(names, n, strict=True) if k < _TELLING]
    if len(left) == len(names):
        return not_applicable(BY_FIBRE.name, f"no fibre has {_TELLING} samples that can be used")
    value = np.where(n >= _TELLING, square / np.maximum(n, 1), np.nan)
    return measured(BY_FIBRE.name, value, fiber=names, left_out=left, remarks=_few(left))


def _robust(definition: MetricDef, values: Float64 | Float32, *, width: bool) -> Measured:
    if values.size < (_MIN if definition is WIDTH else 1):
        return scalar(definition, math.nan, "no sample can be used")
    middle = float(np.median(values))
    return scalar(definition, float(1.4826 * np.median(np.abs(values - middle))) if width else middle)


def _rejected(sky: SkyModel) -> Measured:
    numbers = ", ".join(str(f) for f in sky.rejected[:20])
    return scalar(REJECTED, len(sky.rejected) / (len(sky.fibers) + len(sky.rejected)), f"fibre {numbers}" if numbers else "")


def _plot(frame: Frame, s: _Sums) -> Plot:
    edges = np.linspace(-_REACH, _REACH, _BARS + 1)
    middles = 0.5 * (edges[1:] + edges[:-1])
    normal = s.bars.sum() * (edges[1] - edges[0]) * np.exp(-0.5 * middles**2) / math.sqrt(2 * math.pi)
    pulls = Panel(
        x=Axis(label="residual / error"),
        y=Axis(label="samples", log=True, range=(0.5, None)),
        layers=(Line(x=middles, y=np.maximum(s.bars, EMPTY), label="sky fibres"), Line(x=middles, y=np.maximum(normal, EMPTY), label="right errors")),
        title="Pulls of the sky fibres",
    )
    panels = (pulls, _along(s), _of_fibres(frame, s), *_places(frame, s))
    return Plot(name="sky_residual", title=f"Sky residuals, camera {frame.camera}", panels=panels, columns=2)


def _along(s: _Sums) -> Panel:
    """Mean squared pull in stretches of wavelength, between and on lines."""
    between, on = (_ratio(s.square[i].sum(axis=0), s.count[i].sum(axis=0)) for i in (0, 1))
    layers: list[Line | Scatter] = [Line(x=s.wave[np.isfinite(between)], y=between[np.isfinite(between)], label="between lines")]
    told = np.isfinite(on) & (s.count[1].sum(axis=0) >= _MIN)
    if told.any():
        layers.append(Scatter(x=s.wave[told], y=on[told], label="on lines"))
    y = Axis(label="mean squared pull", range=(0.0, None))
    return Panel(x=Axis(label="wavelength", unit="Angstrom"), y=y, layers=tuple(layers), title="Along the spectrum", metric=BY_WAVE.name)


def _ratio(top: Float64, bottom: Float64) -> Float64:
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))


def _of_fibres(frame: Frame, s: _Sums) -> Panel:
    chi2 = _ratio(s.square.sum(axis=(0, 2)), s.count.sum(axis=(0, 2)))
    seen = np.isfinite(chi2)
    points = Scatter(x=np.asarray(frame.fibermap.fiber[s.rows], np.float64)[seen], y=chi2[seen])
    return Panel(x=Axis(label="fibre"), y=Axis(label="mean squared pull"), layers=(points,), title="Of each sky fibre", metric=BY_FIBRE.name)


def _places(frame: Frame, s: _Sums) -> list[Panel]:
    x, y = frame.fibermap.columns.get("FIBERASSIGN_X"), frame.fibermap.columns.get("FIBERASSIGN_Y")
    if x is None or y is None:
        return []
    chi2 = _ratio(s.square.sum(axis=(0, 2)), s.count.sum(axis=(0, 2)))
    seen = np.isfinite(chi2)
    at = s.rows[seen]
    places = FocalPlane(x=np.asarray(x, np.float64)[at], y=np.asarray(y, np.float64)[at], c=chi2[seen], c_axis=Axis(label="mean squared pull"))
    return [Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(places,), title="On the focal plane")]
