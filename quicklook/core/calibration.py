"""How the runner asks for calibrations, and what is said of those that were used and of those that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from quicklook.core.keys import PartKey
from quicklook.core.product import Calibration, Product


class CalibrationUsed(BaseModel):
    """One calibration that was chosen: where it comes from, its validity and age at the time of the frame, what else was possible.

    `night` is that of the exposures it was made from. `chosen_as`: made in the night of the frame (``night``), valid on it (``valid``), or
    the one for want of any other (``default``). `age_days` counts from `night`, else from `valid_from`; older than `stale_days` it is stale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    source: str
    valid_from: str = ""
    valid_to: str = ""
    age_days: float | None = None
    quality: str = ""
    alternatives: tuple[str, ...] = ()
    night: str = ""
    chosen_as: Literal["", "night", "valid", "default"] = ""
    stale_days: float | None = None
    renewal: str = ""

    @property
    def stale(self) -> bool:
        """Whether it is older than it may be."""
        return self.stale_days is not None and self.age_days is not None and self.age_days > self.stale_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why there is no calibration of a kind for a part, and what the operator does next, in words.

    `expected`: there are some for this part, of other nights or bad ones, so that one should be there now.
    """

    why: str
    what_next: str
    expected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationsUsed(Product):
    """The calibrations of a part so far: those that were used, and those that were asked for and are not there, by kind.

    A QA that asks for it gets it from the runner; no step makes it.
    """

    kind = "calibrations_used"

    used: tuple[CalibrationUsed, ...] = ()
    absent: Mapping[str, Absence] = field(default_factory=dict)


class CalibrationSource(Protocol):
    """Where calibrations come from. An index in a folder, a DESI tree, a database, or none at all."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """The calibration of that type for the part; None if there is none.

        Raises MissingCalibration where the one that is chosen cannot be used (wrong shape, broken file, all NaN).
        """
        ...

    def absence(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> Absence:
        """Why `find` has none for the part, and what to do."""
        ...


class NoCalibrations:
    """A source that has nothing."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """Always None."""
        del wanted, part, tags
        return None

    def absence(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> Absence:
        """That no folder is named."""
        del wanted, part, tags
        return Absence(
            why="no folder of calibrations is named",
            what_next="name it (--calib FOLDER, or `calib` in the site file); `quicklook calib build` makes what is not in it",
        )
