"""Cameras, scales, and where the sections of the four amplifiers lie on the raw image.

Full size is DESI's: raw 4194 x 4256 pixels for the r and z arms, 4162 x 4232 for b. The smaller scales keep the
dispersion, the fibre pitch, the prescan and overscan columns, and cut rows, columns and fibres.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from quicklook.core.errors import BadConfig

Scale = Literal["tiny", "small", "full"]
SCALES: tuple[str, ...] = get_args(Scale)
ARMS = "brz"
UNUSED_ROWS = 1
"""Rows at the lower and the upper edge of the raw image that belong to no section."""


def parse_camera(camera: str) -> tuple[str, int]:
    """Arm and spectrograph number of a camera name: 'r0' gives ('r', 0). Raises BadConfig."""
    if re.fullmatch(r"[brz][0-9]", camera) is None:
        raise BadConfig(f"camera {camera!r} is not known: give an arm (b, r, z) and a spectrograph number, such as r0")
    return camera[0], int(camera[1])


def camera_code(camera: str) -> int:
    """Number of a camera in the keys of the random streams: 0..29."""
    arm, spectrograph = parse_camera(camera)
    return 10 * ARMS.index(arm) + spectrograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A rectangle of pixels, first and last column and row, 1-based and inclusive as in FITS cards."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def card(self) -> str:
        """Text of a section card, x first: '[8:2064,2:2065]'."""
        return f"[{self.x0}:{self.x1},{self.y0}:{self.y1}]"

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index [y, x] of an array."""
        return slice(self.y0 - 1, self.y1), slice(self.x0 - 1, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.y1 - self.y0 + 1, self.x1 - self.x0 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AmpLayout:
    """Sections of one amplifier. `area` is all of the raw image that it reads, unused rows included."""

    index: int
    prescan: Section
    data: Section
    overscan: Section
    row_overscan: Section
    ccd: Section
    area: Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Pixels, fibres and wavelengths of a camera at a scale.

    `half_nx`, `half_ny`: active pixels of an amplifier; `wave_first`, `wave_last`: wavelength (vacuum Angstrom) at the
    middle of the slit on the first and the last row; `smile`: how far (pixel) the ends of the slit are bent upwards.
    """

    arm: str
    scale: Scale
    half_nx: int
    half_ny: int
    prescan: int
    overscan: int
    row_overscan: int
    nfibre: int
    bundle: int
    smile: float
    wave_first: float
    wave_last: float
    dead_fibre: int
    kinds: tuple[tuple[str, int], ...]

    @property
    def nx(self) -> int:
        """Active columns."""
        return 2 * self.half_nx

    @property
    def ny(self) -> int:
        """Active rows."""
        return 2 * self.half_ny

    @property
    def raw_shape(self) -> tuple[int, int]:
        """(rows, columns) of the raw image."""
        return (2 * (UNUSED_ROWS + self.half_ny + self.row_overscan), 2 * (self.prescan + self.half_nx + self.overscan))

    @property
    def dispersion(self) -> float:
        """Mean Angstrom per row."""
        return (self.wave_last - self.wave_first) / (self.ny - 1)

    @property
    def amps(self) -> tuple[AmpLayout, AmpLayout, AmpLayout, AmpLayout]:
        """A lower left, B lower right, C upper left, D upper right."""
        return _amps(self)


@lru_cache(maxsize=16)
def _amps(layout: Layout) -> tuple[AmpLayout, AmpLayout, AmpLayout, AmpLayout]:
    a, b, c, d = (_amp(layout, index) for index in range(4))
    return a, b, c, d


def _amp(layout: Layout, index: int) -> AmpLayout:
    right, top = index % 2 == 1, index >= 2
    nrow, ncol = layout.raw_shape

    def span(start: int, size: int, mirrored: bool, total: int) -> tuple[int, int]:
        return (total - start - size + 1, total - start) if mirrored else (start + 1, start + size)

    def section(x: tuple[int, int], y: tuple[int, int]) -> Section:
        return Section(x0=x[0], x1=x[1], y0=y[0], y1=y[1])

    pre, nx, over, ny = layout.prescan, layout.half_nx, layout.overscan, layout.half_ny
    x_data = span(pre, nx, right, ncol)
    y_data = span(UNUSED_ROWS, ny, top, nrow)
    return AmpLayout(
        index=index,
        prescan=section(span(0, pre, right, ncol), y_data),
        data=section(x_data, y_data),
        overscan=section(span(pre + nx, over, right, ncol), y_data),
        row_overscan=section(x_data, span(UNUSED_ROWS + ny, layout.row_overscan, top, nrow)),
        ccd=section(span(0, nx, right, 2 * nx), span(0, ny, top, 2 * ny)),
        area=section(span(0, ncol // 2, right, ncol), span(0, nrow // 2, top, nrow)),
    )


# rows and columns of an amplifier, prescan columns: the read-out of DESI's two kinds of CCD
_FULL_HALF = {"b": (2048, 2048, 4), "r": (2064, 2057, 7), "z": (2064, 2057, 7)}
_FULL_WAVE = {"b": (3570.0, 5990.0), "r": (5617.0, 7803.0), "z": (7450.0, 9885.0)}
# a stretch of each arm with enough arc and sky lines for an image of 256 rows
_TINY_CENTRE = {"b": 4745.0, "r": 6340.0, "z": 8400.0}


@lru_cache(maxsize=16)
def layout_of(arm: str, scale: Scale) -> Layout:
    """Layout of an arm (b, r, z) at a scale. Raises BadConfig."""
    if scale not in SCALES:
        raise BadConfig(f"scale {scale!r} is not known: use one of {', '.join(SCALES)}")
    ny, nx, prescan = _FULL_HALF[arm]
    first, last = _FULL_WAVE[arm]
    per_row = (last - first) / (2 * ny - 1)
    if scale == "full":
        return Layout(
            arm=arm, scale=scale, half_nx=nx, half_ny=ny, prescan=prescan, overscan=64, row_overscan=32,
            nfibre=500, bundle=25, smile=106.0, wave_first=first, wave_last=last, dead_fibre=137,
            kinds=(("SKY", 60), ("STD", 12), ("LRG", 80), ("QSO", 70)),
        )  # fmt: skip
    if scale == "small":
        half_ny, centre = ny // 2, 0.5 * (first + last)
        return Layout(
            arm=arm, scale=scale, half_nx=514, half_ny=half_ny, prescan=prescan, overscan=64, row_overscan=32,
            nfibre=50, bundle=25, smile=53.0, dead_fibre=13,
            wave_first=centre - half_ny * per_row, wave_last=centre + half_ny * per_row,
            kinds=(("SKY", 12), ("STD", 3), ("LRG", 8), ("QSO", 7)),
        )  # fmt: skip
    centre = _TINY_CENTRE[arm]
    return Layout(
        arm=arm, scale=scale, half_nx=80, half_ny=128, prescan=prescan, overscan=64, row_overscan=16,
        nfibre=10, bundle=5, smile=3.0, wave_first=centre - 128 * per_row, wave_last=centre + 128 * per_row, dead_fibre=3,
        kinds=(("SKY", 3), ("STD", 1), ("LRG", 2), ("QSO", 1)),
    )  # fmt: skip
