"""What has likely led to an alarm of a frame: as the verdict of its exposure names it."""

from __future__ import annotations

import logging

from monitor.alerts.model import Incident
from quicklook.core.errors import describe
from quicklook.core.history import History, find_verdict
from quicklook.core.keys import Unit

log = logging.getLogger("quicklook.alerts")


def likely_cause(incident: Incident, history: History, tag: str) -> str:
    """One sentence, "" where none is known: of an exposure or a decision its likeliest cause; of a metric of a camera the likeliest of those that
    spoil it, from the verdict of the exposure as soon as that is stored. Raises nothing: a message leaves without it."""
    facts = incident.facts
    if facts.get("cause") or not all(facts.get(name) for name in ("unit", "part", "metric")):
        return facts.get("cause", "")
    try:
        verdict = find_verdict(history, Unit.parse(facts["unit"]), tag=tag)
    except Exception as error:  # of stored results, whatever is wrong with them
        log.warning("no cause of %s: %s", incident.key, describe(error))
        return ""
    spoiled = (facts["part"], facts["metric"])
    return next((c.sentence for c in verdict.causes if any((s.part, s.metric) == spoiled for s in c.spoiled)), "") if verdict is not None else ""
