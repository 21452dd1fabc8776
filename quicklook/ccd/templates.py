"""Spectra of typical targets by formula, and what of them counts as signal: their features.

Nothing here is taken from a library of spectra: lines and breaks stand where they do in nature, with round strengths.
"""

from __future__ import annotations

import functools

import numpy as np

from quicklook.ccd.arrays import Float64
from quicklook.ccd.photometry import AB_FLUX

GRID = np.arange(3500.0, 10_000.0, 2.0)
"""Wavelengths of the templates, Angstrom."""
_SMOOTH = 50
"""Half width, in steps of 2 Angstrom, of the mean over which a feature counts as continuum."""
_RESOLUTION = 0.8
"""Sigma of the line-spread function that narrow lines are given, Angstrom."""


def _gauss(wave: Float64, centre: float, sigma: float) -> Float64:
    return np.asarray(np.exp(-0.5 * ((wave - centre) / sigma) ** 2))


def _elg(wave: Float64, z: float) -> Float64:
    """[OII] doublet of 1e-16 erg/(s cm2) and its fainter companions, on a continuum of magnitude 23."""
    flux = AB_FLUX * 10 ** (-0.4 * 23.0) / wave**2
    for rest, light in ((3727.1, 4.3), (3729.9, 5.7), (4862.7, 3.0), (4960.3, 2.0), (5008.2, 6.0)):
        sigma = np.hypot(_RESOLUTION, 70.0 / 299_792.458 * rest * (1 + z))
        flux = flux + light / (np.sqrt(2 * np.pi) * sigma) * _gauss(wave, rest * (1 + z), float(sigma))
    return flux


def _lrg(wave: Float64, z: float) -> Float64:
    """The break at 4000 Angstrom and the strongest absorption lines, magnitude 21."""
    rest = wave / (1 + z)
    shape = 0.35 + 0.65 / (1 + np.exp(-(rest - 4000.0) / 40.0))
    for centre in (3934.8, 3969.6, 4305.6, 5176.6, 5895.6):
        shape = shape * (1 - 0.35 * _gauss(rest, centre, 6.0))
    return np.asarray(AB_FLUX * 10 ** (-0.4 * 21.0) / wave**2 * shape)


def _qso(wave: Float64, z: float) -> Float64:
    """Broad lines on a power law, magnitude 22."""
    rest = wave / (1 + z)
    shape = np.ones_like(wave)
    for centre, strength, width in ((1215.7, 3.0, 18.0), (1549.1, 1.2, 18.0), (1908.7, 0.7, 20.0), (2799.0, 0.8, 20.0), (4862.7, 0.8, 25.0)):
        shape = shape + strength * _gauss(rest, centre, width)
    return np.asarray(AB_FLUX * 10 ** (-0.4 * 22.0) / wave**2 * shape)


def _bgs(wave: Float64, z: float) -> Float64:
    """A bright galaxy: the break of an old population and a few emission lines, magnitude 19.5."""
    flux = AB_FLUX * 10 ** (-0.4 * 19.5) / wave**2 * (0.5 + 0.5 / (1 + np.exp(-(wave / (1 + z) - 4000.0) / 60.0)))
    for rest, light in ((3728.5, 20.0), (4862.7, 8.0), (5008.2, 8.0), (6564.6, 30.0)):
        sigma = float(np.hypot(_RESOLUTION, 120.0 / 299_792.458 * rest * (1 + z)))
        flux = flux + light / (np.sqrt(2 * np.pi) * sigma) * _gauss(wave, rest * (1 + z), sigma)
    return np.asarray(flux)


def _std(wave: Float64, z: float) -> Float64:
    """Balmer lines of a star of magnitude 18."""
    shape = np.ones_like(wave)
    for centre in (3890.2, 3971.2, 4102.9, 4341.7, 4862.7, 6564.6):
        shape = shape - 0.4 / (1 + ((wave - centre * (1 + z)) / 6.0) ** 2)
    return np.asarray(AB_FLUX * 10 ** (-0.4 * 18.0) / wave**2 * shape)


_TEMPLATES = {"ELG": (_elg, 0.6, 1.6), "LRG": (_lrg, 0.4, 1.0), "QSO": (_qso, 0.8, 3.2), "BGS": (_bgs, 0.1, 0.4), "STD": (_std, -0.001, 0.001)}
"""Spectrum and range of redshift of each class."""


@functools.cache
def template(kind: str) -> Float64:
    """Mean square, over the redshifts of a class, of what a spectrum has beyond its own mean over 200 Angstrom, on 3500, 3502 ... Angstrom.

    Unit (1e-17 erg/(s cm2 Angstrom))^2. The sum of it times ivar is the template S/N squared, as in Guy et al. 2023, AJ 165, 144, section 4.14, but
    for templates of analytic form. Raises KeyError for a class that has none.
    """
    spectrum, low, high = _TEMPLATES[kind]
    box = np.ones(2 * _SMOOTH + 1) / (2 * _SMOOTH + 1)
    total = np.zeros(GRID.size)
    redshifts = np.linspace(low, high, 64)
    fine = np.arange(GRID[0] - 4 * _SMOOTH, GRID[-1] + 4 * _SMOOTH + 0.5, 2.0)
    for z in redshifts:
        flux = spectrum(fine, float(z))
        feature = flux - np.convolve(flux, box, mode="same")
        total += feature[2 * _SMOOTH : 2 * _SMOOTH + GRID.size] ** 2
    made = total / redshifts.size
    made.flags.writeable = False
    return np.asarray(made)
