"""Units and jobs in the journal: one job for each part of a unit, and what has become of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.journal import FILES, JOBS, UNITS

OPEN, RUNNING, DONE, FAILED, SUPERSEDED = "open", "running", "done", "failed", "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work on one part: where its file is, the flavor that chooses its chain, how often it was tried, whether its verdict is announced."""

    id: int
    unit: Unit
    part: str
    tag: str
    revision: int
    path: str
    flavor: str
    attempts: int
    announced: bool
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """A unit that has arrived and is not closed: the parts that are expected, when its deadline passes."""

    unit: Unit
    tag: str
    revision: int
    path: str
    expected: tuple[str, ...]
    tags: dict[str, str]
    closed_ns: int | None
    seen_ns: int
    deadline_ns: int
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """State of one job of a unit, with its verdict if it has one."""

    part: str
    state: str
    announced: bool
    status: Status | None
    reasons: tuple[str, ...]


def file_known(connection: sa.Connection, path: str, tag: str, size: int, mtime_ns: int) -> bool:
    """Whether this very content (by size and time) was taken or refused before under this tag."""
    row = connection.execute(sa.select(FILES).where(FILES.c.path == path, FILES.c.tag == tag)).first()
    return row is not None and row.size == size and row.mtime_ns == mtime_ns


def remember_file(
    connection: sa.Connection, path: str, tag: str, size: int, mtime_ns: int, state: str, lacks_until_ns: int | None = None
) -> None:
    """Note that a file with this size and time was taken, or refused; and until when what it lacks (a companion) is waited for."""
    connection.execute(sa.delete(FILES).where(FILES.c.path == path, FILES.c.tag == tag))
    values = {"size": size, "mtime_ns": mtime_ns, "state": state, "lacks_until_ns": lacks_until_ns}
    connection.execute(sa.insert(FILES).values(path=path, tag=tag, **values))


def files(connection: sa.Connection, tag: str) -> Sequence[Any]:
    """All files that are known under a tag: rows with path, size, mtime_ns, state, lacks_until_ns."""
    return connection.execute(sa.select(FILES).where(FILES.c.tag == tag)).all()


def add_unit(connection: sa.Connection, row: UnitRow, parts: Sequence[str]) -> None:
    """Store a unit and one open job for each of its parts."""
    connection.execute(
        sa.insert(UNITS).values(
            unit=str(row.unit),
            tag=row.tag,
            revision=row.revision,
            path=row.path,
            expected=json.dumps(row.expected),
            tags=json.dumps(row.tags),
            closed_ns=row.closed_ns,
            seen_ns=row.seen_ns,
            deadline_ns=row.deadline_ns,
        )
    )
    add_jobs(connection, row, parts)


def add_jobs(connection: sa.Connection, row: UnitRow, parts: Sequence[str]) -> None:
    """Open jobs for parts of a unit that is there; a part whose job still waits is done with the new file in place of the old one."""
    new = {"path": row.path, "flavor": row.tags.get("flavor", ""), "state": OPEN, "attempts": 0, "not_before_ns": 0}
    for part in parts:
        of_part = {"unit": str(row.unit), "tag": row.tag, "revision": row.revision, "part": part}
        done = connection.execute(sa.update(JOBS).where(*(JOBS.c[k] == v for k, v in of_part.items())).values(**new))
        if done.rowcount == 0:
            connection.execute(sa.insert(JOBS).values(**of_part, **new))


def carry_over(connection: sa.Connection, old: UnitRow, new: UnitRow, leave_out: Sequence[str]) -> None:
    """Take an earlier revision into a new one, but for the parts that are done again.

    Parts with a verdict keep it; those without are done under the new revision alone.
    """
    for row in connection.execute(sa.select(JOBS).where(*_of(old), JOBS.c.part.not_in(leave_out))).all():
        values = {k: v for k, v in row._mapping.items() if k != "id"} | {"revision": new.revision}
        values |= {"state": FAILED if row.state == FAILED else DONE} if row.announced else {"state": OPEN, "attempts": 0, "not_before_ns": 0}
        connection.execute(sa.insert(JOBS).values(**values))


def supersede(connection: sa.Connection, old: UnitRow, verdict_ns: int) -> None:
    """An open revision gives way to a new one: its unit is closed without a verdict, its jobs without one come to nothing."""
    connection.execute(sa.update(JOBS).where(*_of(old), sa.not_(JOBS.c.announced)).values(state=SUPERSEDED))
    if not old.closed:
        close_unit(connection, old, verdict_ns)


def _of(row: UnitRow) -> tuple[sa.ColumnElement[bool], ...]:
    return (JOBS.c.unit == str(row.unit), JOBS.c.tag == row.tag, JOBS.c.revision == row.revision)


