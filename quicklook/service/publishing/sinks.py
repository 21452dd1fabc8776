"""Feeding sinks from the journal: each at its own pace and position, in a thread, or in a process of its own."""

from __future__ import annotations

import functools
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.events import Draft, Event, SinkGaveUp, draft
from quicklook.core.params import Params
from quicklook.core.registry import find
from quicklook.core.results import Failure
from quicklook.core.sink import PiecedSink, Sink, SinkContext
from quicklook.core.validation import validate
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing.piecefeeder import PieceThread
from quicklook.service.running import runlog

log = logging.getLogger("quicklook.sinks")

_PAUSES_S = (0.2, 1.0, 5.0, 30.0)
"""Pauses before a sink that raised Transient is tried again; the last one is repeated for ever."""
_REST_S = 1.5
"""So long a sink in a thread is given what is left when everything stops."""


def make_sink(name: str, params: dict[str, Any], doc: Document | None = None) -> Sink[Any]:
    """The sink of that name with its parameters; `doc` is the site in which they stand under `sinks`.

    Raises BadConfig, with file and line where there is one: no such sink, wrong parameters, or such that the sink itself refuses.
    """
    doc = doc or Document.from_data({"sinks": {name: params}}, f"sink {name}")
    where = doc.where(("sinks", name))
    try:
        plugin = find("sink", name).load()
    except BadConfig as error:
        raise BadConfig(f"{where}: {error}") from error
    if not (isinstance(plugin, type) and issubclass(plugin, Sink)):
        raise BadConfig(f"{where}: {name!r} is registered as a sink and is none")
    params_type: type[Params] = plugin.params_type
    sink = plugin(validate(params_type, doc, ("sinks", name), params))
    try:
        sink.check()
    except BadConfig as error:
        raise BadConfig(f"{where}: {error}", what_next=error.what_next) from error
    return sink


class Feeder:
    """Gives the events of the journal to one sink, in order, and remembers how far it is.

    What the sink has taken is remembered with what it answered, or at the end of a batch at the latest: after a crash the last events
    may come to it once more, and none is left out.
    """

    def __init__(self, journal: Journal, sink: Sink[Any], context: SinkContext, stop: Any) -> None:
        self.journal, self.sink, self.context, self._stop = journal, sink, context, stop
        self.opened = threading.Event()
        self.position = self._stored = 0
        self._answers: list[Draft] = []
        self._alive: Callable[[], bool] = lambda: True

    def open(self) -> bool:
        """Open the sink; what is transient is tried again until it goes well, or everything stops: then False."""
        for attempt in itertools.count():
            try:
                self.sink.open(self.context)
                self.position = self._stored = self.journal.position(self.sink.name)
            except Transient as error:
                log.warning("sink %s is not ready: %s", self.sink.name, error)
                if self._ends(attempt):
                    return False
            else:
                self.opened.set()
                return True
        return False

    def feed(self, limit: int = 200) -> int:
        """Give the sink what there is, up to `limit` events; returns how many it has taken. Raises Transient: the journal cannot be used."""
        self._store()
        taken = 0
        try:
            for event in self.journal.events(self.position, limit=limit):
                if taken and self._stop.is_set():
                    break
                answers = self._give(event) if not self.sink.kinds or event.kind in self.sink.kinds else ()
                if answers is None:
                    break
                self.position, taken = event.seq, taken + 1
                self._answers += answers
                if answers:
                    self._store()
        finally:
            self._store()
        return taken

    def _store(self) -> None:
        """Write into the journal how far the sink is, with its answers, once it has flushed what it holds."""
        if self.position > self._stored and self._flush():
            self.journal.advance(self.sink.name, self.position, self._answers)
            self._stored, self._answers = self.position, []

    def _flush(self) -> bool:
        """Have the sink bring away what it has gathered; False where it could not before everything stops: those events come to it again."""
        for attempt in itertools.count():
            try:
                self._answers += self.sink.flush()
                return True
            except Transient as error:
                log.warning("sink %s cannot bring away what it has up to event %d: %s", self.sink.name, self.position, error)
                if self._ends(attempt):
                    return False
            except Exception as error:
                log.exception("sink %s gave up what it had gathered up to event %d: %s", self.sink.name, self.position, describe(error))
                self._answers.append(draft(SinkGaveUp(name=self.sink.name, seq=self.position, failure=Failure.of(error))))
                return True
        return False

    def _give(self, event: Event) -> Sequence[Draft] | None:
        """What the sink answers; None where it could not take the event before everything stops."""
        for attempt in itertools.count():
            try:
                return self.sink.accept(event)
            except Transient as error:
                log.warning("sink %s cannot take event %d now: %s", self.sink.name, event.seq, error)
                if self._ends(attempt):
                    return None
            except Exception as error:
                log.exception("sink %s gave up event %d (%s): %s", self.sink.name, event.seq, event.topic, describe(error))
                if event.kind == SinkGaveUp.kind:
                    return []
                lost = SinkGaveUp(name=self.sink.name, seq=event.seq, failure=Failure.of(error))
                return [draft(lost, part=event.part, tag=event.tag, revision=event.revision).model_copy(update={"unit": event.unit})]
        return None

    def run(self, *, nap_s: float = 0.03, batch: int = 200, rest_s: float = 0.0, alive: Callable[[], bool] = lambda: True) -> None:
        """Feed until everything stops (or `alive` is false), then give what is left for `rest_s` at most, and close.

        Raises BadConfig, or whatever the sink raises, where it cannot be opened.
        """
        self._alive = alive
        if not self.open():
            return
        try:
            while not self._stop.is_set() and alive():
                if not self._feed_or_wait(batch):
                    self._stop.wait(nap_s)
            end = time.monotonic() + rest_s
            while time.monotonic() < end and self._feed_or_wait(1):
                pass
        finally:
            self.sink.close()

    def _feed_or_wait(self, batch: int) -> int:
        for attempt in itertools.count():
            try:
                return self.feed(batch)
            except Transient as error:
                if attempt == 0:
                    log.warning("sink %s waits: %s", self.sink.name, error)
                if self._ends(attempt):
                    return 0
        return 0

    def _ends(self, attempt: int) -> bool:
        """Pause before the next attempt; True where everything stops meanwhile. One whose daemon was killed hears nothing, and looks."""
        end = time.monotonic() + _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
        while (left := end - time.monotonic()) > 0:
            if self._stop.wait(min(left, 1.0)) or not self._alive():
                return True
        return bool(self._stop.is_set())


