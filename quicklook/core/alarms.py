"""What people may do with alarms, and how alarms stand, as others see them. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quicklook.core.results import Record
from quicklook.core.severity import Severity

LONGEST_MUTE_MIN = 14 * 24 * 60.0
_SHORTEST_PREFIX = 6


def matches(pattern: str, key: str) -> bool:
    """Whether a pattern (* and ? as in file names), or a key as it stands, is that key: a key may hold brackets, which a pattern reads otherwise."""
    return pattern == key or fnmatch.fnmatchcase(key, pattern)


def begins(pattern: str, fingerprint: str) -> bool:
    """Whether it is a fingerprint, or its first six digits or more, as a person types it."""
    return fingerprint == pattern or (len(pattern) >= _SHORTEST_PREFIX and fingerprint.startswith(pattern))


def names_alarm(pattern: str, key: str, fingerprint: str) -> bool:
    """Whether it names that alarm: by fingerprint, by the beginning of one, by key, or by a pattern of keys."""
    return begins(pattern, fingerprint) or matches(pattern, key)


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) and value else None if value == "" else value


class MuteWish(BaseModel):
    """No messages of alarms whose key matches, for so many minutes: somebody knows of it, and says why."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pattern: str = Field(min_length=1, description="key of an alarm, or a pattern with * and ?")
    minutes: float = Field(gt=0, le=LONGEST_MUTE_MIN, description="how long; at most two weeks")
    reason: str = Field(min_length=1, description="why")
    severity: Annotated[Severity | None, BeforeValidator(_upper)] = Field(
        None, description="up to which severity; by default that of the worst it covers now, else ALARM"
    )


class AlarmNow(Record):
    """An alarm as it stands, for lists and pages. Times are UTC, ns; `state` is pending, firing, acknowledged, muted, resolved or closed.

    `worst` is kept until somebody acknowledges. `told`: who was told. `folded`: it is a consequence of the alarm with that key.
    """

    key: str
    fingerprint: str
    rule: str
    state: str
    severity: Severity
    worst: Severity
    frame: bool
    what: str
    where: str = ""
    facts: Mapping[str, str] = Field(default_factory=dict)
    began: int
    fired: int | None = None
    ended: int | None = None
    count: int = 1
    by: str = ""
    why: str = ""
    told: list[str] = Field(default_factory=list)
    folded: str = ""


class AlarmPast(Record):
    """One incident, from its first event to its last. Times are UTC, ns. `acknowledged` by `by`; `mark` is what somebody thought of it."""

    fingerprint: str
    key: str
    rule: str
    what: str
    worst: Severity
    fired: int | None
    ended: int | None = None
    acknowledged: int | None = None
    by: str = ""
    mark: str = ""
    told: list[str] = Field(default_factory=list)


class MuteNow(Record):
    """A mute as it stands: of which alarms, whose, why, until when (UTC, ns), and up to which severity."""

    id: str
    pattern: str
    owner: str
    reason: str
    until: int
    severity: Severity


class RuleCard(Record):
    """A rule: its incidents, how many a day, how many were told, what people thought of them, median seconds until somebody acknowledged.

    `acted`: somebody has acknowledged one, or called one useful.
    """

    rule: str
    incidents: int
    per_day: float
    told: int
    useful: int
    noise: int
    acknowledged: int
    seconds_to_acknowledge: float | None
    acted: bool


class ReportCard(Record):
    """All rules over some days, the most frequent first."""

    days: float
    incidents: int
    per_day: float
    rules: list[RuleCard]
