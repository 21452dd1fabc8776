"""Sinks: where events go. A sink takes events one by one, in order, and may answer with events of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from quicklook.core.events import Draft, Event
from quicklook.core.plugin import P, Plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkContext:
    """What a sink may know of the site: its output folder and the epoch of the journal."""

    out: str
    epoch: str = ""


class Sink(Plugin[P]):
    """Base of sinks. The engine keeps its position in the journal: what it has not taken comes again after a restart.

    `kinds` are the kinds of events that it wants, empty for all. An `isolated` sink runs in a process of its own, so that
    slow work (drawing) is not on the way of anything else.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    isolated: ClassVar[bool] = False

    def check(self) -> None:
        """Look at the parameters alone, before anything is opened. Raises BadConfig where they cannot be used."""

    def open(self, context: SinkContext) -> None:
        """Make ready: connect, bind, create folders. Raises BadConfig or Transient."""

    def accept(self, event: Event) -> Sequence[Draft]:
        """Take one event. Raises Transient where it should come again later; any other error gives this event up for this sink."""
        raise TypeError(f"{type(self).__qualname__} defines no `accept`: {event.kind} has nowhere to go")

    def close(self) -> None:
        """Let go of everything; called once."""
