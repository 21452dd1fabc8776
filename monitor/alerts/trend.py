"""How a value was before: the same element of the same metric over the last exposures, in words and as a small plot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from monitor.alerts.model import Incident, Notice
from quicklook.core.history import History, Selection
from quicklook.core.plots import Axis, Band, Line, Panel, Plot, Scatter
from quicklook.core.results import MetricResult, PartResult, Record

_MOST = 16
_LOOKED_AT = 200
"""So many results are read at most to find them."""


class Trend(Record):
    """Values of one metric before an alarm and in it, oldest first, with the numbers of their exposures and the normal range."""

    metric: str
    unit: str
    expids: tuple[int, ...]
    values: tuple[float, ...]
    normal: tuple[float | None, float | None] = (None, None)

    @property
    def words(self) -> str:
        """``3.02, 3.01, 3.03 -> 5.1 electron``."""
        *before, now = (f"{v:.4g}" for v in self.values)
        return f"{', '.join(before[-6:])} -> {now} {self.unit}".strip()


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
    x = np.asarray(trend.expids, np.float64)
    y = np.asarray(trend.values, np.float64)
    bands: Sequence[Band] = ()
    if trend.normal != (None, None):
        bands = (Band(low=trend.normal[0], high=trend.normal[1], kind="normal", label="normal"),)
    panel = Panel(
        x=Axis(label="exposure"),
        y=Axis(label=trend.metric, unit=trend.unit),
        layers=(Line(x=x, y=y), Scatter(x=x[:-1], y=y[:-1], label="before"), Scatter(x=x[-1:], y=y[-1:], label="this one")),
        bands=tuple(bands),
    )
    where = incident.facts.get("part", "")
    return Plot(name="trend", title=f"{trend.metric} of {where} over the last exposures", panels=(panel,))
