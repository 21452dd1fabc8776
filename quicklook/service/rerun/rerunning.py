"""An exposure, or cameras of it, processed again from the raw files: a new revision, by the daemon that has the exposure."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from quicklook.core.errors import BadData, NotReadyYet, QuicklookError
from quicklook.core.events import Seen, draft
from quicklook.core.keys import Unit
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import next_revision
from quicklook.service.arrival.patience import Patience
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.jobview import requeue_builds
from quicklook.service.journal.journal import JOBS, Journal

LOOK_S = 10.0
"""Raw files are looked at within so long."""


_NOT_KNOWN = (
    "Check night, number and tag. A raw file that was refused is no exposure yet (`quicklook ledger` names it, and why): write it again, or "
    "`touch` it when what was wrong is mended, and the daemon takes it."
)


class Requeued(NamedTuple):
    """Jobs (``unit/part``) and builds that are done again, and raw files that are gone, so that their jobs are not."""

    jobs: list[str]
    gone: list[str]

    @property
    def said(self) -> str:
        """In a sentence."""
        n = len(self.jobs)
        done = f"{n} job{'s that have' if n != 1 else ' that has'} failed {'are' if n != 1 else 'is'} done again"
        return f"{done}; not done again, since the raw file is gone: {', '.join(self.gone)}" if self.gone else done


def rerun(journal: Journal, out: Path, unit: Unit, tag: str, parts: Collection[str] = (), *, unit_s: float = 600.0) -> int:
    """Open a new revision of a unit in which these parts (none: all) are done again; verdicts of the others are taken over. Returns its number.

    Raises BadData where the journal does not know the unit or a part, or a raw file is gone; NotReadyYet while it is being worked on; Hangs where
    the file system of the raw files does not answer.
    """
    with journal.reading() as connection:
        rows = _rows(connection, _latest(connection, unit, tag))
    sizes = _sizes({row.path for row in rows})  # not while the journal is locked: a file system may hang
    with journal.transaction() as connection:
        old = _latest(connection, unit, tag)
        if not old.closed or _busy(connection, old):
            raise NotReadyYet(f"exposure {unit} is being worked on; it can be processed again when it is concluded")
        return _open_again(connection, journal, out, old, _chosen(_rows(connection, old), unit, parts, sizes), sizes, unit_s)


def requeue_failed(journal: Journal, out: Path, tag: str, unit: Unit | None = None, *, unit_s: float = 600.0) -> Requeued:
    """Do again what has failed in the latest revision of a unit, or of all, and builds that have: a verdict was given, so this is a new revision.

    Raises BadData where nothing has failed, the journal does not know the unit, or all raw files are gone; NotReadyYet where all that has failed is
    of exposures that are still being worked on; Hangs as `rerun` does.
    """
    failed = sa.select(JOBS.c.unit, JOBS.c.part, JOBS.c.revision, JOBS.c.path).where(JOBS.c.tag == tag, JOBS.c.state == jobs.FAILED)
    failed = failed.where(JOBS.c.unit == str(unit)) if unit else failed
    with journal.reading() as connection:
        sizes = _sizes({row.path for row in connection.execute(failed)})
    opened, gone, busy = list[str](), list[str](), list[str]()
    with journal.transaction() as connection:
        if unit is not None:
            _latest(connection, unit, tag)
        by_unit = dict[str, list[Any]]()
        for row in connection.execute(failed.order_by(JOBS.c.unit, JOBS.c.part)):
            by_unit.setdefault(row.unit, []).append(row)
        for name, rows in by_unit.items():
            old = _latest(connection, Unit.parse(name), tag)
            rows = [row for row in rows if row.revision == old.revision]
            if rows and (not old.closed or _busy(connection, old)):
                busy.append(name)
                continue
            gone += [row.path for row in rows if sizes.get(row.path) is None]
            parts = [row.part for row in rows if sizes.get(row.path) is not None]
            if parts:
                _open_again(connection, journal, out, old, _chosen(_rows(connection, old), old.unit, parts, sizes), sizes, unit_s)
                opened += [f"{name}/{part}" for part in parts]
        opened += requeue_builds(connection, tag) if unit is None else []
    if not opened:
        raise _nothing(f"of exposure {unit}" if unit else f"under tag {tag}", gone, busy)
    return Requeued(opened, list(dict.fromkeys(gone)))


def _nothing(of: str, gone: Sequence[str], busy: Sequence[str]) -> QuicklookError:
    """Why nothing is done again."""
    if busy:
        return NotReadyYet(f"what has failed {of} is of exposures that are being worked on: {', '.join(busy)}")
    if gone:
        return BadData(f"nothing {of} is done again: {', '.join(dict.fromkeys(gone))} is gone", what_next="Bring the raw files back.")
    return BadData(f"no job {of} has failed", what_next="`quicklook ctl rerun NIGHT/EXPID` processes an exposure again that has not failed.")


def _sizes(paths: Collection[str]) -> dict[str, int | None]:
    """Size of each raw file, byte; None where it is gone. Raises Hangs."""
    patience = Patience(LOOK_S)

    def looked() -> dict[str, int | None]:
        out = dict[str, int | None]()
        for path in paths:
            patience.look(path)
            out[path] = os.stat(path).st_size if os.path.isfile(path) else None
        return out

    return patience.run(looked, next(iter(paths), ""))


def _latest(connection: sa.Connection, unit: Unit, tag: str) -> UnitRow:
    if (row := jobs.latest_unit(connection, unit, tag)) is None:
        raise BadData(f"the journal knows no exposure {unit} under tag {tag}", what_next=_NOT_KNOWN)
    return row


def _rows(connection: sa.Connection, row: UnitRow) -> Sequence[Any]:
    return connection.execute(sa.select(JOBS).where(*_of(row)).order_by(JOBS.c.id)).all()


def _open_again(
    connection: sa.Connection, journal: Journal, out: Path, old: UnitRow, chosen: Sequence[Any], sizes: Mapping[str, int | None], unit_s: float
) -> int:
    new = _revision_after(old, out, unit_s)
    jobs.add_unit(connection, new, ())
    jobs.carry_over(connection, old, new, [row.part for row in chosen])
    for row in chosen:
        jobs.add_jobs(connection, dataclasses.replace(new, path=row.path, tags={**new.tags, "flavor": row.flavor}), [row.part])
    for path in dict.fromkeys(row.path for row in chosen):
        parts = [r.part for r in chosen if r.path == path]
        seen = Seen(file=Path(path).name, path=path, size=sizes[path] or 0, parts=parts, tags=dict(new.tags))
        journal.append([draft(seen, unit=new.unit, tag=new.tag, revision=new.revision)], connection)
    return new.revision


def _chosen(rows: Collection[Any], unit: Unit, parts: Collection[str], sizes: Mapping[str, int | None]) -> list[Any]:
    if strange := set(parts) - {row.part for row in rows}:
        there = ", ".join(row.part for row in rows) or "none"
        raise BadData(f"exposure {unit} has no camera {', '.join(sorted(strange))}; it has: {there}", what_next="Name one of these.")
    chosen = [row for row in rows if not parts or row.part in parts]
    if gone := [row for row in chosen if sizes.get(row.path) is None]:
        cameras, left = ", ".join(row.part for row in gone), ", ".join(row.part for row in chosen if row not in gone)
        what_next = f"Bring the file back, or name a camera whose file is there: {left}." if left else "Bring the file back to where it was."
        raise BadData(f"{gone[0].path} is gone; {cameras} of exposure {unit} cannot be processed again", what_next=what_next)
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
