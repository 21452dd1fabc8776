"""The watcher: finds files that are complete, once each, and says which they are.

A file system notification or a scan makes a path a candidate. A candidate is complete when its size and time have stood still
for a moment and its FITS structure agrees with its size. A truncated file stays a candidate, so that one that is completed in
place is taken.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.core.results import Failure

log = logging.getLogger("quicklook.watcher")

_LOOK_S = 2.0
"""So often the folder itself is looked for."""

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "lustre", "glusterfs", "fuse.glusterfs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A complete file: path, size (bytes), time of its last change (UTC ns), and when it was first noticed (UTC ns)."""

    path: Path
    size: int
    mtime_ns: int
    seen_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file that cannot be taken as it is now. It is looked at again when it changes."""

    path: Path
    size: int
    mtime_ns: int
    failure: Failure


@dataclass(slots=True)
class _Candidate:
    size: int
    mtime_ns: int
    stood_since: float
    seen_ns: int
    next_check: float = 0.0


def file_system_type(path: Path) -> str:
    """Type of the file system that holds `path`, as /proc/self/mounts names it; "" where that cannot be read."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    real = str(path.resolve())
    for line in mounts:
        _, point, this, *_ = line.split()
        point = point.encode().decode("unicode_escape")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, this
    return kind


def choose_mode(path: Path) -> str:
    """``polling`` on network file systems, where inotify is blind to other hosts; else ``inotify``."""
    return "polling" if file_system_type(path) in _NETWORK_FILE_SYSTEMS else "inotify"


class _Handler(FileSystemEventHandler):
    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def on_any_event(self, event: FileSystemEvent) -> None:
        if not event.is_directory and event.event_type not in ("opened", "closed_no_write", "deleted"):
            self._note(os.fsdecode(event.dest_path or event.src_path))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        stat = folder.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino) if S_ISDIR(stat.st_mode) else None


class Watcher:
    """Watches a folder tree. `wanted` says whether a path can be a raw file; `check` raises where one is not complete.

    `check` raises NotReadyYet for a file that may still grow, BadData for one that never will be good. `wake` is called, from another
    thread, when something may have come. A folder that is not there, or goes away, is looked for every few seconds.
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
        self._noted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._candidates: dict[Path, _Candidate] = {}
        self._done: dict[Path, tuple[int, int]] = {}
        self._unnamed: set[Path] = set()
        self._next_scan = self._next_look = 0.0
        self._attached: tuple[int, int] | None = None
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Begin to watch. Raises BadConfig where there is something that is no folder."""
        if self.folder.exists() and not self.folder.is_dir():
            raise BadConfig(f"{self.folder} is no folder; name the one in which exposures appear")
        self._attend(time.monotonic())

    def stop(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5)
            self._observer = None

    @property
    def there(self) -> bool:
        """Whether the folder was there when it was looked for last."""
        return self._attached is not None

    def _attend(self, now: float) -> None:
        """Look whether the folder is there, and is still the one that is watched: a mount that has come back is another one."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        here = _identity(self.folder)
        if here == self._attached:
            return
        self.stop()
        self._attached = here
        if here is not None:
            self.mode = choose_mode(self.folder) if self._mode == "auto" else self._mode
            self._observe()
            self._next_scan = 0.0

    def _observe(self) -> None:
        try:
            self._schedule(PollingObserver(timeout=self._poll_s) if self.mode == "polling" else Observer())
        except OSError as error:
            log.warning("%s cannot be watched by inotify (%s); it is polled", self.folder, error)
            self.mode = "polling"
            self._schedule(PollingObserver(timeout=self._poll_s))

    def _schedule(self, observer: BaseObserver) -> None:
        observer.schedule(_Handler(self._note), str(self.folder), recursive=True)
        observer.start()
        self._observer = observer

    def _note(self, path: str) -> None:
        self._noted.put(path)
        self._wake()

    def known(self, path: Path, size: int, mtime_ns: int) -> None:
        """A file of this size and time was dealt with before (in an earlier life of the daemon)."""
        self._done[path] = (size, mtime_ns)

    def _scan(self) -> Iterator[Path]:
        for base, folders, names in os.walk(self.folder):
            folders[:] = [f for f in folders if not f.startswith(".")]
            yield from (Path(base, name) for name in names)

    def _collect(self, now: float) -> None:
        paths: set[Path] = set()
        while not self._noted.empty():
            paths.add(Path(self._noted.get()))
        if now >= self._next_scan:
            # notifications get lost (queue overflow, remounts); a scan finds what they missed
            paths.update(self._scan())
            self._next_scan = now + self._rescan_s
        for path in paths:
            if path not in self._candidates and self._wanted(path) and self._can_be_named(path):
                self._consider(path, now)

    def _can_be_named(self, path: Path) -> bool:
        """Whether the path is text: one that is not could stand in no event, in no JSON and not in the journal."""
        try:
            str(path).encode()
        except UnicodeEncodeError:
            if path not in self._unnamed:
                log.warning("%a is left out: its name is no UTF-8; rename it", str(path))
            self._unnamed.add(path)
            return False
        return True

    def _consider(self, path: Path, now: float) -> None:
        try:
            stat = path.stat()
        except OSError:
            return
        if path.is_file() and self._done.get(path) != (stat.st_size, stat.st_mtime_ns):
            self._candidates[path] = _Candidate(stat.st_size, stat.st_mtime_ns, now, time.time_ns())

    @property
    def pending(self) -> int:
        """Candidates that are not complete yet."""
        return len(self._candidates)

    def wait_s(self) -> float:
        """How long the caller may sleep before `poll` should be called again."""
        return 0.05 if self._candidates else max(0.05, min(1.0, self._next_scan - time.monotonic()))

    def poll(self) -> list[Arrived | Rejected]:
        """Files that became complete, or turned out to be no good, since the last call."""
        now = time.monotonic()
        self._attend(now)
        self._collect(now)
        return [r for path in list(self._candidates) if (r := self._look(path, now)) is not None]

    def _look(self, path: Path, now: float) -> Arrived | Rejected | None:
        candidate = self._candidates[path]
        try:
            stat = path.stat()
        except OSError:
            del self._candidates[path]
            return None
        if (stat.st_size, stat.st_mtime_ns) != (candidate.size, candidate.mtime_ns):
            candidate.size, candidate.mtime_ns, candidate.stood_since = stat.st_size, stat.st_mtime_ns, now
            candidate.next_check = 0.0
            return None
        if now < candidate.next_check or now - candidate.stood_since < self._settle_s:
            return None
        return self._judge(path, candidate, now)

    def _judge(self, path: Path, candidate: _Candidate, now: float) -> Arrived | Rejected | None:
        try:
            self._check(path)
        except NotReadyYet as error:
            stood_s = now - candidate.stood_since
            if stood_s < self._patience_s:
                candidate.next_check = now + min(1.0, stood_s)
                return None
            return self._reject(path, candidate, BadData(f"{error}; nothing was added for {self._patience_s:g} s"))
        except Exception as error:  # the reader may be of somebody else
            return self._reject(path, candidate, error)
        self._forget(path, candidate)
        return Arrived(path=path, size=candidate.size, mtime_ns=candidate.mtime_ns, seen_ns=candidate.seen_ns)

    def _reject(self, path: Path, candidate: _Candidate, error: Exception) -> Rejected:
        self._forget(path, candidate)
        return Rejected(path=path, size=candidate.size, mtime_ns=candidate.mtime_ns, failure=Failure.of(error))

    def _forget(self, path: Path, candidate: _Candidate) -> None:
        self._done[path] = (candidate.size, candidate.mtime_ns)
        del self._candidates[path]
