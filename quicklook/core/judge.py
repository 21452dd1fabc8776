"""The judge: measures and limits in, statuses and reasons in sentences out.

Every element of a metric is judged by its own coordinates. What should have been measured and is NaN, absent or of the wrong
name is UNKNOWN; nothing starts as NORMAL.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quicklook.core.limits import Limit, LimitSet
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef
from quicklook.core.plots import Band, Bars, Layer, Panel, Plot
from quicklook.core.results import LimitUsed, MetricResult, Remark
from quicklook.core.status import Status, worst


def number(value: float, digits: int = 4) -> str:
    """Four significant digits, as a person writes them: 10000 and not 1e+04, and no sign before nothing."""
    text = f"{value + 0.0:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e7 else text


def _digits(value: float, bound: float) -> int:
    """So many digits that a value just outside of a bound does not read as the bound."""
    return next((n for n in (4, 6, 9, 12) if number(value, n) != number(bound, n)), 17)


def range_words(low: float | None, high: float | None) -> str:
    """``1.5 to 4``, ``at most 4``, ``at least 1.5``, ``0``."""
    if low is not None and high is not None:
        return number(low) if low == high else f"{number(low)} to {number(high)}"
    return f"at most {number(high)}" if high is not None else f"at least {number(low)}" if low is not None else "anything"


def _place(coords: Mapping[str, Coord]) -> str:
    return ", ".join(f"{k} {v}" for k, v in coords.items())


def _excess(value: float, limit: Limit) -> float:
    """How far outside of the normal range, in widths of it (or in units of the limit where it has one end)."""
    low, high = limit.normal
    beyond = max(-math.inf if low is None else low - value, -math.inf if high is None else value - high)
    scale = high - low if low is not None and high is not None else abs(high if high is not None else low or 0.0)
    return beyond / (scale or 1.0)


def _sentence(definition: MetricDef, at: str, value: float, status: Status, limit: Limit, remark: str, n_bad: int, n: int) -> str:
    what = f"{definition.name} of {at}" if at else definition.name
    unit = f" {definition.unit}" if definition.unit else ""
    why = f": {remark}" if remark else ""
    more = f" ({n_bad} of {n} are not NORMAL)" if n > 1 and n_bad > 1 else ""
    if status is Status.UNKNOWN:
        return f"{what} was not measured{why}{more}"
    side = "above" if _above(value, limit) else "below"
    edge = limit.warning_range if status is Status.ALARM else limit.normal
    end = edge[1] if side == "above" else edge[0]
    bound = math.nan if end is None else end
    digits = _digits(value, bound)
    allowed = "normal: " + range_words(*limit.normal) + unit
    return f"{what} is {number(value, digits)}{unit}, {side} {number(bound, digits)}{unit} ({allowed}){why}{more}"


def _flagged(
    definition: MetricDef, measured: Measured, places: Sequence[tuple[Coord, ...]], statuses: Sequence[Status | None], status: Status | None
) -> str:
    """``dead_amp of amp B: every pixel reads 65535; amp D: no finite pixel``; "" if this is no flag that was set, or nobody said why."""
    if not definition.flag or status is Status.UNKNOWN:
        return ""
    bad = [at for at, s in zip(places, statuses, strict=True) if s is status]
    told = [(_place(dict(zip(measured.coords, at, strict=True))), measured.remarks.get(at, "")) for at in bad]
    if not all(why for _, why in told):
        return ""
    return f"{definition.name} of " + "; ".join(f"{at}: {why}" for at, why in told) if definition.dims else f"{definition.name}: {told[0][1]}"


def _above(value: float, limit: Limit) -> bool:
    return limit.normal[1] is not None and value > limit.normal[1]


def _plain(coord: Coord) -> Coord:
    """A coordinate as the JSON has it: a numpy scalar as the text or number that it holds, true and false as 1 and 0."""
    plain: Coord = coord.item() if isinstance(coord, np.generic) else coord
    return int(plain) if isinstance(plain, bool) else plain


def _with_infinities(measured: Measured, places: Sequence[tuple[Coord, ...]], values: Sequence[float]) -> Measured:
    """With a remark on each value that is infinite: the JSON has no such number, and a division by zero is not the same as nothing measured."""
    odd = [at for at, value in zip(places, values, strict=True) if math.isinf(value)]
    if not odd:
        return measured
    told = {at: "; ".join(text for text in (measured.remarks.get(at, ""), "its QA returned infinity") if text) for at in odd}
    return dataclasses.replace(measured, remarks={**measured.remarks, **told})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Which limit each element is judged by: `index` into `limits`, None for none. `limits` are in the order of their first use."""

    index: list[int | None]
    limits: list[Limit]
    used: list[LimitUsed]


