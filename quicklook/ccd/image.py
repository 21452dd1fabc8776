"""Detector images: as read from the file (`RawImage`) and as preprocessed (`Image`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from quicklook.ccd.arrays import Float32, Raw, UInt16, check_array
from quicklook.ccd.geometry import UPRIGHT, Amplifier, Orientation, Section
from quicklook.core.errors import BadData
from quicklook.core.product import Product

HeaderValue = str | int | float | bool | None


class Header(Mapping[str, HeaderValue]):
    """A FITS header as an immutable mapping; keywords are upper case and found in any case."""

    __slots__ = ("_cards",)

    def __init__(self, cards: Mapping[str, Any]) -> None:
        self._cards: dict[str, HeaderValue] = {str(k).upper(): v for k, v in cards.items()}

    def __getitem__(self, key: str) -> HeaderValue:
        return self._cards[key.upper()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards)

    def __len__(self) -> int:
        return len(self._cards)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.upper() in self._cards


def _orient(array: Raw, orientation: Orientation) -> Raw:
    out = array.T if orientation.transpose else array
    out = out[:, ::-1] if orientation.flip_x else out
    out = out[::-1] if orientation.flip_y else out
    return np.ascontiguousarray(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage(Product):
    """The pixels of one detector as they were read out, ADU, with overscan: [ny, nx] of any integer type or float32.

    Raises BadData where sections of an amplifier lie outside of the image or amplifiers overlap.
    """

    kind = "raw"

    camera: str
    pixels: Raw
    amplifiers: tuple[Amplifier, ...]
    header: Header = field(default_factory=lambda: Header({}))
    orientation: Orientation = UPRIGHT

    def __post_init__(self) -> None:
        if self.pixels.dtype.kind not in "iuf":
            raise BadData(f"raw image of {self.camera} holds {self.pixels.dtype}; pixels are numbers")
        check_array(f"raw image of {self.camera}", self.pixels, dtype=self.pixels.dtype)
        if not self.amplifiers:
            raise BadData(f"camera {self.camera} has no amplifiers")
        for amp in self.amplifiers:
            self._check_sections(amp)
        _check_overlap(self.camera, self.amplifiers)

    def _check_sections(self, amp: Amplifier) -> None:
        sections: dict[str, Section | None] = {
            "data": amp.data, "overscan": amp.overscan, "prescan": amp.prescan, "parallel overscan": amp.parallel_overscan,
        }  # fmt: skip
        for what, section in sections.items():
            if section is not None and not section.fits_in(self.shape):
                ny, nx = self.shape
                raise BadData(f"{what} section {section} of amplifier {amp.name} lies outside of the raw image of {self.camera} ({nx} x {ny} pixels)")

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the raw array."""
        return (int(self.pixels.shape[0]), int(self.pixels.shape[1]))

    @property
    def image_shape(self) -> tuple[int, int]:
        """(ny, nx) of the trimmed image that the amplifiers cover together."""
        return (max(a.ccd.y1 for a in self.amplifiers), max(a.ccd.x1 for a in self.amplifiers))

    @property
    def amplifier_names(self) -> tuple[str, ...]:
        """Names in the order of `amplifiers`."""
        return tuple(a.name for a in self.amplifiers)

    def oriented(self) -> RawImage:
        """The same image turned so that wavelength runs along y; itself if it lies so already."""
        turn = self.orientation
        if turn.identity:
            return self
        raw, image = self.shape, self.image_shape

        def moved(section: Section | None) -> Section | None:
            return None if section is None else turn.section(section, raw)

        amps = tuple(
            replace(
                a,
                data=turn.section(a.data, raw),
                ccd=turn.section(a.ccd, image),
                overscan=moved(a.overscan),
                prescan=moved(a.prescan),
                parallel_overscan=moved(a.parallel_overscan),
                corner=turn.corner(a.corner),
            )
            for a in self.amplifiers
        )
        return replace(self, pixels=_orient(self.pixels, turn), amplifiers=amps, orientation=UPRIGHT)

    def orient_like(self, array: Raw) -> Raw:
        """A calibration of the raw shape turned as `oriented` turns the pixels."""
        return array if self.orientation.identity else _orient(array, self.orientation)


def _check_overlap(camera: str, amplifiers: tuple[Amplifier, ...]) -> None:
    for i, a in enumerate(amplifiers):
        for b in amplifiers[i + 1 :]:
            if a.name == b.name:
                raise BadData(f"camera {camera} has two amplifiers called {a.name}")
            for p, q, what in ((a.ccd, b.ccd, "CCD"), (a.data, b.data, "data")):
                if p.y0 < q.y1 and q.y0 < p.y1 and p.x0 < q.x1 and q.x0 < p.x1:
                    raise BadData(f"{what} sections of amplifiers {a.name} {p} and {b.name} {q} of camera {camera} overlap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Product):
    """A preprocessed image, wavelength along y: electrons, inverse variance, mask, each [ny, nx].

    `ivar` is zero where nothing is known; `mask` has the bits of `PixelMask`. `read_noise` (electron) and `overscan_level` (ADU) are
    as measured in this exposure, by amplifier; NaN where they could not be. `noise_variance` (electron^2) is the variance of a pixel without
    light (read noise, rounding, overscan level, mean dark current), by amplifier, empty if unknown. `dead` says why amplifiers
    are dead, by name; living ones are not in it. `applied` lists the corrections that were made, `skipped` those that were wanted by default
    and were not made, with the reason.
    """

    kind = "preproc"

    camera: str
    pixels: Float32
    ivar: Float32
    mask: UInt16
    amplifiers: tuple[Amplifier, ...]
    read_noise: Mapping[str, float]
    overscan_level: Mapping[str, float] = field(default_factory=dict)
    noise_variance: Mapping[str, float] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)
    applied: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_array("image", self.pixels)
        check_array("ivar", self.ivar, shape=self.pixels.shape)
        check_array("mask", self.mask, shape=self.pixels.shape, dtype=np.uint16)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return (int(self.pixels.shape[0]), int(self.pixels.shape[1]))

    def stated_noise(self, amp: Amplifier) -> float:
        """Variance of a pixel without light with the read noise that is stated of an amplifier, over that with the one of this exposure.

        NaN where nobody states a read noise, or none could be measured.
        """
        own = self.read_noise.get(amp.name, math.nan)
        variance = self.noise_variance.get(amp.name, math.nan)
        variance = variance if variance > 0 else own**2
        if amp.read_noise is None or not variance > 0:
            return math.nan
        return max(variance - own**2, 0.0) / variance + amp.read_noise**2 / variance

    def read_noise_image(self) -> Float32:
        """Read noise in electron for every pixel, [ny, nx] (HDU READNOISE of a preproc file)."""
        out = np.zeros(self.shape, dtype=np.float32)
        for amp in self.amplifiers:
            out[amp.ccd.slices] = self.read_noise.get(amp.name, np.nan)
        return out
