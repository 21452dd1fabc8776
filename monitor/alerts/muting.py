"""Mutes: which incidents they cover, and what follows when one begins or ends."""

from __future__ import annotations

from monitor.alerts.model import Incident, NoticeKind
from monitor.alerts.standing import Standing
from monitor.alerts.telling import say
from quicklook.core.alarms import matches
from quicklook.core.severity import Severity


def mute_of(standing: Standing, key: str, severity: Severity) -> str:
    """The mute that covers what has this key and severity, "" for none."""
    found = (m.id for m in standing.mutes.values() if m.until > standing.now and severity <= m.severity and matches(m.pattern, key))
    return min(found, default="")


def mark(standing: Standing, incident: Incident, by: str = "") -> None:
    """Note which mute covers it now. What is muted no longer, and was told, is told again."""
    muted = mute_of(standing, incident.key, incident.severity)
    if muted == incident.muted or incident.ended is not None:
        return
    after = standing.put(incident, by=by, why=f"mute {muted or incident.muted}", muted=muted)
    if not muted and after.active and after.told is not None and after.acknowledged_at is None and not after.folded_into:
        kind = NoticeKind.WORSE if after.severity > after.told else NoticeKind.AGAIN
        say(standing, after, kind)


def mark_all(standing: Standing, by: str = "") -> None:
    """Of all that stands, after the mutes have changed."""
    for incident in list(standing.incidents.values()):
        mark(standing, incident, by)


def end_mutes(standing: Standing) -> None:
    """Remove those whose time is over."""
    for mute in [m for m in standing.mutes.values() if m.until <= standing.now]:
        del standing.mutes[mute.id]
    mark_all(standing)
