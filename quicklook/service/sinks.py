"""Feeding sinks from the journal: each at its own pace and position, in a thread, or in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.events import Draft, Event, SinkGaveUp, draft
from quicklook.core.params import Params
from quicklook.core.registry import find
from quicklook.core.results import Failure
from quicklook.core.sink import Sink, SinkContext
from quicklook.core.validation import validate
from quicklook.service.journal import Journal

log = logging.getLogger("quicklook.sinks")

_PAUSES_S = (0.2, 1.0, 5.0, 30.0)
"""Pauses before a sink that raised Transient is tried again; the last one is repeated for ever."""


def make_sink(name: str, params: dict[str, Any]) -> Sink[Any]:
    """The sink of that name with its parameters. Raises BadConfig."""
    plugin = find("sink", name).load()
    if not (isinstance(plugin, type) and issubclass(plugin, Sink)):
        raise BadConfig(f"{name!r} is registered as a sink and is none")
    params_type: type[Params] = plugin.params_type
    return plugin(validate(params_type, Document.from_data(params, f"sink {name}")))


class Feeder:
    """Gives the events of the journal to one sink, in order, and remembers how far it is."""

    def __init__(self, journal: Journal, sink: Sink[Any], context: SinkContext, stop: Any) -> None:
        self.journal, self.sink, self.context, self._stop = journal, sink, context, stop
        self.position = journal.position(sink.name)

    def open(self) -> None:
        """Open the sink; what is transient is tried again until it goes well or everything stops."""
        for attempt in range(10**9):
            try:
                self.sink.open(self.context)
            except Transient as error:
                log.warning("sink %s is not ready: %s", self.sink.name, error)
                if self._stop.wait(_pause_s(attempt)):
                    return
            else:
                return

    def feed(self, limit: int = 200) -> int:
        """Give the sink what there is, up to `limit` events; returns how many it has taken."""
        events = self.journal.events(self.position, limit=limit)
        answers: list[Draft] = []
        for event in events:
            if not self.sink.kinds or event.kind in self.sink.kinds:
                answers += self._give(event)
            if self._stop.is_set():
                return 0
            self.position = event.seq
            if answers:
                self.journal.advance(self.sink.name, self.position, answers)
                answers = []
        if events:
            self.journal.advance(self.sink.name, self.position, answers)
        return len(events)

    def _give(self, event: Event) -> Sequence[Draft]:
        for attempt in range(10**9):
            try:
                return self.sink.accept(event)
            except Transient as error:
                log.warning("sink %s cannot take event %d now: %s", self.sink.name, event.seq, error)
                if self._stop.wait(_pause_s(attempt)):
                    return []
            except Exception as error:
                log.exception("sink %s gave up event %d (%s): %s", self.sink.name, event.seq, event.topic, describe(error))
                if event.kind == SinkGaveUp.kind:
                    return []
                lost = SinkGaveUp(name=self.sink.name, seq=event.seq, failure=Failure.of(error))
                return [draft(lost, part=event.part, tag=event.tag, revision=event.revision).model_copy(update={"unit": event.unit})]
        return []

    def run(self, nap_s: float = 0.03) -> None:
        """Feed until everything stops, then give what is left and close."""
        self.open()
        while not self._stop.is_set():
            if self.feed() == 0:
                self._stop.wait(nap_s)
        self.sink.close()


def _pause_s(attempt: int) -> float:
    return _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]


class SinkThread:
    """A sink in a thread of the daemon."""

    def __init__(self, journal: Journal, sink: Sink[Any], context: SinkContext) -> None:
        self._stop = threading.Event()
        self.name = sink.name
        self.feeder = Feeder(journal, sink, context, self._stop)
        self._thread = threading.Thread(target=self.feeder.run, name=f"sink-{sink.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End it."""
        self._stop.set()
        self._thread.join(timeout_s)

    def check(self) -> None:
        """A thread needs no looking after."""


def _sink_process(journal: Path, name: str, params: dict[str, Any], context: SinkContext, parent: int, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    own = Journal(journal, time.time_ns)
    feeder = Feeder(own, make_sink(name, params), context, stop)
    feeder.open()
    while not stop.is_set() and os.getppid() == parent:
        if feeder.feed() == 0:
            stop.wait(0.05)
    feeder.sink.close()
    own.close()


class SinkProcess:
    """A sink in a process of its own, started again if it dies."""

    def __init__(self, journal: Path, name: str, params: dict[str, Any], context: SinkContext) -> None:
        self._context = multiprocessing.get_context("spawn")
        self.name = name
        self._stop = self._context.Event()
        self._args = (journal, name, params, context, os.getpid(), self._stop)
        self._process = self._start()

    def _start(self) -> Any:
        process = self._context.Process(target=_sink_process, args=self._args, name=f"quicklook-{self.name}", daemon=True)
        process.start()
        return process

    def check(self) -> None:
        """Start it again if it has died."""
        if not self._process.is_alive() and not self._stop.is_set():
            log.error("the process of sink %s ended with status %s and is started again", self.name, self._process.exitcode)
            self._process = self._start()

    def stop(self, timeout_s: float) -> None:
        """End it; kill it after `timeout_s`."""
        self._stop.set()
        self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(2)


SinkRunner = SinkThread | SinkProcess


def start_sink(journal: Journal, path: Path, name: str, params: dict[str, Any], context: SinkContext) -> SinkRunner:
    """Start a sink the way it wants to run."""
    sink = make_sink(name, params)
    if sink.isolated:
        return SinkProcess(path, name, params, context)
    return SinkThread(journal, sink, context)
