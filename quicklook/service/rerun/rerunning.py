"""An exposure, or cameras of it, processed again from the raw files: a new revision, by the daemon that has the exposure."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.events import Seen, draft
from quicklook.core.keys import Unit
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import next_revision
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import JOBS, Journal


def rerun(journal: Journal, out: Path, unit: Unit, tag: str, parts: Collection[str] = (), *, unit_s: float = 600.0) -> int:
    """Open a new revision of a unit in which these parts (none: all) are done again; verdicts of the others are taken over. Returns its number.

    Raises BadData where the journal does not know the unit or a part, or a raw file is gone; NotReadyYet while it is being worked on.
    """
    with journal.transaction() as connection:
        return _open_again(connection, journal, out, unit, tag, parts, unit_s)


def requeue_failed(journal: Journal, out: Path, tag: str, unit: Unit | None = None, *, unit_s: float = 600.0) -> list[str]:
    """Do again what has failed in the latest revision of a unit, or of all: a verdict was given, so this is a new revision. Returns unit/part.

    Raises BadData where nothing has failed, or a raw file is gone: then nothing is opened.
    """
    opened = []
    with journal.transaction() as connection:
        failed = sa.select(JOBS.c.unit, JOBS.c.part, JOBS.c.revision).where(JOBS.c.tag == tag, JOBS.c.state == jobs.FAILED)
        rows = connection.execute(failed.where(JOBS.c.unit == str(unit)) if unit else failed).all()
        for name in sorted({row.unit for row in rows}):
            row = jobs.latest_unit(connection, Unit.parse(name), tag)
            parts = sorted(r.part for r in rows if r.unit == name and row is not None and r.revision == row.revision)
            if row is not None and parts and row.closed and not _busy(connection, row):
                _open_again(connection, journal, out, row.unit, tag, parts, unit_s)
                opened += [f"{name}/{part}" for part in parts]
    if not opened:
        of = f"of exposure {unit}" if unit else f"under tag {tag}"
        raise BadData(f"no job {of} has failed and waits to be done again", what_next="`quicklook ctl rerun` processes any exposure again.")
    return opened


def _open_again(
    connection: sa.Connection, journal: Journal, out: Path, unit: Unit, tag: str, parts: Collection[str], unit_s: float
) -> int:
    old = jobs.latest_unit(connection, unit, tag)
    if old is None:
        raise BadData(f"the journal knows no exposure {unit} under tag {tag}", what_next="Check night, number and tag.")
    if not old.closed or _busy(connection, old):
        raise NotReadyYet(f"exposure {unit} is being worked on; it can be processed again when it is concluded")
    rows = connection.execute(sa.select(JOBS).where(*_of(old)).order_by(JOBS.c.id)).all()
    chosen = _chosen(rows, unit, parts)
    new = _revision_after(old, out, unit_s)
    jobs.add_unit(connection, new, ())
    jobs.carry_over(connection, old, new, [row.part for row in chosen])
    for row in chosen:
        jobs.add_jobs(connection, dataclasses.replace(new, path=row.path, tags={**new.tags, "flavor": row.flavor}), [row.part])
    for path in dict.fromkeys(row.path for row in chosen):
        seen = Seen(file=Path(path).name, size=Path(path).stat().st_size, parts=[r.part for r in chosen if r.path == path], tags=dict(new.tags))
        journal.append([draft(seen, unit=unit, tag=tag, revision=new.revision)], connection)
    return new.revision


def _chosen(rows: Collection[Any], unit: Unit, parts: Collection[str]) -> list[Any]:
    if strange := set(parts) - {row.part for row in rows}:
        there = ", ".join(row.part for row in rows) or "none"
        raise BadData(f"exposure {unit} has no camera {', '.join(sorted(strange))}; it has: {there}", what_next="Name one of these.")
    chosen = [row for row in rows if not parts or row.part in parts]
    if gone := next((row.path for row in chosen if not Path(row.path).is_file()), None):
        raise BadData(f"{gone} is gone; exposure {unit} cannot be processed again", what_next="Bring the file back.")
    return chosen


def _revision_after(old: UnitRow, out: Path, unit_s: float) -> UnitRow:
    now = time.time_ns()
    revision = max(next_revision(exposure_folder(out, old.tag, old.unit)), old.revision + 1)
    deadline = now + int(unit_s * 1e9)
    return dataclasses.replace(old, revision=revision, closed_ns=None, seen_ns=now, deadline_ns=deadline, closed=False)


def _of(row: UnitRow) -> tuple[sa.ColumnElement[bool], ...]:
    return (JOBS.c.unit == str(row.unit), JOBS.c.tag == row.tag, JOBS.c.revision == row.revision)


def _busy(connection: sa.Connection, row: UnitRow) -> bool:
    working = sa.select(sa.func.count()).where(*_of(row), JOBS.c.state.in_((jobs.OPEN, jobs.RUNNING)))
    return bool(connection.execute(working).scalar())