def _choose(candidates: Sequence[Limit], measured: Measured, places: Sequence[tuple[Coord, ...]], tags: Mapping[str, str]) -> _Choice:
    """For each element the first of the candidates that holds there."""
    if not candidates:
        return _Choice(index=[None] * len(places), limits=[], used=[])
    axes = tuple(measured.coords)
    everywhere = candidates[0].could_apply(tags, ()) and not any(k in axes for k in candidates[0].when)
    choice, number_of = _Choice(index=[], limits=[], used=[]), dict[int, int]()
    for place in places:
        if place in measured.left_out:
            choice.index.append(None)
            continue
        at = {} if everywhere and 0 in number_of else dict(zip(axes, place, strict=True))
        first = 0 if everywhere else next((i for i, c in enumerate(candidates) if c.applies_at(tags, at)), None)
        if first is not None and first not in number_of:
            number_of[first] = len(choice.limits)
            choice.limits.append(candidates[first])
            choice.used.append(candidates[first].used([c for c in candidates[first + 1 :] if c.applies_at(tags, at)]))
        choice.index.append(None if first is None else number_of[first])
    return choice


@dataclasses.dataclass(frozen=True, slots=True)
class Judge:
    """Judges with a set of limits. Pure: the same measures, tags and limits give the same results."""

    limits: LimitSet

    def metric(self, definition: MetricDef, measured: Measured | None, tags: Mapping[str, str]) -> MetricResult:
        """One metric judged; `measured` is None if the QA did not return it."""
        candidates = self.limits.candidates(definition.name, tags)
        if measured is None or (measured.not_applicable is None and measured.values.size == 0):
            return self._absent(definition, measured, [c for c in candidates if c.could_apply(tags, definition.dims)])
        if measured.not_applicable is not None:
            return self._empty(definition, not_applicable=measured.not_applicable)
        return self._elements(definition, measured, candidates, tags)

    def _absent(self, definition: MetricDef, measured: Measured | None, candidates: Sequence[Limit]) -> MetricResult:
        status = Status.UNKNOWN if candidates else None
        how = "was not returned by its QA" if measured is None else "has no element"
        reason = f"{definition.name} {how}" if status else ""
        limits = [c.used(candidates[i + 1 :]) for i, c in enumerate(candidates[:1])]
        return self._empty(definition, status=status, limits=limits, reason=reason)

    @staticmethod
    def _empty(definition: MetricDef, **more: Any) -> MetricResult:
        """A metric without values; its axes are named, so that conditions on them can be judged again."""
        about = {"name": definition.name, "unit": definition.unit, "doc": definition.doc, "flag": definition.flag}
        return MetricResult(**{**about, "coords": {d: [] for d in definition.dims}, "values": [], "status": None, "statuses": [], **more})

    def _elements(self, definition: MetricDef, measured: Measured, candidates: Sequence[Limit], tags: Mapping[str, str]) -> MetricResult:
        axes = {k: [_plain(c) for c in v] for k, v in measured.coords.items()}
        places = list(itertools.product(*axes.values()))
        values = [float(v) for v in measured.values.ravel()]
        measured = _with_infinities(measured, places, values)
        choice = _choose(candidates, measured, places, tags)
        chosen = [None if i is None else choice.limits[i] for i in choice.index]
        statuses = [c.judge(v) if c else None for c, v in zip(chosen, values, strict=True)]
        decisive = _decisive(values, statuses, chosen)
        reason = ""
        if decisive is not None and statuses[decisive] not in (None, Status.NORMAL):
            at = dict(zip(axes, places[decisive], strict=True))
            reason = _flagged(definition, measured, places, statuses, statuses[decisive]) or self._reason(
                definition, measured, at, values[decisive], chosen[decisive], statuses, statuses[decisive]
            )
        return MetricResult(
            name=definition.name,
            unit=definition.unit,
            doc=definition.doc,
            coords=axes,
            values=[v if math.isfinite(v) else None for v in values],
            status=worst(statuses),
            statuses=statuses,
            limits=choice.used,
            limit_of=choice.index,
            worst=decisive,
            reason=reason,
            remarks=[Remark(at=[_plain(c) for c in k], text=v) for k, v in measured.remarks.items()],
            left_out=[i for i, at in enumerate(places) if at in measured.left_out] if measured.left_out else [],
            flag=definition.flag,
        )

    @staticmethod
    def _reason(
        definition: MetricDef,
        measured: Measured,
        at: Mapping[str, Coord],
        value: float,
        limit: Limit | None,
        statuses: Sequence[Status | None],
        status: Status | None,
    ) -> str:
        if limit is None or status is None:
            return ""
        remark = measured.remarks.get(tuple(at.values()), "")
        judged = [s for s in statuses if s is not None]
        bad = sum(s is not Status.NORMAL for s in judged)
        return _sentence(definition, _place(at), value, status, limit, remark, bad, len(judged))

    def measures(self, definitions: Sequence[MetricDef], measures: Measures, tags: Mapping[str, str]) -> list[MetricResult]:
        """All metrics of a QA. Raises ValueError if it returned one that it does not declare, or in other dimensions."""
        by_name = {m.name: m for m in measures.metrics}
        declared = {d.name: d for d in definitions}
        if len(by_name) != len(measures.metrics):
            raise ValueError(f"a metric was returned twice: {[m.name for m in measures.metrics]}")
        for name, got in by_name.items():
            if name not in declared:
                raise ValueError(f"returned {name}, which it does not declare")
            if got.not_applicable is None and tuple(got.coords) != declared[name].dims:
                raise ValueError(f"returned {name} over {tuple(got.coords)}, declared over {declared[name].dims}")
        return [self.metric(d, by_name.get(d.name), tags) for d in definitions]

    def unknown(self, definitions: Sequence[MetricDef], tags: Mapping[str, str], why: str) -> list[MetricResult]:
        """The metrics of a QA that could not run: UNKNOWN with the cause, where a limit waits for them."""
        out = []
        for d in definitions:
            result = self._absent(d, None, self.limits.candidates(d.name, tags))
            out.append(result.model_copy(update={"reason": f"{d.name} was not measured: {why}"}) if result.status else result)
        return out


