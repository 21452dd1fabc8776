"""The watcher: finds files that are complete, once each, and says which they are.

A notification or a scan makes a path a candidate. A candidate is complete when it is closed, its size and time have stood still for a
moment, and it can be read to its last byte. A truncated file is refused after a while, and taken when it is completed in place. Newest
files come first; scans and checks are done in slices, so that neither a large tree nor a burst of files holds up who calls.
"""

from __future__ import annotations

import heapq
import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from quicklook.core.errors import BadConfig, BadData, NotReadyYet, Transient
from quicklook.core.results import Failure
from quicklook.service.arrival.arrived import Arrived, Rejected, closed_at
from quicklook.service.arrival.inotify import Inotify, Notifier
from quicklook.service.arrival.known import Known
from quicklook.service.arrival.tree import Folder, choose_mode, free_bytes, identity, printable, walk

log = logging.getLogger("quicklook.watcher")

_LOOK_S = 2.0
"""So often the folder itself is looked for."""
_SCAN_SLICE_S, _CHECK_SLICE_S = 0.05, 0.2
_AT_ONCE = 50
"""So many files are given at once at most: who takes them writes each into the journal."""
_REST = 1.0
"""Polling rests so many times as long as it took to go through the tree, at least: there is other work."""
_FRESH_S = 600.0
"""Polling looks so long at a file that was taken; after that, only the scans do."""
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


