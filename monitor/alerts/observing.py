"""From events to observations: what each kind of event says about the condition of something, as facts that rules can ask for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from quicklook.core.events import (
    CalibrationMade,
    Decided,
    DiskRoom,
    Event,
    Heartbeat,
    HkChanged,
    JobFailed,
    Mirrored,
    PartVerdict,
    Payload,
    QADone,
    RawFolder,
    Refused,
    Seen,
    SinkGaveUp,
    TestDone,
    UnitDone,
)
from quicklook.core.housekeeping import HkState
from quicklook.core.keys import Unit
from quicklook.core.results import MetricResult
from quicklook.core.severity import Severity
from quicklook.core.status import Status

Facts = Mapping[str, str]
OF_STATUS = {Status.ALARM: Severity.ALARM, Status.WARNING: Severity.WARNING, Status.UNKNOWN: Severity.WARNING, Status.NORMAL: Severity.NOTICE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What an event says about one thing, `key`. `judged`: it tells whether all is well; if not, it can raise an alarm and end none;
    nor can it for a rule that asks for one of the facts `unknown`.

    `frame`: of one exposure. `severity`: how bad it is, as far as the event itself says.
    """

    on: str
    key: str
    facts: Facts
    frame: bool = False
    judged: bool = True
    unknown: frozenset[str] = frozenset()
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What rules may name under `on`: the facts that it has, what it is about."""

    doc: str
    facts: tuple[str, ...]


_OF_UNIT = ("unit", "night", "expid", "flavor", "tag")
SOURCES: Mapping[str, Source] = {
    "qa": Source(
        doc="a QA of a camera",
        facts=("qa", "part", "status", "group", "step", "metric", "value", "value_unit", "limit", "reason", "action", *_OF_UNIT),
    ),
    "verdict": Source(doc="the verdict of a camera", facts=("part", "status", "reason", "measured", "expected", "degraded", *_OF_UNIT)),
    "exposure": Source(
        doc="the verdict of an exposure over its cameras", facts=("status", "reason", "cause", "n_missing", "missing", "cameras", *_OF_UNIT)
    ),
    "decision": Source(doc="what is to be done after an exposure", facts=("decision", "reason", "cause", "action", *_OF_UNIT)),
    "test": Source(doc="a test of a session", facts=("test", "status", "reason", "flags", "n_flags", "run")),
    "job": Source(doc="work on a camera of an exposure that cannot be done", facts=("failed", "part", "attempts", "reason", "action", *_OF_UNIT)),
    "refused": Source(doc="a file that is not taken", facts=("refused", "file", "reason", "action", "error")),
    "disk": Source(doc="room on the disk of results", facts=("status", "path", "free_gb", "total_gb", "action")),
    "raw_folder": Source(doc="the folder of raw files", facts=("there", "path", "blind", "trouble")),
    "sink": Source(doc="a sink that could not take an event", facts=("sink", "reason", "action")),
    "calibration": Source(doc="a calibration that was made", facts=("calibration", "by", "status", "adopted", "reason")),
    "mirror": Source(doc="a raw file copied to another place", facts=("place", "file", "done", "reason")),
    "hk": Source(
        doc="something of housekeeping that is watched: a limit on a channel, its data, a source",
        facts=(
            "subject",
            "channel",
            "limit",
            "kind",
            "state",
            "told",
            "direction",
            "level",
            "value",
            "value_unit",
            "reason",
            "action",
            "instrument_state",
            "said",
        ),
    ),
    "daemon": Source(
        doc="the daemon, every few seconds",
        facts=("waiting", "running", "done", "failed", "workers", "behind", "latency_p95", "memory_mb", "disk_free_gb"),
    ),
}
"""Where observations come from."""

_LATEST_UNITS = 256


class Observer:
    """Reads events in their order. It remembers the `flavors` of the last exposures, which later events of theirs do not repeat."""

    def __init__(self, flavors: Mapping[str, str] | None = None) -> None:
        self.flavors = dict(flavors or {})

    def __call__(self, event: Event) -> list[Observation]:
        """What an event says; nothing for a kind that says nothing of the condition of anything."""
        reads = _READS.get(event.kind)
        if reads is None:
            return []
        payload = _lean(event).typed()
        if isinstance(payload, Seen) and event.unit:
            self.flavors[event.unit] = payload.tags.get("flavor", "")
            while len(self.flavors) > _LATEST_UNITS:
                del self.flavors[next(iter(self.flavors))]
        return list(reads(payload, self._about(event)))

    def _about(self, event: Event) -> dict[str, str]:
        if not event.unit:
            return {"part": event.part or "", "tag": event.tag}
        unit = Unit.parse(event.unit)
        return {
            "unit": event.unit,
            "night": str(unit.night),
            "expid": str(unit.expid),
            "flavor": self.flavors.get(event.unit, ""),
            "part": event.part or "",
            "tag": event.tag,
        }


def _lean(event: Event) -> Event:
    """A QA with its worst metric alone: the others, with their hundreds of values, are nothing that an alarm speaks of."""
    metrics = event.payload.get("metrics")
    if event.kind != QADone.kind or not metrics:
        return event
    worst = max(metrics, key=lambda m: Status(m["status"]).severity if m["status"] else -1)
    return event.model_copy(update={"payload": {**event.payload, "metrics": [worst]}})


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _when(seconds: float) -> str:
    """``2026-11-20T04:11:09.250+00:00``; "" where that is no time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""


