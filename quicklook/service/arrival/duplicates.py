"""Whether a file that has come is one that was taken before under another name: renamed, moved, linked or copied."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

from quicklook.service.arrival.arrived import Arrived
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import JOBS, UNITS


def taken_from(connection: sa.Connection, row: UnitRow, parts: Sequence[str]) -> str | None:
    """The one file that all these parts of a unit were taken from; None where there is none, or more than one."""
    of_unit = (JOBS.c.unit == str(row.unit), JOBS.c.tag == row.tag, JOBS.c.revision == row.revision)
    rows = connection.execute(sa.select(JOBS.c.part, JOBS.c.path).where(*of_unit, JOBS.c.part.in_(list(parts)))).all()
    paths = {r.path for r in rows}
    return paths.pop() if len(rows) == len(parts) and len(paths) == 1 else None


class Likeness(StrEnum):
    """What a file is to one that was taken before; `gone`: it is not there any more as it was.

    `orphan`: the earlier one is not there any more, and may have been its source.
    """

    OTHER, SAME, MOVED, GONE, ORPHAN = "other", "same", "moved", "gone", "orphan"


def likeness(size: int, mtime_ns: int, earlier: Path, found: Arrived) -> Likeness:
    """What `found` is to what was taken as `earlier`, of this size and time. Where that is gone, size and time of change say it, else every byte."""
    if size != found.size:
        return Likeness.OTHER
    try:
        if (here := found.path.stat()).st_mtime_ns != found.mtime_ns:
            return Likeness.GONE  # as what it is now, it is found anew
        there = earlier.stat()
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return Likeness.SAME
        same = there.st_size == found.size and there.st_mtime_ns == mtime_ns and filecmp.cmp(earlier, found.path, shallow=False)
    except FileNotFoundError:
        if not found.path.exists():
            return Likeness.GONE
        return Likeness.MOVED if mtime_ns == found.mtime_ns else Likeness.ORPHAN
    except OSError:
        return Likeness.OTHER
    return Likeness.SAME if same else Likeness.OTHER


def move(connection: sa.Connection, row: UnitRow, earlier: str, now: str) -> None:
    """What was read under the earlier name, or is to be, is under the new one: for who does it again, or compares the next file with it."""
    of_unit = {"unit": str(row.unit), "tag": row.tag, "revision": row.revision, "path": earlier}
    jobs = sa.update(JOBS).where(*(JOBS.c[k] == v for k, v in of_unit.items()))
    connection.execute(jobs.values(path=now))
    connection.execute(sa.update(UNITS).where(*(UNITS.c[k] == v for k, v in of_unit.items())).values(path=now))
