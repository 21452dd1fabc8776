"""The journal: numbers without gaps, whoever writes; positions of sinks; what it refuses."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Heartbeat, draft
from quicklook.service.journal.journal import Journal, daemon_lives, journal_path, lock_path, take_lock


def beat(waiting: int = 0):
    return draft(Heartbeat(workers=1, waiting=waiting, running=0, done=0, failed=0))


def write_many(path: Path, n: int) -> None:
    journal = Journal(path, time.time_ns)
    for i in range(n):
        journal.append([beat(i)])
    journal.close()


def test_numbers_start_at_one_and_have_no_gap(tmp_path):
    journal = Journal(tmp_path / "j.sqlite", lambda: 5)
    journal.append([beat(1), beat(2)])
    journal.append([])
    journal.append([beat(3)])
    events = journal.events()
    assert [e.seq for e in events] == [1, 2, 3]
    assert [e.payload["waiting"] for e in events] == [1, 2, 3]
    assert {e.epoch for e in events} == {journal.epoch}
    assert {e.time for e in events} == {5}


def test_epoch_and_events_survive_closing(tmp_path):
    first = Journal(tmp_path / "j.sqlite", time.time_ns)
    first.append([beat()])
    first.close()
    again = Journal(tmp_path / "j.sqlite", time.time_ns)
    assert again.epoch == first.epoch
    assert [e.seq for e in again.events()] == [1]
    assert again.append([beat()])[0].seq == 2


def test_three_processes_append_without_gap_or_double(tmp_path):
    path = tmp_path / "j.sqlite"
    Journal(path, time.time_ns).close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(path, 40)) for _ in range(3)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(60)
        assert w.exitcode == 0
    assert [e.seq for e in Journal(path, time.time_ns).events()] == list(range(1, 121))


def test_a_failed_transaction_leaves_no_number_behind(tmp_path):
    journal = Journal(tmp_path / "j.sqlite", time.time_ns)
    with pytest.raises(RuntimeError), journal.transaction() as connection:
        journal.append([beat()], connection)
        raise RuntimeError("power cut")
    assert journal.last_seq() == 0
    assert journal.append([beat()])[0].seq == 1


def test_positions_advance_with_the_answers(tmp_path):
    journal = Journal(tmp_path / "j.sqlite", time.time_ns)
    journal.append([beat()])
    assert journal.position("web") == 0
    answers = journal.advance("web", 1, [beat(7)])
    assert journal.position("web") == 1
    assert [e.seq for e in answers] == [2]


def test_kinds_and_limit(tmp_path):
    journal = Journal(None, time.time_ns)
    journal.append([beat(i) for i in range(5)])
    assert len(journal.events(limit=2)) == 2
    assert journal.events(kinds=("verdict",)) == []
    assert [e.seq for e in journal.events(after=3)] == [4, 5]


def test_what_is_no_journal_is_refused_with_its_name(tmp_path):
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"this is no database, and long enough to be read as a header of one" * 40)
    with pytest.raises(BadConfig, match=r"j\.sqlite"):
        Journal(path, time.time_ns)


def test_a_newer_journal_is_refused(tmp_path):
    path = tmp_path / "j.sqlite"
    journal = Journal(path, time.time_ns)
    with journal.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value='99' WHERE key='schema_version'")
    journal.close()
    with pytest.raises(BadConfig, match="99"):
        Journal(path, time.time_ns)


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("may_write", [True, False])
def test_who_only_reads_leaves_the_file_as_it_is(tmp_path, monkeypatch, may_write):
    path = journal_path(tmp_path)
    own = Journal(path, time.time_ns)
    own.append([draft(beat())])
    if not may_write:
        own.close()
        monkeypatch.setattr("os.access", lambda *_: False)
    before = files_of(tmp_path)
    reader = Journal(path, time.time_ns, to_read=True)
    assert (reader.epoch, reader.last_seq()) == (own.epoch, 1)
    with pytest.raises(Transient, match="readonly"):
        reader.append([draft(beat())])
    if may_write:
        own.append([draft(beat())])
        assert reader.last_seq() == 2, "it sees what is written meanwhile"
    reader.close()
    assert may_write or files_of(tmp_path) == before
    own.close()


def test_who_only_reads_makes_no_journal_and_takes_no_other(tmp_path):
    path = journal_path(tmp_path)
    with pytest.raises(BadConfig, match="cannot be used by this user: unable to open"):
        Journal(path, time.time_ns, to_read=True)
    assert not list(tmp_path.iterdir())
    own = Journal(path, time.time_ns)
    with own.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'layout'")
    own.close()
    with pytest.raises(BadConfig, match="is of layout 1, this program reads"):
        Journal(path, time.time_ns, to_read=True)


def test_who_looks_whether_a_daemon_lives_keeps_none_from_starting(tmp_path):
    take_lock(tmp_path).close()
    with lock_path(tmp_path).open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        ender = threading.Timer(0.08, fcntl.flock, (looking, fcntl.LOCK_UN))
        ender.start()
        own = take_lock(tmp_path)
        ender.join()
    assert daemon_lives(tmp_path)
    with pytest.raises(BadConfig, match=rf"another daemon works in .* \(process {os.getpid()} on .*, since 20..-..-.. .* UTC\)"):
        take_lock(tmp_path)
    own.close()
    assert not daemon_lives(tmp_path)


def test_a_lock_that_cannot_be_looked_at_is_told(tmp_path):
    lock_path(tmp_path).mkdir()
    with pytest.raises(BadConfig, match="cannot be seen"):
        daemon_lives(tmp_path)


def test_who_reads_a_journal_while_it_is_made_meets_it_whole(tmp_path):
    """It is there for a moment without its tables: `quicklook status` beside a daemon that starts for the first time."""
    for n in range(10):
        path = tmp_path / f"{n}.sqlite"
        sqlite3.connect(path).close()
        made = sqlite3.connect(path, isolation_level=None)
        made.execute("PRAGMA journal_mode=WAL")  # as far as the one who makes it may have come
        made.close()
        maker = threading.Timer(0.05, lambda path=path: Journal(path, time.time_ns).close())
        maker.start()
        reader = Journal(path, time.time_ns, to_read=True)
        maker.join()
        assert (reader.events(), len(reader.epoch)) == ([], 36)
        reader.close()