def _limit(metric: MetricResult) -> str:
    """``0 to 3.5``: the normal range that decided."""
    if metric.deciding is None:
        return ""
    low, high = metric.deciding.normal
    return f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"


def _qa(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, QADone)
    worst = next((m for m in payload.metrics if m.status is not None), None)
    facts = {**about, "qa": payload.name, "status": payload.status or "", "group": payload.group, "step": payload.step}
    if worst is not None:
        value = worst.values[worst.worst] if worst.worst is not None and worst.values else None
        action = worst.deciding.action if worst.deciding else ""
        facts |= {
            "metric": worst.name,
            "value": _text(value),
            "value_unit": worst.unit,
            "limit": _limit(worst),
            "reason": worst.reason,
            "element": "" if worst.worst is None else str(worst.worst),
            "action": action,
        }
    if payload.failure is not None:
        facts |= {"reason": payload.failure.message, "action": payload.failure.what_next}
    yield _of_frame("qa", f"{payload.name}/{about['part']}/{about['flavor']}", facts, payload.status)


def _of_frame(on: str, key: str, facts: Facts, status: Status | None) -> Observation:
    judged = status is not None and status is not Status.UNKNOWN
    return Observation(on=on, key=key, facts=facts, frame=True, judged=judged, severity=OF_STATUS[status or Status.NORMAL])


def _verdict(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, PartVerdict)
    facts = {
        **about,
        "status": payload.status,
        "reason": next(iter(payload.reasons), ""),
        "measured": str(payload.measured),
        "expected": str(payload.expected),
        "degraded": "; ".join(payload.degraded),
    }
    yield _of_frame("verdict", f"{about['part']}/{about['flavor']}", facts, payload.status)
    yield Observation(on="job", key=f"{about['unit']}/{about['part']}", facts={**about, "failed": "no"}, frame=True)


def _exposure(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, UnitDone)
    facts = {
        **about,
        "status": payload.status,
        "reason": next(iter(payload.reasons), ""),
        "n_missing": str(len(payload.missing)),
        "missing": ", ".join(payload.missing),
        "cameras": str(len(payload.parts)),
        "cause": next((c.sentence for c in payload.causes), ""),
    }
    unknown = frozenset({"status"}) if payload.status is Status.UNKNOWN else frozenset[str]()
    yield Observation(on="exposure", key=about["flavor"], facts=facts, frame=True, unknown=unknown, severity=OF_STATUS[payload.status])


def _decision(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, Decided)
    facts = {**about, "decision": payload.decision, "reason": payload.why, "action": payload.action, "cause": next(iter(payload.causes), "")}
    yield Observation(on="decision", key="decision", facts=facts, frame=True)


def _test(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, TestDone)
    facts = {"test": payload.name, "status": payload.status, "reason": "; ".join(payload.reasons[:3]), "run": payload.run}
    facts |= {"flags": ", ".join(payload.flags), "n_flags": str(len(payload.flags))}
    yield _of_frame("test", payload.name, {**about, **facts}, payload.status)


