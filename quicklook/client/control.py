"""Giving commands to a daemon, and asking for its state."""

from __future__ import annotations

import time
from types import TracebackType

import zmq
from pydantic import ValidationError

from quicklook.client.asking import Asker
from quicklook.client.messages import prepare
from quicklook.core import errors
from quicklook.core.errors import QuicklookError, Transient
from quicklook.core.wire import CommandAnswer, CommandRequest, Refusal, State, StateRequest
from quicklook.io.curvekeys import ClientKeys


class Controller:
    """Gives commands: with a token where the socket is of this machine alone, with keys else. Raises BadConfig where `endpoint` is no address."""

    def __init__(self, endpoint: str, *, token: str = "", keys: ClientKeys | None = None, by: str = "", timeout_s: float = 30.0) -> None:
        self._endpoint, self._token, self._by, self._timeout_s = endpoint, token, by, timeout_s
        self._number = time.time_ns()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        prepare(self._socket, endpoint, keys)

    def send(self, command: str, **args: str) -> CommandAnswer:
        """Give a command, and wait for what comes of it.

        Raises Transient where nothing answers, and what the daemon refuses it with: BadConfig, BadData, NotReadyYet, Transient.
        """
        self._number += 1
        request = CommandRequest(command=command, args=args, by=self._by, token=self._token, id=self._number)
        end = time.monotonic() + self._timeout_s
        sent = self._sent(request.model_dump_json().encode())
        while sent and self._socket.poll(max(0, int(1000 * (end - time.monotonic())))):
            answer = _answer(self._socket.recv_multipart())
            if isinstance(answer, CommandAnswer) and answer.id == self._number:
                return answer
            if isinstance(answer, Refusal) and answer.id == self._number:
                raise _error(answer)
        what_next = "Is the daemon running, and are address and keys right?"
        raise Transient(f"nothing answers at {self._endpoint} within {self._timeout_s:g} s", what_next=what_next)

    def _sent(self, body: bytes) -> bool:
        try:
            self._socket.send(body, zmq.NOBLOCK)
        except zmq.Again:  # turned away: there is no connection, and there will be none
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _answer(frames: list[bytes]) -> CommandAnswer | Refusal | None:
    for kind in (CommandAnswer, Refusal):
        try:
            return kind.model_validate_json(frames[-1])
        except ValidationError:
            continue
    return None


def _error(refusal: Refusal) -> QuicklookError:
    kind = getattr(errors, refusal.error, QuicklookError)
    made = kind if isinstance(kind, type) and issubclass(kind, QuicklookError) else QuicklookError
    return made(refusal.message, what_next=refusal.what_next)


def fetch_state(replay: str, *, units: int = 20, keys: ClientKeys | None = None, timeout_s: float = 5.0) -> State:
    """The state of a daemon, asked at its replay socket. Raises Transient where nothing answers."""
    asker = Asker(replay, keys)
    try:
        answer = asker.ask(StateRequest(id=1, units=units), timeout_s)
    finally:
        asker.close()
    if not isinstance(answer, State):
        said = f": {answer.message}" if isinstance(answer, Refusal) else f" within {timeout_s:g} s"
        raise Transient(f"{replay} does not tell the state of a daemon{said}", what_next="Is the daemon running, and are address and keys right?")
    return answer
