"""Events as points of time series: what each kind of event becomes in InfluxDB. Pure but for what is known of the last exposures.

Numbers that a status or a state becomes: NORMAL 0, UNKNOWN 1, WARNING 2, ALARM 3; of housekeeping see `HK_CODES`. Times are those of the events.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitor.stores.labels import Bounds
from quicklook.core.events import (
    AlarmChanged,
    CalibrationMade,
    CommandGiven,
    Decided,
    DiskRoom,
    Event,
    Heartbeat,
    HkChanged,
    JobFailed,
    Mirrored,
    Overridden,
    PartVerdict,
    QADone,
    RawFolder,
    Receipt,
    Refused,
    SinkGaveUp,
    StepDone,
    TestDone,
    UnitDone,
)
from quicklook.core.housekeeping import HkState
from quicklook.core.keys import Unit
from quicklook.core.metrics import label_of
from quicklook.core.results import MetricResult
from quicklook.core.status import Status
from quicklook.io.lineprotocol import FieldValue, Point

Fields = Mapping[str, FieldValue]
HK_CODES = {HkState.NORMAL: 0, HkState.OFF: 0, HkState.PENDING: 1, HkState.UNKNOWN: 1, HkState.STALE: 2, HkState.VIOLATING: 3}
"""Only what is NORMAL, or does not apply, is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How points are made: names begin with `prefix`; a metric of more than `elements` values has its summary alone, unless one of its dimensions is
    in `always`; `tags` stand at every point."""

    prefix: str = "quicklook"
    elements: int = 64
    always: tuple[str, ...] = ()
    tags: Mapping[str, str]


class Maker:
    """Makes the points of events. `bounds` keeps the number of series small: elements beyond it are left out, flavors and programs are `other`."""

    def __init__(self, shape: Shape, bounds: Bounds) -> None:
        self._shape, self._bounds = shape, bounds

    def points(self, event: Event, facts: Mapping[str, str], time_ns: int) -> list[Point]:
        """The points of an event, at that time; `facts` are those of its exposure. Raises what `Event.typed` raises."""
        make = _MAKERS.get(event.kind)
        if make is None:
            return []
        base = {"tag": event.tag, "camera": event.part or "", "flavor": facts.get("flavor", ""), "program": facts.get("program", "")}
        tags = {**self._shape.tags, **{name: self._bounds.label(name, value) for name, value in base.items()}}
        return list(make(_Making(self._shape, self._bounds, event, tags, time_ns), event.typed()))


@dataclass(frozen=True, slots=True)
class _Making:
    """One event on its way."""

    shape: Shape
    bounds: Bounds
    event: Event
    tags: Mapping[str, str]
    time_ns: int

    def point(self, name: str, fields: Fields, *, time_ns: int | None = None, **tags: str) -> Point:
        bounded = {key: self.bounds.label(key, value) for key, value in tags.items()}
        at = self.time_ns if time_ns is None else time_ns
        return Point(measurement=f"{self.shape.prefix}_{name}", tags={**self.tags, **bounded}, fields=fields, time_ns=at)

    def said(self, text: str, status: Status | None = None, *, what: str = "") -> Point:
        """Something to be marked in plots. Events of one moment stay apart by the last digits of their time."""
        unit = self.event.unit or ""
        fields = {"text": text, "unit": unit, "status": status.severity if status else None, "seq": self.event.seq}
        return self.point("event", fields, time_ns=self._alone, kind=what or self.event.kind)

    @property
    def _alone(self) -> int:
        return self.time_ns // 1000 * 1000 + self.event.seq % 1000

    @property
    def number(self) -> Fields:
        """Which exposure it was, and which revision."""
        unit = Unit.parse(self.event.unit) if self.event.unit else None
        return {"expid": unit.expid if unit else None, "revision": self.event.revision}


def _qa(made: _Making, qa: QADone) -> Iterator[Point]:
    failure = qa.failure.message if qa.failure else ""
    fields = {"status": _severity(qa.status), "seconds": qa.seconds, "failed": bool(failure), "failure": failure or None, **made.number}
    yield made.point("qa", fields, qa=qa.name, step=qa.step, group=qa.group)
    for metric in qa.metrics:
        if metric.not_applicable is None:
            yield _summary(made, qa.name, metric)
            yield from _elements(made, qa.name, metric)


def _summary(made: _Making, qa: str, metric: MetricResult) -> Point:
    known = [v for v in metric.values if v is not None]
    limit = metric.deciding
    low, high = limit.normal if limit else (None, None)
    warn_low, warn_high = limit.warning if limit else (None, None)
    fields: dict[str, FieldValue] = {
        "value": _float(statistics.median(known)) if known else None,
        "min": _float(min(known, default=None)),
        "max": _float(max(known, default=None)),
        "worst": _float(metric.values[metric.worst]) if metric.worst is not None else None,
        "n": len(metric.values),
        "unmeasured": len(metric.values) - len(known),
        "status": _severity(metric.status),
        "normal_low": _float(low), "normal_high": _float(high), "warning_low": _float(warn_low), "warning_high": _float(warn_high),
        **made.number,
    }  # fmt: skip
    return made.point("metric", fields, qa=qa, metric=metric.name, unit=metric.unit)


def _elements(made: _Making, qa: str, metric: MetricResult) -> Iterator[Point]:
    few = len(metric.values) <= made.shape.elements or not set(made.shape.always).isdisjoint(metric.coords)
    if not metric.coords or not few or not metric.values:
        return
    names = [f"at_{name}" if name in _TAGS else name for name in metric.coords]
    places = itertools.product(*metric.coords.values())
    for at, value, status in zip(places, metric.values, metric.statuses, strict=True):
        labels = {name: label_of(coord) for name, coord in zip(names, at, strict=True)}
        if all(made.bounds.admits(f"{metric.name}[{name}]", label) for name, label in labels.items()):
            fields = {"value": _float(value), "status": _severity(status)}
            point = made.point("element", fields, qa=qa, metric=metric.name, unit=metric.unit)
            yield Point(measurement=point.measurement, tags={**point.tags, **labels}, fields=fields, time_ns=point.time_ns)


_TAGS = frozenset({"tag", "camera", "flavor", "program", "qa", "metric", "unit", "value", "status"})


def _step(made: _Making, step: StepDone) -> Iterator[Point]:
    fields: Fields = {"seconds": step.seconds, "failed": step.failure is not None, "failure": step.failure.message if step.failure else None}
    yield made.point("step", {**fields, **made.number}, step=step.name, algorithm=step.algorithm)


def _verdict(made: _Making, verdict: PartVerdict) -> Iterator[Point]:
    yield made.point("verdict", {
        "status": verdict.status.severity, "status_name": verdict.status, "measured": verdict.measured, "expected": verdict.expected,
        "seconds": verdict.seconds, "degraded": len(verdict.degraded), "reason": _first(verdict.reasons), **made.number,
    })  # fmt: skip


def _exposure(made: _Making, done: UnitDone) -> Iterator[Point]:
    yield made.point("exposure", {
        "status": done.status.severity, "status_name": done.status, "cameras": len(done.parts), "missing": len(done.missing),
        "reason": _first(done.reasons), "overridden": bool(done.overrides), **made.number,
    })  # fmt: skip


def _decision(made: _Making, card: Decided) -> Iterator[Point]:
    fields: Fields = {"decision": card.decision, "go_on": card.decision == "go_on", "status": card.status.severity, "why": card.why, **made.number}
    yield made.point("decision", fields)
    if card.decision != "go_on":
        yield made.said(f"{card.decision}: {card.why}", card.status)


_STAGES = ("started", "read", "verdict", "products_written")


def _receipt(made: _Making, receipt: Receipt) -> Iterator[Point]:
    begun = receipt.times.get("closed", min(receipt.times.values(), default=0))
    after = {name: (time - begun) / 1e9 for name, time in receipt.times.items()}
    verdicts = [seconds for name, seconds in after.items() if name.endswith("/verdict")]
    yield made.point("latency", {
        "seconds_to_verdict": _float(receipt.seconds_to_verdict), "seen_s": after.get("seen"), "readable_s": after.get("readable"),
        "first_verdict_s": min(verdicts, default=None), "last_verdict_s": max(verdicts, default=None), **made.number,
    })  # fmt: skip
    for part in dict.fromkeys(name.partition("/")[0] for name in after if name.count("/") == 1):
        fields = {f"{stage}_s": after.get(f"{part}/{stage}") for stage in _STAGES}
        yield made.point("latency", fields, camera=part)


def _heartbeat(made: _Making, beat: Heartbeat) -> Iterator[Point]:
    yield made.point("daemon", {
        "workers": beat.workers, "waiting": beat.waiting, "running": beat.running, "done": beat.done, "failed": beat.failed,
        "arriving": beat.arriving, "disk_free_gb": _float(beat.disk_free_gb), "trouble": bool(beat.raw_trouble or beat.work_trouble),
        **{f"latency_{name}_s": _float(value) for name, value in beat.latency_s.items() if name != "n"},
        **{f"memory_{name}_mb": _float(value) for name, value in beat.memory_mb.items()},
    })  # fmt: skip
    for name, behind in beat.sinks.items():
        yield made.point("sink", {"behind": behind}, sink=name)


def _hk(made: _Making, changed: HkChanged) -> Iterator[Point]:
    for change in changed.changes:
        fields: Fields = {
            "state": HK_CODES[change.state], "state_name": change.state, "severity": change.severity.rank, "value": _float(change.value),
            "bound": _float(change.bound), "told": change.told, "text": change.sentence,
        }  # fmt: skip
        at = round(change.time * 1e9) if abs(change.time) < 9e9 else None
        yield made.point("hk", fields, time_ns=at, subject=change.subject, channel=change.channel, kind=change.kind)


def _alarm(made: _Making, changed: AlarmChanged) -> Iterator[Point]:
    alarm = changed.alarm
    fields: Fields = {"state": alarm.state, "severity": alarm.severity.rank, "worst": alarm.worst.rank, "what": alarm.what, "by": alarm.by or None}
    yield made.point("alarm", {**fields, "standing": alarm.state not in ("resolved", "closed"), "count": alarm.count}, rule=alarm.rule, key=alarm.key)


def _disk(made: _Making, room: DiskRoom) -> Iterator[Point]:
    yield made.point("disk", {"free_gb": room.free_gb, "total_gb": room.total_gb, "status": room.status.severity})
    yield made.said(f"{room.free_gb:g} GB are free: {room.what_next}", room.status)


def _test(made: _Making, test: TestDone) -> Iterator[Point]:
    fields: Fields = {"status": test.status.severity, "status_name": test.status, "complete": test.complete, "flags": " ".join(test.flags) or None}
    yield made.point("test", fields, test=test.name)
    yield made.said(f"test {test.name}: {test.status}", test.status)


def _calibration(made: _Making, done: CalibrationMade) -> Iterator[Point]:
    yield made.said(f"{done.name} by {done.by}{'' if done.adopted else ', not adopted'}: {done.status}", done.status)


def _mirrored(made: _Making, copy: Mirrored) -> Iterator[Point]:
    if not copy.done:
        yield made.said(f"{copy.file} is not at {copy.name}: {copy.error}")


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _severity(status: Status | None) -> int | None:
    return None if status is None else status.severity


def _first(reasons: list[str]) -> str | None:
    return reasons[0] if reasons else None


_MAKERS: Mapping[str, Callable[[_Making, Any], Iterator[Point]]] = {
    QADone.kind: _qa,
    StepDone.kind: _step,
    PartVerdict.kind: _verdict,
    UnitDone.kind: _exposure,
    Decided.kind: _decision,
    Receipt.kind: _receipt,
    Heartbeat.kind: _heartbeat,
    HkChanged.kind: _hk,
    AlarmChanged.kind: _alarm,
    DiskRoom.kind: _disk,
    TestDone.kind: _test,
    CalibrationMade.kind: _calibration,
    Mirrored.kind: _mirrored,
    Overridden.kind: lambda made, done: iter([made.said(f"{done.part or 'the exposure'}: {done.sentence}", done.status)]),
    CommandGiven.kind: lambda made, done: iter([made.said(f"{done.name} by {done.by}: {done.said}")]),
    JobFailed.kind: lambda made, done: iter([made.said(done.failure.message, Status.ALARM)]),
    Refused.kind: lambda made, done: iter([made.said(f"{done.file}: {done.failure.message}", Status.WARNING)]),
    RawFolder.kind: lambda made, done: iter([made.said(done.trouble or f"{done.path} is {'there' if done.there else 'gone'}")]),
    SinkGaveUp.kind: lambda made, done: iter([made.said(f"{done.name}: {done.failure.message}", Status.WARNING)]),
}
KINDS = tuple(_MAKERS)
"""Kinds of events that become points."""


def start_ns(facts: Mapping[str, str]) -> int | None:
    """When an exposure was begun, UTC ns; None where its start is no time."""
    try:
        begun = datetime.fromisoformat(facts.get("start", ""))
    except ValueError:
        return None
    seconds = begun.replace(tzinfo=begun.tzinfo or UTC).timestamp()
    return round(seconds * 1e6) * 1000 if math.isfinite(seconds) else None
