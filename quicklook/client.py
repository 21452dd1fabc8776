"""What a listener imports: subscribe to the events of a daemon.

    from quicklook.client import Subscriber

    with Subscriber(topics=["verdict/"]) as events:
        for message in events:
            print(message.event.unit, message.event.payload["status"])
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

import zmq
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Event

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event as it was received, with its attachments (the PNG of a ``plot`` event)."""

    event: Event
    attachments: tuple[bytes, ...] = ()


def decode(frames: list[bytes]) -> Message:
    """A message from its frames. Raises BadData for what no daemon has sent."""
    if len(frames) < 2:
        raise BadData(f"a message has a topic and an event, this one has {len(frames)} frames")
    try:
        return Message(event=Event.model_validate_json(frames[1]), attachments=tuple(frames[2:]))
    except ValidationError as error:
        raise BadData(f"not an event of a quick-look daemon: {error.error_count()} fields are wrong") from error


class Subscriber:
    """Receives events; raises BadConfig where `endpoint` is no address.

    Iterating ends after `timeout_s` without a message; without a time-out it never ends.

    `gaps` counts events that were missed, seen by their numbers; only meaningful when subscribed to everything.
    """

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, topics: Iterable[str] = ("",), timeout_s: float | None = None) -> None:
        self.gaps = 0
        self._last: tuple[str, int] | None = None
        self._timeout_s = timeout_s
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            raise BadConfig(f"{endpoint!r} is no address", what_next="Write tcp://HOST:PORT.") from error
        for topic in topics:
            self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the time is over. What is not an event is left out."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while end is None or end > time.monotonic():
            left_ms = None if end is None else max(0, int(1000 * (end - time.monotonic())))
            if not self._socket.poll(left_ms):
                return None
            try:
                message = decode(self._socket.recv_multipart())
            except BadData:
                continue
            self._count(message.event)
            return message
        return None

    def _count(self, event: Event) -> None:
        if self._last and self._last[0] == event.epoch:
            self.gaps += max(0, event.seq - self._last[1] - 1)
        self._last = (event.epoch, event.seq)

    def __iter__(self) -> Iterator[Message]:
        while (message := self.receive(self._timeout_s)) is not None:
            yield message

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
