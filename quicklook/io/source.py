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
_CHUNK, _PIECE = 1 << 20, 1 << 24
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


class _Stream(Source):
    """As `Source`, of a gzip-compressed file that is unpacked again and again as far as is read, and never held whole."""

    def __init__(self, path: Path, stream: FileIO, disk_size: int) -> None:
        super().__init__(path, stream, None, disk_size)
        self.size = sum(len(piece) for piece in _unpacked(path, stream))  # which verifies it
        self._pieces: Iterator[bytes] = iter(())
        self._piece, self._start = b"", self.size + 1

    @property
    def packed(self) -> bool:
        """See there."""
        return True

    def read(self, offset: int, count: int) -> bytes:
        """See there. Quick where offsets grow."""
        assert self._stream is not None
        if offset < self._start:
            self._pieces, self._piece, self._start = _unpacked(self.path, self._stream), b"", 0
        parts = list[bytes]()
        while count > 0:
            here = self._piece[max(0, offset - self._start) : max(0, offset - self._start + count)]
            parts.append(here)
            offset, count = offset + len(here), count - len(here)
            if count <= 0 or (following := next(self._pieces, None)) is None:
                break
            self._piece, self._start = following, self._start + len(self._piece)
        return b"".join(parts)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See there."""
        part = self.read(offset, len(buffer))
        buffer[: len(part)] = part
        return len(part)


@contextmanager
def open_source(path: Path, *, whole: bool = True) -> Iterator[Source]:
    """Open a file. One that is gzip-compressed is verified: unpacked whole, in memory, or piece by piece for who reads only some of it.

    Raises Incomplete (empty file, stream that ends early), BadData (another format, broken stream), NotReadyYet (not there), Transient.
    """
    with system_errors(path):
        stream = FileIO(path)
    with stream:
        with system_errors(path):
            source = _source(path, stream, whole)
        yield source


def _source(path: Path, stream: FileIO, whole: bool) -> Source:
    size = os.fstat(stream.fileno()).st_size
    start = stream.read(8)
    if not start.strip(b"\0"):
        what = "is empty (0 bytes)" if not size else f"begins with zero bytes ({size} on disk): nothing is written in it yet"
        raise Incomplete(f"{path.name} {what}", expected=None, found=size)
    for magic, what in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise BadData(f"{path.name} is no FITS file but {what}")
    if not start.startswith(b"\x1f\x8b"):
        return Source(path, stream, None, size)
    return Source(path, stream, b"".join(_unpacked(path, stream)), size) if whole else _Stream(path, stream, size)


def _unpacked(path: Path, stream: FileIO) -> Iterator[bytes]:
    """All members of a gzip stream, their checksums verified, in pieces."""
    stream.seek(0)
    unpack, out, ended, read = zlib.decompressobj(wbits=31), 0, False, 0
    try:
        while data := stream.read(_CHUNK):
            read += len(data)
            more = True
            while more:
                if ended:
                    if not data.strip(b"\0"):  # padding that some tapes and copies leave
                        break
                    unpack, ended = zlib.decompressobj(wbits=31), False
                piece = unpack.decompress(data, _PIECE)
                out += len(piece)
                if out > MAX_UNPACKED:
                    raise BadData(f"{path.name} unpacks to more than {MAX_UNPACKED >> 30} GiB; it is no frame")
                yield piece
                stream.seek(read)  # who takes the pieces may have read elsewhere
                data, ended = unpack.unused_data if unpack.eof else unpack.unconsumed_tail, unpack.eof
                more = bool(data) or (not ended and len(piece) == _PIECE)  # of what is unpacked already, too
    except zlib.error as error:
        raise BadData(f"{path.name} is a broken gzip stream after {out} bytes: {error}") from error
    if not ended:
        raise Incomplete(f"{path.name} is truncated: its gzip stream stops after {read} bytes", expected=None, found=read)
