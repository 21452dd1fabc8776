"""The records of alarms: what was observed, an incident, a mute, and what came of them. Pure; times are UTC nanoseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from quicklook.core.results import Record
from quicklook.core.severity import Severity


class State(StrEnum):
    """How an incident stands. What is normal has no incident."""

    PENDING = "pending"
    """The condition is there, not yet for long enough."""
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    MUTED = "muted"
    RESOLVED = "resolved"
    """The condition is gone, and nobody has acknowledged it: its worst severity is kept for those who were not there."""
    CLOSED = "closed"
    """Gone and acknowledged, or gone before it was one: it is forgotten, the audit trail keeps it."""


class Signal(Record):
    """What was observed of a condition, in one moment: it is there (`active`), or it is not.

    `key` tells conditions apart, and stays the same for as long as one lasts: ``qa/r0/read_noise``. `rule` is the rule that it came by. `frame`: it
    is of one exposure and not a state that lasts. `what` is one sentence, `where` the place; `facts` hold value, limit, action, ...
    """

    key: str = Field(min_length=1)
    rule: str
    active: bool
    severity: Severity = Severity.WARNING
    frame: bool = False
    what: str = ""
    where: str = ""
    facts: Mapping[str, str] = Field(default_factory=dict)


class Incident(Record):
    """One condition from when it began until somebody knows that it is over.

    `began`: the condition; `fired`: it has lasted for long enough; `cleared`: it is gone since then, perhaps for a moment alone; `ended`: it has been
    gone for long enough, and `ended_why`. `worst` is latched until somebody acknowledges. `told`: the severity of the last message. `channels`: who
    was told, and is to hear of the end. `folded_into`: the incident that is its cause; `folded_at`: when it was so for the last time.
    """

    key: str
    rule: str
    frame: bool = False
    what: str = ""
    where: str = ""
    facts: Mapping[str, str] = Field(default_factory=dict)
    severity: Severity
    worst: Severity
    began: int
    seen: int
    count: int = 1
    fired: int | None = None
    cleared: int | None = None
    ended: int | None = None
    ended_why: str = ""
    acknowledged_by: str = ""
    acknowledged_at: int | None = None
    muted: str = ""
    told: Severity | None = None
    told_at: int | None = None
    resolve_told: bool = False
    channels: tuple[str, ...] = ()
    escalated: int = 0
    folded_into: str = ""
    folded_at: int | None = None

    @property
    def fingerprint(self) -> str:
        """The same in every message about this incident, another one for the next incident of the same condition; 16 hexadecimal digits."""
        return hashlib.sha256(f"{self.key}#{self.began}".encode()).hexdigest()[:16]

    @property
    def active(self) -> bool:
        """Whether the condition is there: fired, and not over."""
        return self.fired is not None and self.ended is None

    @property
    def state(self) -> State:
        """How it stands."""
        if self.fired is None:
            return State.PENDING if self.ended is None else State.CLOSED
        known = self.acknowledged_at is not None
        if self.ended is not None:
            return State.CLOSED if known else State.RESOLVED
        if known:
            return State.ACKNOWLEDGED
        return State.MUTED if self.muted else State.FIRING


class Mute(Record):
    """Somebody wants no messages of conditions whose key matches `pattern` (* and ? as in file names), until then and for a reason.

    What is worse than `severity` is told all the same.
    """

    id: str
    pattern: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    made: int
    until: int
    severity: Severity


class NoticeKind(StrEnum):
    """Why somebody is told."""

    FIRING = "firing"
    WORSE = "worse"
    AGAIN = "again"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


class Notice(Record):
    """Somebody is to be told of an incident. `folded`: keys of what it has as consequences, which are not told by themselves."""

    kind: NoticeKind
    incident: Incident
    channels: tuple[str, ...]
    group: str = ""
    folded: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The same whenever this very notice is made again, as after a crash."""
        told = self.incident.told_at if self.kind is not NoticeKind.RESOLVED else self.incident.ended
        return f"{self.incident.fingerprint}-{self.kind}-{self.incident.escalated}-{told}"


class Change(Record):
    """A line of the audit trail: an incident has gone from one state to another, or has another cause (`folded_into`), by whom and why."""

    time: int
    key: str
    fingerprint: str
    before: State | None
    after: State
    severity: Severity
    folded_into: str = ""
    by: str = ""
    why: str = ""
