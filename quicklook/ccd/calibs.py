"""Calibrations of a detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float32, Float64, Raw, check_array
from quicklook.core.product import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias(Calibration):
    """Structure of the bias, ADU: of the raw shape (in the orientation of the raw file) or of the shape of the trimmed image.

    `variance` is that of a pixel of it, ADU^2, of the same shape, 0 or NaN where nothing is known; None where nobody stated it.
    """

    kind = "bias"
    pixels: Float32
    variance: Float32 | None = None

    def __post_init__(self) -> None:
        check_array("bias", self.pixels)
        if self.variance is not None:
            check_array("variance of the bias", self.variance, shape=self.pixels.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dark(Calibration):
    """Dark current, electron/s, of the shape of the trimmed image.

    `variance` is that of a pixel of it, (electron/s)^2, 0 or NaN where nothing is known; None where nobody stated it. `temperature_c` is the mean
    temperature of the detector while it was taken, degree Celsius, None if unknown; `seconds` the exposure time that it is made from.
    """

    kind = "dark"
    pixels: Float32
    variance: Float32 | None = None
    temperature_c: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_array("dark", self.pixels)
        if self.variance is not None:
            check_array("variance of the dark", self.variance, shape=self.pixels.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFlat(Calibration):
    """Relative response of the pixels, around 1, of the shape of the trimmed image.

    `ivar` is its inverse variance, of the same shape, 0 where the response was not measured and 1 stands for it; None where nobody stated it.
    """

    kind = "pixflat"
    pixels: Float32
    ivar: Float32 | None = None

    def __post_init__(self) -> None:
        check_array("pixflat", self.pixels)
        if self.ivar is not None:
            check_array("ivar of the pixflat", self.ivar, shape=self.pixels.shape)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotonTransfer(Calibration):
    """Gain, read noise, full well and linearity of each amplifier, from pairs of flats; NaN where one was not measured.

    [namp] float64: `gain` electron/ADU, `read_noise` electron, `full_well` electron, `linearity` (largest relative deviation from a straight line
    of signal against time), with `gain_error` and `read_noise_error`. The curve, [namp, npoint]: `level` ADU, `variance` ADU^2 of single frames.
    Where the flats are known one by one: `seconds` [nflat], their exposure times, and `signal` [namp, nflat], ADU, NaN where an amplifier has none.
    """

    kind = "ptc"

    amp: tuple[str, ...]
    gain: Float64
    gain_error: Float64
    read_noise: Float64
    read_noise_error: Float64
    full_well: Float64
    linearity: Float64
    level: Float64
    variance: Float64
    seconds: Float64 | None = None
    signal: Float64 | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and self.signal is not None:
            check_array("photon transfer seconds", self.seconds, dtype=np.float64, ndim=1)
            check_array("photon transfer signal", self.signal, shape=(len(self.amp), len(self.seconds)), dtype=np.float64)
        for name in ("gain", "gain_error", "read_noise", "read_noise_error", "full_well", "linearity"):
            check_array(f"photon transfer {name}", getattr(self, name), shape=(len(self.amp),), dtype=np.float64, ndim=1)
        check_array("photon transfer level", self.level, shape=(len(self.amp), self.level.shape[-1]), dtype=np.float64)
        check_array("photon transfer variance", self.variance, shape=self.level.shape, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceArc(Calibration):
    """What the lines of an arc are in a healthy instrument: `wave` [nline] vacuum Angstrom, `fiber` int32 [nfibre], and float64 [nfibre, nline]
    `area` (electron/s) and `sigma` (Gaussian, Angstrom); NaN where a line was not measured."""

    kind = "refarc"

    wave: Float64
    fiber: Raw
    area: Float64
    sigma: Float64

    def __post_init__(self) -> None:
        check_array("reference arc wave", self.wave, dtype=np.float64, ndim=1)
        for name in ("area", "sigma"):
            check_array(f"reference arc {name}", getattr(self, name), shape=(len(self.fiber), len(self.wave)), dtype=np.float64)
        self.fiber.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFlat(Calibration):
    """How bright a flat is in a healthy instrument: `fiber` int32 [nfibre], `level` float64 [nfibre], median electron/(s Angstrom), NaN: unknown."""

    kind = "refflat"

    fiber: Raw
    level: Float64

    def __post_init__(self) -> None:
        check_array("reference flat level", self.level, shape=(len(self.fiber),), dtype=np.float64, ndim=1)
        self.fiber.flags.writeable = False
