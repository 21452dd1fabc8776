"""The light of an exposure beside that of a nominal one: dark sky, zenith, clear air, good seeing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qa.targets import STANDARD, Catalogue, relative_light
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import STATED_AIRMASS, STATED_SEEING, Exposure
from quicklook.ccd.photometry import AB_FLUX
from quicklook.ccd.spectra import FluxCalib, Frame, SkyModel
from quicklook.core.errors import NotApplicable

DARK_SKY: Mapping[str, float] = {"b": 20.5, "r": 20.2, "z": 19.9}
"""AB magnitude of a dark sky in a fibre of 1.8 square arcsec, between its lines, by arm: 21.1, 20.8 and 20.5 per square arcsec.

A round middle of the dark skies of the project's simulators, within 0.2 mag of them; in r also within 0.3 of the 21.07 that DESI calls nominal
(Schlafly et al. 2023, AJ 166, 259), which counts the lines too. An observatory sets its own: the median over its dark exposures (sky_light).
"""
_BETWEEN = 1.3
"""Samples of more than this times the median light of the sky are on its emission lines."""
_SMOOTH, _PARTS = 0.06, 16
"""Relative noise of the model of the sky up to which single samples say whether they are on a line; means are over a sixteenth of them at most."""
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stars:
    """Light of the standard stars relative to the catalogue: median, its error by the scatter of the stars, and what their `noise` makes of that.

    NaN where none could be used. `n` of `marked` were used.
    """

    light: float
    error: float
    noise: float
    n: int
    marked: int
    each: Float64
    row: Raw


def star_light(frame: Frame, known: Catalogue, least: int) -> Stars:
    """Of calibrated spectra. Raises NotApplicable where the fibre map has fewer than `least` standard stars."""
    marked, rows = known.marked(STANDARD), known.rows(STANDARD)
    if marked < least:
        raise NotApplicable(f"the fibre map has {marked} standard stars, {least} are needed")
    light = relative_light(frame, rows)
    value, noise = light.median_light(), light.light_error()
    good = np.isfinite(value) & np.isfinite(noise)
    value, n = value[good], int(np.count_nonzero(good))
    if n < least:
        return Stars(light=math.nan, error=math.nan, noise=math.nan, n=n, marked=marked, each=value, row=rows[good])
    middle = float(np.median(value))
    typical, of_median = float(np.median(noise[good])), _SQRT_HALF_PI / math.sqrt(n)
    spread = max(1.4826 * float(np.median(np.abs(value - middle))), typical)
    return Stars(light=middle, error=spread * of_median, noise=typical * of_median, n=n, marked=marked, each=value, row=rows[good])


def calibration_per_second(fluxcal: FluxCalib, exposure: Exposure, wave: Float64, airmass: float, seeing: float) -> Float64:
    """Electrons per second of 1e-17 erg/(s cm2), of the median fibre, at an airmass and a seeing (arcsec), for wavelengths [n]; NaN beyond."""
    calib = fluxcal.calib.astype(np.float64)
    calib = calib if calib.ndim == 1 else np.median(calib, axis=0)
    magnitude = np.zeros(fluxcal.wave.shape)
    for term, by in ((fluxcal.aterm, airmass - fluxcal.pairmass), (fluxcal.sterm, seeing - fluxcal.pseeing)):
        if term is not None:
            magnitude += np.asarray(term, np.float64) * by
    rate = calib * 10 ** (-0.4 * magnitude) / (exposure.exptime if fluxcal.times_exptime else 1.0)
    return np.asarray(np.interp(wave, fluxcal.wave, rate, left=math.nan, right=math.nan))


def calibration_of_exposure(fluxcal: FluxCalib, exposure: Exposure, wave: Float64) -> Float64:
    """As `calibration_per_second`, at the airmass and seeing of the exposure; those of the calibration where nobody stated one that can be."""
    airmass = _stated(exposure.airmass, STATED_AIRMASS, fluxcal.pairmass)
    seeing = _stated(exposure.seeing, STATED_SEEING, fluxcal.pseeing)
    return calibration_per_second(fluxcal, exposure, wave, airmass, seeing)


def _stated(value: float | None, allowed: tuple[float, float], otherwise: float) -> float:
    return value if value is not None and allowed[0] <= value <= allowed[1] else otherwise


def sky_row(frame: Frame, sky: SkyModel) -> int:
    """The row of a sky fibre of those that the model rests on, a quarter of the way along the slit. Raises NotApplicable where there is none.

    Lines are bowed along the slit: half of the fibres see further to either end of the spectrum than the one there.
    """
    rows = np.flatnonzero(np.isin(frame.fibermap.fiber, np.array(sky.fibers, np.int64)))
    if not rows.size or sky.flux.shape != frame.flux.shape:
        raise NotApplicable("the sky model rests on no fibre of this exposure")
    usable = (sky.mask[rows] == 0).sum(axis=1)
    full = rows[usable >= 0.9 * usable.max()]
    return int(full[full.size // 4])


def sky_magnitude(sky: SkyModel, row: int, rate: Float64, exptime: float) -> float:
    """AB magnitude of the sky in a fibre between its emission lines, above the atmosphere as seen through `rate`; NaN where it is not positive.

    Of the samples of a row of the model (electron/Angstrom), divided by the exposure time and by `rate` [nwave], electrons per second of
    1e-17 erg/(s cm2): the median of those that are not on lines, by means of so many neighbours that noise is no line.
    """
    good = (sky.mask[row] == 0) & (sky.ivar[row] > 0) & np.isfinite(sky.flux[row]) & (rate > 0)
    if not good.any() or not exptime > 0:
        return math.nan
    density = sky.flux[row][good].astype(np.float64) / (rate[good] * exptime) * sky.wave[row][good] ** 2 / AB_FLUX
    typical = float(np.median(density))
    level = math.nan
    if typical > 0:
        noise = float(np.median(1.0 / (np.sqrt(sky.ivar[row][good]) * np.maximum(np.abs(sky.flux[row][good]), 1e-30))))
        smooth = _running_mean(density, min(math.ceil((noise / _SMOOTH) ** 2), density.size // _PARTS))
        level = float(np.median(density[smooth < _BETWEEN * float(np.median(smooth))]))
    return -2.5 * math.log10(level) if level > 0 else math.nan


def _running_mean(values: Float64, n: int) -> Float64:
    """Of n neighbours (an odd number is taken), of fewer at the ends."""
    half = n // 2
    if half < 1:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(values.size)
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, values.size)
    return np.asarray((sums[high] - sums[low]) / (high - low))
