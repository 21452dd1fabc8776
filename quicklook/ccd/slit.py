"""What is found along a long slit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64, Raw, check_array
from quicklook.core.errors import BadData
from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class SlitObject:
    """An object on the slit: its apertures `first` to `last` (numbers, inclusive), the brightest one, place and width along the slit.

    `place` is a number of an aperture (not whole), `fwhm` in apertures (NaN where it cannot be told), `snr` that of all its light,
    `fraction` its light relative to that of the sky in its apertures.
    """

    first: int
    last: int
    brightest: int
    place: float
    fwhm: float
    snr: float
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlitObjects(Product):
    """The objects found on a slit, brightest first, and what they were found in.

    `profile`, `sky`, `error` [naperture]: light of each aperture (mean over wavelength, electron/Angstrom; NaN where an aperture has no usable
    sample), the sky under it, and the error of the light. `remark` says in words what stood in the way; empty where nothing did.
    """

    kind = "slitobjects"

    camera: str
    objects: tuple[SlitObject, ...]
    profile: Float64
    sky: Float64
    error: Float64
    remark: str = ""

    def __post_init__(self) -> None:
        for name in ("profile", "sky", "error"):
            check_array(f"slit {name}", getattr(self, name), shape=self.profile.shape, dtype=np.float64, ndim=1)
        if any(not o.first <= o.brightest <= o.last for o in self.objects):
            raise BadData("the brightest aperture of an object on the slit is none of its apertures")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlitShift(Product):
    """How far the sky lines lie from where the wavelengths of a slit put them, the same for all apertures and wavelengths.

    `shift`, `error` pixel (NaN where it could not be measured; `remark` says why); `line`, `off`, `used` [nline]: wavelength (Angstrom) of every line
    of the list in range, its own shift (pixel, NaN where it was not seen), whether it counts. `suggested` pixel: what at least two lines
    say where `shift` is NaN since they are too few, scatter too much or lie too far; NaN where none do.
    """

    kind = "slitshift"

    camera: str
    shift: float
    error: float
    line: Float64
    off: Float64
    used: Raw
    remark: str = ""
    suggested: float = math.nan

    def __post_init__(self) -> None:
        for name in ("line", "off"):
            check_array(f"slit shift {name}", getattr(self, name), shape=self.line.shape, dtype=np.float64, ndim=self.line.ndim)
        check_array("slit shift used", self.used, shape=self.line.shape, dtype=np.bool_, ndim=self.line.ndim)
