"""Closing exposures: their verdict, decision and receipt, once all of their cameras are judged, or it is time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import sqlalchemy as sa

from quicklook.core.events import Payload, Receipt, draft
from quicklook.io.reader import camera_tags
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import EVENTS, Journal
from quicklook.service.site import Site
from quicklook.service.verdicts.concluding import (
    Conclusion,
    conclude,
    conclude_anew,
    said_in_journal,
    save_unit_plots,
    summaries_in_journal,
)
from quicklook.service.verdicts.joining import Joining
from quicklook.service.verdicts.receipts import receipt_of
from quicklook.service.workers.processing import Recipe

log = logging.getLogger("quicklook.daemon")


class Follower(Protocol):
    """One that hears of every exposure that is closed."""

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """An exposure has its verdict; called in the transaction in which that is written."""


class Closing:
    """Gives exposures their verdicts, for the daemon, in its thread. `followers` are told of each in the transaction in which it is written."""

    def __init__(self, journal: Journal, site: Site, recipe: Recipe, followers: Callable[[], Sequence[Follower]], wake: Callable[[], None]) -> None:
        self._journal, self._site, self._recipe, self._followers = journal, site, recipe, followers
        self._joining = Joining.start(recipe.housekeeping, site.file.housekeeping, wake)
        self._joining.recall(journal, recipe.tag)

    def expect(self, row: UnitRow) -> None:
        """An exposure is being processed: what it will need beside its cameras is looked for from now on."""
        self._joining.expect(row)

    def close(self) -> None:
        """Look for nothing any more."""
        self._joining.close()

    def close_due(self) -> None:
        """Conclude what is complete, or past its deadline with no work left. What its parts have given is read and measured before it is closed."""
        self._conclude_late()
        now = time.time_ns()
        with self._journal.reading() as connection:
            due = [row for row in jobs.perhaps_due(connection, self._recipe.tag) if self._is_due(connection, row, now)]
        for row in sorted(filter(self._joining.ready, due), key=lambda r: (r.unit, r.revision), reverse=True):
            with self._journal.reading() as connection:
                states = jobs.part_states(connection, row)
                summaries = summaries_in_journal(connection, row, states, self._tags_of)
                said = said_in_journal(connection, row, states)
            housekeeping = self._joining.take(row)
            self._close(conclude(self._recipe, row, states, summaries, said=said, housekeeping=housekeeping))

    def _conclude_late(self) -> None:
        """Exposures whose housekeeping has come after their verdict are concluded anew."""
        for row in self._joining.come():
            with self._journal.transaction() as connection:
                latest = jobs.latest_unit(connection, row.unit, row.tag)
                if latest is not None and latest.revision == row.revision and conclude_anew(connection, latest, self._site.out):
                    log.info("%s: samples of its housekeeping came late; it is concluded again", row.unit)

    def _tags_of(self, part: str) -> dict[str, str]:
        return {"camera": part, **camera_tags(self._site.instrument, part)}

    def _is_due(self, connection: sa.Connection, row: UnitRow, now: int) -> bool:
        if now > row.deadline_ns:
            return True
        parts = jobs.part_states(connection, row)
        if not all(p.announced for p in parts):
            return False
        complete = bool(row.expected) and not set(row.expected) - {p.part for p in parts}
        whole = self._site.instrument.layout.camera_hdus is not None
        return complete or whole or (not row.expected and now > row.seen_ns + int(self._site.file.watch.gather_s * 1e9))

    def _close(self, done: Conclusion) -> None:
        row = done.row
        with self._journal.transaction() as connection:
            if not jobs.close_unit(connection, row, time.time_ns()):
                return  # somebody has had it opened again meanwhile: the new revision gets the verdict
            self._tell(row, (*done.facts, self._receipt(connection, row)), connection)
            for follower in self._followers():
                follower.closed(connection, done)
        log.info("%s: %s%s", row.unit, done.verdict.status, "".join(f"\n    {r}" for r in done.verdict.reasons))
        if done.card is not None:
            log.info("%s: %s: %s", row.unit, done.card.decision, done.card.why)
        self._tell(row, save_unit_plots(self._recipe, done))

    def _tell(self, row: UnitRow, said: Sequence[Payload], connection: sa.Connection | None = None) -> None:
        if said:
            self._journal.append([draft(p, unit=row.unit, tag=row.tag, revision=row.revision) for p in said], connection)

    def _receipt(self, connection: sa.Connection, row: UnitRow) -> Receipt:
        where = (EVENTS.c.unit == str(row.unit), EVENTS.c.tag == row.tag, EVENTS.c.revision == row.revision)
        rows = connection.execute(sa.select(EVENTS).where(*where).order_by(EVENTS.c.seq))
        return receipt_of(rows, row.closed_ns, row.seen_ns, time.time_ns())
