"""Which of several calibrations is chosen for a part: the rule, one for every index.

First those made in the night of the frame, then those that are valid on it, the latest begin first and of these the one listed last, then
the defaults. Nothing is chosen outside its validity.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from quicklook.core.calibration import Absence, CalibrationUsed
from quicklook.core.errors import BadConfig, MissingCalibration
from quicklook.core.keys import PartKey
from quicklook.core.product import Calibration
from quicklook.io.calibentry import nights_text
from quicklook.io.configfiles import find_config, list_configs


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A calibration of the kind that is asked for, and why it cannot be chosen (empty where it can).

    `elsewhen`: it is for this part, and only its night or quality keeps it from being chosen. `calibration` is given where no file is to be loaded.
    """

    kind: str
    path: Path
    valid_from: int | None = None
    valid_to: int | None = None
    night: int | None = None
    quality: str = "good"
    default: bool = False
    sha256: str = ""
    stale_days: float | None = None
    why_not: str = ""
    elsewhen: bool = False
    calibration: Calibration | None = None

    def chosen_as(self, night: int) -> Literal["night", "valid", "default"]:
        """By which claim it is chosen for a frame of that night."""
        if self.default:
            return "default"
        return "night" if self.night == night and night else "valid"


_RANK = {"night": 2, "valid": 1, "default": 0}


def in_order(candidates: Iterable[Candidate], night: int) -> list[Candidate]:
    """Those that can be chosen for a frame of that night, the one that is chosen first."""
    possible = [(_RANK[c.chosen_as(night)], c.valid_from or 0, i, c) for i, c in enumerate(candidates) if not c.why_not]
    return [c for *_, c in sorted(possible, key=lambda p: p[:3], reverse=True)]


def age_days(made: int | None, night: int) -> float | None:
    """Nights from that in which one was made (else from which it is valid) to that of the frame; negative for one of a later night.

    Whole nights are counted, not hours: the night is the date of its evening, which at most sites ends long before the exposure in UTC, and
    what was made in the night of the frame is 0 days old. None where either is not known.
    """
    if made is None or not night:
        return None
    try:
        return float((_date(night) - _date(made)).days)
    except ValueError:
        return None


def _date(night: int) -> datetime:
    return datetime.strptime(str(night), "%Y%m%d").replace(tzinfo=UTC)


@functools.cache
def builder_of(kind: str) -> str:
    """Name of the builder that makes calibrations of a kind; empty where there is none."""
    for name in list_configs("builders"):
        try:
            made = find_config("builders", name).get(("product",))
        except BadConfig:  # told when it is used; here it only is not recommended
            continue
        if kind in (made if isinstance(made, list) else [made]):
            return name
    return ""


def renewal(kind: str, part: PartKey) -> str:
    """The command that makes a calibration of that kind for a part, or that adds one where nothing here makes it."""
    if builder := builder_of(kind):
        night = f" --night {part.unit.night}" if part.unit.night else ""
        return f"`quicklook calib build {builder}{night} --camera {part.part} --expid A-B` makes one"
    return f"`quicklook calib add FILE --kind {kind} --camera {part.part}` adds one"


class Chooser(ABC):
    """A source of calibrations that has `candidates`, and chooses among them."""

    @abstractmethod
    def candidates(self, kind: str, part: PartKey, tags: Mapping[str, str]) -> Sequence[Candidate]:
        """All calibrations of a kind, also those that cannot be chosen for the part. Raises MissingCalibration, BadConfig."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages: where the index lies."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """See `CalibrationSource.find`; the order is that of `in_order`."""
        tags = {"camera": part.part, **tags}
        possible = in_order(self.candidates(wanted.kind, part, tags), part.unit.night)
        if not possible:
            return None
        used = used_of(possible, part)
        if (given := possible[0].calibration) is not None:
            return given, used
        from quicklook.io.calibfile import load_calibration

        return load_calibration(possible[0].path, wanted, tags, sha256=possible[0].sha256), used

    def absence(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> Absence:
        """See `CalibrationSource.absence`."""
        try:
            others = self.candidates(wanted.kind, part, {"camera": part.part, **tags})
        except MissingCalibration as error:
            return Absence(why=str(error), what_next=error.what_next, expected=True)
        own = [c for c in others if c.elsewhen]
        if own:
            named = "; ".join(f"{c.path.name} {c.why_not}" for c in own[-3:])
            why = f"{len(own)} of {part.part} in {self.name}, none usable on night {part.unit.night} ({named})"
        else:
            why = f"{self.name} has none for {part.part}" + (f"; {others[-1].path.name} {others[-1].why_not}" if others else "")
        return Absence(why=why, what_next=renewal(wanted.kind, part), expected=bool(own))


def used_of(possible: Sequence[Candidate], part: PartKey) -> CalibrationUsed:
    """What is said of the first of those that can be chosen; the others are alternatives."""
    chosen = possible[0]
    return CalibrationUsed(
        kind=chosen.kind,
        source=str(chosen.path),
        valid_from=str(chosen.valid_from or ""),
        valid_to=str(chosen.valid_to or ""),
        age_days=age_days(chosen.night or chosen.valid_from, part.unit.night),
        quality=chosen.quality,
        alternatives=tuple(str(c.path) for c in possible[1:]),
        night=str(chosen.night or ""),
        chosen_as=chosen.chosen_as(part.unit.night),
        stale_days=chosen.stale_days,
        renewal=renewal(chosen.kind, part) if chosen.stale_days is not None or chosen.quality == "provisional" else "",
    )


def nights_misfit(first: int | None, last: int | None, night: int) -> str:
    """Why one of these nights cannot be chosen on a night; empty where it can."""
    inside = (first or 0) <= night <= (last or 99_999_999)
    return "" if inside else f"is valid {nights_text(first, last)}"
