"""Feeding a sink whose work is done in pieces: a thread reads the journal, has done what is wanted most, and writes down what is done."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.events import Draft, Event, SinkGaveUp, draft
from quicklook.core.results import Failure
from quicklook.core.sink import PiecedSink, SinkContext
from quicklook.service.journal.ahead import done_ahead, settle
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing.piecepool import Ended, PiecePool
from quicklook.service.publishing.pieces import Backlog, Done, Skip, Task

log = logging.getLogger("quicklook.sinks")

_TRIES = 2
"""A piece whose process ended is tried so often: one process may have been ended for no fault of the piece."""
_BATCH, _MOST_AT_ONCE = 500, 5000
"""Events read in one query, and before anything is handed out."""
_NAP_S, _STORE_S = 0.05, 0.2
_PAUSES_S = (0.2, 1.0, 5.0, 30.0)
_REST_S = 1.5


class PieceFeeder:
    """Reads, hands out, and stores what is done. One thread calls `turn` again and again."""

    def __init__(self, journal: Journal, sink: PiecedSink[Any], make: Callable[[], PiecedSink[Any]], context: SinkContext) -> None:
        self.journal, self.sink = journal, sink
        self._backlog = Backlog(most=sink.pool.most)
        self._made_of = (make, context)
        self._pool: PiecePool | None = None
        self._done: list[Done] = []
        self._answers: list[Draft] = []
        self._told: set[tuple[int, str]] = set()
        self._stored_at, self._hold_until, self._holds = 0.0, 0.0, 0

    def open(self) -> None:
        """Find out where it was, and start the processes. Raises Transient where the journal cannot be used, BadConfig."""
        make, context = self._made_of
        position, ahead = done_ahead(self.journal, self.sink.name)
        self.sink.begin(context)
        self._backlog.read_to, self._backlog.ahead, self._stored = position, ahead, position
        self._pool = PiecePool(self.sink.name, make, context, self.sink.pool)

    @property
    def pids(self) -> list[int]:
        """Numbers of its processes."""
        return self._pool.pids if self._pool else []

    def turn(self) -> None:
        """Read what has come, hand out what there is room for, wait a little, write down what was done. Raises Transient: the journal."""
        assert self._pool is not None
        self._read()
        while time.monotonic() >= self._hold_until and self._pool.room and (task := self._backlog.next()) is not None:
            if not self._pool.send(task):
                self._backlog.back(task)
                break
        self._take(self._pool.wait(_NAP_S))
        self._store()

    def _read(self) -> None:
        self._backlog.again()
        for _ in range(0, _MOST_AT_ONCE, _BATCH):
            last = self.journal.last_seq()
            if last <= self._backlog.read_to:
                return
            events = self.journal.events(self._backlog.read_to, limit=_BATCH, kinds=self.sink.kinds)
            for event in events:
                self._skip(self._backlog.add(event, self._pieces(event)))
            if len(events) < _BATCH:
                self._backlog.read_to = max(last, self._backlog.read_to)
                return

    def _pieces(self, event: Event) -> Any:
        try:
            return self.sink.pieces(event)
        except Exception as error:
            log.exception("sink %s gave up event %d (%s): %s", self.sink.name, event.seq, event.topic, describe(error))
            self._gave_up(event, Failure.of(error))
            return ()

    def _skip(self, skips: list[Skip]) -> None:
        self._backlog.skip(skips)
        for skip in skips:
            what = f"{skip.event.topic} {skip.event.unit or ''}".rstrip()
            log.info("%s: %d pieces of %s are left out: event %d has them anew", self.sink.name, len(skip.pieces), what, skip.by.seq)
            self._done += [(skip.event.seq, p.name) for p in skip.pieces]
            self._answers += self.sink.skipped(skip.event, skip.pieces, skip.by)

    def _take(self, ended: list[Ended]) -> None:
        over: list[Task] = []
        for one in ended:
            one.task.attempts += one.lost
            if one.again and not (one.lost and one.task.attempts >= _TRIES):
                self._backlog.back(one.task)
                self._hold(one)
                continue
            if one.failure is not None:
                self._gave_up(one.task.event, one.failure)
            self._answers += one.drafts
            self._holds = 0
            over.append(one.task)
        self._backlog.done(over)
        self._done += [(t.event.seq, t.piece.name) for t in over]

    def _hold(self, one: Ended) -> None:
        """What is transient concerns all pieces, as a rule: a full disk, a file system that is away."""
        if one.lost or one.failure is None:
            return
        log.warning("sink %s cannot take event %d now: %s", self.sink.name, one.task.event.seq, one.failure.message)
        self._hold_until = time.monotonic() + _PAUSES_S[min(self._holds, len(_PAUSES_S) - 1)]
        self._holds += 1

    def _gave_up(self, event: Event, failure: Failure) -> None:
        """Tell it, once for each reason: all plots of a file may fail alike."""
        if (event.seq, failure.message) in self._told:
            return
        self._told = {t for t in self._told if t[0] > self._backlog.position} | {(event.seq, failure.message)}
        lost = SinkGaveUp(name=self.sink.name, seq=event.seq, failure=failure)
        self._answers.append(draft(lost, part=event.part, tag=event.tag, revision=event.revision).model_copy(update={"unit": event.unit}))

    def _store(self, *, now: bool = False) -> None:
        position = self._backlog.position
        if not (self._done or self._answers or position > self._stored):
            return
        caught_up = position >= self._backlog.read_to
        if now or caught_up or time.monotonic() >= self._stored_at + _STORE_S:
            settle(self.journal, self.sink.name, position, self._done, self._answers)
            self._stored, self._stored_at = position, time.monotonic()
            self._done, self._answers = [], []
            self._backlog.forget()

    def close(self, seconds: float) -> None:
        """Let what runs come to its end, for so long at most, and write it down."""
        if self._pool is not None:
            self._take(self._pool.stop(seconds))
            self._pool = None
        try:
            self._store(now=True)
        except Transient as error:
            log.warning("what sink %s did last is not written down and is done again: %s", self.sink.name, error)
        self.sink.close()


class PieceThread:
    """A feeder in a thread of the daemon, with the processes of its sink, which `make` makes; started again if it ends."""

    def __init__(self, journal: Journal, sink: PiecedSink[Any], make: Callable[[], PiecedSink[Any]], context: SinkContext) -> None:
        self.name = sink.name
        self._made_of = (journal, sink, make, context)
        self._stop, self._opened = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._start()

    def _start(self) -> None:
        self.feeder = PieceFeeder(*self._made_of)
        self._thread = threading.Thread(target=self._run, name=f"sink-{self.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._stop.is_set():
                try:
                    if not self._opened.is_set():
                        self.feeder.open()
                        self._opened.set()
                    self.feeder.turn()
                    attempt = 0
                except Transient as error:
                    if attempt == 0:
                        log.warning("sink %s waits: %s", self.name, error)
                    self._stop.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
                    attempt += 1
        except Exception as error:
            self._error = error
            log.exception("sink %s has ended: %s", self.name, describe(error))
        finally:
            self.feeder.close(_REST_S)

    def ready(self, timeout_s: float) -> None:
        """Wait until it reads; its processes get ready beside. Raises BadConfig if it cannot be opened."""
        end = time.monotonic() + timeout_s
        while not self._opened.wait(0.01) and self._thread.is_alive() and time.monotonic() < end:
            pass
        if self._error is not None:
            raise BadConfig(f"sink {self.name} cannot be opened: {describe(self._error)}") from self._error

    def stop(self, timeout_s: float) -> None:
        """End it: what is being done is finished, what waits comes at the next start."""
        self._stop.set()
        self._thread.join(timeout_s + 1.0)

    def check(self) -> None:
        """Start it again if it has ended."""
        if not self._thread.is_alive() and not self._stop.is_set():
            log.warning("sink %s is started again", self.name)
            self._opened.clear()
            self._error = None
            self._start()
