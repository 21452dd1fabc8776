"""A publisher with its replay socket, a journal that is filled by hand, and raw sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import zmq

from quicklook.core.events import Heartbeat, Started, draft
from quicklook.core.keys import Unit
from quicklook.core.sink import SinkContext
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.publish import ZmqParams, ZmqSink
from quicklook.service.publishing.sinks import SinkThread


class Publisher:
    """A journal and the sink that publishes it, without a daemon."""

    def __init__(self, out: Path, endpoint: str = "", **params) -> None:
        self.out, self.endpoint = out, endpoint or f"ipc://{out}/e"
        self._params = {"endpoint": self.endpoint, "settle_s": 0.0, **params}
        self.journal = Journal(journal_path(out), time.time_ns)
        self.start()

    def start(self) -> None:
        self.sink = ZmqSink(ZmqParams(**self._params))
        self.thread = SinkThread(self.journal, self.sink, SinkContext(out=str(self.out), epoch=self.journal.epoch))
        self.thread.ready(10)

    def stop(self) -> None:
        self.thread.stop(60)

    def beats(self, n: int = 1) -> list[int]:
        return [e.seq for e in self.journal.append([draft(Heartbeat(waiting=i, running=0, done=0, failed=0)) for i in range(n)])]

    def started(self, n: int = 1, part: str = "r0") -> list[int]:
        return [e.seq for e in self.journal.append([draft(Started(chain="raw"), unit=Unit(20220101, i), part=part) for i in range(n)])]

    def published(self, seq: int, seconds: float = 60.0) -> bool:
        return wait_for(lambda: self.journal.position("zmq") >= seq, seconds)

    def close(self) -> None:
        self.stop()
        self.journal.close()


@contextmanager
def publisher(out: Path, endpoint: str = "", **params):
    made = Publisher(out, endpoint, **params)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def raw_socket(kind: int, endpoint: str, *, kept: int = 1000):
    """A socket, connected; `kept`: so many messages are queued on the way in."""
    socket = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.RCVHWM, kept)
    socket.setsockopt(zmq.SNDHWM, 10_000)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    try:
        yield socket
    finally:
        socket.close()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < end:
        time.sleep(0.01)
    return holds


def take(subscriber, n: int, seconds: float = 60.0, beat: Callable[[], object] = lambda: None) -> list[int]:
    """Numbers of the next `n` events that are no heartbeats. `beat`: what a daemon does every few seconds."""
    seen: list[int] = []
    end = time.monotonic() + seconds
    while len(seen) < n and time.monotonic() < end:
        message = subscriber.receive(0.2)
        if message is None:
            beat()
        elif message.event.kind != "heartbeat":
            seen.append(message.event.seq)
    return seen


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
