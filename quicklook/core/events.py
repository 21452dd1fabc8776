"""Events: typed, numbered, timed messages; the way of every fact out of the engine.

The envelope is `Event`; what it carries is one of the payload records below, by its kind. Times are UTC nanoseconds.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from quicklook.core.alarms import AlarmNow, MuteNow
from quicklook.core.decision import DecisionCard
from quicklook.core.housekeeping import HkChange
from quicklook.core.keys import Unit
from quicklook.core.results import SCHEMA_VERSION, Failure, Override, QAResult, Record, StepResult, UnitVerdict
from quicklook.core.status import Status


class Payload(Record):
    """Base of payloads; `kind` is the kind of the event that carries it."""

    kind: ClassVar[str] = ""


class Seen(Payload):
    """A unit has arrived: its file, the parts found in it, and its tags.

    `earlier`: where these parts of it were taken from another file before, with another content, that file: they may be two exposures of one number.
    """

    kind = "seen"
    file: str
    size: int
    parts: list[str]
    tags: dict[str, str] = Field(default_factory=dict)
    path: str = ""
    earlier: str = ""


class Refused(Payload):
    """A file that is not taken, why, and what to do. It is looked at again when it changes."""

    kind = "refused"
    file: str
    failure: Failure
    path: str = ""


class Started(Payload):
    """Work on a part has begun."""

    kind = "started"
    chain: str


class StepDone(StepResult, Payload):
    """A step of the chain has ended, well or not."""

    kind = "step"


class QADone(QAResult, Payload):
    """A QA has measured and was judged."""

    kind = "qa"


class PartVerdict(Payload):
    """The verdict of a part, when each of its steps and QAs ended (UTC ns), and where its merged QA is written."""

    kind = "verdict"
    status: Status
    reasons: list[str]
    measured: int
    expected: int
    degraded: list[str] = Field(default_factory=list)
    seconds: float
    times: dict[str, int] = Field(default_factory=dict)
    path: str = ""


class UnitDone(UnitVerdict, Payload):
    """The verdict of a unit over all of its parts."""

    kind = "unit_verdict"


class Decided(DecisionCard, Payload):
    """What to do after a unit: go on, repeat it, stop, or call somebody, and why."""

    kind = "decision"


class Overridden(Override, Payload):
    """A person has changed a verdict. The verdicts that follow from it come after it, as a new revision."""

    kind = "override"


class PlotsReady(Payload):
    """Plots as data have been written and can be drawn; with each the status of the QA that it is of."""

    kind = "plots"
    path: str
    names: list[str]
    statuses: list[Status | None]


class PlotDrawn(Payload):
    """A plot has been drawn; on the wire its PNG is attached."""

    kind = "plot"
    name: str
    path: str
    sha256: str
    size: int


class PlotsSkipped(Payload):
    """Plots that waited to be drawn and are not: those of event `by`, of that revision, take their place. As data (`path`) they are kept."""

    kind = "plots_skipped"
    names: list[str]
    path: str
    by: int
    by_revision: int


class ProductWritten(Payload):
    """A product file has been written."""

    kind = "product"
    name: str
    path: str
    sha256: str
    size: int


class CalibrationMade(Payload):
    """A calibration was made while the daemon waited: by a chain from one unit, or by a builder from a group of them.

    `name` is its kind, `by` the chain or builder, `path` its file ("" where none was written). `adopted`: it is in the index and is used from now
    on; else `reasons` say why not. `left_out`: units of the group that were not in order, each with its reason.
    """

    kind = "calibration"
    name: str
    by: str
    path: str
    status: Status
    adopted: bool
    reasons: list[str] = Field(default_factory=list)
    made_from: list[int] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)


LAIN_S = 600.0
"""A file that was older than this when it was seen had lain there before, as a night that is processed later: that is no latency of the daemon."""


class Receipt(Payload):
    """Latency receipt of a unit: when each thing happened, UTC nanoseconds, by name; for parts as ``part/name``."""

    kind = "receipt"
    times: dict[str, int]
    seconds_to_verdict: float | None = None
    path: str = ""


class JobFailed(Payload):
    """Work on a part could not be done, after so many attempts."""

    kind = "failed"
    attempts: int
    failure: Failure


class SinkGaveUp(Payload):
    """A sink could not take an event and goes on with the next."""

    kind = "sink_gave_up"
    name: str
    seq: int
    failure: Failure


class RawFolder(Payload):
    """The folder of raw files is gone, or there again. `trouble`: why files in it are not seen though they may come, and what to do; "": none."""

    kind = "raw_folder"
    path: str
    there: bool
    trouble: str = ""


class Mirrored(Payload):
    """A raw file has been copied to another place, called `name`, and verified there; or it could not be, for good."""

    kind = "mirrored"
    name: str
    file: str
    done: bool
    error: str = ""


class DiskRoom(Payload):
    """Room on the disk of the output folder has become little (WARNING), less than is kept free (ALARM), or enough again. Units: 1e9 bytes."""

    kind = "disk"
    path: str
    free_gb: float
    total_gb: float
    status: Status
    what_next: str


class CommandGiven(Payload):
    """Somebody gave the daemon a command: what, who (`via`: known by a token or a key), whether it was done, what came of it."""

    kind = "command"
    name: str
    args: dict[str, str] = Field(default_factory=dict)
    by: str
    via: str
    done: bool
    said: str


class AlarmChanged(Payload):
    """An alarm stands otherwise than before; `name` is its key."""

    kind = "alarm"
    name: str
    alarm: AlarmNow


class MutesChanged(Payload):
    """All mutes that stand now."""

    kind = "mutes"
    mutes: list[MuteNow]


class HkChanged(Payload):
    """Things of housekeeping that are watched stand otherwise than before: limits, data, sources."""

    kind = "hk"
    changes: list[HkChange]


class SessionTestNow(Record):
    """A test of a session as it stands: `state` is waiting, receiving, complete, running (`subtask`), done, closed (at its time-out), or
    failed (the work on it, or a part of that).

    `expected`, `seen` and `judged` count its exposures; `closes` is when it is closed at the latest (UTC, ns); `minutes` by sub-task.
    """

    name: str
    state: str
    subtask: str = ""
    expected: int
    seen: int = 0
    judged: int = 0
    exposures: str = ""
    aborted: str = ""
    status: Status | None = None
    flags: list[str] = Field(default_factory=list)
    minutes: dict[str, float] = Field(default_factory=dict)
    closes: int | None = None


class SessionNow(Payload):
    """The state of wait mode: the run of a session, and each of its tests. `exposure_s` is the time that exposures which are still expected take.
    `trouble`: what keeps it from going on, tried again every few seconds."""

    kind = "session"
    run: str
    label: str = ""
    name: str
    over: bool = False
    tests: list[SessionTestNow]
    exposure_s: float | None = None
    trouble: str = ""


class TestDone(Payload):
    """A test of a session is over: its verdict with the reasons, the flags it has raised, its exposures, and where its outcome is written."""

    __test__: ClassVar[bool] = False
    kind = "test"
    run: str
    name: str
    status: Status
    reasons: list[str]
    complete: bool
    exposures: list[str]
    flags: list[str]
    path: str


class ReportMade(Payload):
    """A report was made of an exposure, a test or a night (`of`), called `name` there, as a file of that `format`."""

    kind = "report"
    of: str
    name: str
    format: str
    path: str
    sha256: str
    size: int
    seconds: float


class Heartbeat(Payload):
    """The daemon lives: how many workers are warm, how much waits, runs, is done, how far each sink is behind.

    `latency_s`: seconds from the last byte (of a file that had lain there for long: from when it was seen) to the verdict over the last `n`
    exposures, median and p95; empty before the first. `memory_mb`: resident, of the daemon and of its workers together, 1e6 bytes. `disk_free_gb`:
    room for results, 1e9 bytes. `arriving`: files that are noticed and not taken yet. `raw_trouble`: why raw files are not seen though they may
    come, and what to do; "" where all is well. `work_trouble`: so for work that is not handed out.
    """

    kind = "heartbeat"
    workers: int = 0
    waiting: int
    running: int
    done: int
    failed: int
    sinks: dict[str, int] = Field(default_factory=dict)
    latency_s: dict[str, float] = Field(default_factory=dict)
    memory_mb: dict[str, float] = Field(default_factory=dict)
    disk_free_gb: float | None = None
    arriving: int = 0
    raw_trouble: str = ""
    work_trouble: str = ""


PAYLOADS: dict[str, type[Payload]] = {payload.kind: payload for payload in Payload.__subclasses__()}
"""The record of each kind of event."""


class Draft(Record):
    """An event that has no number yet: what it is about and what it says."""

    kind: str
    unit: str | None = None
    part: str | None = None
    tag: str = "live"
    revision: int = 0
    payload: dict[str, Any]


class Event(Draft):
    """An event of the journal. `seq` has no gaps within an `epoch` (a UUID made with the journal); `time` is UTC, ns."""

    schema_version: int = SCHEMA_VERSION
    epoch: str
    seq: int = Field(ge=1)
    time: int

    @property
    def topic(self) -> str:
        """``kind/part/name``, by which listeners subscribe."""
        return f"{self.kind}/{self.part or '-'}/{self.payload.get('name', '-')}"

    def typed(self) -> Payload:
        """The payload as its record. Raises KeyError for a kind that this version does not know, ValidationError for a malformed one."""
        return PAYLOADS[self.kind].model_validate(self.payload)


def draft(payload: Payload, *, unit: Unit | None = None, part: str | None = None, tag: str = "live", revision: int = 0) -> Draft:
    """An event that carries `payload`."""
    body = payload.model_dump(mode="json")
    return Draft(kind=payload.kind, unit=str(unit) if unit else None, part=part, tag=tag, revision=revision, payload=body)


