"""Metrics as tables of a report: what is out of its limits first, then all of them by group. Pure.

Many cameras make one row: a report of thirty of them is read by people.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from quicklook.core.findings import action_of
from quicklook.core.reporting import Absent, Block, Column, Grid, Listing, Prose, Section, Sentence
from quicklook.core.results import LimitUsed, MetricResult, QAResult
from quicklook.core.status import Status, worst
from quicklook.service.reporting.words import NO_UNIT, counted, limit_words, listed, ranged, row_words, value_words

GROUPS = ("Exposure", "CCDs", "Fibres", "Spectra", "Housekeeping")
"""The order of groups; others come behind them."""
_MOST_OUT = 250
WHOLE = "exposure"
_TOLD = (Status.ALARM, Status.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A QA of a part ("" for the exposure as a whole); `of` is the exposure, where there are several."""

    part: str
    qa: QAResult
    of: str = ""

    @property
    def place(self) -> str:
        """The part, in words."""
        return self.part or WHOLE

    @property
    def full(self) -> str:
        """With the exposure."""
        return f"{self.of} {self.place}".strip()


@dataclass(slots=True, kw_only=True)
class _Row:
    """One metric under one limit, over all parts."""

    group: str
    order: int
    metric: MetricResult
    limit: LimitUsed | None
    parts: list[str] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    statuses: list[Status | None] = field(default_factory=list)

    @property
    def status(self) -> Status | None:
        return worst(self.statuses)


def metric_sections(results: Sequence[Result], silent: Collection[str] = ()) -> list[Section]:
    """What is out of limits, and every metric by group. `silent` are parts that should have given results and have none."""
    return [out_of_limits(results, silent), metrics_section(results)]


def out_of_limits(results: Sequence[Result], silent: Collection[str] = ()) -> Section:
    """Every metric that is not NORMAL; and the `silent` parts, of which nothing is known."""
    lacking = [Absent(text=f"Unknown: {ranged(silent)} gave no result; what is measured there is not known.")] if silent else []
    return Section(title="Out of limits", blocks=[*lacking, *_out_of_limits(results)])


def metrics_section(results: Sequence[Result], title: str = "Metrics", *, told: bool = False) -> Section:
    """Every metric by group, what is not NORMAL first. `told`: how to read it was said before."""
    rows = _rows(results)
    blocks: list[Block] = [] if told and rows else [Prose(paragraphs=[_HOW])] if rows else [Absent(text="No metric was measured.")]
    every = {r.part for r in results if r.part}
    blocks += [_group_grid(group, [r for r in rows if r.group == group], every) for group in _groups(rows)]
    return Section(title=title, blocks=[*blocks, *_unmeasured(results)])


_HOW = (
    "Each row is one metric under one limit, over all cameras, exposures and elements (amplifiers, fibres, lines) that it has: their number N "
    f"(measured/all where some are not), the lowest, median and highest value in the unit given ({NO_UNIT}: a pure number), and the ranges that are "
    "NORMAL and WARNING; outside of both it is an ALARM. Without a limit a metric is measured and not judged."
)


def _groups(rows: Iterable[_Row]) -> list[str]:
    there = dict.fromkeys(r.group for r in rows)
    return sorted(there, key=lambda g: (GROUPS.index(g) if g in GROUPS else len(GROUPS), g))


# ---- out of limits


