"""Groups in the journal: which calibrations are due to be built by the daemon, and what has become of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.calibrating.buildmembers import BuildPlan, fits
from quicklook.service.journal.jobs import DONE, FAILED, OPEN, RUNNING, Job
from quicklook.service.journal.journal import BUILDS, JOBS


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """Work on a group: the builder, its raw files, the camera, and how often it was tried. `unit` is the first of its exposures."""

    id: int
    builder: str
    unit: Unit
    part: str
    tag: str
    files: tuple[str, ...]
    attempts: int


def note(connection: sa.Connection, job: Job, plans: Sequence[BuildPlan]) -> None:
    """After the verdict of a part: open a build for each plan that it completes.

    A group is built once a night and camera; where nothing came of it, again with every further exposure that is in order.
    """
    for plan in plans:
        if plan.flavor == job.flavor:
            _open(connection, job, plan)


def reconsider(connection: sa.Connection, job: Job | BuildJob, plans: Sequence[BuildPlan]) -> None:
    """After a calibration, built from a group or made by the chain of an exposure, was entered into the index: open what has waited for it.

    These are groups whose exposures could not be worked on without it, and those of which nothing was taken over before it was there.
    """
    for plan in plans:
        if not (isinstance(job, BuildJob) and plan.builder == job.builder):
            _open(connection, job, plan, unmade=True)


def _open(connection: sa.Connection, job: Job | BuildJob, plan: BuildPlan, *, unmade: bool = False) -> None:
    known = connection.execute(sa.select(BUILDS).where(*_of(plan.builder, job))).first()
    if known is not None and (known.state == RUNNING or (known.state == DONE and known.status == Status.NORMAL)):
        return
    group = _in_order(connection, job, plan)
    again = known is None or _again(known, len(group)) or (unmade and known.state == DONE)  # not NORMAL, so that it was not taken over
    if len(group) < plan.count or not again:
        return
    files = list(dict.fromkeys(row.path for row in group))
    values = {"unit": group[0].unit, "files": json.dumps(files), "count": len(group), "state": OPEN, "attempts": 0, "not_before_ns": 0}
    if known is None:
        where = {"builder": plan.builder, "night": job.unit.night, "part": job.part, "tag": job.tag}
        connection.execute(sa.insert(BUILDS).values(**where, **values))
    else:
        connection.execute(sa.update(BUILDS).where(BUILDS.c.id == known.id).values(**values))


def _again(known: Any, count: int) -> bool:
    failed = known.state == FAILED or (known.state == DONE and known.status != Status.NORMAL)
    return bool(known.state == OPEN or failed) and count > known.count


def _of(builder: str, job: Job | BuildJob) -> tuple[sa.ColumnElement[bool], ...]:
    return (BUILDS.c.builder == builder, BUILDS.c.night == job.unit.night, BUILDS.c.part == job.part, BUILDS.c.tag == job.tag)


def _in_order(connection: sa.Connection, job: Job | BuildJob, plan: BuildPlan) -> list[Any]:
    """The exposures of the night that may be members, the latest revision of each."""
    where = (JOBS.c.tag == job.tag, JOBS.c.part == job.part, JOBS.c.flavor == plan.flavor, JOBS.c.announced)
    night = JOBS.c.unit.like(f"{job.unit.night:08d}/%")
    latest = {row.unit: row for row in connection.execute(sa.select(JOBS).where(*where, night).order_by(JOBS.c.unit, JOBS.c.revision))}
    return [row for row in latest.values() if fits(connection, row, plan)]


def take_next(connection: sa.Connection, tag: str, now_ns: int, plans: Sequence[BuildPlan] = ()) -> BuildJob | None:
    """The next open build of a tag, and mark it as running. One runs at a time: a group takes much memory.

    Newest first, but what a group needs is built before it where that is open too.
    """
    if connection.execute(sa.select(BUILDS.c.id).where(BUILDS.c.state == RUNNING, BUILDS.c.tag == tag)).first() is not None:
        return None
    query = sa.select(BUILDS).where(BUILDS.c.state == OPEN, BUILDS.c.tag == tag, BUILDS.c.not_before_ns <= now_ns)
    rows = connection.execute(query.order_by(BUILDS.c.unit.desc(), BUILDS.c.id)).all()
    if not rows:
        return None
    row = next((r for r in rows if not any(_before(o, r, plans) for o in rows)), rows[0])
    connection.execute(sa.update(BUILDS).where(BUILDS.c.id == row.id).values(state=RUNNING, attempts=row.attempts + 1))
    return _job({**row._mapping, "attempts": row.attempts + 1})


def _before(one: Any, other: Any, plans: Sequence[BuildPlan]) -> bool:
    """Whether one makes what the other needs, and does not need what the other makes."""
    plan = {p.builder: p for p in plans}
    first, second = plan.get(one.builder), plan.get(other.builder)
    if first is None or second is None or (one.night, one.part) != (other.night, other.part):
        return False
    return bool(first.makes & second.needs) and not second.makes & first.needs


def is_running(connection: sa.Connection, build_id: int) -> bool:
    """Whether a build is still that of the worker that has it."""
    row = connection.execute(sa.select(BUILDS.c.state).where(BUILDS.c.id == build_id)).first()
    return row is not None and row.state == RUNNING


def release_running(connection: sa.Connection, tag: str, died: Failure | None = None) -> int:
    """After a restart: builds of a tag whose workers are gone are open again. Returns how many. What counts as an attempt is as for the jobs."""
    mine = sa.update(BUILDS).where(BUILDS.c.state == RUNNING, BUILDS.c.tag == tag).values(state=OPEN)
    if died is None:
        return connection.execute(mine.values(attempts=sa.func.max(BUILDS.c.attempts - 1, 0))).rowcount
    return connection.execute(mine.values(failure=died.model_dump_json())).rowcount


def last_failure(connection: sa.Connection, build_id: int) -> Failure | None:
    """Why the last attempt came to nothing."""
    text = connection.execute(sa.select(BUILDS.c.failure).where(BUILDS.c.id == build_id)).scalar()
    return Failure.model_validate_json(text) if text else None


def finish(connection: sa.Connection, build_id: int, status: Status) -> None:
    """It was built, with this verdict."""
    connection.execute(sa.update(BUILDS).where(BUILDS.c.id == build_id).values(state=DONE, status=str(status)))


def retry_later(connection: sa.Connection, build_id: int, not_before_ns: int, failure: Failure, attempts: int) -> None:
    """It is open again, not before a time; so many attempts count."""
    values = {"state": OPEN, "not_before_ns": not_before_ns, "failure": failure.model_dump_json(), "attempts": attempts}
    connection.execute(sa.update(BUILDS).where(BUILDS.c.id == build_id).values(**values))


def give_up(connection: sa.Connection, build_id: int, failure: Failure) -> None:
    """It has failed, with its reason; a further exposure may open it again."""
    connection.execute(sa.update(BUILDS).where(BUILDS.c.id == build_id).values(state=FAILED, failure=failure.model_dump_json()))


def unfinished(connection: sa.Connection, tag: str) -> int:
    """How many builds of a tag are open or running."""
    query = sa.select(sa.func.count()).select_from(BUILDS).where(BUILDS.c.tag == tag, BUILDS.c.state.in_((OPEN, RUNNING)))
    return int(connection.execute(query).scalar_one())


def _job(fields: Mapping[str, Any]) -> BuildJob:
    return BuildJob(
        id=fields["id"],
        builder=fields["builder"],
        unit=Unit.parse(fields["unit"]),
        part=fields["part"],
        tag=fields["tag"],
        files=tuple(json.loads(fields["files"])),
        attempts=fields["attempts"],
    )
