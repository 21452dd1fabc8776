"""What is known of an exposure apart from its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import HeaderValue
from quicklook.core.errors import BadData
from quicklook.core.keys import Unit
from quicklook.core.product import Product

STATED_AIRMASS, STATED_SEEING = (0.9, 40.0), (0.1, 20.0)
"""What a header can state of airmass and seeing (arcsec); a value beyond that (often 0 or -1) is a fill value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure(Product):
    """The facts of an exposure, as the header mapping of the instrument gives them.

    `exptime` in second; `start` is UTC; `airmass`, `seeing` (arcsec), `transparency` (of the sky, from guide stars, 1 on a clear
    night) and `temperature_c` (of the detector, degree Celsius) are None where nobody stated them. `fibre_area_arcsec2`: what a fibre
    (or aperture) of the instrument covers on the sky, square arcsec, `pixel_area_um2`: what a pixel, as it is read out, covers on the
    detector, square micrometre; None where its description does not say.
    """

    kind = "exposure"

    unit: Unit
    instrument: str
    flavor: str
    program: str = ""
    exptime: float
    start: datetime | None = None
    airmass: float | None = None
    seeing: float | None = None
    transparency: float | None = None
    temperature_c: float | None = None
    object: str = ""
    ra_deg: float | None = None
    dec_deg: float | None = None
    fibre_area_arcsec2: float | None = None
    pixel_area_um2: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A file that should come with an exposure: its role, name, whether it is there, whether the work cannot be called good without it."""

    role: str
    name: str
    present: bool
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival(Product):
    """What was found on disk, for the checks of the file itself.

    `problems` are the reader's sentences on what is missing or contradicts itself, by the check that they belong to
    (headers, hdus, night, companions).
    """

    kind = "arrival"

    file: str
    size: int
    hdus: tuple[str, ...]
    expected_hdus: tuple[str, ...]
    missing_keywords: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    night_of_header: int | None = None
    night_of_time: int | None = None
    night_of_path: int | None = None
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FiberMap(Product):
    """What each fibre (or aperture of a slit) looks at: one row per fibre, in the order of the spectra.

    `fiber` int32 [nfibre] is the number by which fibres are matched; `objtype` holds TGT, SKY or BAD. `columns` holds every further column
    as an array whose first axis is nfibre, `units` their units by the same names, `header` the cards of the table (TILEID, ...), as its file
    has them. `source` says where it comes from (card FMAPSRC). One that is not `stated` was made up: nobody says what its fibres look at.
    """

    kind = "fibermap"

    fiber: Raw
    objtype: tuple[str, ...]
    columns: Mapping[str, Raw] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, HeaderValue] = field(default_factory=dict)
    source: str
    stated: bool = True

    def __post_init__(self) -> None:
        n = len(self.fiber)
        wrong = [name for name, column in self.columns.items() if len(column) != n]
        if n == 0 or len(self.objtype) != n or wrong:
            raise BadData(f"fibre map of {n} rows has columns of another length: {', '.join(wrong) or 'OBJTYPE'}")
        if len(np.unique(self.fiber)) != n:
            raise BadData("fibre map lists a fibre twice")
        for array in (self.fiber, *self.columns.values()):
            array.flags.writeable = False

    def of_fibers(self, fiber: Raw) -> FiberMap | None:
        """The rows of these fibres, in their order; None where one has no row."""
        order = np.argsort(self.fiber)
        at = order[np.clip(np.searchsorted(self.fiber, fiber, sorter=order), 0, len(self.fiber) - 1)]
        if not np.array_equal(np.asarray(self.fiber)[at], fiber):
            return None
        columns = {name: np.asarray(column)[at] for name, column in self.columns.items()}
        return replace(self, fiber=np.asarray(self.fiber)[at], objtype=tuple(self.objtype[i] for i in at), columns=columns)
