"""A store of jobs for scripts: what is to be done, who is at it, what has become of it, in SQLite or PostgreSQL.

    from quicklook.jobs import JobState, JobStore

    store = JobStore("sqlite:///reduce.sqlite")
    store.create("reduce", tags={"night": 20220101, "camera": "r0"})
    with store.locked_one_of(store.get("reduce", states=[JobState.OPEN])) as job:
        if job is not None:
            job.mark_visited()
            job.state = JobState.DONE if reduce(**job.tags) else JobState.FAILED

Whoever works on a job holds a lease. It ends with the `with`, or by itself some time after its owner has died.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, BadData, NotReadyYet, Transient, describe
from quicklook.io.database import database_errors, make_engine

LEASE_S = 600.0
"""A lease lasts so long unless something else is said."""

_metadata = sa.MetaData()

_JOBS = sa.Table(
    "quicklook_jobs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("jobclass", sa.String, nullable=False, index=True),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("visits", sa.Integer, nullable=False),
    sa.Column("visited_ns", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("owner", sa.String),
    sa.Column("token", sa.String),
    sa.Column("lease_ns", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("jobclass", "tags"),
)

_TAGS = sa.Table(
    "quicklook_job_tags",
    _metadata,
    sa.Column("job", sa.ForeignKey("quicklook_jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False, index=True),
)


class JobState(StrEnum):
    """Ignored: a person has said that nobody is to do it."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    IGNORED = "ignored"


class JobLocked(NotReadyYet):
    """Somebody else holds the job."""

    what_next = "Take another one, or wait until the lease ends."


