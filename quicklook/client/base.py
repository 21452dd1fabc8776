"""What the subscribers for ordinary programs and for asyncio have in common: all but the waiting."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import zmq

from quicklook.client.asking import Asker, AsyncAsker
from quicklook.client.messages import DEFAULT_ENDPOINT, prepare
from quicklook.client.ordering import Following, Order, replay_of, subscriptions
from quicklook.core.wire import State
from quicklook.io.curvekeys import ClientKeys

S = TypeVar("S", bound="zmq.Socket[Any]")
A = TypeVar("A", Asker, AsyncAsker)


class SubscriberBase(ABC, Generic[S, A]):
    """A connection to a daemon, and what it has brought so far. Parameters: see `Subscriber`. Raises BadConfig where `endpoint` is no address."""

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
        self._socket = self._new_socket()
        for topic in subscriptions(self._order, bool(asked_at)):
            self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        prepare(self._socket, endpoint, keys)
        self._asker: A = self._new_asker(asked_at, keys)

    @abstractmethod
    def _new_socket(self) -> S: ...

    @abstractmethod
    def _new_asker(self, endpoint: str, keys: ClientKeys | None) -> A: ...

    @property
    def gaps(self) -> int:
        """Events that were missed for good: at most so many."""
        return self._order.gaps

    @property
    def position(self) -> tuple[str | None, int]:
        """Epoch and number up to which everything has been given out: what `epoch` and `since` go on from."""
        return self._order.epoch, self._order.seq or 0

    @property
    def state(self) -> State | None:
        """The state that a subscriber since "snapshot" has begun with."""
        return self._order.state

    @property
    def silence_s(self) -> float:
        """Seconds since anything was heard of the daemon, or since the beginning. A daemon that lives says something every 5 s; with `replay` "" a
        subscriber of chosen topics does not hear that."""
        return time.monotonic() - self._following.heard_at

    def close(self) -> None:
        """Close the connections."""
        self._socket.close()
        self._asker.close()
