"""The state machine of alarms: signals, people and time go in; changes and notices come out. Pure: it reads no clock and tells nobody itself.

An incident is told once when it fires, once more for each time that it becomes worse or comes back, and once when it is over. All that it knows is in
its incidents and mutes, so that one that is made anew from these goes on as if nothing had happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.alerts.causes import Causes
from monitor.alerts.handling import Handling
from monitor.alerts.model import Change, Incident, Mute, Notice, NoticeKind, Signal, State
from quicklook.core.alarms import matches, names_alarm
from quicklook.core.severity import Severity

_S = 1_000_000_000
_DEFAULT = Handling()
_SET_BACK_S = 60
"""A clock that is behind by more than that was set back; by less, time stands still until it has caught up."""
_RETIRED = "the rule that raised it is not there any more; nobody looks after it"
_TIMES = ("seen", "fired", "cleared", "ended", "acknowledged_at", "told_at", "folded_at")


@dataclass(slots=True)
class Outcome:
    """What came of an input: lines for the audit trail, and who is to be told."""

    changes: list[Change] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class Machine:
    """Incidents by key, mutes by id. `handling` is by rule, the default for others. `now` is never twice the same, and goes back only where the clock
    was set back by more than a minute.

    `routes` says who is told of what a rule without channels raises, by severity.
    """

    def __init__(
        self,
        handling: Mapping[str, Handling],
        incidents: Iterable[Incident] = (),
        mutes: Iterable[Mute] = (),
        now: int = 0,
        routes: Mapping[Severity, tuple[str, ...]] | None = None,
    ) -> None:
        self.incidents = {i.key: i for i in incidents}
        self.mutes = {m.id: m for m in mutes}
        self.now = now
        self._handling = handling
        self._routes = routes or {}
        self._out = Outcome()
        self._causes: Causes | None = None
        self._folded: Mapping[str, tuple[str, ...]] | None = None

    # ---- what goes in

    def signal(self, now: int, signal: Signal) -> Outcome:
        """A condition is there, or gone."""
        self._begin(now)
        known = self.incidents.get(signal.key)
        if known is None or known.ended is not None:
            if signal.active:
                self._open(signal, known)
        else:
            self._update(known, signal)
        self._advance(signal.key)
        return self._out

    def acknowledge(self, now: int, pattern: str, by: str, why: str = "") -> Outcome:
        """Somebody knows of the incidents whose key or fingerprint matches: no more messages until they are worse, over, or there for too long.

        What is over is closed, and an event of a frame too. Who knows the cause knows its consequences.
        """
        self._begin(now)
        for incident in self._with_folded(self._matching(pattern)):
            if incident.ended is None and incident.acknowledged_at is not None:
                continue
            told = incident.severity if incident.told is not None else None
            known: dict[str, Any] = {"acknowledged_by": by, "acknowledged_at": self.now, "worst": incident.severity, "told": told}
            acknowledged = self._set(incident, by=by, why=why, **known)
            if acknowledged.ended is None and acknowledged.fired is not None and acknowledged.frame:
                self._end(acknowledged, "it was acknowledged")
            elif acknowledged.state is State.CLOSED:
                del self.incidents[acknowledged.key]
        return self._out

    def mute(self, now: int, mute: Mute) -> Outcome:
        """No messages of what matches, until the mute ends; in place of one with the same id."""
        self._begin(now)
        self.mutes[mute.id] = mute
        self._cover()
        return self._out

    def unmute(self, now: int, mute_id: str, by: str) -> Outcome:
        """The mute ends now. Raises KeyError where there is none."""
        self._begin(now)
        del self.mutes[mute_id]
        self._cover(by)
        return self._out

    def tick(self, now: int) -> Outcome:
        """Time goes on: what has lasted long enough fires, what is due is told. To be called every few seconds, and after signals."""
        self._begin(now)
        for mute in [m for m in self.mutes.values() if m.until <= self.now]:
            del self.mutes[mute.id]
        self._cover()
        for key in list(self.incidents):
            self._advance(key)
        self._fold()
        for incident in list(self.incidents.values()):
            if incident.active:
                self._tell(incident)
        return self._out

    def retire(self, now: int, rules: Collection[str]) -> Outcome:
        """Only these rules are left: nothing will say any more of what others have raised that it is over."""
        self._begin(now)
        for incident in [i for i in self.incidents.values() if i.ended is None and i.rule not in rules]:
            if incident.fired is None:
                self._close(incident, _RETIRED)
            else:
                self._end(incident, _RETIRED)
        return self._out

    def covered(self, pattern: str) -> Severity:
        """Up to which severity a mute of this pattern goes, if nobody says: of the worst that it covers now; of what is not there yet, ALARM."""
        found = [i.severity for i in self.incidents.values() if i.ended is None and matches(pattern, i.key)]
        return max(found, default=Severity.ALARM)

    # ---- how it goes on

    def _begin(self, now: int) -> None:
        self._out = Outcome()
        self._causes = self._folded = None
        if now < self.now - _SET_BACK_S * _S:
            self._set_back(now)
        self.now = max(now, self.now + 1)

    def _set_back(self, now: int) -> None:
        """The clock was set back: what was in times that are to come is now, else all would stand still until then."""
        self.now = now
        for incident in list(self.incidents.values()):
            if incident.fired is None and incident.began > now:
                self._close(incident, "the clock was set back; it begins anew")
                again = incident.model_copy(update={"began": now, "seen": now, "cleared": None if incident.cleared is None else now})
                self.incidents[again.key] = again
                self._note(again, None, why=again.what)
                continue
            late: dict[str, Any] = {name: now for name in _TIMES if (getattr(incident, name) or 0) > now}
            if late:
                self._set(incident, **late)

    def _rule(self, incident: Incident) -> Handling:
        return self._handling.get(incident.rule, _DEFAULT)

    def _first(self, incident: Incident) -> tuple[str, ...]:
        """Who is told first."""
        return self._rule(incident).channels or self._routes.get(incident.severity, ())

    def _matching(self, pattern: str) -> Iterator[Incident]:
        return (i for i in list(self.incidents.values()) if names_alarm(pattern, i.key, i.fingerprint))

    def _with_folded(self, incidents: Iterable[Incident]) -> list[Incident]:
        """These, and those that are folded into them."""
        found, folded = {i.key: i for i in incidents}, self._folded_by()
        todo = list(found)
        while todo:
            more = [k for k in folded.get(todo.pop(), ()) if k in self.incidents and k not in found]
            found |= {k: self.incidents[k] for k in more}
            todo += more
        return list(found.values())

    def _set(self, incident: Incident, *, by: str = "", why: str = "", **values: Any) -> Incident:
        """The incident with other values, kept; a change of its state is noted."""
        after = incident.model_copy(update=values)
        self.incidents[after.key] = after
        if after.state is not incident.state:
            self._note(after, incident.state, by, why)
        return after

    def _note(self, incident: Incident, before: State | None, by: str = "", why: str = "") -> None:
        change = Change(
            time=self.now, key=incident.key, fingerprint=incident.fingerprint, before=before, after=incident.state, severity=incident.severity,
            by=by, why=why,
        )  # fmt: skip
        self._out.changes.append(change)

    def _open(self, signal: Signal, latched: Incident | None) -> None:
        worst = max(signal.severity, latched.worst) if latched is not None else signal.severity
        if latched is not None:
            self._close(latched, "it has come back, as a new incident that keeps the worst severity")
        incident = Incident(
            key=signal.key, rule=signal.rule, frame=signal.frame, what=signal.what, where=signal.where, facts=signal.facts,
            severity=signal.severity, worst=worst, began=self.now, seen=self.now, muted=self._mute_of(signal.key, signal.severity),
        )  # fmt: skip
        self.incidents[signal.key] = incident
        self._note(incident, None, why=signal.what)

    def _update(self, incident: Incident, signal: Signal) -> None:
        if not signal.active:
            if incident.cleared is None:
                self._set(incident, cleared=self.now)
            return
        values: dict[str, Any] = {
            "severity": signal.severity, "worst": max(incident.worst, signal.severity), "seen": self.now, "cleared": None,
            "count": incident.count + 1, "what": signal.what or incident.what, "where": signal.where or incident.where,
            "facts": signal.facts or incident.facts,
        }  # fmt: skip
        risen = signal.severity > incident.worst
        if risen and incident.acknowledged_at is not None:
            values |= {"acknowledged_at": None, "acknowledged_by": ""}
        after = self._set(incident, why="it has become worse" if risen else "", **values)
        self._mark(after)

    def _advance(self, key: str) -> None:
        """Time alone: from pending to firing, from clear for long enough to over."""
        incident = self.incidents.get(key)
        if incident is None or incident.ended is not None:
            return
        rule = self._rule(incident)
        if incident.fired is None:
            if incident.cleared is not None:
                self._set(incident, ended=self.now, why="it was gone before it had lasted for long enough")
                del self.incidents[key]
                return
            if self.now - incident.began < rule.hold_s * _S:
                return
            incident = self._set(incident, fired=self.now)
        if incident.cleared is not None and self.now - incident.cleared >= rule.clear_s * _S:
            self._end(incident, "the condition is gone")
        elif incident.frame and self.now - incident.seen >= rule.keep_s * _S:
            self._end(incident, f"nothing has said so for {rule.keep_s / 3600:g} h; nothing sound was seen")

    def _end(self, incident: Incident, why: str) -> None:
        """It is over. Those who were told of it hear that; what nobody has been told yet is told with its end, unless it was not to be told."""
        rule = self._rule(incident)
        just_folded = incident.folded_into or (incident.folded_at is not None and self.now - incident.folded_at < rule.wait_s * _S)
        quiet = bool(incident.muted or just_folded or self._cause(incident)) or incident.acknowledged_at is not None
        if incident.told is None and not quiet:
            incident = self._say(incident, NoticeKind.FIRING)
        ended = self._set(incident, ended=self.now, ended_why=why, why=why)
        if ended.told is not None and not ended.resolve_told:
            ended = self._set(ended, resolve_told=True)
            self._out.notices.append(Notice(kind=NoticeKind.RESOLVED, incident=ended, channels=ended.channels, group=rule.group or ended.rule))
        latch = rule.latch if rule.latch is not None else not ended.frame
        if ended.state is State.RESOLVED and (not latch or ended.told is None):
            self._close(ended, "nobody has to acknowledge it")
        elif ended.state is State.CLOSED:
            del self.incidents[ended.key]

    def _close(self, incident: Incident, why: str) -> None:
        change = Change(
            time=self.now,
            key=incident.key,
            fingerprint=incident.fingerprint,
            before=incident.state,
            after=State.CLOSED,
            severity=incident.worst,
            why=why,
        )
        self._out.changes.append(change)
        del self.incidents[incident.key]

    # ---- who is not told

    def _mute_of(self, key: str, severity: Severity) -> str:
        found = (m.id for m in self.mutes.values() if m.until > self.now and severity <= m.severity and matches(m.pattern, key))
        return min(found, default="")

    def _mark(self, incident: Incident, by: str = "") -> None:
        muted = self._mute_of(incident.key, incident.severity)
        if muted == incident.muted or incident.ended is not None:
            return
        after = self._set(incident, by=by, why=f"mute {muted or incident.muted}", muted=muted)
        if not muted and after.active and after.told is not None and after.acknowledged_at is None and not after.folded_into:
            kind = NoticeKind.WORSE if after.severity > after.told else NoticeKind.AGAIN
            self._say(after, kind)

    def _cover(self, by: str = "") -> None:
        for incident in list(self.incidents.values()):
            self._mark(incident, by)

    def _cause(self, incident: Incident) -> Incident | None:
        rule = self._rule(incident)
        if not rule.inhibited_by:
            return None
        self._causes = self._causes or Causes(self.incidents.values())
        found = self._causes.of(incident, rule)
        cause = self.incidents.get(found)
        if found and (cause is None or cause.ended is not None):  # it has just ended; another one may be there
            self._causes = Causes(self.incidents.values())
            cause = self.incidents.get(self._causes.of(incident, rule))
        return cause

    def _fold(self) -> None:
        self._causes = self._folded = None
        for incident in list(self.incidents.values()):
            if incident.ended is not None or not self._rule(incident).inhibited_by:
                continue
            cause = self._cause(incident)
            if cause is not None and incident.folded_into != cause.key:
                self._set(incident, folded_into=cause.key)
            elif cause is None and incident.folded_into:
                self._set(incident, folded_into="", folded_at=self.now)  # what ends the cause may end it as well, in a moment

    def _folded_by(self) -> Mapping[str, tuple[str, ...]]:
        """Keys of consequences by that of their cause."""
        if self._folded is None:
            found = defaultdict(list)
            for incident in self.incidents.values():
                if incident.folded_into:
                    found[incident.folded_into].append(incident.key)
            self._folded = {cause: tuple(keys) for cause, keys in found.items()}
        return self._folded

    # ---- who is told

    def _tell(self, incident: Incident) -> None:
        rule = self._rule(incident)
        if incident.acknowledged_at is not None:
            if rule.again_s is None or incident.cleared is not None or self.now - incident.acknowledged_at < rule.again_s * _S:
                return
            incident = self._set(incident, why="it is still there", acknowledged_at=None, acknowledged_by="")
            if not incident.muted and not incident.folded_into:
                self._say(incident, NoticeKind.AGAIN if incident.told is not None else NoticeKind.FIRING)
            return
        if incident.muted or incident.folded_into:
            return
        since = max(incident.fired or 0, incident.folded_at or 0)
        if incident.told is None:
            if self.now - since >= rule.wait_s * _S:
                self._say(incident, NoticeKind.FIRING)
        elif incident.severity > incident.told:
            self._say(incident, NoticeKind.WORSE)
        else:
            self._escalate(incident, rule)

    def _escalate(self, incident: Incident, rule: Handling) -> None:
        if incident.cleared is not None or incident.told_at is None:
            return
        for step in rule.escalate[incident.escalated :]:
            if self.now - incident.told_at < step.after_s * _S:
                return
            channels = tuple(dict.fromkeys((*incident.channels, *step.to)))
            incident = self._set(incident, escalated=incident.escalated + 1, channels=channels)
            self._notice(NoticeKind.ESCALATED, incident, step.to)

    def _say(self, incident: Incident, kind: NoticeKind) -> Incident:
        known = tuple(dict.fromkeys((*incident.channels, *self._first(incident))))
        said = self._set(incident, told=incident.severity, told_at=self.now, escalated=0, channels=known)
        self._notice(kind, said, known)
        return said

    def _notice(self, kind: NoticeKind, incident: Incident, channels: tuple[str, ...]) -> None:
        folded = self._folded_by().get(incident.key, ())
        group = self._rule(incident).group or incident.rule
        self._out.notices.append(Notice(kind=kind, incident=incident, channels=channels, group=group, folded=folded))
