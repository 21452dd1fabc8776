"""Pictures made small: a PNG of 256 colours at most, for pages that are kept with the code.

Source of the form: PNG specification (third edition), colour type 3: chunks IHDR, PLTE, IDAT, IEND.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from quicklook.ccd.arrays import Raw

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256
_STEP = 8
"""Colours are rounded to this many levels of 256 before they are counted: the eye does not see it in a plot."""


def palette_png(pixels: Raw) -> bytes:
    """A picture, uint8 [ny, nx, 3] (red, green, blue), as PNG with a palette: the colours that are met most, others by the nearest of them."""
    coarse = np.minimum((pixels.astype(np.int64) + _STEP // 2) // _STEP * _STEP, 255)
    codes, inverse, counts = np.unique(coarse @ np.array([1 << 16, 1 << 8, 1]), return_inverse=True, return_counts=True)
    kept = codes[np.argsort(-counts, kind="stable")[:_COLOURS]]
    index = np.array([np.argmin(np.sum((_channels(kept) - colour) ** 2, axis=1)) for colour in _channels(codes)], np.uint8)
    ny, nx = int(pixels.shape[0]), int(pixels.shape[1])
    rows = index[inverse].reshape(ny, nx)
    lines = np.pad(rows, ((0, 0), (1, 0)))  # each line begins with its filter: none
    head = struct.pack(">IIBBBBB", nx, ny, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", _channels(kept).astype(np.uint8).tobytes()), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _channels(codes: Raw) -> Raw:
    return np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], axis=1)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
