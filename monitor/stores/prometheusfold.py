"""Events folded into what was said last: of cameras, metrics, the exposure, alarms, housekeeping, the daemon. The newest exposure counts."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Collection, Mapping
from typing import Any

from monitor.stores.influxpoints import HK_CODES
from monitor.stores.lastthings import LastThings
from quicklook.core.events import (
    AlarmChanged,
    Decided,
    DiskRoom,
    Event,
    Heartbeat,
    HkChanged,
    JobFailed,
    MutesChanged,
    PartVerdict,
    QADone,
    Receipt,
    UnitDone,
)
from quicklook.core.metrics import label_of
from quicklook.core.results import MetricResult
from quicklook.core.status import Status

VERDICT, QA, EXPOSURE, DECISION, LATENCY, ALARM, MUTES, HK, BEAT, DISK, COUNT = (
    "verdict", "qa", "exposure", "decision", "latency", "alarm", "mutes", "hk", "beat", "disk", "count",
)  # fmt: skip
UNKNOWN = Status.UNKNOWN.severity
_OVER = ("resolved", "closed")


class Fold:
    """Folds events of a tag into `last`. Metrics of at most `elements` values, or with a dimension in `always`, are kept value by value, others as
    their median."""

    def __init__(self, last: LastThings, tag: str, elements: int, always: Collection[str] = ()) -> None:
        self._last, self._tag, self._elements, self._always = last, tag, elements, frozenset(always)

    def take(self, event: Event) -> None:
        """Take one event; once only, by its number. Raises what `Event.typed` raises."""
        fold = _FOLDS.get(event.kind)
        if fold is not None and event.tag == self._tag and event.seq > self._last.seq:
            fold(self, event, event.typed())

    def _newest(self, event: Event, kind: str, name: str) -> bool:
        """Whether nothing is known of a later exposure: what waited behind is processed after it."""
        known = self._last.get(kind, name)
        return known is None or (event.unit or "") >= str(known.body.get("unit", ""))

    def _put(self, event: Event, kind: str, name: str, **body: Any) -> None:
        if self._newest(event, kind, name):
            self._last.put(kind, name, event.time, {"unit": event.unit or "", **body})

    def verdict(self, event: Event, said: PartVerdict) -> None:
        """The verdict of a camera."""
        self._put(event, VERDICT, event.part or "", severity=said.status.severity, measured=said.measured, expected=said.expected)

    def qa(self, event: Event, qa: QADone) -> None:
        """The metrics of a QA; of one that failed those that it had are not known now."""
        name = f"{event.part or ''}/{qa.name}"
        if qa.failure is None and qa.not_applicable is None:
            found = {m.name: {"unit": m.unit, "severity": _severity(m.status), "values": self._values(m)} for m in qa.metrics}
            self._put(event, QA, name, metrics={k: v for k, v in found.items() if v["values"] or v["severity"] is not None})
        elif self._newest(event, QA, name):
            known = self._last.get(QA, name)
            before: Mapping[str, Any] = known.body["metrics"] if known is not None and qa.failure is not None else {}
            lost = {k: {**v, "severity": UNKNOWN, "values": dict.fromkeys(v["values"])} for k, v in before.items()}
            self._put(event, QA, name, metrics=lost)

    def _values(self, metric: MetricResult) -> dict[str, float | None]:
        if metric.not_applicable is not None:
            return {}
        if not metric.coords:
            return {"": metric.values[0] if metric.values else None}
        if len(metric.values) <= self._elements or not self._always.isdisjoint(metric.coords):
            places = itertools.product(*metric.coords.values()) if metric.values else ()
            names = (",".join(f"{dim}={label_of(c)}" for dim, c in zip(metric.coords, at, strict=True)) for at in places)
            return dict(zip(names, metric.values, strict=True))
        known = [v for v in metric.values if v is not None]
        return {"median": statistics.median(known) if known else None} if metric.values else {}

    def exposure(self, event: Event, done: UnitDone) -> None:
        """The verdict of the exposure, and of each of its cameras as persons may have changed it; of a camera that is absent nothing is known."""
        for part, status in done.parts.items():
            known = self._last.get(VERDICT, part)
            if known is not None and known.body["unit"] == (event.unit or ""):
                self._put(event, VERDICT, part, **{**_without_unit(known.body), "severity": status.severity})
        for part in done.missing:
            self._lose(event, part)
        if event.revision == 0:
            known = self._last.get(COUNT, done.status)
            n = known.body["n"] if known is not None else 0
            self._last.put(COUNT, done.status, event.time, {"n": n + 1})
        flavor = done.tags.get("flavor", "")
        about = {"severity": done.status.severity, "flavor": flavor, "expid": done.expid, "cameras": len(done.parts), "missing": len(done.missing)}
        self._put(event, EXPOSURE, "", **about)

    def failed(self, event: Event, _failed: JobFailed) -> None:
        """A camera that could not be processed."""
        self._lose(event, event.part or "")

    def _lose(self, event: Event, part: str) -> None:
        if not self._newest(event, VERDICT, part):
            return
        self._put(event, VERDICT, part, severity=UNKNOWN, measured=0, expected=0)
        for name, thing in self._last.of(QA).items():
            if name.partition("/")[0] == part and thing.body["unit"] < (event.unit or ""):
                self._last.drop(QA, name)

    def decision(self, event: Event, card: Decided) -> None:
        """What to do after the exposure."""
        self._put(event, DECISION, "", decision=str(card.decision))

    def receipt(self, event: Event, receipt: Receipt) -> None:
        """How long the exposure took."""
        self._put(event, LATENCY, "", seconds=receipt.seconds_to_verdict)

    def alarm(self, event: Event, changed: AlarmChanged) -> None:
        """An alarm as it stands; one that is over is forgotten."""
        if changed.alarm.state in _OVER:
            self._last.drop(ALARM, changed.name)
        else:
            self._last.put(ALARM, changed.name, event.time, {"state": str(changed.alarm.state), "severity": str(changed.alarm.severity)})

    def mutes(self, event: Event, changed: MutesChanged) -> None:
        """How many mutes stand."""
        self._last.put(MUTES, "", event.time, {"n": len(changed.mutes)})

    def hk(self, event: Event, changed: HkChanged) -> None:
        """What is watched in housekeeping."""
        for c in changed.changes:
            body = {"channel": c.channel, "kind": c.kind, "code": HK_CODES[c.state], "state": str(c.state)}
            self._last.put(HK, c.subject, event.time, body)

    def beat(self, event: Event, beat: Heartbeat) -> None:
        """How the daemon is."""
        self._last.put(BEAT, "", event.time, beat.model_dump(mode="json"))

    def disk(self, event: Event, room: DiskRoom) -> None:
        """Whether there is room for results."""
        self._last.put(DISK, "", event.time, {"severity": room.status.severity})


def _severity(status: Status | None) -> int | None:
    return None if status is None else status.severity


def _without_unit(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "unit"}


_FOLDS: Mapping[str, Callable[[Fold, Event, Any], None]] = {
    PartVerdict.kind: Fold.verdict,
    QADone.kind: Fold.qa,
    UnitDone.kind: Fold.exposure,
    JobFailed.kind: Fold.failed,
    Decided.kind: Fold.decision,
    Receipt.kind: Fold.receipt,
    AlarmChanged.kind: Fold.alarm,
    MutesChanged.kind: Fold.mutes,
    HkChanged.kind: Fold.hk,
    Heartbeat.kind: Fold.beat,
    DiskRoom.kind: Fold.disk,
}
KINDS = tuple(_FOLDS)
"""Kinds of events that change what is shown."""
