"""The alarm for the disk of the output folder: said before it is full, once, and again when there is room."""

from __future__ import annotations

import logging
import time

import sqlalchemy as sa

from quicklook.core.events import DiskRoom, draft
from quicklook.core.status import Status
from quicklook.io.room import Room, room_of
from quicklook.service.running.attending import Surroundings
from quicklook.service.running.lastsaid import last_said
from quicklook.service.settings import DiskSettings
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.disk")

_EASE = 1.1
"""It is better again only when so many times as much is free as it was when it got worse: no chatter."""
_WHAT_NEXT = {
    Status.NORMAL: "Nothing.",
    Status.WARNING: "Make room before it is full: `quicklook clean OUT --kind preproc` lists intermediate products that can go.",
    Status.ALARM: "Make room now: verdicts are given, products wait for it. `quicklook clean OUT --kind preproc` lists what can go.",
}


def status_of(room: Room, settings: DiskSettings, before: Status) -> Status:
    """How it stands; `before` is how it stood."""
    for status, least in ((Status.ALARM, room.keeps(settings.keep_gb)), (Status.WARNING, room.warns_at(settings.warn_gb))):
        was = before is Status.ALARM or before is status
        if room.free < least * (_EASE if was else 1.0):
            return status
    return Status.NORMAL


class DiskWatch:
    """Looks every few seconds; what changes is an event."""

    def __init__(self, around: Surroundings) -> None:
        self._around, self._settings = around, around.site.file.disk
        self._status: Status | None = None
        self._next = 0.0

    def turn(self) -> None:
        """Look, if it is time. Raises what the journal raises: then it is said at the next turn."""
        if time.monotonic() < self._next:
            return
        try:
            room = room_of(self._around.site.out)
        except OSError as error:
            log.debug("how much room there is is not known: %s", error)
            return
        if self._status is None:  # a daemon before this one may have said that it is full
            said = last_said(self._around.journal, DiskRoom.kind, self._around.recipe.tag, str(room.path))
            self._status = Status(said["status"]) if said else Status.NORMAL
        status = status_of(room, self._settings, self._status)
        if status is not self._status:
            self._say(room, status)
        self._status, self._next = status, time.monotonic() + self._settings.look_s

    def _say(self, room: Room, status: Status) -> None:
        told = DiskRoom(
            path=str(room.path), free_gb=round(room.free / 1e9, 3), total_gb=round(room.total / 1e9, 3), status=status, what_next=_WHAT_NEXT[status]
        )
        level = logging.INFO if status is Status.NORMAL else logging.WARNING if status is Status.WARNING else logging.ERROR
        log.log(level, "%.2f of %.1f GB are free for %s. %s", told.free_gb, told.total_gb, told.path, told.what_next)
        self._around.journal.append([draft(told, tag=self._around.recipe.tag)])

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """An exposure takes no room that is not seen at the next look."""

    @property
    def idle(self) -> bool:
        """It never has anything left to do."""
        return True

    def close(self) -> None:
        """Nothing is open."""


def disk_watch(around: Surroundings) -> DiskWatch | None:
    """For a site; None where both thresholds are 0."""
    settings = around.site.file.disk
    return DiskWatch(around) if settings.warn_gb or settings.keep_gb else None
