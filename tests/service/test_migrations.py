"""A journal that an older program has made is brought up to date, and one of a newer program is left alone."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from quicklook.core.errors import BadConfig
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import JOBS, META, Journal
from quicklook.service.journal.migrations import LAYOUT

OLD = """
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE events (seq INTEGER NOT NULL, time BIGINT NOT NULL, kind VARCHAR NOT NULL, unit VARCHAR, part VARCHAR, tag VARCHAR NOT NULL,
  revision INTEGER NOT NULL, schema_version INTEGER NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (seq));
CREATE TABLE jobs (id INTEGER NOT NULL, unit VARCHAR NOT NULL, part VARCHAR NOT NULL, tag VARCHAR NOT NULL, revision INTEGER NOT NULL,
  path VARCHAR NOT NULL, flavor VARCHAR NOT NULL, state VARCHAR NOT NULL, attempts INTEGER NOT NULL, not_before_ns BIGINT NOT NULL,
  announced BOOLEAN NOT NULL, status VARCHAR, reasons TEXT NOT NULL, failure TEXT, PRIMARY KEY (id), UNIQUE (unit, part, tag, revision));
INSERT INTO meta VALUES ('epoch', '11111111-2222-3333-4444-555555555555'), ('schema_version', '1');
INSERT INTO events VALUES (1, 5, 'heartbeat', NULL, NULL, 'live', 0, 1, '{"waiting": 1, "running": 0, "done": 0, "failed": 0}');
INSERT INTO jobs VALUES (1, '20220101/00000100', 'r0', 'live', 0, '/raw/x', 'zero', 'open', 2, 0, 0, NULL, '[]', NULL);
"""
"""The tables as the first journals had them (layout 1), with an event and a job."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)
    connection.close()
    return path


def test_an_old_journal_is_brought_up_to_date_and_keeps_what_it_has(old: Path) -> None:
    journal = Journal(old, time.time_ns)
    assert journal.epoch == "11111111-2222-3333-4444-555555555555"
    assert [e.kind for e in journal.events()] == ["heartbeat"]
    with journal.transaction() as connection:
        job = jobs.take_next(connection, "live", time.time_ns(), jobs.own_claim({}))
        assert job is not None
        assert (job.part, job.attempts) == ("r0", 3)
        row = connection.execute(sa.select(JOBS)).one()
        assert (row.visits, row.owner == jobs.own_claim({}).owner) == (1, True)
        assert connection.execute(sa.select(META.c.value).where(META.c.key == "layout")).scalar() == str(LAYOUT)
    journal.close()


def test_a_second_opening_changes_nothing(old: Path) -> None:
    for _ in range(2):
        Journal(old, time.time_ns).close()
    with sqlite3.connect(old) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]
    connection.close()
    assert len(names) == len(set(names)) == len(JOBS.columns)


def test_the_older_program_can_still_write_into_it(old: Path) -> None:
    Journal(old, time.time_ns).close()
    with sqlite3.connect(old) as connection:
        columns = "id, unit, part, tag, revision, path, flavor, state, attempts, not_before_ns, announced, reasons"
        connection.execute(f"INSERT INTO jobs ({columns}) VALUES (2, '20220101/00000101', 'r0', 'live', 0, '/raw/y', 'zero', 'open', 0, 0, 0, '[]')")
    connection.close()
    journal = Journal(old, time.time_ns)
    with journal.transaction() as connection:
        job = jobs.take_next(connection, "live", time.time_ns())
    journal.close()
    assert job is not None
    assert job.unit.expid == 101


def test_a_journal_of_a_newer_program_is_refused_and_left_as_it_is(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("INSERT INTO meta VALUES ('layout', '99')")
    connection.close()
    with pytest.raises(BadConfig, match="install the newer program"):
        Journal(old, time.time_ns)
    with sqlite3.connect(old) as connection:
        assert "visits" not in [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]
    connection.close()
