"""In order, without gap, without duplicate: what to ask for before a message may be given out. No input or output here."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

from quicklook.client.messages import Batch, Message, decode
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Heartbeat
from quicklook.core.wire import MAX_SEQ, EventsRequest, Refusal, State, StateRequest, replay_endpoint

log = logging.getLogger("quicklook.client")

_PAUSE_S = 0.2
Request = EventsRequest | StateRequest
Answer = Batch | State | Refusal | None


class Order:
    """How far a subscriber is: everything that it wants up to number `seq` of the journal `epoch` has been given out.

    `gaps` counts events that were missed for good: at most so many.
    """

    def __init__(self, topics: Iterable[str], since: int | str, epoch: str | None = None, *, attachments: bool = True) -> None:
        if since not in ("now", "snapshot") and not (isinstance(since, int) and 0 <= since <= MAX_SEQ):
            raise BadConfig(f"since={since!r}: write now, snapshot, or the number of the last event that you have", what_next="Write one of these.")
        self.topics = tuple(topics)
        named = ["/" in topic for topic in self.topics]
        self.kinds = tuple(dict.fromkeys(t.partition("/")[0] for t in self.topics)) if named and all(named) else ()
        self.epoch, self.gaps = epoch, 0
        self.state: State | None = None
        self.seq: int | None = since if isinstance(since, int) else None
        self._former: tuple[str, int] | None = None
        self._joining, self._attachments, self._number = since != "now", attachments, 0

    def wanted(self, topic: str) -> bool:
        """Whether events of this topic were subscribed to."""
        return any(topic.startswith(t) for t in self.topics)

    def _wants_of(self, kind: str) -> bool:
        start = f"{kind}/"
        return any(start.startswith(t) or t.startswith(start) for t in self.topics)

    def request(self, live: Message | None) -> Request | None:
        """What is to be asked before a live message may be given out, or before anything may."""
        self._number += 1
        if self._joining:
            return StateRequest(id=self._number) if self.seq is None else self._events(self.epoch, self.seq, MAX_SEQ)
        if live is None or ((last := self._last_before(live)) <= (self.seq or 0) and self._former is None):
            return None
        return self._events(self.epoch, self.seq or 0, last)

    def _events(self, epoch: str | None, after: int, until: int) -> EventsRequest:
        return EventsRequest(id=self._number, epoch=epoch, after=after, until=until, kinds=list(self.kinds), attachments=self._attachments)

    def _last_before(self, live: Message) -> int:
        """The number of the last wanted event before a live one, as far as that is known. What is of another journal begins anew."""
        event = live.event
        if self.epoch != event.epoch:
            self._former = (self.epoch, self.seq or 0) if self.epoch is not None else None
            self.seq = event.seq - 1 if self.epoch is None and self.seq is None else self.seq if self.epoch is None else 0
            self.epoch = event.epoch
        if live.before is None:
            return event.seq - 1 if "" in self.topics else 0
        told = [seq for kind, seq in live.before.items() if self._wants_of(kind)]
        return min(event.seq - 1, max([(live.since or 1) - 1, *told]))

    def answered(self, answer: Batch | State) -> list[Message]:
        """Messages to be given out, in order, of an answer to the last request."""
        if isinstance(answer, State):
            self.state, self.epoch, self.seq, self._joining = answer, answer.epoch, answer.seq, False
            return []
        head, after = answer.head, self.seq or 0
        if self._joining and (head.epoch != (self.epoch or head.epoch) or after > head.last):
            log.warning("the journal is another one than the one that was known: its events are given from the first on")
            self.epoch, self.seq = head.epoch, 0
            return []
        if head.epoch != self.epoch and not self._joining:
            why = "the replay socket has another journal than the one that this was published from: it was begun anew, or is of another daemon"
            raise BadData(why, what_next="Name the replay socket of this daemon.")
        self.epoch, self.seq, self._former = head.epoch, max(after, head.through), None
        self._joining = self._joining and head.through < head.last
        return [m for m in answer.messages if m.event.seq > after and self.wanted(m.event.topic)]

    def is_late(self, answer: Batch) -> bool:
        """Whether the last live message is of a journal that was left for the present one: it waited here meanwhile. As before it came, then."""
        if self._former is None or self._former[0] != answer.head.epoch:
            return False
        (self.epoch, self.seq), self._former = self._former, None
        self.gaps += 1
        return True

    def take(self, live: Message) -> bool:
        """Whether to give out a live message that nothing is to be asked for any more."""
        event = live.event
        if event.epoch == self.epoch and event.seq <= (self.seq or 0):
            return False
        self.seq = event.seq
        return self.wanted(event.topic)

    def give_up(self, live: Message) -> None:
        """What was missed before a live message cannot be had."""
        missed = self._last_before(live) - (self.seq or 0)
        log.warning("%d events before number %d were missed and the replay socket does not give them", missed, live.event.seq)
        self.gaps += missed
        self.seq, self._former = live.event.seq - 1, None


@dataclass(frozen=True, slots=True)
class Listen:
    """Wait for a live message, so many seconds at most (None: for ever). Answered with its frames, or None."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the replay socket, and wait so many seconds at most. Answered with the answer, or None."""

    request: Request
    seconds: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing for so many seconds."""

    seconds: float


Act = Listen | Ask | Rest


class Following:
    """What both subscribers do, as a generator of acts: those who have sockets do them, each in its way. `heard_at`: `time.monotonic()`."""

    def __init__(self, order: Order, *, asks: bool, replay_timeout_s: float) -> None:
        self.order, self._asks, self._timeout_s = order, asks, replay_timeout_s
        self._ready: deque[Message] = deque()
        self._live: Message | None = None
        self._asking_since: float | None = None
        self.heard_at = time.monotonic()

    def snapshot(self, timeout_s: float) -> Generator[Act, Any, State | None]:
        """The state that a subscriber since "snapshot" begins with; None when the time is over."""
        end = time.monotonic() + timeout_s
        while isinstance(request := self.order.request(None), StateRequest) and time.monotonic() < end:
            answer = yield Ask(request, min(1.0, timeout_s))
            if isinstance(answer, State):
                self.heard_at = time.monotonic()
                self.order.answered(answer)
        return self.order.state

    def receive(self, timeout_s: float | None) -> Generator[Act, Any, Message | None]:
        """The next message; None when the time is over. Nothing is lost where it is not carried to its end."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self._ready:
                return self._ready.popleft()
            left = None if end is None else max(0.0, end - time.monotonic())
            request = self.order.request(self._live)
            if request is not None:
                if left == 0.0 and self._asking_since is not None:
                    return None  # asked at least once, whatever the time
                yield from self._catch_up(request, left)
            elif self._live is not None:
                message, self._live = self._live, None
                if self.order.take(message):
                    return message
            else:
                frames = yield Listen(left)
                if frames is None:
                    return None
                self.heard_at = time.monotonic()
                self._live = _message(frames)

    def _catch_up(self, request: Request, left: float | None) -> Generator[Act, Any, None]:
        since = self._asking_since = self._asking_since or time.monotonic()
        answer: Answer = None
        if self._asks:
            answer = yield Ask(request, max(0.05, self._timeout_s if left is None else min(left, self._timeout_s)))
            self.heard_at = self.heard_at if answer is None else time.monotonic()
        try:
            if answer is not None and not isinstance(answer, Refusal):
                before = (self.order.epoch, self.order.seq)
                self._ready += self.order.answered(answer)
                self._asking_since = None if (self.order.epoch, self.order.seq) != before or isinstance(answer, State) else self._asking_since
                return
        except BadData as error:  # the journal that it was missed in is gone: it will not be told a second time
            log.warning("%s", error)
            if isinstance(answer, Batch) and self.order.is_late(answer):
                self._live = self._asking_since = None
                return
            since = -math.inf
        if self._live is not None and (not self._asks or time.monotonic() - since > self._timeout_s):
            self.order.give_up(self._live)
            self._asking_since = None
        elif isinstance(answer, Refusal):
            log.debug("the replay socket refuses: %s", answer.message)
            yield Rest(_PAUSE_S)


def _message(frames: list[bytes]) -> Message | None:
    """What is not an event is left out."""
    try:
        return decode(frames)
    except BadData:
        return None


def replay_of(endpoint: str, replay: str | None, since: int | str) -> str:
    """The address of the replay socket, "" for none. Raises BadConfig where it is needed."""
    if replay == "" and since != "now":
        raise BadConfig(f"since={since!r} needs the replay socket", what_next="Name it, or start from now.")
    if replay is not None:
        return replay
    try:
        return replay_endpoint(endpoint)
    except BadConfig:
        return ""  # connecting says what is wrong with the address itself


def subscriptions(order: Order, asks: bool) -> list[str]:
    """What is subscribed to at the socket: whole kinds, for each event says what was before it by kind; heartbeats show that nothing is missed."""
    topics = [f"{kind}/" for kind in order.kinds] or list(order.topics)
    return list(dict.fromkeys([*topics, f"{Heartbeat.kind}/"])) if asks else topics
