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
from quicklook.service.jobs import DONE, FAILED, OPEN, RUNNING, Job
from quicklook.service.journal import BUILDS, JOBS

IN_ORDER = (Status.NORMAL, Status.WARNING)
"""Verdicts of exposures that make a group; the builder looks at each again by its own QAs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """A calibration that is built when `count` exposures of a flavor, of one night and camera, are done and in order."""

    builder: str
    flavor: str
    count: int


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
        if plan.flavor != job.flavor:
            continue
        group = _in_order(connection, job, plan)
        known = connection.execute(sa.select(BUILDS).where(*_of(plan.builder, job))).first()
        if len(group) < plan.count or (known is not None and not _again(known, len(group))):
            continue
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


def _of(builder: str, job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    return (BUILDS.c.builder == builder, BUILDS.c.night == job.unit.night, BUILDS.c.part == job.part, BUILDS.c.tag == job.tag)


def _in_order(connection: sa.Connection, job: Job, plan: BuildPlan) -> list[Any]:
    """The exposures of the night, the latest revision of each."""
    where = (JOBS.c.tag == job.tag, JOBS.c.part == job.part, JOBS.c.flavor == plan.flavor, JOBS.c.announced)
    night = JOBS.c.unit.like(f"{job.unit.night:08d}/%")
    latest = {row.unit: row for row in connection.execute(sa.select(JOBS).where(*where, night).order_by(JOBS.c.unit, JOBS.c.revision))}
    return [row for row in latest.values() if row.status in IN_ORDER]


def take_next(connection: sa.Connection, tag: str, now_ns: int) -> BuildJob | None:
    """The next open build of a tag, newest first, and mark it as running. One runs at a time: a group takes much memory."""
    if connection.execute(sa.select(BUILDS.c.id).where(BUILDS.c.state == RUNNING, BUILDS.c.tag == tag)).first() is not None:
        return None
    query = sa.select(BUILDS).where(BUILDS.c.state == OPEN, BUILDS.c.tag == tag, BUILDS.c.not_before_ns <= now_ns)
    row = connection.execute(query.order_by(BUILDS.c.unit.desc(), BUILDS.c.id).limit(1)).first()
    if row is None:
        return None
    connection.execute(sa.update(BUILDS).where(BUILDS.c.id == row.id).values(state=RUNNING, attempts=row.attempts + 1))
    return _job({**row._mapping, "attempts": row.attempts + 1})


def is_running(connection: sa.Connection, build_id: int) -> bool:
    """Whether a build is still that of the worker that has it."""
    row = connection.execute(sa.select(BUILDS.c.state).where(BUILDS.c.id == build_id)).first()
    return row is not None and row.state == RUNNING


def release_running(connection: sa.Connection, tag: str) -> int:
    """After a restart: builds of a tag whose workers are gone are open again. Returns how many."""
    return connection.execute(sa.update(BUILDS).where(BUILDS.c.state == RUNNING, BUILDS.c.tag == tag).values(state=OPEN)).rowcount


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
