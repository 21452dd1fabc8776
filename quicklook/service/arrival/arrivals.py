"""From a file that was found to jobs in the journal: companions are waited for, units and their revisions are made.

What went on without a companion is remembered, and processed again as a new revision when the companion comes.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.events import Refused, Seen, draft
from quicklook.core.results import Failure
from quicklook.io.folders import exposure_folder
from quicklook.io.reader import Peek, Reader
from quicklook.io.revisions import next_revision
from quicklook.service.arrival import duplicates
from quicklook.service.arrival.watcher import Arrived, Rejected, Watcher
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import Journal
from quicklook.service.site import Site
from quicklook.service.workers.processing import Recipe

log = logging.getLogger("quicklook.daemon")

LATE_S = 24 * 3600.0
"""So long a companion is looked for after the work has gone on without it."""
_LATE_LOOK_S = 0.2


@dataclass(slots=True)
class _Late:
    """A file that was processed without a companion, and what its folder was like when it was looked at last."""

    found: Arrived
    until_ns: int
    folder_ns: int = 0
    next_look: float = 0.0
    complete_since: float | None = None


class Arrivals:
    """Takes what the watcher finds into the journal. Whatever the journal raises comes through: the same may be given again."""

    def __init__(self, journal: Journal, site: Site, recipe: Recipe, reader: Reader) -> None:
        self._journal, self._site, self._recipe, self._reader = journal, site, recipe, reader
        self._watch = site.file.watch
        self._waiting: dict[Path, tuple[Arrived, float]] = {}
        self._late: dict[Path, _Late] = {}
        self._next_late = 0.0

    @property
    def waiting(self) -> int:
        """Files whose companions are waited for."""
        return len(self._waiting)

    def recall(self, watcher: Watcher) -> None:
        """Tell the watcher what an earlier life of the daemon has dealt with, and look again for what was lacking then."""
        with self._journal.reading() as connection:
            for row in jobs.files(connection, self._recipe.tag):
                path = Path(row.path)
                watcher.known(path, row.size, row.mtime_ns, refused=row.state == "refused")
                if row.lacks_until_ns:
                    found = Arrived(path=path, size=row.size, mtime_ns=row.mtime_ns, seen_ns=row.mtime_ns)
                    self._late[path] = _Late(found, row.lacks_until_ns)

    def take(self, found: Arrived | Rejected) -> None:
        """Make jobs of a file, at once or when its companions are there, or refuse it."""
        if isinstance(found, Rejected):
            self._refuse(found)
            return
        try:
            missing = self._lacking(self._facts(found))
        except Exception as error:  # the reader may be of somebody else
            self._refuse(_rejected(found, error))
            return
        if missing and self._watch.companion_s > 0:
            found = dataclasses.replace(found, facts=None)
            self._waiting[found.path] = (found, time.monotonic() + self._watch.companion_s)
        else:
            self._enter(found)

    def look_again(self) -> None:
        """Go on with what has waited for companions, and do again what has got them late."""
        for path, (found, until) in list(self._waiting.items()):
            try:
                lacking = self._lacking(self._reader.peek(path))
            except Exception:
                # it is being changed, or gone: the watcher brings it again when it stands still
                del self._waiting[path]
                continue
            if not lacking or time.monotonic() > until:
                self._enter(found)
                del self._waiting[path]
        now = time.monotonic()
        if now >= self._next_late:
            self._next_late = now + _LATE_LOOK_S
            for path, late in list(self._late.items()):
                if time.time_ns() > late.until_ns:
                    del self._late[path]
                elif self._has_come(late, now):
                    log.info("what %s lacked has come; it is processed again", path.name)
                    self._enter(dataclasses.replace(late.found, seen_ns=time.time_ns()), again=True)

    def _has_come(self, late: _Late, now: float) -> bool:
        """Whether the companions are there now, for as long as a file must stand still. Looked at when the folder has changed, or is due."""
        path = late.found.path
        folder_ns = _changed_ns(path.parent)
        if late.complete_since is None and now < late.next_look and folder_ns == late.folder_ns:
            return False
        late.folder_ns, late.next_look = folder_ns, now + self._watch.rescan_s
        try:
            lacks = _companions_lacking(self._reader.peek(path))
        except Exception:  # gone or being changed; looked at again
            lacks = ["?"]
        if lacks:
            late.complete_since = None
        elif late.complete_since is None:
            late.complete_since = now
        return late.complete_since is not None and now - late.complete_since >= self._watch.settle_s

    def _refuse(self, found: Rejected) -> None:
        tag = self._recipe.tag
        with self._journal.transaction() as connection:
            jobs.remember_file(connection, str(found.path), tag, found.size, found.mtime_ns, "refused")
            self._journal.append([draft(Refused(file=found.path.name, failure=found.failure), tag=tag)], connection)
        log.warning("%s is refused: %s", found.path.name, found.failure.message)

    def _lacking(self, peek: Peek) -> list[str]:
        """Required companions that are not there, and cameras that should be in the file: it may have been seen between two of its HDUs."""
        return [*_companions_lacking(peek), *peek.missing_cameras]

    def _enter(self, found: Arrived, *, again: bool = False) -> None:
        """Make a unit and its jobs of a file; `again` though the file is as it was."""
        tag, path = self._recipe.tag, str(found.path)
        try:
            peek = self._facts(found)
            self._recipe.chain_for(peek.flavor)
        except Exception as error:
            self._refuse(_rejected(found, error))
            return
        until_ns = time.time_ns() + int(LATE_S * 1e9) if _companions_lacking(peek) else None
        on_disk = next_revision(exposure_folder(self._recipe.out, tag, peek.unit))
        with self._journal.transaction() as connection:
            if not again and jobs.file_known(connection, path, tag, found.size, found.mtime_ns):
                return
            old = jobs.latest_unit(connection, peek.unit, tag)
            if not again and old is not None and self._taken_before(connection, found, peek, old):
                return
            jobs.remember_file(connection, path, tag, found.size, found.mtime_ns, "taken", until_ns)
            row = self._enter_unit(connection, self._unit_row(found, peek, again), old, peek, on_disk)
            seen = Seen(file=found.path.name, size=found.size, parts=list(peek.cameras), tags=dict(peek.tags))
            self._journal.append([draft(seen, unit=peek.unit, tag=tag, revision=row.revision)], connection)
        self._late.pop(found.path, None)
        if until_ns is not None:
            self._late[found.path] = _Late(dataclasses.replace(found, facts=None), until_ns)
        log.info("%s has arrived: %s, %s", found.path.name, peek.flavor, " ".join(peek.cameras))

    def _facts(self, found: Arrived) -> Peek:
        """What the headers say: as the watcher has just read them, or read again."""
        return found.facts if isinstance(found.facts, Peek) else self._reader.peek(found.path)

    def _taken_before(self, connection: sa.Connection, found: Arrived, peek: Peek, old: UnitRow) -> bool:
        """Whether the exposure was taken from this very content under another name. Where that is gone, the work goes on under the new one."""
        tag, path = self._recipe.tag, str(found.path)
        earlier = duplicates.taken_from(connection, old, peek.cameras)
        if earlier is None or earlier == path or not duplicates.same_content(connection, tag, earlier, found):
            return False
        moved = not Path(earlier).exists()
        late = self._late.pop(Path(earlier), None) if moved else None
        jobs.remember_file(connection, path, tag, found.size, found.mtime_ns, "taken", late.until_ns if late else None)
        if moved:
            duplicates.move(connection, old, earlier, path)
        if late is not None:
            self._late[found.path] = _Late(dataclasses.replace(found, facts=None), late.until_ns)
        log.info("%s is %s, %s; it is not taken again", found.path, earlier, "moved" if moved else "once more")
        return True

    def _unit_row(self, found: Arrived, peek: Peek, again: bool) -> UnitRow:
        return UnitRow(
            unit=peek.unit,
            tag=self._recipe.tag,
            revision=0,
            path=str(found.path),
            expected=self._site.instrument.cameras.expected,
            tags=dict(peek.tags),
            closed_ns=None if again else found.mtime_ns,
            seen_ns=found.seen_ns,
            deadline_ns=time.time_ns() + int(self._watch.unit_s * 1e9),
        )

    def _enter_unit(self, connection: sa.Connection, new: UnitRow, old: UnitRow | None, peek: Peek, on_disk: int) -> UnitRow:
        """Store the unit, or further cameras of one that is open, or a new revision; returns it as stored. `old`: its latest revision so far."""
        file_per_camera = self._site.instrument.layout.camera_hdus is None
        if old is not None and not old.closed and self._may_join(connection, old, peek, file_per_camera):
            jobs.add_jobs(connection, dataclasses.replace(old, path=new.path, tags=new.tags), peek.cameras)
            return old
        new = dataclasses.replace(new, revision=on_disk if old is None else max(on_disk, old.revision + 1))
        jobs.add_unit(connection, new, peek.cameras)
        if old is not None and file_per_camera:
            jobs.carry_over(connection, old, new, peek.cameras)
        if old is not None and (file_per_camera or old.path == new.path):
            jobs.supersede(connection, old, time.time_ns())
        return new

    @staticmethod
    def _may_join(connection: sa.Connection, old: UnitRow, peek: Peek, file_per_camera: bool) -> bool:
        """Whether the cameras of a file can join an open unit: they are new in it or, where each has a file, nobody works on them yet."""
        states = {p.part: p for p in jobs.part_states(connection, old)}
        here = [states[c] for c in peek.cameras if c in states]
        return not here or (file_per_camera and all(p.state == jobs.OPEN and not p.announced for p in here))



def _companions_lacking(peek: Peek) -> list[str]:
    return [c.name for c in peek.companions if c.required and not c.present]


def _rejected(found: Arrived, error: BaseException) -> Rejected:
    return Rejected(path=found.path, size=found.size, mtime_ns=found.mtime_ns, failure=Failure.of(error))


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
