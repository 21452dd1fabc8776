"""What has come for a session: exposures as the journal has them, of which only what may have changed is read again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from quicklook.core.keys import Unit
from quicklook.core.sequence import Came
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import JOBS, UNITS

# the tag is looked at here, where an index on it would have all jobs of years gone through for the few of a number or an exposure
_CHUNK = 500
"""So many exposures are asked for at once; SQLite takes a thousand names."""
_LAST_JOB = sa.select(sa.func.max(JOBS.c.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """An exposure in the journal: its cameras with their files, whether it has its verdict, and whether all of its work is done."""

    came: Came
    revision: int
    files: Mapping[str, str]
    judged: bool
    done: bool


def last_job(connection: sa.Connection) -> int:
    """Number of the last job there is. Exposures get jobs when they come, so that it tells earlier from later whatever the clock says."""
    return int(connection.execute(_LAST_JOB).scalar() or 0)


def last_job_before(connection: sa.Connection, tag: str, seen_ns: int) -> int:
    """Number of the last job before the first exposure under the tag that was seen at this time (UTC, ns) or later."""
    later = (JOBS.c.unit == UNITS.c.unit) & (JOBS.c.tag == UNITS.c.tag)
    first = sa.select(sa.func.min(JOBS.c.id)).join(UNITS, later).where(UNITS.c.tag == tag, UNITS.c.seen_ns >= seen_ns)
    number = connection.execute(first).scalar()
    return last_job(connection) if number is None else int(number) - 1


@dataclass(slots=True, kw_only=True)
class Exposures:
    """The latest revision of the exposures under a tag: of those that came after the job `after`, or, where `first` is given, of all with this
    number or a higher one."""

    tag: str
    after: int
    first: int | None = None
    by_unit: dict[Unit, Exposure] = field(default_factory=dict)
    _known: tuple[int, int, int] | None = None

    def look(self, connection: sa.Connection) -> bool:
        """Read what is new, and what was not done; whether there was anything."""
        now = self._fingerprint(connection)
        if now == self._known:
            return False
        units = {str(u) for u, e in self.by_unit.items() if not e.done} | self._new(connection, None if self._known is None else self._known[0])
        self.by_unit.update(self._read(connection, units))
        self._known = now
        return True

    def _fingerprint(self, connection: sa.Connection) -> tuple[int, int, int]:
        """What changes whenever an exposure comes, gets its verdict, or a job of one ends; quick, however long the journal is."""
        of_open = sa.select(sa.func.count()).where(UNITS.c.tag == self.tag, UNITS.c.verdict_ns.is_(None))
        unfinished = sa.select(sa.func.count()).where(JOBS.c.tag == self.tag, JOBS.c.state.in_((jobs.OPEN, jobs.RUNNING)))
        return last_job(connection), connection.execute(of_open).scalar_one(), connection.execute(unfinished).scalar_one()

    def _new(self, connection: sa.Connection, looked: int | None) -> set[str]:
        """Exposures with jobs that were not there at the last look."""
        if looked is None and self.first is not None:
            number = sa.cast(sa.func.substr(UNITS.c.unit, sa.func.instr(UNITS.c.unit, "/") + 1), sa.Integer)
            return set(connection.execute(sa.select(UNITS.c.unit).where(UNITS.c.tag == self.tag, number >= self.first)).scalars())
        since = self.after if looked is None else looked
        rows = connection.execute(sa.select(JOBS.c.unit, JOBS.c.tag).where(JOBS.c.id > since))
        found = {row.unit for row in rows if row.tag == self.tag}
        if self.first is not None:
            return {u for u in found if Unit.parse(u).expid >= self.first}
        return {u for u in found if Unit.parse(u) in self.by_unit} | self._later(connection, found)

    def _later(self, connection: sa.Connection, units: Collection[str]) -> set[str]:
        """Those that came after the launch: an earlier one may just have been done again."""
        out = set[str]()
        for chunk in _chunks(units):
            query = sa.select(JOBS.c.unit).where(JOBS.c.unit.in_(chunk), JOBS.c.tag == self.tag)
            out |= set(connection.execute(query.group_by(JOBS.c.unit).having(sa.func.min(JOBS.c.id) > self.after)).scalars())
        return out

    def _read(self, connection: sa.Connection, units: Collection[str]) -> Iterator[tuple[Unit, Exposure]]:
        for chunk in _chunks(units):
            rows = connection.execute(sa.select(UNITS).where(UNITS.c.unit.in_(chunk), UNITS.c.tag == self.tag).order_by(UNITS.c.revision))
            latest = {row.unit: row for row in rows}
            parts: dict[str, list[Any]] = {}
            columns = (JOBS.c.unit, JOBS.c.tag, JOBS.c.revision, JOBS.c.part, JOBS.c.path, JOBS.c.state)
            for part in connection.execute(sa.select(*columns).where(JOBS.c.unit.in_(chunk))):
                if part.tag == self.tag and part.unit in latest and part.revision == latest[part.unit].revision:
                    parts.setdefault(part.unit, []).append(part)
            for name, row in latest.items():
                unit, of, judged = Unit.parse(name), parts.get(name, []), row.verdict_ns is not None
                yield unit, Exposure(
                    came=Came(unit=unit, tags=json.loads(row.tags)),
                    revision=row.revision,
                    files={p.part: p.path for p in of},
                    judged=judged,
                    done=judged and all(p.state not in (jobs.OPEN, jobs.RUNNING) for p in of),
                )


def _chunks(units: Collection[str]) -> Iterator[list[str]]:
    names = sorted(units)
    for i in range(0, len(names), _CHUNK):
        yield names[i : i + _CHUNK]
