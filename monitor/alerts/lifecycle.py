"""The life of an incident: it opens, is seen again or clears, fires when it has lasted for long enough, and ends."""

from __future__ import annotations

from typing import Any

from monitor.alerts.folding import cause_of
from monitor.alerts.model import Incident, NoticeKind, Signal, State
from monitor.alerts.muting import mark, mute_of
from monitor.alerts.standing import S, Standing
from monitor.alerts.telling import say, say_end

_RETIRED = "the rule that raised it is not there any more; nobody looks after it"


def open_incident(standing: Standing, signal: Signal, latched: Incident | None) -> None:
    """A new one; where the last one of the same condition is latched, it goes on with its worst severity."""
    worst = max(signal.severity, latched.worst) if latched is not None else signal.severity
    if latched is not None:
        standing.close(latched, "it has come back, as a new incident that keeps the worst severity")
    incident = Incident(
        key=signal.key, rule=signal.rule, frame=signal.frame, what=signal.what, where=signal.where, facts=signal.facts,
        severity=signal.severity, worst=worst, began=standing.now, seen=standing.now, muted=mute_of(standing, signal.key, signal.severity),
    )  # fmt: skip
    standing.incidents[signal.key] = incident
    standing.note(incident, None, why=signal.what)


def update(standing: Standing, incident: Incident, signal: Signal) -> None:
    """It is there still, perhaps worse, or it is gone for now."""
    if not signal.active:
        if incident.cleared is None:
            standing.put(incident, cleared=standing.now)
        return
    values: dict[str, Any] = {
        "severity": signal.severity, "worst": max(incident.worst, signal.severity), "seen": standing.now, "cleared": None,
        "count": incident.count + 1, "what": signal.what or incident.what, "where": signal.where or incident.where,
        "facts": signal.facts or incident.facts,
    }  # fmt: skip
    risen = signal.severity > incident.worst
    if risen and incident.acknowledged_at is not None:
        values |= {"acknowledged_at": None, "acknowledged_by": ""}
    after = standing.put(incident, why="it has become worse" if risen else "", **values)
    mark(standing, after)


def advance(standing: Standing, key: str) -> None:
    """Time alone: from pending to firing, from clear for long enough to over."""
    incident = standing.incidents.get(key)
    if incident is None or incident.ended is not None:
        return
    rule = standing.rule(incident)
    if incident.fired is None:
        if incident.cleared is not None:
            standing.put(incident, ended=standing.now, why="it was gone before it had lasted for long enough")
            del standing.incidents[key]
            return
        if standing.now - incident.began < rule.hold_s * S:
            return
        incident = standing.put(incident, fired=standing.now)
    if incident.cleared is not None and standing.now - incident.cleared >= rule.clear_s * S:
        end(standing, incident, "the condition is gone")
    elif incident.frame and standing.now - incident.seen >= rule.keep_s * S:
        end(standing, incident, f"nothing has said so for {rule.keep_s / 3600:g} h; nothing sound was seen")


def end(standing: Standing, incident: Incident, why: str, *, by: str = "") -> None:
    """It is over. Those who were told of it hear that; what nobody has been told yet is told with its end, unless it was not to be told."""
    rule = standing.rule(incident)
    just_folded = incident.folded_into or (incident.folded_at is not None and standing.now - incident.folded_at < rule.wait_s * S)
    quiet = bool(incident.muted or just_folded or cause_of(standing, incident)) or incident.acknowledged_at is not None
    if incident.told is None and not quiet:
        incident = say(standing, incident, NoticeKind.FIRING)
    ended = say_end(standing, standing.put(incident, by=by, ended=standing.now, ended_why=why, why=why))
    latch = rule.latch if rule.latch is not None else not ended.frame
    if ended.state is State.RESOLVED and (not latch or ended.told is None):
        standing.close(ended, "nobody has to acknowledge it")
    elif ended.state is State.CLOSED:
        del standing.incidents[ended.key]


def acknowledge(standing: Standing, incident: Incident, by: str, why: str) -> None:
    """Somebody knows of it. What is over is closed, and an event of a frame is over by that."""
    if incident.ended is None and incident.acknowledged_at is not None:
        return
    told = incident.severity if incident.told is not None else None
    known: dict[str, Any] = {"acknowledged_by": by, "acknowledged_at": standing.now, "worst": incident.severity, "told": told}
    acknowledged = standing.put(incident, by=by, why=why, **known)
    if acknowledged.ended is None and acknowledged.fired is not None and acknowledged.frame:
        end(standing, acknowledged, "it was acknowledged", by=by)
    elif acknowledged.state is State.CLOSED:
        del standing.incidents[acknowledged.key]


def retire(standing: Standing, incident: Incident) -> None:
    """Its rule is not there any more."""
    if incident.fired is None:
        standing.close(incident, _RETIRED)
    else:
        end(standing, incident, _RETIRED)
