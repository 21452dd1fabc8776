"""The subscriber for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, TypeVar

import zmq
import zmq.asyncio

from quicklook.client.asking import AsyncAsker
from quicklook.client.base import SubscriberBase
from quicklook.client.messages import Message
from quicklook.client.ordering import Act, Ask, Listen
from quicklook.core.wire import State
from quicklook.io.curvekeys import ClientKeys

R = TypeVar("R")


class AsyncSubscriber(SubscriberBase[zmq.asyncio.Socket, AsyncAsker]):
    """As `Subscriber`, for asyncio: ``async with``, ``async for``, ``await receive()``. A `receive` that is cancelled loses nothing."""

    def _new_socket(self) -> zmq.asyncio.Socket:
        return zmq.asyncio.Context.instance().socket(zmq.SUB)

    def _new_asker(self, endpoint: str, keys: ClientKeys | None) -> AsyncAsker:
        return AsyncAsker(endpoint, keys)

    async def snapshot(self, timeout_s: float = 10.0) -> State | None:
        """For a subscriber since "snapshot": the state that it begins with, before any message; None when the time is over."""
        return await self._drive(self._following.snapshot(timeout_s))

    async def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the time is over. What is not an event is left out."""
        return await self._drive(self._following.receive(timeout_s))

    async def _drive(self, acts: Generator[Act, Any, R]) -> R:
        answer: Any = None
        while True:
            try:
                act = acts.send(answer)
            except StopIteration as end:
                result: R = end.value
                return result
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
