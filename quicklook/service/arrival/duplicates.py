"""Whether a file that has come is one that was taken before under another name: renamed, moved, linked or copied."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from quicklook.service.arrival.watcher import Arrived
from quicklook.service.journal.jobs import OPEN, RUNNING, UnitRow
from quicklook.service.journal.journal import FILES, JOBS, UNITS


def taken_from(connection: sa.Connection, row: UnitRow, parts: Sequence[str]) -> str | None:
    """The one file that all these parts of a unit were taken from; None where there is none, or more than one."""
    of_unit = (JOBS.c.unit == str(row.unit), JOBS.c.tag == row.tag, JOBS.c.revision == row.revision)
    rows = connection.execute(sa.select(JOBS.c.part, JOBS.c.path).where(*of_unit, JOBS.c.part.in_(list(parts)))).all()
    paths = {r.path for r in rows}
    return paths.pop() if len(rows) == len(parts) and len(paths) == 1 else None


def same_content(connection: sa.Connection, tag: str, earlier: str, found: Arrived) -> bool:
    """Whether `found` is what was taken as `earlier`. Where that is gone, size and time of change say it, else every byte."""
    known = connection.execute(sa.select(FILES).where(FILES.c.path == earlier, FILES.c.tag == tag)).first()
    if known is None or known.size != found.size:
        return False
    try:
        there, here = Path(earlier).stat(), found.path.stat()
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return True
        return there.st_size == found.size and there.st_mtime_ns == known.mtime_ns and filecmp.cmp(earlier, found.path, shallow=False)
    except FileNotFoundError:
        return bool(known.mtime_ns == found.mtime_ns)
    except OSError:
        return False


def move(connection: sa.Connection, row: UnitRow, earlier: str, now: str) -> None:
    """What was to be read under the earlier name is read under the new one."""
    of_unit = {"unit": str(row.unit), "tag": row.tag, "revision": row.revision, "path": earlier}
    jobs = sa.update(JOBS).where(*(JOBS.c[k] == v for k, v in of_unit.items()), JOBS.c.state.in_((OPEN, RUNNING)))
    connection.execute(jobs.values(path=now))
    connection.execute(sa.update(UNITS).where(*(UNITS.c[k] == v for k, v in of_unit.items())).values(path=now))
