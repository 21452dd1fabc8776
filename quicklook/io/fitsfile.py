"""Structure of a FITS file, checked against its size by its headers alone, and its pixels.

`inspect` reads headers and nothing else: a few milliseconds, whatever the size of the file (a `.gz` must be unpacked, which verifies
all of it). A file that is still growing is told from a complete one by its size, except at the very boundary of two HDUs, which no
look at the file itself can see: who waits for a file knows which HDUs to expect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import Header, HeaderValue
from quicklook.core.errors import BadData
from quicklook.io.cards import BLOCK, CARD, parse_header
from quicklook.io.hdu import HduInfo, Kind
from quicklook.io.source import Incomplete, Source, open_source, system_errors

MAX_HEADER = 2000 * BLOCK
MAX_HDUS = 5000
MAX_HDU_BYTES = 1 << 36
"""A header that claims more data than this (64 GiB) is taken for broken, not for early."""
_ALIGN = 8 * BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsStructure:
    """What the headers of a file say. `size` is the bytes on disk; `problems` are sentences on what is odd but can be worked with."""

    path: Path
    size: int
    hdus: tuple[HduInfo, ...]
    problems: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the HDUs, the number where there is no name."""
        return tuple(h.name or str(h.index) for h in self.hdus)

    def find(self, which: str | int) -> HduInfo | None:
        """The HDU of that name (in any case) or number, None if there is none."""
        if isinstance(which, int):
            return self.hdus[which] if 0 <= which < len(self.hdus) else None
        return next((h for h in self.hdus if h.name == which.strip().upper()), None)

    def hdu(self, which: str | int) -> HduInfo:
        """As `find`, but raises BadData, with the names there are."""
        found = self.find(which)
        if found is None:
            raise BadData(f"{self.path.name} has no HDU {which}; it has {', '.join(self.names)}")
        return found


