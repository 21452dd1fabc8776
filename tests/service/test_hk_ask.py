"""Housekeeping as it stands now, asked for at the replay socket: by hand, and by `hk watch --remote`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
import zmq
from wire_tools import raw_socket

from quicklook.cli import hkremote
from quicklook.cli.hkremote import RemoteView
from quicklook.core.document import Document
from quicklook.core.events import Heartbeat, HkChanged, draft
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import hk_monitor
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.core.wire import HkRequest
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing import hkvalues
from quicklook.service.publishing.hkvalues import HkValues
from quicklook.service.publishing.publish import ZmqParams, ZmqSink
from quicklook.service.publishing.sinks import SinkThread


class Place:
    """A log that is watched, as a daemon does it: each `look` writes a row."""

    def __init__(self, folder: Path) -> None:
        self.log, self.store, self.file = folder / "HK.csv", folder / "hk.sqlite", folder / "hk.yaml"
        limit = {"name": "temp", "channels": "t", "unit": "degC", "performance": [-1, 1], "survival": [-5, 5], "reason": "R.", "action": "A."}
        self.file.write_text(
            yaml.safe_dump({"sources": {"s": {"plugin": "text", "params": {"path": str(self.log), "scan_s": 0.1}}}, "limits": [limit]})
        )
        self.log.write_text("time,t,word\n")
        self._watch = hk_monitor().watch(Document.from_data(yaml.safe_load(self.file.read_text()), "hk.yaml"), self.store, time.time())

    def look(self, value: float) -> None:
        with self.log.open("a") as f:
            f.write(f"{datetime.now(UTC).isoformat()},{value},on\n")
        end = time.monotonic() + 60
        self._watch.turn(time.time())
        while not any(r.value == value for r in self.rows()) and time.monotonic() < end:
            time.sleep(0.05)
            self._watch.turn(time.time())

    def rows(self) -> Any:
        view = hk_monitor().view(Document.from_data(yaml.safe_load(self.file.read_text()), "hk.yaml"), self.store)
        try:
            return view.rows(time.time())
        finally:
            view.close()

    def close(self) -> None:
        self._watch.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.look(0.5)
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(journal_path(tmp_path), time.time_ns)
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time to publish and to answer; only what is made to look old is old."""
    for name, seconds in (("_FIRST_S", 120.0), ("_ANSWER_S", 60.0), ("_SILENT_S", 1000.0)):
        monkeypatch.setattr(hkremote, name, seconds)


def published(journal: Journal, out: Path, **hk: str) -> SinkThread:
    thread = SinkThread(journal, ZmqSink(ZmqParams(endpoint=f"ipc://{out}/e", settle_s=0.0)), SinkContext(out=str(out), epoch=journal.epoch, **hk))
    thread.ready(60)
    return thread


def ask(socket: Any, request: dict[str, Any]) -> Any:
    socket.send_json(request)
    assert socket.poll(60_000)
    return json.loads(socket.recv_multipart()[0])


def test_who_asks_is_told_how_every_channel_stands(place: Place, journal: Journal, tmp_path: Path) -> None:
    thread = published(journal, tmp_path, hk_config=str(place.file), hk_store=str(place.store))
    try:
        with raw_socket(zmq.REQ, f"ipc://{tmp_path}/e.replay") as socket:
            first = ask(socket, {"ask": "hk", "id": 7})
            assert (first["id"], first["left_out"]) == (7, 0)
            rows = {r["name"]: r for r in first["rows"]}
            assert (rows["t"]["value"], rows["t"]["state"], rows["word"]["text"]) == (0.5, "NORMAL", "on")
            assert rows["t"]["age_s"] < 250
            assert ask(socket, {"ask": "hk", "most": 1})["left_out"] == 1
            for wrong in ({"ask": "hk", "most": 0}, {"ask": "hk", "most": 10**9}, {"ask": "hk", "channels": ["t"]}):
                assert ask(socket, wrong)["error"] == "BadData"
            place.look(9.0)
            time.sleep(1.1)  # so long an answer is kept
            assert ask(socket, {"ask": "hk"})["rows"][0] | {"age_s": 0, "since": 0} == {
                "name": "t", "state": "VIOLATING", "severity": "ALARM", "value": 9.0, "text": "", "unit": "degC", "age_s": 0, "since": 0,
                "limit": "temp: -5 .. 5", "why": "",
            }  # fmt: skip
    finally:
        thread.stop(10)


