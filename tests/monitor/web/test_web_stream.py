"""Events to pages as they come: in order, each once, resumed, and dropped where a page does not keep up."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from web_host import Served, Writer, serving, web_site

from monitor.web import stream as streaming
from quicklook.core.status import Status
from quicklook.service.hosting.host import JournalHost


class Listener:
    """A page that listens."""

    def __init__(self, served: Served, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        self._connection.request("GET", f"/api/v1/stream{query}", headers=headers)
        self.answer = self._connection.getresponse()
        self._rest = b""

    def next(self) -> dict[str, Any]:
        """The next piece: its fields."""
        while b"\n\n" not in self._rest:
            piece = self.answer.read1(65536)
            if not piece:
                raise EOFError
            self._rest += piece
        block, self._rest = self._rest.split(b"\n\n", 1)
        fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line)
        return {**fields, "data": json.loads(fields["data"])} if "data" in fields else fields

    def event(self) -> dict[str, Any]:
        """The next event of the journal."""
        while True:
            got = self.next()
            if "id" in got:
                return got["data"]
            if got.get("event") == "reset":
                raise EOFError("reset")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def listening(served: Served, query: str = "", **headers: str) -> Iterator[Listener]:
    listener = Listener(served, query, **headers)
    try:
        yield listener
    finally:
        listener.close()


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    (tmp_path / "out").mkdir()
    return Writer(web_site(tmp_path))


def test_what_happens_is_seen_within_a_moment(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.web.stream._ASLEEP_S", 3600.0)  # so often it is looked while nobody listens
    monkeypatch.setattr("monitor.web.stream.BEAT_S", 3600.0)
    writer.beat()
    with serving(writer.site) as served, listening(served) as page:
        assert page.answer.headers["content-type"].startswith("text/event-stream")
        page.next()
        page.next()  # hello
        for n in range(5):
            writer.beat(done=n)
            assert page.event()["payload"]["done"] == n


def test_who_listens_before_the_first_look_at_the_journal_is_not_sent_back(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = JournalHost.last_seq

    def slow(host: JournalHost) -> int:
        if threading.current_thread().name == "events":
            time.sleep(0.7)
        return plain(host)

    monkeypatch.setattr(JournalHost, "last_seq", slow)
    writer.beat()
    with serving(writer.site) as served, listening(served) as page:
        page.next()
        page.next()  # hello
        writer.beat(done=7)
        assert page.event()["payload"]["done"] == 7


def test_all_events_in_order_each_once(writer: Writer) -> None:
    writer.expose(1)
    with serving(writer.site) as served, listening(served, "?after=0") as page:
        writer.expose(2)
        last = writer.journal.last_seq()
        got = [page.event() for _ in range(last)]
        assert [e["seq"] for e in got] == list(range(1, last + 1))
        qa = next(e for e in got if e["kind"] == "qa")
        assert qa["payload"]["status"] == "NORMAL"
        assert "metrics" not in qa["payload"], "metrics may be megabytes: they are asked for"


def test_a_page_goes_on_where_it_was(writer: Writer) -> None:
    writer.expose(1)
    with serving(writer.site) as served:
        for page in (Listener(served, **{"Last-Event-ID": "3"}), Listener(served, "?after=3")):
            assert page.event()["seq"] == 4
            page.close()
        with listening(served, "?after=0&kinds=unit_verdict") as page:
            assert page.event()["kind"] == "unit_verdict"


def test_a_number_of_another_journal_is_told(writer: Writer) -> None:
    writer.beat()
    with serving(writer.site) as served:
        for query in ("?after=999", "?after=0&epoch=another"):
            with listening(served, query) as page, pytest.raises(EOFError):
                page.event()


def test_who_has_missed_too_much_begins_anew(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_MOST_CAUGHT_UP", 5)
    for _ in range(7):
        writer.beat()
    with serving(writer.site) as served, listening(served, "?after=0") as page, pytest.raises(EOFError, match="reset"):
        page.event()


@pytest.mark.parametrize("query", ["?after=x", "?after=-1", "?after=" + "9" * 30])
def test_what_is_no_number_is_refused(writer: Writer, query: str) -> None:
    writer.beat()
    with serving(writer.site) as served, listening(served, query) as page:
        assert page.answer.status == 400


def test_a_page_that_does_not_read_is_dropped_and_others_hear_all(writer: Writer) -> None:
    """Its queue is bounded: it gets nothing more but that it is to begin anew."""

    async def story() -> None:
        slow, quick = streaming._Listener(frozenset()), streaming._Listener(frozenset())
        piece = streaming.piece_of(writer.journal.events(0)[0])
        taken = 0
        for _ in range(streaming._QUEUE + 50):
            for listener in (slow, quick):
                listener.put([piece])
            while not quick.queue.empty():
                taken += len(quick.queue.get_nowait() or ())
        assert taken == streaming._QUEUE + 50
        assert slow.lost
        assert slow.queue.qsize() == 1
        assert slow.queue.get_nowait() is None

    writer.expose(1)
    asyncio.run(story())


def test_the_stream_says_that_the_server_lives(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BEAT_S", 0.2)
    writer.beat()
    with serving(writer.site) as served, listening(served) as page:
        page.next()
        assert page.next()["event"] == "hello"
        beat = page.next()
        assert beat["event"] == "beat"
        assert abs(beat["data"]["server_time"] / 1e9 - time.time()) < 60


def test_pages_hear_of_a_journal_that_comes_later(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    site = web_site(tmp_path)
    with serving(site) as served, listening(served) as page:
        writer = Writer(site)
        writer.expose(1, Status.WARNING)
        with pytest.raises(EOFError, match="reset"):
            for _ in range(100):
                page.event()
