"""Files that may be complete soon: each is looked at until it is closed, has stood still for a moment, and can be read to its last byte."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from quicklook.core.errors import BadData, NotReadyYet, Transient
from quicklook.core.results import Failure
from quicklook.service.arrival.arrived import Arrived, Rejected, closed_at
from quicklook.service.arrival.tree import free_bytes

_SLICE_S = 0.2
_AT_ONCE = 50
"""So many files are given at once at most: who takes them writes each into the journal."""
_TRANSIENT_S, _TRANSIENT_PAUSE_S = 600.0, 15.0
"""A file that cannot be read now, for a reason that may pass, is tried again for so long, at least so often."""
_NO_ROOM = 1 << 20


@dataclass(slots=True)
class _Candidate:
    size: int
    mtime_ns: int
    stood_since: float
    seen_ns: int
    due: float
    is_open: bool = False


class Candidates:
    """By path. `check` raises where a file is not complete, as described at `Watcher`; times are those of the monotonic clock."""

    def __init__(self, check: Callable[[Path], object], *, settle_s: float, patience_s: float) -> None:
        self._check, self._settle_s, self._patience_s = check, settle_s, patience_s
        self._by_path: dict[str, _Candidate] = {}

    def __len__(self) -> int:
        return len(self._by_path)

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    def add(self, path: str, stat: os.stat_result, now: float, *, is_open: bool) -> None:
        """A file was noticed; `is_open`: somebody is writing it."""
        self._by_path[path] = _Candidate(stat.st_size, stat.st_mtime_ns, now, time.time_ns(), now + self._settle_s, is_open)

    def hear(self, path: str, now: float, *, is_open: bool | None) -> None:
        """Something was said of a candidate: it is open for writing, or closed; None: that is as it was."""
        candidate = self._by_path[path]
        candidate.is_open = candidate.is_open if is_open is None else is_open
        candidate.due = min(candidate.due, now)

    def count_as_closed(self, folders: Collection[str] | None, now: float) -> None:
        """That a file in these folders (None: in any) was closed may have got lost: who waits for it waits in vain."""
        for path, candidate in self._by_path.items():
            if candidate.is_open and (folders is None or os.path.dirname(path) in folders):
                candidate.is_open, candidate.due = False, min(candidate.due, now)

    def due_s(self, default: float) -> float:
        """When the first of them is to be looked at."""
        return min((c.due for c in self._by_path.values()), default=default)

    def found(self, now: float) -> Iterator[Arrived | Rejected]:
        """Those that are complete, or turn out to be no good, newest first, as many as can be looked at in a moment. They are candidates no more."""
        heapq.heapify(newest := [(-c.mtime_ns, path) for path, c in self._by_path.items() if c.due <= now])
        given, until = 0, time.monotonic() + _SLICE_S
        while newest and given < _AT_ONCE and time.monotonic() < until:
            path = heapq.heappop(newest)[1]
            if (found := self._look(path, now)) is not None:
                del self._by_path[path]
                given += 1
                yield found

    def _look(self, path: str, now: float) -> Arrived | Rejected | None:
        candidate = self._by_path[path]
        stat = self._stat_unchanged(path, candidate)
        if stat is None:
            return None
        stood_s = now - candidate.stood_since
        if stood_s < self._settle_s:
            candidate.due = candidate.stood_since + self._settle_s
        elif candidate.is_open and stood_s < self._patience_s:
            candidate.due = now + min(1.0, stood_s)  # who writes it may only pause
        else:
            return self._judge(Path(path), candidate, now, stat.st_ctime_ns)
        return None

    def _stat_unchanged(self, path: str, candidate: _Candidate) -> os.stat_result | None:
        """Of a file that is as it was; None where it is gone, or has changed: then it is to stand still anew."""
        try:
            stat = os.stat(path)
        except OSError:
            del self._by_path[path]
            return None
        if (stat.st_size, stat.st_mtime_ns) == (candidate.size, candidate.mtime_ns):
            return stat
        candidate.size, candidate.mtime_ns, candidate.stood_since = stat.st_size, stat.st_mtime_ns, time.monotonic()
        candidate.due = candidate.stood_since + self._settle_s
        return None

    def _judge(self, path: Path, candidate: _Candidate, now: float, ctime_ns: int) -> Arrived | Rejected | None:
        stood_s, facts, error = now - candidate.stood_since, cast("object", None), cast("Exception | None", None)
        try:
            facts = self._check(path)
        except Exception as raised:  # the reader may be of somebody else
            error = raised
        if self._stat_unchanged(str(path), candidate) is None:
            return None  # while it was read: what was found is neither of what was there nor of what is
        if isinstance(error, Transient) and stood_s < _TRANSIENT_S:
            candidate.due = now + min(_TRANSIENT_PAUSE_S, max(stood_s, 0.1))
            return None
        if isinstance(error, NotReadyYet) and stood_s < self._patience_s:
            candidate.due = now + min(1.0, max(stood_s, 0.02))
            return None
        if error is not None:
            why = self._given_up(path, error) if isinstance(error, NotReadyYet) else error
            return Rejected(path=path, size=candidate.size, mtime_ns=candidate.mtime_ns, failure=Failure.of(why), barred=_may_pass(why))
        closed_ns = closed_at(candidate.mtime_ns, ctime_ns, time.time_ns())
        return Arrived(
            path=path, size=candidate.size, mtime_ns=candidate.mtime_ns, seen_ns=candidate.seen_ns, closed_ns=closed_ns, facts=facts
        )

    def _given_up(self, path: Path, error: NotReadyYet) -> BadData:
        room = free_bytes(path.parent)
        full = "" if room is None or room >= _NO_ROOM else f"; the disk is full: {room} bytes are left on the file system of {path.parent}"
        return BadData(f"{error}; nothing was added for {self._patience_s:g} s{full}")


def _may_pass(error: Exception) -> bool:
    """Whether what is in the way of a file may pass without a change of it: the system said so, not its content."""
    return isinstance(error, Transient | OSError) or isinstance(error.__cause__, OSError)
