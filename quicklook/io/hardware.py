"""Which hardware is mounted where: positions (cameras) and the serial numbers that they have from one night to another."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quicklook.io.calibentry import Names, Night, nights_text

if TYPE_CHECKING:
    from quicklook.io.instrument import Instrument


class Mounted(BaseModel):
    """Hardware at a position, from a night to a night. What it says becomes tags of the frames: `serial`, and those of `tags`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    camera: Names = Field(description="the position: names of cameras; * and ? allowed")
    serial: str = Field("", description="serial number of the detector (or spectrograph); the tag `serial`")
    tags: dict[str, str] = Field({}, description="further tags, as in {specid: '4'}")
    valid_from: Night = Field(None, alias="from", description="first night; empty: since ever")
    valid_to: Night = Field(None, alias="to", description="last night; empty: until further notice")

    @model_validator(mode="after")
    def _says_something(self) -> Mounted:
        if not self.serial and not self.tags:
            raise ValueError("says neither serial nor tags")
        return self

    @property
    def all_tags(self) -> dict[str, str]:
        """Everything that it says, as tags."""
        return ({"serial": self.serial} if self.serial else {}) | self.tags

    def holds(self, camera: str, night: int) -> bool:
        """Whether it is what a camera has on a night."""
        inside = (self.valid_from or 0) <= night <= (self.valid_to or 99_999_999)
        return inside and any(fnmatch.fnmatchcase(camera.lower(), p.lower()) for p in self.camera)


def hardware_tags(instrument: Instrument, camera: str, night: int) -> dict[str, str]:
    """The tags of the hardware that a camera has on a night, by the description of the instrument."""
    out: dict[str, str] = {}
    for mounted in instrument.hardware:
        if mounted.holds(camera, night):
            out |= mounted.all_tags
    return out


def contradictions(hardware: Iterable[Mounted]) -> list[str]:
    """Positions to which two different pieces are mounted on the same night, in sentences."""
    found, rows = [], list(hardware)
    for i, one in enumerate(rows):
        for other in rows[i + 1 :]:
            begin, end = max(one.valid_from or 0, other.valid_from or 0), min(one.valid_to or 99_999_999, other.valid_to or 99_999_999)
            differ = [t for t, v in one.all_tags.items() if other.all_tags.get(t, v) != v]
            if begin <= end and differ and any(_meet(a, b) for a in one.camera for b in other.camera):
                nights = nights_text(begin or None, None if end == 99_999_999 else end)
                found.append(f"{' '.join(one.camera)} has {differ[0]} {one.all_tags[differ[0]]} and {other.all_tags[differ[0]]}, {nights}")
    return found


def _meet(one: str, other: str) -> bool:
    a, b = one.lower(), other.lower()
    return fnmatch.fnmatchcase(a, b) or fnmatch.fnmatchcase(b, a)


def disagreement(tags: Mapping[str, str], mounted: Mapping[str, str]) -> str:
    """What the header says of the hardware and the description of the instrument contradicts, in a sentence; empty where nothing does."""
    differ = [t for t, v in mounted.items() if tags.get(t, v) != v]
    return "; ".join(f"the header says {t} {tags[t]}, the hardware of the instrument file says {mounted[t]} on this night" for t in differ)
