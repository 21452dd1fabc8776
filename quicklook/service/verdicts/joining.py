"""Frames and housekeeping joined: the store is read in a thread while an exposure is processed; its verdict waits a moment, and no longer.

What comes late makes a new revision of the verdict, as a late camera does (decision 0020).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, describe
from quicklook.core.events import UnitDone
from quicklook.core.hkframes import QA_NAME, ExposureHousekeeping, ExposureJoin
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import EVENTS, Journal
from quicklook.service.running.hkplace import HkPlace, time_of
from quicklook.service.settings import HousekeepingSettings

log = logging.getLogger("quicklook.hk")

_AGAIN_S, _LONGEST_S = 0.3, 60.0
"""What is not complete is read again after so long, then after twice as long, up to the second."""
_FORGOTTEN_S = 3600.0
"""What was read for an exposure that never got a verdict is given up after so long."""
_STRAINED = 0.2
"""The thread reads for this part of the time at most where nobody waits, so that the rest of the process has its turn."""


@dataclass(slots=True)
class _Wish:
    """An exposure whose housekeeping is wanted; times are monotonic, s.

    `due_s`: since when its verdict waits for it. `given`: how many channels were late when that was given; from then on it is read again until
    `until_s`. `steady`: no fewer are late than at the reading before.
    """

    row: UnitRow
    until_s: float
    found: ExposureHousekeeping | None = None
    due_s: float | None = None
    given: int | None = None
    steady: bool = False
    next_s: float = 0.0
    pause_s: float = _AGAIN_S

    @property
    def late(self) -> int:
        """How many channels are late; all of them where nothing could be read."""
        if self.found is None or (self.found.problem and not self.found.channels):
            return sys.maxsize
        return len(self.found.late)

    def take(self, found: ExposureHousekeeping, now: float) -> None:
        """It was read."""
        before, self.found = self.late, found
        self.steady = self.late in (0, before)
        if self.due_s is None or self.given is not None:
            self.pause_s = min(_LONGEST_S, 2 * self.pause_s) if self.steady else _AGAIN_S
        self.next_s = now + self.pause_s

    def look_on(self, given: int, now: float, late_s: float) -> None:
        """Its verdict is given, without so many channels."""
        self.given, self.steady, self.until_s = given, False, now + late_s
        self.pause_s = _AGAIN_S
        self.next_s = now + self.pause_s


Key = tuple[str, str]


@dataclass(slots=True)
class Joining:
    """Reads the housekeeping of exposures beside the daemon. All methods are called in its thread, and are quick.

    A channel for which a verdict has waited in vain is not waited for again until it has come in time once.
    """

    place: HkPlace | None
    wait_s: float
    late_s: float
    wake: Callable[[], None]
    _wishes: dict[Key, _Wish] = field(default_factory=dict)
    _vain: set[str] = field(default_factory=set)
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _stop: bool = False
    _thread: threading.Thread | None = None

    @classmethod
    def start(cls, place: HkPlace | None, settings: HousekeepingSettings, wake: Callable[[], None]) -> Joining:
        """Begin; without a place, or where no channel is joined, it does nothing. Raises BadConfig where the configuration cannot be used."""
        made = cls(place=place, wait_s=settings.wait_s, late_s=settings.late_s, wake=wake)
        if place is not None and place.open().wanted:
            made._thread = threading.Thread(target=made._run, name="joining", daemon=True)
            made._thread.start()
        return made

    def expect(self, row: UnitRow) -> None:
        """An exposure is being processed: its housekeeping will be wanted."""
        if self._thread is not None:
            with self._lock:
                self._wish(row)

    def _wish(self, row: UnitRow) -> _Wish:
        known = self._wishes.get(_key(row))
        if known is None or known.row.revision != row.revision:
            known = self._wishes[_key(row)] = _Wish(row=row, until_s=time.monotonic() + _FORGOTTEN_S)
            self._lock.notify()
        return known

    def ready(self, row: UnitRow) -> bool:
        """Whether the verdict of an exposure need not wait any longer."""
        if self._thread is None:
            return True
        with self._lock:
            wish, now = self._wish(row), time.monotonic()
            if wish.due_s is None:
                wish.due_s = now
                self._lock.notify()
            lacking = set(wish.found.late) - self._vain if wish.found is not None else None
            return lacking == set() or now - wish.due_s >= self.wait_s

    def take(self, row: UnitRow) -> ExposureHousekeeping | None:
        """What there is for the verdict that is given now; None where no housekeeping is joined."""
        if self._thread is None:
            return None
        with self._lock:
            wish, found = self._wish(row), self._wish(row).found
            if wish.late:
                wish.look_on(wish.late, time.monotonic(), self.late_s)
            else:
                del self._wishes[_key(row)]
            if found is not None:
                self._vain = (self._vain - {c.channel for c in found.channels}) | set(found.late)
                return found
        start, exptime = time_of(row.tags)
        return ExposureHousekeeping(start=start, exptime_s=exptime, problem=f"the store of samples was not read within {self.wait_s:g} s")

    def come(self) -> list[UnitRow]:
        """Exposures of which samples have come after their verdict."""
        with self._lock:
            out = [w for w in self._wishes.values() if w.given is not None and w.steady and w.late < w.given]
            for wish in out:
                del self._wishes[_key(wish.row)]
        return [w.row for w in out]

    def recall(self, journal: Journal, tag: str) -> None:
        """After a restart: exposures of the last while whose samples had not all come."""
        if self._thread is None:
            return
        with journal.reading() as connection:
            for row in jobs.closed_since(connection, tag, time.time_ns() - int(self.late_s * 1e9)):
                text = connection.execute(_VERDICT, {"of_unit": str(row.unit), "of_tag": tag, "of_revision": row.revision}).scalar()
                if late := _late_then(text):
                    with self._lock:
                        self._wish(row).look_on(late, time.monotonic(), self.late_s)

    def close(self) -> None:
        """End the thread; one that hangs in a disk ends with the process."""
        with self._lock:
            self._stop = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(3.0)

    # in its thread

    def _run(self) -> None:
        join: ExposureJoin | None = None
        while not self._stop:
            wish = self._next()
            if wish is None:
                continue
            began = time.monotonic()
            try:
                join = join or self._open()
                found = join.during(*time_of(wish.row.tags))
            except Exception as error:  # of a plugin: whatever it is, verdicts are given
                log.exception("%s: housekeeping cannot be joined", wish.row.unit)
                start, exptime = time_of(wish.row.tags)
                found, join = ExposureHousekeeping(start=start, exptime_s=exptime, problem=f"it cannot be joined: {describe(error)}"), None
            with self._lock:
                wish.take(found, time.monotonic())
                resting = (time.monotonic() - began) * (1 / _STRAINED - 1)
                if not (self._stop or any(w.due_s is not None and w.found is None for w in self._wishes.values())):
                    self._lock.wait(min(resting, 1.0))
            self.wake()
        if join is not None:
            join.close()

    def _open(self) -> ExposureJoin:
        if self.place is None:
            raise BadConfig("no housekeeping is configured")
        return self.place.open()

    def _next(self) -> _Wish | None:
        """The next exposure to read for: the newest of those whose verdict waits, then of those that are processed, then what is late. Where there
        is none it waits a while."""
        with self._lock:
            now = time.monotonic()
            for key in [k for k, w in self._wishes.items() if now > w.until_s]:
                del self._wishes[key]
            wanted = [w for w in self._wishes.values() if w.late]
            due = [w for w in wanted if w.next_s <= now]
            if due:
                return max(due, key=lambda w: (w.given is None, w.due_s is not None, w.row.unit))
            self._lock.wait(max(0.01, min((w.next_s - now for w in wanted), default=5.0)))
            return None


def _key(row: UnitRow) -> Key:
    return str(row.unit), row.tag


_VERDICT = sa.select(EVENTS.c.payload).where(
    EVENTS.c.unit == sa.bindparam("of_unit"), EVENTS.c.tag == sa.bindparam("of_tag"), EVENTS.c.revision == sa.bindparam("of_revision"),
    EVENTS.c.kind == UnitDone.kind,
)  # fmt: skip


def _late_then(verdict: str | None) -> int:
    """How many channels were late when a verdict was given."""
    try:
        done = UnitDone.model_validate_json(verdict or "")
    except ValidationError:  # written by another version, or gone
        return 0
    own = next((q for q in done.qas if q.name == QA_NAME), None)
    if own is None or own.failure is not None:
        return sys.maxsize if own is not None else 0
    late = own.facts.get("late")
    return len(str(late).split(", ")) if late else 0
