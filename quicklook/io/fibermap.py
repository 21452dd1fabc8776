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


def read_fibermap(path: Path, hdu: str, select: Mapping[str, int]) -> tuple[FiberMap, Header]:
    """Fibre map in the HDU `hdu` of a file, rows in the order of FIBER, and the header of the HDU.

    `select` gives, by column, the number that the rows of this camera have. Raises BadData (no such table, no FIBER column, no rows), and
    as `quicklook.io.fitsfile.inspect` where the file is broken or not complete.
    """
    structure = inspect(path)
    info = structure.find(hdu) or next((h for h in structure.hdus if h.kind == "table"), None)
    if info is None or info.kind != "table":
        raise BadData(f"{path.name} holds no table {hdu}; it has {', '.join(structure.names)}")
    table = read_table(path, info.index)
    if "FIBER" not in table:
        raise BadData(f"{path.name}, {info.label}: has no column FIBER")
    keep = np.ones(len(table["FIBER"]), dtype=bool)
    for column, wanted in select.items():
        if column in table:
            keep &= table[column] == wanted
    rows = np.flatnonzero(keep)
    if not len(rows):
        chosen = ", ".join(f"{k} = {v}" for k, v in select.items())
        raise BadData(f"{path.name}, {info.label}: has no rows" + (f" with {chosen}" if chosen else ""))
    rows = rows[np.argsort(table["FIBER"][rows], kind="stable")]
    return make_fibermap({name: column[rows] for name, column in table.items()}, path.name, info.header), info.header


_STRUCTURE = re.compile(
    r"XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|EXT(NAME|VER|LEVEL)|T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO|DISP|HEAP)\d*"
    r"|CHECKSUM|DATASUM|FMAPSRC|COMMENT|HISTORY|CONTINUE|LONGSTRN|END|"
)
"""Cards that say how a table is stored, and not what it is about."""


def make_fibermap(table: Mapping[str, Raw], source: str, header: Header | None = None) -> FiberMap:
    """Fibre map of the columns of a table, of which FIBER must be there; without OBJTYPE all fibres are on targets.

    From the `header` of the table the units of its columns are taken, and the cards that do not say how it is stored.
    """
    columns = dict(table)
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
