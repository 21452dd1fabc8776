"""Traces and spectra. All arrays of spectra are [nfibre, nwave]; a quick frame has one sample for every row of the detector.

Wavelengths are vacuum Angstrom, float64: a float32 near 9000 Angstrom has steps of 0.001 Angstrom, a tenth of what is asked of the
wavelength solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float32, Float64, Raw, check_array
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.geometry import Section
from quicklook.core.errors import BadData
from quicklook.core.product import Calibration, Product

UInt32 = npt.NDArray[np.uint32]


class SpecMask(IntFlag):
    """Why a sample of a spectrum is not to be trusted; 0 is good. Bits 0-9 are numbered as in the DESI data model (specmask)."""

    SOMEBADPIX = 1 << 0
    ALLBADPIX = 1 << 1
    COSMIC = 1 << 2
    LOWFLAT = 1 << 3
    BADFIBERFLAT = 1 << 4
    BRIGHTSKY = 1 << 5
    BADSKY = 1 << 6
    BAD2DFIT = 1 << 7
    NODATA = 1 << 8
    BADFIBER = 1 << 9
    SATURATED = 1 << 10
    BADFLUXCALIB = 1 << 11
    """the flux calibration does not reach this wavelength, or is not a positive number there"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSet(Calibration):
    """For every fibre x and y on the detector against wavelength, as Legendre series in 2 (w - wavemin) / (wavemax - wavemin) - 1.

    `x`, `y` [nfibre, ncoef] float64, CCD pixels (pixel centres are whole numbers). `xsig`, `ysig`: width of the cross-dispersion profile and of
    the line-spread function as Gaussian sigma in pixel, in the same form; None where they are not known. `fiber` int32 [nfibre].
    Source: PSF files of the DESI data model.
    """

    kind = "psf"

    x: Float64
    y: Float64
    wavemin: float
    wavemax: float
    npix_x: int
    npix_y: int
    fiber: Raw
    xsig: Float64 | None = None
    ysig: Float64 | None = None

    def __post_init__(self) -> None:
        check_array("traces x", self.x, dtype=np.float64)
        check_array("traces y", self.y, shape=(self.nfibre, self.y.shape[1]), dtype=np.float64)
        for name, sigma in (("xsig", self.xsig), ("ysig", self.ysig)):
            if sigma is not None:
                check_array(f"traces {name}", sigma, shape=(self.nfibre, sigma.shape[1]), dtype=np.float64)
        if not self.wavemin < self.wavemax:
            raise BadData(f"traces go from {self.wavemin} to {self.wavemax} Angstrom")
        if len(self.fiber) != self.nfibre:
            raise BadData(f"{self.nfibre} traces, {len(self.fiber)} fibre numbers")
        self.fiber.flags.writeable = False

    @property
    def nfibre(self) -> int:
        """Number of fibres."""
        return int(self.x.shape[0])

    def reduced(self, wave: npt.ArrayLike) -> Float64:
        """Wavelength (Angstrom) in -1 ... 1."""
        return np.asarray(2.0 * (np.asarray(wave, np.float64) - self.wavemin) / (self.wavemax - self.wavemin) - 1.0)

    def evaluate(self, coefficients: Float64, wave: npt.ArrayLike) -> Float64:
        """A series of every fibre at wavelengths [nwave], or [nfibre, nwave]; gives [nfibre, nwave]."""
        t = self.reduced(wave)
        if t.ndim == 1:
            return np.asarray(np.polynomial.legendre.legval(t, coefficients.T))
        return np.stack([np.polynomial.legendre.legval(t[i], coefficients[i]) for i in range(self.nfibre)])