def latest_unit(connection: sa.Connection, unit: Unit, tag: str) -> UnitRow | None:
    """The latest revision of a unit."""
    query = sa.select(UNITS).where(UNITS.c.unit == str(unit), UNITS.c.tag == tag).order_by(UNITS.c.revision.desc()).limit(1)
    row = connection.execute(query).first()
    return _unit(row) if row is not None else None


def open_units(connection: sa.Connection, tag: str) -> list[UnitRow]:
    """All units of a tag without a verdict."""
    return [_unit(row) for row in connection.execute(sa.select(UNITS).where(UNITS.c.verdict_ns.is_(None), UNITS.c.tag == tag))]


def close_unit(connection: sa.Connection, row: UnitRow, verdict_ns: int) -> None:
    """The verdict of the unit is given."""
    where = (UNITS.c.unit == str(row.unit), UNITS.c.tag == row.tag, UNITS.c.revision == row.revision)
    connection.execute(sa.update(UNITS).where(*where).values(verdict_ns=verdict_ns))


def part_states(connection: sa.Connection, row: UnitRow) -> list[PartState]:
    """The jobs of a unit."""
    return [
        PartState(
            part=r.part, state=r.state, announced=r.announced, status=Status(r.status) if r.status else None, reasons=tuple(json.loads(r.reasons))
        )
        for r in connection.execute(sa.select(JOBS).where(*_of(row)).order_by(JOBS.c.part))
    ]


def job_now(connection: sa.Connection, job_id: int) -> Job:
    """A job as it stands in the journal, whatever a message says of it."""
    return _job(dict(connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one()._mapping))


def take_next(connection: sa.Connection, tag: str, now_ns: int) -> Job | None:
    """The next open job of a tag, newest unit first, and mark it as running. Its attempt is counted."""
    query = sa.select(JOBS).where(JOBS.c.state == OPEN, JOBS.c.tag == tag, JOBS.c.not_before_ns <= now_ns)
    row = connection.execute(query.order_by(JOBS.c.unit.desc(), JOBS.c.revision.desc(), JOBS.c.id).limit(1)).first()
    if row is None:
        return None
    connection.execute(sa.update(JOBS).where(JOBS.c.id == row.id).values(state=RUNNING, attempts=row.attempts + 1))
    return _job({**row._mapping, "state": RUNNING, "attempts": row.attempts + 1})


def release_running(connection: sa.Connection, tag: str) -> int:
    """After a restart: jobs of a tag whose workers are gone are open again. Returns how many."""
    return connection.execute(sa.update(JOBS).where(JOBS.c.state == RUNNING, JOBS.c.tag == tag).values(state=OPEN)).rowcount


def set_verdict(connection: sa.Connection, job_id: int, status: Status, reasons: Sequence[str]) -> None:
    """The verdict of a part is announced."""
    values = {"announced": True, "status": str(status), "reasons": json.dumps(list(reasons))}
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**values))


def finish(connection: sa.Connection, job_id: int) -> None:
    """All files of the part are written."""
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(state=DONE))


def retry_later(connection: sa.Connection, job_id: int, not_before_ns: int, failure: Failure, attempts: int) -> None:
    """The job is open again, not before a time; so many attempts count."""
    values = {"state": OPEN, "not_before_ns": not_before_ns, "failure": failure.model_dump_json(), "attempts": attempts}
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**values))


def give_up(connection: sa.Connection, job_id: int, failure: Failure) -> None:
    """The job has failed for good, with its reason."""
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(state=FAILED, failure=failure.model_dump_json()))


def counts(connection: sa.Connection, tag: str) -> dict[str, int]:
    """How many jobs of a tag are in each state."""
    rows = connection.execute(sa.select(JOBS.c.state, sa.func.count()).where(JOBS.c.tag == tag).group_by(JOBS.c.state))
    return {state: int(n) for state, n in rows}


def _unit(row: Any) -> UnitRow:
    return UnitRow(
        unit=Unit.parse(row.unit),
        tag=row.tag,
        revision=row.revision,
        path=row.path,
        expected=tuple(json.loads(row.expected)),
        tags=json.loads(row.tags),
        closed_ns=row.closed_ns,
        seen_ns=row.seen_ns,
        deadline_ns=row.deadline_ns,
        closed=row.verdict_ns is not None,
    )


def _job(fields: Mapping[str, Any]) -> Job:
    return Job(
        id=fields["id"],
        unit=Unit.parse(fields["unit"]),
        part=fields["part"],
        tag=fields["tag"],
        revision=fields["revision"],
        path=fields["path"],
        flavor=fields["flavor"],
        attempts=fields["attempts"],
        announced=bool(fields["announced"]),
        state=fields["state"],
    )
