"""Notifications of the Linux kernel on folders (inotify(7)), read in a thread of its own.

Written here because a watcher must know three things that libraries keep to themselves: that the queue of the kernel has overflowed,
that a file is still open for writing, and which folders are watched.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from quicklook.service.arrival.folders import Folders
from quicklook.service.arrival.tree import walk

log = logging.getLogger("quicklook.watcher")

_MODIFY, _ATTRIBUTES, _CLOSE_WRITE, _MOVED_TO, _CREATE, _IGNORED = 0x2, 0x4, 0x8, 0x80, 0x100, 0x8000
_OVERFLOW, _IS_FOLDER, _ONLY_FOLDERS = 0x4000, 0x40000000, 0x01000000
_WANTED = _MODIFY | _ATTRIBUTES | _CLOSE_WRITE | _MOVED_TO | _CREATE | _ONLY_FOLDERS
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 18
_END_S = 2.0
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TOO_MANY = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Notifier(Protocol):
    """Says what has happened in a tree. `take` gives the files since the last call: path, and whether it is open for writing; None: as it was."""

    @property
    def overflows(self) -> int:
        """How often something has got lost, so that the tree must be scanned."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether there are more folders than can be watched."""
        ...

    def watch(self, folder: str) -> None:
        """A folder of the tree that a scan has found."""
        ...

    def unheard(self) -> set[str]:
        """Folders whose watch has ended since the last call: that a file there was closed may not have been heard. Ask before `take`."""
        ...

    def take(self) -> dict[str, bool | None]:
        """See there."""
        ...

    def stop(self) -> None:
        """No more."""
        ...


class Inotify:
    """Watches a folder and all below it, symbolic links to folders followed. `wake` is called, in the thread, when there is something to take.

    Raises OSError where it cannot be had (no Linux, limits of the user).
    """

    def __init__(self, folder: str, wake: Callable[[], None]) -> None:
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, "there is no inotify on this system")
        self._wake = wake
        self._lock = threading.Lock()
        # the number of the watch that said that a file is open; 0: it is closed; None: nothing was said of that
        self._files: dict[str, int | None] = {}
        self._folders = Folders()
        self.overflows, self.exhausted = 0, False
        self._fd = _checked(self._libc.inotify_init1(_NONBLOCK_CLOEXEC))
        self._end, self._ending = os.pipe2(_NONBLOCK_CLOEXEC)
        try:
            self._add(folder, time.time())
        except OSError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._run, name="quicklook-inotify", daemon=True)
        self._thread.start()

    def watch(self, folder: str, used: float | None = None) -> None:
        """Watch one more folder, not those below it; one that is watched already stays so. Sets `exhausted` where no more can be.

        Of very many those are watched in which something has come last (`used`; default: when it was changed): see `Folders`.
        """
        try:
            used = os.stat(folder).st_mtime if used is None else used
            with self._lock:
                wanted = self._folders.wants(used)
            if wanted:
                self._add(folder, used)
        except OSError as error:
            # it may be gone again; the scan finds what is in it
            self.exhausted = self.exhausted or error.errno in _TOO_MANY

    def unheard(self) -> set[str]:
        """Folders whose watch has ended since the last call, those too that are watched anew: a file that was open there may be closed by now."""
        with self._lock:
            return self._folders.gone()

    def take(self) -> dict[str, bool | None]:
        """Files of which something was said since the last call, and whether they are open for writing; None: that has not changed.

        One that was open when the watch on its folder ended counts as closed, for nobody would say when it is. No number of a watch comes twice.
        """
        with self._lock:
            taken, self._files = self._files, {}
            return {path: None if watch is None else self._folders.get(watch) is not None for path, watch in taken.items()}

    def stop(self) -> None:
        """End the thread and give everything back; where the file system hangs, the thread and its descriptors are left to end with the program."""
        os.write(self._ending, b"!")
        self._thread.join(_END_S)
        if not self._thread.is_alive():
            self._close()

    def _close(self) -> None:
        for fd in (self._fd, self._end, self._ending):
            os.close(fd)

    def _add(self, folder: str, used: float) -> None:
        with self._lock:
            wd = _checked(self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _WANTED))
            earlier = self._folders.get(wd) or folder
            # one that is linked to keeps its first name, one that was moved has a new one
            given_up = self._folders.add(wd, earlier if _is_same(earlier, folder) else folder, used)
            if given_up is not None:
                self._libc.inotify_rm_watch(self._fd, given_up)

    def _run(self) -> None:
        # one for ever: to take a new one for each read, beside small things that stay, has the heap of this thread grow without end
        buffer, ready = memoryview(bytearray(_BUFFER)), select.poll()
        for fd in (self._fd, self._end):
            ready.register(fd, select.POLLIN)
        while not any(fd == self._end for fd, _ in ready.poll()):
            try:
                length = os.readv(self._fd, [buffer])
            except BlockingIOError:
                continue
            if self._read(buffer[:length]):
                self._wake()

    def _read(self, content: bytes | memoryview) -> bool:
        """Whether there is something to take."""
        at, new, overflows = 0, list[str](), self.overflows
        with self._lock:
            while at < len(content):
                wd, mask, _, length = _EVENT.unpack_from(content, at)
                at += _EVENT.size
                name, at = bytes(content[at : at + length]).rstrip(b"\0"), at + length
                self._note(wd, mask, os.fsdecode(name), new)
        for folder in new:
            self._enter(folder)
        return bool(self._files or self.overflows > overflows)

    def _note(self, wd: int, mask: int, name: str, new: list[str]) -> None:
        if mask & _OVERFLOW:
            self.overflows += 1
        elif mask & _IGNORED:
            self._folders.drop(wd)
        elif (folder := self._folders.get(wd)) is not None and name:
            self._folders.use(wd, time.time())
            path = os.path.join(folder, name)
            if mask & _IS_FOLDER:
                new.extend([path] if mask & (_CREATE | _MOVED_TO | _ATTRIBUTES) and not name.startswith(".") else [])
            elif mask & _ATTRIBUTES:
                self._files.setdefault(path, None)  # access to it may have been given
            else:
                self._files[path] = wd if mask & _MODIFY else 0

    def _enter(self, folder: str) -> None:
        """A folder that has come: watch it and what is in it, then list it, for the files that were there before it was watched."""
        self.watch(folder, time.time())
        for files, folders in walk(folder):
            for below in folders:
                self.watch(below)
            with self._lock:
                for entry in files:
                    self._files.setdefault(entry.path, 0)


def _is_same(one: str, other: str) -> bool:
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
