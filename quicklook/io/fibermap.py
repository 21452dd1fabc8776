"""Fibre maps: a FITS table beside the raw file or within it, or made for the apertures of a slit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.image import Header
from quicklook.core.errors import BadData
from quicklook.io.fitsfile import inspect
from quicklook.io.fitswrite import Card, cards_of
from quicklook.io.instrument import Apertures
from quicklook.io.tablefile import column_units, read_table, write_table_hdu


def slit_fibermap(apertures: Apertures) -> FiberMap:
    """Fibre map of the apertures of a slit, numbered from 0."""
    objtype = tuple("SKY" if i in apertures.sky else "TGT" for i in range(apertures.count))
    return FiberMap(fiber=np.arange(apertures.count, dtype=np.int32), objtype=objtype, source="apertures of the slit")


_NUMBERS = re.compile(r"(FIBER|FIBERTOT)?FLUX_[A-Z0-9]+|(FIBERASSIGN|FIBER)_[XY]|DESI_TARGET")
"""Columns that QAs read as one number a fibre. (FIBERSTATUS as text is understood where it is read: what is no number is a bad fibre.)"""


def read_fibermap(path: Path, hdu: str, select: Mapping[str, int]) -> tuple[FiberMap, Header, tuple[str, ...]]:
    """Fibre map in the HDU `hdu` of a file, rows in the order of FIBER, the header of the HDU, and a sentence for each column that is left out.

    `select` gives, by column, the number that the rows of this camera have. Raises BadData (no such table, no column FIBER of one number a row, no
    rows, OBJTYPE or FIBERSTATUS of several values a row), and as `quicklook.io.fitsfile.inspect` where the file is broken or not complete.
    """
    structure = inspect(path)
    info = structure.find(hdu) or next((h for h in structure.hdus if h.kind == "table"), None)
    if info is None or info.kind != "table":
        raise BadData(f"{path.name} holds no table {hdu}; it has {', '.join(structure.names)}")
    table = read_table(path, info.index)
    if "FIBER" not in table:
        raise BadData(f"{path.name}, {info.label}: has no column FIBER")
    _check_columns(table, f"{path.name}, {info.label}")
    keep = np.ones(len(table["FIBER"]), dtype=bool)
    for column, wanted in select.items():
        if column in table:
            keep &= table[column] == wanted
    rows = np.flatnonzero(keep)
    if not len(rows):
        chosen = ", ".join(f"{k} = {v}" for k, v in select.items())
        raise BadData(f"{path.name}, {info.label}: has no rows" + (f" with {chosen}" if chosen else ""))
    rows = rows[np.argsort(table["FIBER"][rows], kind="stable")]
    left_out = tuple(f"column {name} of {path.name} {why}; it is not used" for name, why in useless_columns(table).items())
    return make_fibermap({name: column[rows] for name, column in table.items()}, path.name, info.header), info.header, left_out


def _check_columns(table: Mapping[str, Raw], where: str) -> None:
    """Raises BadData where a column is not what fibres can be told by."""
    if why := _no_number(table["FIBER"]):
        raise BadData(f"{where}: column FIBER {why}; it must be the number of the fibre")
    for name in ("OBJTYPE", "FIBERSTATUS"):
        if name in table and table[name].ndim > 1:
            raise BadData(f"{where}: column {name} has {table[name][0].size} values a fibre, not one")


def useless_columns(table: Mapping[str, Raw]) -> dict[str, str]:
    """What is wrong with columns that must be one number a fibre and are not, by name."""
    return {name: why for name, column in table.items() if _NUMBERS.fullmatch(name) and (why := _no_number(column))}


def _no_number(column: Raw) -> str:
    if column.ndim > 1:
        return f"has {column[0].size} values a fibre, not one"
    return "" if column.dtype.kind in "iuf" else "is text" if column.dtype.kind in "SU" else "is no number"


_STRUCTURE = re.compile(
    r"XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|EXT(NAME|VER|LEVEL)|T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO|DISP|HEAP)\d*"
    r"|CHECKSUM|DATASUM|FMAPSRC|COMMENT|HISTORY|CONTINUE|LONGSTRN|END|"
)
"""Cards that say how a table is stored, and not what it is about."""


def make_fibermap(table: Mapping[str, Raw], source: str, header: Header | None = None) -> FiberMap:
    """Fibre map of the columns of a table, of which FIBER must be there; without OBJTYPE all fibres are on targets.

    Columns of `useless_columns` are left out: who needs one says that it is absent, who can do without goes on.
    From the `header` of the table the units of its columns are taken, and the cards that do not say how it is stored.
    """
    useless = useless_columns(table)
    columns = {name: column for name, column in table.items() if name not in useless}
    fiber = columns.pop("FIBER").astype(np.int32)
    objtype = columns.pop("OBJTYPE", None)
    names = tuple(str(t).strip().upper() for t in objtype) if objtype is not None else ("TGT",) * len(fiber)
    for column in (fiber, *columns.values()):
        column.flags.writeable = False
    about = {} if header is None else {k: v for k, v in header.items() if v is not None and not _STRUCTURE.fullmatch(k)}
    return FiberMap(
        fiber=fiber, objtype=names, columns=columns, units={} if header is None else column_units(header), header=about, source=source,
        stated=objtype is not None,
    )  # fmt: skip


def put_fibermap(stream: BinaryIO, fibermap: FiberMap) -> None:
    """Append the HDU FIBERMAP: FIBER and OBJTYPE first, units and cards as in the file that the map comes from (FMAPSRC)."""
    columns = {"FIBER": np.asarray(fibermap.fiber, np.int32), "OBJTYPE": np.array(fibermap.objtype), **fibermap.columns}
    cards: list[Card] = [("FMAPSRC", fibermap.source), *cards_of(fibermap.header)]
    write_table_hdu(stream, columns, name="FIBERMAP", cards=cards, units=fibermap.units)
