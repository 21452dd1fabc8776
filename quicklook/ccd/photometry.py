"""Magnitudes and flux densities."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float64

AB_FLUX = 3.631e-20 * 2.99792458e18 * 1e17
"""Flux density of magnitude 0 (AB) in 1e-17 erg/(s cm2 Angstrom), times the square of the wavelength in Angstrom.

Source: Oke & Gunn (1983, ApJ 266, 713): 3631 Jy at any frequency; f_lambda = f_nu c / lambda^2.
"""
NANOMAGGIE_ZERO = 22.5
"""AB magnitude of a flux of one nanomaggie, the unit of FLUX_G, FLUX_R, FLUX_Z of fibre maps."""
PIVOTS: Mapping[str, float] = {"G": 4730.0, "R": 6420.0, "Z": 9260.0}
"""Middles of the bands of the imaging, Angstrom: DECam's g, r and z (Flaugher et al. 2015, AJ 150, 150)."""


def ab_magnitude(nanomaggies: npt.ArrayLike) -> Float64:
    """AB magnitude of fluxes in nanomaggies; NaN where a flux is not positive."""
    flux = np.asarray(nanomaggies, np.float64)
    return np.asarray(NANOMAGGIE_ZERO - 2.5 * np.log10(flux, out=np.full(flux.shape, np.nan), where=flux > 0))


def ab_flux(mag: float, wave: npt.ArrayLike) -> Float64:
    """Flux density of an AB magnitude at wavelengths (Angstrom), 1e-17 erg/(s cm2 Angstrom)."""
    return np.asarray(AB_FLUX * 10 ** (-0.4 * mag) / np.asarray(wave, np.float64) ** 2)


def between_bands(fluxes: Mapping[str, Float64], wave: Float64) -> Float64:
    """Flux per frequency of sources [n] at wavelengths [m], nanomaggies [n, m], from that in bands of `PIVOTS`.

    Straight lines in the logarithms of flux and wavelength, and the flux of the outermost band beyond it. A band in which a source has no flux
    that is a positive number is that of its other bands; NaN where it has none.
    """
    names = [b for b in PIVOTS if b in fluxes]
    known = [np.asarray(fluxes[b], np.float64) for b in names]
    log = np.array([np.log(f, out=np.full(f.shape, np.nan), where=np.isfinite(f) & (f > 0)) for f in known])
    at, there = np.log([PIVOTS[b] for b in names]), np.isfinite(log)
    lacking = np.flatnonzero(~there.all(axis=0))
    for i in lacking:
        own = there[:, i]
        log[:, i] = np.interp(at, at[own], log[own, i]) if own.any() else math.nan
    weights = np.array([np.interp(np.log(wave), at, unit) for unit in np.eye(len(names))])
    return np.asarray(np.exp(log.T @ weights))
