"""A wavelength solution made from an arc: how many lines it rests on, how well it passes through them, how certain it is."""

from __future__ import annotations

import math

import numpy as np

from qa.values import scalar
from quicklook.ccd.lineid import LineIdentification
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

LINES = MetricDef("wave_lines", "", doc="Lines of an arc in the wavelength solution of a fibre, median over the fibres that have any.")
RMS = MetricDef("wave_rms", "pixel", doc="rms of the lines of a fibre about its wavelength solution, median over the fibres.")
WORST = MetricDef("wave_rms_max", "pixel", doc="The largest rms of the lines of a fibre about its wavelength solution.")
BRIGHT = MetricDef("bright_lines_matched", "", doc="Fraction of the brightest lines of an arc that were identified.")
LAMPS = MetricDef("lamp_lines", "", dims=("lamp",), doc="Identified lines of each lamp that has bright lines in the range of the camera.")
CERTAINTY = MetricDef(
    "wave_certainty", "", doc="Decades by which the identification is less probable by chance than 1, or than the next best one, whichever is less."
)
LSF = MetricDef("line_sigma", "pixel", doc="Gaussian sigma of the lines of an arc along the dispersion, median over lines and fibres.")
WITHOUT = MetricDef("wave_fibers_without", "", doc="Fraction of the fibres without a line: their wavelengths are those of their neighbours.")

_FIBRE = Axis(label="fibre")
_WAVE = Axis(label="wavelength", unit="Angstrom")


class WavelengthSolutionParams(Params):
    """Nothing to set."""


class WavelengthSolution(MonitoringAlg[WavelengthSolutionParams]):
    """Reports on how many identified lines of the arc a wavelength solution rests, how well it fits them, and how certain the identification is.

    Formula: wave_lines, wave_rms = medians over the fibres of the number of lines and of their rms about the solution / dispersion, pixel;
    wave_rms_max = the largest; line_sigma = median Gaussian sigma of the lines, pixel; lamp_lines = identified lines of an element;
    bright_lines_matched = brightest lines that were identified / brightest lines; wave_fibers_without = fibres without a line / fibres.
    wave_certainty = min(-p, q - p), p = log10 of the number of wavelength scales that would meet as many lines of the list by chance (scales tried
    x binomial probability), q the same for the next best scale.
    Source: own definition: rms in the usual sense, the binomial distribution for the chance.
    """

    name = "wavelength_solution"
    group = "Spectra"
    metrics = (LINES, RMS, WORST, BRIGHT, LAMPS, CERTAINTY, LSF, WITHOUT)

    def measure(self, lines: LineIdentification) -> Measures:
        """rms in pixels, so that limits hold for any spectrograph; in Angstrom as a fact."""
        has = lines.nlines > 0
        why = "" if has.any() else "no fibre has a line"
        pixel = lines.rms / abs(lines.dispersion)
        worst = int(np.nanargmax(np.where(has, pixel, -1.0))) if has.any() else 0
        middle = _median(lines.rms[has])
        metrics = (
            scalar(LINES, _median(lines.nlines[has]), why),
            scalar(RMS, _median(pixel[has]), why or f"{middle:.3g} Angstrom"),
            scalar(WORST, float(pixel[worst]) if has.any() else math.nan, why or f"fibre {int(lines.fiber[worst])}: {lines.rms[worst]:.3g} Angstrom"),
            scalar(BRIGHT, lines.bright_matched),
            _lamps(lines),
            scalar(CERTAINTY, min(-lines.chance, lines.rival - lines.chance)),
            scalar(LSF, _median(lines.sigma[np.isfinite(lines.sigma)]), "" if np.isfinite(lines.sigma).any() else "no line was measured"),
            scalar(WITHOUT, float(np.mean(~has))),
        )
        facts = {
            "lamps_without_bright_lines": ", ".join(lines.faint_lamps) or None,
            "lamps_not_described": ", ".join(lines.other_lamps) or None,
            "rms_angstrom": middle if has.any() else None,
            "dispersion": lines.dispersion,
            "degree": lines.degree,
            "found": len(lines.row),
        }
        return Measures(metrics, plots=(_plot(lines),), facts=facts)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else math.nan


def _lamps(lines: LineIdentification) -> Measured:
    if not lines.by_lamp:
        return not_applicable(LAMPS.name, "no lamp has bright lines in the range of this camera")
    remarks: dict[Coord | tuple[Coord, ...], str] = {lamp: "none of its lines was found: is it on?" for lamp, n in lines.by_lamp.items() if n == 0}
    faint = f"{', '.join(lines.faint_lamps)}: no bright line in the range of this camera, none was found" if lines.faint_lamps else ""
    other = f"{', '.join(lines.other_lamps)}: lit, and not among the lamps of the description; add them (spectra.lamps)" if lines.other_lamps else ""
    if faint or other:
        remarks[()] = "; ".join(filter(None, (faint, other)))
    return measured(LAMPS.name, [float(n) for n in lines.by_lamp.values()], lamp=tuple(lines.by_lamp), remarks=remarks)


def _plot(lines: LineIdentification) -> Plot:
    known = np.isfinite(lines.wave)
    fibre = np.asarray(lines.fiber, np.float64)
    peak = np.log10(np.maximum(lines.height[known], 1.0))
    residual = Scatter(x=lines.wave[known], y=lines.residual[known], c=peak, c_axis=Axis(label="log10 peak [e]"))
    each = Scatter(x=fibre, y=lines.rms / abs(lines.dispersion))
    width = Scatter(x=lines.wave[known], y=lines.sigma[known])
    light = (
        Scatter(x=lines.row[known], y=np.maximum(lines.height[known], 1.0), label="identified"),
        Scatter(x=lines.row[~known], y=np.maximum(lines.height[~known], 1.0), label="not identified"),
    )
    panels = (
        Panel(x=_WAVE, y=Axis(label="residual", unit="Angstrom"), layers=(residual,), title="Lines about the solution, median over the fibres"),
        Panel(x=_FIBRE, y=Axis(label="rms", unit="pixel"), layers=(each,), title="Fibres", metric=RMS.name),
        Panel(x=_WAVE, y=Axis(label="sigma", unit="pixel"), layers=(width,), title="Width of lines", metric=LSF.name),
        Panel(x=Axis(label="row", unit="pixel"), y=Axis(label="peak", unit="electron", log=True), layers=light, title="Lines that were found"),
    )
    return Plot(name="wavelength_solution", title=f"Wavelength solution, camera {lines.camera}", panels=panels, columns=2)
