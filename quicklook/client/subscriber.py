"""The subscriber for ordinary programs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, TypeVar

import zmq

from quicklook.client.asking import Asker
from quicklook.client.base import SubscriberBase
from quicklook.client.messages import Message
from quicklook.client.ordering import Act, Ask, Listen
from quicklook.core.wire import State
from quicklook.io.curvekeys import ClientKeys

R = TypeVar("R")


class Subscriber(SubscriberBase["zmq.Socket[bytes]", Asker]):
    """Receives events in the order of their numbers, each once; raises BadConfig where `endpoint` is no address.

    What is missed (it came late, was too slow, lost its connection) is asked for at the `replay` socket: by default at the port after that of
    `endpoint`, nowhere with "". `since`: "now"; a number, of the last event that is known already (of the journal `epoch`, where it is known); or
    "snapshot": then `state` is the state of things when the first message comes, and messages go on from there.

    Iterating ends after `timeout_s` without a message; without a time-out it never ends. Use it in one thread.
    """

    def _new_socket(self) -> zmq.Socket[bytes]:
        return zmq.Context.instance().socket(zmq.SUB)

    def _new_asker(self, endpoint: str, keys: ClientKeys | None) -> Asker:
        return Asker(endpoint, keys)

    def snapshot(self, timeout_s: float = 10.0) -> State | None:
        """For a subscriber since "snapshot": the state that it begins with, before any message; None when the time is over."""
        return self._drive(self._following.snapshot(timeout_s))

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the time is over. What is not an event is left out."""
        return self._drive(self._following.receive(timeout_s))

    def _drive(self, acts: Generator[Act, Any, R]) -> R:
        answer: Any = None
        while True:
            try:
                act = acts.send(answer)
            except StopIteration as end:
                result: R = end.value
                return result
            answer = self._do(act)

    def _do(self, act: Act) -> Any:
        if isinstance(act, Ask):
            return self._asker.ask(act.request, act.seconds)
        if isinstance(act, Listen):
            ready = self._socket.poll(None if act.seconds is None else int(1000 * act.seconds))
            return self._socket.recv_multipart() if ready else None
        time.sleep(act.seconds)
        return None

    def __iter__(self) -> Iterator[Message]:
        while (message := self.receive(self._timeout_s)) is not None:
            yield message

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
