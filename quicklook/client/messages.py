"""Messages as they come, and sockets as a client opens them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import zmq
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Event, Payload
from quicklook.core.wire import EventsAnswer, Published, Refusal, State
from quicklook.io.curvekeys import ClientKeys

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
_KEPT = 2000
"""Messages that wait to be received; what does not find room is asked for again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event as it was received, with its attachments (the PNG of a ``plot`` event).

    `before` and `since` are those of `Published`, where they were told. `replayed`: it was missed, and asked for.
    """

    event: Event
    attachments: tuple[bytes, ...] = ()
    since: int | None = None
    before: dict[str, int] | None = None
    replayed: bool = False

    @property
    def payload(self) -> Payload:
        """The payload as its record. Raises as `Event.typed` does."""
        return self.event.typed()


def decode(frames: list[bytes]) -> Message:
    """A message from its frames. Raises BadData for what no daemon has sent."""
    if len(frames) < 2:
        raise BadData(f"a message has a topic and an event, this one has {len(frames)} frames")
    try:
        told = Published.model_validate_json(frames[1])
    except ValidationError as error:
        raise BadData(f"not an event of a quick-look daemon: {error.error_count()} fields are wrong") from error
    return Message(event=told.event(), attachments=tuple(frames[2:]), since=told.since, before=told.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """An answer of the replay socket: its head, and the messages that came with it."""

    head: EventsAnswer
    messages: tuple[Message, ...]


def decode_answer(frames: list[bytes]) -> Batch | State | Refusal:
    """An answer of the replay socket from its frames. Raises BadData for what is none."""
    for kind in (EventsAnswer, State, Refusal):
        try:
            head = kind.model_validate_json(frames[0] if frames else b"")
        except ValidationError:
            continue
        return _batch(head, frames[1:]) if isinstance(head, EventsAnswer) else head
    raise BadData("this is no answer of the replay socket of a quick-look daemon")


def _batch(head: EventsAnswer, frames: list[bytes]) -> Batch:
    messages, at = [], 0
    for count in head.attachments:
        if count < 0 or at + count >= len(frames):
            raise BadData("an answer of the replay socket has fewer frames than it says")
        try:
            event = Event.model_validate_json(frames[at])
        except ValidationError as error:
            raise BadData("the replay socket has sent something that is no event") from error
        messages.append(Message(event=event, attachments=tuple(frames[at + 1 : at + 1 + count]), replayed=True))
        at += 1 + count
    return Batch(head=head, messages=tuple(messages))


def prepare(socket: zmq.Socket[Any], endpoint: str, keys: ClientKeys | None) -> None:
    """Set up a socket of a client and connect it; it is closed where `endpoint` is no address, and BadConfig raised."""
    options = {zmq.LINGER: 0, zmq.RCVHWM: _KEPT, zmq.RECONNECT_IVL_MAX: 2000}
    # no HEARTBEAT_IVL: with it libzmq 4.3.5 ends the process of a client that is slow (libzmq issues 3937, 4767)
    options |= {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 20, zmq.TCP_KEEPALIVE_INTVL: 5, zmq.TCP_KEEPALIVE_CNT: 4}
    for option, value in options.items():
        socket.setsockopt(option, value)
    if endpoint.startswith("tcp://["):
        socket.setsockopt(zmq.IPV6, 1)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = keys.own.public.encode(), keys.own.secret.encode()
        socket.curve_serverkey = keys.server.encode()
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise BadConfig(f"{endpoint!r} is no address", what_next="Write tcp://HOST:PORT.") from error
