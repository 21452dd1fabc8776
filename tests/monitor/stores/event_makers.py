"""Events of a small night, as the journal would have them."""

from __future__ import annotations

from typing import Any

from quicklook.core.alarms import AlarmNow
from quicklook.core.decision import Decision
from quicklook.core.events import (
    AlarmChanged,
    Decided,
    Draft,
    Event,
    Heartbeat,
    HkChanged,
    PartVerdict,
    Payload,
    QADone,
    Receipt,
    Refused,
    Seen,
    StepDone,
    UnitDone,
    draft,
)
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.keys import Unit
from quicklook.core.results import Failure, LimitUsed, MetricResult, QAResult
from quicklook.core.severity import Severity
from quicklook.core.status import Status

S = 1_000_000_000
UNIT = Unit(20251120, 7)
LIMIT = LimitUsed(normal=(None, 3.0), warning=(None, 4.0))
FAILURE = Failure(error="BadData", message="it is cut off", what_next="look")


def events_of(drafts: list[Draft], begin_ns: int, *, first: int = 1) -> list[Event]:
    """Numbered, a millisecond apart."""
    return [Event(**d.model_dump(), epoch="e", seq=first + i, time=begin_ns + i * 1_000_000) for i, d in enumerate(drafts)]


def metric(name: str, values: list[float | None], status: Status | None, *, unit: str = "electron", **coords: Any) -> MetricResult:
    """A judged metric; the worst element is the first that has its status."""
    statuses = [Status.UNKNOWN if v is None and status else status for v in values]
    limits = {"limits": [LIMIT], "limit_of": [0] * len(values), "worst": 0} if status and values else {}
    return MetricResult(name=name, unit=unit, coords=coords, values=values, status=status, statuses=statuses, **limits)


def noise(values: list[float | None], status: Status | None, name: str = "read_noise") -> QAResult:
    made = metric(name, values, status, amp=["A", "B", "C", "D"][: len(values)])
    scalar = metric("good_fibers", [values[0]], status, unit="")
    return QAResult(name=name, step="read", group="CCDs", status=status, seconds=0.01, metrics=[made, scalar])


def unit_drafts(unit: Unit = UNIT, *, cameras: tuple[str, ...] = ("r0", "z0"), values: list[float | None] | None = None, status: Status = Status.NORMAL) -> list[Draft]:
    """All that is said of one exposure."""
    out: list[Draft] = []

    def say(payload: Payload, part: str | None = None) -> None:
        out.append(draft(payload, unit=unit, part=part))

    tags = {"flavor": "science", "program": "dark time", "start": "2025-11-20T22:00:00+00:00"}
    say(Seen(file="a.fits", size=1, parts=list(cameras), tags=tags))
    for camera in cameras:
        say(StepDone(name="preproc", algorithm="preproc", seconds=0.1), camera)
        say(QADone(**noise(values or [2.5, 2.6, 2.7, 2.8], status).model_dump()), camera)
        say(PartVerdict(status=status, reasons=["r"], measured=1, expected=2, seconds=0.5), camera)
    whole = QAResult(name="arms", step="unit", group="Exposure", status=None, seconds=0.1, metrics=[metric("arm_offset", [0.1, 0.2], None, camera=["r0", "z0"])])
    say(QADone(**whole.model_dump()))
    about = {"night": unit.night, "expid": unit.expid, "tag": "live", "revision": 0}
    say(UnitDone(**about, tags=tags, status=status, reasons=[], parts=dict.fromkeys(cameras, status)))
    decision = Decision.GO_ON if status is Status.NORMAL else Decision.CALL
    say(Decided(**about, status=status, decision=decision, rule="x", why="y", action="z", measured=2, expected=4, cameras=2, cameras_expected=2))
    say(Receipt(times={"closed": 1 * S, "seen": 2 * S, "r0/verdict": 3 * S, "r0/read/qa": 2 * S}, seconds_to_verdict=2.5))
    return out


def beat(**given: Any) -> Draft:
    told = {"workers": 2, "waiting": 3, "running": 1, "done": 5, "failed": 1, "sinks": {"files": 0, "zmq": 4}, "latency_s": {"median": 1.5, "p95": 3.0, "n": 5.0}}
    return draft(Heartbeat.model_validate({**told, "memory_mb": {"daemon": 80.0}, "disk_free_gb": 60.5, **given}))


def hk(state: HkState, *, channel: str = "CCD_TEMP", value: float | None = -150.0, time: float = 1000.0) -> Draft:
    change = HkChange(
        subject=f"{channel}/range", channel=channel, limit="range", kind="absolute", state=state, before=HkState.NORMAL, time=time, since=time,
        severity=Severity.ALARM if state is HkState.VIOLATING else Severity.NONE, value=value, unit="deg_C",
    )  # fmt: skip
    return draft(HkChanged(changes=[change]))


def alarm(key: str, state: str, severity: Severity = Severity.ALARM) -> Draft:
    now = AlarmNow(key=key, fingerprint="f" + key, rule=key.partition("/")[0], state=state, severity=severity, worst=severity, frame=False, what="it is warm", began=1)
    return draft(AlarmChanged(name=key, alarm=now))


def refused() -> Draft:
    return draft(Refused(file="b.fits", failure=FAILURE))
