"""The subscriber for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any

import zmq
import zmq.asyncio

from quicklook.client.asking import AsyncAsker
from quicklook.client.messages import DEFAULT_ENDPOINT, Message, prepare
from quicklook.client.ordering import Act, Ask, Following, Listen, Order, Progress, replay_of, subscriptions
from quicklook.core.wire import State, StateRequest
from quicklook.io.curvekeys import ClientKeys


class AsyncSubscriber(Progress):
    """As `Subscriber`, for asyncio: ``async with``, ``async for``, ``await receive()``. A `receive` that is cancelled loses nothing."""

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
        self._socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
        for topic in subscriptions(self._order, bool(asked_at)):
            self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        prepare(self._socket, endpoint, keys)
        self._asker = AsyncAsker(asked_at, keys)

    async def snapshot(self, timeout_s: float = 10.0) -> State | None:
        """For a subscriber since "snapshot": the state that it begins with, before any message; None when the time is over."""
        end = time.monotonic() + timeout_s
        while isinstance(request := self._order.request(None), StateRequest) and time.monotonic() < end:
            answer = await self._asker.ask(request, min(1.0, timeout_s))
            if isinstance(answer, State):
                self._order.answered(answer)
        return self._order.state

    async def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the time is over. What is not an event is left out."""
        acts = self._following.receive(timeout_s)
        answer: Any = None
        while True:
            try:
                act = acts.send(answer)
            except StopIteration as end:
                message: Message | None = end.value
                return message
            answer = await self._do(act)

    async def _do(self, act: Act) -> Any:
        if isinstance(act, Ask):
            return await self._asker.ask(act.request, act.seconds)
        if isinstance(act, Listen):
            ready = await self._socket.poll(None if act.seconds is None else int(1000 * act.seconds))
            return await self._socket.recv_multipart() if ready else None
        await asyncio.sleep(act.seconds)
        return None

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive(self._timeout_s)) is not None:
            yield message

    async def __aenter__(self) -> AsyncSubscriber:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._socket.close()
        self._asker.close()
