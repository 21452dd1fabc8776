"""The journal, opened to read for as long as somebody looks: it may come later than we do, go away, or be another one."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from quicklook.core.errors import NotReadyYet
from quicklook.core.events import Event, QADone
from quicklook.service.journal.journal import EVENTS, Journal, journal_path

_KEPT_OPEN_S = 60.0
"""A journal that was replaced is closed so much later: somebody may still read it."""

_OF_QA = sa.func.json_remove(EVENTS.c.payload, "$.metrics", "$.facts")
_BRIEF = sa.select(
    *(c for c in EVENTS.c if c.name != "payload"), sa.case((EVENTS.c.kind == QADone.kind, _OF_QA), else_=EVENTS.c.payload).label("payload")
)
_BRIEF_AFTER = _BRIEF.where(EVENTS.c.seq > sa.bindparam("after")).order_by(EVENTS.c.seq).limit(sa.bindparam("limit"))
_BRIEF_OF_KINDS = _BRIEF_AFTER.where(EVENTS.c.kind.in_(sa.bindparam("kinds", expanding=True)))


class JournalReader:
    """The journal of an output folder. All methods raise NotReadyYet where there is none yet, and what a journal raises."""

    def __init__(self, out: Path) -> None:
        self._path = journal_path(out)
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._is: tuple[int, int, bool] | None = None
        self._watching: sqlite3.Connection | None = None
        self._left: list[tuple[float, Journal]] = []

    def _identity(self) -> tuple[int, int, bool]:
        """Which file it is, and whether somebody writes it: what was opened without a writer may not see what one adds."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise NotReadyYet(f"{self._path.parent} has no journal: no daemon has worked in it yet") from error
        return found.st_dev, found.st_ino, self._path.with_name(f"{self._path.name}-wal").exists()

    def journal(self) -> Journal:
        """The journal as it is now."""
        identity = self._identity()
        with self._lock:
            if self._journal is None or identity != self._is:
                self._reopen(identity)
            assert self._journal is not None
            return self._journal

    def _reopen(self, identity: tuple[int, int, bool]) -> None:
        made = Journal(self._path, time.time_ns, to_read=True)
        if self._journal is not None:
            self._left.append((time.monotonic(), self._journal))
        self._journal, self._is = made, identity
        if self._watching is not None:
            self._watching.close()
        self._watching = sqlite3.connect(f"file:{quote(str(self._path.absolute()))}?mode=ro", uri=True, check_same_thread=False, timeout=5)
        old = [(t, j) for t, j in self._left if time.monotonic() - t > _KEPT_OPEN_S]
        for _, journal in old:
            journal.close()
        self._left = [one for one in self._left if one not in old]

    def changed(self) -> object:
        """Differs from before wherever something was written."""
        identity = self._identity()
        self.journal()
        with self._lock:
            assert self._watching is not None
            try:
                return identity, self._watching.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                return time.monotonic()  # not known: look at the journal itself, which says what is wrong

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One view of it, whoever writes meanwhile."""
        with self.journal().reading() as connection:
            yield connection

    def events(self, after: int, limit: int, kinds: Sequence[str], *, brief: bool) -> list[Event]:
        """Events above a number; `brief`: those of QAs without metrics, which are not read into this process."""
        journal = self.journal()
        if not brief:
            return journal.events(after, limit=limit, kinds=kinds)
        given: dict[str, Any] = {"after": after, "limit": limit}
        query, given = (_BRIEF_OF_KINDS, {**given, "kinds": list(kinds)}) if kinds else (_BRIEF_AFTER, given)
        with journal.reading() as connection:
            return [journal.event_of(row) for row in connection.execute(query, given)]

    def close(self) -> None:
        """Close it."""
        with self._lock:
            for journal in (self._journal, *(j for _, j in self._left)):
                if journal is not None:
                    journal.close()
            if self._watching is not None:
                self._watching.close()
            self._journal, self._left, self._watching = None, [], None
