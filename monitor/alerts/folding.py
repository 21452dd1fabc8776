"""Causes fold their consequences: which incident is the cause of which, and what follows for those that are told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from monitor.alerts.causes import Causes
from monitor.alerts.model import Incident
from monitor.alerts.standing import Standing


def cause_of(standing: Standing, incident: Incident) -> Incident | None:
    """The incident that is its cause now."""
    rule = standing.rule(incident)
    if not rule.inhibited_by:
        return None
    standing.causes = standing.causes or Causes(standing.incidents.values())
    found = standing.causes.of(incident, rule)
    cause = standing.incidents.get(found)
    if found and (cause is None or cause.ended is not None):  # it has just ended; another one may be there
        standing.causes = Causes(standing.incidents.values())
        cause = standing.incidents.get(standing.causes.of(incident, rule))
    return cause


def fold(standing: Standing) -> None:
    """Fold what has a cause, unfold what has none any more."""
    standing.causes = standing.folded = None
    for incident in list(standing.incidents.values()):
        if incident.ended is not None or not standing.rule(incident).inhibited_by:
            continue
        cause = cause_of(standing, incident)
        if cause is not None and incident.folded_into != cause.key:
            standing.put(incident, folded_into=cause.key, why=f"it follows from {cause.key}")
        elif cause is None and incident.folded_into:
            # what ends the cause may end it as well, in a moment
            standing.put(incident, folded_into="", folded_at=standing.now, why="what it followed from is over")


def folded_by(standing: Standing) -> Mapping[str, tuple[str, ...]]:
    """Keys of consequences by that of their cause."""
    if standing.folded is None:
        found = defaultdict(list)
        for incident in standing.incidents.values():
            if incident.folded_into:
                found[incident.folded_into].append(incident.key)
        standing.folded = {cause: tuple(keys) for cause, keys in found.items()}
    return standing.folded


def with_folded(standing: Standing, incidents: Iterable[Incident]) -> list[Incident]:
    """These, and those that are folded into them."""
    found, folded = {i.key: i for i in incidents}, folded_by(standing)
    todo = list(found)
    while todo:
        more = [k for k in folded.get(todo.pop(), ()) if k in standing.incidents and k not in found]
        found |= {k: standing.incidents[k] for k in more}
        todo += more
    return list(found.values())
