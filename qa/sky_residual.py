"""What is left in the sky fibres when the sky is subtracted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import histogram
from qa.values import row_medians, scalar
from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_BINS = 128
_MIN = 20
_SAMPLE = 65_536
"""Pulls of which the width is taken at most: it is then known to half a per cent."""
_TELLING = 200
"""From so many samples a mean squared pull is known to 0.1; what fewer say within their own scatter is no evidence of anything."""
_SURE = 3.0

CHI2 = MetricDef("sky_chi2", "", doc="Mean squared pull of the sky fibres that made the model, each left out of its own; 1 if the errors are right.")
ON = MetricDef("sky_chi2_on_lines", "", doc="Mean squared pull of these fibres where sky lines are.")
OFF = MetricDef("sky_chi2_off_lines", "", doc="Mean squared pull of these fibres between the sky lines.")
BIAS = MetricDef("sky_residual", "", doc="Median residual of these fibres relative to the sky, between the lines.")
WIDTH = MetricDef("sky_pull_width", "", doc="Robust width of the pulls of these fibres.")
USED = MetricDef("sky_fibers_used", "", doc="Number of sky fibres that the model rests on.")
REJECTED = MetricDef("sky_fibers_rejected", "", doc="Part of the sky fibres that was left out, because they see something else than the others.")
SCATTER = MetricDef("sky_level_scatter", "", doc="Robust scatter of the level of the sky among these fibres, relative to the sky.")
WAVE = MetricDef("sky_wave_error", "Angstrom", doc="Scatter of the wavelengths among these fibres that their sky lines show beyond the noise.")


class SkyResidualParams(Params):
    """Parameters of `sky_residual`."""

    line_level: float = Field(2.0, gt=1.0, description="sky lines are where the model has more than this times its median")
    wave_known: float = Field(0.02, gt=0.0, description="a scatter of wavelengths that noise alone makes larger than this is left out [Angstrom]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pulls:
    """Of the sky fibres [n, nwave]: pulls, which of them count, which are on lines."""

    rows: Raw
    pull: Float32
    good: Raw
    line: Raw


class SkyResidual(MonitoringAlg[SkyResidualParams]):
    """Measures the residuals of sky fibres, on and between sky lines, against their errors."""

    name = "sky_residual"
    group = "Spectra"
    metrics = (CHI2, ON, OFF, BIAS, WIDTH, USED, REJECTED, SCATTER, WAVE)

    def measure(self, frame: Frame, sky: SkyModel) -> Measures:
        """Of the sky-subtracted frame. Raises NotApplicable where the model rests on no fibre of this frame (a sky from a file)."""
        rows = np.flatnonzero(np.isin(frame.fibermap.fiber, np.array(sky.fibers, np.int64)))
        if not rows.size or sky.flux.shape != frame.flux.shape:
            raise NotApplicable("the sky model rests on no fibre of this exposure")
        p = self._pulls(frame, sky, rows)
        residual = _relative(frame, sky, p)
        metrics = (
            _mean_square(CHI2, p, p.good),
            _mean_square(ON, p, p.good & p.line),
            _mean_square(OFF, p, p.good & ~p.line),
            _robust(BIAS, residual[np.isfinite(residual)], width=False),
            _robust(WIDTH, _some(p.pull[p.good]), width=True),
            scalar(USED, len(sky.fibers)),
            _rejected(sky),
            _robust(SCATTER, residual[np.isfinite(residual)], width=True),
            self._wave(sky),
        )
        return Measures(metrics, plots=(_plot(frame, p),), facts={"leave_one_out": sky.leave_one_out, "line_error": sky.line_error})

    def _wave(self, sky: SkyModel) -> Measured:
        """Left out where the lines of the sky do not tell it, unless it stands out of what noise makes of it."""
        beyond = sky.wave_error > _SURE**0.5 * sky.wave_noise  # the squares are what is measured
        if sky.wave_noise > self.params.wave_known and not beyond:
            how = f"tell it to {sky.wave_noise:.2g} Angstrom alone" if math.isfinite(sky.wave_noise) else "do not tell it"
            return not_applicable(WAVE.name, f"the sky lines in these fibres {how}")
        return scalar(WAVE, sky.wave_error, f"noise alone makes {sky.wave_noise:.2g} Angstrom")

    def _pulls(self, frame: Frame, sky: SkyModel, rows: Raw) -> _Pulls:
        flux, ivar, model = frame.flux[rows], frame.ivar[rows], sky.flux[rows]
        good = (ivar > 0) & (frame.mask[rows] == 0) & np.isfinite(flux) & np.isfinite(ivar) & np.isfinite(model)
        level = row_medians(model[:, ::4], good[:, ::4])
        level = np.where(np.isfinite(level), level, np.inf)
        line = model > np.float32(self.params.line_level) * level.astype(np.float32)[:, None]
        pull = np.where(good, flux, np.float32(0)) * np.sqrt(np.where(good, ivar, np.float32(0)))
        return _Pulls(rows=rows, pull=pull, good=good, line=line)


def _mean_square(definition: MetricDef, p: _Pulls, which: Raw) -> Measured:
    """NaN where there is nothing to measure it from. On lines, which may be few, samples that do not tell 1 from 1.3 leave it out."""
    n = int(np.count_nonzero(which))
    if n < _MIN and definition is not ON:
        return scalar(definition, math.nan, f"{n} samples there, {_MIN} are needed")
    value = float(np.square(p.pull[which], dtype=np.float64).mean()) if n else 1.0
    error = math.sqrt(2.0 / max(n, 1))
    if definition is ON and n < _TELLING and p.good.any() and abs(value - 1.0) < _SURE * error:
        return not_applicable(definition.name, f"{n} samples of sky lines tell it to {error:.2g} alone")
    return scalar(definition, value if n else math.nan, "" if n else "no sample can be used")


def _robust(definition: MetricDef, values: Float64 | Float32, *, width: bool) -> Measured:
    if values.size < (_MIN if definition is WIDTH else 1):
        return scalar(definition, math.nan, "no sample can be used")
    middle = float(np.median(values))
    return scalar(definition, float(1.4826 * np.median(np.abs(values - middle))) if width else middle)


def _some(values: Float32) -> Float32:
    return values[:: max(1, values.size // _SAMPLE)]


def _relative(frame: Frame, sky: SkyModel, p: _Pulls) -> Float64:
    """Sum of the residual over sum of the sky between the lines, of each fibre; NaN where there is none."""
    which = p.good & ~p.line
    top = np.where(which, frame.flux[p.rows], 0).sum(axis=1, dtype=np.float64)
    bottom = np.where(which, sky.flux[p.rows], 0).sum(axis=1, dtype=np.float64)
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))


def _rejected(sky: SkyModel) -> Measured:
    numbers = ", ".join(str(f) for f in sky.rejected[:20])
    return scalar(REJECTED, len(sky.rejected) / (len(sky.fibers) + len(sky.rejected)), f"fibre {numbers}" if numbers else "")


def _plot(frame: Frame, p: _Pulls) -> Plot:
    edges = np.linspace(-6.0, 6.0, 61)
    middles, counts = histogram(p.pull[p.good], edges)
    normal = counts.sum() * (edges[1] - edges[0]) * np.exp(-0.5 * middles**2) / math.sqrt(2 * math.pi)
    pulls = Panel(
        x=Axis(label="residual / error"),
        y=Axis(label="samples", log=True, range=(0.5, None)),
        layers=(Line(x=middles, y=counts, label="sky fibres"), Line(x=middles, y=np.maximum(normal, 0.5), label="right errors")),
        title="Pulls of the sky fibres",
    )
    panels = [pulls, _along(frame, p), *_on_focal_plane(frame, p)]
    return Plot(name="sky_residual", title=f"Sky residuals, camera {frame.camera}", panels=tuple(panels), columns=len(panels))


def _along(frame: Frame, p: _Pulls) -> Panel:
    """Mean squared pull in stretches of wavelength."""
    edges = np.linspace(0, p.pull.shape[1], min(_BINS, p.pull.shape[1]) + 1).astype(int)
    square = np.where(p.good, np.square(p.pull), 0).sum(axis=0, dtype=np.float64)
    n = p.good.sum(axis=0).astype(np.float64)
    total, count = np.add.reduceat(square, edges[:-1]), np.add.reduceat(n, edges[:-1])
    known = count > 0
    line = Line(x=_middles(frame, p, edges)[known], y=(total / np.maximum(count, 1))[known])
    y = Axis(label="mean squared pull", range=(0.0, None))
    return Panel(x=Axis(label="wavelength", unit="Angstrom"), y=y, layers=(line,), title="Along the spectrum", metric="sky_chi2")


def _middles(frame: Frame, p: _Pulls, edges: Raw) -> Float64:
    columns = (edges[:-1] + edges[1:] - 1) // 2
    return np.asarray(np.median(frame.wave[np.ix_(p.rows, columns)], axis=0))


def _on_focal_plane(frame: Frame, p: _Pulls) -> list[Panel]:
    chi2 = np.array([float(np.mean(np.square(q[g]))) if g.any() else math.nan for q, g in zip(p.pull, p.good, strict=True)])
    seen = np.isfinite(chi2)
    x, y = frame.fibermap.columns.get("FIBERASSIGN_X"), frame.fibermap.columns.get("FIBERASSIGN_Y")
    axis = Axis(label="mean squared pull")
    if x is None or y is None:
        points = Scatter(x=np.asarray(frame.fibermap.fiber[p.rows], np.float64)[seen], y=chi2[seen])
        return [Panel(x=Axis(label="fibre"), y=axis, layers=(points,), title="Of each sky fibre", metric="sky_chi2")]
    places = FocalPlane(x=np.asarray(x, np.float64)[p.rows][seen], y=np.asarray(y, np.float64)[p.rows][seen], c=chi2[seen], c_axis=axis)
    return [Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(places,), title="On the focal plane")]