def test_it_looks_once_a_second_at_most_and_says_what_is_wrong(
    place: Place, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, looks = HkValues(str(place.file), str(place.store)), list[int]()
    look = values._look
    monkeypatch.setattr(values, "_look", lambda: looks.append(1) or look())
    monkeypatch.setattr(hkvalues, "_KEPT_S", 1e6)
    for number in range(50):
        assert values(HkRequest(id=number)).id == number
    assert len(looks) == 1
    values._looked -= 1e6
    assert values(HkRequest(id=7)).id == 7
    assert len(looks) == 2
    monkeypatch.undo()
    thread = published(journal, tmp_path)
    try:
        with raw_socket(zmq.REQ, f"ipc://{tmp_path}/e.replay") as socket:
            assert "watches no housekeeping" in ask(socket, {"ask": "hk"})["message"]
            assert ask(socket, {"ask": "state"})["seq"] == 0, "it goes on"
    finally:
        thread.stop(10)
    place.file.write_text("sources: [")
    place.store.with_name("broken").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    for store in (place.store, place.store.with_name("broken"), place.store.with_name("gone")):
        broken = HkValues(str(place.file), str(store))
        for _ in range(2):
            with pytest.raises(Exception, match=r"hk\.yaml|yet"):
                broken(HkRequest())


@pytest.mark.usefixtures("patient")
def test_a_remote_view_shows_values_that_live_and_what_is_no_channel(
    place: Place, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = published(journal, tmp_path, hk_config=str(place.file), hk_store=str(place.store))
    stopped = HkChange(
        subject="watch", channel="", limit="", kind="watch", state=HkState.VIOLATING, before=HkState.NORMAL, severity=Severity.ALARM,
        time=time.time(), since=time.time(), reason="it hangs",
    )  # fmt: skip
    view = RemoteView(f"ipc://{tmp_path}/e", None, None)
    try:
        journal.append([draft(HkChanged(changes=[stopped])), draft(Heartbeat(waiting=0, running=0, done=0, failed=0))])
        rows = {r.name: r for r in view.rows(time.time())}
        assert (rows["t"].value, rows["t"].limit, rows["watch"].state) == (0.5, "temp: -1 .. 1", "VIOLATING")
        assert "as the daemon knows it" in view.note()
        thread.stop(10)
        monkeypatch.setattr(hkremote, "_ANSWER_S", 0.2)
        view._ask_at, view._had = 0.0, view._had - 2000
        gone = {r.name: r for r in view.rows(time.time())}
        assert set(gone) == {"watch"}, "what is old is not shown as if it were now"
        assert "those of the last change" in view.note()
    finally:
        view.close()
        thread.stop(10)


@pytest.mark.usefixtures("patient")
def test_a_daemon_that_cannot_be_asked_is_shown_by_its_changes(journal: Journal, tmp_path: Path) -> None:
    thread = published(journal, tmp_path)
    change = HkChange(
        subject="t/temp", channel="t", limit="temp", kind="absolute", state=HkState.VIOLATING, before=HkState.NORMAL, severity=Severity.ALARM,
        time=time.time(), since=time.time(), value=9.0, unit="degC",
    )  # fmt: skip
    view = RemoteView(f"ipc://{tmp_path}/e", None, None)
    try:
        journal.append([draft(HkChanged(changes=[change])), draft(Heartbeat(waiting=0, running=0, done=0, failed=0))])
        (row,) = view.rows(time.time())
        assert (row.name, row.value) == ("t/temp", 9.0)
        assert "those of the last change" in view.note()
    finally:
        view.close()
        thread.stop(10)
