"""How a calibration was made, as its header and its entry in the index say it: the same for those of chains and those of builders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from quicklook.ccd.image import HeaderValue
from quicklook.core.results import PartResult
from quicklook.io.calibentry import CalibEntry, belonging
from quicklook.io.headercards import provenance_cards

_MOST_CARDS = 100
"""MADE00 to MADE99."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Exposures (`made_from`, pairs of night and number), what made the calibration of them (`by`: card and name), and the judged result.

    `valid_days`: nights for which it holds from its own on, None without end. `remarks` go into the comment of the entry.
    """

    instrument: str
    camera: str
    night: int
    made_from: Sequence[tuple[int, int]]
    by: tuple[Literal["CHAIN", "BUILDER"], str]
    result: PartResult
    quality: Literal["good", "provisional", "bad"] = "good"
    valid_days: int | None = None
    remarks: Sequence[str] = ()

    @property
    def nights(self) -> tuple[int, ...]:
        """The nights of the exposures, each once."""
        return tuple(dict.fromkeys(night for night, _ in self.made_from))

    def cards(self) -> dict[str, HeaderValue]:
        """For the first header: camera, night (all of them in NIGHTS where they are several), exposures (MADEnn), quality, provenance."""
        provenance = self.result.provenance
        cards: dict[str, HeaderValue] = {"INSTRUME": self.instrument, "CAMERA": self.camera, "NIGHT": self.night}
        cards |= {"NIGHTS": ",".join(map(str, self.nights))} if len(self.nights) > 1 else {}
        cards |= {self.by[0]: self.by[1], "NMADE": len(self.made_from), "QUALITY": self.quality, "STATUS": str(self.result.status)}
        cards |= {f"MADE{i:02d}": expid for i, (_, expid) in enumerate(self.made_from[:_MOST_CARDS])}
        return cards | provenance_cards(tuple(provenance.calibrations), provenance.config_sha256)

    def entry(self, kind: str, path: Path) -> CalibEntry:
        """For the index of the folder that the file lies in.

        Exposures of several nights have these before their numbers: a number may stand for two.
        """
        one = len(self.nights) < 2
        return CalibEntry(
            kind=kind,
            instrument=(self.instrument or "*",),
            valid_from=self.night or None,
            valid_to=last_night(self.night, self.valid_days),
            night=self.night or None,
            path=path.name,
            quality=self.quality,
            made_from=tuple(expid if one else f"{night}/{expid}" for night, expid in self.made_from),
            comment="; ".join(self.remarks),
            **belonging(self.camera, self.result.tags),
        )


def last_night(first: int, days: int | None) -> int | None:
    """The last of so many nights from `first` (YYYYMMDD) on; None without end."""
    if days is None or not first:
        return None
    return int((datetime.strptime(str(first), "%Y%m%d") + timedelta(days=days - 1)).strftime("%Y%m%d"))
