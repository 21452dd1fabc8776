"""Spectra of several exposures added up, and the light of the sky in each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float32, Float64, Raw, check_array
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.spectra import Frame, UInt32
from quicklook.core.product import Calibration, Product

_BLOCKS, _LEAST = 32, 0.25
"""Blocks of a spectrum of which the S/N is the median, and the part of the samples of one that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyLevels(Product):
    """The light of the sky in an exposure: `rate` [nwindow] electron/(s Angstrom), median over the samples of windows about `wave` [nwindow] Angstrom
    (of equal widths) and over the fibres; NaN where nothing was measured."""

    kind = "skylevels"

    wave: Float64
    rate: Float64

    def __post_init__(self) -> None:
        check_array("sky levels wave", self.wave, dtype=np.float64, ndim=1)
        check_array("sky levels", self.rate, shape=self.wave.shape, dtype=np.float64, ndim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coadd(Calibration):
    """Spectra of the exposures of one fibre map, added up with their inverse variances: `flux`, `ivar`, `mask`, `wave` [nfibre, nwave] as of `Frame`.

    `night`, `expid`, `exptime` (s), `hours` (since the first) [nexp] are those of the exposures; `sky_wave` [nwindow], `sky` [nexp, nwindow],
    electron/(s Angstrom), the light of the sky in each. Per fibre: `used` [nfibre] exposures, `chi2` [nfibre] of these about their mean, over the
    degrees of freedom; `snr_single`, `snr_after` [nexp, nfibre]: S/N of a sample of each exposure, and of the sum of the first so many.
    `rejected`: part of the samples that were left out as outliers. Kept as calibrations are: with its exposures, its verdict and its sums.
    """

    kind = "coadd"

    camera: str
    flux: Float32
    ivar: Float32
    mask: UInt32
    wave: Float64
    fibermap: FiberMap
    unit: str
    night: Raw
    expid: Raw
    exptime: Float64
    hours: Float64
    used: Raw
    chi2: Float32
    snr_single: Float32
    snr_after: Float32
    sky_wave: Float64
    sky: Float64
    rejected: float = 0.0

    def __post_init__(self) -> None:
        n, nexp = self.flux.shape[0], len(self.expid)
        for name, dtype in (("flux", np.float32), ("ivar", np.float32), ("mask", np.uint32), ("wave", np.float64)):
            check_array(f"coadd {name}", getattr(self, name), shape=self.flux.shape, dtype=dtype)
        check_array("coadd used", self.used, shape=(n,), dtype=np.int32, ndim=1)
        check_array("coadd chi2", self.chi2, shape=(n,), ndim=1)
        for name in ("snr_single", "snr_after"):
            check_array(f"coadd {name}", getattr(self, name), shape=(nexp, n))
        for name in ("night", "expid"):
            check_array(f"coadd {name}", getattr(self, name), shape=(nexp,), dtype=np.int64, ndim=1)
        for name in ("exptime", "hours"):
            check_array(f"coadd {name}", getattr(self, name), shape=(nexp,), dtype=np.float64, ndim=1)
        check_array("coadd sky_wave", self.sky_wave, dtype=np.float64, ndim=1)
        check_array("coadd sky", self.sky, shape=(nexp, len(self.sky_wave)), dtype=np.float64)

    @property
    def frame(self) -> Frame:
        """The same as a frame of calibrated spectra; the width of its lines is not known (0)."""
        return Frame(
            camera=self.camera, flux=self.flux, ivar=self.ivar, mask=self.mask, wave=self.wave, sigma=np.zeros_like(self.flux),
            fibermap=self.fibermap, unit=self.unit, stage="cframe",
        )  # fmt: skip


def block_snr(flux: Raw, ivar: Raw) -> Float32:
    """S/N of a sample of each spectrum [nfibre]: median over 32 blocks of wavelength of the mean of flux x sqrt(ivar).

    NaN where half of the blocks have too few samples with ivar.
    """
    edges = np.linspace(0, flux.shape[1], _BLOCKS + 1).astype(int)[:-1]
    good = ivar > 0
    snr = np.where(good, flux * np.sqrt(np.where(good, ivar, 0.0)), 0.0)
    count = np.add.reduceat(good, edges, axis=1, dtype=np.int64)
    size = np.diff(np.append(edges, flux.shape[1]))
    mean = np.where(count >= np.maximum(_LEAST * size, 1), np.add.reduceat(snr, edges, axis=1) / np.maximum(count, 1), np.nan)
    enough = np.isfinite(mean).sum(axis=1) >= _BLOCKS // 2
    out = np.full(flux.shape[0], np.nan, np.float32)
    out[enough] = np.nanmedian(mean[enough], axis=1)
    return out
