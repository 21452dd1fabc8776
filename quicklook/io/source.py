"""Bytes of a file, plain or gzip-compressed, read by offset; and what the operating system says when it cannot, in our errors."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from quicklook.core.errors import BadData, NotReadyYet, Transient

MAX_UNPACKED = 8 << 30
"""A gzip stream that unpacks to more bytes than this is refused: it is no frame."""
_CHUNK = 1 << 20
_OTHER_FORMATS = {
    b"\x1f\x9d": "compressed with compress (.Z)",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"(\xb5/\xfd": "compressed with zstd",
    b"PK\x03\x04": "a zip file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF file",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
}


class Incomplete(NotReadyYet):
    """The file ends before its content does. The caller decides, after a time-out, that it is broken rather than late.

    `expected` is the number of bytes that the headers promise (at least), None where it cannot be known; `found` those on disk.
    """

    def __init__(self, message: str, *, expected: int | None, found: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[object, ...]:
        return (_incomplete, (str(self), self.expected, self.found))


def _incomplete(message: str, expected: int | None, found: int) -> Incomplete:
    return Incomplete(message, expected=expected, found=found)


class Source:
    """Bytes by offset. `size` is their number (after unpacking), `disk_size` that of the file."""

    def __init__(self, path: Path, stream: FileIO | None, content: bytes | None, disk_size: int) -> None:
        self.path = path
        self.disk_size = disk_size
        self.size = disk_size if content is None else len(content)
        self._stream = stream
        self._content = content

    @property
    def packed(self) -> bool:
        """Whether the file is gzip-compressed."""
        return self._content is not None

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer only where the file ends."""
        if self._content is not None:
            return self._content[offset : offset + count]
        assert self._stream is not None
        self._stream.seek(offset)
        return self._stream.read(count)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` (of bytes) from `offset`; the number of bytes that were there."""
        if self._content is not None:
            part = memoryview(self._content)[offset : offset + len(buffer)]
            buffer[: len(part)] = part
            return len(part)
        assert self._stream is not None
        self._stream.seek(offset)
        done = 0
        while done < len(buffer) and (n := self._stream.readinto(buffer[done:])):
            done += n
        return done


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """What the system says on opening or reading `path`, as errors named after what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotReadyYet(f"{path} is not there") from error
    except PermissionError as error:
        raise BadData(f"{path} may not be read: permission denied; give the account that runs the quick-look read access") from error
    except IsADirectoryError as error:
        raise BadData(f"{path} is a folder, not a file") from error
    except OSError as error:
        raise Transient(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file; one that is gzip-compressed is unpacked whole, which also verifies it.

    Raises Incomplete (empty file, stream that ends early), BadData (another format, broken stream), NotReadyYet (not there), Transient.
    """
    with system_errors(path):
        stream = FileIO(path)
    with stream:
        with system_errors(path):
            source = _source(path, stream)
        yield source


def _source(path: Path, stream: FileIO) -> Source:
    size = os.fstat(stream.fileno()).st_size
    start = stream.read(8)
    if not start.strip(b"\0"):
        what = "is empty (0 bytes)" if not size else f"begins with zero bytes ({size} on disk): nothing is written in it yet"
        raise Incomplete(f"{path.name} {what}", expected=None, found=size)
    for magic, what in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise BadData(f"{path.name} is no FITS file but {what}")
    content = _gunzip(path, stream) if start.startswith(b"\x1f\x8b") else None
    return Source(path, stream, content, size)


def _gunzip(path: Path, stream: FileIO) -> bytes:
    """All members of a gzip stream, their checksums verified."""
    stream.seek(0)
    out = bytearray()
    unpack = zlib.decompressobj(wbits=31)
    ended = False
    try:
        while data := stream.read(_CHUNK):
            while data:
                if ended:
                    if not data.strip(b"\0"):  # padding that some tapes and copies leave
                        break
                    unpack, ended = zlib.decompressobj(wbits=31), False
                out += unpack.decompress(data, MAX_UNPACKED - len(out) + 1)
                if len(out) > MAX_UNPACKED:
                    raise BadData(f"{path.name} unpacks to more than {MAX_UNPACKED >> 30} GiB; it is no frame")
                data, ended = unpack.unused_data, unpack.eof
    except zlib.error as error:
        raise BadData(f"{path.name} is a broken gzip stream after {len(out)} bytes: {error}") from error
    if not ended:
        found = stream.tell()
        raise Incomplete(f"{path.name} is truncated: its gzip stream stops after {found} bytes", expected=None, found=found)
    return bytes(out)
