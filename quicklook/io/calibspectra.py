"""Wavelengths and response of a calibration, compared with what is known of its camera: with those of another arm it is refused when it is added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64
from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.ccd.spectra import FiberFlat, FluxCalib, SkyModel, TraceSet
from quicklook.core.product import Calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibothers import last_good
from quicklook.io.calibsize import CameraFacts
from quicklook.io.calibstore import CalibIndexStore

MAX_DISPERSION_RATIO = 1.5
"""A grating with another dispersion than stated by more is another grating; 6 % are usual (`spectra.dispersion_error`)."""
FAR, TIMES_ERROR = 0.5, 4.0
"""The middle of the spectra may be off by this part of their own range of wavelengths, and by so many times what is stated as its error: of a
window of the detector the first alone would be too little. Arms of one spectrograph are apart by all of their range."""
DOUBTFUL_RESPONSE, WRONG_RESPONSE = 3.0, 100.0
"""Ratio to the response before, at every wavelength: clouds and losses at the slit change it by less than the first (then it is provisional),
no telescope by the second (another unit, another exposure time)."""
DOUBTFUL_PLACE, WRONG_PLACE = 10.0, 100.0
"""Pixel from the traces before: more than the first no flexure gives (then they are provisional), more than the second no realignment."""
_CHANGED = "If the spectrograph has changed, let the other one end before this one begins (valid_to, valid_from)."
_WITH_WAVES = ("psf", "fiberflat", "fluxcal", "sky")
_PART = (0.05, 0.95)
_POINTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectraCheck:
    """Why it cannot be of its camera (`wrong`), or why it may not be (`doubt`); empty where nothing speaks against it."""

    wrong: str = ""
    doubt: str = ""


def compare_spectra(store: CalibIndexStore, entry: CalibEntry, calibration: Calibration, facts: CameraFacts | None = None) -> SpectraCheck:
    """Compare wavelengths with those that are stated of the camera and those of its others, and a flux calibration with the last one."""
    span = wave_span(calibration)
    if span is None:
        return SpectraCheck()
    stated = facts.spectra(entry) if facts is not None else None
    if stated is not None and (wrong := range_misfit(calibration, stated) if isinstance(calibration, TraceSet) else _span_misfit(span, stated)):
        return SpectraCheck(wrong=wrong)
    if wrong := _nothing_in_common(store, entry, span):
        return SpectraCheck(wrong=wrong)
    if isinstance(calibration, TraceSet):
        return _places(store, entry, calibration)
    return _response(store, entry, calibration) if isinstance(calibration, FluxCalib) else SpectraCheck()


def wave_span(calibration: Calibration) -> tuple[float, float] | None:
    """First and last wavelength of a calibration of spectra, Angstrom; None of any other."""
    if isinstance(calibration, TraceSet):
        return calibration.wavemin, calibration.wavemax
    if isinstance(calibration, FiberFlat | FluxCalib | SkyModel):
        return float(np.min(calibration.wave)), float(np.max(calibration.wave))
    return None


def _span_misfit(span: tuple[float, float], stated: Spectrograph) -> str:
    """Why samples of these wavelengths are not of a camera with that centre; empty where they may be."""
    if stated.centre is None:
        return ""
    away = max(span[0] - stated.centre, stated.centre - span[1], 0.0)
    if away <= max(FAR * (span[1] - span[0]), TIMES_ERROR * stated.centre_error):
        return ""
    return f"its wavelengths are {_said(span)}, those of camera {stated.camera} are stated as around {stated.centre:g} (spectra.centre)"


def _nothing_in_common(store: CalibIndexStore, entry: CalibEntry, span: tuple[float, float]) -> str:
    """Why it cannot be of the camera of the others in the index: they have no wavelength in common; empty where they have, or there is none."""
    found = last_good(store, entry, _WITH_WAVES)
    theirs = wave_span(found[1]) if found is not None else None
    if found is None or theirs is None or (span[0] <= theirs[1] and theirs[0] <= span[1]):
        return ""
    return f"its wavelengths are {_said(span)}, those of {found[0].path} of the same camera are {_said(theirs)}: it is of another arm"


def _places(store: CalibIndexStore, entry: CalibEntry, traces: TraceSet) -> SpectraCheck:
    """Compare where traces lie with the last ones of the camera: flexure moves them by a few pixels."""
    found = last_good(store, entry, ("psf",))
    if found is None:
        return SpectraCheck()
    other, before = found
    assert isinstance(before, TraceSet)
    wave = np.linspace(max(traces.wavemin, before.wavemin), min(traces.wavemax, before.wavemax), _POINTS)
    if before.nfibre != traces.nfibre or not wave[-1] > wave[0]:
        return SpectraCheck()
    x, y = (traces.evaluate(getattr(traces, a), wave) - before.evaluate(getattr(before, a), wave) for a in "xy")
    away = float(np.median(np.abs(x))), float(np.median(np.abs(y)))
    said = f"its traces are {away[0]:.3g} pixel in x and {away[1]:.3g} pixel in y from those of {other.path}"
    if max(away) > WRONG_PLACE:
        return SpectraCheck(wrong=f"{said}; are its fibres in another order? {_CHANGED}")
    return SpectraCheck(doubt=said if max(away) > DOUBTFUL_PLACE else "")


def _said(span: tuple[float, float]) -> str:
    return f"{span[0]:.0f} to {span[1]:.0f} Angstrom"


def range_misfit(traces: TraceSet, stated: Spectrograph) -> str:
    """Why these traces are not those of a camera with that centre and dispersion (Angstrom, Angstrom a row); empty where they may be."""
    wave = np.linspace(traces.wavemin, traces.wavemax, _POINTS)
    y = np.median(traces.evaluate(traces.y, wave), axis=0)
    steps, where = np.median(np.diff(wave) / np.diff(y)), f"camera {stated.camera}"
    if stated.dispersion and not 1 / MAX_DISPERSION_RATIO < steps / stated.dispersion < MAX_DISPERSION_RATIO:
        return f"its dispersion is {steps:.3g} Angstrom a row, that of {where} is stated as {stated.dispersion:g} (spectra.dispersion)"
    if stated.centre is None or not traces.npix_y:
        return ""
    middle = float(np.interp(0.5 * (traces.npix_y - 1), y, wave))
    allowed = max(FAR * abs(steps) * traces.npix_y, TIMES_ERROR * stated.centre_error)
    if abs(middle - stated.centre) > allowed:
        return f"its wavelength in the middle of the detector is {middle:.0f} Angstrom, that of {where} is stated as {stated.centre:g}"
    return ""


def _response(store: CalibIndexStore, entry: CalibEntry, flux: FluxCalib) -> SpectraCheck:
    found = last_good(store, entry, ("fluxcal",))
    if found is None:
        return SpectraCheck()
    other, before = found
    assert isinstance(before, FluxCalib)
    low, high = _ratio(flux, before)
    away = low if low > 1 else 1 / high if high < 1 else 1.0
    said = f"its response is {low:.3g} to {high:.3g} times that of {other.path}"
    if away > WRONG_RESPONSE:
        return SpectraCheck(wrong=f"{said}; is it in another unit, or of another exposure time?")
    return SpectraCheck(doubt=f"{said} at every wavelength" if away > DOUBTFUL_RESPONSE else "")


def _ratio(flux: FluxCalib, before: FluxCalib) -> tuple[float, float]:
    """Range of the ratio of two responses over the wavelengths that both have, the ends of the distribution apart; (1, 1) where it cannot be told."""
    wave = np.linspace(max(flux.wave[0], before.wave[0]), min(flux.wave[-1], before.wave[-1]), _POINTS)
    if flux.times_exptime != before.times_exptime or not wave[-1] > wave[0]:
        return 1.0, 1.0
    one, other = (np.interp(wave, f.wave, _mean(f)) for f in (flux, before))
    both = (one > 0) & (other > 0)
    if both.sum() < _POINTS // 4:
        return 1.0, 1.0
    low, high = np.quantile(one[both] / other[both], _PART)
    return float(low), float(high)


def _mean(flux: FluxCalib) -> Float64:
    """The response of the middle fibre of all, 0 where it is not known."""
    calib = flux.calib if flux.calib.ndim == 1 else np.median(flux.calib, axis=0)
    return np.where(np.isfinite(calib), calib, 0.0).astype(np.float64)
