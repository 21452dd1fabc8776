"""How a value was before: an element of a metric over the last exposures, or a channel over the last hours, in words and as a small plot."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from monitor.alerts.model import Incident, Notice
from quicklook.core.history import History, Selection
from quicklook.core.plots import Axis, Band, Line, Panel, Plot, Scatter
from quicklook.core.results import MetricResult, PartResult, Record

_MOST = 16
_ROOM = 0.6
_LOOKED_AT = 200
"""So many results are read at most to find them."""


class Trend(Record):
    """Values before an alarm and in it, oldest first, with the ranges of their limits: those of one metric, with the numbers of their exposures
    (`expids`; the last one is that of the alarm), or of one channel of housekeeping (`metric` is its name), with their `times` (Unix seconds, UTC),
    of which so many are `before` it."""

    metric: str
    unit: str
    expids: tuple[int, ...] = ()
    values: tuple[float, ...]
    normal: tuple[float | None, float | None] = (None, None)
    warning: tuple[float | None, float | None] = (None, None)
    times: tuple[float, ...] = ()
    before: int = 0

    @property
    def words(self) -> str:
        """``3.02, 3.01, 3.03 -> 5.1 electron``; of a channel ``-120.2 to -119.8 in the 6 h before -> 60 degC``."""
        *before, now = (f"{v:.4g}" for v in self.values)
        if not self.times:
            return f"{', '.join(before[-6:])} -> {now} {self.unit}".strip()
        known = self.values[: self.before] or self.values
        seconds = (self.times[self.before] if self.before else self.times[-1]) - self.times[0]
        how_long = f"{seconds / 3600:.2g} h" if seconds >= 3600 else f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
        when = f"the {how_long} before" if self.before else f"the last {how_long}"
        return f"{min(known):.4g} to {max(known):.4g} in {when} -> {now} {self.unit}".strip()


def trend_of(notice: Notice, history: History, tag: str) -> Trend | None:
    """Of an alarm that a metric of a camera has raised; None where it has no history."""
    facts = notice.incident.facts
    if not all(facts.get(name) for name in ("metric", "part", "unit", "flavor")):
        return None
    wanted = Selection(tag=tag, parts=frozenset({facts["part"]}), flavors=frozenset({facts["flavor"]}))
    found: list[tuple[int, float, MetricResult]] = []
    for result in itertools.islice(history.results(wanted), _LOOKED_AT):
        if (result.night, result.expid) > (int(facts["night"]), int(facts["expid"])):
            continue
        metric = _metric(result, facts["metric"])
        value = None if metric is None else _value(metric, facts.get("element", ""))
        if metric is not None and value is not None:
            found.append((result.expid, value, metric))
        if len(found) == _MOST:
            break
    if len(found) < 2:
        return None
    limit = found[0][2].deciding
    normal = limit.normal if limit is not None else (None, None)
    expids, values = tuple(f[0] for f in reversed(found)), tuple(f[1] for f in reversed(found))
    return Trend(metric=facts["metric"], unit=found[0][2].unit, expids=expids, values=values, normal=normal)


def _metric(result: PartResult, name: str) -> MetricResult | None:
    return next((m for qa in result.qas for m in qa.metrics if m.name == name and m.values), None)


def _value(metric: MetricResult, element: str) -> float | None:
    """Of the element that raised the alarm; where the metric has another size, the median."""
    if element.isdecimal() and int(element) < len(metric.values):
        return metric.values[int(element)]
    known = [v for v in metric.values if v is not None and math.isfinite(v)]
    return float(np.median(known)) if known else None


def picture(trend: Trend, incident: Incident) -> bytes:
    """A small PNG of the trend, the last value marked, the normal range as a band."""
    from monitor.render.renderer import render_png

    return render_png(_plot(trend, incident), dpi=100)


def _plot(trend: Trend, incident: Incident) -> Plot:
    if trend.times:
        return _over_time(trend)
    x = np.asarray(trend.expids, np.float64)
    y = np.asarray(trend.values, np.float64)
    panel = Panel(
        x=Axis(label="exposure"),
        y=Axis(label=trend.metric, unit=trend.unit),
        layers=(Line(x=x, y=y), Scatter(x=x[:-1], y=y[:-1], label="before"), Scatter(x=x[-1:], y=y[-1:], label="this one")),
        bands=_bands(trend),
    )
    where = incident.facts.get("part", "")
    return Plot(name="trend", title=f"{trend.metric} of {where} over the last exposures", panels=(panel,))


def _over_time(trend: Trend) -> Plot:
    times, y = np.asarray(trend.times, np.float64), np.asarray(trend.values, np.float64)
    unit, seconds = ("h", 3600.0) if times[-1] - times[0] > 7200 else ("min", 60.0)
    zero = times[0] - times[0] % seconds
    x, n, bands = (times - zero) / seconds, trend.before, _bands(trend)
    vertical = Axis(label=trend.metric, unit=trend.unit)
    if bands:  # a limit that is far away does not press the values flat
        low, high = float(y.min()), float(y.max())
        room = _ROOM * max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-9)
        vertical = replace(vertical, range=(low - room, high + room))
    panel = Panel(
        x=Axis(label=f"since {datetime.fromtimestamp(zero, UTC):%Y-%m-%d %H:%M} UTC", unit=unit),
        y=vertical,
        layers=(Scatter(x=x[:n], y=y[:n], label="before" if n else ""), Scatter(x=x[n:], y=y[n:], label="since it began")),
        bands=bands,
    )
    return Plot(name="trend", title=f"{trend.metric} over the last hours", panels=(panel,))


def _bands(trend: Trend) -> tuple[Band, ...]:
    kinds: tuple[tuple[Literal["normal", "warning"], tuple[float | None, float | None]], ...] = (("normal", trend.normal), ("warning", trend.warning))
    return tuple(Band(low=low, high=high, kind=kind, label=kind) for kind, (low, high) in kinds if (low, high) != (None, None))