def _check_spectra(name: str, flux: Float32, ivar: Float32, mask: UInt32, wave: Float64) -> None:
    check_array(f"{name} flux", flux)
    check_array(f"{name} ivar", ivar, shape=flux.shape)
    check_array(f"{name} mask", mask, shape=flux.shape, dtype=np.uint32)
    check_array(f"{name} wave", wave, shape=flux.shape, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(Product):
    """Extracted spectra of one camera: `flux`, `ivar`, `mask`, `wave` [nfibre, nwave].

    `unit` of flux: electron/Angstrom until it is calibrated, then 1e-17 erg/(s cm2 Angstrom). `sigma` [nfibre, nwave]: Gaussian sigma of
    the line-spread function, Angstrom. `stage` says what was done: frame, fframe (flat-fielded), sframe (sky subtracted), cframe (calibrated).
    `assumed` says in words what had to be assumed on the way, because nobody stated it. `stated_noise` [nfibre, nblock], in blocks of one length
    along the spectra: variance of the pixels there without light as their amplifiers are stated to read, over that of this exposure; NaN where
    nobody states it, None for spectra that do not know. `amplifiers`: by name, which pixels of the CCD each amplifier has read that is not known
    to be bad; empty where nobody says.
    """

    kind = "frame"

    camera: str
    flux: Float32
    ivar: Float32
    mask: UInt32
    wave: Float64
    sigma: Float32
    fibermap: FiberMap
    unit: str = "electron/Angstrom"
    stage: str = "frame"
    assumed: tuple[str, ...] = ()
    stated_noise: Float32 | None = None
    amplifiers: Mapping[str, Section] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The stage."""
        return self.stage

    def __post_init__(self) -> None:
        _check_spectra("frame", self.flux, self.ivar, self.mask, self.wave)
        check_array("frame sigma", self.sigma, shape=self.flux.shape)
        if self.stated_noise is not None:
            check_array("frame stated noise", self.stated_noise, shape=(self.flux.shape[0], *self.stated_noise.shape[1:]))
        if len(self.fibermap.fiber) != self.flux.shape[0]:
            raise BadData(f"{self.flux.shape[0]} spectra, fibre map of {len(self.fibermap.fiber)} rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class FiberFlat(Calibration):
    """Relative throughput of the fibres, around 1: `flat`, `ivar`, `mask` [nfibre, nwave]; `wave` [nwave] or [nfibre, nwave].

    `meanspec` [nwave of the mean] is the mean spectrum of the lamp, electron/Angstrom. Fibres are matched by `fiber`, never by row.
    """

    kind = "fiberflat"

    flat: Float32
    ivar: Float32
    mask: UInt32
    wave: Float64
    meanspec: Float32
    fiber: Raw

    def __post_init__(self) -> None:
        check_array("fibre flat", self.flat)
        check_array("fibre flat ivar", self.ivar, shape=self.flat.shape)
        check_array("fibre flat mask", self.mask, shape=self.flat.shape, dtype=np.uint32)
        shape = self.flat.shape[1:] if self.wave.ndim == 1 else self.flat.shape
        check_array("fibre flat wave", self.wave, shape=shape, dtype=np.float64, ndim=self.wave.ndim)
        check_array("fibre flat meanspec", self.meanspec, ndim=1)
        if len(self.fiber) != self.flat.shape[0]:
            raise BadData(f"fibre flat of {self.flat.shape[0]} rows, {len(self.fiber)} fibre numbers")
        self.fiber.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyModel(Calibration):
    """The sky as each fibre sees it, flat-fielded: `flux`, `ivar`, `mask`, `wave` [nfibre, nwave], electron/Angstrom.

    `ivar` is of the model itself. `fibers` are the numbers of the fibres that it rests on, `rejected` those of sky fibres that were left out
    because they see something else; with `leave_one_out` the model of each of `fibers` rests on the others alone. `line_error` is the relative
    error of the emission lines, `wave_error` (Angstrom) the scatter of wavelengths among the fibres, that `ivar` contains; `wave_noise`
    (Angstrom, infinite where no line tells) is what noise alone makes of that scatter. `fiber` int32 [nfibre]: numbers of the fibres of the
    rows, by which they are matched; None where nobody stated them. A calibration, so that a chain without `compute_sky` can take one from the
    index.
    """

    kind = "sky"

    flux: Float32
    ivar: Float32
    mask: UInt32
    wave: Float64
    fibers: tuple[int, ...]
    rejected: tuple[int, ...] = ()
    leave_one_out: bool = False
    line_error: float = 0.0
    wave_error: float = 0.0
    wave_noise: float = 0.0
    fiber: Raw | None = None

    def __post_init__(self) -> None:
        _check_spectra("sky", self.flux, self.ivar, self.mask, self.wave)
        if self.fiber is not None:
            if len(self.fiber) != self.flux.shape[0]:
                raise BadData(f"sky model of {self.flux.shape[0]} rows, {len(self.fiber)} fibre numbers")
            self.fiber.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxCalib(Calibration):
    """Electrons per 1e-17 erg/cm2: average [nwave], or of each fibre [nfibre, nwave].

    An average calibration holds at `pairmass` and `pseeing` (arcsec); `aterm` and `sterm` [nwave], magnitude per airmass and per arcsec, carry
    it elsewhere: calibration x 10^(-0.4 (sterm (SEEING - pseeing) + aterm (AIRMASS - pairmass))). One of each fibre may already hold the exposure
    time (`times_exptime`). `ivar` is that of `calib`, of its shape; None where nobody stated it. Source: DESI data model, fluxcalib files.
    """

    kind = "fluxcal"

    calib: Float32
    wave: Float64
    aterm: Float32 | None = None
    sterm: Float32 | None = None
    pairmass: float = 1.0
    pseeing: float = 1.1
    fiber: Raw | None = None
    times_exptime: bool = False
    ivar: Float32 | None = None

    def __post_init__(self) -> None:
        check_array("flux calibration", self.calib, ndim=self.calib.ndim)
        if self.ivar is not None:
            check_array("flux calibration ivar", self.ivar, shape=self.calib.shape, ndim=self.calib.ndim)
        check_array("flux calibration wave", self.wave, shape=self.calib.shape[-1:], dtype=np.float64, ndim=1)
        for name, term in (("aterm", self.aterm), ("sterm", self.sterm)):
            if term is not None:
                check_array(f"flux calibration {name}", term, shape=self.wave.shape, ndim=1)
        if self.fiber is not None:
            self.fiber.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores(Product):
    """One value per fibre for every column: what the SCORES table of the DESI data model holds.

    `columns` by name, each [nfibre] float64, NaN where it was not measured; `units` by the same names ("" for a pure number).
    """

    kind = "scores"

    camera: str
    fiber: Raw
    columns: Mapping[str, Raw] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            check_array(f"score {name}", column, shape=(len(self.fiber),), dtype=np.float64, ndim=1)
        self.fiber.flags.writeable = False
