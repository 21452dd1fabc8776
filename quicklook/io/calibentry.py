"""The entries of an index of calibrations, and which of them are for a part."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quicklook.core.product import Calibration

NOT_STATED = "one that is not stated"
"""In why an entry is not for a part: the part has not the tag at all."""
_ALIASES = {"traces": "psf", "fluxcalib": "fluxcal"}
"""Other names of kinds in an index."""


def as_night(value: Any) -> Any:
    """A night from 20200131, '20200131' or 2020-01-31; None and empty are without end. Raises ValueError."""
    if value is None or value == "":
        return None
    text = str(value).strip().replace("-", "")
    if isinstance(value, bool) or not re.fullmatch(r"\d{8}", text):
        raise ValueError("is no night; write it as 2020-01-31 or 20200131")
    try:
        datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError("is no date of the calendar") from error
    return int(text)


def as_words(value: Any) -> Any:
    """One name as a list of it."""
    return value if isinstance(value, list | tuple) else (value,)


Night = Annotated[int | None, BeforeValidator(as_night)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_words)]


class CalibEntry(BaseModel):
    """One calibration of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(description="bias, dark, pixflat, mask, psf (or traces), fiberflat, fluxcal, fibers, ...")
    instrument: Names = Field(("*",), description="names of instruments; * and ? allowed")
    camera: Names = Field(("*",), description="names of cameras; * and ? allowed, as in r*")
    serial: Names = Field((), description="serial numbers of the hardware it belongs to, wherever that is mounted (`hardware` of the instrument)")
    when: dict[str, Names] = Field({}, description="further tags that the frame must have, as in {detector: SN22797}")
    valid_from: Night = Field(None, description="first night (2020-01-31 or 20200131); empty: since ever")
    valid_to: Night = Field(None, description="last night; empty: until further notice")
    path: str = Field(min_length=1, pattern=r"^[^\x00]+$", description="file, relative to the folder of the index")
    quality: Literal["good", "provisional", "bad"] = Field("good", description="a bad one is never used")
    night: Night = Field(None, description="night of the exposures it was made from: its age counts from there; on that night it goes first")
    made_from: tuple[int | str, ...] = Field((), description="exposures that it was made from")
    default: bool = Field(False, description="used where no other one is valid; on any night, unless it says from when or to when")
    stale_days: float | None = Field(None, gt=0, description="older than this it gives a warning; default: stale_days of the index for its kind")
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="checksum of the file when it was added; one that has changed is not used")
    shapes: dict[str, str] = Field({}, description="size of the camera that it was compared with: raw_shape, image_shape, each as `ny,nx`")
    size_unchecked: bool = Field(False, description="nobody could tell the size of its camera when it was added: it is provisional")
    comment: str = Field("", description="anything worth knowing")

    @model_validator(mode="after")
    def _nights_in_order(self) -> Self:
        if (self.valid_from or 0) > (self.valid_to or 99_999_999):
            raise ValueError(f"valid_to {self.valid_to} is before valid_from {self.valid_from}: no night would ever have it")
        return self

    @property
    def of_kind(self) -> str:
        """The kind, by its usual name."""
        return kind_name(self.kind)

    def fits(self, wanted: type[Calibration], tags: Mapping[str, str]) -> bool:
        """Whether it is of that kind and for a part with these tags, the night apart."""
        return self.of_kind == wanted.kind and self.quality != "bad" and not self.misfit(tags)

    def misfit(self, tags: Mapping[str, str]) -> str:
        """Why it is not for a part with these tags, night and quality apart; empty where it is."""
        wanted = {"instrument": self.instrument, "camera": self.camera, **self.when}
        if self.serial:
            wanted["serial"] = self.serial
        for tag, names in wanted.items():
            if not _matches(names, tags.get(tag, "")):
                return f"is for {tag} {' or '.join(names)}, not {tags.get(tag) or NOT_STATED}"
        return ""

    def valid(self, night: int) -> bool:
        """Whether it is valid on a night."""
        return (self.valid_from or 0) <= night <= (self.valid_to or 99_999_999)


def belonging(camera: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Fields camera, serial and when of an entry for a calibration that was made from frames of a camera with these tags.

    The tag bound_to of a reading (see `bound_to` of the instrument) names the tags of the hardware that it belongs to; what has a serial number
    belongs to that alone, wherever it is mounted later.
    """
    bound = {name: (tags[name],) for name in tags.get("bound_to", "").split(",") if tags.get(name)}
    serial = bound.pop("serial", ())
    where: dict[str, Any] = {"camera": ("*",), "serial": serial} if serial else {"camera": (camera,)}
    return where | ({"when": bound} if bound else {})


class CalibIndex(BaseModel):
    """The index of a folder of calibrations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrations: tuple[CalibEntry, ...] = Field(description="the calibrations")
    stale_days: dict[str, Annotated[float, Field(gt=0)]] = Field({}, description="by kind: days after which one gives a warning, as in {bias: 30}")


def kind_name(kind: str) -> str:
    """The usual name of a kind."""
    return _ALIASES.get(kind, kind)


def _matches(patterns: Iterable[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value.lower(), p.lower()) for p in patterns)


def nights_text(first: int | str | None, last: int | str | None) -> str:
    """Nights of validity in words."""
    if not first and not last:
        return "any night"
    return f"{first or ''} to {last}" if last else f"from {first}"
