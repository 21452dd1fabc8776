"""Judging again: stored results with other limits, and no pixel. Pure: the same limits give the same result to the last byte."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.metrics import Measured, MetricDef
from quicklook.core.results import MetricResult, PartResult, QAResult, UnitVerdict
from quicklook.core.runner import reasons_of
from quicklook.core.status import Status, total, worst

Definitions = Mapping[str, MetricDef]


def stored_measures(metric: MetricResult) -> Measured | None:
    """What a QA returned, from its result; None where it returned nothing or no element. What was not finite is NaN."""
    if metric.not_applicable is not None:
        return Measured(name=metric.name, values=np.empty(0), not_applicable=metric.not_applicable)
    shape = tuple(len(axis) for axis in metric.coords.values())
    if not metric.values or math.prod(shape) != len(metric.values):
        return None
    coords = {name: tuple(axis) for name, axis in metric.coords.items()}
    places = list(itertools.product(*coords.values()))
    left_out = frozenset(places[flat] for flat in metric.left_out if flat < len(places))
    values = np.array([math.nan if v is None else v for v in metric.values], dtype=np.float64).reshape(shape)
    return Measured(name=metric.name, values=values, coords=coords, remarks={tuple(r.at): r.text for r in metric.remarks}, left_out=left_out)


def rejudge_metric(judge: Judge, metric: MetricResult, tags: Mapping[str, str], *, definitions: Definitions, cause: str = "") -> MetricResult:
    """One stored metric judged again. `cause` is why its QA could not measure, where it could not.

    It is judged as it was declared when it was stored: limits in another unit, of a metric that has changed since, do not touch it.
    """
    if metric.status is None and not judge.limits.of(metric.name):
        return metric
    stored = stored_measures(metric)
    now = definitions.get(metric.name)
    dims = tuple(metric.coords) or (now.dims if now is not None and stored is None else ())
    flag = metric.flag or (now is not None and now.flag)
    definition = MetricDef(metric.name, metric.unit, dims=dims, doc=metric.doc or metric.name, flag=flag)
    if any(limit.unit != metric.unit for limit in judge.limits.of(metric.name)):
        return metric
    if stored is not None:
        again = judge.metric(definition, stored, tags)
    elif cause:
        again = judge.unknown([definition], tags, cause)[0]
    else:
        again = judge.metric(definition, None, tags)
        if again.status is not None and metric.reason:
            again = again.model_copy(update={"reason": metric.reason})
    return again.model_copy(update={"doc": metric.doc, "coords": metric.coords})


def rejudge_qa(judge: Judge, qa: QAResult, tags: Mapping[str, str], *, definitions: Definitions) -> QAResult:
    """One stored QA judged again; one that did not apply stays so, one that failed stays UNKNOWN."""
    if qa.not_applicable is not None:
        return qa
    cause = ""
    if qa.failure is not None:
        cause = qa.failure.message if qa.failure.error == "NotRun" else f"QA {qa.name} failed: {qa.failure.message}"
    metrics = [rejudge_metric(judge, m, tags, definitions=definitions, cause=cause) for m in qa.metrics]
    status = Status.UNKNOWN if qa.failure is not None else worst(m.status for m in metrics)
    return qa.model_copy(update={"metrics": metrics, "status": status})


def rejudge(judge: Judge, result: PartResult, *, definitions: Definitions) -> PartResult:
    """A stored part judged again: statuses, reasons and sums. `definitions` are the metrics that are declared now (see `rejudge_metric`).

    Where a person has set its verdict, the metrics are judged and the verdict stays.
    """
    qas = [rejudge_qa(judge, qa, result.tags, definitions=definitions) for qa in result.qas]
    due = [qa for qa in qas if qa.status is not None]
    provenance = result.provenance.model_copy(update={"limits_sha256": judge.limits.sha256})
    if result.override is not None:
        return result.model_copy(update={"qas": qas, "provenance": provenance})
    return result.model_copy(
        update={
            "qas": qas,
            "status": total([*(qa.status for qa in qas), *(Status.UNKNOWN for step in result.steps if step.failure)]),
            "reasons": reasons_of(result.steps, qas),
            "measured": sum(qa.status is not Status.UNKNOWN for qa in due),
            "expected": len(due),
            "provenance": provenance,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric of one part whose status is another with the new limits, or whose decisive limit is another; None: it is not judged."""

    name: str
    before: Status | None
    after: Status | None
    reason: str = ""
    source: str = ""
    elements: int = 0

    @property
    def worse(self) -> int:
        """By how many steps of severity it gets worse; negative: better."""
        return _rank(self.after) - _rank(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChange:
    """A part that was judged again. `used` are the places (file:line) of the limits that judged something in it."""

    key: PartKey
    flavor: str
    revision: int
    before: Status
    after: Status
    metrics: tuple[MetricChange, ...] = ()
    used: frozenset[str] = frozenset()

    @property
    def changed(self) -> bool:
        """Whether the status of the part is another."""
        return self.before is not self.after


def _rank(status: Status | None) -> int:
    """Severity; below NORMAL what is not judged."""
    return -1 if status is None else status.severity


def _metric_changes(before: Sequence[QAResult], after: Sequence[QAResult]) -> tuple[MetricChange, ...]:
    """Metrics whose status is another, or that of any of their elements; the worst first."""
    old = {(q.name, q.step, m.name): m for q in before for m in q.metrics}
    found = []
    for qa in after:
        for metric in qa.metrics:
            was = old[qa.name, qa.step, metric.name]
            elements = sum(a is not b for a, b in itertools.zip_longest(was.statuses, metric.statuses))
            if was.status is not metric.status or elements:
                source = metric.deciding.source if metric.deciding is not None else ""
                found.append(
                    MetricChange(name=metric.name, before=was.status, after=metric.status, reason=metric.reason, source=source, elements=elements)
                )
    return tuple(sorted(found, key=lambda c: (-_rank(c.after), -c.worse)))


def _used(qas: Sequence[QAResult]) -> frozenset[str]:
    return frozenset(used.source for qa in qas for m in qa.metrics for used in m.limits)


def change_of(judge: Judge, result: PartResult, *, definitions: Definitions) -> PartChange:
    """A part judged again, and compared with what it was."""
    after = rejudge(judge, result, definitions=definitions)
    return PartChange(
        key=PartKey(Unit(result.night, result.expid), result.part),
        flavor=result.tags.get("flavor", ""),
        revision=result.revision,
        before=result.status,
        after=after.status,
        metrics=_metric_changes(result.qas, after.qas),
        used=_used(after.qas),
    )


def change_of_whole(judge: Judge, verdict: UnitVerdict, *, definitions: Definitions) -> PartChange | None:
    """The QAs of an exposure as a whole judged again; its part is "". None where there are none, or none of them was judged before or is now."""
    qas = [rejudge_qa(judge, qa, verdict.tags, definitions=definitions) for qa in verdict.qas]
    before, after = worst(q.status for q in verdict.qas), worst(q.status for q in qas)
    if before is None and after is None:
        return None
    return PartChange(
        key=PartKey(Unit(verdict.night, verdict.expid), ""),
        flavor=verdict.tags.get("flavor", ""),
        revision=verdict.revision,
        before=before or Status.UNKNOWN,
        after=after or Status.UNKNOWN,
        metrics=_metric_changes(verdict.qas, qas),
        used=_used(qas),
    )
