"""Flux standards, the extinction of the atmosphere, and how a flux calibration was fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float64, Raw, check_array
from quicklook.core.errors import BadData
from quicklook.core.product import Calibration, Product


def _check_rising(what: str, wave: Float64) -> None:
    check_array(f"{what} wave", wave, dtype=np.float64, ndim=1)
    if wave.size < 2 or not (np.diff(wave) > 0).all():
        raise BadData(f"the wavelengths of the {what} do not rise")


@dataclass(frozen=True, slots=True, kw_only=True)
class StdStars(Calibration):
    """Spectra of standard stars above the atmosphere: `flux` [nstar, nwave], 1e-17 erg/(s cm2 Angstrom); `wave` [nwave] vacuum Angstrom.

    `fiber` [nstar] says which fibre looks at which star; None: there is one star, and it is the object of the exposure.
    """

    kind = "stdstar"

    wave: Float64
    flux: Float64
    fiber: Raw | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_rising("standard stars", self.wave)
        check_array("standard stars flux", self.flux, dtype=np.float64)
        if self.flux.shape[1] != self.wave.size:
            raise BadData(f"standard stars: {self.flux.shape[1]} fluxes at {self.wave.size} wavelengths")
        if self.fiber is None and len(self.flux) != 1:
            raise BadData(f"{len(self.flux)} standard stars, and no fibre numbers that tell them apart")
        if self.fiber is not None:
            check_array("standard stars fiber", self.fiber, shape=(len(self.flux),), dtype=self.fiber.dtype, ndim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extinction(Calibration):
    """Extinction of the atmosphere at the zenith: `magnitude` [nwave], magnitude per airmass, at `wave` [nwave], Angstrom."""

    kind = "extinction"

    wave: Float64
    magnitude: Float64

    def __post_init__(self) -> None:
        _check_rising("extinction", self.wave)
        check_array("extinction", self.magnitude, shape=self.wave.shape, dtype=np.float64, ndim=1)
        if not (np.isfinite(self.magnitude).all() and (self.magnitude >= 0).all()):
            raise BadData("an extinction is negative, or not a number")


MASKED, FITTED, HELD_OUT, CLIPPED = 0, 1, 2, 3
"""What became of a bin of a flux-calibration fit: masked, or without light; used; held out as a test; left out as an outlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxCalFit(Product):
    """How a flux calibration was fitted, in bins of wavelength.

    `ratio` [nbin]: electrons of the star or stars over 1e-17 erg/cm2 that they should give, NaN where unknown; `error`; `model`: the smooth
    response, each [nbin] at `wave` (Angstrom, middle of the bin); `use` [nbin]: MASKED, FITTED, HELD_OUT, CLIPPED. `stars`, `levels`: names
    and level of each star relative to the calibration. `by_lamp`: the response is the lamp of the flat times a smooth curve. `assumed` says in
    words what nobody stated.
    """

    kind = "fluxcalfit"

    wave: Float64
    ratio: Float64
    error: Float64
    model: Float64
    use: npt.NDArray[np.uint8]
    stars: tuple[str, ...]
    levels: tuple[float, ...]
    by_lamp: bool = False
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("wave", "ratio", "error", "model"):
            check_array(f"fit of the flux calibration: {name}", getattr(self, name), shape=self.wave.shape, dtype=np.float64, ndim=1)
        check_array("fit of the flux calibration: use", self.use, shape=self.wave.shape, dtype=np.uint8, ndim=1)