def _out_of_limits(results: Sequence[Result]) -> list[Block]:
    out = [(r, m) for r in results for m in r.qa.metrics if m.status not in (None, Status.NORMAL)]
    out.sort(key=lambda one: -(one[1].status.severity if one[1].status else 0))
    judged = sum(m.status is not None for r in results for m in r.qa.metrics)
    if not out:
        if not judged:
            return [Absent(text="Nothing was judged: no metric has a limit here, or none was measured.")]
        within = "the one metric that has a limit is within it" if judged == 1 else f"all {judged} metrics that have a limit are within it"
        good = Prose(paragraphs=[f"None of what was measured: {within}."])
        return [good, *_not_judged(results)]
    alike: dict[tuple[str, ...], list[Result]] = {}
    for result, metric in out:
        if not _is_unmeasured(metric):
            alike.setdefault(_out_cells(metric), []).append(result)
    rows = [[cells[0], _places(of), *cells[1:]] for cells, of in alike.items()][:_MOST_OUT]
    more = len(alike) - len(rows)
    note = f"{more} more are not NORMAL and are left out here; `quicklook explain` shows each of them." if more else ""
    columns = [
        Column(title="status", kind="status", share=1.7), Column(title="camera", share=1.5), Column(title="metric", share=2.7),
        Column(title="value", kind="number", share=1.7), Column(title="unit", share=1.3), Column(title="normal", share=1.6),
        Column(title="warning", share=1.6), Column(title="why", share=5.2),
    ]  # fmt: skip
    blocks: list[Block] = [Grid(columns=columns, rows=rows, note=note)] if rows else []
    blocks += _not_measured(out)
    told = _actions(out)
    if told:
        blocks += [Prose(paragraphs=["What to do, as the limits say:"]), Listing(items=told)]
    return [*blocks, *_not_judged(results)]


def _places(of: Sequence[Result]) -> str:
    """Where it is so: cameras, or those of each exposure."""
    return listed((r.full for r in of), 4) if any(r.of for r in of) else ranged((r.place for r in of), 4)


def _is_unmeasured(metric: MetricResult) -> bool:
    return metric.status is Status.UNKNOWN and metric.cause is not None


def _not_measured(out: Sequence[tuple[Result, MetricResult]]) -> list[Block]:
    """What could not be measured, a row for each cause: one dead amplifier is the cause of thirty."""
    by_cause: dict[tuple[str, ...], tuple[dict[str, None], list[Result]]] = {}
    for result, metric in out:
        if _is_unmeasured(metric) and metric.cause is not None:
            names, of = by_cause.setdefault((result.full, *metric.cause), ({}, []))
            names[metric.name] = None
            of.append(result)
    alike: dict[tuple[str, str, str], list[Result]] = {}
    for (_, place, why), (names, of) in by_cause.items():
        alike.setdefault((place, why, ", ".join(names)), []).extend(of)
    rows = [[str(Status.UNKNOWN), _places(of), place, why, names] for (place, why, names), of in alike.items()][:_MOST_OUT]
    columns = [
        Column(title="status", kind="status", share=1.7), Column(title="camera", share=1.5), Column(title="where", share=1.6),
        Column(title="cause", share=4), Column(title="metrics that were not measured", share=6),
    ]  # fmt: skip
    return [Grid(title="Not measured, though it should have been", columns=columns, rows=rows)] if rows else []


def _not_judged(results: Sequence[Result]) -> list[Block]:
    n = sum(r.qa.failure is not None for r in results)
    return [Absent(text=f"{counted(n, 'QA')} could not measure; of what they judge nothing is known. They are named below the metrics.")] if n else []


def _out_cells(metric: MetricResult) -> tuple[str, ...]:
    """The cells of its row but for the cameras: those in which it is just the same share one."""
    value = metric.values[metric.worst] if metric.worst is not None and metric.values else None
    limit = metric.deciding
    normal, warning = (limit_words(limit.normal), limit_words(limit.warning)) if limit is not None else ("none", "none")
    unit = metric.unit or NO_UNIT
    return (str(metric.status), metric.name, value_words(value), unit, normal, warning, metric.reason or _place_of(metric))


def _place_of(metric: MetricResult) -> str:
    if metric.worst is None or not metric.coords:
        return ""
    at = next(itertools.islice(itertools.product(*metric.coords.values()), metric.worst, None))
    return ", ".join(f"{k} {v}" for k, v in zip(metric.coords, at, strict=True))


def _actions(out: Sequence[tuple[Result, MetricResult]]) -> list[Sentence]:
    """Of what is outside of its limits; what was not measured has another cause, which its row tells."""
    by_action: dict[str, list[tuple[Status | None, str]]] = {}
    for _, metric in out:
        if metric.status in _TOLD and (action := action_of(metric)):
            by_action.setdefault(action, []).append((metric.status, metric.name))
    return [Sentence(text=f"{listed(n for _, n in of)}: {action}", status=worst(s for s, _ in of)) for action, of in by_action.items()]


