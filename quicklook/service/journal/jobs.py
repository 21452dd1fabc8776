"""Units and jobs in the journal: one job for each part of a unit, and what has become of it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.journal.counting import count_jobs
from quicklook.service.journal.journal import FILES, JOBS, UNITS

OPEN, RUNNING, DONE, FAILED, SUPERSEDED, IGNORED = "open", "running", "done", "failed", "superseded", "ignored"
"""Ignored: a person has said that nobody is to do it."""
TAKEN, REFUSED, BARRED = "taken", "refused", "barred"
"""States of a file. Barred: it was refused for a reason that passes without a change of the file, as access to it that is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who takes jobs, for how long before the lease must be renewed, and which flavors go first (higher numbers; `_default`: of all others)."""

    owner: str = ""
    lease_ns: int = 0
    priorities: Mapping[str, int] = field(default_factory=dict)

    def rank(self) -> sa.ColumnElement[int]:
        """The priority of a job."""
        other = sa.literal(self.priorities.get("_default", 0))
        named = {flavor: n for flavor, n in self.priorities.items() if flavor != "_default"}
        return sa.case(named, value=JOBS.c.flavor, else_=other) if named else other


LEASE_S = 60.0
"""A daemon renews its leases every few seconds; one that is over so long ago is of a daemon that has died."""


def own_claim(priorities: Mapping[str, int]) -> Claim:
    """That of this process."""
    return Claim(owner=f"{socket.gethostname()}:{os.getpid()}", lease_ns=int(LEASE_S * 1e9), priorities=priorities)


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


# Statements are made once: to build one, and to find it among those that are compiled, takes several times as long as SQLite needs for it.
# Names of what is given begin with of_, since those of columns are what an update sets.
_UNFINISHED = (sa.not_(JOBS.c.announced), JOBS.c.state.in_((OPEN, RUNNING)))
_OF_FILE = (FILES.c.path == sa.bindparam("of_path"), FILES.c.tag == sa.bindparam("of_tag"))
_FILE, _FORGET_FILE = sa.select(FILES).where(*_OF_FILE), sa.delete(FILES).where(*_OF_FILE)
_ADD_FILE, _ADD_UNIT, _ADD_JOB = sa.insert(FILES), sa.insert(UNITS), sa.insert(JOBS)
_THIS_UNIT = (UNITS.c.unit == sa.bindparam("of_unit"), UNITS.c.tag == sa.bindparam("of_tag"), UNITS.c.revision == sa.bindparam("of_revision"))
_UNIT, _CHANGE_UNIT = sa.select(UNITS).where(*_THIS_UNIT), sa.update(UNITS).where(*_THIS_UNIT)
_CLOSE_UNIT = _CHANGE_UNIT.where(UNITS.c.verdict_ns.is_(None))
_LATEST_UNIT = sa.select(UNITS).where(*_THIS_UNIT[:2]).order_by(UNITS.c.revision.desc()).limit(1)
_OPEN_UNITS = sa.select(UNITS).where(UNITS.c.verdict_ns.is_(None), UNITS.c.tag == sa.bindparam("of_tag"))
_WORK = sa.exists().where(JOBS.c.unit == UNITS.c.unit, JOBS.c.tag == UNITS.c.tag, JOBS.c.revision == UNITS.c.revision, *_UNFINISHED)
_PERHAPS_DUE = _OPEN_UNITS.where(sa.not_(_WORK))
_OF_UNIT = (JOBS.c.unit == sa.bindparam("of_unit"), JOBS.c.tag == sa.bindparam("of_tag"), JOBS.c.revision == sa.bindparam("of_revision"))
_STATES = sa.select(JOBS.c.part, JOBS.c.state, JOBS.c.announced, JOBS.c.status, JOBS.c.reasons).where(*_OF_UNIT).order_by(JOBS.c.part)
_PARTS, _AWAITED = sa.select(JOBS).where(*_OF_UNIT).order_by(JOBS.c.part), sa.select(JOBS.c.id).where(*_OF_UNIT, *_UNFINISHED).limit(1)
_CHANGE_PART = sa.update(JOBS).where(*_OF_UNIT, JOBS.c.part == sa.bindparam("of_part"))
_SUPERSEDE = sa.update(JOBS).where(*_OF_UNIT, sa.not_(JOBS.c.announced))
_THIS_JOB = JOBS.c.id == sa.bindparam("of_id")
_JOB, _CHANGE_JOB = sa.select(JOBS).where(_THIS_JOB), sa.update(JOBS).where(_THIS_JOB)
_RUNNING = (JOBS.c.state == RUNNING, JOBS.c.tag == sa.bindparam("of_tag"))
_RENEW = sa.update(JOBS).where(*_RUNNING, JOBS.c.owner == sa.bindparam("of_owner"))
_ONE_LESS = sa.func.max(JOBS.c.attempts - 1, 0)
_RELEASE = sa.update(JOBS).where(*_RUNNING).values(state=OPEN, owner=None, lease_ns=0)
_RELEASE_UNTRIED = _RELEASE.values(attempts=_ONE_LESS)


@lru_cache(maxsize=8)
def _next_open(priorities: tuple[tuple[str, int], ...]) -> sa.Select[Any]:
    """The open job of a tag that is done next, by these priorities."""
    # without priorities the index has them in order: nothing is sorted, however many wait
    rank = [Claim(priorities=dict(priorities)).rank().desc()] if any(flavor != "_default" for flavor, _ in priorities) else []
    query = sa.select(JOBS).where(JOBS.c.state == OPEN, JOBS.c.tag == sa.bindparam("of_tag"), JOBS.c.not_before_ns <= sa.bindparam("of_now"))
    return query.order_by(*rank, JOBS.c.unit.desc(), JOBS.c.revision.desc(), JOBS.c.attempts, JOBS.c.id).limit(1)


def _key(row: UnitRow | Job) -> dict[str, Any]:
    return {"of_unit": str(row.unit), "of_tag": row.tag, "of_revision": row.revision}


def file_known(connection: sa.Connection, path: str, tag: str, size: int, mtime_ns: int) -> bool:
    """Whether this very content (by size and time) was taken before under this tag, or refused for good."""
    row = file_row(connection, path, tag)
    return row is not None and row.size == size and row.mtime_ns == mtime_ns and row.state != BARRED


def file_row(connection: sa.Connection, path: str, tag: str) -> Any:
    """What is known of a file under a tag: a row as those of `files`, or None."""
    return connection.execute(_FILE, {"of_path": path, "of_tag": tag}).first()


def remember_file(
    connection: sa.Connection, path: str, tag: str, size: int, mtime_ns: int, state: str, lacks_until_ns: int | None = None
) -> None:
    """Note that a file with this size and time was taken, refused, or barred; and until when what it lacks (a companion) is waited for."""
    connection.execute(_FORGET_FILE, {"of_path": path, "of_tag": tag})
    values = {"path": path, "tag": tag, "size": size, "mtime_ns": mtime_ns, "state": state, "lacks_until_ns": lacks_until_ns}
    connection.execute(_ADD_FILE, values)


def files(connection: sa.Connection, tag: str) -> Sequence[Any]:
    """All files that are known under a tag: rows with path, size, mtime_ns, state, lacks_until_ns."""
    return connection.execute(sa.select(FILES).where(FILES.c.tag == tag)).all()


def add_unit(connection: sa.Connection, row: UnitRow, parts: Sequence[str]) -> None:
    """Store a unit and one open job for each of its parts."""
    values = {"path": row.path, "expected": json.dumps(row.expected), "tags": json.dumps(row.tags)}
    times = {"closed_ns": row.closed_ns, "seen_ns": row.seen_ns, "deadline_ns": row.deadline_ns}
    connection.execute(_ADD_UNIT, {"unit": str(row.unit), "tag": row.tag, "revision": row.revision, **values, **times})
    add_jobs(connection, row, parts)


def add_jobs(connection: sa.Connection, row: UnitRow, parts: Sequence[str]) -> None:
    """Open jobs for parts of a unit that is there; a part whose job still waits is done with the new file in place of the old one."""
    new = {"path": row.path, "flavor": row.tags.get("flavor", ""), "state": OPEN, "attempts": 0, "not_before_ns": 0}
    for part in parts:
        if connection.execute(_CHANGE_PART, {**_key(row), "of_part": part, **new}).rowcount == 0:
            connection.execute(_ADD_JOB, {"unit": str(row.unit), "tag": row.tag, "revision": row.revision, "part": part, **new})


def carry_over(connection: sa.Connection, old: UnitRow, new: UnitRow, leave_out: Sequence[str]) -> None:
    """Take an earlier revision into a new one, but for the parts that are done again.

    Parts with a verdict keep it; those without are done under the new revision alone.
    """
    for row in [r for r in connection.execute(_PARTS, _key(old)).all() if r.part not in leave_out]:
        values = {k: v for k, v in row._mapping.items() if k != "id"} | {"revision": new.revision}
        kept = row.state if row.state in (FAILED, IGNORED) else DONE
        values |= {"state": kept} if row.announced else {"state": OPEN, "attempts": 0, "not_before_ns": 0}
        connection.execute(_ADD_JOB, values)


def supersede(connection: sa.Connection, old: UnitRow, verdict_ns: int) -> None:
    """An open revision gives way to a new one: its unit is closed without a verdict, its jobs without one come to nothing."""
    connection.execute(_SUPERSEDE, {**_key(old), "state": SUPERSEDED})
    if not old.closed:
        close_unit(connection, old, verdict_ns)


def latest_unit(connection: sa.Connection, unit: Unit, tag: str) -> UnitRow | None:
    """The latest revision of a unit."""
    row = connection.execute(_LATEST_UNIT, {"of_unit": str(unit), "of_tag": tag}).first()
    return _unit(row) if row is not None else None


def unit_row(connection: sa.Connection, unit: Unit, tag: str, revision: int) -> UnitRow | None:
    """One revision of a unit."""
    row = connection.execute(_UNIT, {"of_unit": str(unit), "of_tag": tag, "of_revision": revision}).first()
    return _unit(row) if row is not None else None


def units_of_night(connection: sa.Connection, tag: str, night: int) -> list[UnitRow]:
    """The latest revision of each unit of a night, in order."""
    rows = connection.execute(sa.select(UNITS).where(UNITS.c.tag == tag, of_night(UNITS.c.unit, night)).order_by(UNITS.c.unit, UNITS.c.revision))
    return [_unit(row) for row in {row.unit: row for row in rows}.values()]


def open_units(connection: sa.Connection, tag: str) -> list[UnitRow]:
    """All units of a tag without a verdict."""
    return [_unit(row) for row in connection.execute(_OPEN_UNITS, {"of_tag": tag})]


def closed_since(connection: sa.Connection, tag: str, since_ns: int) -> list[UnitRow]:
    """The latest revision of each unit whose verdict was given at that time or later, UTC ns."""
    rows = connection.execute(sa.select(UNITS.c.unit).distinct().where(UNITS.c.tag == tag, UNITS.c.verdict_ns >= since_ns)).scalars()
    found = (latest_unit(connection, Unit.parse(unit), tag) for unit in rows.all())
    return [row for row in found if row is not None and row.closed]


def perhaps_due(connection: sa.Connection, tag: str) -> list[UnitRow]:
    """Units without a verdict of which nothing waits or runs: of thousands in a backlog, the few to look at."""
    return [_unit(row) for row in connection.execute(_PERHAPS_DUE, {"of_tag": tag})]


def unit_of(connection: sa.Connection, job: Job) -> UnitRow:
    """The unit that a job is of, in the revision of the job."""
    return _unit(connection.execute(_UNIT, _key(job)).one())


def awaited(connection: sa.Connection, row: UnitRow) -> bool:
    """Whether a part of a unit has no verdict yet and gets one: it waits for a worker, or runs."""
    return connection.execute(_AWAITED, _key(row)).first() is not None


def set_deadline(connection: sa.Connection, row: UnitRow, deadline_ns: int) -> None:
    """Until then the cameras of a unit that have not arrived are waited for."""
    connection.execute(_CHANGE_UNIT, {**_key(row), "deadline_ns": deadline_ns})


def close_unit(connection: sa.Connection, row: UnitRow, verdict_ns: int) -> bool:
    """The verdict of the unit is given. False where this revision was closed before, and nothing is done."""
    return bool(connection.execute(_CLOSE_UNIT, {**_key(row), "verdict_ns": verdict_ns}).rowcount)


def part_states(connection: sa.Connection, row: UnitRow) -> list[PartState]:
    """The jobs of a unit."""
    return [
        PartState(
            part=part, state=state, announced=announced, status=Status(status) if status else None, reasons=tuple(json.loads(reasons))
        )
        for part, state, announced, status, reasons in connection.execute(_STATES, _key(row))
    ]


def job_now(connection: sa.Connection, job_id: int) -> Job:
    """A job as it stands in the journal, whatever a message says of it."""
    return _job(dict(connection.execute(_JOB, {"of_id": job_id}).one()._mapping))


def take_next(connection: sa.Connection, tag: str, now_ns: int, claim: Claim | None = None) -> Job | None:
    """The next open job of a tag, by priority of its flavor, then newest unit first, and mark it as running. Its attempt is counted.

    What has failed once waits for the other parts of its unit: one that hangs is not to cost them a worker again.
    """
    claim = claim or Claim()
    row = connection.execute(_next_open(tuple(claim.priorities.items())), {"of_tag": tag, "of_now": now_ns}).first()
    if row is None:
        return None
    taken = {"state": RUNNING, "attempts": row.attempts + 1}
    held = {"owner": claim.owner, "lease_ns": now_ns + claim.lease_ns, "visits": row.visits + 1, "visited_ns": now_ns}
    connection.execute(_CHANGE_JOB, {"of_id": row.id, **taken, **held})
    return _job({**row._mapping, **taken})


def renew_leases(connection: sa.Connection, tag: str, claim: Claim, now_ns: int) -> None:
    """The owner lives, and holds the jobs that it has taken for another while."""
    connection.execute(_RENEW, {"of_tag": tag, "of_owner": claim.owner, "lease_ns": now_ns + claim.lease_ns})


def release_running(connection: sa.Connection, tag: str, died: Failure | None = None) -> int:
    """After a restart: jobs of a tag whose workers are gone are open again, for who starts holds the lock alone. Returns how many.

    That the daemon was stopped in the middle of one is no attempt that counts; `visits` has it. It is one, with this failure, where the job ran in
    the process of the daemon, which has `died`: of the job, perhaps.
    """
    if died is None:
        return connection.execute(_RELEASE_UNTRIED, {"of_tag": tag}).rowcount
    return connection.execute(_RELEASE, {"of_tag": tag, "failure": died.model_dump_json()}).rowcount


def last_failure(connection: sa.Connection, job: Job) -> Failure | None:
    """Why the last attempt of a job came to nothing."""
    text = connection.execute(_JOB, {"of_id": job.id}).one().failure
    return Failure.model_validate_json(text) if text else None


def set_verdict(connection: sa.Connection, job_id: int, status: Status, reasons: Sequence[str]) -> None:
    """The verdict of a part is announced."""
    values = {"announced": True, "status": str(status), "reasons": json.dumps(list(reasons))}
    connection.execute(_CHANGE_JOB, {"of_id": job_id, **values})


def finish(connection: sa.Connection, job_id: int) -> None:
    """All files of the part are written."""
    connection.execute(_CHANGE_JOB, {"of_id": job_id, "state": DONE})


def retry_later(connection: sa.Connection, job_id: int, not_before_ns: int, failure: Failure, attempts: int) -> None:
    """The job is open again, not before a time; so many attempts count."""
    values = {"state": OPEN, "not_before_ns": not_before_ns, "failure": failure.model_dump_json(), "attempts": attempts}
    connection.execute(_CHANGE_JOB, {"of_id": job_id, **values})


def give_up(connection: sa.Connection, job_id: int, failure: Failure) -> None:
    """The job has failed for good, with its reason."""
    connection.execute(_CHANGE_JOB, {"of_id": job_id, "state": FAILED, "failure": failure.model_dump_json()})


def of_night(unit: sa.ColumnElement[str], night: int | str) -> sa.ColumnElement[bool]:
    """Whether a unit, as text, is of a night: as a range, for which an index serves."""
    first = f"{int(night):08d}"
    return sa.and_(unit > f"{first}/", unit < f"{first}0")  # the character after the slash


def counts(connection: sa.Connection, tag: str) -> dict[str, int]:
    """How many jobs of a tag are in each state."""
    return count_jobs(connection, tag)


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
