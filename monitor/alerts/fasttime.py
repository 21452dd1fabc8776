"""Housekeeping of the past in fast time: the rules, the machine, the book and the outbox of the daemon, with the time of the changes for a clock."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from monitor.alerts.book import AlarmBook
from monitor.alerts.channels import ChannelConfig
from monitor.alerts.machine import Machine
from monitor.alerts.model import NoticeKind
from monitor.alerts.observing import Observer
from monitor.alerts.outbox import Outbox
from monitor.alerts.rules import Rules, load_rules
from monitor.alerts.standing import Outcome
from monitor.alerts.text import Message, Writer
from quicklook.core.alarm_replay import WouldBeTold, WouldTell
from quicklook.core.document import Document
from quicklook.core.events import Event, HkChanged
from quicklook.core.housekeeping import HkChange
from quicklook.core.severity import Severity

_S = 1_000_000_000
_BEAT_S = 5.0
_AFTER_S = 30.0
"""So long after a change the machine is asked at every beat; then at growing distances, for what waits and what is a digest."""
_LATER_S = (60.0, 150.0, 300.0, 620.0, 1300.0, 3700.0)


class Collected:
    """A channel whose messages arrive at once, and are kept."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    def send(self, message: Message) -> None:
        """Keep it."""
        self.got.append(message)


class FastTime:
    """Registered as `alarms` under `quicklook.monitors`; see `quicklook.core.alarm_replay.AlarmReplay`."""

    def told(self, changes: Sequence[HkChange], rules: Document, *, until: float, least: Severity) -> WouldBeTold:
        """What a channel that is told of all from `least` on would have had. Raises BadConfig."""
        with tempfile.TemporaryDirectory(prefix="quicklook-alarms-") as folder:
            desk = _Desk(load_rules(rules), Path(folder), least)
            try:
                for time, now in _beats(changes, until):
                    desk.take(time, now)
            finally:
                desk.close()
        messages = tuple(_told(m) for m in desk.channel.got)
        standing = tuple(i.key for i in desk.machine.incidents.values() if i.active)
        return WouldBeTold(messages=messages, alarms=dict(desk.begun), standing=standing)


def _beats(changes: Sequence[HkChange], until: float) -> Iterator[tuple[float, list[HkChange]]]:
    """Times in order, with the changes of each second; between, those at which something may become due."""
    turns = [(float(second), list(same)) for second, same in groupby(sorted(changes, key=lambda c: c.time), key=lambda c: int(c.time) + 1)]
    if not turns:
        return
    ends = [t for t, _ in turns[1:]] + [max(until, turns[-1][0]) + _LATER_S[-1] + 1]
    for (time, same), end in zip(turns, ends, strict=True):
        yield time, same
        beats = [_BEAT_S * (1 + i) for i in range(int(_AFTER_S / _BEAT_S))]
        for after in (*beats, *_LATER_S):
            if time + after < end:
                yield time + after, []


class _Desk:
    """As the sink of the daemon, without journal, threads and clock."""

    def __init__(self, rules: Rules, folder: Path, least: Severity) -> None:
        self._rules, self._observer, self._now = rules, Observer(), 0
        self._book, self.channel = AlarmBook(folder / "alarms.sqlite"), Collected()
        handling = {name: h.model_copy(update={"channels": (), "escalate": ()}) for name, h in rules.handling.items()}
        self.machine = Machine(handling, routes={s: ("all",) for s in Severity if s >= least})
        channels = {"all": (ChannelConfig(url="none"), self.channel)}
        self._outbox = Outbox(self._book, channels, Writer(""), lambda: self._now)
        self.begun: Counter[str] = Counter()

    def take(self, time: float, changes: Sequence[HkChange]) -> None:
        """Changes of a moment, and what time it is."""
        self._now = round(time * _S)
        out, before = Outcome(), {i.fingerprint for i in self.machine.incidents.values() if i.fired is not None}
        if changes:
            finite = [replace(c, time=time) for c in changes]
            event = Event(epoch="", seq=1, time=self._now, kind=HkChanged.kind, payload=HkChanged(changes=finite).model_dump(mode="json"))
            for seen in self._observer(event):
                for signal in self._rules.signals(seen):
                    _add(out, self.machine.signal(self._now, signal))
        _add(out, self.machine.tick(self._now))
        self.begun.update(i.key for i in self.machine.incidents.values() if i.fired is not None and i.fingerprint not in before)
        if out.notices or self._book.differs(self.machine.incidents):
            with self._book.transaction() as connection:
                self._book.save(connection, self.machine.incidents, self.machine.mutes)
                self._book.announce(connection, out.notices, self._now)
            self._book.saved(self.machine.incidents, self.machine.mutes)
        self._outbox.turn()

    def close(self) -> None:
        """Let go of the book."""
        self._book.close()


def _add(out: Outcome, more: Outcome) -> None:
    out.changes += more.changes
    out.notices += more.notices


def _told(message: Message) -> WouldTell:
    over = [n for n in message.notices if n.kind is NoticeKind.RESOLVED]
    begun = [n for n in message.notices if n.kind is not NoticeKind.RESOLVED]
    return WouldTell(
        time=message.made / _S,
        subject=message.subject,
        severity=max((n.incident.severity for n in begun), default=Severity.NONE),
        begun=tuple(dict.fromkeys(n.incident.key for n in begun)),
        ended=tuple(dict.fromkeys(n.incident.key for n in over)),
    )
