"""The judge: measures and limits in, statuses and reasons in sentences out.

Every element of a metric is judged by its own coordinates. What should have been measured and is NaN, absent or of the wrong
name is UNKNOWN; nothing starts as NORMAL.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from quicklook.core.limits import Limit, LimitSet
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef
from quicklook.core.plots import Band, Bars, Layer, Panel, Plot
from quicklook.core.results import LimitUsed, MetricResult, Remark
from quicklook.core.status import Status, worst


def number(value: float, digits: int = 4) -> str:
    """Four significant digits, as a person writes them."""
    return f"{value:.{digits}g}"


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
    definition: MetricDef, measured: Measured, places: Sequence[Mapping[str, Coord]], statuses: Sequence[Status | None], status: Status | None
) -> str:
    """``dead_amp of amp B: every pixel reads 65535; amp D: no finite pixel``; "" if this is no flag that was set, or nobody said why."""
    if not definition.flag or status is Status.UNKNOWN:
        return ""
    told = [(_place(at), measured.remarks.get(tuple(at.values()), "")) for at, s in zip(places, statuses, strict=True) if s is status]
    if not all(why for _, why in told):
        return ""
    return f"{definition.name} of " + "; ".join(f"{at}: {why}" for at, why in told) if definition.dims else f"{definition.name}: {told[0][1]}"


def _above(value: float, limit: Limit) -> bool:
    return limit.normal[1] is not None and value > limit.normal[1]


def _used_index(limit: Limit | None, used: list[Limit]) -> int | None:
    if limit is None:
        return None
    if limit not in used:
        used.append(limit)
    return used.index(limit)


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
            name, unit, why = definition.name, definition.unit, measured.not_applicable
            return MetricResult(name=name, unit=unit, doc=definition.doc, values=[], status=None, statuses=[], not_applicable=why)
        return self._elements(definition, measured, candidates, tags)

    def _absent(self, definition: MetricDef, measured: Measured | None, candidates: Sequence[Limit]) -> MetricResult:
        status = Status.UNKNOWN if candidates else None
        how = "was not returned by its QA" if measured is None else "has no element"
        reason = f"{definition.name} {how}" if status else ""
        limits = [c.used() for c in candidates[:1]]
        return MetricResult(
            name=definition.name, unit=definition.unit, doc=definition.doc, values=[], status=status, statuses=[], limits=limits, reason=reason
        )

    def _elements(self, definition: MetricDef, measured: Measured, candidates: Sequence[Limit], tags: Mapping[str, str]) -> MetricResult:
        places = [dict(zip(measured.coords, c, strict=True)) for c in itertools.product(*measured.coords.values())]
        values = [float(v) for v in measured.values.ravel()]
        chosen = [
            None if tuple(at.values()) in measured.left_out else next((c for c in candidates if c.applies_at(tags, at)), None) for at in places
        ]
        statuses = [c.judge(v) if c else None for c, v in zip(chosen, values, strict=True)]
        used: list[Limit] = []
        index = [_used_index(c, used) for c in chosen]
        decisive = _decisive(values, statuses, chosen)
        reason = ""
        if decisive is not None and statuses[decisive] not in (None, Status.NORMAL):
            reason = _flagged(definition, measured, places, statuses, statuses[decisive]) or self._reason(
                definition, measured, places[decisive], values[decisive], chosen[decisive], statuses, statuses[decisive]
            )
        return MetricResult(
            name=definition.name,
            unit=definition.unit,
            doc=definition.doc,
            coords={k: list(v) for k, v in measured.coords.items()},
            values=[v if math.isfinite(v) else None for v in values],
            status=worst(statuses),
            statuses=statuses,
            limits=[u.used() for u in used],
            limit_of=index,
            worst=decisive,
            reason=reason,
            remarks=[Remark(at=list(k), text=v) for k, v in measured.remarks.items()],
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
        index = result.limit_of[result.worst] if result.worst is not None and result.limit_of else 0
        return dataclasses.replace(panel, bands=_bands(result.limits[index or 0]))

    return dataclasses.replace(plot, panels=tuple(banded(p) for p in plot.panels))
