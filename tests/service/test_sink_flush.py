"""Sinks that gather what they are given and bring it away in one go: nothing is remembered as taken before it is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from quicklook.core.errors import Transient
from quicklook.core.events import Draft, Event, Heartbeat, draft
from quicklook.core.plugin import NoParams
from quicklook.core.sink import Sink, SinkContext
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing import sinks
from quicklook.service.publishing.sinks import Feeder


class Gathering(Sink[NoParams]):
    """Gathers numbers; `fails` says what the next flushes raise."""

    name = "gathering"

    def open(self, context: SinkContext) -> None:
        self.held: list[int] = []
        self.away: list[list[int]] = getattr(self, "away", [])
        self.fails: list[Exception] = getattr(self, "fails", [])

    def accept(self, event: Event) -> Sequence[Draft]:
        if event.kind == Heartbeat.kind:
            self.held.append(event.seq)
        return []

    def flush(self) -> Sequence[Draft]:
        if self.fails:
            raise self.fails.pop(0)
        if self.held:
            self.away.append(self.held)
        self.held = []
        return []


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    log = Journal(tmp_path / "j.sqlite", time.time_ns)
    log.append([draft(Heartbeat(waiting=i, running=0, done=0, failed=0)) for i in range(5)])
    yield log
    log.close()


def feeder_of(journal: Journal, stop: threading.Event | None = None) -> tuple[Gathering, Feeder]:
    sink = Gathering()
    feeder = Feeder(journal, sink, SinkContext(out=""), stop or threading.Event())
    assert feeder.open()
    return sink, feeder


def test_a_batch_is_brought_away_at_once_and_then_remembered(journal: Journal) -> None:
    sink, feeder = feeder_of(journal)
    assert feeder.feed() == 5
    assert sink.away == [[1, 2, 3, 4, 5]]
    assert journal.position("gathering") == 5


def test_what_cannot_be_brought_away_for_now_is_tried_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_PAUSES_S", (0.01,))
    sink, feeder = feeder_of(journal)
    sink.fails = [Transient("away"), Transient("away")]
    feeder.feed()
    assert sink.away == [[1, 2, 3, 4, 5]]
    assert journal.position("gathering") == 5


def test_what_was_not_brought_away_when_all_stops_comes_again(journal: Journal) -> None:
    stop = threading.Event()
    sink, feeder = feeder_of(journal, stop)
    sink.fails = [Transient("away")] * 100
    stop.set()
    feeder.feed()
    assert journal.position("gathering") == 0
    again, feeder = feeder_of(journal)
    feeder.feed()
    assert again.away == [[1, 2, 3, 4, 5]]


def test_a_fault_of_the_sink_itself_is_told_and_does_not_last(journal: Journal) -> None:
    sink, feeder = feeder_of(journal)
    sink.fails = [ValueError("a fault")]
    feeder.feed()
    assert journal.position("gathering") == 5
    assert [e.kind for e in journal.events(5)] == ["sink_gave_up"]


def test_a_sink_whose_daemon_was_killed_while_its_server_is_away_ends(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_PAUSES_S", (250.0,))
    sink, feeder = feeder_of(journal)
    sink.fails = [Transient("away")] * 1000
    begun = time.monotonic()
    feeder.run(alive=lambda: time.monotonic() - begun < 0.5)
    assert time.monotonic() - begun < 200.0, "it has waited for the end of its pause"
    assert journal.position("gathering") == 0
