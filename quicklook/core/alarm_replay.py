"""Contract of what takes changes of housekeeping in fast time through rules, alarms and digests, up to the messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import HkChange
from quicklook.core.registry import find
from quicklook.core.severity import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldTell:
    """One message that would have left: when (Unix seconds, UTC), its subject, what it says of what (keys of alarms, each once)."""

    time: float
    subject: str
    severity: Severity
    begun: tuple[str, ...]
    ended: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldBeTold:
    """All of them, in order; `alarms` by key: how often each began; `standing`: those that were there at the end."""

    messages: tuple[WouldTell, ...]
    alarms: Mapping[str, int] = field(default_factory=dict)
    standing: tuple[str, ...] = ()


class AlarmReplay(Protocol):
    """What is registered as plugin `alarms` of the group `quicklook.monitors`."""

    def told(self, changes: Sequence[HkChange], rules: Document, *, until: float, least: Severity) -> WouldBeTold:
        """What a channel that is told of all from `least` on would have had, up to the time `until`. Raises BadConfig."""


def alarm_replay() -> AlarmReplay:
    """The one that is installed. Raises BadConfig where there is none."""
    made = find("monitor", "alarms").load()
    if not callable(made):
        raise BadConfig("the monitor 'alarms' is registered and is no class")
    found: AlarmReplay = made()
    return found
