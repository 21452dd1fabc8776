"""Calibrations of a detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float32, check_array
from quicklook.core.product import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias(Calibration):
    """Structure of the bias, ADU: of the raw shape (in the orientation of the raw file) or of the shape of the trimmed image."""

    kind = "bias"
    pixels: Float32

    def __post_init__(self) -> None:
        check_array("bias", self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dark(Calibration):
    """Dark current, electron/s, of the shape of the trimmed image."""

    kind = "dark"
    pixels: Float32

    def __post_init__(self) -> None:
        check_array("dark", self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFlat(Calibration):
    """Relative response of the pixels, around 1, of the shape of the trimmed image."""

    kind = "pixflat"
    pixels: Float32

    def __post_init__(self) -> None:
        check_array("pixflat", self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPixelMask(Calibration):
    """Known bad pixels: bits of `PixelMask`, uint16, 0 is good, of the shape of the trimmed image."""

    kind = "mask"
    pixels: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        check_array("mask", self.pixels, dtype=np.uint16)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFibers(Calibration):
    """Numbers of fibres that are known to be bad: `broken` ones give no light, `low` ones too little to be used."""

    kind = "fibers"
    broken: tuple[int, ...] = ()
    low: tuple[int, ...] = ()
