"""Files that lack something (a companion, a camera in them): looked at until it has come, or their time is over.

A file waits for a while before the work goes on without what it lacks; then it is followed for a day, and done again when that comes. All looks are
made in a thread of their own (`Aside`), some at a time: neither thousands of files nor a file system that hangs hold up who asks.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from quicklook.io.reader import Peek
from quicklook.service.arrival.arrived import Arrived
from quicklook.service.arrival.aside import Aside, NoAnswer

_SLICE_S, _SLICE_LATE_S = 0.1, 0.03
_LATE_LOOK_S = 0.2
_WAITING_LOOK_S, _WAITING_REST_S = 0.05, 1.0
"""A file that waits is looked at again when its folder has changed, and after a second at the latest."""
_AT_ONCE = 2000
_FEW = 50
"""So many names are looked for one by one; for more, as of an observation book, it is quicker to list the folder, which the reader does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A file whose time of waiting is over, with what its headers say now; `again`: it was processed before without what has come."""

    found: Arrived
    again: bool


@dataclass(slots=True)
class _Item:
    """A file, what it lacked when it was looked at last, and what its folder was like then. Times: monotonic seconds, `until_ns` UTC."""

    found: Arrived
    until: float = 0.0
    until_ns: int = 0
    lacks: tuple[str, ...] | None = None
    folder_ns: int = 0
    next_look: float = 0.0
    complete_since: float | None = None


def lacking(peek: Peek) -> list[str]:
    """Required companions that are not there."""
    return [c.name for c in peek.companions if c.required and not c.present]


class Companions:
    """Follows files. `peek` reads the headers of one (as `Reader.peek`); a file that cannot be read is left to the watcher, which brings it again.

    `rest_s`: what was processed without a companion is looked at so often though its folder has not changed; `settle_s`: what has come must be there
    for so long.
    """

    def __init__(self, peek: Callable[[Path], Peek], aside: Aside, *, settle_s: float, rest_s: float) -> None:
        self._peek, self._aside, self._settle_s, self._rest_s = peek, aside, settle_s, rest_s
        self._waiting: OrderedDict[Path, _Item] = OrderedDict()
        self._late: OrderedDict[Path, _Item] = OrderedDict()
        self._changes: deque[Callable[[], object]] = deque()
        self._ready: deque[Ready] = deque()
        self._next_waiting = self._next_late = 0.0
        self._folders: dict[Path, int] = {}

    # ---- in the thread of who asks

    @property
    def waiting(self) -> int:
        """Files that wait for what they lack, or are ready and not fetched."""
        return len(self._waiting) + len(self._ready) + len(self._changes)

    def wait_for(self, found: Arrived, seconds: float, lacks: Sequence[str] = ()) -> None:
        """Give the file as ready when it lacks nothing more, or after so many seconds."""
        item = _Item(replace(found, facts=None), until=time.monotonic() + seconds, lacks=tuple(lacks))
        self._changes.append(partial(self._waiting.__setitem__, found.path, item))

    def follow(self, found: Arrived, until_ns: int) -> None:
        """Give a file that was processed as ready again, once it lacks nothing more; until then (UTC, ns)."""
        item = _Item(replace(found, facts=None), until_ns=until_ns)
        self._changes.append(partial(self._late.__setitem__, found.path, item))

    def leave(self, path: Path) -> None:
        """The file is dealt with: do not wait for what it lacks, and do not follow it any more."""
        for items in (self._waiting, self._late):
            self._changes.append(partial(items.pop, path, None))
        for one in [r for r in self._ready if r.found.path == path]:
            self._ready.remove(one)

    def ready(self) -> deque[Ready]:
        """What is ready, the first one first; who has dealt with one takes it out. Looks, if it is time."""
        if self._changes or self._waiting or (self._late and time.monotonic() >= self._next_late):
            with suppress(NoAnswer):  # it is asked again at the next turn
                self._aside.ask("companions", self._look)
        return self._ready

    # ---- in the thread of the calls

    def _look(self) -> None:
        while self._changes:
            self._changes.popleft()()
        self._folders.clear()
        now = time.monotonic()
        if self._waiting and now >= self._next_waiting:
            self._next_waiting = now + _WAITING_LOOK_S
            self._some(self._waiting, self._waits, now + _SLICE_S)
        if self._late and now >= self._next_late:
            self._next_late = now + _LATE_LOOK_S
            self._some(self._late, self._follows, time.monotonic() + _SLICE_LATE_S)

    @staticmethod
    def _some(items: OrderedDict[Path, _Item], keeps: Callable[[_Item], bool], until: float) -> None:
        """Look at those that were not looked at for longest, as many as there is time for."""
        for _ in range(min(len(items), _AT_ONCE)):
            path, item = next(iter(items.items()))
            if keeps(item):
                items.move_to_end(path)
            else:
                del items[path]
            if time.monotonic() > until:
                return

    def _waits(self, item: _Item) -> bool:
        """Whether a file goes on waiting."""
        now = time.monotonic()
        over = now > item.until
        if not over and not self._is_worth_a_look(item, now, _WAITING_REST_S):
            return True
        try:
            peek = self._peek(item.found.path)
        except Exception:  # it is being changed, or gone: the watcher brings it again when it stands still
            return False
        item.lacks = tuple(lacking(peek))
        if not over and (item.lacks or peek.missing_cameras):
            return True
        self._ready.append(Ready(found=replace(item.found, facts=peek), again=False))
        return False

    def _follows(self, item: _Item) -> bool:
        """Whether a file that was processed is followed further."""
        if time.time_ns() > item.until_ns:
            return False
        now = time.monotonic()
        if item.complete_since is None and not self._is_worth_a_look(item, now, self._rest_s):
            return True
        try:
            peek = self._peek(item.found.path)
        except Exception:  # gone or being changed; looked at again
            item.complete_since = None
            return True
        item.lacks = tuple(lacking(peek))
        item.complete_since = None if item.lacks else item.complete_since or now
        if item.complete_since is None or now - item.complete_since < self._settle_s:
            return True
        self._ready.append(Ready(found=replace(item.found, facts=peek, seen_ns=time.time_ns()), again=True))
        return False

    def _is_worth_a_look(self, item: _Item, now: float, rest_s: float) -> bool:
        """Whether what is lacking may have come since the last look: the folder has changed, or that look is long ago.

        It is told by names: of thousands of files in a folder that changes all the time, few are worth reading their headers again. What is followed
        for a day is read now and then all the same.
        """
        folder = item.found.path.parent
        if folder not in self._folders:
            self._folders[folder] = _changed_ns(folder)
        changed, due = self._folders[folder] != item.folder_ns, now >= item.next_look
        item.folder_ns = self._folders[folder]
        if due:
            item.next_look = now + rest_s
        thorough = due and item.until_ns > 0
        return thorough or ((due or changed) and self._may_have_come(item))

    @staticmethod
    def _may_have_come(item: _Item) -> bool:
        if not item.lacks or len(item.lacks) > _FEW or any(c in name for name in item.lacks for c in "*?["):
            return True
        return any(os.path.exists(item.found.path.parent / name) for name in item.lacks)


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
