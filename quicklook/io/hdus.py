"""Arrays and tables of a FITS file by the names of its HDUs: for spectra and calibrations, which have one axis or more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import Header
from quicklook.core.errors import BadData
from quicklook.io.cfitsio import opened
from quicklook.io.fitsfile import inspect
from quicklook.io.tablefile import read_table


class Hdus:
    """A file that is whole. Raises as `quicklook.io.fitsfile.inspect` where it is not there, truncated, or no FITS file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.structure = inspect(self.path)

    def has(self, name: str) -> bool:
        """Whether there is an HDU of that name."""
        return self.structure.find(name) is not None

    def first(self, names: Iterable[str]) -> str | None:
        """The first of these names that the file has."""
        return next((n for n in names if self.has(n)), None)

    def header(self, which: str | int) -> Header:
        """Header of an HDU. Raises BadData if there is none."""
        return self.structure.hdu(which).header

    def card(self, key: str, *names: str | int) -> Any:
        """A keyword, from the first of these HDUs that has it; None where none has."""
        found = (self.structure.find(n) for n in names)
        return next((h.header[key] for h in found if h is not None and h.header.get(key) is not None), None)

    def array(self, which: str | int, dtype: Any, ndim: tuple[int, ...] = (2,)) -> Raw:
        """Values of an image HDU as `dtype`, native byte order, in memory order. Raises BadData: not there, no image, another number of axes."""
        info = self.structure.hdu(which)
        if not info.is_image or len(info.shape) not in ndim:
            axes = " or ".join(str(n) for n in ndim)
            raise BadData(f"{self.path.name}, {info.label}: has {len(info.shape)} axes, it must be an image of {axes}")
        try:
            with opened(self.path) as f:
                values = f[info.index].read()
        except (OSError, ValueError, RuntimeError) as error:
            raise BadData(f"{self.path.name}, {info.label}: cannot be read: {' '.join(str(error).split())}") from error
        return np.ascontiguousarray(values, dtype=dtype)

    def table(self, name: str) -> dict[str, Raw]:
        """Columns of a table HDU by name. Raises BadData: not there, no table."""
        info = self.structure.hdu(name)
        if info.kind != "table":
            raise BadData(f"{self.path.name}, {info.label}: is no table")
        return read_table(self.path, info.index)
