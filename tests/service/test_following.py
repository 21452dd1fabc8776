"""What a subscriber gives out, whatever is lost on the way: a daemon, its replay socket and the connection played by dice, without sockets."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, cast

import pytest

from quicklook.client.messages import Batch, Message
from quicklook.client.ordering import Answer, Ask, Following, Listen, Order, Request, subscriptions
from quicklook.core.events import Event
from quicklook.core.wire import EventsAnswer, Refusal, State, StateRequest

KINDS = ("verdict", "qa", "heartbeat", "plot")
TOPICS: Sequence[list[str]] = ([""], ["verdict/"], ["verdict/", "plot/r0/a"], ["ver"], ["qa/r0/b", "heartbeat/"])


class Daemon:
    """Publishes events of any kind, is restarted, begins another journal, answers who asks, in parts of any size."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.journals = dice, [list[Event]()]
        self.restart()

    @property
    def epoch(self) -> str:
        return f"epoch {len(self.journals)}"

    @property
    def events(self) -> list[Event]:
        return self.journals[-1]

    def restart(self, *, anew: bool = False) -> None:
        self.since, self.before = 0, dict[str, int]()
        if anew:
            self.journals.append([])

    def publish(self, kind: str = "") -> Message:
        kind, seq = kind or self.dice.choice(KINDS), len(self.events) + 1
        event = Event(epoch=self.epoch, seq=seq, kind=kind, part="r0", payload={"name": self.dice.choice("ab")}, time=seq)
        self.events.append(event)
        self.since = self.since or seq
        message = Message(event=event, since=self.since, before=dict(self.before))
        self.before[kind] = seq
        return message

    def answer(self, request: Request) -> Batch | State:
        last = len(self.events)
        if isinstance(request, StateRequest):
            return State(epoch=self.epoch, seq=last, time=0, tag="live")
        if request.epoch not in (None, self.epoch):
            return Batch(head=EventsAnswer(epoch=self.epoch, through=0, last=last), messages=())
        found = [e for e in self.events if request.after < e.seq <= request.until and (not request.kinds or e.kind in request.kinds)]
        some = found[: self.dice.choice([1, 2, 1000])]
        through = min(request.until, last) if len(some) == len(found) else some[-1].seq
        head = EventsAnswer(epoch=self.epoch, through=max(through, request.after), last=last)
        return Batch(head=head, messages=tuple(Message(event=e, replayed=True) for e in some))


class Listener:
    """A subscriber whose connection loses messages, and whose questions may stay without an answer, as long as `lossy`."""

    def __init__(self, daemon: Daemon, topics: list[str], since: int | str) -> None:
        self.daemon, self.order = daemon, Order(topics, since)
        self.following = Following(self.order, asks=True, replay_timeout_s=1e9)
        self.inbox, self.got, self.lossy = list[Message](), list[Event](), True
        self._topics, self._acts = subscriptions(self.order, True), 0

    def send(self, message: Message) -> None:
        if any(message.event.topic.startswith(t) for t in self._topics) and not (self.lossy and self.daemon.dice.random() < 0.4):
            self.inbox.append(message)

    def receive(self) -> bool:
        acts, answer = self.following.receive(0.5), cast(Any, None)
        while True:
            self._acts += 1
            assert self._acts < 20_000, "it asks without end"
            try:
                act = acts.send(answer)
            except StopIteration as end:
                self.got += [end.value.event] if end.value is not None else []
                return end.value is not None
            answer = self._frames() if isinstance(act, Listen) else self._asked(act.request) if isinstance(act, Ask) else None

    def _frames(self) -> list[bytes] | None:
        if not self.inbox:
            return None
        one = self.inbox.pop(0)
        body = {**one.event.model_dump(mode="json"), "since": one.since, "before": one.before}
        return [one.event.topic.encode(), json.dumps(body).encode()]

    def _asked(self, request: Request) -> Answer:
        told: Answer = self.daemon.answer(request)
        return self.daemon.dice.choice([told, told, Refusal(error="Transient", message="busy"), None]) if self.lossy else told


def night(seed: int, *, anew: bool) -> tuple[Daemon, Listener, int]:
    """Events come, are lost, asked for; at the end all is well, and three heartbeats tell how far things are. Returns also where it began."""
    dice = random.Random(seed)
    daemon = Daemon(dice)
    for _ in range(dice.randrange(10)):
        daemon.publish()
    starts: list[int | str] = [0, 0, "snapshot"]
    listener = Listener(daemon, dice.choice(TOPICS), dice.choice(starts))
    renewed = dice.randrange(10, 60) if anew else -1
    for turn in range(dice.randrange(30, 80)):
        action = "anew" if turn == renewed else dice.choices(["publish", "restart", "receive"], [6, 0.5, 4])[0]
        if action == "publish":
            listener.send(daemon.publish())
        elif action == "receive":
            listener.receive()
        else:
            daemon.restart(anew=action == "anew")
    listener.lossy = False
    for _ in range(3):
        listener.send(daemon.publish("heartbeat"))
    while listener.receive():
        pass
    state = listener.order.state
    return daemon, listener, state.seq if state is not None and state.epoch == daemon.epoch else 0


@pytest.mark.parametrize("anew", [False, True])
def test_everything_once_and_in_order_whatever_is_lost(anew: bool) -> None:
    for seed in range(150):
        daemon, listener, start = night(seed, anew=anew)
        keys = [(e.epoch, e.seq) for e in listener.got]
        assert keys == sorted(set(keys)), seed
        wanted = [e.seq for e in daemon.events if e.seq > start and listener.order.wanted(e.topic)]
        assert [e.seq for e in listener.got if e.epoch == daemon.epoch] == wanted, seed
        assert anew or listener.order.gaps == 0, seed
