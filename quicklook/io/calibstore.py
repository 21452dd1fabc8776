"""Where the entries of an index are kept: the interface, and the folder with `calib.yaml`. A database index implements the same."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from quicklook.core.errors import BadConfig, Transient
from quicklook.core.yamlsource import parse_yaml, validate
from quicklook.io.atomic import atomic
from quicklook.io.calibentry import CalibEntry, CalibIndex
from quicklook.io.calibtext import EMPTY, with_checksum, with_entry
from quicklook.io.configfiles import read_config

INDEX = "calib.yaml"
LOCK_WAIT_S = 10.0


class CalibIndexStore(Protocol):
    """What an index must do: give its entries, find their files, take a further entry."""

    @property
    def name(self) -> str:
        """For messages: where the index lies."""
        ...

    def entries(self) -> tuple[CalibEntry, ...]:
        """The entries as they are now, in the order in which they were added. Raises BadConfig, Transient."""
        ...

    def stale_days(self, kind: str) -> float | None:
        """Days after which a calibration of a kind is stale; None where nothing says so."""
        ...

    def locate(self, entry: CalibEntry) -> Path:
        """The file of an entry."""
        ...

    def add(self, entry: CalibEntry) -> None:
        """Add an entry, wholly or not at all; one of the same kind and path is replaced. Raises BadConfig, Transient."""
        ...


class FolderStore:
    """A folder with `calib.yaml`. A changed index is taken up at the next question.

    With `create` an index that is not there is empty, and is made when the first entry is added. Raises BadConfig, with file and line, where the
    index cannot be used.
    """

    def __init__(self, folder: str | Path, *, create: bool = False) -> None:
        self.folder = Path(folder)
        self._create = create
        self._stamp: tuple[int, int, int] | None = None
        self._index = CalibIndex(calibrations=())
        self.entries()

    @property
    def name(self) -> str:
        """The path of the index."""
        return str(self.folder / INDEX)

    def entries(self) -> tuple[CalibEntry, ...]:
        """See `CalibIndexStore.entries`."""
        return self._current().calibrations

    def stale_days(self, kind: str) -> float | None:
        """See `CalibIndexStore.stale_days`."""
        return self._current().stale_days.get(kind)

    def locate(self, entry: CalibEntry) -> Path:
        """See `CalibIndexStore.locate`: the path is relative to the folder."""
        return self.folder / entry.path

    def add(self, entry: CalibEntry) -> None:
        """See `CalibIndexStore.add`: comments are kept; the file is written beside and renamed, one writer at a time."""
        with locked(self.folder):
            path = self.folder / INDEX
            self._write(with_entry(_read(path) if path.exists() else EMPTY, str(path), entry))

    def stamp(self, entry: CalibEntry, sha256: str) -> None:
        """Write a checksum into an entry that has none. Raises BadConfig (it is not there any more), Transient."""
        with locked(self.folder):
            path = self.folder / INDEX
            self._write(with_checksum(_read(path), str(path), entry, sha256))

    def _write(self, text: str) -> None:
        path = self.folder / INDEX
        validate(CalibIndex, parse_yaml(text, str(path)))
        with atomic(path) as f:
            f.write(text.encode())

    def _current(self) -> CalibIndex:
        path = self.folder / INDEX
        try:
            status = path.stat()
        except OSError as error:
            if self._create and isinstance(error, FileNotFoundError):
                return CalibIndex(calibrations=())
            raise BadConfig(f"{path} cannot be read: {error.strerror or error}") from error
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            self._index = validate(CalibIndex, read_config(path))
            self._stamp = stamp
        return self._index


def _read(path: Path) -> str:
    read_config(path)  # what is no configuration is refused in words
    return path.read_text(encoding="utf-8-sig")


@contextmanager
def locked(folder: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of an index, for writing. Folders are made. Raises Transient where somebody else holds it for too long, BadConfig (access)."""
    path = folder / f".{INDEX}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab")
    except OSError as error:
        raise BadConfig(f"{path} may not be written: {error.strerror or error}; give access or choose another folder of calibrations") from error
    with stream:
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise Transient(f"{path} is locked by another writer for {wait_s:g} s") from error
                time.sleep(0.02)
            except OSError as error:
                raise Transient(f"{path} cannot be locked: {error.strerror or error}") from error
        yield