class LeaseLost(Transient):
    """The lease has ended before the work, and somebody else has the job, or may have done it: nothing was written."""

    what_next = "Take longer leases, or renew them while the work goes on."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job as it was when it was read. Times are UTC, ns; `lease_ns`: until when `owner` holds it."""

    id: int
    jobclass: str
    state: JobState
    tags: Mapping[str, str]
    created_ns: int
    visits: int
    visited_ns: int | None
    reason: str
    owner: str | None
    lease_ns: int


@dataclass(slots=True, kw_only=True)
class HeldJob:
    """A job that is held: `state` and `reason` may be changed, and are written when it is let go. `visits` counts those who looked at it."""

    id: Final[int]
    jobclass: Final[str]
    tags: Final[Mapping[str, str]]
    token: Final[str]
    state: JobState
    visits: int
    visited_ns: int | None
    reason: str

    def mark_visited(self) -> None:
        """Count that somebody has begun to work on it, now."""
        self.visits, self.visited_ns = self.visits + 1, time.time_ns()


class JobStore:
    """The jobs in a database, made where it is not there: ``sqlite:///FILE``, ``postgresql://USER:PASSWORD@HOST/NAME``, or the path of a file.

    Raises BadConfig for an address that cannot be used (also, with `make` False, one where there is no store yet), or a PostgreSQL without its
    driver; everything raises Transient where the database cannot be reached or is locked: nothing is written then.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self._engine, self._open = make_engine(url, "job store"), False
        self._name = self._engine.url.render_as_string(hide_password=True)
        path = self._engine.url.database or "" if self._engine.url.get_backend_name() == "sqlite" else None
        if path is not None and not (Path(path).is_file() or make):
            raise BadConfig(f"there is no job store {path}", what_next="Name the file that the scripts use, or the URL of their database.")
        try:
            with self._transaction() as connection:
                if not make and not sa.inspect(connection).has_table(_JOBS.name):
                    raise BadConfig(f"{self._name} has no jobs: no script has made a store there", what_next="Name the one that the scripts use.")
                _metadata.create_all(connection)
        except sa.exc.DatabaseError as error:
            self.close()
            what_next = "Name a file of its own, in a folder that is there, or a database that this user may use."
            raise BadConfig(f"{self._name} cannot be used as a job store: {describe(error.orig or error)}", what_next=what_next) from error
        self._open = True

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> JobStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what is to be done

    def create(
        self,
        jobclass: str,
        tags: Mapping[str, object] | None = None,
        *,
        state: JobState | str = JobState.OPEN,
        reason: str = "",
        existing: Literal["refuse", "take"] = "refuse",
    ) -> StoredJob:
        """A new job; values of tags become text. Class and tags together are unique, whoever creates them at the same time.

        Raises BadData where there is one already, unless that one is to be taken (as it is).
        """
        words = {str(k): str(v) for k, v in (tags or {}).items()}
        try:
            with self._transaction() as connection:
                values = {"jobclass": jobclass, "state": JobState(state), "tags": _text(words), "reason": reason, "visits": 0, "lease_ns": 0}
                made = sa.insert(_JOBS).values(**values, created_ns=_now_ns(connection)).returning(_JOBS.c.id)
                number = int(connection.execute(made).scalar_one())
                if words:
                    connection.execute(sa.insert(_TAGS), [{"job": number, "name": k, "value": v} for k, v in words.items()])
                return self._one(connection, number)
        except sa.exc.IntegrityError as error:
            if existing == "refuse":
                raise BadData(f"there is a job {jobclass} with tags {_text(words)} already", what_next="Take that one.") from error
        with self._transaction() as connection:
            where = (_JOBS.c.jobclass == jobclass, _JOBS.c.tags == _text(words))
            return _stored(connection.execute(sa.select(_JOBS).where(*where)).one())

    def get(
        self,
        jobclass: str | Sequence[str] | None = None,
        *,
        states: Iterable[JobState | str] | None = None,
        tags: Mapping[str, object] | None = None,
        locked: bool | None = None,
        limit: int | None = None,
    ) -> list[StoredJob]:
        """Jobs of these classes (None: all), in these states, that have all of these tags, held or not (None: both); the oldest first."""
        query = sa.select(_JOBS).order_by(_JOBS.c.id).limit(limit)
        if jobclass is not None:
            query = query.where(_JOBS.c.jobclass.in_([jobclass] if isinstance(jobclass, str) else list(jobclass)))
        if states is not None:
            query = query.where(_JOBS.c.state.in_([str(JobState(s)) for s in states]))
        for name, value in (tags or {}).items():
            tag = _TAGS.alias()
            same = sa.select(tag.c.job).where(tag.c.job == _JOBS.c.id, tag.c.name == str(name), tag.c.value == str(value))
            query = query.where(same.exists())
        with self._transaction(reading=True) as connection:
            if locked is not None:
                held = _JOBS.c.token.is_not(None) & (_JOBS.c.lease_ns >= _now_ns(connection))
                query = query.where(held if locked else sa.not_(held))
            return [_stored(row) for row in connection.execute(query)]

    def remove(self, job: StoredJob | int) -> None:
        """Take a job out of the store. Raises JobLocked while somebody holds it."""
        with self._transaction() as connection:
            done = connection.execute(sa.delete(_JOBS).where(_JOBS.c.id == _id(job), self._free(connection)))
            if done.rowcount == 0:
                self._refuse(connection, _id(job))
            connection.execute(sa.delete(_TAGS).where(_TAGS.c.job == _id(job)))

    # ---- who is at it

    def lock(self, job: StoredJob | int, *, owner: str | None = None, lease_s: float = LEASE_S) -> HeldJob:
        """Hold a job, for so long. Raises JobLocked where somebody else holds it, BadData where it is gone."""
        token = uuid.uuid4().hex
        with self._transaction() as connection:
            now = _now_ns(connection)
            values = {"owner": owner or _own_name(), "token": token, "lease_ns": now + int(lease_s * 1e9)}
            taken = connection.execute(sa.update(_JOBS).where(_JOBS.c.id == _id(job), self._free(connection)).values(**values))
            if taken.rowcount == 0:
                self._refuse(connection, _id(job))
            return _held(self._one(connection, _id(job)), token)

    def renew(self, held: HeldJob, lease_s: float = LEASE_S) -> None:
        """Hold it for so long from now on. Raises LeaseLost where somebody else has got it meanwhile."""
        with self._transaction() as connection:
            self._write(connection, held, lease_ns=_now_ns(connection) + int(lease_s * 1e9))

    def release(self, held: HeldJob) -> None:
        """Write what was changed, and let go. Raises LeaseLost where somebody else has got it meanwhile: nothing is written then."""
        changed = {"state": JobState(held.state), "visits": held.visits, "visited_ns": held.visited_ns, "reason": held.reason}
        with self._transaction() as connection:
            self._write(connection, held, **changed, owner=None, token=None, lease_ns=0)

    def break_lease(self, job: StoredJob | int) -> None:
        """Let go of a job whoever holds it; what that one writes later is refused."""
        with self._transaction() as connection:
            connection.execute(sa.update(_JOBS).where(_JOBS.c.id == _id(job)).values(owner=None, token=None, lease_ns=0))

    @contextmanager
    def locked(self, job: StoredJob | int, *, owner: str | None = None, lease_s: float = LEASE_S) -> Iterator[HeldJob]:
        """Hold a job as long as the block runs; then what was changed in it is written. Raises as `lock` and `release` do.

        Where the block raises, its visit and the error are noted, and the state stays.
        """
        with self._working(self.lock(job, owner=owner, lease_s=lease_s)) as held:
            yield held

    @contextmanager
    def locked_one_of(self, jobs: Iterable[StoredJob], *, owner: str | None = None, lease_s: float = LEASE_S) -> Iterator[HeldJob | None]:
        """Hold the first of these jobs that nobody holds and whose state is as it was when it was read, as `locked` does; None without any."""
        held = self._first_free(jobs, owner, lease_s)
        if held is None:
            yield None
            return
        with self._working(held):
            yield held

    def _first_free(self, jobs: Iterable[StoredJob], owner: str | None, lease_s: float) -> HeldJob | None:
        for job in jobs:
            try:
                held = self.lock(job, owner=owner, lease_s=lease_s)
            except (JobLocked, BadData):  # somebody else was quicker
                continue
            if held.state is job.state:
                return held
            self.release(held)
        return None

    @contextmanager
    def _working(self, held: HeldJob) -> Iterator[HeldJob]:
        before = held.state
        try:
            yield held
        except BaseException as error:
            held.state, held.reason = before, describe(error)
            self.release(held)
            raise
        self.release(held)

    # ---- within

    @contextmanager
    def _transaction(self, *, reading: bool = False) -> Iterator[sa.Connection]:
        engine = self._engine.execution_options(reading=True) if reading else self._engine
        with database_errors(f"the job store {self._name}", opened=self._open), engine.begin() as connection:
            yield connection

    @staticmethod
    def _free(connection: sa.Connection) -> sa.ColumnElement[bool]:
        """That nobody holds a job, or the lease is over."""
        return _JOBS.c.token.is_(None) | (_JOBS.c.lease_ns < _now_ns(connection))

    @staticmethod
    def _one(connection: sa.Connection, number: int) -> StoredJob:
        return _stored(connection.execute(sa.select(_JOBS).where(_JOBS.c.id == number)).one())

    @staticmethod
    def _refuse(connection: sa.Connection, number: int) -> None:
        row = connection.execute(sa.select(_JOBS).where(_JOBS.c.id == number)).first()
        if row is None:
            raise BadData(f"there is no job {number} any more", what_next="Read the jobs again.")
        left = (row.lease_ns - _now_ns(connection)) / 1e9
        raise JobLocked(f"{row.owner} holds job {number} ({row.jobclass} {row.tags}) for {left:.0f} s more")

    @staticmethod
    def _write(connection: sa.Connection, held: HeldJob, **values: Any) -> None:
        done = connection.execute(sa.update(_JOBS).where(_JOBS.c.id == held.id, _JOBS.c.token == held.token).values(**values))
        if done.rowcount == 0:
            raise LeaseLost(f"job {held.id} ({held.jobclass}) is held by this process no more")


def _now_ns(connection: sa.Connection) -> int:
    """UTC, ns, by the clock of the server, where there is one: those who share its jobs may be on machines whose clocks differ."""
    if connection.dialect.name == "postgresql":
        seconds = connection.execute(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))).scalar_one()
        return int(float(seconds) * 1e9)
    return time.time_ns()


def _own_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _text(tags: Mapping[str, str]) -> str:
    return json.dumps(tags, sort_keys=True)


def _id(job: StoredJob | int) -> int:
    return job if isinstance(job, int) else job.id


def _stored(row: Any) -> StoredJob:
    fields = {k: v for k, v in row._mapping.items() if k != "token"}
    return StoredJob(**{**fields, "state": JobState(row.state), "tags": json.loads(row.tags), "owner": row.owner if row.token else None})


def _held(job: StoredJob, token: str) -> HeldJob:
    same = {name: getattr(job, name) for name in ("id", "jobclass", "tags", "state", "visits", "visited_ns", "reason")}
    return HeldJob(token=token, **same)
