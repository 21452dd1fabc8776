"""What folds what: the cause of an incident, found without looking at each of thousands. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from monitor.alerts.handling import Handling
from monitor.alerts.model import Incident

_Facts = tuple[str | None, ...]


class Causes:
    """Of incidents as they stand in one moment; what has ended is no cause."""

    def __init__(self, incidents: Iterable[Incident]) -> None:
        self._by_rule: dict[str, list[Incident]] = defaultdict(list)
        for incident in incidents:
            if incident.ended is None:
                self._by_rule[incident.rule].append(incident)
        self._indices: dict[tuple[str, tuple[str, ...]], dict[_Facts, list[Incident]]] = {}

    def of(self, incident: Incident, rule: Handling) -> str:
        """Key of the cause: of the first rule of `inhibited_by` that has one, the oldest with the same facts `equal`; "" for none."""
        wanted = _facts(incident, rule.equal)
        for name in rule.inhibited_by:
            found = self._index(name, rule.equal).get(wanted, ())
            if other := next((c.key for c in found if c.key != incident.key), ""):
                return other
        return ""

    def _index(self, rule: str, equal: tuple[str, ...]) -> dict[_Facts, list[Incident]]:
        if (rule, equal) not in self._indices:
            index: dict[_Facts, list[Incident]] = defaultdict(list)
            for cause in sorted(self._by_rule.get(rule, ()), key=lambda c: (c.began, c.key)):
                index[_facts(cause, equal)].append(cause)
            self._indices[rule, equal] = dict(index)
        return self._indices[rule, equal]


def _facts(incident: Incident, names: tuple[str, ...]) -> _Facts:
    return tuple(incident.facts.get(name) for name in names)
