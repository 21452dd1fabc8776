"""Exposures that could not be worked on for want of a calibration are processed again, as a new revision, when that calibration has been made."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.events import Seen, draft
from quicklook.core.keys import Unit
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import next_revision
from quicklook.service.calibrating.buildmembers import lacked
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import Job, UnitRow
from quicklook.service.journal.journal import JOBS, Journal
from quicklook.service.workers.processing import Recipe

log = logging.getLogger("quicklook.daemon")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Opens exposures of a night and camera again. `unit_s`: so long their cameras are waited for before the verdict of the exposure."""

    journal: Journal
    out: Path
    unit_s: float

    @classmethod
    def of(cls, journal: Journal, recipe: Recipe, unit_s: float) -> Again | None:
        """For a recipe; None where nothing is taken over, or where exposures shall stay as they are."""
        wanted = recipe.adoption is not None and recipe.adoption.settings.again
        return cls(journal=journal, out=recipe.out, unit_s=unit_s) if wanted else None

    def __call__(self, connection: sa.Connection, made: Job | BuildJob, kinds: Collection[str]) -> list[Unit]:
        """Those in which a step found no calibration of one of these kinds; returns which. Raises what the journal raises.

        Such a one is UNKNOWN, or worse where something else was found too. One that went without (a bias may be absent) and is not NORMAL may
        be so for want of it: without a bias its structure is taken for light.

        The camera alone is done again; verdicts of the others are taken over. What it gives next may lack another kind: then it is done again when
        that one comes, so that an exposure is processed once for each kind at most.
        """
        opened = []
        for row in self._announced(connection, made):
            unit = Unit.parse(row.unit)
            old = jobs.latest_unit(connection, unit, made.tag)
            if old is not None and old.revision == row.revision and lacked(connection, row, kinds) and Path(row.path).is_file():
                self._open(connection, old, row)
                opened.append(unit)
        if opened:
            log.info("%s: %d exposures that lacked %s are processed again", made.part, len(opened), " or ".join(sorted(kinds)))
        return opened

    def _announced(self, connection: sa.Connection, made: Job | BuildJob) -> list[Any]:
        """The latest revision of every exposure of that night and camera, where it has its verdict and nobody works on it."""
        of_part = (JOBS.c.tag == made.tag, JOBS.c.part == made.part, JOBS.c.unit.like(f"{made.unit.night:08d}/%"))
        rows = connection.execute(sa.select(JOBS).where(*of_part).order_by(JOBS.c.unit, JOBS.c.revision)).all()
        latest = {row.unit: row for row in rows}
        return [r for r in latest.values() if r.announced and r.status != Status.NORMAL and r.state in (jobs.DONE, jobs.FAILED)]

    def _open(self, connection: sa.Connection, old: UnitRow, row: Any) -> None:
        now, part, path = time.time_ns(), str(row.part), Path(row.path)
        revision = max(next_revision(exposure_folder(self.out, old.tag, old.unit)), old.revision + 1)
        new = dataclasses.replace(
            old, revision=revision, path=str(path), closed_ns=None, seen_ns=now, deadline_ns=now + int(self.unit_s * 1e9), closed=False
        )
        jobs.add_unit(connection, new, [part])
        jobs.carry_over(connection, old, new, [part])
        jobs.supersede(connection, old, now)
        seen = Seen(file=path.name, path=str(path), size=path.stat().st_size, parts=[part], tags=dict(old.tags))
        self.journal.append([draft(seen, unit=old.unit, tag=old.tag, revision=revision)], connection)
