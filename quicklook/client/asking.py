"""Asking the replay socket: one question at a time, on a connection that is made anew where none was answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import zmq
import zmq.asyncio
from pydantic import ValidationError

from quicklook.client.messages import Batch, decode_answer, prepare
from quicklook.core.errors import BadData
from quicklook.core.wire import EventsRequest, HkNow, HkRequest, Refusal, Request, State, StateRequest
from quicklook.io.curvekeys import ClientKeys

_PAUSE_S = 0.2
S = TypeVar("S", bound="zmq.Socket[Any]")
A = TypeVar("A")


def own_answer(frames: list[bytes], number: int) -> Batch | State | Refusal | None:
    """The answer, if it is one to the request of this number; that to an earlier one may come late."""
    try:
        answer = decode_answer(frames)
    except BadData:
        return None
    told = answer.head.id if isinstance(answer, Batch) else answer.id
    return answer if told == number else None


def _own_hk(frames: list[bytes], number: int) -> HkNow | Refusal | None:
    for kind in (HkNow, Refusal):
        try:
            answer = kind.model_validate_json(frames[0] if frames else b"")
        except ValidationError:
            continue
        if answer.id in (number, 0):  # a daemon of before does not know the question, nor then its number
            return answer
    return None


class _Connection(Generic[S]):
    """A socket that is made, of `_context`, when it is asked for; nothing is ever answered at the address ""."""

    _context: type[zmq.Context[Any]]

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._endpoint, self._keys = endpoint, keys
        self._socket: S | None = None

    def _connected(self) -> S:
        if self._socket is None:
            socket: S = self._context.instance().socket(zmq.DEALER)
            prepare(socket, self._endpoint, self._keys)
            self._socket = socket
        return self._socket

    def close(self) -> None:
        """Close the connection; the next question makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Asker(_Connection["zmq.Socket[bytes]"]):
    """Asks at an address."""

    _context = zmq.Context

    def ask(self, request: EventsRequest | StateRequest, timeout_s: float) -> Batch | State | Refusal | None:
        """The answer; None where there is none in time. Raises BadConfig where the address is none."""
        return self._answer(request, timeout_s, own_answer)

    def hk(self, request: HkRequest, timeout_s: float) -> HkNow | Refusal | None:
        """Housekeeping as it stands now, likewise."""
        return self._answer(request, timeout_s, _own_hk)

    def _answer(self, request: Request, timeout_s: float, own: Callable[[list[bytes], int], A]) -> A | None:
        if not self._endpoint:
            return None
        socket, end = self._connected(), time.monotonic() + timeout_s
        try:
            socket.send(request.model_dump_json().encode(), zmq.NOBLOCK)
        except zmq.Again:  # turned away: there is no connection, and there will be none
            self.close()
            time.sleep(min(timeout_s, _PAUSE_S))
            return None
        while socket.poll(max(0, int(1000 * (end - time.monotonic())))):
            answer = own(socket.recv_multipart(), request.id)
            if answer is not None:
                return answer
        self.close()
        return None


class AsyncAsker(_Connection[zmq.asyncio.Socket]):
    """As `Asker`, for asyncio."""

    _context = zmq.asyncio.Context

    async def ask(self, request: EventsRequest | StateRequest, timeout_s: float) -> Batch | State | Refusal | None:
        """The answer; None where there is none in time. Raises BadConfig where the address is none."""
        if not self._endpoint:
            return None
        socket, end = self._connected(), time.monotonic() + timeout_s
        try:
            await socket.send(request.model_dump_json().encode(), zmq.NOBLOCK)
        except zmq.Again:
            self.close()
            await asyncio.sleep(min(timeout_s, _PAUSE_S))
            return None
        while await socket.poll(max(0, int(1000 * (end - time.monotonic())))):
            answer = own_answer(await socket.recv_multipart(), request.id)
            if answer is not None:
                return answer
        self.close()
        return None
