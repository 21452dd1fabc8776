"""From a file that was found to jobs in the journal: companions are waited for, units and their revisions are made.

What went on without a companion is remembered, and processed again as a new revision when the companion comes.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.events import Refused, Seen, draft
from quicklook.core.results import Failure
from quicklook.io.folders import exposure_folder
from quicklook.io.reader import Peek, Reader
from quicklook.io.revisions import next_revision
from quicklook.service.arrival import duplicates
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.aside import Aside, NoAnswer
from quicklook.service.arrival.companions import Companions, lacking
from quicklook.service.arrival.duplicates import Likeness
from quicklook.service.arrival.tree import printable
from quicklook.service.arrival.vanished import Vanished
from quicklook.service.arrival.watcher import Watcher
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import Journal
from quicklook.service.site import Site
from quicklook.service.workers.processing import Recipe

log = logging.getLogger("quicklook.daemon")

LATE_S = 24 * 3600.0
"""So long a companion is looked for after the work has gone on without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """The file that an exposure was taken from before: its row in the journal, and what the new one is to it, where that was looked at."""

    row: Any
    likeness: Likeness | None = None


class Arrivals:
    """Takes what the watcher finds into the journal. Whatever the journal raises comes through: the same may be given again.

    Nothing here touches a raw file in the thread of who calls: its file system may hang. `wake` is called when such a look was late. `looked`:
    how many scans of the whole tree every file was given of that they found.
    """

    def __init__(
        self, journal: Journal, site: Site, recipe: Recipe, reader: Reader, looked: Callable[[], int], wake: Callable[[], None] = lambda: None
    ) -> None:
        self._journal, self._site, self._recipe, self._reader = journal, site, recipe, reader
        self._watch = site.file.watch
        self._aside = Aside("quicklook-companions", wake)
        self._companions = Companions(reader.peek, self._aside, settle_s=self._watch.settle_s, rest_s=self._watch.rescan_s)
        self._unlike: deque[Arrived] = deque()
        self._vanished = Vanished(looked, most_s=self._watch.unit_s)

    @property
    def waiting(self) -> int:
        """Files whose companions are waited for, or which are compared with others."""
        return self._companions.waiting + len(self._unlike) + len(self._vanished)

    def close(self) -> None:
        """Look at no more files."""
        self._aside.close()

    def recall(self, watcher: Watcher) -> None:
        """Tell the watcher what an earlier life of the daemon has dealt with, and look again for what was lacking then."""
        with self._journal.reading() as connection:
            for row in jobs.files(connection, self._recipe.tag):
                path = Path(row.path)
                watcher.known(path, row.size, row.mtime_ns, refused=row.state != jobs.TAKEN, barred=row.state == jobs.BARRED)
                if row.lacks_until_ns:
                    found = Arrived(path=path, size=row.size, mtime_ns=row.mtime_ns, seen_ns=row.mtime_ns)
                    self._companions.follow(found, row.lacks_until_ns)

    def take(self, found: Arrived | Rejected) -> None:
        """Make jobs of a file, at once or when its companions are there, or refuse it."""
        self._vanished.drop(found.path)
        if isinstance(found, Rejected):
            self._refuse(found)
        elif not isinstance(found.facts, Peek):
            self._companions.wait_for(found, 0.0)
        elif self._watch.companion_s > 0 and (lacking(found.facts) or found.facts.missing_cameras):
            # cameras that should be in the file: it may have been seen between two of its HDUs
            self._companions.wait_for(found, self._watch.companion_s, lacking(found.facts))
        else:
            self._enter(found, found.facts)

    def look_again(self) -> None:
        """Go on with what has waited for companions, and do again what has got them late."""
        for _ in range(len(self._unlike)):
            found = self._unlike[0]
            if isinstance(found.facts, Peek):
                self._enter(found, found.facts)
            self._unlike.popleft()
        while (orphan := self._vanished.over()) is not None:
            if isinstance(orphan.facts, Peek):
                self._enter(orphan, orphan.facts, orphan=True)
            self._vanished.drop(orphan.path)
        ready = self._companions.ready()
        while ready:
            one = ready[0]
            if isinstance(one.found.facts, Peek):
                if one.again:
                    log.info("what %s lacked has come; it is processed again", printable(str(one.found.path)))
                self._enter(one.found, one.found.facts, again=one.again)
            if ready and ready[0] is one:  # who enters a file takes it from what is ready
                ready.popleft()

    def _refuse(self, found: Rejected) -> None:
        """Say so, once for each content of a file."""
        tag, path, state = self._recipe.tag, str(found.path), jobs.BARRED if found.barred else jobs.REFUSED
        with self._journal.transaction() as connection:
            known = jobs.file_row(connection, path, tag)
            if known is not None and (known.size, known.mtime_ns, known.state) == (found.size, found.mtime_ns, state):
                return
            jobs.remember_file(connection, path, tag, found.size, found.mtime_ns, state)
            self._journal.append([draft(Refused(file=found.path.name, path=path, failure=found.failure), tag=tag)], connection)
        log.warning("%s is refused: %s", printable(path), printable(found.failure.message))

    def _enter(self, found: Arrived, peek: Peek, *, again: bool = False, orphan: bool = False) -> None:
        """Make a unit and its jobs of a file; `again` though the file is as it was. One that has to be compared with another may be entered later.

        `orphan`: that other file was looked for, and is nowhere.
        """
        try:
            self._recipe.chain_for(peek.flavor)
        except Exception as error:  # the chain may be of somebody else
            # barred: with another configuration it is taken
            self._refuse(Rejected(path=found.path, size=found.size, mtime_ns=found.mtime_ns, failure=Failure.of(error), barred=True))
            return
        earlier = self._entered(found, peek, again, None)
        while earlier is not None:
            size, mtime_ns, path = earlier.row.size, earlier.row.mtime_ns, Path(earlier.row.path)
            try:
                like = self._aside.ask((found.path, found.mtime_ns, path), partial(duplicates.likeness, size, mtime_ns, path, found))
            except NoAnswer:
                self._unlike.append(found)
                return
            if like is Likeness.ORPHAN and not orphan:
                self._vanished.hold(found, earlier.row.path)
                return
            earlier = self._entered(found, peek, again, dataclasses.replace(earlier, likeness=like))

    def _entered(self, found: Arrived, peek: Peek, again: bool, compared: _Earlier | None) -> _Earlier | None:
        """Enter a file into the journal. Returns the earlier file of the exposure where it is to be compared with that first, and nothing is done."""
        tag, path = self._recipe.tag, str(found.path)
        until_ns = time.time_ns() + int(LATE_S * 1e9) if lacking(peek) else None
        on_disk = next_revision(exposure_folder(self._recipe.out, tag, peek.unit))
        with self._journal.transaction() as connection:
            if not again and jobs.file_known(connection, path, tag, found.size, found.mtime_ns):
                return None
            old = jobs.latest_unit(connection, peek.unit, tag)
            earlier = None if again or old is None else self._earlier(connection, old, peek, path)
            if earlier is not None and old is not None:
                if compared is None or compared.row != earlier.row:
                    return earlier
                if compared.likeness not in (Likeness.OTHER, Likeness.ORPHAN):
                    self._once_more(connection, found, old, compared)
                    return None
            jobs.remember_file(connection, path, tag, found.size, found.mtime_ns, jobs.TAKEN, until_ns)
            row = self._enter_unit(connection, self._unit_row(found, peek, again), old, peek, on_disk, beside=earlier is not None)
            before = earlier.row.path if earlier is not None else ""
            seen = Seen(file=found.path.name, path=path, size=found.size, parts=list(peek.cameras), tags=dict(peek.tags), earlier=before)
            self._journal.append([draft(seen, unit=peek.unit, tag=tag, revision=row.revision)], connection)
        self._companions.leave(found.path)
        if until_ns is not None:
            self._companions.follow(found, until_ns)
        log.info("%s has arrived: %s, %s", printable(os.path.relpath(path, self._site.raw)), peek.flavor, " ".join(peek.cameras))
        if before:
            words = "%s is exposure %s once more, with another content than %s: revision %d; if they are two exposures, one has a wrong number"
            log.warning(words, printable(path), peek.unit, printable(before), row.revision)
        return None

    def _earlier(self, connection: sa.Connection, old: UnitRow, peek: Peek, path: str) -> _Earlier | None:
        """The one other file that these cameras of the exposure were taken from."""
        name = duplicates.taken_from(connection, old, peek.cameras)
        row = jobs.file_row(connection, name, self._recipe.tag) if name is not None and name != path else None
        return _Earlier(row=row) if row is not None else None

    def _once_more(self, connection: sa.Connection, found: Arrived, old: UnitRow, earlier: _Earlier) -> None:
        """The exposure was taken from this very content under another name. Where that is gone, the work goes on under the new one."""
        if earlier.likeness is Likeness.GONE:
            return
        tag, path, moved, before = self._recipe.tag, str(found.path), earlier.likeness is Likeness.MOVED, earlier.row.path
        until_ns = earlier.row.lacks_until_ns if moved else None
        jobs.remember_file(connection, path, tag, found.size, found.mtime_ns, jobs.TAKEN, until_ns)
        if moved:
            duplicates.move(connection, old, before, path)
            self._companions.leave(Path(before))
            self._unlike.extend(self._vanished.moved(before))
        if until_ns is not None:
            self._companions.follow(found, until_ns)
        log.info("%s is %s, %s; it is not taken again", printable(path), printable(before), "moved" if moved else "once more")

    def _unit_row(self, found: Arrived, peek: Peek, again: bool) -> UnitRow:
        return UnitRow(
            unit=peek.unit,
            tag=self._recipe.tag,
            revision=0,
            path=str(found.path),
            expected=self._site.instrument.cameras.expected,
            tags=dict(peek.tags),
            closed_ns=None if again else found.closed_ns,
            seen_ns=found.seen_ns,
            deadline_ns=time.time_ns() + int(self._watch.unit_s * 1e9),
        )

    def _enter_unit(
        self, connection: sa.Connection, new: UnitRow, old: UnitRow | None, peek: Peek, on_disk: int, *, beside: bool = False
    ) -> UnitRow:
        """Store the unit, or further cameras of one that is open, or a new revision; returns it as stored. `old`: its latest revision so far.

        `beside`: these cameras were taken from another file with another content, which is done too: it may be another exposure.
        """
        file_per_camera = self._site.instrument.layout.camera_hdus is None
        if old is not None and not old.closed and not beside and self._may_join(connection, old, peek, file_per_camera):
            jobs.add_jobs(connection, dataclasses.replace(old, path=new.path, tags=new.tags), peek.cameras)
            return old
        new = dataclasses.replace(new, revision=on_disk if old is None else max(on_disk, old.revision + 1))
        jobs.add_unit(connection, new, peek.cameras)
        if old is not None and file_per_camera:
            jobs.carry_over(connection, old, new, peek.cameras)
        if old is not None and not beside and (file_per_camera or old.path == new.path):
            jobs.supersede(connection, old, time.time_ns())
        return new

    @staticmethod
    def _may_join(connection: sa.Connection, old: UnitRow, peek: Peek, file_per_camera: bool) -> bool:
        """Whether the cameras of a file can join an open unit: they are new in it or, where each has a file, nobody works on them yet."""
        states = {p.part: p for p in jobs.part_states(connection, old)}
        here = [states[c] for c in peek.cameras if c in states]
        return not here or (file_per_camera and all(p.state == jobs.OPEN and not p.announced for p in here))
