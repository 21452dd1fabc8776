"""The daemon's jobs, seen and handled from outside, in the journal: shown, done again, or left for good. The daemon may run meanwhile."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.events import CommandGiven, JobFailed, draft
from quicklook.core.keys import Unit
from quicklook.core.results import Failure, Record
from quicklook.core.status import Status
from quicklook.service.journal import jobs
from quicklook.service.journal.counting import count_jobs
from quicklook.service.journal.journal import BUILDS, JOBS, Journal
from quicklook.service.verdicts.concluding import after_verdict

STATES = (jobs.OPEN, jobs.RUNNING, jobs.DONE, jobs.FAILED, jobs.IGNORED, jobs.SUPERSEDED)
IGNORED_ERROR = "Ignored"


class JobView(Record):
    """A job: what it is about, its state, how often it was begun since it was opened (`attempts`), its verdict, why it failed.

    `visits` counts all that was ever begun, `visited` is the last of it (UTC, ns), by `owner`. `lease_s`: seconds until the lease of one that
    runs ends, below 0 where its daemon has died; `wait_s`: until it may be tried again. A build of a calibration has `builder`; it stands at the
    first exposure of its group, and has no revisions.
    """

    unit: str
    part: str
    tag: str
    revision: int
    state: str
    flavor: str = ""
    builder: str = ""
    attempts: int
    visits: int
    visited: int | None = None
    status: Status | None = None
    failure: Failure | None = None
    owner: str = ""
    lease_s: float | None = None
    wait_s: float | None = None


def list_jobs(
    connection: sa.Connection, *, tag: str | None = None, states: Collection[str] = (), unit: Unit | None = None, limit: int | None = None
) -> list[JobView]:
    """Jobs and builds of a tag, in these states, of a unit (None, empty: all), the newest first; of each part its latest revision, of a unit all."""
    now = time.time_ns()
    query = sa.select(JOBS) if unit is not None else sa.select(JOBS).where(_IS_LATEST)
    query = query.order_by(JOBS.c.unit.desc(), JOBS.c.part, JOBS.c.revision.desc())
    found = [_of_job(row, now) for row in connection.execute(_where(query, JOBS, tag, states, unit).limit(limit))]
    builds = _where(sa.select(BUILDS).order_by(BUILDS.c.id.desc()), BUILDS, tag, states, unit)
    return [*found, *(_of_build(row, now) for row in connection.execute(builds.limit(limit)))][:limit]


def counts(connection: sa.Connection, tag: str | None = None) -> dict[str, int]:
    """How many jobs (of each part the latest) and builds are in each state."""
    of_builds = _where(sa.select(BUILDS.c.state, sa.func.count()).group_by(BUILDS.c.state), BUILDS, tag, (), None)
    out = Counter({**dict.fromkeys(STATES, 0), **count_jobs(connection, tag)})
    out.update({state: int(n) for state, n in connection.execute(of_builds)})
    for of_tag, state, n in connection.execute(_SUPERSEDED):
        out[state] -= int(n) if tag in (None, of_tag) else 0
    return {state: n for state, n in out.items() if n}


# Of years of jobs few have a later revision, and these are in an index of their own.
_LATER = JOBS.alias()
_SAME_PART = sa.and_(*(JOBS.c[k] == _LATER.c[k] for k in ("unit", "part", "tag")))
_IS_LATEST = sa.not_(sa.exists().where(_SAME_PART, _LATER.c.revision > 0, _LATER.c.revision > JOBS.c.revision))
_KEY = (JOBS.c.unit, JOBS.c.part, JOBS.c.tag)
_REPEATED = sa.select(*_KEY, sa.func.max(JOBS.c.revision).label("last")).where(JOBS.c.revision > 0).group_by(*_KEY).subquery()
_OF_REPEATED = sa.and_(*(JOBS.c[k] == _REPEATED.c[k] for k in ("unit", "part", "tag")), JOBS.c.revision < _REPEATED.c.last)
_SUPERSEDED = sa.select(JOBS.c.tag, JOBS.c.state, sa.func.count()).select_from(_REPEATED).join(JOBS, _OF_REPEATED).group_by(JOBS.c.tag, JOBS.c.state)


def _where(query: sa.Select[Any], table: sa.Table, tag: str | None, states: Collection[str], unit: Unit | None) -> sa.Select[Any]:
    if tag is not None:
        query = query.where(table.c.tag == tag)
    if states:
        query = query.where(table.c.state.in_(list(states)))
    return query if unit is None else query.where(table.c.unit == str(unit))


def _of_job(row: Any, now: int) -> JobView:
    fields = {k: getattr(row, k) for k in ("unit", "part", "tag", "revision", "flavor", "visits")}
    lease = (row.lease_ns - now) / 1e9 if row.state == jobs.RUNNING else None
    return JobView(**fields, **_common(row, now), visited=row.visited_ns, owner=row.owner or "", lease_s=lease)


def _of_build(row: Any, now: int) -> JobView:
    fields = {k: getattr(row, k) for k in ("unit", "part", "tag", "builder")}
    return JobView(**fields, **_common(row, now), revision=0, visits=row.attempts)


def _common(row: Any, now: int) -> dict[str, Any]:
    failure = Failure.model_validate_json(row.failure) if row.failure else None
    wait = (row.not_before_ns - now) / 1e9 if row.state == jobs.OPEN and row.not_before_ns > now else None
    return {"state": row.state, "attempts": row.attempts, "status": row.status, "failure": failure, "wait_s": wait}


def requeue_builds(connection: sa.Connection, tag: str) -> list[str]:
    """Builds of calibrations that have failed are to be done again. Returns which."""
    failed = (BUILDS.c.state == jobs.FAILED, BUILDS.c.tag == tag)
    rows = connection.execute(sa.select(BUILDS).where(*failed)).all()
    connection.execute(sa.update(BUILDS).where(*failed).values(state=jobs.OPEN, attempts=0, not_before_ns=0))
    return [f"{row.builder} of {row.part}, night {row.night:08d}" for row in rows]


def ignore(
    journal: Journal, out: Path, tag: str, unit: Unit, parts: Collection[str], by: str, reason: str, *, unit_s: float = 600.0
) -> list[str]:
    """What has failed or waits in the latest revision of a unit (of these parts, none: all) is not done any more. Returns the parts.

    One that waits gets its verdict by that: UNKNOWN, with who and why; an exposure that was concluded without it is concluded anew. Raises BadData
    where there is nothing of the kind, or a part that the unit has not, NotReadyYet where one runs.
    """
    with journal.transaction() as connection:
        row = jobs.latest_unit(connection, unit, tag)
        if row is None:
            raise BadData(f"the journal knows no exposure {unit} under tag {tag}", what_next="Check night, number and tag.")
        of_row = (JOBS.c.unit == str(unit), JOBS.c.tag == tag, JOBS.c.revision == row.revision)
        all_parts = connection.execute(sa.select(JOBS).where(*of_row).order_by(JOBS.c.part)).all()
        if strange := sorted(set(parts) - {r.part for r in all_parts}):
            there = ", ".join(r.part for r in all_parts) or "none"
            raise BadData(f"exposure {unit} has no camera {', '.join(strange)}; it has: {there}", what_next="Name one of these.")
        found = [r for r in all_parts if not parts or r.part in parts]
        if running := [r.part for r in found if r.state == jobs.RUNNING]:
            raise NotReadyYet(f"{unit}: {', '.join(running)} is being worked on")
        chosen = [r for r in found if r.state in (jobs.FAILED, jobs.OPEN)]
        if not chosen:
            raise BadData(f"nothing of exposure {unit} has failed or waits under tag {tag}", what_next="`quicklook jobs` shows the jobs.")
        for job in chosen:
            _leave(connection, journal, job, f"ignored by {by}: {reason}" if reason else f"ignored by {by}")
        if silent := [job.id for job in chosen if not job.announced]:
            after_verdict(connection, jobs.job_now(connection, silent[-1]), out, unit_s)
    return [job.part for job in chosen]


def _leave(connection: sa.Connection, journal: Journal, job: Any, why: str) -> None:
    failure = Failure(error=IGNORED_ERROR, message=why, what_next="Nothing; `quicklook ctl rerun` processes the exposure again.")
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(state=jobs.IGNORED))
    if not job.announced:
        jobs.set_verdict(connection, job.id, Status.UNKNOWN, [f"UNKNOWN: {why}"])
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(failure=failure.model_dump_json()))
        told = JobFailed(attempts=job.attempts, failure=failure)
        journal.append([draft(told, unit=Unit.parse(job.unit), part=job.part, tag=job.tag, revision=job.revision)], connection)


def note(journal: Journal, tag: str, name: str, args: dict[str, str], by: str, said: str) -> None:
    """Write into the journal what a person did to it: who can write the file needs no token."""
    journal.append([draft(CommandGiven(name=name, args=args, by=by, via="file", done=True, said=said), tag=tag)])


def as_json(found: Collection[JobView]) -> str:
    """The jobs as a JSON list."""
    return json.dumps([job.model_dump(mode="json") for job in found], indent=1, allow_nan=False)
