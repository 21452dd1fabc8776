"""Group analyses of a test: what is built from its exposures together, and how metrics run over them. Pure.

An analysis is configuration (`configs/analyses/*.yaml`): a builder, whose steps and QAs work on all exposures together, and series, each of which
makes one number of the values that a metric has in the exposures, and judges it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.groupplots import PlotDef, Point, Shown, group_plot
from quicklook.core.judge import Judge
from quicklook.core.limits import Limit, LimitSet, Range
from quicklook.core.metrics import Coord, MetricDef, measured, not_applicable
from quicklook.core.plots import Plot
from quicklook.core.results import MetricResult
from quicklook.core.validation import suggest, validate


class How(StrEnum):
    """What is made of the values of a metric in n exposures."""

    RANGE = "range"
    RMS = "rms"
    SLOPE = "slope"
    MEAN = "mean"
    SUM = "sum"
    QUADRATURE = "quadrature"
    MIN = "min"
    MAX = "max"


_DOCS = {
    How.RANGE: "Largest minus smallest value over the exposures of the test of",
    How.RMS: "Standard deviation over the exposures of the test of",
    How.SLOPE: "Slope per hour of a straight line over the exposures of the test through",
    How.MEAN: "Mean over the exposures of the test of",
    How.SUM: "Sum over the exposures of the test of",
    How.QUADRATURE: "Root of the sum of squares over the exposures of the test (what a co-added exposure has, if their noises are independent) of",
    How.MIN: "Smallest value over the exposures of the test of",
    How.MAX: "Largest value over the exposures of the test of",
}
_TWO = (How.RANGE, How.RMS, How.SLOPE)
"""What needs two values at least."""


def _words(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


class SeriesDef(BaseModel):
    """One number over the exposures of a test, and its limit. Without `normal` it is told and not judged."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str = Field(description="metric of the exposures")
    how: How = Field(description="what is made of its values")
    normal: Range | None = Field(None, description="normal range [low, high], in the unit of the metric (slope: of it per hour); null: open")
    warning: Range | None = Field(None, description="warning range")
    reason: str = Field("", description="why this limit")
    action: str = Field("", description="what to do")

    @property
    def name(self) -> str:
        """Name of the metric that it makes."""
        return f"{self.metric}_{self.how}"


