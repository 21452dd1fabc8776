"""The lines of an arc that a wavelength solution was moved onto: how many, how well they fit, how wide they are."""

from __future__ import annotations

import math
import re

import numpy as np

from qa.values import scalar
from quicklook.ccd.arrays import Float64
from quicklook.ccd.linelist import ArcLines, shipped_lines
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import ArcFit
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg, NoParams

LINES = MetricDef("arc_lines", "", doc="Number of lines of an arc that the wavelength solution rests on.")
RESIDUAL = MetricDef("arc_residual", "pixel", doc="rms of these lines about the solution, each the median over the fibres.")
SCATTER = MetricDef("arc_scatter", "pixel", doc="Robust scatter of a line over the fibres about the solution, median over these lines.")
FITTED = MetricDef("arc_fibers_fitted", "", doc="Part of the fibres in which a line was well fitted, median over these lines.")
SIGMA = MetricDef("arc_sigma", "pixel", doc="Gaussian sigma of these lines along the dispersion, median over lines and fibres.")
LAMPS = MetricDef("arc_lamp_lines", "", dims=("lamp",), doc="Number of lines of each element of the line list that were seen in the arc.")

_SAME = 0.01
_WAVE = Axis(label="wavelength", unit="Angstrom")


class ArcLinesUsed(MonitoringAlg[NoParams]):
    """Reports on how many lines of the arc the wavelength solution rests, how well it fits them, and how wide they are.

    Formula: with d the measured less the fitted place of a line in a fibre, pixel: arc_residual = sqrt(mean over the used lines of (median over the
    fibres of d)^2); arc_scatter = median over the lines of 1.4826 MAD of d over the fibres; arc_fibers_fitted = median over the lines of fibres
    with a good fit / all fibres; arc_sigma = median over lines and fibres of the fitted Gaussian sigma; arc_lines, arc_lamp_lines = numbers of
    lines (of an element: of the list, within 0.01 Angstrom). arc_residual / sqrt(arc_lines) is about the error of the zero of the solution.
    Source: own definition: rms and robust scatter (1.4826 MAD) in the usual sense.
    """

    name = "arc_lines"
    group = "Spectra"
    metrics = (LINES, RESIDUAL, SCATTER, FITTED, SIGMA, LAMPS)

    def measure(self, arc: ArcFit, traces: TraceSet, arclines: ArcLines | None = None) -> Measures:
        """Of the lines that were used; NaN with a remark where there are none. Elements are those of the line list, also where none was seen."""
        used = arc.used > 0
        why = "" if used.any() else "no line was used"
        seen = f"{int(used.sum())} of {used.size} lines that were seen"
        metrics = (
            scalar(LINES, int(used.sum()), f"{seen}; {arc.remark}" if arc.remark else seen),
            scalar(RESIDUAL, float(np.sqrt(np.mean(arc.residual[used] ** 2))) if used.any() else math.nan, why or _worst(arc, used)),
            scalar(SCATTER, _median(arc.scatter[used]), why),
            scalar(FITTED, _median(arc.nfibre[used]) / traces.nfibre, why),
            scalar(SIGMA, _median(arc.sigma[used]), why),
            _lamps(arc, traces, arclines or shipped_lines(ArcLines)),
        )
        return Measures(metrics, plots=(_plot(arc, used),), facts={"lines_seen": int(used.size), "remark": arc.remark or None})


def _lamps(arc: ArcFit, traces: TraceSet, lines: ArcLines) -> Measured:
    """How many lines of each element of the list were seen, and of how many that fall on the detector."""
    y = traces.evaluate(traces.y[traces.nfibre // 2 : traces.nfibre // 2 + 1], lines.wave)[0]
    inside = (y > 0) & (y < traces.npix_y - 1) & (lines.wave > traces.wavemin) & (lines.wave < traces.wavemax)
    seen = np.array([np.abs(arc.wave - w).min() < _SAME if arc.wave.size else False for w in lines.wave])
    lamp = np.array([re.split(r"[\W_]", name)[0] for name in lines.name])
    names = sorted(set(lamp[inside].tolist()))
    counts = [int((seen & inside & (lamp == n)).sum()) for n in names]
    listed = [int((inside & (lamp == n)).sum()) for n in names]
    told: dict[Coord | tuple[Coord, ...], str] = {n: f"{k} of {m} of the list" for n, k, m in zip(names, counts, listed, strict=True)}
    return measured(LAMPS.name, counts, lamp=names, remarks=told)


def _median(values: Float64) -> float:
    return float(np.median(values)) if values.size else math.nan


def _worst(arc: ArcFit, used: np.ndarray) -> str:
    at = int(np.argmax(np.where(used, np.abs(arc.residual), -1.0)))
    return f"the line at {arc.wave[at]:.1f} Angstrom lies off by {arc.residual[at]:+.3f} pixel"


def _plot(arc: ArcFit, used: np.ndarray) -> Plot:
    shown = (
        (arc.residual, "residual", "Residual, median over the fibres", RESIDUAL.name, used),
        (arc.scatter, "scatter", "Scatter over the fibres", SCATTER.name, used),
        (arc.sigma, "sigma", "Width, median over the fibres", SIGMA.name, np.isfinite(arc.sigma)),
    )
    panels = tuple(
        Panel(x=_WAVE, y=Axis(label=label, unit="pixel"), layers=(Scatter(x=arc.wave[of], y=values[of]),), title=title, metric=metric)
        for values, label, title, metric, of in shown
    )
    return Plot(name="arc_lines", title=f"Lines of the arc, camera {arc.camera}", panels=panels, columns=len(panels))
