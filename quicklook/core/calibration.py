"""How the runner asks for calibrations, and what is said of one that was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from quicklook.core.keys import PartKey
from quicklook.core.product import Calibration


class CalibrationUsed(BaseModel):
    """One calibration that was chosen: where it comes from, its validity and age at the time of the frame, what else was possible."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    source: str
    valid_from: str = ""
    valid_to: str = ""
    age_days: float | None = None
    quality: str = ""
    alternatives: tuple[str, ...] = ()


class CalibrationSource(Protocol):
    """Where calibrations come from. An index in a folder, a DESI tree, a database, or none at all."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """The calibration of that type for the part; None if there is none.

        Raises MissingCalibration where the one that is chosen cannot be used (wrong shape, broken file, all NaN).
        """
        ...


class NoCalibrations:
    """A source that has nothing."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """Always None."""
        del wanted, part, tags
        return None
