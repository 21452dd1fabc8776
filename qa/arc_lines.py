"""The lines of an arc that a wavelength solution was moved onto: how many, how well they fit, how wide they are."""

from __future__ import annotations

import math

import numpy as np

from qa.values import scalar
from quicklook.ccd.arrays import Float64
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import ArcFit
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg, NoParams

LINES = MetricDef("arc_lines", "", doc="Number of lines of an arc that the wavelength solution rests on.")
RESIDUAL = MetricDef("arc_residual", "pixel", doc="rms of these lines about the solution, each the median over the fibres.")
SCATTER = MetricDef("arc_scatter", "pixel", doc="Robust scatter of a line over the fibres about the solution, median over these lines.")
FITTED = MetricDef("arc_fibers_fitted", "", doc="Part of the fibres in which a line was well fitted, median over these lines.")
SIGMA = MetricDef("arc_sigma", "pixel", doc="Gaussian sigma of these lines along the dispersion, median over lines and fibres.")

_WAVE = Axis(label="wavelength", unit="Angstrom")


class ArcLinesUsed(MonitoringAlg[NoParams]):
    """Reports on how many lines of the arc the wavelength solution rests, how well it fits them, and how wide they are."""

    name = "arc_lines"
    group = "Spectra"
    metrics = (LINES, RESIDUAL, SCATTER, FITTED, SIGMA)

    def measure(self, arc: ArcFit, traces: TraceSet) -> Measures:
        """Of the lines that were used; NaN with a remark where there are none."""
        used = arc.used > 0
        why = "" if used.any() else "no line was used"
        seen = f"{int(used.sum())} of {used.size} lines that were seen"
        metrics = (
            scalar(LINES, int(used.sum()), f"{seen}; {arc.remark}" if arc.remark else seen),
            scalar(RESIDUAL, float(np.sqrt(np.mean(arc.residual[used] ** 2))) if used.any() else math.nan, why or _worst(arc, used)),
            scalar(SCATTER, _median(arc.scatter[used]), why),
            scalar(FITTED, _median(arc.nfibre[used]) / traces.nfibre, why),
            scalar(SIGMA, _median(arc.sigma[used]), why),
        )
        return Measures(metrics, plots=(_plot(arc, used),), facts={"lines_seen": int(used.size), "remark": arc.remark or None})


def _median(values: Float64) -> float:
    return float(np.median(values)) if values.size else math.nan


def _worst(arc: ArcFit, used: np.ndarray) -> str:
    at = int(np.argmax(np.where(used, np.abs(arc.residual), -1.0)))
    return f"the line at {arc.wave[at]:.1f} Angstrom lies off by {arc.residual[at]:+.3f} pixel"


def _plot(arc: ArcFit, used: np.ndarray) -> Plot:
    shown = (
        (arc.residual, "residual", RESIDUAL.name, used),
        (arc.scatter, "scatter over the fibres", SCATTER.name, used),
        (arc.sigma, "sigma", SIGMA.name, np.isfinite(arc.sigma)),
    )
    panels = tuple(
        Panel(x=_WAVE, y=Axis(label=label, unit="pixel"), layers=(Scatter(x=arc.wave[of], y=values[of]),), title=label.capitalize(), metric=metric)
        for values, label, metric, of in shown
    )
    return Plot(name="arc_lines", title=f"Lines of the arc, camera {arc.camera}", panels=panels, columns=len(panels))