class Watcher:
    """Watches a folder tree. `wanted` says whether a path can be a raw file; `check` raises where one is not complete.

    `check` raises NotReadyYet for a file that may still grow, Transient for one that cannot be read now, BadData for one that never will be
    good; what it returns is handed on. `wake` is called, from another thread, when something may have come. A folder that is not there, or goes
    away, is looked for every few seconds. A tree that inotify cannot watch is polled.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wanted: Callable[[Path], bool],
        check: Callable[[Path], object],
        wake: Callable[[], None],
        mode: str = "auto",
        settle_s: float = 0.25,
        patience_s: float = 20.0,
        rescan_s: float = 30.0,
        poll_s: float = 1.0,
    ) -> None:
        self.folder, self.mode, self._mode = folder, mode, mode
        self._wanted, self._check, self._wake = wanted, check, wake
        self._settle_s, self._patience_s, self._rescan_s, self._poll_s = settle_s, patience_s, rescan_s, poll_s
        self._candidates: dict[str, _Candidate] = {}
        self._done, self._left_out = Known(), Known()
        self._scans = 0
        self._refused: set[str] = set()
        self._barred: set[str] = set()
        self._shut: dict[str, str] = {}
        self._shut_now: dict[str, str] = {}
        self._devices: dict[int, str] = {}
        self._walk: Iterator[tuple[list[os.DirEntry[str]], list[str]]] | None = None
        self._whole, self._scanned_s = False, 0.0
        self._next_scan = self._next_poll = self._next_look = 0.0
        self._attached: Folder | None = None
        self._was_mounted = False
        self._notifier: Notifier | None = None
        self._overflows = 0
        self._stopped = False

    # ---- the folder

    def start(self) -> None:
        """Begin to watch. Raises BadConfig where there is something that is no folder."""
        if self.folder.exists() and not self.folder.is_dir():
            raise BadConfig(f"{self.folder} is no folder; name the one in which exposures appear")
        self._attend(time.monotonic())

    def stop(self) -> None:
        """Stop watching."""
        self._stopped = True
        self._let_go()

    def _let_go(self) -> None:
        if self._notifier is not None:
            self._notifier.stop()
            self._notifier = None

    @property
    def there(self) -> bool:
        """Whether the folder was there, and open to us, when it was looked for last. The empty folder that a file system leaves is not it."""
        return self._attached is not None and self._attached.open and (self._attached.mounted or not self._was_mounted)

    @property
    def trouble(self) -> str:
        """What in the tree cannot be looked into though it is there, in a sentence; "" where nothing is known to be wrong."""
        if self._attached is not None and not self._attached.open:
            return f"{self.folder} may not be looked into: permission denied; give the account that runs the quick-look access (r and x)"
        if not self._shut:
            return ""
        (folder, why), more = next(iter(self._shut.items())), len(self._shut) - 1
        others = f", nor can {more} folders more" if more else ""
        return f"{printable(folder)} cannot be looked into: {why}{others}; files in it are not seen: give access to it"

    @property
    def overflows(self) -> int:
        """How often notifications have got lost since the folder is watched; the tree was scanned after each."""
        return self._overflows

    def _attend(self, now: float) -> None:
        """Look whether the folder is there, and is still the one that is watched: a mount that has come back is another one."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        here = identity(self.folder)
        if here == self._attached:
            return
        self._let_go()
        self._count_as_closed(None, now)
        self._attached, self._walk = here, None
        self._shut, self._shut_now, self._devices = {}, {}, {}
        if here is not None and here.open:
            self._was_mounted = self._was_mounted or here.mounted
            self.mode = choose_mode(self.folder) if self._mode == "auto" else self._mode
            self._overflows = 0
            self._observe()
            self._next_scan = 0.0

    def _observe(self) -> None:
        if self.mode == "polling" or self._stopped:
            return
        try:
            self._notifier = Inotify(str(self.folder), self._wake)
        except OSError as error:
            self._fall_back(error.strerror or str(error))

    def _fall_back(self, why: str) -> None:
        log.warning("%s cannot be watched by inotify (%s); it is polled", self.folder, why)
        self._let_go()
        self._count_as_closed(None, time.monotonic())
        self.mode = "polling"

    # ---- candidates

    def known(self, path: Path, size: int, mtime_ns: int, *, refused: bool = False, barred: bool = False) -> None:
        """A file of this size and time was dealt with before (in an earlier life of the daemon)."""
        self._done.note(str(path), size, mtime_ns, scan=self._scans)
        if refused:
            self._refused.add(str(path))
        if barred:
            self._barred.add(str(path))

    def _listen(self, now: float) -> None:
        notifier = self._notifier
        if notifier is None:
            return
        self._count_as_closed(notifier.unheard(), now)
        for path, is_open in notifier.take().items():
            candidate = self._candidates.get(path)
            if candidate is None:
                self._consider(path, now, is_open=bool(is_open))
            else:
                candidate.is_open = candidate.is_open if is_open is None else is_open
                candidate.due = min(candidate.due, now)
        if notifier.overflows > self._overflows:
            self._overflows = notifier.overflows
            log.warning("there was more to notice in %s than the system holds; it is scanned again", self.folder)
            self._count_as_closed(None, now)
            self._next_scan = 0.0
        if notifier.exhausted:
            self._fall_back("the system watches no more folders for this user; see fs.inotify.max_user_watches")

    def _count_as_closed(self, folders: Collection[str] | None, now: float) -> None:
        """That a file in these folders (None: in any) was closed may have got lost: who waits for it waits in vain."""
        for path, candidate in self._candidates.items():
            if candidate.is_open and (folders is None or os.path.dirname(path) in folders):
                candidate.is_open, candidate.due = False, min(candidate.due, now)

    def _scan(self, now: float) -> None:
        """Go on with the scan of the tree, or begin one: all of it when that is due, when polling only what is new or fresh."""
        if self._walk is None and self._attached is not None and self._attached.open:
            polls = self.mode == "polling" and now >= self._next_poll
            if polls or now >= self._next_scan:
                self._whole = now >= self._next_scan
                self._walk, self._scanned_s, self._shut_now = walk(str(self.folder), self._note_shut, self._devices), 0.0, {}
                self._scans += self._whole
                self._next_scan = math.inf if self._whole else self._next_scan  # until this one is over
        if self._walk is None:
            return
        begun, until = time.monotonic(), now + _SCAN_SLICE_S
        for files, folders in self._walk:
            for folder in folders:
                if self._notifier is not None:
                    self._notifier.watch(folder)
            self._meet([entry.path for entry in files], now)
            if time.monotonic() > until:
                self._scanned_s += time.monotonic() - begun
                return
        self._scanned_s += time.monotonic() - begun
        self._walk, self._next_poll = None, now + max(self._poll_s, _REST * self._scanned_s)
        if self._whole:
            if self._next_scan == math.inf:  # else something has called for another one meanwhile
                self._next_scan = now + self._rescan_s
            self._shut = self._shut_now
            self._look_at_devices()
            self._forget_gone()

    def _look_at_devices(self) -> None:
        """A folder of the tree may be a mount, or a link, on a file system that other machines write to."""
        devices = self._devices.values() if self._notifier is not None and self._mode == "auto" else ()
        if far := next((folder for folder in devices if choose_mode(Path(folder)) == "polling"), ""):
            self._fall_back(f"{printable(far)} is on a file system that other machines write to")

    def _note_shut(self, folder: str, error: OSError) -> None:
        self._shut_now[folder] = error.strerror or str(error)

    def _meet(self, paths: list[str], now: float) -> None:
        """Files that a scan has come to."""
        scan = self._scans if self._whole else None
        for path, changed_s, left_out in zip(paths, self._done.meet(paths, scan), self._left_out.meet(paths, scan), strict=True):
            if left_out < 0 and path not in self._candidates and self._is_of_interest(path, changed_s):
                self._consider(path, now, scanned=True)

    def _forget_gone(self) -> None:
        """Names of files that are in the tree no more: else they would fill the memory in months. The journal knows them for ever.

        Those that this scan has not met are kept until the next one has not met them either: some folder may just not have been readable.
        """
        if self.there:
            self._left_out.forget(self._scans - 1)
            if self._done.forget(self._scans - 1):
                self._refused = {path for path in self._refused if path in self._done}
                self._barred = {path for path in self._barred if path in self._done}

    def _is_of_interest(self, path: str, changed_s: int) -> bool:
        return self._whole or changed_s < 0 or path in self._refused or time.time() - changed_s < _FRESH_S

    def _consider(self, path: str, now: float, *, is_open: bool = False, scanned: bool = False) -> None:
        if path in self._left_out:
            return
        if not self._wanted(Path(path)):
            if scanned:
                self._leave_out(path)
            elif self._notifier is not None and os.path.isdir(path):  # a link to a folder has come
                self._next_scan = 0.0
            return
        if not self._can_be_named(path):
            self._leave_out(path)
            return
        with suppress(OSError):
            stat = os.stat(path)
            known = self._done.same(path, stat.st_size, stat.st_mtime_ns)
            if S_ISREG(stat.st_mode) and (not known or (path in self._barred and (self._whole or not scanned))):
                self._candidates[path] = _Candidate(stat.st_size, stat.st_mtime_ns, now, time.time_ns(), now + self._settle_s, is_open)

    def _leave_out(self, path: str) -> None:
        """Not what was only noted: most of that are temporary names, which do not come again."""
        self._left_out.note(path, scan=self._scans)

    @staticmethod
    def _can_be_named(path: str) -> bool:
        """Whether the path is text: one that is not could stand in no event, in no JSON and not in the journal."""
        try:
            path.encode()
        except UnicodeEncodeError:
            log.warning("%a is left out: its name is no UTF-8; rename it", path)
            return False
        return True

    @property
    def arriving(self) -> int:
        """Candidates that are not complete yet."""
        return len(self._candidates)

    @property
    def pending(self) -> int:
        """Candidates that are not complete yet, and one more while the tree is being scanned, or is to be at once."""
        at_once = self._attached is not None and self._attached.open and self._next_scan == 0.0
        return len(self._candidates) + (self._walk is not None or at_once)

    def wait_s(self) -> float:
        """How long the caller may sleep before `poll` should be called again."""
        if self._walk is not None:
            return 0.0
        now = time.monotonic()
        if self._attached is None:
            return max(0.05, min(1.0, self._next_look - now))
        scan = self._next_scan if self.mode != "polling" else min(self._next_scan, self._next_poll)
        if not self._attached.open:
            scan = self._next_look
        due = min((c.due for c in self._candidates.values()), default=now + 1.0)
        return max(0.01, min(1.0, scan - now, due - now))

    def poll(self) -> list[Arrived | Rejected]:
        """Files that became complete, or turned out to be no good, since the last call: newest first, as many as can be looked at in a moment."""
        now = time.monotonic()
        self._attend(now)
        self._listen(now)
        self._scan(now)
        due = [(c.mtime_ns, path) for path, c in self._candidates.items() if c.due <= now]
        out, until = list[Arrived | Rejected](), time.monotonic() + _CHECK_SLICE_S
        heapq.heapify(newest := [(-mtime_ns, path) for mtime_ns, path in due])
        while newest and len(out) < _AT_ONCE and time.monotonic() < until:
            found = self._look(heapq.heappop(newest)[1], now)
            out += [] if found is None else [found]
        return out

    def _look(self, path: str, now: float) -> Arrived | Rejected | None:
        candidate = self._candidates[path]
        try:
            stat = os.stat(path)
        except OSError:
            del self._candidates[path]
            return None
        if (stat.st_size, stat.st_mtime_ns) != (candidate.size, candidate.mtime_ns):
            candidate.size, candidate.mtime_ns, candidate.stood_since = stat.st_size, stat.st_mtime_ns, now
            candidate.due = now + self._settle_s
            return None
        stood_s = now - candidate.stood_since
        if stood_s < self._settle_s:
            candidate.due = candidate.stood_since + self._settle_s
        elif candidate.is_open and stood_s < self._patience_s:
            candidate.due = now + min(1.0, stood_s)  # who writes it may only pause
        else:
            return self._judge(Path(path), candidate, now, stat.st_ctime_ns)
        return None

    def _judge(self, path: Path, candidate: _Candidate, now: float, ctime_ns: int) -> Arrived | Rejected | None:
        stood_s = now - candidate.stood_since
        try:
            facts = self._check(path)
        except Transient as error:
            if stood_s >= _TRANSIENT_S:
                return self._reject(path, candidate, error)
            candidate.due = now + min(_TRANSIENT_PAUSE_S, max(stood_s, 0.1))
        except NotReadyYet as error:
            if stood_s >= self._patience_s:
                return self._reject(path, candidate, self._given_up(path, error))
            candidate.due = now + min(1.0, max(stood_s, 0.02))
        except Exception as error:  # the reader may be of somebody else
            return self._reject(path, candidate, error)
        else:
            self._forget(path, candidate)
            self._refused.discard(str(path))
            self._barred.discard(str(path))
            closed_ns = closed_at(candidate.mtime_ns, ctime_ns, time.time_ns())
            return Arrived(
                path=path, size=candidate.size, mtime_ns=candidate.mtime_ns, seen_ns=candidate.seen_ns, closed_ns=closed_ns, facts=facts
            )
        return None

    def _given_up(self, path: Path, error: NotReadyYet) -> BadData:
        room = free_bytes(path.parent)
        full = "" if room is None or room >= _NO_ROOM else f"; the disk is full: {room} bytes are left on the file system of {path.parent}"
        return BadData(f"{error}; nothing was added for {self._patience_s:g} s{full}")

    def _reject(self, path: Path, candidate: _Candidate, error: Exception) -> Rejected:
        """Who takes it says a thing once, however often it is given."""
        self._forget(path, candidate)
        self._refused.add(str(path))
        barred = _may_pass(error)
        (self._barred.add if barred else self._barred.discard)(str(path))
        return Rejected(path=path, size=candidate.size, mtime_ns=candidate.mtime_ns, failure=Failure.of(error), barred=barred)

    def _forget(self, path: Path, candidate: _Candidate) -> None:
        self._done.note(str(path), candidate.size, candidate.mtime_ns, scan=self._scans)
        del self._candidates[str(path)]


def _may_pass(error: Exception) -> bool:
    """Whether what is in the way of a file may pass without a change of it: the system said so, not its content."""
    return isinstance(error, Transient | OSError) or isinstance(error.__cause__, OSError)
