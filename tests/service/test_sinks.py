"""Feeding sinks: positions, stopping, threads that end; what is refused before anything runs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from pydantic import Field

from monitor.stores.files import FileSink
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Event, Heartbeat, PlotDrawn, Receipt, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.sink import Sink, SinkContext
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing.sinks import Feeder, SinkThread, make_sink


class ListParams(Params):
    """Parameters of the list."""

    slow_s: float = Field(0.0, description="time an event takes")


class ListSink(Sink[ListParams]):
    """Keeps what it is given."""

    name = "list"

    def open(self, context: SinkContext) -> None:
        self.taken: list[int] = getattr(self, "taken", [])

    def accept(self, event: Event):
        time.sleep(self.params.slow_s)
        self.taken.append(event.seq)
        return []


@pytest.fixture
def journal(tmp_path):
    log = Journal(tmp_path / "j.sqlite", time.time_ns)
    yield log
    log.close()


def beats(journal: Journal, n: int) -> None:
    journal.append([draft(Heartbeat(waiting=i, running=0, done=0, failed=0)) for i in range(n)])


def wait_for(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < end:
        time.sleep(0.01)
    return holds


CONTEXT = SinkContext(out=".")


def test_what_was_taken_is_remembered_though_everything_stops_in_the_middle(journal):
    beats(journal, 50)
    stop, sink = threading.Event(), ListSink()

    class Stopping(ListSink):
        def accept(self, event: Event):
            if event.seq == 7:
                stop.set()
            return super().accept(event)

    sink = Stopping()
    feeder = Feeder(journal, sink, CONTEXT, stop)
    feeder.run(rest_s=0)
    assert sink.taken == list(range(1, 8))
    assert journal.position("list") == 7


def test_stop_gives_a_thread_the_rest(journal, monkeypatch):
    monkeypatch.setattr("quicklook.service.publishing.sinks._REST_S", 60.0)
    sink = ListSink(ListParams(slow_s=0.02))
    thread = SinkThread(journal, sink, CONTEXT)
    thread.ready(60)
    beats(journal, 30)
    assert wait_for(lambda: sink.taken)
    thread.stop(60)
    assert sink.taken == list(range(1, 31))
    assert journal.position("list") == 30


def test_a_journal_that_is_away_is_waited_for_and_nothing_is_given_twice(journal, monkeypatch):
    monkeypatch.setattr("quicklook.service.publishing.sinks._PAUSES_S", (0.01,))
    real, failing = journal.advance, [5]

    def advance(*args):
        if failing[0]:
            failing[0] -= 1
            raise Transient("the journal cannot be used now: database or disk is full")
        return real(*args)

    monkeypatch.setattr(journal, "advance", advance)
    beats(journal, 10)
    sink = ListSink()
    thread = SinkThread(journal, sink, CONTEXT)
    assert wait_for(lambda: journal.position("list") == 10)
    thread.stop(60)
    assert sink.taken == list(range(1, 11))


def test_a_thread_that_ended_is_started_again_where_it_was(journal, monkeypatch):
    beats(journal, 3)
    sink = ListSink()
    thread = SinkThread(journal, sink, CONTEXT)
    assert wait_for(lambda: journal.position("list") == 3)
    with monkeypatch.context() as patch:
        patch.setattr(Feeder, "feed", lambda self, limit: 1 / 0)
        assert wait_for(lambda: not thread._thread.is_alive())
    beats(journal, 2)
    thread.check()
    assert wait_for(lambda: journal.position("list") == 5)
    thread.stop(60)
    assert sink.taken == [1, 2, 3, 4, 5]


SITE = """\
instrument: desi
sinks:
  files: {}
  zmq:
    endpoint: ENDPOINT
"""


@pytest.mark.parametrize("endpoint", ["tcp://*:5556", "tcp://0.0.0.0:5556", "tcp://127.0.0.1", "tcp://localhost:port", "http://127.0.0.1:1", "nonsense"])
def test_an_address_that_cannot_be_is_refused_by_configuration_alone(endpoint):
    doc = parse_yaml(SITE.replace("ENDPOINT", f'"{endpoint}"'), "my-site.yaml")
    with pytest.raises(BadConfig, match=r"my-site.yaml:4 \(sinks.zmq\): "):
        make_sink("zmq", doc.get(("sinks", "zmq")), doc)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5556", "tcp://127.0.0.1:*", "tcp://localhost:1", "tcp://[::1]:5556", "ipc:///tmp/x", "ipc://x", "inproc://a"])
def test_an_address_on_this_machine_is_taken(endpoint):
    assert make_sink("zmq", {"endpoint": endpoint}).params.endpoint == endpoint


def test_mistakes_in_sinks_have_file_and_line():
    doc = parse_yaml("instrument: desi\nsinks:\n  zmq:\n    endpint: x\n  fils: {}\n", "my-site.yaml")
    with pytest.raises(BadConfig, match=r"my-site.yaml:4 \(sinks.zmq.endpint\): unknown key"):
        make_sink("zmq", doc.get(("sinks", "zmq")), doc)
    with pytest.raises(BadConfig, match=r"my-site.yaml:5 \(sinks.fils\): no sink is called 'fils'; did you mean 'files'"):
        make_sink("fils", {}, doc)
    with pytest.raises(BadConfig, match="sink zmq"):
        make_sink("zmq", {"endpint": "x"})
    assert isinstance(doc, Document)


def test_the_verdict_of_an_exposure_is_that_of_its_latest_revision(tmp_path):
    sink, unit = FileSink(), Unit(20220101, 7)
    sink.open(SinkContext(out=str(tmp_path)))

    def tell(payload, revision: int) -> None:
        sink.accept(Event(**draft(payload, unit=unit, revision=revision).model_dump(), epoch="", seq=1, time=1))

    for revision, status in ((1, Status.NORMAL), (0, Status.ALARM)):
        tell(UnitDone(night=20220101, expid=7, tag="live", revision=revision, status=status, reasons=[], parts={}), revision)
        tell(Receipt(times={"verdict": 20, "seen": 10}, seconds_to_verdict=1.0), revision)
    folder: Path = tmp_path / "live/exposures/20220101/00000007"
    assert '"NORMAL"' in (folder / "verdict.json").read_text()
    assert '"ALARM"' in (folder / "verdict.rev0.json").read_text()
    assert '"revision": 1' in (folder / "receipt.json").read_text()
    assert '"revision": 0' in (folder / "receipt.rev0.json").read_text()
    text = (folder / "receipt.json").read_text()
    assert text.index('"seen"') < text.index('"verdict"')
    # a person changes the verdict: that has no receipt of its own, and what is drawn for it takes away none
    tell(UnitDone(night=20220101, expid=7, tag="live", revision=2, status=Status.WARNING, reasons=[], parts={}), 2)
    tell(PlotDrawn(name="contact", path="contact.png", sha256="", size=1), 2)
    assert '"WARNING"' in (folder / "verdict.json").read_text()
    assert '"revision": 1' in (folder / "receipt.json").read_text()
    tell(Receipt(times={"verdict": 30, "seen": 10}, seconds_to_verdict=2.0), 3)
    assert '"revision": 3' in (folder / "receipt.json").read_text()
    assert '"revision": 1' in (folder / "receipt.rev1.json").read_text()
