"""Names of what is processed: units (an exposure) and their parts (a camera of it)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quicklook.core.errors import BadData

_UNIT = re.compile(r"(?:(?P<night>\d{8})/)?(?P<expid>\d{1,18})\Z")


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """Key of a unit: the night (YYYYMMDD, date of its evening at the site) and its number, of at most 18 digits.

    Raises BadData for other numbers: they could not be read back from the journal.
    """

    night: int
    expid: int

    def __post_init__(self) -> None:
        if not (0 <= self.night < 10**8 and 0 <= self.expid < 10**18):
            raise BadData(f"night {self.night} and number {self.expid} name no exposure; they have at most 8 and 18 digits, and no sign")

    def __str__(self) -> str:
        return f"{self.night:08d}/{self.expid:08d}"

    @classmethod
    def parse(cls, text: str, *, night: int | None = None) -> Unit:
        """From ``night/expid``, or from ``expid`` alone when `night` is given. Raises ValueError."""
        match = _UNIT.match(text.strip())
        if not match or (match["night"] is None and night is None):
            raise ValueError(f"{text!r} names no unit; write NIGHT/EXPID, as in 20220101/102")
        return cls(int(match["night"] or night or 0), int(match["expid"]))


@dataclass(frozen=True, slots=True, order=True)
class PartKey:
    """Key of a part within everything: its unit and the name of the part (for an exposure: the camera)."""

    unit: Unit
    part: str

    def __str__(self) -> str:
        return f"{self.unit}/{self.part}"
