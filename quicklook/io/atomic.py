"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from quicklook.core.errors import BadConfig, NoSpace, Transient

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: str | Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A binary file to write, that becomes `path` when the block ends without an error, and leaves no trace otherwise.

    It is written beside under a name that begins with a dot, forced to disk (unless `sync` is off, for what can be made again), and
    renamed. Folders are made. Raises NoSpace where the disk is full, Transient where the file system fails, BadConfig where writing is not
    allowed.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{threading.get_native_id()}.tmp")  # of this thread: others of this process may write the same file
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        stream = io.BufferedWriter(io.FileIO(beside, "w"), buffer_size=1 << 20)
    try:
        with stream:
            yield stream
            with _write_errors(path):
                stream.flush()
                if sync:
                    os.fsync(stream.fileno())
        with _write_errors(path):
            beside.replace(path)
            if sync:
                _sync_folder(path.parent)
    except OSError as error:
        raise _transient(path, error) from error
    except Exception as error:
        # what packs the bytes may raise an error of its own over that of the full disk
        if isinstance(full := error.__context__, OSError) and full.errno in _FULL:
            raise _transient(path, full) from error
        raise
    finally:
        with suppress(OSError):
            beside.unlink()


def _remove_stale(path: Path) -> None:
    """Remove what a process that was killed while it wrote this very file has left."""
    begins = f".{path.name}."
    with os.scandir(path.parent) as entries:  # no pattern: one for every file would be compiled, and kept
        names = [e.name for e in entries if e.name.startswith(begins) and e.name.endswith(".tmp")]
    for name in names:
        thread = name.split(".")[-2]
        if thread.isdigit() and not Path("/proc", thread).exists():
            with suppress(OSError):
                path.with_name(name).unlink()


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise BadConfig(f"{path} may not be written: {error.strerror}; give access or choose another output folder") from error
        raise _transient(path, error) from error


def _transient(path: Path, error: OSError) -> Transient:
    kind = NoSpace if error.errno in _FULL else Transient
    return kind(f"{path} cannot be written: {error.strerror or error}")


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut; some file systems cannot, and do without."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: str | Path, obj: Any, *, sync: bool = True) -> None:
    """Write plain data as strict JSON (UTF-8), whole or not at all.

    Raises ValueError, naming the place, where a number is not finite (see `jsonable`), TypeError where something is no plain data.
    """
    _check_finite(obj, "$")
    text = json.dumps(obj, allow_nan=False, ensure_ascii=False, indent=1)
    with atomic(path, sync=sync) as f:
        f.write(text.encode() + b"\n")


def _check_finite(obj: Any, where: str) -> None:
    if isinstance(obj, float):
        if not math.isfinite(obj):
            raise ValueError(f"{where} is {obj}; JSON has no such number")
    elif isinstance(obj, Mapping):
        for key, value in obj.items():
            _check_finite(value, f"{where}.{key}")
    elif isinstance(obj, list | tuple):
        for i, value in enumerate(obj):
            _check_finite(value, f"{where}[{i}]")


def jsonable(obj: Any) -> Any:
    """Plain data of mappings, sequences, numpy arrays and numbers: what is not finite becomes None, keys become text."""
    if isinstance(obj, np.ndarray):
        return jsonable(obj.tolist())
    if isinstance(obj, np.generic):
        return jsonable(obj.item())
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, Mapping):
        return {str(k): jsonable(v) for k, v in obj.items()}
    if isinstance(obj, list | tuple | set | frozenset):
        return [jsonable(v) for v in obj]
    return obj
