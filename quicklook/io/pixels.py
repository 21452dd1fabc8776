"""Pixels of an image HDU as a native array."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import Header
from quicklook.core.errors import BadData
from quicklook.io.cfitsio import opened
from quicklook.io.hdu import HduInfo
from quicklook.io.source import Incomplete, Source

MAX_PIXELS = 1 << 29
"""An image of more pixels than this (23170 x 23170) is refused before memory is taken for it."""

_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True, slots=True)
class _Scale:
    """How stored numbers become values: value = zero + scale * stored; `blank` is the stored number that means nothing is known."""

    scale: float
    zero: float
    blank: int | None

    def unsigned(self, dtype: np.dtype[np.generic]) -> bool:
        """Whether BZERO only says that the integers are unsigned (signed, for bytes)."""
        half = {"i2": 1 << 15, "i4": 1 << 31}.get(dtype.str[1:])
        return half is not None and self.scale == 1 and self.zero == half

    @property
    def plain(self) -> bool:
        return self.scale == 1 and self.zero == 0


def pixels_of(source: Source, hdu: HduInfo, *, narrow: bool = False) -> Raw:
    """Pixels [ny, nx] of `hdu`. Raises BadData where it is no image of two axes, Incomplete where the file has shrunk meanwhile.

    `narrow`: whole numbers of 32 bits that are RICE-compressed may come as uint16, where they all fit: half the memory, and less time.
    """
    shape = _image_shape(source, hdu)
    bitpix = hdu.header.get("BITPIX")
    dtype = _STORED.get(bitpix if isinstance(bitpix, int) else 0)
    if dtype is None:
        raise BadData(f"{source.path.name}, {hdu.label}: BITPIX = {bitpix!r} is no FITS type")
    scale = _scale(source, hdu)
    native = np.dtype(dtype).newbyteorder("=")
    if hdu.kind == "compressed":
        return _compressed(source, hdu, shape, native, scale, narrow)
    stored = np.empty(shape, dtype=native)
    if source.read_into(hdu.data_offset, stored.data.cast("B")) < stored.nbytes:
        raise Incomplete(f"{source.path.name} has shrunk while it was read", expected=hdu.data_offset + stored.nbytes, found=source.size)
    if native.itemsize > 1 and native.str[0] == "<":
        stored.byteswap(inplace=True)
    return _scaled(stored, scale)


def _image_shape(source: Source, hdu: HduInfo) -> tuple[int, int]:
    where = f"{source.path.name}, {hdu.label}"
    if not hdu.is_image:
        raise BadData(f"{where} holds no image ({hdu.kind})")
    shape = hdu.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2:
        raise BadData(f"{where} has {len(shape)} axes {shape}; an image of a detector has two")
    if math.prod(shape) > MAX_PIXELS:
        raise BadData(f"{where} claims {shape[1]} x {shape[0]} pixels; no detector has so many")
    return (shape[0], shape[1])


def _number(source: Source, hdu: HduInfo, key: str, default: float) -> float:
    value = hdu.header.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadData(f"{source.path.name}, {hdu.label}: {key} = {value!r} is no number, so the pixels cannot be told")
    return float(value)


def _stated(header: Header, key: str, default: float) -> float:
    """A number of the header of a compressed table; what is none is caught by the checks of its layout."""
    value = header.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _scale(source: Source, hdu: HduInfo) -> _Scale:
    scale, zero = _number(source, hdu, "BSCALE", 1.0), _number(source, hdu, "BZERO", 0.0)
    if not (math.isfinite(scale) and math.isfinite(zero)) or scale == 0:
        raise BadData(f"{source.path.name}, {hdu.label}: BSCALE = {scale}, BZERO = {zero} make no pixels")
    blank = hdu.header.get("BLANK", hdu.header.get("ZBLANK"))
    return _Scale(scale, zero, blank if isinstance(blank, int) and not isinstance(blank, bool) else None)


def _scaled(stored: Raw, scale: _Scale) -> Raw:
    holes = stored == scale.blank if scale.blank is not None and stored.dtype.kind in "iu" else None
    if holes is not None and holes.any():
        out = (stored * scale.scale + scale.zero).astype(np.float32)
        out[holes] = np.nan
        return out
    if scale.unsigned(stored.dtype):
        flipped = stored.view(stored.dtype.str.replace("i", "u"))
        flipped ^= flipped.dtype.type(1 << (8 * flipped.itemsize - 1))
        return flipped
    return stored if scale.plain else (stored * scale.scale + scale.zero).astype(np.float32)


def _compressed(source: Source, hdu: HduInfo, shape: tuple[int, int], native: np.dtype[np.generic], scale: _Scale, narrow: bool) -> Raw:
    stored = hdu.stored
    by_rows = stored.get("ZTILE1", shape[1]) == shape[1]
    one_column = stored.get("TFIELDS") == 1 and str(stored.get("TFORM1")).strip().lstrip("01")[:2] in ("PB", "QB")
    rice = str(stored.get("ZCMPTYPE")).strip().upper() in ("RICE_1", "RICE_ONE")
    if rice and by_rows and one_column and native.kind in "iu" and native.itemsize <= 4:
        return _rice(source, hdu, shape, native, scale, narrow)
    return _by_library(source, hdu, shape)


def _rice(source: Source, hdu: HduInfo, shape: tuple[int, int], native: np.dtype[np.generic], scale: _Scale, narrow: bool) -> Raw:
    """RICE tiles of whole rows, by our kernel; the offset of unsigned integers is added while decoding."""
    from quicklook.io import rice

    where = f"{source.path.name}, {hdu.label}"
    nbytes, block = _codec(hdu.stored, "BYTEPIX", 4), _codec(hdu.stored, "BLOCKSIZE", 32)
    if nbytes not in rice.CODE_BITS or not 1 <= block <= 1 << 16:
        raise BadData(f"{where}: RICE with BYTEPIX {nbytes} and BLOCKSIZE {block} is not defined")
    buffer, starts, sizes = _tiles(source, hdu, shape, rice.PADDING)
    unsigned = scale.unsigned(native) and scale.blank is None
    wide = np.dtype(native.str.replace("i", "u") if unsigned else native)
    tile_pixels, offset = int(_stated(hdu.stored, "ZTILE2", 1)) * shape[1], int(scale.zero) if unsigned else 0
    small = narrow and nbytes == wide.itemsize == 4 and scale.blank is None and (unsigned or scale.plain)
    for dtype in (np.dtype(np.uint16), wide) if small else (wide,):
        out = np.empty(shape, dtype)
        bad, seen = rice.decode(buffer, starts, sizes, tile_pixels, out, nbytes=nbytes, block=block, offset=offset)
        if bad >= 0:
            raise BadData(f"{where}: compressed tile {bad + 1} of {len(starts)} is broken")
        if dtype == wide or rice.fits((seen,), dtype):
            break
    return out if unsigned or dtype != wide else _scaled(out, scale)


def _codec(stored: Header, name: str, default: int) -> int:
    """Value of a parameter of the compression (ZNAMEn, ZVALn)."""
    for i in range(1, 10):
        if str(stored.get(f"ZNAME{i}")).strip().upper() == name:
            return int(_stated(stored, f"ZVAL{i}", -1))
    return default


def _tiles(
    source: Source, hdu: HduInfo, shape: tuple[int, int], padding: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The heap with `padding` bytes after it, and first byte and number of bytes of each tile in it, checked."""
    where, stored = f"{source.path.name}, {hdu.label}", hdu.stored
    wide = "Q" in str(stored.get("TFORM1"))[:2].upper()
    ntile, row_bytes = int(_stated(stored, "NAXIS2", 0)), int(_stated(stored, "NAXIS1", 0))
    rows = int(_stated(stored, "ZTILE2", 1))
    if rows < 1 or ntile != -(-shape[0] // rows) or row_bytes != (16 if wide else 8):
        raise BadData(f"{where}: {ntile} compressed tiles of {rows} rows do not make {shape[0]} rows")
    heap_at = int(_stated(stored, "THEAP", ntile * row_bytes))
    heap_size = hdu.data_size - heap_at
    if heap_size < 0:
        raise BadData(f"{where}: its compressed data (THEAP = {heap_at}) lie outside of it")
    table = source.read(hdu.data_offset, ntile * row_bytes)
    buffer = np.empty(heap_size + padding, dtype=np.uint8)
    buffer[heap_size:] = 0
    if len(table) < ntile * row_bytes or source.read_into(hdu.data_offset + heap_at, buffer.data[:heap_size]) < heap_size:
        raise Incomplete(f"{source.path.name} has shrunk while it was read", expected=hdu.data_offset + hdu.data_size, found=source.size)
    pairs = np.frombuffer(table, dtype=">i8" if wide else ">i4").reshape(ntile, 2).astype(np.int64)
    sizes, starts = pairs[:, 0].copy(), pairs[:, 1].copy()
    if (sizes < 0).any() or (starts < 0).any() or (starts + sizes > heap_size).any():
        raise BadData(f"{where}: compressed tiles lie outside of the file; it is damaged")
    return buffer, starts, sizes


def _by_library(source: Source, hdu: HduInfo, shape: tuple[int, int]) -> Raw:
    """Any other compression (GZIP, HCOMPRESS, PLIO, quantised floats, tiles that are not rows), by fitsio."""
    where = f"{source.path.name}, {hdu.label}"
    try:
        with opened(source.path) as f:
            pixels = f[hdu.index].read()
    except (OSError, ValueError, RuntimeError) as error:
        raise BadData(f"{where} cannot be decompressed: {' '.join(str(error).split())}") from error
    pixels = np.asarray(pixels).reshape(shape)
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))
