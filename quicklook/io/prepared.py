"""Calibrations kept ready for all processes of a machine: read, checked and converted once, then mapped into memory from one file each.

A full DESI camera has 270 MB of calibrations as FITS: to read, swap, sum and check them takes as long as half of its chain, and thirty cameras do not
fit into the memory of each worker. Mapped, they take no time, and all workers share the pages of the system. A file is known by path, time, size and
checksum of its original and by the code that has read it: what has changed is prepared anew. One that is damaged counts as absent.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import mmap
import os
import pickle
import shutil
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import QuicklookError
from quicklook.core.product import Calibration
from quicklook.core.provenance import version_of
from quicklook.io.atomic import atomic

log = logging.getLogger("quicklook.calib")

LEAST_BYTES = 1 << 20
"""What is smaller is read as fast."""
KEEP_FREE = 2 << 30
"""Nothing is prepared where less than this would be left on the disk."""
_MAGIC = b"quicklook ready 1\n"
_HEAD = struct.Struct("<QQ")
"""Bytes of the index behind the magic, and of the whole file."""
_PAGE = 4096

_Where = list[tuple[int, int, int]]
"""Of each array: first byte, number of bytes, sum of its 64-bit words."""


@functools.cache
def _code() -> str:
    """Checksum of the names, times and sizes of the sources that read calibrations: what another program has prepared is not taken."""
    base = Path(__file__).parent.parent
    found = sorted((p.as_posix(), p.stat().st_mtime_ns, p.stat().st_size) for part in ("io", "ccd") for p in (base / part).glob("*.py"))
    return hashlib.sha256(repr((found, np.__version__)).encode()).hexdigest()


def ready_folder() -> Path:
    """Where they are kept: beside the compiled kernels, `QUICKLOOK_CACHE_DIR` or the cache folder of the user."""
    base = os.environ.get("QUICKLOOK_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return (Path(base) if base else Path(user) / "quicklook") / f"calibrations-{version_of('spectroquicklook')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A folder of prepared calibrations, up to a number of bytes; those that were used least lately make room."""

    folder: Path
    max_bytes: int

    def find(self, key: tuple[object, ...]) -> Calibration | None:
        """The calibration of that key, mapped; None where there is none, or it is damaged."""
        path = self._path(key)
        try:
            made = _mapped(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged pickle raises nearly anything
            log.warning("the prepared calibration %s is made again: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # it has just made room for another one; what is mapped stays
            os.utime(path)
        return made

    def keep(self, key: tuple[object, ...], calibration: Calibration) -> Calibration:
        """Prepare it, unless somebody else has meanwhile; returns it as it is mapped from then on, or as it was where it cannot be kept."""
        if (theirs := self.find(key)) is not None:
            return theirs
        buffers: list[pickle.PickleBuffer] = []
        index = pickle.dumps(calibration, protocol=5, buffer_callback=buffers.append)
        arrays = [np.frombuffer(b.raw(), np.uint8) for b in buffers]
        size = sum(a.nbytes for a in arrays)
        if not LEAST_BYTES <= size <= self.max_bytes:
            return calibration
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.folder.stat().st_uid != os.getuid() or shutil.disk_usage(self.folder).free < size + KEEP_FREE:
                return calibration
            self._make_room(size)
            _write(self._path(key), index, arrays)
        except (OSError, QuicklookError) as error:
            log.warning("a calibration cannot be prepared in %s: %s", self.folder, error)
            return calibration
        return self.find(key) or calibration

    def _path(self, key: tuple[object, ...]) -> Path:
        return self.folder / f"{hashlib.sha256(repr((key, _code())).encode()).hexdigest()[:40]}.ready"

    def _make_room(self, size: int) -> None:
        found = list[tuple[int, int, Path]]()
        for path in self.folder.glob("*.ready"):
            with suppress(FileNotFoundError):  # another worker makes room, too
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path))
        over = sum(n for _, n, _ in found) + size - self.max_bytes
        for _, n, path in sorted(found):
            if over <= 0:
                return
            path.unlink(missing_ok=True)
            over -= n


def _sum(array: npt.NDArray[np.uint8]) -> int:
    """Of the 64-bit words, modulo 2**64, and the bytes after the last of them."""
    whole = array.size // 8 * 8
    return (int(np.add.reduce(array[:whole].view(np.uint64))) + int(array[whole:].sum())) % (1 << 64)


def _write(path: Path, index: bytes, arrays: list[npt.NDArray[np.uint8]]) -> None:
    """Magic, lengths, index, and each array from the beginning of a page."""
    where: _Where = [(0, a.nbytes, _sum(a)) for a in arrays]
    start = len(_MAGIC) + _HEAD.size + len(pickle.dumps((index, where))) + 16 * len(where) + 64  # the numbers get longer
    for i, array in enumerate(arrays):
        start = -(-start // _PAGE) * _PAGE
        where[i] = (start, array.nbytes, where[i][2])
        start += array.nbytes
    head = pickle.dumps((index, where))
    with atomic(path, sync=False) as f:
        f.write(_MAGIC + _HEAD.pack(len(head), start) + head)
        for array, (offset, _, _) in zip(arrays, where, strict=True):
            f.write(bytes(offset - f.tell()))
            f.write(array.data)


def _mapped(path: Path) -> Calibration:
    """Private to the process: what it may write stays with it. Raises ValueError where the file is damaged."""
    with path.open("rb") as f:
        start = f.read(len(_MAGIC) + _HEAD.size)
        if not start.startswith(_MAGIC) or len(start) != len(_MAGIC) + _HEAD.size:
            raise ValueError("it is none")
        length, size = _HEAD.unpack(start[len(_MAGIC) :])
        if os.fstat(f.fileno()).st_size != size:
            raise ValueError(f"it has {os.fstat(f.fileno()).st_size} bytes in place of {size}")
        index, where = pickle.loads(f.read(length))
        content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    views = []
    for offset, nbytes, total in where:
        view = memoryview(content)[offset : offset + nbytes]
        if _sum(np.frombuffer(view, np.uint8)) != total:
            raise ValueError("its sum is wrong")
        views.append(view)
    made: Any = pickle.loads(index, buffers=views)
    if not isinstance(made, Calibration):
        raise ValueError(f"it holds a {type(made).__name__}")
    return made


def is_mapped(array: npt.NDArray[Any]) -> bool:
    """Whether an array lies in a mapped file, so that it takes no memory of this process alone."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    while isinstance(base, memoryview | pickle.PickleBuffer):
        base = base.obj if isinstance(base, memoryview) else base.raw().obj
    return isinstance(base, mmap.mmap)
