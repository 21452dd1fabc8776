"""Expected electrons per fibre and row of each flavor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.atlas import is_fits, lamp_file, sky_spectrum
from quicklook.sim.faults import find_fault
from quicklook.sim.geometry import layout_of
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.light import LightPath, spread_continuum, spread_lines
from quicklook.sim.lines import lamp_lines, sky_lines
from quicklook.sim.plan import PlannedExposure, plan_exposure
from quicklook.sim.streams import Purpose, stream
from quicklook.sim.targets import FOCAL_RADIUS_MM, Targets, ab_flux, fibre_throughput, focal_plane, target_continuum, target_lines
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
_AT_ONCE = 500
"""Lines whose light is spread at a time: of 500 fibres 40 MB."""


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
    wave, rate = _lamp(instrument, path)
    electrons = rate * planned.exptime
    throughput = fibre_throughput(instrument, wave[np.newaxis, :])
    return Spectra(counts=spread_lines(path, wave, electrons * throughput), line_wave=wave, line_electrons=electrons)


def _science(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, targets: Targets) -> Spectra:
    relative = fibre_throughput(instrument, path.wave)
    sky = _sky(instrument, planned, path)
    per_flux = calibration(instrument.arm, planned, path.wave) * relative
    continuum = target_continuum(targets, path.wave) + _strangers(instrument, planned, path, targets)
    target = spread_continuum(path, continuum * per_flux)
    wave, flux, width = target_lines(targets)
    electrons = flux * calibration(instrument.arm, planned, wave) * fibre_throughput(instrument, wave)
    inside = (wave > path.traces.wave_min) & (wave < path.traces.wave_max)  # beyond its domain a Legendre series means nothing
    middle = 0.5 * (path.traces.wave_min + path.traces.wave_max)
    target += spread_lines(path, np.where(inside, wave, middle), np.where(inside, electrons, 0.0), np.where(inside, width, 0.0))
    flux = _flux(instrument, planned, path, target)  # as it would be measured with the light that should have come
    dim = find_fault(planned.faults, "low_throughput", instrument.camera)
    factor = dim.value if dim else 1.0
    sky, target = factor * sky, factor * planned.transparency * _over_field(instrument, planned) * target
    return Spectra(counts=sky + target, sky=sky, target=target, flux=flux)


def _over_field(instrument: SimInstrument, planned: PlannedExposure) -> Floats:
    """Part of the light of its target that each fibre gets, by its place on the focal plane, [nfibre, 1]."""
    x, y = (v / FOCAL_RADIUS_MM for v in focal_plane(instrument.spectrograph, instrument.layout))
    side, around, along = planned.field_pattern
    return np.asarray(10.0 ** (-0.4 * (side * x + around * (x**2 + y**2) + along * (x**2 - y**2))))[:, np.newaxis]


def _sky(instrument: SimInstrument, planned: PlannedExposure, path: LightPath) -> Floats:
    """Electrons of the sky per fibre and row, brighter or dimmer along the focal plane where the instrument says so."""
    relative = fibre_throughput(instrument, path.wave)
    seconds = planned.sky_factor * planned.exptime
    sky = spread_continuum(path, sky_continuum(instrument.arm, path.wave) * seconds * relative)
    wave, electrons = _emission(instrument, path)
    for part in np.array_split(np.arange(len(wave)), 1 + len(wave) // _AT_ONCE):
        light = electrons[part] * seconds * fibre_throughput(instrument, wave[np.newaxis, part])
        sky += spread_lines(path, wave[part], light)
    x, _ = focal_plane(instrument.spectrograph, instrument.layout)
    return np.asarray(sky * (1.0 + instrument.sky_gradient * x / FOCAL_RADIUS_MM)[:, np.newaxis])


def _inside(path: LightPath, wave: Floats, light: Floats) -> tuple[Floats, Floats]:
    inside = (wave > path.traces.wave_min) & (wave < path.traces.wave_max)
    return wave[inside], light[inside]


def _lamp(instrument: SimInstrument, path: LightPath) -> tuple[Floats, Floats]:
    """Wavelengths and electrons per second of the lines of the lamp."""
    if instrument.arc_file:
        return _inside(path, *lamp_file(instrument.arc_file, instrument.seed))
    return lamp_lines(path.traces.wave_min, path.traces.wave_max)


def _emission(instrument: SimInstrument, path: LightPath) -> tuple[Floats, Floats]:
    """Wavelengths and electrons per second, in a fibre of unit throughput, of the emission of the sky: lines, or the samples of a spectrum."""
    if not instrument.sky_file:
        wave, lines = sky_lines(path.traces.wave_min, path.traces.wave_max)
        return wave, lines * band_shape(instrument.arm, wave)
    flux = is_fits(instrument.sky_file)
    wave, light = _inside(path, *sky_spectrum(instrument.sky_file, flux))
    if not flux:
        return wave, light * band_shape(instrument.arm, wave)
    reference = plan_exposure("science", 0, exptime=1.0, airmass=REFERENCE_AIRMASS, seeing=REFERENCE_SEEING)
    return wave, light * calibration(instrument.arm, reference, wave)


def lost_sky_fibres(instrument: SimInstrument, planned: PlannedExposure, targets: Targets) -> NDArray[np.int64]:
    """Rows of the sky fibres that see something else: every second one, where the exposure has the fault lost_sky."""
    fault = find_fault(planned.faults, "lost_sky", instrument.camera)
    return np.flatnonzero(targets.kind == "SKY")[::2] if fault else np.empty(0, np.int64)


def _strangers(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, targets: Targets) -> Floats:
    """f_lambda [nfibre, n], 1e-17 erg/(s cm2 Angstrom), of what those fibres see: power laws within a magnitude of the strength of the fault."""
    out = np.zeros(path.wave.shape)
    fault = find_fault(planned.faults, "lost_sky", instrument.camera)
    if fault is None:
        return out
    rng = stream(instrument.seed, Purpose.TARGETS, instrument.spectrograph, planned.expid, 2)
    for fibre in lost_sky_fibres(instrument, planned, targets):
        mag, slope = fault.value + rng.uniform(-1.0, 1.0), rng.uniform(-1.5, 1.0)
        wave = path.wave[fibre]
        out[fibre] = ab_flux(mag, np.full_like(wave, wave.mean())) * (wave / wave.mean()) ** slope
    return out


def _flux(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, target: Floats) -> Floats:
    """Target electrons back to 1e-17 erg/(s cm2 Angstrom), so that the truth has the line-spread function in it."""
    wave, dwave = path.on_image(path.wave), path.on_image(path.dwave)
    relative = fibre_throughput(instrument, wave)
    per_flux = dwave * relative * calibration(instrument.arm, planned, wave)
    flux: Floats = np.divide(target, per_flux, out=np.zeros_like(target), where=per_flux > 0.0)
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
