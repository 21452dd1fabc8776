"""Where the light of a fibre falls: x, y and the widths of its image, as Legendre series in wavelength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from quicklook.core.errors import BadConfig
from quicklook.sim.geometry import Layout

Floats = NDArray[np.float64]
PITCH, BUNDLE_GAP = 7.27, 17.76
"""Pixels between fibres of a bundle, and between the last and the first of two bundles (DESI's PSF files)."""
DEGREE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Flexure:
    """Shift of an exposure against the calibration: constant, slope along the slit, slope with wavelength, pixel."""

    dx: tuple[float, float, float] = (0.0, 0.0, 0.0)
    dy: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Legendre coefficients [nfibre, DEGREE + 1] in 2 (w - wave_min) / (wave_max - wave_min) - 1; values in CCD pixels.

    `x`, `y`: centre (0 is the middle of the first pixel); `sigma_x`, `sigma_y`: Gaussian widths across and along.
    """

    wave_min: float
    wave_max: float
    x: Floats
    y: Floats
    sigma_x: Floats
    sigma_y: Floats

    def reduced(self, wave: Floats) -> Floats:
        """Wavelength scaled to -1..1 over the domain."""
        return 2.0 * (wave - self.wave_min) / (self.wave_max - self.wave_min) - 1.0

    def at(self, coefficients: Floats, wave: Floats) -> Floats:
        """Series at wavelengths [n] (the same for all fibres) or [nfibre, n]; gives [nfibre, n]."""
        series = coefficients.T[:, :, np.newaxis]
        return np.asarray(legendre.legval(self.reduced(np.atleast_2d(wave)), series, tensor=False), np.float64)

    def wave_of_rows(self, rows: Floats) -> Floats:
        """Wavelength at which each fibre crosses the rows: [nfibre, nrow], by Newton's method to 1e-7 pixel."""
        per_wave = 2.0 / (self.wave_max - self.wave_min)
        slope = np.asarray(legendre.legder(self.y.T, axis=0).T * per_wave, np.float64)
        low = self.at(self.y, np.array([self.wave_min, self.wave_max]))
        scale = (self.wave_max - self.wave_min) / (low[:, 1:] - low[:, :1])
        wave: Floats = self.wave_min + (rows[np.newaxis, :] - low[:, :1]) * scale
        for _ in range(12):
            error = self.at(self.y, wave) - rows
            wave -= error / self.at(slope, wave)
            if float(np.abs(error).max()) < 1e-4:  # converges quadratically: the step just made leaves less than 1e-7
                return wave
        raise BadConfig("the traces cannot be inverted: y does not rise with wavelength; check the trace set")

    def shifted(self, flexure: Flexure) -> Traces:
        """The same traces moved by the flexure; slopes are in u and P1, both -1..1."""
        u = slit_position(len(self.x))
        x, y = self.x.copy(), self.y.copy()
        for series, shift in ((x, flexure.dx), (y, flexure.dy)):
            series[:, 0] += shift[0] + shift[1] * u
            series[:, 1] += shift[2]
        return Traces(wave_min=self.wave_min, wave_max=self.wave_max, x=x, y=y, sigma_x=self.sigma_x, sigma_y=self.sigma_y)


def slit_position(nfibre: int) -> Floats:
    """Place of each fibre along the slit, about -1..1."""
    return (2.0 * np.arange(nfibre) - (nfibre - 1)) / nfibre


def nominal_traces(layout: Layout) -> Traces:
    """Traces of the calibration: bundles of fibres, a curved slit, a dispersion and widths that vary slowly."""
    margin = 20.0 * layout.dispersion
    wave_min, wave_max = layout.wave_first - layout.smile * layout.dispersion - margin, layout.wave_last + margin
    wave = np.linspace(wave_min, wave_max, 64)
    t = (2.0 * wave - layout.wave_first - layout.wave_last) / (layout.wave_last - layout.wave_first)
    u = slit_position(layout.nfibre)[:, np.newaxis]
    fibre = np.arange(layout.nfibre)
    centre = PITCH * fibre + (BUNDLE_GAP - PITCH) * (fibre // layout.bundle)
    centre = (centre - centre.mean() + 0.5 * (layout.nx - 1))[:, np.newaxis]
    spread = layout.nx / 4114.0  # distortion grows with the width of the image
    x = centre + spread * (u * (3.5 + 5.0 * t + 1.8 * t**2) + 0.7 * u**2 * t) - 0.4 * t
    middle = 0.5 * (layout.ny - 1)
    bend = 0.025 * (t**2 - 1.0) + 0.003 * (t**3 - t)  # the grating's dispersion changes by some per cent
    y = middle * (1.0 + t + bend * layout.ny / 4128.0) + layout.smile * (u**2 + 0.008 * u * t)
    sigma_x = 1.03 + 0.05 * u**2 + 0.05 * t**2
    sigma_y = 1.07 + 0.04 * u**2 + 0.05 * t**2 + 0.05 * t
    reduced = 2.0 * (wave - wave_min) / (wave_max - wave_min) - 1.0

    def fit(values: Floats) -> Floats:
        return np.ascontiguousarray(legendre.legfit(reduced, values.T, DEGREE).T, np.float64)

    return Traces(wave_min=wave_min, wave_max=wave_max, x=fit(x), y=fit(y), sigma_x=fit(sigma_x), sigma_y=fit(sigma_y))
