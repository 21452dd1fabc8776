"""Which piece of the work of a sink is done next: the newest exposure first, what is urgent before the rest, what was superseded not at all. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from quicklook.core.events import Event
from quicklook.core.keys import Unit
from quicklook.core.sink import Piece

_NOWHERE = (0, 0)


@dataclass(slots=True, eq=False)
class Task:
    """A piece of the work of an event. `waiting` is false once it was handed out, was superseded, or left the memory."""

    event: Event
    piece: Piece
    index: int
    waiting: bool = True
    attempts: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """What counts among pieces of one line: the revision, then the number of the event."""
        return self.event.revision, self.event.seq

    @property
    def unit(self) -> tuple[int, int]:
        """Night and number of its exposure."""
        if not self.event.unit:
            return _NOWHERE
        unit = Unit.parse(self.event.unit)
        return unit.night, unit.expid


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Pieces of an event that are not done, and the number and revision of the event that has superseded them."""

    event: Event
    pieces: tuple[Piece, ...]
    by: Event


Done = tuple[int, str]
"""Number of an event, and the name of a piece of it."""


@dataclass(slots=True)
class Backlog:
    """Pieces that wait. Beyond `most` events those that came first leave the memory; they stay in the journal, and are read again when there is room.

    `read_to` is the number of the last event that was looked at; `ahead` are pieces that are done though not all before them are.
    """

    most: int
    read_to: int = 0
    ahead: set[Done] = field(default_factory=set)
    _open: dict[int, dict[str, Task]] = field(default_factory=dict)
    _lines: dict[str, list[Task]] = field(default_factory=dict)
    _urgent: list[tuple[int, int, int, int, int, Task]] = field(default_factory=list)
    _rest: list[tuple[int, int, int, int, int, Task]] = field(default_factory=list)
    _busy: dict[str, int] = field(default_factory=dict)
    _dropped: int | None = None
    _newest: tuple[int, int] = _NOWHERE
    _tick: Iterator[int] = field(default_factory=itertools.count)

    # ---- what has come

    def add(self, event: Event, pieces: Sequence[Piece]) -> list[Skip]:
        """Take an event with its pieces, after all events before it. Returns what is not done for it: pieces of others, or its own."""
        self.read_to = max(self.read_to, event.seq)
        tasks = [Task(event, piece, index) for index, piece in enumerate(pieces)]
        mine: dict[int, list[Piece]] = {}
        skips: dict[int, tuple[Event, list[Piece]]] = {}
        newer: dict[int, Event] = {}
        for task in tasks:
            by = self._supersede(task, skips)
            if (event.seq, task.piece.name) in self.ahead:
                continue
            if by is not None:
                mine.setdefault(by.seq, []).append(task.piece)
                newer[by.seq] = by
            else:
                self._push(task)
        out = [Skip(event=old, pieces=tuple(gone), by=event) for old, gone in skips.values()]
        out += [Skip(event=event, pieces=tuple(gone), by=newer[seq]) for seq, gone in mine.items()]
        self._bound()
        return out

    def _supersede(self, task: Task, skips: dict[int, tuple[Event, list[Piece]]]) -> Event | None:
        """Take away what waits and is older than the task; returns the event of what is newer than the task, if any."""
        for other in list(self._lines.get(task.piece.line, ())):
            if other.event.seq == task.event.seq:
                continue
            if other.rank > task.rank:
                return other.event
            if other.waiting:
                skips.setdefault(other.event.seq, (other.event, []))[1].append(other.piece)
                self._remove(other)
        return None

    def _push(self, task: Task) -> None:
        self._open.setdefault(task.event.seq, {})[task.piece.name] = task
        self._lines.setdefault(task.piece.line, []).append(task)
        self._enter(task)

    def _enter(self, task: Task) -> None:
        task.waiting = True
        night, expid = task.unit if task.event.unit else self._newest  # what is of no exposure, such as a test, is of now
        self._newest = max(self._newest, task.unit)
        heapq.heappush(self._urgent if task.piece.urgent else self._rest, (-night, -expid, task.event.seq, task.index, next(self._tick), task))

    def _remove(self, task: Task) -> None:
        task.waiting = False
        tasks = self._open[task.event.seq]
        del tasks[task.piece.name]
        if not tasks:
            del self._open[task.event.seq]
        line = self._lines[task.piece.line]
        line.remove(task)
        if not line:
            del self._lines[task.piece.line]

    def _bound(self) -> None:
        while len(self._open) > self.most:
            seq = next((s for s in sorted(self._open) if all(t.waiting for t in self._open[s].values())), None)
            if seq is None:
                return
            for task in list(self._open[seq].values()):
                self._remove(task)
            self._dropped = seq if self._dropped is None else min(seq, self._dropped)

    def again(self) -> bool:
        """Where nothing waits any more and events have left the memory: read from there again. Returns whether there is something to read."""
        if self._dropped is None or self._open:
            return False
        self.read_to, self._dropped = self._dropped - 1, None
        return True

    # ---- what is next

    def next(self) -> Task | None:
        """The piece to do now, marked as handed out; None where none waits that may be done beside those that run."""
        held: list[Task] = []
        found = None
        while found is None and (task := self._pop()) is not None:
            if self._busy.get(task.piece.line, task.event.seq) == task.event.seq:
                found = task
            else:
                held.append(task)  # an earlier one writes the same files
        for task in held:
            self._enter(task)
        if found is not None:
            found.waiting = False
            self._busy[found.piece.line] = found.event.seq
        return found

    def _pop(self) -> Task | None:
        """Of the newest exposure what is urgent, then its rest; then what is urgent of the others, then their rest."""
        for heap in (self._urgent, self._rest):
            while heap and not heap[0][-1].waiting:
                heapq.heappop(heap)
        newest = (-self._newest[0], -self._newest[1])
        of_newest = [heap for heap in (self._urgent, self._rest) if heap and heap[0][:2] == newest]
        heap = of_newest[0] if of_newest else self._urgent or self._rest
        return heapq.heappop(heap)[-1] if heap else None

    # ---- what has become of it

    def back(self, task: Task) -> None:
        """A piece that was handed out waits again."""
        self._free(task)
        self._enter(task)

    def done(self, tasks: Iterable[Task]) -> None:
        """These are over."""
        for task in tasks:
            self._free(task)
            self._remove(task)
            self.ahead.add((task.event.seq, task.piece.name))

    def skip(self, skips: Iterable[Skip]) -> None:
        """These are over, as they were superseded."""
        self.ahead.update((s.event.seq, p.name) for s in skips for p in s.pieces)

    def _free(self, task: Task) -> None:
        others = self._open.get(task.event.seq, {}).values()
        if not any(o is not task and not o.waiting and o.piece.line == task.piece.line for o in others):
            self._busy.pop(task.piece.line, None)

    def forget(self) -> None:
        """Of what lies before the position nobody asks again."""
        position = self.position
        self.ahead = {d for d in self.ahead if d[0] > position}

    @property
    def position(self) -> int:
        """Number of the last event before which, itself included, everything is done."""
        ends = [self.read_to, *([min(self._open) - 1] if self._open else []), *([self._dropped - 1] if self._dropped is not None else [])]
        return min(ends)

    @property
    def waiting(self) -> int:
        """Pieces in memory that wait."""
        return sum(t.waiting for t in self._tasks())

    def _tasks(self) -> Iterator[Task]:
        return (t for tasks in self._open.values() for t in tasks.values())

    def running(self) -> Collection[Task]:
        """Pieces that were handed out."""
        return [t for t in self._tasks() if not t.waiting]
