"""Alarms for pages that stay open for weeks: of the journal only what was added is read."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from quicklook.service.alarms.view import KINDS, Alarms, AlarmStory
from quicklook.service.hosting.journalreader import JournalReader
from quicklook.service.journal.journal import EVENTS

_OF_KIND = EVENTS.c.kind == sa.bindparam("of_kind")
_FIRST, _LAST = (sa.select(of(EVENTS.c.seq)).where(_OF_KIND) for of in (sa.func.min, sa.func.max))


class AlarmReader:
    """Alarms of a journal that is followed."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._begins: object = None
        self._newest = 0
        self._story = AlarmStory()
        self._alarms: Alarms | None = None

    def read(self) -> Alarms:
        """As they are now; from the beginning where the journal is another one, or has let go of its first events. Raises what a journal raises."""
        journal = self._reader.journal()
        with self._lock:
            with journal.reading() as connection:
                first, last = ([connection.execute(of, {"of_kind": kind}).scalar() for kind in KINDS] for of in (_FIRST, _LAST))
            begins, newest = (journal.epoch, first), max(seq or 0 for seq in last)
            if begins != self._begins or newest < self._newest:
                self._begins, self._story, self._alarms = begins, AlarmStory(), None
            if self._alarms is None or newest != self._newest:
                self._alarms, self._newest = self._story.read_on(journal), newest
            return self._alarms