class FitsFile:
    """An open file: its structure, and the pixels of its HDUs on demand."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.structure = _walk(source)

    def pixels(self, which: str | int, *, narrow: bool = False) -> Raw:
        """Pixels of an image HDU, [ny, nx], native byte order. See `read_pixels`, and `quicklook.io.pixels.pixels_of` for `narrow`."""
        from quicklook.io.pixels import pixels_of

        with system_errors(self._source.path):
            return pixels_of(self._source, self.structure.hdu(which), narrow=narrow)


@contextmanager
def open_fits(path: str | Path) -> Iterator[FitsFile]:
    """Open a FITS file and check its structure.

    Raises Incomplete, a NotReadyYet, with the bytes expected and found, where it is truncated; BadData where it is no FITS file or its
    headers contradict themselves; NotReadyYet where it is not there; Transient where the system fails.
    """
    with open_source(Path(path)) as source:
        with system_errors(source.path):
            f = FitsFile(source)
        yield f


def inspect(path: str | Path) -> FitsStructure:
    """The structure of a file, headers alone. Raises as `open_fits`."""
    with open_source(Path(path), whole=False) as source, system_errors(source.path):
        return FitsFile(source).structure


def read_pixels(path: str | Path, hdu: str | int) -> Raw:
    """Pixels of the image HDU of that name or number, [ny, nx], native byte order.

    The type is the stored one: integers stay integers (uint16 and uint32 by BZERO without a float between), scaled ones become float32, and
    so do integers that hold BLANK. RICE-compressed images are decompressed by our own kernel (see `quicklook.io.rice` for the times, and
    `quicklook.core.compiled.set_threads` for the threads), other compressions by fitsio.
    Measured with 4194 x 4256 int32: 0.05 s RICE, 0.03 s plain.

    Raises as `open_fits`; BadData where the HDU holds no image of two axes or a compressed tile is broken.
    """
    with open_fits(path) as f:
        return f.pixels(hdu)


def _walk(source: Source) -> FitsStructure:
    hdus: list[HduInfo] = []
    problems: list[str] = []
    offset = 0
    while offset < source.size and len(hdus) < MAX_HDUS:
        if hdus and not _begins_hdu(source, offset):
            problems.append(f"{source.size - offset} bytes that belong to no HDU follow the last one")
            break
        text, data_offset = _header_text(source, offset, len(hdus))
        hdu = _hdu(source.path.name, len(hdus), parse_header(text), data_offset)
        hdus.append(hdu)
        end = hdu.data_offset + hdu.data_size
        _check_end(source, hdu, end)
        offset = -(-end // BLOCK) * BLOCK
    if offset > source.size:
        problems.append(f"the last block is not filled up to {BLOCK} bytes")
    return FitsStructure(path=source.path, size=source.disk_size, hdus=tuple(hdus), problems=tuple(problems))


def _begins_hdu(source: Source, offset: int) -> bool:
    start = source.read(offset, 8)
    return start == b"XTENSION"[: len(start)]


def _check_end(source: Source, hdu: HduInfo, end: int) -> None:
    if end <= source.size:
        return
    expected = -(-end // BLOCK) * BLOCK
    share = 100.0 * source.size / expected
    what = "unpacked " if source.packed else ""
    raise Incomplete(
        f"{source.path.name} is truncated: {hdu.label} ends at byte {end}, the {what}file has {source.size} ({share:.0f} % of {expected})",
        expected=expected,
        found=source.size,
    )


def _header_text(source: Source, offset: int, index: int) -> tuple[str, int]:
    """Cards of the header at `offset`, and where its data begin."""
    name = source.path.name
    block = source.read(offset, _ALIGN)
    if index == 0 and block[:6] != b"SIMPLE":
        raise BadData(f"{name} is no FITS file: it begins with {block[:12]!r}, not with SIMPLE")
    parts: list[bytes] = []
    while True:
        whole = len(block) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            piece = block[start : start + BLOCK]
            parts.append(piece)
            if _has_end(piece):
                return _decode(b"".join(parts), name, index), offset + len(parts) * BLOCK
        if len(parts) * BLOCK >= MAX_HEADER:
            raise BadData(f"{name}: the header of HDU {index} has no END in its first {MAX_HEADER} bytes; it is no FITS header")
        if whole < _ALIGN:
            _decode(b"".join(parts), name, index)
            raise Incomplete(f"{name} is truncated within the header of HDU {index}, after {source.size} bytes", expected=None, found=source.size)
        block = source.read(offset + len(parts) * BLOCK, _ALIGN)


def _has_end(block: bytes) -> bool:
    at = block.rfind(b"END     ")
    while at >= 0:
        if at % CARD == 0:
            return True
        at = block.rfind(b"END     ", 0, at)
    return False


def _decode(block: bytes, name: str, index: int) -> str:
    if not block.isascii() or b"\0" in block:
        raise BadData(f"{name}: the header of HDU {index} holds bytes that are no text; the file is damaged")
    return block.decode("ascii")


def _whole(header: Header, key: str, name: str, default: int | None = None) -> int:
    value: HeaderValue = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadData(f"{name}: {key} = {value!r} is no whole number; the header cannot be followed")
    return value


def _hdu(file: str, index: int, header: Header, data_offset: int) -> HduInfo:
    where = f"{file}, HDU {index}"
    size = _data_size(header, where)
    name = str(header.get("EXTNAME") or ("PRIMARY" if index == 0 else "")).strip().upper()
    kind = _kind(header, index)
    shown = _image_header(header) if kind == "compressed" else header
    axes = _whole(shown, "NAXIS", where, 0)
    shape = tuple(_whole(shown, f"NAXIS{i}", where) for i in range(axes, 0, -1)) if kind in ("image", "compressed") else ()
    if kind == "image" and (not shape or 0 in shape):
        kind, shape = "empty", ()
    return HduInfo(index=index, name=name, kind=kind, shape=shape, header=shown, stored=header, data_offset=data_offset, data_size=size)


def _data_size(header: Header, where: str) -> int:
    """Bytes of the data of an HDU, without padding (FITS standard 4.0, equation 2; random groups, equation 4)."""
    bitpix = header.get("BITPIX")
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise BadData(f"{where}: BITPIX = {bitpix!r} is no FITS type")
    axes = _whole(header, "NAXIS", where)
    lengths = [_whole(header, f"NAXIS{i}", where) for i in range(1, axes + 1)]
    if not lengths:
        return 0
    if header.get("GROUPS") is True and lengths[0] == 0:
        lengths = lengths[1:] or [0]
    pcount, gcount = _whole(header, "PCOUNT", where, 0), _whole(header, "GCOUNT", where, 1)
    size = abs(int(str(bitpix))) // 8 * gcount * (pcount + math.prod(lengths))
    if size > MAX_HDU_BYTES:
        raise BadData(f"{where}: claims {size} bytes of data ({' x '.join(map(str, lengths))}); no detector has so many")
    return size


def _kind(header: Header, index: int) -> Kind:
    extension = str(header.get("XTENSION") or "IMAGE").strip().upper()
    if index == 0 or extension in ("IMAGE", "IUEIMAGE"):
        return "image"
    if extension in ("BINTABLE", "A3DTABLE"):
        return "compressed" if header.get("ZIMAGE") is True else "table"
    return "table" if extension == "TABLE" else "other"


_OF_TABLE = {"XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP"}
_OF_COMPRESSION = ("ZIMAGE", "ZCMPTYPE", "ZTILE", "ZNAME", "ZVAL", "ZBITPIX", "ZNAXIS", "ZPCOUNT", "ZGCOUNT", "ZTENSION", "ZQUANTIZ", "ZDITHER0")


def _image_header(stored: Header) -> Header:
    """Header of the image within a compressed HDU."""
    cards: dict[str, HeaderValue] = {"BITPIX": stored.get("ZBITPIX"), "NAXIS": stored.get("ZNAXIS")}
    for key, value in stored.items():
        if key.startswith("ZNAXIS") and key != "ZNAXIS":
            cards["NAXIS" + key[6:]] = value
    for key, value in stored.items():
        of_column = key.startswith(("TTYPE", "TFORM")) and key[5:].isdigit()
        if key not in _OF_TABLE and not key.startswith(_OF_COMPRESSION) and not of_column:
            cards.setdefault(key, value)
    return Header(cards)
