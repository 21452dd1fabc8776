"""How far the wavelengths of a slit were off the sky lines."""

from __future__ import annotations

import math

import numpy as np

from qa.values import scalar
from quicklook.ccd.slit import SlitShift
from quicklook.core.metrics import Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

SHIFT = MetricDef("slit_wave_shift", "pixel", doc="Shift of the sky lines of a slit against its wavelengths, taken off by `slit_flexure`.")
LINES = MetricDef("slit_wave_lines", "", doc="Number of sky lines that the shift rests on.")
DOUBT = MetricDef(
    "slit_wave_doubt", "pixel",
    doc="Shift that sky lines of a slit suggest, which `slit_flexure` has not taken off: they are too few, scatter too much, or lie too far.",
)  # fmt: skip


class SlitWavelengthsParams(Params):
    """Nothing to set."""


class SlitWavelengths(MonitoringAlg[SlitWavelengthsParams]):
    """Reports the shift of the sky lines of a slit; where there are too few lines to tell, what they suggest, if anything.

    Formula: slit_wave_shift = median over the sky lines of measured - expected place, pixel, each the centroid of a line that stands out of the
    median sky spectrum (`slit_flexure`); its error is 1.25 x 1.4826 MAD / sqrt(lines), stated in the remark. slit_wave_lines = lines within four
    scatters of that median; slit_wave_doubt = the median of at least two lines where the shift is not taken off.
    Source: own definition: a median of centroids; 1.25 is sqrt(pi/2), the error of a median over that of a mean.
    """

    name = "slit_wavelengths"
    group = "Spectra"
    metrics = (SHIFT, LINES, DOUBT)

    def measure(self, shift: SlitShift) -> Measures:
        """Of what `slit_flexure` has measured."""
        if not math.isfinite(shift.shift):
            why = shift.remark or "it could not be measured"
            known = math.isfinite(shift.suggested)
            doubt = scalar(DOUBT, shift.suggested, f"not taken off: {why}") if known else not_applicable(DOUBT.name, why)
            return Measures((not_applicable(SHIFT.name, why), not_applicable(LINES.name, why), doubt), plots=(_plot(shift),))
        lines = int(np.count_nonzero(shift.used))
        metrics = (
            scalar(SHIFT, shift.shift, f"known to {shift.error:.3f} pixel, by {lines} lines"),
            scalar(LINES, lines),
            not_applicable(DOUBT.name, "the shift is measured, and taken off"),
        )
        return Measures(metrics, plots=(_plot(shift),), facts={"error": shift.error})


def _plot(shift: SlitShift) -> Plot:
    layers: list[Line | Scatter] = []
    for name, own in (("used", shift.used), ("left out", ~shift.used)):
        seen = own & np.isfinite(shift.off)
        if seen.any():
            layers.append(Scatter(x=shift.line[seen], y=shift.off[seen], label=name))
    if layers and math.isfinite(shift.shift):
        layers.append(Line(x=np.array([shift.line.min(), shift.line.max()]), y=np.full(2, shift.shift), label=f"shift {shift.shift:+.3f} pixel"))
    title = "Sky lines" if math.isfinite(shift.shift) else f"Sky lines: {shift.remark}"
    x, y = Axis(label="wavelength", unit="Angstrom"), Axis(label="shift", unit="pixel")
    panel = Panel(x=x, y=y, layers=tuple(layers), title=title, metric=SHIFT.name)
    return Plot(name="slit_wavelengths", title=f"Wavelengths of the slit, camera {shift.camera}", panels=(panel,))
