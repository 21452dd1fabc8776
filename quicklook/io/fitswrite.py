"""Writing of FITS images without a copy of the whole: headers by our own cards, pixels turned into big-endian a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import HeaderValue
from quicklook.core.errors import BadData
from quicklook.io.cards import BLOCK, format_card, header_block

Card = tuple[str, HeaderValue] | tuple[str, HeaderValue, str]

_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}
_CHUNK = 1 << 18
"""Elements turned at a time: they stay in the cache."""


def write_image_hdu(
    stream: BinaryIO, pixels: Raw | None, *, name: str = "", cards: Iterable[Card] = (), primary: bool = False, dtype: str = ""
) -> None:
    """Append an image HDU (or one without data). Unsigned 16 and 32 bit integers are written with BZERO.

    `dtype` (such as ``i4``) is a type to write the pixels in, where it is not their own. Raises BadData for a type that FITS has not.
    """
    stored, bzero = (dtype, 0) if dtype in _BITPIX else _stored_type(pixels)
    shape: Sequence[int] = () if pixels is None else pixels.shape[::-1]
    head: list[Card] = [("SIMPLE", True) if primary else ("XTENSION", "IMAGE"), ("BITPIX", _BITPIX[stored]), ("NAXIS", len(shape))]
    head += [(f"NAXIS{i}", n) for i, n in enumerate(shape, 1)]
    head += [("EXTEND", True)] if primary else [("PCOUNT", 0), ("GCOUNT", 1)]
    head += [("EXTNAME", name)] if name else []
    head += [("BZERO", bzero), ("BSCALE", 1)] if bzero else []
    reserved = {c[0] for c in head}
    text = [format_card(*c) for c in head] + [format_card(*c) for c in cards if c[0].upper() not in reserved]
    stream.write(header_block(text))
    if pixels is not None:
        _write_pixels(stream, pixels, stored, bzero)


def _stored_type(pixels: Raw | None) -> tuple[str, int]:
    if pixels is None:
        return "u1", 0
    kind = pixels.dtype.str[1:]
    if kind in ("u2", "u4"):
        return kind.replace("u", "i"), 1 << (8 * pixels.dtype.itemsize - 1)
    if kind not in _BITPIX:
        raise BadData(f"an image of {pixels.dtype} cannot be written to FITS")
    return kind, 0


def _write_pixels(stream: BinaryIO, pixels: Raw, stored: str, bzero: int) -> None:
    flat = np.ascontiguousarray(pixels).reshape(-1)
    buffer = np.empty(min(_CHUNK, flat.size), dtype=f">{stored}")
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        if bzero:
            part = (part ^ part.dtype.type(bzero)).view(stored)
        buffer[: part.size] = part
        stream.write(buffer[: part.size].data)
    stream.write(bytes(-flat.size * buffer.itemsize % BLOCK))


def cards_of(values: Mapping[str, HeaderValue]) -> list[Card]:
    """Cards without comments; values that are None are left out."""
    return [(key, value) for key, value in values.items() if value is not None]