# ---- all of them


def _rows(results: Sequence[Result]) -> list[_Row]:
    rows: dict[tuple[object, ...], _Row] = {}
    for result in results:
        for metric in result.qa.metrics:
            if metric.not_applicable is not None or not metric.values:
                continue
            for limit, at in _by_limit(metric).items():
                used = metric.limits[limit] if limit is not None else None
                key = (result.qa.group, metric.name, metric.unit, used.normal if used else None, used.warning if used else None)
                row = rows.setdefault(key, _Row(group=result.qa.group, order=len(rows), metric=metric, limit=used))
                row.parts.append(result.place)
                row.values += [metric.values[i] for i in at]
                row.statuses += [metric.statuses[i] for i in at]
    return list(rows.values())


def _by_limit(metric: MetricResult) -> Mapping[int | None, list[int]]:
    """Elements by the limit that judged them."""
    out: dict[int | None, list[int]] = {}
    for i, limit in enumerate(metric.limit_of or [None] * len(metric.values)):
        out.setdefault(limit, []).append(i)
    return out


def _group_grid(group: str, rows: Sequence[_Row], every: Collection[str]) -> Grid:
    columns = [
        Column(title="metric", share=3.6), Column(title="cameras", share=1.6), Column(title="unit", share=1.6),
        Column(title="N", kind="number", share=0.8), Column(title="lowest", kind="number", share=1.35),
        Column(title="median", kind="number", share=1.35), Column(title="highest", kind="number", share=1.35),
        Column(title="normal", share=1.9), Column(title="warning", share=1.9), Column(title="status", kind="status", share=1.8),
    ]  # fmt: skip
    ordered = sorted(rows, key=lambda r: (-(r.status.severity if r.status else -1), r.order))
    return Grid(title=group or "other", columns=columns, rows=[_group_row(r, every) for r in ordered])


def _group_row(row: _Row, every: Collection[str]) -> list[str]:
    known = [v for v in row.values if v is not None]
    missing = len(row.values) - len(known)
    n = f"{len(known)}" if not missing else f"{len(known)}/{len(row.values)}"
    bounds = row.limit.normal if row.limit is not None else (None, None)
    three = row_words([min(known), statistics.median(known), max(known)], bounds) if known else ["none"] * 3
    normal, warning = (limit_words(row.limit.normal), limit_words(row.limit.warning)) if row.limit is not None else ("", "")
    status = str(row.status) if row.status is not None else ""
    cameras = f"all {len(every)}" if len(every) > 1 and set(row.parts) == set(every) else ranged(row.parts, 3)
    return [row.metric.name, cameras, row.metric.unit or NO_UNIT, n, *three, normal, warning, status]


# ---- what was not measured


def _unmeasured(results: Sequence[Result]) -> list[Block]:
    blocks: list[Block] = []
    failed = list(_failed(results))
    if failed:
        blocks += [Prose(paragraphs=["These QAs could not measure:"]), Listing(items=failed)]
    silent: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.qa.not_applicable:
            silent.setdefault((result.qa.name, result.qa.not_applicable), []).append(result.place)
        for metric in result.qa.metrics:
            if metric.not_applicable:
                silent.setdefault((metric.name, metric.not_applicable), []).append(result.place)
    if silent:
        rows = [[name, ranged(parts, 3), why] for (name, why), parts in silent.items()]
        columns = [Column(title="QA or metric", share=2.4), Column(title="cameras", share=2.4), Column(title="why", share=5)]
        blocks.append(Grid(title="What does not apply here", columns=columns, rows=rows))
    return blocks


def _failed(results: Sequence[Result]) -> Iterator[Sentence]:
    by_cause: dict[str, list[str]] = {}
    for result in results:
        if (failure := result.qa.failure) is not None:
            by_cause.setdefault(f"{failure.message} {failure.what_next}".strip(), []).append(f"{result.qa.name} of {result.place}")
    for cause, of in by_cause.items():
        yield Sentence(text=f"{listed(of)}: {cause}", status=Status.UNKNOWN)
