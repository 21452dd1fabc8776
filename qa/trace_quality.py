"""Traces as they were found in flats: how many fibres, how well they are followed, how wide they are."""

from __future__ import annotations

import math

import numpy as np

from qa.values import scalar
from quicklook.ccd.pixeltraces import TraceFit
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

SCATTER = MetricDef("trace_scatter", "pixel", doc="Scatter of the measured places about a trace, rms, median over the lit fibres (edges of a slit).")
WORST = MetricDef("trace_scatter_max", "pixel", doc="The largest such scatter of a lit fibre.")
DARK = MetricDef("dark_fiber_fraction", "", doc="Fraction of the fibres of the instrument in which a flat shows no light.")
COVERAGE = MetricDef("trace_coverage", "", doc="Fraction of the rows on which a trace was measured, the smallest one of the lit fibres.")
WIDTH = MetricDef("trace_sigma", "pixel", doc="Gaussian sigma of the profile across a trace, median over the lit fibres.")
_SHOWN = 20
_FIBRE = Axis(label="fibre")


class TraceQualityParams(Params):
    """Nothing to set."""


class TraceQuality(MonitoringAlg[TraceQualityParams]):
    """Reports how the traces follow the light of the flats that they were found in, and which fibres are dark.

    Formula: trace_scatter = median over the lit fibres of the rms of the measured places about the series of the trace, pixel, trace_scatter_max
    the largest; trace_sigma = median of the Gaussian sigma of the profile, pixel; trace_coverage = least part of the rows with a measured place;
    dark_fiber_fraction = fibres without light / fibres of the instrument. The error of a trace is about its scatter / sqrt(rows / terms of the
    series).
    Source: own definition: rms about a fit in the usual sense.
    """

    name = "trace_quality"
    group = "Fibres"
    metrics = (SCATTER, WORST, DARK, COVERAGE, WIDTH)

    def measure(self, fit: TraceFit) -> Measures:
        """Of the lit fibres; NaN with a remark where none is lit. The width does not apply to a slit."""
        lit = np.isfinite(fit.rms)
        why = "" if lit.any() else "no fibre is lit"
        worst = int(np.nanargmax(np.where(lit, fit.rms, -1.0))) if lit.any() else 0
        least = int(np.nanargmin(np.where(lit, fit.coverage, 2.0))) if lit.any() else 0
        metrics = (
            scalar(SCATTER, _median(fit.rms[lit]), why),
            scalar(WORST, _value(fit.rms, worst, lit), why or f"fibre {int(fit.fiber[worst])}"),
            _dark(fit),
            scalar(COVERAGE, _value(fit.coverage, least, lit), why or f"fibre {int(fit.fiber[least])}"),
            not_applicable(WIDTH.name, "the apertures of a slit have no profile") if fit.slit else scalar(WIDTH, _median(fit.sigma[lit]), why),
        )
        pitch = fit.pitch if math.isfinite(fit.pitch) else None
        facts = {"fibres_lit": int(lit.sum()), "fibres_expected": fit.expected or None, "pitch_pixel": pitch}
        return Measures(metrics, plots=(_plot(fit),), facts=facts)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else math.nan


def _value(values: np.ndarray, at: int, lit: np.ndarray) -> float:
    return float(values[at]) if lit.any() else math.nan


def _dark(fit: TraceFit) -> Measured:
    if not fit.expected:
        return not_applicable(DARK.name, "the instrument does not say how many fibres there are")
    named = ", ".join(str(f) for f in fit.dark[:_SHOWN]) + (f" and {len(fit.dark) - _SHOWN} more" if len(fit.dark) > _SHOWN else "")
    return scalar(DARK, len(fit.dark) / len(fit.fiber), f"dark: {named}" if fit.dark else "")


def _plot(fit: TraceFit) -> Plot:
    fibre = np.asarray(fit.fiber, np.float64)
    shown = ((fit.rms, "scatter", "pixel", SCATTER.name), (fit.sigma, "sigma", "pixel", WIDTH.name), (fit.flux, "light in a row", "electron", None))
    panels = tuple(
        Panel(x=_FIBRE, y=Axis(label=label, unit=unit), layers=(Scatter(x=fibre, y=values),), title=label.capitalize(), metric=metric)
        for values, label, unit, metric in shown
    )
    return Plot(name="trace_quality", title=f"Traces in the flats, camera {fit.camera}", panels=panels)
