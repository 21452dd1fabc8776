"""Expected electrons per fibre and row of each flavor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.sim.geometry import layout_of
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.light import LightPath, spread_continuum, spread_lines
from quicklook.sim.lines import lamp_lines, sky_lines
from quicklook.sim.plan import PlannedExposure
from quicklook.sim.targets import Targets, fibre_throughput, target_continuum, target_lines
from quicklook.sim.traces import Floats

AREA_CM2 = 8.66e4
"""Unobstructed collecting area of a 4 m telescope."""
PEAK_THROUGHPUT = {"b": 0.23, "r": 0.30, "z": 0.33}
"""Electrons per photon above the atmosphere, at the best wavelength, loss at the fibre included."""
PHOTON_ERG_ANGSTROM = 6.62607015e-27 * 2.99792458e18
AIRMASS_TERM, SEEING_TERM = 0.12, 0.15
"""Magnitudes lost per airmass and per arcsec of seeing."""
REFERENCE_AIRMASS, REFERENCE_SEEING = 1.0, 1.1
FLAT_E_PER_ANGSTROM_S = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectra:
    """Expected electrons per fibre and row, float64 [nfibre, ny], line-spread function included.

    `counts`: all of them; science: `sky` and `target` parts (counts is their sum) and `flux` of the target above the
    atmosphere, 1e-17 erg/(s cm2 Angstrom); arc: `line_wave` (vacuum Angstrom) and `line_electrons` of a mean fibre.
    """

    counts: Floats
    sky: Floats | None = None
    target: Floats | None = None
    flux: Floats | None = None
    line_wave: Floats | None = None
    line_electrons: Floats | None = None

    def scaled(self, factor: Floats) -> Spectra:
        """All light times a factor per fibre [nfibre, 1]."""
        sky, target, flux = (None if v is None else v * factor for v in (self.sky, self.target, self.flux))
        return Spectra(
            counts=self.counts * factor, sky=sky, target=target, flux=flux,
            line_wave=self.line_wave, line_electrons=self.line_electrons,
        )  # fmt: skip


def no_light(instrument: SimInstrument) -> Spectra:
    """Zeros: the shutter is closed."""
    return Spectra(counts=np.zeros((instrument.layout.nfibre, instrument.layout.ny)))


def spectra_of(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, targets: Targets) -> Spectra:
    """Spectra of an arc, flat or science exposure."""
    if planned.flavor == "arc":
        return _arc(instrument, planned, path)
    if planned.flavor == "flat":
        shape = band_shape(instrument.arm, path.wave) * (1.0 + 0.15 * (path.wave / 6000.0 - 1.0))
        density = FLAT_E_PER_ANGSTROM_S * planned.exptime * shape * fibre_throughput(instrument, path.wave)
        return Spectra(counts=spread_continuum(path, density))
    return _science(instrument, planned, path, targets)


def _arc(instrument: SimInstrument, planned: PlannedExposure, path: LightPath) -> Spectra:
    wave, rate = lamp_lines(path.traces.wave_min, path.traces.wave_max)
    electrons = rate * planned.exptime
    throughput = fibre_throughput(instrument, wave[np.newaxis, :])
    return Spectra(counts=spread_lines(path, wave, electrons * throughput), line_wave=wave, line_electrons=electrons)


def _science(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, targets: Targets) -> Spectra:
    relative = fibre_throughput(instrument, path.wave)
    rate = sky_continuum(instrument.arm, path.wave) * planned.sky_factor * planned.exptime
    sky = spread_continuum(path, rate * relative)
    wave, lines = sky_lines(path.traces.wave_min, path.traces.wave_max)
    electrons = lines * band_shape(instrument.arm, wave) * planned.sky_factor * planned.exptime
    sky += spread_lines(path, wave, electrons * fibre_throughput(instrument, wave[np.newaxis, :]))
    per_flux = calibration(instrument.arm, planned, path.wave) * relative
    target = spread_continuum(path, target_continuum(targets, path.wave) * per_flux)
    wave, flux, width = target_lines(targets)
    electrons = flux * calibration(instrument.arm, planned, wave) * fibre_throughput(instrument, wave)
    inside = (wave > path.traces.wave_min) & (wave < path.traces.wave_max)  # beyond its domain a Legendre series means nothing
    middle = 0.5 * (path.traces.wave_min + path.traces.wave_max)
    target += spread_lines(path, np.where(inside, wave, middle), np.where(inside, electrons, 0.0), np.where(inside, width, 0.0))
    return Spectra(counts=sky + target, sky=sky, target=target, flux=_flux(instrument, planned, path, target))


def _flux(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, target: Floats) -> Floats:
    """Target electrons back to 1e-17 erg/(s cm2 Angstrom), so that the truth has the line-spread function in it."""
    wave, dwave = path.on_image(path.wave), path.on_image(path.dwave)
    relative = fibre_throughput(instrument, wave)
    per_flux = dwave * relative * calibration(instrument.arm, planned, wave)
    flux: Floats = np.divide(target, per_flux, out=np.zeros_like(target), where=relative > 0.0)
    return flux


def band_shape(arm: str, wave: Floats) -> Floats:
    """Throughput of an arm relative to its best wavelength: a parabola with edges of some 50 Angstrom."""
    full = layout_of(arm, "full")
    centre, half = 0.5 * (full.wave_first + full.wave_last), 0.5 * (full.wave_last - full.wave_first)
    t = (wave - centre) / half
    shape: Floats = (1.0 - 0.3 * t**2) / (1.0 + np.exp(np.clip((np.abs(t) - 1.0) / 0.03, -50.0, 50.0)))
    return shape


def calibration(arm: str, planned: PlannedExposure, wave: Floats) -> Floats:
    """Electrons per Angstrom of a fibre of unit throughput for a flux of 1e-17 erg/(s cm2 Angstrom), over the exposure."""
    loss = AIRMASS_TERM * (planned.airmass - REFERENCE_AIRMASS) + SEEING_TERM * (planned.seeing - REFERENCE_SEEING)
    photons_per_erg = wave / PHOTON_ERG_ANGSTROM
    throughput = PEAK_THROUGHPUT[arm] * band_shape(arm, wave) * 10.0 ** (-0.4 * loss)
    electrons: Floats = 1e-17 * AREA_CM2 * photons_per_erg * throughput * planned.exptime
    return electrons


def sky_continuum(arm: str, wave: Floats) -> Floats:
    """Dark sky between the lines, electrons per Angstrom and second of a fibre of unit throughput (about 21.5 mag/arcsec2)."""
    return (0.16 + 0.05 * (wave / 6000.0 - 1.0)) * band_shape(arm, wave)