def _decisive(values: Sequence[float], statuses: Sequence[Status | None], chosen: Sequence[Limit | None]) -> int | None:
    """The flat index of the worst element: of the highest severity, and of these the farthest outside; None if none was judged."""
    best, key = None, (-1, -math.inf)
    for i, (value, status, limit) in enumerate(zip(values, statuses, chosen, strict=True)):
        if status is None or limit is None:
            continue
        this = (status.severity, _excess(value, limit) if math.isfinite(value) else 0.0)
        if this > key:
            best, key = i, this
    return best


def _bands(limit: LimitUsed) -> tuple[Band, ...]:
    normal = Band(low=limit.normal[0], high=limit.normal[1], kind="normal", label="normal")
    if limit.warning == limit.normal:
        return (normal,)
    return (Band(low=limit.warning[0], high=limit.warning[1], kind="warning", label="warning"), normal)


def _with_statuses(layer: Layer, result: MetricResult) -> Layer:
    """Bars that stand for the elements of the metric, one each, with the status of each."""
    axes = list(result.coords.values())
    if not isinstance(layer, Bars) or len(axes) != 1 or layer.names != tuple(str(c) for c in axes[0]):
        return layer
    return dataclasses.replace(layer, statuses=tuple(s.value if s else "" for s in result.statuses))


def add_bands(plot: Plot, results: Sequence[MetricResult]) -> Plot:
    """The plot with the limits of its metrics as bands (of several limits, the one that decides) and the statuses of its bars."""
    by_name = {r.name: r for r in results}

    def banded(panel: Panel) -> Panel:
        result = by_name.get(panel.metric or "")
        if result is None or not result.limits:
            return panel
        panel = dataclasses.replace(panel, layers=tuple(_with_statuses(layer, result) for layer in panel.layers))
        deciding = result.deciding
        return panel if deciding is None else dataclasses.replace(panel, bands=_bands(deciding))

    return dataclasses.replace(plot, panels=tuple(banded(p) for p in plot.panels))
