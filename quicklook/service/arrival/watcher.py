"""The watcher: finds files that are complete, once each, and says which they are.

A notification or a scan makes a path a candidate. A candidate is complete when it is closed, its size and time have stood still for a
moment, and it can be read to its last byte. A truncated file is refused after a while, and taken when it is completed in place. Newest
files come first; scans and checks are done in slices, so that neither a large tree nor a burst of files holds up who calls.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from quicklook.core.errors import BadConfig
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.candidates import Candidates
from quicklook.service.arrival.dealt import Dealt
from quicklook.service.arrival.inotify import Inotify, Notifier
from quicklook.service.arrival.scans import Scans
from quicklook.service.arrival.tree import Folder, choose_mode, identity, printable

log = logging.getLogger("quicklook.watcher")

_LOOK_S = 2.0
"""So often the folder itself is looked for."""


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
        self._wanted, self._wake = wanted, wake
        self._candidates = Candidates(check, settle_s=settle_s, patience_s=patience_s)
        self._dealt = Dealt()
        self._scans = Scans(folder, rescan_s=rescan_s, poll_s=poll_s)
        self._next_look = 0.0
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
    def _open(self) -> bool:
        return self._attached is not None and self._attached.open

    @property
    def there(self) -> bool:
        """Whether the folder was there, and open to us, when it was looked for last. The empty folder that a file system leaves is not it."""
        return self._attached is not None and self._attached.open and (self._attached.mounted or not self._was_mounted)

    @property
    def trouble(self) -> str:
        """What in the tree cannot be looked into though it is there, in a sentence; "" where nothing is known to be wrong."""
        if self._attached is not None and not self._attached.open:
            return f"{self.folder} may not be looked into: permission denied; give the account that runs the quick-look access (r and x)"
        return self._scans.trouble

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
        self._candidates.count_as_closed(None, now)
        self._attached = here
        self._scans.reset()
        if here is not None and here.open:
            self._was_mounted = self._was_mounted or here.mounted
            self.mode = choose_mode(self.folder) if self._mode == "auto" else self._mode
            self._overflows = 0
            self._observe()
            self._scans.ask()

    # ---- notifications and scans

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
        self._candidates.count_as_closed(None, time.monotonic())
        self.mode = "polling"

    def _listen(self, now: float) -> None:
        notifier = self._notifier
        if notifier is None:
            return
        self._candidates.count_as_closed(notifier.unheard(), now)
        for path, is_open in notifier.take().items():
            if path in self._candidates:
                self._candidates.hear(path, now, is_open=is_open)
            else:
                self._consider(path, now, is_open=bool(is_open))
        if notifier.overflows > self._overflows:
            self._overflows = notifier.overflows
            log.warning("there was more to notice in %s than the system holds; it is scanned again", self.folder)
            self._candidates.count_as_closed(None, now)
            self._scans.ask()
        if notifier.exhausted:
            self._fall_back("the system watches no more folders for this user; see fs.inotify.max_user_watches")

    def _scan(self, now: float) -> None:
        if self._open:
            self._scans.begin(now, polling=self.mode == "polling")
        for files, folders in self._scans.slice(now):
            for folder in folders:
                if self._notifier is not None:
                    self._notifier.watch(folder)
            for path in self._dealt.worth_a_look(files, self._scans.number if self._scans.whole else None):
                if path not in self._candidates:
                    self._consider(path, now, scanned=True)
        if self._scans.over:
            self._look_at_devices()
            self._forget_gone()

    def _look_at_devices(self) -> None:
        """A folder of the tree may be a mount, or a link, on a file system that other machines write to."""
        devices = self._scans.devices if self._notifier is not None and self._mode == "auto" else []
        if far := next((folder for folder in devices if choose_mode(Path(folder)) == "polling"), ""):
            self._fall_back(f"{printable(far)} is on a file system that other machines write to")

    def _forget_gone(self) -> None:
        """Names of files that are in the tree no more: else they would fill the memory in months. The journal knows them for ever.

        Those that this scan has not met are kept until the next one has not met them either: some folder may just not have been readable.
        """
        if self.there:
            self._dealt.forget(self._scans.number - 1)

    # ---- files

    def known(self, path: Path, size: int, mtime_ns: int, *, refused: bool = False, barred: bool = False) -> None:
        """A file of this size and time was dealt with before (in an earlier life of the daemon)."""
        self._dealt.note(str(path), size, mtime_ns, scan=self._scans.number, refused=refused, barred=barred)

    def _consider(self, path: str, now: float, *, is_open: bool = False, scanned: bool = False) -> None:
        if self._dealt.is_left_out(path):
            return
        if not self._wanted(Path(path)):
            if scanned:
                self._dealt.leave_out(path, scan=self._scans.number)
            elif self._notifier is not None and os.path.isdir(path):  # a link to a folder has come
                self._scans.ask()
            return
        if not _can_be_named(path):
            self._dealt.leave_out(path, scan=self._scans.number)
            return
        with suppress(OSError):
            stat = os.stat(path)
            again = self._scans.whole or not scanned
            if S_ISREG(stat.st_mode) and not self._dealt.is_over(path, stat.st_size, stat.st_mtime_ns, again=again):
                self._candidates.add(path, stat, now, is_open=is_open)

    @property
    def arriving(self) -> int:
        """Candidates that are not complete yet."""
        return len(self._candidates)

    @property
    def looked(self) -> int:
        """Scans of the whole tree that have ended."""
        return self._scans.ended

    @property
    def pending(self) -> int:
        """Candidates that are not complete yet, and one more while the tree is being scanned, or is to be at once."""
        return len(self._candidates) + (self._scans.running or (self._open and self._scans.at_once))

    def wait_s(self) -> float:
        """How long the caller may sleep before `poll` should be called again."""
        if self._scans.running:
            return 0.0
        now = time.monotonic()
        if self._attached is None:
            return max(0.05, min(1.0, self._next_look - now))
        scan = self._scans.due_s(polling=self.mode == "polling") if self._attached.open else self._next_look
        return max(0.01, min(1.0, scan - now, self._candidates.due_s(default=now + 1.0) - now))

    def poll(self) -> list[Arrived | Rejected]:
        """Files that became complete, or turned out to be no good, since the last call: newest first, as many as can be looked at in a moment."""
        now = time.monotonic()
        self._attend(now)
        self._listen(now)
        self._scan(now)
        out = []
        for found in self._candidates.found(now):
            self._dealt.given(found, scan=self._scans.number)
            out.append(found)
        return out


def _can_be_named(path: str) -> bool:
    """Whether the path is text: one that is not could stand in no event, in no JSON and not in the journal."""
    try:
        path.encode()
    except UnicodeEncodeError:
        log.warning("%a is left out: its name is no UTF-8; rename it", path)
        return False
    return True
