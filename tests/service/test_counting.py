"""The counts that the database keeps itself, held against counting; and that what is asked often reads few rows of many."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.journal import jobs, jobview
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import JOBS, Journal
from quicklook.service.journal.ledger import latest_night, ledger_of
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.verdicts.concluding import summaries_in_journal

STATES = (jobs.OPEN, jobs.RUNNING, jobs.DONE, jobs.FAILED)
FAILURE = Failure(error="BadData", message="it broke", what_next="Nothing.")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite", time.time_ns)
    yield made
    made.close()


def unit_row(expid: int, revision: int = 0, tag: str = "live") -> UnitRow:
    return UnitRow(
        unit=Unit(20220101 + expid // 40, expid), tag=tag, revision=revision, path=f"/raw/{expid}", expected=("b0", "r0"),
        tags={"flavor": "zero"}, closed_ns=1, seen_ns=expid, deadline_ns=2**62,
    )  # fmt: skip


def counted(connection: sa.Connection, tag: str) -> dict[str, int]:
    return dict(Counter(connection.execute(sa.select(JOBS.c.state).where(JOBS.c.tag == tag)).scalars()))


def latest(connection: sa.Connection, tag: str) -> dict[str, int]:
    """States of the latest revision of each part."""
    rows = connection.execute(sa.select(JOBS).where(JOBS.c.tag == tag).order_by(JOBS.c.revision)).all()
    return dict(Counter({(row.unit, row.part): row.state for row in rows}.values()))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_jobs_the_counts_are_right(journal: Journal, seed: int) -> None:
    dice = random.Random(seed)
    with journal.transaction() as connection:
        for expid in range(30):
            tag = dice.choice(("live", "again"))
            jobs.add_unit(connection, unit_row(expid, tag=tag), ("b0", "r0"))
            if dice.random() < 0.3:
                new = unit_row(expid, 1, tag)
                jobs.add_unit(connection, new, ["b0"])
                jobs.carry_over(connection, unit_row(expid, tag=tag), new, ["b0"])
                jobs.supersede(connection, unit_row(expid, tag=tag), 5)
    for _ in range(120):
        with journal.transaction() as connection:
            job = jobs.take_next(connection, dice.choice(("live", "again")), time.time_ns())
            if job is None:
                continue
            if dice.random() < 0.5:
                jobs.set_verdict(connection, job.id, Status.NORMAL, [])
                jobs.finish(connection, job.id)
            else:
                jobs.give_up(connection, job.id, FAILURE)
            if dice.random() < 0.1:
                connection.execute(sa.delete(JOBS).where(JOBS.c.id == job.id))
            if dice.random() < 0.1:
                connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(tag="other"))
    with journal.reading() as connection:
        for tag in ("live", "again", "other", "never"):
            assert jobs.counts(connection, tag) == counted(connection, tag)
            assert jobview.counts(connection, tag) == latest(connection, tag)
            shown = jobview.list_jobs(connection, tag=tag)
            assert Counter(j.state for j in shown) == latest(connection, tag)


def test_what_is_not_written_is_not_counted(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), journal.transaction() as connection:
        jobs.add_unit(connection, unit_row(1), ("b0",))
        raise ZeroDivisionError
    with journal.reading() as connection:
        assert jobs.counts(connection, "live") == {}


def test_jobs_of_a_journal_without_counts_are_counted_when_it_is_opened_and_what_an_older_program_writes_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path, time.time_ns)
    with first.transaction() as connection:
        jobs.add_unit(connection, unit_row(1), ("b0", "r0"))
        for name in ("come", "go", "change"):
            connection.exec_driver_sql(f"DROP TRIGGER job_counts_{name}")
        connection.exec_driver_sql("DROP TABLE job_counts")
        jobs.add_unit(connection, unit_row(2), ("b0", "r0"))
    first.close()
    journal = Journal(path, time.time_ns)
    with closing(sqlite3.connect(path)) as old:  # a program that knows of no counts
        old.execute("UPDATE jobs SET state = 'done' WHERE part = 'b0'")
        old.commit()
    with journal.reading() as connection:
        assert jobs.counts(connection, "live") == counted(connection, "live") == {"open": 2, "done": 2}
    journal.close()


class NoFiles:
    """A reader for a folder without raw files."""

    def accepts(self, _path: Path) -> bool:
        return False


ASKED: dict[str, Callable[[Journal, sa.Connection], object]] = {
    "how many": lambda _, c: jobs.counts(c, "live"),
    "how many, the latest": lambda _, c: jobview.counts(c, "live"),
    "what is next": lambda _, c: jobs.take_next(c, "live", 0),
    "what has failed": lambda _, c: jobview.list_jobs(c, tag="live", states=[jobs.FAILED], limit=50),
    "the last jobs": lambda _, c: jobview.list_jobs(c, tag="live", limit=50),
    "what is due": lambda _, c: jobs.perhaps_due(c, "live"),
    "an exposure": lambda _, c: jobs.part_states(c, unit_row(7)),
    "a night": lambda _, c: jobs.units_of_night(c, "live", 20220101),
    "the state": lambda j, _: state_of(j, tag="live"),
    "the last night": lambda j, _: latest_night(j, "live"),
    "the ledger": lambda j, _: ledger_of(j, Path("out"), Path("none"), NoFiles(), 20220101, "live"),  # type: ignore[arg-type]
    "what a unit has given": lambda _, c: summaries_in_journal(c, unit_row(7), [], lambda part: {"camera": part}),
    "leases": lambda _, c: jobs.renew_leases(c, "live", jobs.Claim(owner="me"), 0),
}
SLOW = re.compile(r"SCAN (events|jobs|units)(?! USING (COVERING )?INDEX ix_(jobs_again|events_of_unit))")


@pytest.mark.parametrize("what", ASKED)
def test_what_is_asked_often_goes_through_no_table_of_years(journal: Journal, what: str) -> None:
    """By the plans of SQLite: no scan of a table that grows with every exposure."""
    with journal.transaction() as connection:
        for expid in range(60):
            jobs.add_unit(connection, unit_row(expid), ("b0", "r0"))
    asked = list[tuple[str, Any]]()
    sa.event.listen(journal.engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
    with journal.transaction() as connection:
        ASKED[what](journal, connection) if what not in ("the state", "the last night", "the ledger") else None
    if what in ("the state", "the last night", "the ledger"):
        with journal.reading() as connection:
            ASKED[what](journal, connection)
    statements = [(text, given) for text, given in asked if text.startswith(("SELECT", "UPDATE"))]
    assert statements
    with journal.reading() as connection:
        for text, given in statements:
            plan = [str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)]
            assert not [line for line in plan if SLOW.search(line)], (text, plan)
            if "events.unit = ?" in text:
                assert not [line for line in plan if "ix_events_kind" in line], (text, plan)
