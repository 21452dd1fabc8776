"""Spectra of the night sky and lists of lamp lines from files that a user gives, in place of the lines of `quicklook.sim.lines`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from quicklook.core.errors import BadConfig
from quicklook.sim.lines import Floats
from quicklook.sim.streams import Purpose, stream

FIBRE_ARCSEC2 = 1.77
"""Area of the sky that a fibre of 1.5 arcsec sees."""
ELECTRONS_PER_UNIT = 0.055
"""Electrons per Angstrom and second, at the best wavelength of an arm, of a sky spectrum of 1 in a text file: that of the DESI software, in whose
units OH lines of some hundred are common, is then as bright as a dark sky."""
LAMP_S = 5.0
"""Exposure time in which a lamp gives the electrons that a file states."""
_STEP = 0.1
"""Angstrom between the samples of a sky from a text file, in which rows may be left out where nothing shines."""
_CONTINUUM_ANGSTROM, _CONTINUUM_PERCENTILE = 30.0, 20.0


def read_columns(path: str) -> Floats:
    """The numbers of a text file, float64 [nrow, 1 or 2], rising in the first column; # begins a comment. Raises BadConfig."""
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path}: is no file of one or two columns of numbers: {' '.join(str(error).split())}") from error
    if table.shape[1] > 2 or not len(table) or not np.isfinite(table).all() or not (np.diff(table[:, 0]) > 0).all():
        raise BadConfig(f"{path}: must have one or two columns of numbers, wavelengths (vacuum Angstrom) that rise, then strengths")
    if not table[0, 0] > 0 or (table.shape[1] == 2 and (table[:, 1] < 0).any()):
        raise BadConfig(f"{path}: has wavelengths or strengths below 0")
    return np.asarray(table, np.float64)


@lru_cache(maxsize=4)
def sky_spectrum(path: str, as_fits: bool) -> tuple[Floats, Floats]:
    """Emission of the sky: wavelengths (vacuum Angstrom) and, per sample, light that is not continuum.

    A text file has two columns, wavelength and strength per Angstrom (see ELECTRONS_PER_UNIT): electrons per second. A FITS file has a spectrum in
    its first HDU, in 1e-17 erg/(s cm2 Angstrom arcsec2), with CRVAL1, CDELT1, CRPIX1 (UVES atlas: Hanuschik 2003, A&A 407, 1157): flux of a fibre,
    1e-17 erg/(s cm2); its continuum, a running percentile over 30 Angstrom, is taken away. Raises BadConfig.
    """
    wave, strength = _from_fits(path) if as_fits else _from_text(path)
    lit = strength > 0
    width = np.asarray(np.gradient(wave), np.float64)
    light: Floats = strength * width * (FIBRE_ARCSEC2 if as_fits else ELECTRONS_PER_UNIT)
    return wave[lit], light[lit]


def is_fits(path: str) -> bool:
    """Whether a file is FITS. Raises BadConfig where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(9) == b"SIMPLE  ="
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read: {error.strerror or error}") from error


def _from_text(path: str) -> tuple[Floats, Floats]:
    table = read_columns(path)
    if table.shape[1] != 2 or len(table) < 2:
        raise BadConfig(f"{path}: a sky needs two columns, wavelength (vacuum Angstrom) and strength per Angstrom")
    wave: Floats = np.arange(table[0, 0], table[-1, 0] + 0.5 * _STEP, _STEP)
    return wave, np.interp(wave, table[:, 0], table[:, 1])


def _from_fits(path: str) -> tuple[Floats, Floats]:
    import fitsio

    try:
        with fitsio.FITS(path) as fits:
            flux, header = np.asarray(fits[0].read(), np.float64), fits[0].read_header()
            first, step, reference = (float(header[key]) for key in ("CRVAL1", "CDELT1", "CRPIX1"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{path}: is no spectrum of the sky with CRVAL1, CDELT1 and CRPIX1: {' '.join(str(error).split())}") from error
    if flux.ndim != 1 or not len(flux) or not step > 0 or not np.isfinite(flux).any():
        raise BadConfig(f"{path}: must have one axis of wavelengths that rise, and finite values")
    flux = np.where(np.isfinite(flux), flux, 0.0)
    half = max(1, round(0.5 * _CONTINUUM_ANGSTROM / step))
    knots = np.arange(0, len(flux), max(1, half // 3))
    low = [np.percentile(flux[max(0, k - half) : k + half + 1], _CONTINUUM_PERCENTILE) for k in knots]
    wave = np.asarray(first + step * (np.arange(len(flux)) + 1.0 - reference), np.float64)
    lines: Floats = np.clip(flux - np.interp(np.arange(len(flux)), knots, low), 0.0, None)
    return wave, lines


@lru_cache(maxsize=4)
def lamp_file(path: str, seed: int) -> tuple[Floats, Floats]:
    """Wavelengths (vacuum Angstrom) and electrons per second of an average fibre of the lines in a text file.

    A second column holds the electrons in 5 s; without it they are drawn by the seed, between 1600 and 63 000. Raises BadConfig.
    """
    table = read_columns(path)
    if table.shape[1] == 2:
        return table[:, 0], table[:, 1] / LAMP_S
    return table[:, 0], 10.0 ** stream(seed, Purpose.LINES).uniform(3.2, 4.8, len(table)) / LAMP_S
