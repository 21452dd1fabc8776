"""How good a flux calibration is."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.values import scalar
from quicklook.ccd.arrays import Float64
from quicklook.ccd.spectra import FluxCalib
from quicklook.ccd.stars import CLIPPED, FITTED, HELD_OUT, MASKED, FluxCalFit
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_LIGHT = 2.99792458e18
"""Angstrom/s."""
_FLOOR = 0.01
"""Relative error of a bin that is taken at least."""
_AB = 48.60
"""AB magnitude zero point: m = -2.5 lg(F_nu) - 48.60, F_nu in erg/(s cm2 Hz) (Oke & Gunn 1983, ApJ 266, 713)."""

ZERO = MetricDef("zero_point", "mag", dims=("wave",), doc="AB magnitude of a source that gives one electron per second and Angstrom there.")
RMS = MetricDef("fluxcal_rms", "", doc="Relative rms of the standard stars about the fitted response, weighted, in the bins that were fitted.")
HELD = MetricDef("fluxcal_held_out", "", doc="Relative rms of the standard stars about the fitted response, weighted, in blocks that were held out.")
USED = MetricDef("fluxcal_used", "", doc="Part of the bins that were to be fitted that were not outliers.")
ASSUMED = MetricDef(
    "fluxcal_assumed", "", flag=True,
    doc="1 where airmass or extinction had to be assumed for the flux calibration, since nobody stated it; else 0.",
)  # fmt: skip
STARS = MetricDef("fluxcal_stars", "", doc="Number of spectra of standard stars that the flux calibration rests on.")


class ZeroPointParams(Params):
    """Parameters of `zero_point`."""

    places: int = Field(5, ge=1, le=50, description="wavelengths at which the zero point is stated, evenly over the range")


class ZeroPoint(MonitoringAlg[ZeroPointParams]):
    """Measures the zero point of a flux calibration, and the scatter of the standard stars about it.

    Formula: zero_point = -2.5 lg(f w^2 / c) - 48.60, mag, f = 1e-17 / calibration erg/(s cm2 Angstrom), the flux that gives one electron per second
    and Angstrom at the wavelength w. fluxcal_rms, fluxcal_held_out = sqrt(sum W d^2 / sum W), d = star / response - 1 of the bins that were fitted,
    or held out, W = 1 / (relative error^2 + 0.01^2); fluxcal_used = fitted bins / bins that were to be fitted; fluxcal_stars = number of spectra;
    fluxcal_assumed = 1 where airmass or extinction had to be assumed.
    Source: AB magnitudes: Oke & Gunn 1983, ApJ 266, 713. The error is told by the bins that were held out of the fit.
    """

    name = "zero_point"
    group = "Spectra"
    metrics = (ZERO, RMS, HELD, USED, STARS, ASSUMED)

    def measure(self, calibration: FluxCalib, fit: FluxCalFit) -> Measures:
        """Of the calibration that `fit_fluxcal` has made."""
        low, high = float(calibration.wave[0]), float(calibration.wave[-1])
        wave = [round(w) for w in np.linspace(low, high, self.params.places + 2)[1:-1]]
        curve = calibration.calib if calibration.calib.ndim == 1 else np.median(calibration.calib, axis=0)
        zero = ab_zero_point(np.array(wave, np.float64), np.interp(wave, calibration.wave, curve))
        fitted, tried = int((fit.use == FITTED).sum()), int(((fit.use == FITTED) | (fit.use == CLIPPED)).sum())
        metrics = (
            measured(ZERO.name, zero, wave=wave),
            _scatter(RMS, fit, FITTED),
            _scatter(HELD, fit, HELD_OUT) if (fit.use == HELD_OUT).any() else not_applicable(HELD.name, "nothing was held out of the fit"),
            scalar(USED, fitted / tried if tried else math.nan),
            scalar(STARS, len(fit.stars), ", ".join(fit.stars)),
            scalar(ASSUMED, float(bool(fit.assumed)), "; ".join(fit.assumed)),
        )
        facts = {"pairmass": calibration.pairmass, "by_lamp": fit.by_lamp, "assumed": "; ".join(fit.assumed) or None}
        return Measures(metrics, plots=(_plot(fit),), facts=facts)


def ab_zero_point(wave: Float64, calib: Float64) -> Float64:
    """AB magnitude of one electron per second and Angstrom: F_lambda = 1e-17 / calib, F_nu = F_lambda wave^2 / c. NaN where calib is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = np.where(calib > 0, 1e-17 / calib * wave**2 / _LIGHT, np.nan)
        return np.asarray(-2.5 * np.log10(flux) - _AB)


def _residual(fit: FluxCalFit) -> Float64:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(fit.ratio / fit.model - 1.0)


def _scatter(definition: MetricDef, fit: FluxCalFit, which: int) -> Measured:
    """Weighted by the errors of the bins: at the ends of a camera a star gives hardly any light."""
    values = _residual(fit)
    own = (fit.use == which) & np.isfinite(values) & np.isfinite(fit.error)
    if not own.any():
        return scalar(definition, math.nan, "no bin can be used")
    weight = 1.0 / ((fit.error[own] / fit.ratio[own]) ** 2 + _FLOOR**2)
    worst = int(np.argmax(np.abs(values[own]) * np.sqrt(weight)))
    remark = f"{values[own][worst]:+.3f} at {fit.wave[own][worst]:.0f} Angstrom"
    return scalar(definition, float(np.sqrt(np.sum(weight * values[own] ** 2) / weight.sum())), remark)


def _plot(fit: FluxCalFit) -> Plot:
    wave = Axis(label="wavelength", unit="Angstrom")
    response, residual, off = [], [], _residual(fit)
    for name, which in (("fitted", FITTED), ("held out", HELD_OUT), ("left out", CLIPPED), ("masked", MASKED)):
        own = (fit.use == which) & np.isfinite(fit.ratio)
        if own.any():
            response.append(Scatter(x=fit.wave[own], y=fit.ratio[own], label=name))
        if (own & np.isfinite(off)).any():
            residual.append(Scatter(x=fit.wave[own & np.isfinite(off)], y=off[own & np.isfinite(off)], label=name))
    known = np.isfinite(fit.model)
    line = Line(x=fit.wave[known], y=fit.model[known], label="response")
    y = Axis(label="response", unit="1e17 electron cm2 / erg", range=(0.0, None))
    panels = (
        Panel(x=wave, y=y, layers=(*response, line), title="Response"),
        Panel(x=wave, y=Axis(label="star / response - 1", range=(-0.15, 0.15)), layers=tuple(residual), title="What is left"),
    )
    return Plot(name="zero_point", title="Flux calibration", panels=panels)
