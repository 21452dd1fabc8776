"""Views of the sections of a raw image, as the QAs of raw frames need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import RawImage
from quicklook.ccd.memo import remembered
from quicklook.ccd.strips import trimmed

if TYPE_CHECKING:
    from qa.kernels.noise import Scatter

Source = Literal["overscan", "prescan", "image"]
_IMAGE_STRIP = 64


@dataclass(frozen=True, slots=True)
class Strip:
    """Pixels without light: float32 [nline, nserial] (ADU), each line as it left the serial register.

    `lines` says what a line is in the raw image ("row" or "column"), `first` which of them (from 0) is line 0.
    """

    pixels: npt.NDArray[np.float32]
    source: Source
    first: int
    lines: str


def bias_strip(raw: RawImage, amp: Amplifier, source: Source, trim: int, *, dark_image: bool = False) -> Strip | None:
    """The overscan (or prescan) of an amplifier; the other of the two where that one is not declared.

    `trim` pixels are left out at either side, of a narrow strip a quarter at most. Where neither is declared, with `dark_image` (zeros) the
    middle 64 pixels of every line of the image, else None.
    """
    wanted: dict[Source, Section | None] = {"overscan": amp.overscan, "prescan": amp.prescan}
    name: Source = next((n for n in (source, "overscan", "prescan") if wanted.get(n) is not None), "image")
    section = amp.data if name == "image" else wanted[name]
    if section is None or (name == "image" and not dark_image):
        return None
    if name != "image":
        section = trimmed(section, amp, (trim, trim))
    pixels = raw.pixels[section.slices]
    along_rows = amp.serial_axis == 1
    pixels = pixels if along_rows else pixels.T
    n = pixels.shape[1]
    cut = max(0, (n - _IMAGE_STRIP) // 2) if name == "image" else 0
    first = section.y0 if along_rows else section.x0
    return Strip(np.ascontiguousarray(pixels[:, cut : n - cut], dtype=np.float32), name, first, "row" if along_rows else "column")


def strip_scatter(raw: RawImage, amp: Amplifier, strip: Strip, trim: int) -> Scatter:
    """Level of every line and scatter about it of a strip that `bias_strip` gave with that `trim`; what several QAs ask is found out once."""
    from qa.kernels.noise import scatter

    key = (amp.data, amp.overscan, amp.prescan, strip.source, trim)
    return remembered(raw.pixels, ("scatter", *key), lambda: scatter(strip.pixels, strip.pixels.shape[1]))


def sample(pixels: Raw, size: int) -> Raw:
    """Rows and columns at even distances, in all near `size` pixels at most: a view of [ny, nx]."""
    step = max(1, int(np.ceil(np.sqrt(pixels.size / size))))
    sy = min(step, max(1, pixels.shape[0] // 4))
    sx = min(-(-step * step // sy), max(1, pixels.shape[1] // 4))
    return pixels[::sy, ::sx]


def is_integer(pixels: Raw) -> bool:
    """Whether all finite values are integers, whatever the type: then they were rounded."""
    if pixels.dtype.kind in "iu":
        return True
    values = pixels[np.isfinite(pixels)]
    return bool(values.size) and bool(np.all(values == np.rint(values)))
