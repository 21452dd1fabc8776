"""Binary tables of FITS files: read into columns by name, and written from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import Header
from quicklook.core.errors import BadData
from quicklook.io.cards import BLOCK, format_card, header_block
from quicklook.io.cfitsio import opened
from quicklook.io.fitswrite import Card

_FORMS = {"b1": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
"""Letters of TFORM (FITS standard 4.0, table 18) by numpy type."""
_SIGNED = {"i1": ("u1", -(1 << 7)), "u2": ("i2", 1 << 15), "u4": ("i4", 1 << 31), "u8": ("i8", 1 << 63)}
"""Types that FITS has not: how they are stored, and their TZERO."""


def read_table(path: Path, index: int) -> dict[str, Raw]:
    """Columns of the table in HDU number `index` by name (upper case), native byte order, texts as str. Raises BadData."""
    try:
        with opened(path) as f:
            data: Any = f[index].read()
    except (OSError, ValueError, RuntimeError) as error:
        raise BadData(f"{path.name}: its table cannot be read: {' '.join(str(error).split())}") from error
    if data is None or data.dtype.names is None:
        raise BadData(f"{path.name}: its table has no rows")
    return {name.strip().upper(): _native(data[name]) for name in data.dtype.names}


def _native(column: Raw) -> Raw:
    if column.dtype.kind == "S":  # numpy cuts texts to the longest; the width of the column is kept
        return np.char.rstrip(np.char.decode(column, "latin-1")).astype(f"U{max(1, column.dtype.itemsize)}")
    return np.ascontiguousarray(column.astype(column.dtype.newbyteorder("=")))


def column_units(header: Header) -> dict[str, str]:
    """Units of the columns of a table by their names (upper case), from its header; those that have none are left out."""
    named = {key[5:]: str(value).strip().upper() for key, value in header.items() if key.startswith("TTYPE")}
    units = {name: str(header.get(f"TUNIT{i}") or "").strip() for i, name in named.items()}
    return {name: unit for name, unit in units.items() if unit}


def write_table_hdu(
    stream: BinaryIO, columns: Mapping[str, Raw], *, name: str, cards: Iterable[Card] = (), units: Mapping[str, str] | None = None
) -> None:
    """Append a binary table of columns [nrow] or [nrow, ...]; texts are written as ASCII.

    Raises BadData where a column has a type that FITS has not, or columns are of different length.
    """
    stored = {key: _stored(key, np.asarray(values)) for key, values in columns.items()}
    lengths = {len(values) for values, _, _ in stored.values()}
    if len(lengths) != 1:
        raise BadData(f"table {name}: its columns have {sorted(lengths)} rows; all must have as many")
    table = np.zeros(lengths.pop(), dtype=[(key, values.dtype, values.shape[1:]) for key, (values, _, _) in stored.items()])
    head: list[Card] = [("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", table.dtype.itemsize), ("NAXIS2", len(table))]
    head += [("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(stored)), ("EXTNAME", name)]
    for i, (key, (values, form, zero)) in enumerate(stored.items(), 1):
        table[key] = values
        head += _column_cards(i, key, values, form, zero, (units or {}).get(key, ""))
    text = [format_card(*c) for c in (*head, *cards)]
    stream.write(header_block(text))
    data = table.tobytes()
    stream.write(data)
    stream.write(bytes(-len(data) % BLOCK))


def _stored(key: str, values: Raw) -> tuple[Raw, str, int]:
    """A column as it is stored (big-endian), its TFORM, its TZERO (0 where it needs none)."""
    if values.dtype.kind in "US":
        width = max(1, values.dtype.itemsize // (4 if values.dtype.kind == "U" else 1))
        values = np.char.encode(values, "ascii", "replace") if values.dtype.kind == "U" else values
        return values.astype(f"S{width}"), f"{width}A", 0
    kind, zero = values.dtype.str[1:], 0
    if kind in _SIGNED:
        kind, zero = _SIGNED[kind]
        values = (values.astype(np.int64) - zero).astype(kind) if kind != "i8" else (values ^ np.uint64(1 << 63)).view(np.int64)
    if kind not in _FORMS:
        raise BadData(f"column {key} of {values.dtype} cannot be written to a FITS table")
    count = int(np.prod(values.shape[1:], dtype=np.int64))
    if kind == "b1":
        return np.where(values, b"T", b"F").astype("S1"), f"{count}L", 0
    return values.astype(f">{kind}"), f"{count}{_FORMS[kind]}" if count != 1 else _FORMS[kind], zero


def _column_cards(i: int, key: str, values: Raw, form: str, zero: int, unit: str) -> list[Card]:
    cards: list[Card] = [(f"TTYPE{i}", key), (f"TFORM{i}", form)]
    if values.ndim > 2:
        cards.append((f"TDIM{i}", "(" + ",".join(str(n) for n in values.shape[:0:-1]) + ")"))
    if zero:
        cards += [(f"TSCAL{i}", 1), (f"TZERO{i}", zero)]
    if unit:
        cards.append((f"TUNIT{i}", unit))
    return cards
