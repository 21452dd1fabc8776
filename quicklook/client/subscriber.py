"""The subscriber for ordinary programs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Any

import zmq

from quicklook.client.asking import Asker
from quicklook.client.messages import DEFAULT_ENDPOINT, Message, prepare
from quicklook.client.ordering import Act, Ask, Following, Listen, Order, Progress, replay_of, subscriptions
from quicklook.core.wire import State, StateRequest
from quicklook.io.curvekeys import ClientKeys


class Subscriber(Progress):
    """Receives events in the order of their numbers, each once; raises BadConfig where `endpoint` is no address.

    What is missed (it came late, was too slow, lost its connection) is asked for at the `replay` socket: by default at the port after that of
    `endpoint`, nowhere with "". `since`: "now"; a number, of the last event that is known already (of the journal `epoch`, where it is known); or
    "snapshot": then `state` is the state of things when the first message comes, and messages go on from there.

    Iterating ends after `timeout_s` without a message; without a time-out it never ends. Use it in one thread.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        topics: Iterable[str] = ("",),
        timeout_s: float | None = None,
        *,
        replay: str | None = None,
        since: int | str = "now",
        epoch: str | None = None,
        keys: ClientKeys | None = None,
        attachments: bool = True,
        replay_timeout_s: float = 5.0,
    ) -> None:
        self._order = Order(topics, since, epoch, attachments=attachments)
        asked_at = replay_of(endpoint, replay, since)
        self._following = Following(self._order, asks=bool(asked_at), replay_timeout_s=replay_timeout_s)
        self._timeout_s = timeout_s
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        for topic in subscriptions(self._order, bool(asked_at)):
            self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        prepare(self._socket, endpoint, keys)
        self._asker = Asker(asked_at, keys)

    def snapshot(self, timeout_s: float = 10.0) -> State | None:
        """For a subscriber since "snapshot": the state that it begins with, before any message; None when the time is over."""
        end = time.monotonic() + timeout_s
        while isinstance(request := self._order.request(None), StateRequest) and time.monotonic() < end:
            answer = self._asker.ask(request, min(1.0, timeout_s))
            if isinstance(answer, State):
                self._order.answered(answer)
        return self._order.state

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the time is over. What is not an event is left out."""
        return self._drive(self._following.receive(timeout_s))

    def _drive(self, acts: Generator[Act, Any, Message | None]) -> Message | None:
        answer: Any = None
        while True:
            try:
                act = acts.send(answer)
            except StopIteration as end:
                message: Message | None = end.value
                return message
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

    def close(self) -> None:
        """Close the connections."""
        self._socket.close()
        self._asker.close()
