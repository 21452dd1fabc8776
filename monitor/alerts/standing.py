"""What stands: incidents by key, mutes by id, what time it is; every change of an incident goes through here and is noted. Reads no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.alerts.causes import Causes
from monitor.alerts.handling import Handling
from monitor.alerts.model import Change, Incident, Mute, Notice, State
from quicklook.core.alarms import names_alarm
from quicklook.core.severity import Severity

S = 1_000_000_000
"""Nanoseconds in a second."""
_DEFAULT = Handling()
_SET_BACK_S = 60
"""A clock that is behind by more than that was set back; by less, time stands still until it has caught up."""
_TIMES = ("seen", "fired", "cleared", "ended", "acknowledged_at", "told_at", "folded_at")


@dataclass(slots=True)
class Outcome:
    """What came of an input: lines for the audit trail, and who is to be told."""

    changes: list[Change] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Standing:
    """All that the machine knows, and what came of the input that is worked on (`out`). `causes` and `folded` hold for one input alone."""

    handling: Mapping[str, Handling]
    routes: Mapping[Severity, tuple[str, ...]]
    incidents: dict[str, Incident]
    mutes: dict[str, Mute]
    now: int
    out: Outcome = field(default_factory=Outcome)
    causes: Causes | None = None
    folded: Mapping[str, tuple[str, ...]] | None = None

    def begin(self, now: int) -> None:
        """A new input, at that time."""
        self.out = Outcome()
        self.causes = self.folded = None
        if now < self.now - _SET_BACK_S * S:
            self._set_back(now)
        self.now = max(now, self.now + 1)

    def _set_back(self, now: int) -> None:
        """The clock was set back: what was in times that are to come is now, else all would stand still until then."""
        self.now = now
        for incident in list(self.incidents.values()):
            if incident.fired is None and incident.began > now:
                self.close(incident, "the clock was set back; it begins anew")
                again = incident.model_copy(update={"began": now, "seen": now, "cleared": None if incident.cleared is None else now})
                self.incidents[again.key] = again
                self.note(again, None, why=again.what)
                continue
            late: dict[str, Any] = {name: now for name in _TIMES if (getattr(incident, name) or 0) > now}
            if late:
                self.put(incident, **late)

    def rule(self, incident: Incident) -> Handling:
        """How it is handled."""
        return self.handling.get(incident.rule, _DEFAULT)

    def matching(self, pattern: str) -> Iterator[Incident]:
        """Those whose key or fingerprint matches."""
        return (i for i in list(self.incidents.values()) if names_alarm(pattern, i.key, i.fingerprint))

    def put(self, incident: Incident, *, by: str = "", why: str = "", **values: Any) -> Incident:
        """The incident with other values, kept; a change of its state is noted, and that it has another cause: who looks on sees it below that."""
        after = incident.model_copy(update=values)
        self.incidents[after.key] = after
        if after.state is not incident.state or after.folded_into != incident.folded_into:
            self.note(after, incident.state, by, why)
        return after

    def note(self, incident: Incident, before: State | None, by: str = "", why: str = "") -> None:
        """A line for the audit trail."""
        change = Change(
            time=self.now, key=incident.key, fingerprint=incident.fingerprint, before=before, after=incident.state, severity=incident.severity,
            folded_into=incident.folded_into, by=by, why=why,
        )  # fmt: skip
        self.out.changes.append(change)

    def close(self, incident: Incident, why: str) -> None:
        """It is forgotten, whatever its state; the audit trail keeps it."""
        change = Change(
            time=self.now, key=incident.key, fingerprint=incident.fingerprint, before=incident.state, after=State.CLOSED,
            severity=incident.worst, why=why,
        )  # fmt: skip
        self.out.changes.append(change)
        del self.incidents[incident.key]
