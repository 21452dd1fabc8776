"""Asking the replay socket: one question at a time, on a connection that is made anew where none was answered."""

from __future__ import annotations

import asyncio
import time

import zmq
import zmq.asyncio

from quicklook.client.messages import Batch, decode_answer, prepare
from quicklook.core.errors import BadData
from quicklook.core.wire import EventsRequest, Refusal, State, StateRequest
from quicklook.io.curvekeys import ClientKeys

_PAUSE_S = 0.2


def own_answer(frames: list[bytes], number: int) -> Batch | State | Refusal | None:
    """The answer, if it is one to the request of this number; that to an earlier one may come late."""
    try:
        answer = decode_answer(frames)
    except BadData:
        return None
    told = answer.head.id if isinstance(answer, Batch) else answer.id
    return answer if told == number else None


class Asker:
    """Asks at an address; nothing is ever answered at ""."""

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._endpoint, self._keys = endpoint, keys
        self._socket: zmq.Socket[bytes] | None = None

    def _connected(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
            prepare(socket, self._endpoint, self._keys)
            self._socket = socket
        return self._socket

    def ask(self, request: EventsRequest | StateRequest, timeout_s: float) -> Batch | State | Refusal | None:
        """The answer; None where there is none in time. Raises BadConfig where the address is none."""
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
            answer = own_answer(socket.recv_multipart(), request.id)
            if answer is not None:
                return answer
        self.close()
        return None

    def close(self) -> None:
        """Close the connection; the next question makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class AsyncAsker:
    """As `Asker`, for asyncio."""

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._endpoint, self._keys = endpoint, keys
        self._socket: zmq.asyncio.Socket | None = None

    def _connected(self) -> zmq.asyncio.Socket:
        if self._socket is None:
            socket = zmq.asyncio.Context.instance().socket(zmq.DEALER)
            prepare(socket, self._endpoint, self._keys)
            self._socket = socket
        return self._socket

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

    def close(self) -> None:
        """Close the connection; the next question makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
