"""Two processings of the same data, compared metric by metric: which verdicts flipped, and what changed most. Pure.

A change is measured in units of the normal range of the limit that judged the element (its width; the distance between the normal and the warning end
where one end is open), else of the robust scatter (1.4826 times the median absolute deviation) of the metric over what was compared of the
same flavor in the first processing. Where there is neither, its size is not known.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from quicklook.core.history import History, Selection
from quicklook.core.keys import PartKey, Unit
from quicklook.core.metrics import Coord
from quicklook.core.results import LimitUsed, MetricResult, PartResult, QAResult, UnitVerdict
from quicklook.core.status import Status

RANGE, SCATTER = "limit range", "scatter"
_SAMPLE = 64
"""Elements of a metric of one part that count for its scatter: a season of fibres would fill the memory."""
MIN_SCATTER = 5
"""Fewer values have no scatter worth the name."""

Place = tuple[Coord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDiff:
    """A metric of one part of which something differs: its status, or its values.

    `at` is the element that changed most (coordinates by name), `before` and `after` its values (None: not measured), `size` how much that is, in
    units of `scale` (limit range or scatter; "" and None where it is not known), `elements` how many elements differ. A status of None: not judged.
    """

    key: PartKey
    qa: str
    name: str
    unit: str
    flavor: str
    status_before: Status | None
    status_after: Status | None
    at: Mapping[str, Coord] = field(default_factory=dict)
    before: float | None = None
    after: float | None = None
    size: float | None = None
    scale: str = ""
    elements: int = 0
    reason: str = ""

    @property
    def flipped(self) -> bool:
        """Whether its status is another."""
        return self.status_before is not self.status_after


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDiff:
    """A part (or an exposure as a whole, part "") in both processings: its verdicts, metrics that differ, metrics that only one of them has."""

    key: PartKey
    flavor: str
    before: Status
    after: Status
    metrics: tuple[MetricDiff, ...] = ()
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def flipped(self) -> bool:
        """Whether its verdict is another."""
        return self.before is not self.after

    @property
    def flips(self) -> tuple[MetricDiff, ...]:
        """Metrics whose status is another."""
        return tuple(m for m in self.metrics if m.flipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Everything that differs, worst first. `causes` counts what the processings differ in: chains, limits, versions, calibrations.

    `apart`: exposures that were processed with other cameras in each, so that their verdicts as a whole say nothing of each other.
    """

    first: str
    second: str
    parts: tuple[PartDiff, ...]
    only_first: tuple[PartKey, ...]
    only_second: tuple[PartKey, ...]
    causes: Mapping[str, int]
    apart: tuple[Unit, ...] = ()

    @property
    def compared(self) -> int:
        """Parts that both have, exposures as a whole not counted."""
        return sum(bool(p.key.part) for p in self.parts)

    @property
    def flipped(self) -> tuple[PartDiff, ...]:
        """Parts, and exposures as a whole, whose verdict is another, worst first."""
        return tuple(p for p in self.parts if p.flipped)

    @property
    def flips(self) -> tuple[MetricDiff, ...]:
        """Metrics whose status is another, worst first."""
        return tuple(sorted((m for p in self.parts for m in p.flips), key=_worst_metric_first))

    @property
    def changes(self) -> tuple[MetricDiff, ...]:
        """Metrics whose values differ, the largest change first; those whose size is not known last."""
        changed = (m for p in self.parts for m in p.metrics if m.elements)
        return tuple(sorted(changed, key=lambda m: (m.size is None, -(m.size or 0.0), m.key, m.name)))

    @property
    def same(self) -> bool:
        """Whether no verdict and no metric flipped."""
        return not (self.flipped or self.flips)


def _rank(status: Status | None) -> int:
    return -1 if status is None else status.severity


def _worst_first(part: PartDiff) -> tuple[int, int, PartKey]:
    return -part.after.severity if part.flipped else 1, part.before.severity, part.key


def _worst_metric_first(metric: MetricDiff) -> tuple[int, int, float, PartKey, str]:
    return -_rank(metric.status_after), _rank(metric.status_before), -(metric.size or 0.0), metric.key, metric.name