class SinkThread:
    """A sink in a thread of the daemon, started again if it ends."""

    def __init__(self, journal: Journal, sink: Sink[Any], context: SinkContext) -> None:
        self._stop = threading.Event()
        self.name = sink.name
        self._made_of = (journal, sink, context, self._stop)
        self._error: Exception | None = None
        self._start()

    def _start(self) -> None:
        self.feeder = Feeder(*self._made_of)
        self._thread = threading.Thread(target=self._run, name=f"sink-{self.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.feeder.run(rest_s=_REST_S)
        except Exception as error:
            self._error = error
            log.error("sink %s has ended: %s", self.name, describe(error))

    def ready(self, timeout_s: float) -> None:
        """Wait until the sink is open; one that is still not after `timeout_s` is waited for by itself. Raises BadConfig if it cannot be."""
        end = time.monotonic() + timeout_s
        while not self.feeder.opened.wait(0.01) and self._thread.is_alive() and time.monotonic() < end:
            pass
        if self._error is not None:
            raise BadConfig(f"sink {self.name} cannot be opened: {describe(self._error)}") from self._error

    def stop(self, timeout_s: float) -> None:
        """End it, once it has taken what there is."""
        self._stop.set()
        self._thread.join(timeout_s)

    def check(self) -> None:
        """Start it again if it has ended."""
        if not self._thread.is_alive() and not self._stop.is_set():
            log.warning("sink %s is started again", self.name)
            self._start()


class _Told:
    """`wait` and `is_set` of an event, over a pipe that is closed: who is killed at any moment leaves no lock for which the other waits for ever."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._told = pipe, False

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is to end; at most after `timeout`."""
        with suppress(OSError):
            self._told = self._told or self._pipe.poll(timeout)
            return self._told
        return True

    def is_set(self) -> bool:
        """Whether it is to end."""
        return self.wait(0.0)


def _sink_process(journal: Path, name: str, params: dict[str, Any], context: SinkContext, parent: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runlog.inherit()
    os.nice(5)
    own = Journal(journal, time.time_ns)
    try:
        Feeder(own, make_sink(name, params), context, _Told(pipe)).run(nap_s=0.05, batch=20, alive=lambda: os.getppid() == parent)
    finally:
        own.close()


class SinkProcess:
    """A sink in a process of its own, started again if it dies."""

    def __init__(self, journal: Path, name: str, params: dict[str, Any], context: SinkContext) -> None:
        self._context = multiprocessing.get_context("spawn")
        self.name = name
        self._ended = False
        self._args = (journal, name, params, context, os.getpid())
        self._process, self._pipe = self._start()

    def _start(self) -> tuple[Any, Connection]:
        theirs, ours = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_sink_process, args=(*self._args, theirs), name=f"quicklook-{self.name}", daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def ready(self, timeout_s: float) -> None:
        """It gets ready beside everything else; its parameters have been checked."""

    def check(self) -> None:
        """Start it again if it has died."""
        if not self._process.is_alive() and not self._ended:
            log.error("the process of sink %s ended with status %s and is started again", self.name, self._process.exitcode)
            self._pipe.close()
            self._process, self._pipe = self._start()

    def stop(self, timeout_s: float) -> None:
        """End it; kill it after `timeout_s`."""
        self._ended = True
        self._pipe.close()
        self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(2)


SinkRunner = SinkThread | SinkProcess | PieceThread


def _pieced(name: str, params: dict[str, Any]) -> PiecedSink[Any]:
    sink = make_sink(name, params)
    assert isinstance(sink, PiecedSink)
    return sink


def start_sink(journal: Journal, path: Path, name: str, sink: Sink[Any], params: dict[str, Any], context: SinkContext) -> SinkRunner:
    """Start a sink the way it wants to run: `sink` itself in a thread, or in processes others made of name and parameters."""
    if isinstance(sink, PiecedSink):
        return PieceThread(journal, sink, functools.partial(_pieced, name, params), context)
    if sink.isolated:
        return SinkProcess(path, name, params, context)
    return SinkThread(journal, sink, context)
