"""Plots of a test: how a metric runs over its exposures, as data. Pure.

A group analysis names them (`plots` in `configs/analyses/*.yaml`): a metric of the exposures against time, exposure time or their number, with the
line that a steady instrument would follow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from quicklook.core.metrics import Coord, MetricDef
from quicklook.core.plots import Axis, Layer, Line, Panel, Plot, Scatter
from quicklook.core.results import MetricResult

Floats = npt.NDArray[np.float64]
MOST_LINES = 8
"""Of more elements the median is drawn, within the range that holds two thirds of them."""
_PER_S = {"h": 3600.0, "min": 60.0, "s": 1.0}
"""Seconds in the time that a rate is of."""


class Against(StrEnum):
    """What a metric is drawn against: hours since the first exposure, the exposure time of each, or how many there were so far."""

    TIME = "time"
    EXPTIME = "exptime"
    NUMBER = "number"


class Shown(StrEnum):
    """What is drawn of it.

    value: itself. change: less the value in the first exposure. total: a rate times the exposure time. sum, quadrature: the sum, or the root of the
    sum of squares, of all exposures so far.
    """

    VALUE = "value"
    CHANGE = "change"
    TOTAL = "total"
    SUM = "sum"
    QUADRATURE = "quadrature"


class Fit(StrEnum):
    """The line through it: none; a straight one; one through the origin; a root of the number, through the first."""

    NONE = "none"
    LINE = "line"
    ORIGIN = "origin"
    ROOT = "root"


class PlotDef(BaseModel):
    """A plot of a test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="its name")
    metric: str = Field(description="metric of the exposures")
    against: Against = Field(Against.TIME, description="time, exptime (of the exposure), or number (of exposures so far)")
    shown: Shown = Field(Shown.VALUE, description="value, change (since the first), total (a rate times exptime), sum or quadrature (of all so far)")
    fit: Fit = Field(Fit.NONE, description="none, line, origin (a line through it), root (of the number, through the first)")
    title: str = Field("", description="title; default: from the metric")

    def unit(self, of: MetricDef) -> str:
        """Unit of what is shown. Raises ValueError where a total is asked of what is no rate."""
        if self.shown is not Shown.TOTAL:
            return of.unit
        what, slash, per = of.unit.rpartition("/")
        if not slash or per not in _PER_S:
            raise ValueError(f"a total needs a rate per s, min or h; {of.name} is in {of.unit or 'no unit'}")
        return what


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A metric of an exposure: hours since the first, exposure time (s; NaN where it is not known), and its values."""

    hours: float
    exptime: float
    metric: MetricResult


def group_plot(plot: PlotDef, of: MetricDef, points: Sequence[Point], part: str) -> Plot | None:
    """The plot of a part, None where fewer than two of its exposures have a value."""
    xs, values = _table(plot, of, [p for p in points if p.metric.not_applicable is None])
    known = {at: y for at, y in values.items() if np.isfinite(y).sum() > 1}
    if not known:
        return None
    label = f"{of.name.replace('_', ' ')}{_LABELS[plot.shown]}"
    x = Axis(label=_X[plot.against][0], unit=_X[plot.against][1])
    layers = _lines(known, xs, plot) if len(known) <= MOST_LINES else _band(known, xs)
    layers += _fits(known, xs, plot)
    left = f" {len(known)} elements: their median, and the range of two thirds of them." if len(known) > MOST_LINES else ""
    panel = Panel(x=x, y=Axis(label=label, unit=plot.unit(of)), layers=tuple(layers))
    title = f"{plot.title or label}, camera {part}" if part else plot.title or label
    return Plot(name=plot.name, title=title, panels=(panel,), caption=f"{of.doc}{left}{_FITS[plot.fit]}")


_X = {Against.TIME: ("time since the first exposure", "h"), Against.EXPTIME: ("exposure time", "s"), Against.NUMBER: ("exposures so far", "")}
_LABELS = {
    Shown.VALUE: "", Shown.CHANGE: ", change since the first", Shown.TOTAL: " x exposure time", Shown.SUM: ", sum", Shown.QUADRATURE: ", co-added",
}  # fmt: skip
_FITS = {
    Fit.NONE: "", Fit.LINE: " Lines: least squares.", Fit.ORIGIN: " Lines: least squares, through the origin.",
    Fit.ROOT: " Line: root of the number, through the first.",
}  # fmt: skip


def _table(plot: PlotDef, of: MetricDef, points: Sequence[Point]) -> tuple[Floats, dict[tuple[Coord, ...], Floats]]:
    """Abscissa, and by element of the metric its values, NaN where it was not measured; in order of time."""
    points = sorted(points, key=lambda p: p.hours)
    times = np.array([p.exptime for p in points], np.float64)
    xs = {Against.TIME: np.array([p.hours for p in points]), Against.EXPTIME: times, Against.NUMBER: np.arange(1.0, len(points) + 1)}
    values: dict[tuple[Coord, ...], Floats] = {}
    for n, point in enumerate(points):
        for i, (at, value) in enumerate(zip(itertools.product(*point.metric.coords.values()), point.metric.values, strict=False)):
            if value is not None and i not in point.metric.left_out:
                values.setdefault(at, np.full(len(points), np.nan))[n] = value
    scale = times / _PER_S[of.unit.rpartition("/")[2]] if plot.shown is Shown.TOTAL else times
    return np.asarray(xs[plot.against], np.float64), {at: _shown(plot.shown, y, scale) for at, y in values.items()}


def _shown(shown: Shown, y: Floats, scale: Floats) -> Floats:
    if shown is Shown.CHANGE:
        first = y[np.isfinite(y)][:1]
        return y - first if first.size else y
    if shown is Shown.TOTAL:
        return np.asarray(y * scale)
    if shown in (Shown.SUM, Shown.QUADRATURE):
        power = 2 if shown is Shown.QUADRATURE else 1
        total = np.cumsum(np.where(np.isfinite(y), y, 0.0) ** power) ** (1 / power)
        return np.where(np.isfinite(y), total, np.nan)
    return y


def _lines(known: Mapping[tuple[Coord, ...], Floats], xs: Floats, plot: PlotDef) -> list[Layer]:
    name = [", ".join(str(c) for c in at) for at in known]
    if plot.against is Against.EXPTIME or plot.fit is not Fit.NONE:
        return [Scatter(x=xs, y=y, label=n) for n, y in zip(name, known.values(), strict=True)]
    return [Line(x=xs, y=y, label=n) for n, y in zip(name, known.values(), strict=True)]


def _band(known: Mapping[tuple[Coord, ...], Floats], xs: Floats) -> list[Layer]:
    rows = np.stack(list(known.values()))
    seen = np.isfinite(rows).any(axis=0)
    low, middle, high = (np.full(len(xs), np.nan) for _ in range(3))
    low[seen], middle[seen], high[seen] = np.nanpercentile(rows[:, seen], (16, 50, 84), axis=0)
    return [Line(x=xs, y=middle, error=0.5 * (high - low), label="median")]


def _fits(known: Mapping[tuple[Coord, ...], Floats], xs: Floats, plot: PlotDef) -> list[Layer]:
    """Of each element that is drawn; NaN between them, so that they are one line."""
    if plot.fit is Fit.NONE:
        return []
    rows = known.values() if len(known) <= MOST_LINES else [np.nanmedian(np.stack(list(known.values())), axis=0)]
    made = [line for y in rows if (line := _fit(plot.fit, xs, y)) is not None]
    if not made:
        return []
    gap = np.array([np.nan])
    x, y = (np.concatenate([np.append(line[k], gap) for line in made]) for k in (0, 1))
    return [Line(x=x, y=y, label="root of the number" if plot.fit is Fit.ROOT else "fit")]


def _fit(how: Fit, xs: Floats, y: Floats) -> tuple[Floats, Floats] | None:
    good = np.isfinite(xs) & np.isfinite(y)
    x, v = xs[good], y[good]
    if x.size < 2 or (how is not Fit.ORIGIN and math.isclose(float(x.min()), float(x.max()))) or not x.any():
        return None
    if how is Fit.ROOT:
        grid = np.linspace(float(x.min()), float(x.max()), 40)
        return grid, v[0] * np.sqrt(grid / x[0])
    if how is Fit.ORIGIN:
        ends = np.array([0.0, float(x.max())])
        return ends, ends * float(x @ v / (x @ x))
    ends = np.array([float(x.min()), float(x.max())])
    slope = float((x - x.mean()) @ (v - v.mean()) / ((x - x.mean()) @ (x - x.mean())))
    return ends, v.mean() + slope * (ends - x.mean())