@dataclass(slots=True)
class _Scatter:
    """Values of metrics in the first processing, by metric and flavor."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, metric: MetricResult, flavor: str) -> None:
        known = self.values.setdefault((metric.name, flavor), [])
        step = max(1, len(metric.values) // _SAMPLE)
        known += [v for v in metric.values[::step] if v is not None]

    def of(self, name: str, flavor: str) -> float | None:
        """1.4826 x median absolute deviation; None where there is none."""
        values = self.values.get((name, flavor), ())
        if len(values) < MIN_SCATTER:
            return None
        middle = statistics.median(values)
        return 1.4826 * statistics.median(abs(v - middle) for v in values) or None


def limit_scale(limit: LimitUsed | None) -> float | None:
    """What a change is compared with: the width of the normal range, or the distance from its end to that of the warning range; None: neither."""
    if limit is None:
        return None
    (low, high), (warn_low, warn_high) = limit.normal, limit.warning
    if low is not None and high is not None:
        return high - low or None
    ends = ((low, warn_low), (high, warn_high))
    return next((abs(a - b) for a, b in ends if a is not None and b is not None and a != b), None)


def _by_place(metric: MetricResult) -> dict[Place, int]:
    return {at: i for i, at in enumerate(itertools.product(*metric.coords.values()))}


def _pairs(first: MetricResult, second: MetricResult) -> Iterator[tuple[int | None, int | None]]:
    """Indices of the same element in both; None where one has it not."""
    if first.coords == second.coords and len(first.values) == len(second.values):
        yield from ((i, i) for i in range(len(first.values)))
        return
    ours, theirs = _by_place(first), _by_place(second)
    for place in dict.fromkeys((*ours, *theirs)):
        a, b = ours.get(place), theirs.get(place)
        yield (a if a is not None and a < len(first.values) else None, b if b is not None and b < len(second.values) else None)


def _limit_at(metric: MetricResult, index: int | None) -> LimitUsed | None:
    if index is None or index >= len(metric.limit_of) or (which := metric.limit_of[index]) is None:
        return None
    return metric.limits[which] if which < len(metric.limits) else None


def _metric_diff(key: PartKey, qa: str, flavor: str, first: MetricResult, second: MetricResult) -> MetricDiff | None:
    """What differs; None where nothing does. Sizes in limit ranges alone: scatter is known when all is read."""
    if first.values == second.values and first.coords == second.coords and first.status is second.status:
        return None
    found = MetricDiff(
        key=key, qa=qa, name=first.name, unit=second.unit, flavor=flavor, status_before=first.status, status_after=second.status,
        reason=second.reason if _rank(second.status) >= _rank(first.status) else first.reason,
    )  # fmt: skip
    most, elements = (-1.0, -1.0), 0
    for a, b in _pairs(first, second):
        before, after = first.values[a] if a is not None else None, second.values[b] if b is not None else None
        if before == after:
            continue
        elements += 1
        scale = limit_scale(_limit_at(first, a)) or limit_scale(_limit_at(second, b))
        step = math.inf if before is None or after is None else abs(after - before)
        size = step / scale if scale else -1.0
        if (size, step) > most:
            most = size, step
            holder, index = (second, b) if b is not None else (first, a)
            at = dict(zip(holder.coords, next(itertools.islice(itertools.product(*holder.coords.values()), index, None)), strict=True))
            known = size >= 0 and math.isfinite(size)
            found = replace(found, at=at, before=before, after=after, size=size if known else None, scale=RANGE if known else "")
    return replace(found, elements=elements) if elements or found.flipped else None


def _metrics(result: PartResult | UnitVerdict) -> dict[tuple[str, str], MetricResult]:
    return {(q.name, m.name): m for q in result.qas for m in q.metrics}


def _qa_flips(key: PartKey, flavor: str, first: PartResult | UnitVerdict, second: PartResult | UnitVerdict) -> Iterator[MetricDiff]:
    """What only one of the two has judged: a metric of a QA that failed, or does not apply, in the other; else the QA itself (name: that of the QA).

    A QA that only one of the chains has, and that is NORMAL there, is no flip: chains differ, and that is said.
    """
    ours, theirs = {q.name: q for q in first.qas}, {q.name: q for q in second.qas}
    for name in dict.fromkeys((*ours, *theirs)):
        a, b = ours.get(name), theirs.get(name)
        if (a is None or b is None) and all(q is None or q.status in (None, Status.NORMAL) for q in (a, b)):
            continue
        was, now = ({m.name: m for m in q.metrics} if q is not None else {} for q in (a, b))
        alone = [m for n, m in (was | now).items() if (n in was) is not (n in now) and m.status is not None]
        for metric in alone:
            before, after = (metric.status if metric.name in had else q.status if q is not None and q.failure is not None else None
                             for had, q in ((was, a), (now, b)))  # fmt: skip
            yield _unmeasured(key, flavor, name, metric.name, (before, after), a, b)
        states = (a.status if a is not None else None, b.status if b is not None else None)
        told = alone or any(n in now and m.status is not now[n].status for n, m in was.items())
        if states[0] is not states[1] and not told:
            yield _unmeasured(key, flavor, name, name, states, a, b)


def _unmeasured(
    key: PartKey, flavor: str, qa: str, name: str, states: tuple[Status | None, Status | None], first: QAResult | None, second: QAResult | None
) -> MetricDiff:
    missing = "the QA is not in the chain of one of them" if first is None or second is None else ""
    why = next((q.failure.message if q.failure is not None else q.not_applicable for q in (second, first)
                if q is not None and (q.failure is not None or q.not_applicable)), missing)  # fmt: skip
    return MetricDiff(key=key, qa=qa, name=name, unit="", flavor=flavor, status_before=states[0], status_after=states[1], reason=why or "")


def diff_results(first: PartResult | UnitVerdict, second: PartResult | UnitVerdict, scatter: _Scatter | None = None) -> PartDiff:
    """One part, or one exposure as a whole, compared in two processings; sizes in limit ranges, where there is a limit."""
    key = PartKey(Unit(first.night, first.expid), first.part if isinstance(first, PartResult) else "")
    flavor = first.tags.get("flavor", "")
    ours, theirs = _metrics(first), _metrics(second)
    found = []
    for (qa, name), metric in ours.items():
        if scatter is not None:
            scatter.add(metric, flavor)
        other = theirs.get((qa, name))
        if other is not None and (one := _metric_diff(key, qa, flavor, metric, other)) is not None:
            found.append(one)
    found += _qa_flips(key, flavor, first, second)
    new = [r for r in second.reasons if r not in first.reasons]
    return PartDiff(
        key=key, flavor=flavor, before=first.status, after=second.status, metrics=tuple(sorted(found, key=_worst_metric_first)),
        only_first=tuple(n for q, n in ours if (q, n) not in theirs), only_second=tuple(n for q, n in theirs if (q, n) not in ours),
        reasons=tuple(new), causes=tuple(_causes(first, second)),
    )  # fmt: skip


def _causes(first: PartResult | UnitVerdict, second: PartResult | UnitVerdict) -> Iterator[str]:
    """In what two processings of a part differ."""
    if not (isinstance(first, PartResult) and isinstance(second, PartResult)):
        return
    was, now = first.provenance, second.provenance
    if was.chain != now.chain:
        yield f"chain {was.chain} -> {now.chain}"
    elif was.config_sha256 != now.config_sha256:
        yield f"parameters of chain {now.chain}"
    if was.limits_sha256 != now.limits_sha256:
        yield "limits"
    before = {c.kind: (c.source, c.night, c.valid_from, c.quality) for c in was.calibrations}
    after = {c.kind: (c.source, c.night, c.valid_from, c.quality) for c in now.calibrations}
    for kind in sorted({*before, *after}):
        if before.get(kind) != after.get(kind):
            yield f"calibration {kind}" + ("" if kind in before and kind in after else " (in one of them alone)")
    for name in sorted({*was.versions, *now.versions}):
        if was.versions.get(name) != now.versions.get(name):
            yield f"version of {name}: {was.versions.get(name, 'absent')} -> {now.versions.get(name, 'absent')}"


def compare(history: History, first: Selection, second: Selection) -> Diff:
    """Two selections of a history that differ in their tags. Both are read once, side by side; of an exposure as a whole the verdict counts too."""
    scatter = _Scatter()
    parts: list[PartDiff] = []
    alone: tuple[list[PartKey], list[PartKey]] = ([], [])
    for a, b in _side_by_side(history.results(first), history.results(second), newest_first=first.newest_first):
        if a is not None and b is not None:
            parts.append(diff_results(a, b, scatter))
        elif (one := a or b) is not None:
            alone[a is None].append(_key(one))
    apart: list[Unit] = []
    for a, b in () if first.parts else _side_by_side(history.verdicts(first), history.verdicts(second), newest_first=first.newest_first):
        if isinstance(a, UnitVerdict) and isinstance(b, UnitVerdict):
            if {*a.parts, *a.missing} == {*b.parts, *b.missing}:
                parts.append(diff_results(a, b, scatter))
            else:
                apart.append(_key(a).unit)
    causes: dict[str, int] = {}
    for cause in (c for p in parts for c in p.causes):
        causes[cause] = causes.get(cause, 0) + 1
    sized = (replace(p, metrics=tuple(_in_scatter(m, scatter) for m in p.metrics)) for p in parts)
    return Diff(
        first=first.tag, second=second.tag, parts=tuple(sorted(sized, key=_worst_first)), only_first=tuple(alone[0]), only_second=tuple(alone[1]),
        causes=causes, apart=tuple(apart),
    )  # fmt: skip


def _in_scatter(metric: MetricDiff, scatter: _Scatter) -> MetricDiff:
    """With its size in units of the scatter, where no limit gives one."""
    unit = scatter.of(metric.name, metric.flavor)
    if metric.size is not None or unit is None or metric.before is None or metric.after is None:
        return metric
    return replace(metric, size=abs(metric.after - metric.before) / unit, scale=SCATTER)


Result = PartResult | UnitVerdict


def _key(result: Result) -> PartKey:
    return PartKey(Unit(result.night, result.expid), result.part if isinstance(result, PartResult) else "")


def _side_by_side(
    first: Iterable[Result], second: Iterable[Result], *, newest_first: bool
) -> Iterator[tuple[Result | None, Result | None]]:
    """Results of the same part, from two streams of exposures in one order; None where one stream has it not."""
    streams = [_by_unit(first), _by_unit(second)]
    heads: list[tuple[Unit, Mapping[str, Result]] | None] = [next(s, None) for s in streams]
    while any(heads):
        units = [h[0] for h in heads if h is not None]
        unit = max(units) if newest_first else min(units)
        here: list[Mapping[str, Result]] = []
        for i, head in enumerate(heads):
            mine = head is not None and head[0] == unit
            here.append(head[1] if mine and head is not None else {})
            heads[i] = next(streams[i], None) if mine else head
        for part in sorted({*here[0], *here[1]}):
            yield here[0].get(part), here[1].get(part)


def _by_unit(results: Iterable[Result]) -> Iterator[tuple[Unit, Mapping[str, Result]]]:
    for unit, group in itertools.groupby(results, key=lambda r: Unit(r.night, r.expid)):
        yield unit, {_key(r).part: r for r in group}


def alone_in_words(diff: Diff) -> Sequence[str]:
    """Parts that only one of the two has, in words, one line each."""
    out = [f"{len(keys)} only in {tag}: {_few(keys)}" for tag, keys in ((diff.first, diff.only_first), (diff.second, diff.only_second)) if keys]
    if diff.apart:
        out.append(f"{len(diff.apart)} with other cameras in each, so that their verdicts as a whole are not compared: {_few(diff.apart)}")
    return tuple(out)


def _few(keys: Sequence[PartKey | Unit], most: int = 4) -> str:
    return ", ".join(map(str, keys[:most])) + (f" and {len(keys) - most} more" if len(keys) > most else "")
