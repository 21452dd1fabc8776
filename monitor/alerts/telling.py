"""Who is told, when, and of what: first messages, worse, again, escalation, ends."""

from __future__ import annotations

from collections.abc import Collection

from monitor.alerts.folding import folded_by
from monitor.alerts.handling import Handling
from monitor.alerts.model import Incident, Notice, NoticeKind
from monitor.alerts.standing import S, Standing


def tell_what_is_due(standing: Standing) -> None:
    """Of all that is there: what is due, and with it what waits for nothing but its group."""
    active = [i for i in standing.incidents.values() if i.active]
    groups = {group_of(standing, i) for i in active if _due(standing, i)}
    for incident in active:
        _tell(standing, incident, groups)


def group_of(standing: Standing, incident: Incident) -> str:
    """What comes together of one group is one message."""
    return standing.rule(incident).group or incident.rule


def _due(standing: Standing, incident: Incident) -> bool:
    """Whether it is to be told for the first time, and has waited for its group and its cause."""
    if incident.told is not None or incident.acknowledged_at is not None or incident.muted or incident.folded_into:
        return False
    return standing.now - max(incident.fired or 0, incident.folded_at or 0) >= standing.rule(incident).wait_s * S


def _tell(standing: Standing, incident: Incident, groups: Collection[str]) -> None:
    """Tell what is due; of `groups`, of which something is, all that waits for nothing but its group."""
    rule = standing.rule(incident)
    if incident.acknowledged_at is not None:
        _tell_again(standing, incident, rule)
        return
    if incident.muted or incident.folded_into:
        return
    if incident.told is None:
        if _due(standing, incident) or (not rule.inhibited_by and group_of(standing, incident) in groups):
            say(standing, incident, NoticeKind.FIRING)
    elif incident.severity > incident.told:
        say(standing, incident, NoticeKind.WORSE)
    else:
        _escalate(standing, incident, rule)


def _tell_again(standing: Standing, incident: Incident, rule: Handling) -> None:
    """What was acknowledged long ago and is still there."""
    if rule.again_s is None or incident.cleared is not None or standing.now - (incident.acknowledged_at or 0) < rule.again_s * S:
        return
    incident = standing.put(incident, why="it is still there", acknowledged_at=None, acknowledged_by="")
    if not incident.muted and not incident.folded_into:
        say(standing, incident, NoticeKind.AGAIN if incident.told is not None else NoticeKind.FIRING)


def _escalate(standing: Standing, incident: Incident, rule: Handling) -> None:
    if incident.cleared is not None or incident.told_at is None:
        return
    for step in rule.escalate[incident.escalated :]:
        if standing.now - incident.told_at < step.after_s * S:
            return
        channels = tuple(dict.fromkeys((*incident.channels, *step.to)))
        incident = standing.put(incident, escalated=incident.escalated + 1, channels=channels)
        _notice(standing, NoticeKind.ESCALATED, incident, step.to)


def say(standing: Standing, incident: Incident, kind: NoticeKind) -> Incident:
    """A message to all who are told first, and to those who know of it already."""
    first = standing.rule(incident).channels or standing.routes.get(incident.severity, ())
    known = tuple(dict.fromkeys((*incident.channels, *first)))
    said = standing.put(incident, told=incident.severity, told_at=standing.now, escalated=0, channels=known)
    _notice(standing, kind, said, known)
    return said


def say_end(standing: Standing, incident: Incident) -> Incident:
    """Those who were told of it hear once that it is over."""
    if incident.told is None or incident.resolve_told:
        return incident
    ended = standing.put(incident, resolve_told=True)
    notice = Notice(kind=NoticeKind.RESOLVED, incident=ended, channels=ended.channels, group=group_of(standing, ended))
    standing.out.notices.append(notice)
    return ended


def _notice(standing: Standing, kind: NoticeKind, incident: Incident, channels: tuple[str, ...]) -> None:
    folded = folded_by(standing).get(incident.key, ())
    notice = Notice(kind=kind, incident=incident, channels=channels, group=group_of(standing, incident), folded=folded)
    standing.out.notices.append(notice)
