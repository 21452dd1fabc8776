"""Sections of a detector and the amplifiers that read it out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from quicklook.core.errors import BadData

_SECTION = re.compile(r"\[?\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]?\Z")
Corner = Literal["ll", "lr", "ul", "ur"]


@dataclass(frozen=True, slots=True, order=True)
class Section:
    """A rectangle of pixels: rows y0 <= y < y1, columns x0 <= x < x1 (0-based, half open)."""

    y0: int
    y1: int
    x0: int
    x1: int

    def __post_init__(self) -> None:
        if not (0 <= self.y0 < self.y1 and 0 <= self.x0 < self.x1):
            raise BadData(f"section {self} is empty or has negative corners")

    @classmethod
    def parse(cls, text: str) -> Section:
        """From the FITS form ``[x0:x1,y0:y1]``: 1-based, inclusive, x first. Raises BadData."""
        match = _SECTION.match(text.strip())
        if not match:
            raise BadData(f"{text!r} is no section; it must read [x0:x1,y0:y1], 1-based and inclusive")
        x0, x1, y0, y1 = (int(g) for g in match.groups())
        if min(x0, y0) < 1 or x1 < x0 or y1 < y0:
            raise BadData(f"section {text!r} is inside out or starts before pixel 1")
        return cls(y0 - 1, y1, x0 - 1, x1)

    def __str__(self) -> str:
        return f"[{self.x0 + 1}:{self.x1},{self.y0 + 1}:{self.y1}]"

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return (self.y1 - self.y0, self.x1 - self.x0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an array [ny, nx]."""
        return (slice(self.y0, self.y1), slice(self.x0, self.x1))

    def fits_in(self, shape: tuple[int, int]) -> bool:
        """Whether it lies within an array of that shape."""
        return self.y1 <= shape[0] and self.x1 <= shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """How raw pixels become an image with wavelength along y: first transposed, then flipped. Identity by default."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def identity(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.transpose or self.flip_x or self.flip_y)

    def section(self, section: Section, shape: tuple[int, int]) -> Section:
        """Where `section` of an array of `shape` (before) lies after."""
        y0, y1, x0, x1 = section.y0, section.y1, section.x0, section.x1
        ny, nx = shape
        if self.transpose:
            y0, y1, x0, x1, ny, nx = x0, x1, y0, y1, nx, ny
        if self.flip_x:
            x0, x1 = nx - x1, nx - x0
        if self.flip_y:
            y0, y1 = ny - y1, ny - y0
        return Section(y0, y1, x0, x1)

    def corner(self, corner: Corner) -> Corner:
        """Which corner a read-out corner becomes."""
        upper, right = corner[0] == "u", corner[1] == "r"
        if self.transpose:
            upper, right = right, upper
        upper, right = upper != self.flip_y, right != self.flip_x
        corners: dict[tuple[bool, bool], Corner] = {(False, False): "ll", (False, True): "lr", (True, False): "ul", (True, True): "ur"}
        return corners[upper, right]


UPRIGHT = Orientation()
"""The orientation of an image that needs no turning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """A read-out section of a detector.

    `data`, `overscan`, `prescan` and `parallel_overscan` are sections of the raw image, `ccd` of the trimmed image; `data` and
    `ccd` have one shape. `gain` electron/ADU; `read_noise` electron, the expected one, None if nobody stated it;
    `saturation` ADU, from which on a raw value is saturated, None if unknown. `crosstalk` gives, by the name of another
    amplifier, the fraction of its signal that appears in this one. `corner` is where its read-out starts. `bad`: it is known to be bad;
    it is masked, and nobody judges it.
    """

    name: str
    data: Section
    ccd: Section
    overscan: Section | None = None
    prescan: Section | None = None
    parallel_overscan: Section | None = None
    gain: float
    read_noise: float | None = None
    saturation: float | None = None
    corner: Corner = "ll"
    crosstalk: Mapping[str, float] = field(default_factory=dict)
    bad: bool = False

    def __post_init__(self) -> None:
        if self.data.shape != self.ccd.shape:
            raise BadData(f"amplifier {self.name}: data section {self.data} and CCD section {self.ccd} differ in shape")
        if not (0 < self.gain < 1e4):
            raise BadData(f"amplifier {self.name}: gain {self.gain} electron/ADU is no gain")

    @property
    def serial_axis(self) -> int:
        """Axis of the raw array along which the serial register is read: 1 if the overscan lies beside the data, 0 if above or below."""
        beside = self.overscan or self.prescan
        return 0 if beside and (beside.y1 <= self.data.y0 or beside.y0 >= self.data.y1) else 1
