"""Sinks: where events go. A sink takes events one by one, in order, and may answer with events of its own.

One whose work is long and need not be done in order is a `PiecedSink`: the engine has its pieces done in processes, the most wanted first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from quicklook.core.events import Draft, Event
from quicklook.core.plugin import P, Plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkContext:
    """What a sink may know of the site: its output folder, the epoch of the journal, the tag of what is live, which `reports` sinks make, the
    configuration of housekeeping (a name or a path) and the file of its samples ("" where it has none)."""

    out: str
    epoch: str = ""
    tag: str = "live"
    reports: tuple[str, ...] = ()
    hk_config: str = ""
    hk_store: str = ""


class Sink(Plugin[P]):
    """Base of sinks. The engine keeps its position in the journal: what it has not taken comes again after a restart.

    `kinds` are the kinds of events that it wants, empty for all. An `isolated` sink runs in a process of its own, so that
    slow work (drawing) is not on the way of anything else.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    isolated: ClassVar[bool] = False

    @property
    def reports(self) -> tuple[str, ...]:
        """What reports for people it makes some seconds after a verdict: exposures.html, tests.pdf and so on."""
        return ()

    def check(self) -> None:
        """Look at the parameters alone, before anything is opened. Raises BadConfig where they cannot be used."""

    def open(self, context: SinkContext) -> None:
        """Make ready: connect, bind, create folders. Raises BadConfig or Transient."""

    def accept(self, event: Event) -> Sequence[Draft]:
        """Take one event. Raises Transient where it should come again later; any other error gives this event up for this sink."""
        raise TypeError(f"{type(self).__qualname__} defines no `accept`: {event.kind} has nowhere to go")

    def flush(self) -> Sequence[Draft]:
        """Bring away what `accept` has only gathered; called before the engine remembers how far it is. Raises Transient to be asked again."""
        return []

    def close(self) -> None:
        """Let go of everything; called once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of what an event asks of a sink, to be done apart from the rest and in any order.

    `name` tells it from the other pieces of its event. `line` says what it makes: of pieces of one line those of the highest revision count, and of
    one revision those of the last event; the others are superseded. `urgent` ones go before others. `data` (JSON-able) is what else it takes.
    """

    name: str
    line: str
    urgent: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSize:
    """Processes that do the pieces, how far they stand back (nice, 0 to 19), events held in memory, seconds after which a piece is given up."""

    processes: int = 1
    nice: int = 5
    most: int = 500
    deadline_s: float = 60.0


class PiecedSink(Sink[P]):
    """Base of sinks whose events are done in pieces, in processes of their own, in the order of what is wanted most.

    In the daemon `begin` and `pieces` are called, in the order of events, and must be quick; in each process `open`, then `work`. A piece may come
    again after a crash, and not at all where a later one has superseded it.
    """

    @property
    def pool(self) -> PoolSize:
        """How it wants to run."""
        return PoolSize()

    def begin(self, context: SinkContext) -> None:
        """Make ready for `pieces` alone."""

    def pieces(self, event: Event) -> Sequence[Piece]:
        """What the event asks for, the most urgent first; nothing where there is nothing to do."""
        return [Piece(name=event.kind, line=f"{event.kind} {event.tag} {event.unit} {event.part}")]

    def work(self, event: Event, piece: Piece) -> Sequence[Draft]:
        """Do a piece. Raises Transient where it should be tried again later; any other error gives this piece up."""
        raise TypeError(f"{type(self).__qualname__} defines no `work`: {piece.name} of {event.kind} is not done")

    def skipped(self, event: Event, pieces: Sequence[Piece], by: Event) -> Sequence[Draft]:  # noqa: ARG002
        """What is told of pieces that are not done, as an event has come that supersedes them."""
        return []

    def accept(self, event: Event) -> Sequence[Draft]:
        """Do all pieces one after the other, here and now. Raises what the first that fails raises, after the others were done."""
        drafts: list[Draft] = []
        failed: Exception | None = None
        for piece in self.pieces(event):
            try:
                drafts += self.work(event, piece)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return drafts