class AnalysisFile(BaseModel):
    """The contents of a file of a group analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    analysis: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="its name")
    doc: str = Field("", description="what it finds out")
    flavor: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field((), description="flavors of its exposures; none: all of the test")
    builder: str = Field("", description="builder whose steps and QAs work on them together (see `list builders`); none: series alone")
    builders: dict[str, str] = Field({}, description="another builder by instrument")
    coadd: str = Field("", description="how stored spectra of its exposures are added up: a file of configs/coadds (night); none: they are not")
    series: tuple[SeriesDef, ...] = Field((), description="series over the metrics of its exposures")
    plots: tuple[PlotDef, ...] = Field((), description="plots of metrics of its exposures, beside those of the builder and of the series")


def load_analysis(doc: Document, metrics: Mapping[str, MetricDef]) -> AnalysisFile:
    """An analysis from its file, checked against the declared metrics.

    Raises BadConfig, with file and line: a metric that no QA measures, a limit that is inside out or has no reason.
    """
    file = validate(AnalysisFile, doc)
    for i, plot in enumerate(file.plots):
        where = doc.where(("plots", i))
        if plot.metric not in metrics:
            raise BadConfig(f"{where}: no QA measures {plot.metric!r}{suggest(plot.metric, sorted(metrics), noun='metrics')}")
        try:
            plot.unit(metrics[plot.metric])
        except ValueError as error:
            raise BadConfig(f"{where}: {error}") from error
    if not (file.builder or file.builders or file.coadd or file.series):
        raise BadConfig(f"{doc.where()}: analysis {file.analysis} has neither builder nor coadd nor series; it would find out nothing")
    for i, one in enumerate(file.series):
        where = doc.where(("series", i))
        if one.metric not in metrics:
            raise BadConfig(f"{where}: no QA measures {one.metric!r}{suggest(one.metric, sorted(metrics), noun='metrics')}")
        try:
            _limits(one, metrics[one.metric], where)
        except ValueError as error:
            raise BadConfig(f"{where}: {' '.join(str(error).split())}; a limit has a reason and an action, and its ranges are in order") from error
    return file


def _definition(series: SeriesDef, of: MetricDef) -> MetricDef:
    unit = f"{of.unit}/h" if series.how is How.SLOPE and of.unit else "1/h" if series.how is How.SLOPE else of.unit
    return MetricDef(series.name, unit, dims=of.dims, doc=f"{_DOCS[series.how]} {of.name}: {of.doc}")


def _limits(series: SeriesDef, of: MetricDef, source: str) -> LimitSet:
    if series.normal is None:
        return LimitSet()
    unit = _definition(series, of).unit
    return LimitSet((Limit(metric=series.name, unit=unit, normal=series.normal, warning=series.warning, reason=series.reason, action=series.action,
                           source=source),))  # fmt: skip


Values = Mapping[tuple[Coord, ...], Sequence[tuple[float, float]]]
"""By element of a metric: pairs of time (h) and value."""


def series_of(results: Sequence[tuple[float, MetricResult]]) -> dict[tuple[Coord, ...], list[tuple[float, float]]]:
    """The values of a metric in exposures, each with its time in hours: by element, in order of time; what was not measured is left out."""
    out: dict[tuple[Coord, ...], list[tuple[float, float]]] = {}
    for hours, result in sorted(results, key=lambda r: r[0]):
        places = itertools.product(*result.coords.values())
        for i, (at, value) in enumerate(zip(places, result.values, strict=False)):
            values = out.setdefault(at, [])
            if value is not None and i not in result.left_out:
                values.append((hours, value))
    return out


def reduce(how: How, values: Sequence[tuple[float, float]]) -> float:
    """One number of pairs of time (h) and value; NaN where there are too few of them."""
    if len(values) < (2 if how in _TWO else 1):
        return math.nan
    y = [v for _, v in values]
    if how is How.SLOPE:
        return _slope(values)
    made = {
        How.RANGE: lambda: max(y) - min(y),
        How.RMS: lambda: statistics.stdev(y),
        How.MEAN: lambda: statistics.fmean(y),
        How.SUM: lambda: math.fsum(y),
        How.QUADRATURE: lambda: math.sqrt(math.fsum(v * v for v in y)),
        How.MIN: lambda: min(y),
        How.MAX: lambda: max(y),
    }
    return float(made[how]())


def _slope(values: Sequence[tuple[float, float]]) -> float:
    t, y = np.array(values, dtype=np.float64).T
    t = t - t.mean()
    return float(t @ y / (t @ t)) if t @ t > 0 else math.nan


def judge_series(
    series: SeriesDef, of: MetricDef, results: Sequence[tuple[float, MetricResult]], tags: Mapping[str, str], source: str
) -> MetricResult:
    """A series judged. Where the metric applies to no exposure it does not apply either; where it was measured in too few it is UNKNOWN."""
    definition, judge = _definition(series, of), Judge(_limits(series, of, source))
    found = [(t, r) for t, r in results if r.not_applicable is None]
    if results and not found:
        return judge.metric(definition, not_applicable(definition.name, results[0][1].not_applicable or "it applies to none"), tags)
    by_place = series_of(found)
    if not by_place:
        return judge.metric(definition, None, tags)
    values = {at: reduce(series.how, pairs) for at, pairs in by_place.items()}
    n = len(found)
    few: dict[Coord | tuple[Coord, ...], str] = {k: f"measured in {len(by_place[k])} of {n} exposures" for k, v in values.items() if math.isnan(v)}
    axes = [tuple(dict.fromkeys(at[k] for at in values)) for k in range(len(of.dims))]
    grid = np.array([values.get(at, math.nan) for at in itertools.product(*axes)], dtype=np.float64).reshape([len(a) for a in axes])
    return judge.metric(definition, measured(definition.name, grid, remarks=few, **dict(zip(of.dims, axes, strict=True))), tags)


def series_plots(
    analysis: AnalysisFile, metrics: Mapping[str, MetricDef], results: Mapping[str, Sequence[tuple[float, MetricResult]]], title: str
) -> Iterator[tuple[str, Plot]]:
    """A plot of each metric of the series against time, with its name; those of which fewer than two exposures were measured have none."""
    shown: dict[str, list[SeriesDef]] = {}
    for series in analysis.series:
        shown.setdefault(series.metric, []).append(series)
    for metric, of_metric in shown.items():
        told = f"{metric.replace('_', ' ').capitalize()} over the exposures of {title}"
        plot = series_plot(of_metric, metrics[metric], results.get(metric, ()), told)
        if plot is not None:
            yield metric, plot


def series_plot(series: Sequence[SeriesDef], of: MetricDef, results: Sequence[tuple[float, MetricResult]], title: str) -> Plot | None:
    """The values of a metric against time, less their means where it is their change that counts; the widest range that is normal is told.

    None where there are fewer than two exposures.
    """
    points = [Point(hours=t, exptime=math.nan, metric=r) for t, r in results]
    changes = all(s.how in _TWO for s in series)
    spec = PlotDef(name=f"{of.name}_series", metric=of.name, shown=Shown.CHANGE if changes else Shown.VALUE)
    plot = group_plot(spec, of, points, "")
    if plot is None:
        return None
    limits = [f"{s.how} within {s.normal[0]:g} to {s.normal[1]:g}" for s in series if s.normal is not None and None not in s.normal]
    caption = f"{plot.caption} Normal: {'; '.join(limits)}." if limits else plot.caption
    return dataclasses.replace(plot, title=title, caption=caption)


def names_of(analyses: Collection[AnalysisFile]) -> tuple[str, ...]:
    """Names of the metrics that their series make."""
    return tuple(dict.fromkeys(s.name for a in analyses for s in a.series))
