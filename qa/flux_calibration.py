"""What a flux calibration was carried over from: the air and the seeing of the exposure, and what had to be assumed."""

from __future__ import annotations

import math

import numpy as np

from qa.values import scalar
from quicklook.ccd.arrays import Float64
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FluxCalib, Frame
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg, NoParams

ASSUMED = MetricDef("assumptions", "", doc="1 where something had to be assumed for the spectra, because nobody stated it; else 0.", flag=True)
CHANGE = MetricDef(
    "fluxcal_change", "mag",
    doc="Median change of the flux calibration by the airmass and the seeing that the exposure states; fainter is positive.",
)  # fmt: skip


class FluxCalibration(MonitoringAlg[NoParams]):
    """Says what was assumed for the flux calibration, and measures how far airmass and seeing carry it.

    Formula: fluxcal_change = median over wavelength of sterm (SEEING - pseeing) + aterm (AIRMASS - pairmass), mag, of what the exposure states;
    assumptions = 1 where something had to be assumed, else 0. No error: the calibration states none of its terms.
    Source: DESI data model, files of flux calibrations (aterm, sterm, pairmass, pseeing).
    """

    name = "flux_calibration"
    group = "Spectra"
    metrics = (ASSUMED, CHANGE)

    def measure(self, frame: Frame, fluxcal: FluxCalib, exposure: Exposure) -> Measures:
        """Of calibrated spectra; no change is stated for a calibration without terms."""
        assumed = scalar(ASSUMED, float(bool(frame.assumed)), "assumed " + "; ".join(frame.assumed) if frame.assumed else "")
        facts = {"airmass": exposure.airmass, "seeing": exposure.seeing, "pairmass": fluxcal.pairmass, "pseeing": fluxcal.pseeing}
        plot = _plot(fluxcal, _total(fluxcal, exposure))
        return Measures((assumed, _change(fluxcal, exposure)), plots=(plot,), facts=facts)


def _total(fluxcal: FluxCalib, exposure: Exposure) -> Float64 | None:
    """sterm (SEEING - pseeing) + aterm (AIRMASS - pairmass), of what the exposure states, mag [nwave]; None where neither is told.

    Source: DESI data model, fluxcalib files.
    """
    terms = ((fluxcal.aterm, exposure.airmass, fluxcal.pairmass), (fluxcal.sterm, exposure.seeing, fluxcal.pseeing))
    told = [(np.asarray(t, np.float64), v - at) for t, v, at in terms if t is not None and v is not None]
    return sum((t * by for t, by in told), np.zeros(fluxcal.wave.shape)) if told else None


def _change(fluxcal: FluxCalib, exposure: Exposure) -> Measured:
    total = _total(fluxcal, exposure)
    if total is None:
        return not_applicable(CHANGE.name, "the calibration has no terms of airmass and seeing, or the exposure states neither")
    known = total[np.isfinite(total)]
    where = f"airmass {_words(exposure.airmass)}, seeing {_words(exposure.seeing)}; the calibration is of {fluxcal.pairmass:g}, {fluxcal.pseeing:g}"
    return scalar(CHANGE, float(np.median(known)) if known.size else math.nan, where)


def _words(value: float | None) -> str:
    return "not stated" if value is None else f"{value:g}"


def _plot(fluxcal: FluxCalib, total: Float64 | None) -> Plot:
    """At every tenth wavelength: the curves are smooth."""
    wave = fluxcal.wave[::10]
    curve = fluxcal.calib[len(fluxcal.calib) // 2] if fluxcal.calib.ndim == 2 else fluxcal.calib
    title = "Calibration of the fibre in the middle" if fluxcal.calib.ndim == 2 else "Calibration"
    x, y = Axis(label="wavelength", unit="Angstrom"), Axis(label="calibration", unit="1e17 electron cm2 / erg", range=(0.0, None))
    panels = [Panel(x=x, y=y, layers=(Line(x=wave, y=curve[::10]),), title=title)]
    if total is not None:
        change = Axis(label="change", unit="mag")
        panels.append(Panel(x=x, y=change, layers=(Line(x=wave, y=total[::10]),), title="Change by airmass and seeing"))
    return Plot(name="flux_calibration", title="Flux calibration", panels=tuple(panels))