def _job(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, JobFailed)
    facts = {**about, "failed": "yes", "attempts": str(payload.attempts), "reason": payload.failure.message, "action": payload.failure.what_next}
    yield Observation(on="job", key=f"{about.get('unit', '')}/{about['part']}", facts=facts, frame=True)


def _refused(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, Refused)
    why = payload.failure
    facts = {**about, "refused": "yes", "file": payload.path or payload.file, "reason": why.message, "action": why.what_next, "error": why.error}
    yield Observation(on="refused", key=payload.path or payload.file, facts=facts, frame=True)


def _seen(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, Seen)
    path = payload.path or payload.file
    yield Observation(on="refused", key=path, facts={**about, "refused": "no", "file": path}, frame=True)


def _disk(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, DiskRoom)
    room = {"free_gb": f"{payload.free_gb:g}", "total_gb": f"{payload.total_gb:g}", "path": payload.path}
    facts = {**about, **room, "status": payload.status, "action": payload.what_next}
    yield Observation(on="disk", key=payload.path, facts=facts, severity=OF_STATUS[payload.status])


def _raw_folder(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, RawFolder)
    facts = {**about, "there": "yes" if payload.there else "no", "path": payload.path}
    facts |= {"blind": "yes" if payload.trouble or not payload.there else "no", "trouble": payload.trouble or "it is not there"}
    # there is one at a time: where the site names another, what was said of the one before is over
    yield Observation(on="raw_folder", key="", facts=facts)


def _sink(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, SinkGaveUp)
    facts = {**about, "sink": payload.name, "reason": payload.failure.message, "action": payload.failure.what_next}
    yield Observation(on="sink", key=payload.name, facts=facts, frame=True)


def _hk(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, HkChanged)
    for change in payload.changes:
        known = ("subject", "channel", "limit", "kind", "state", "direction", "level", "reason", "action", "instrument_state")
        facts = {**about, **{name: str(getattr(change, name)) for name in known}, "told": "yes" if change.told else "no", "said": change.sentence}
        facts |= {"value": change.text or _text(change.value), "value_unit": change.unit}
        if change.bound is not None:
            facts["limit_value"] = _text(change.bound)
        facts["since"] = _when(change.since)
        # no data, and what another thing explains, say nothing of whether it is well again
        judged = change.state in (HkState.NORMAL, HkState.OFF)
        yield Observation(on="hk", key=change.subject, facts=facts, judged=judged, severity=max(change.severity, Severity.NOTICE))


def _mirror(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, Mirrored)
    facts = {**about, "place": payload.name, "file": payload.file, "done": "yes" if payload.done else "no", "reason": payload.error}
    yield Observation(on="mirror", key=payload.name, facts=facts, frame=True)


def _calibration(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, CalibrationMade)
    facts = {"calibration": payload.name, "by": payload.by, "status": payload.status, "adopted": "yes" if payload.adopted else "no"}
    yield _of_frame("calibration", f"{payload.name}/{about['part']}", {**about, **facts, "reason": "; ".join(payload.reasons[:3])}, payload.status)


def _daemon(payload: Payload, about: dict[str, str]) -> Iterator[Observation]:
    assert isinstance(payload, Heartbeat)
    facts = {name: str(getattr(payload, name)) for name in ("waiting", "running", "done", "failed", "workers")}
    facts |= {"behind": str(max(payload.sinks.values(), default=0)), "latency_p95": _text(payload.latency_s.get("p95"))}
    facts |= {"memory_mb": _text(sum(payload.memory_mb.values())), "disk_free_gb": _text(payload.disk_free_gb)}
    yield Observation(on="daemon", key="daemon", facts={**about, **facts})


_READS: Mapping[str, Callable[[Payload, dict[str, str]], Iterator[Observation]]] = {
    QADone.kind: _qa,
    PartVerdict.kind: _verdict,
    UnitDone.kind: _exposure,
    Decided.kind: _decision,
    TestDone.kind: _test,
    JobFailed.kind: _job,
    Refused.kind: _refused,
    Seen.kind: _seen,
    DiskRoom.kind: _disk,
    RawFolder.kind: _raw_folder,
    SinkGaveUp.kind: _sink,
    CalibrationMade.kind: _calibration,
    Heartbeat.kind: _daemon,
    HkChanged.kind: _hk,
    Mirrored.kind: _mirror,
}
KINDS = tuple(_READS)
"""The kinds of events that say something of the condition of anything."""
