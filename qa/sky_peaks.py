"""How bright the emission lines of the sky are in the sky fibres."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.gaps import gaps
from qa.skyrows import reach, seconds, sky_rows
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_EDGE = 8.0
_MIN = 3
_SEEN = 10.0
_KNOWN, _SURE = 0.03, 3.0
"""Where noise alone makes a larger scatter than the first, it is stated if it is so many times that: of some ten fibres it is known badly."""

PEAKS = MetricDef("sky_peak", "electron/s", dims=("line",), doc="Light of an emission line of the sky in a sky fibre, median over the sky fibres.")
EACH = MetricDef("sky_peak_fibers", "electron/s", dims=("line", "fiber"), doc="Light of an emission line of the sky in each sky fibre.")
SCATTER = MetricDef(
    "sky_peak_scatter", "", dims=("line",),
    doc="Scatter of the light of a line over the sky fibres beyond its noise, over its median: unlike throughput that the flat does not see.",
)  # fmt: skip


class SkyPeaksParams(Params):
    """Parameters of `sky_peaks`."""

    lines: tuple[float, ...] = Field(
        (3914.4, 5578.9, 6301.9, 7342.8, 8432.4, 9378.5), description="lines that are measured where the camera covers them, vacuum [Angstrom]"
    )
    half: int = Field(4, ge=3, le=20, description="half width of the window, samples")


class SkyPeaks(MonitoringAlg[SkyPeaksParams]):
    """Measures the light of named emission lines in each sky fibre before the sky is subtracted.

    A level, a shift and an excess of width are fitted too, so that small errors of wavelength and focus do not change it.
    Formula: sky_peak_fibers = A / exposure time, electron/s, of the least-squares fit A G + B dG/dc + C dG/dv + level to the samples about the
    line, G the Gaussian of the line-spread function (centre c, variance v, area 1), with the error of A from the fit. sky_peak = median over the
    sky fibres; sky_peak_scatter = sqrt(max((1.4826 MAD)^2 - (median error)^2, 0)) / sky_peak, of lines that are seen in single fibres; where noise
    alone makes more than 0.03 of it, of those that scatter by thrice that.
    Source: it stands for PEAKCOUNT (Sky_Peaks) of DESI's quick-look, whose lines these are: N2+ 3914.4 (aurora, none in quiet nights), [O I] 5578.9
    and 6301.9, OH 7342.8, 8432.4, 9378.5.
    """

    name = "sky_peaks"
    group = "Spectra"
    metrics = (PEAKS, EACH, SCATTER)

    def measure(self, frame: Frame, sky: SkyModel, exposure: Exposure) -> Measures:
        """Of flat-fielded spectra. Raises NotApplicable where no line falls on the camera or it has no sky fibre, BadData without exposure time."""
        rows = sky_rows(frame, sky, rejected=True)
        time, (low, high) = seconds(exposure.exptime), reach(frame, rows)
        lines = np.array([w for w in self.params.lines if low + _EDGE < w < high - _EDGE])
        if not lines.size:
            raise NotApplicable(f"none of the lines lies between {low:.0f} and {high:.0f} Angstrom, the range of this camera")
        area, error = self._areas(frame, rows, lines, time)
        fiber = [int(f) for f in frame.fibermap.fiber[rows]]
        names = [float(w) for w in lines]
        median = [_median(a) for a in area]
        told: dict[Coord | tuple[Coord, ...], str] = {
            n: f"in {int(np.isfinite(a).sum())} of {rows.size} sky fibres" for n, a in zip(names, area, strict=True) if not np.isfinite(a).all()
        }
        spread, why = _scatters(names, area, error)
        metrics = (
            measured(PEAKS.name, median, line=names, remarks=told),
            measured(EACH.name, area, line=names, fiber=fiber, remarks=gaps(area, names, fiber, why="the line could not be fitted")),
            measured(SCATTER.name, list(spread.values()), line=list(spread)) if spread else not_applicable(SCATTER.name, why),
        )
        beyond = ", ".join(f"{w:.1f}" for w in self.params.lines if w not in names)
        return Measures(metrics, plots=(_plot(frame, rows, names, area),), facts={"not_covered": beyond or "none", "faint": why or "none"})

    def _areas(self, frame: Frame, rows: Raw, lines: Float64, time: float) -> tuple[Float64, Float64]:
        """Light of every line in every sky fibre and its error, electron/s [nline, nfibre], NaN where it could not be fitted."""
        from qa.kernels import gaussians

        out = np.empty((6, lines.size, rows.size))
        gaussians.in_spectra(frame.flux, frame.ivar, frame.mask, frame.wave, frame.sigma, rows, lines, self.params.half, out)
        fitted = out[3] > 0
        return np.where(fitted, out[0], np.nan) / time, np.where(fitted, np.sqrt(out[3]), np.nan) / time


def _median(values: Float64) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size >= _MIN else math.nan


def _scatters(names: list[float], area: Float64, error: Float64) -> tuple[dict[float, float], str]:
    """Relative scatter beyond the noise of the lines that stand out of it, and in words which do not, or scatter as noise may make them."""
    found, faint = {}, []
    for name, a, e in zip(names, area, error, strict=True):
        known = np.isfinite(a)
        if known.sum() < _MIN or not np.median(a[known]) > _SEEN * np.median(e[known]):
            faint.append(f"{name:.1f}")
            continue
        middle = float(np.median(a[known]))
        spread, noise = 1.4826 * float(np.median(np.abs(a[known] - middle))), float(np.median(e[known]))
        if noise > _KNOWN * middle and spread < _SURE * noise:
            faint.append(f"{name:.1f}")
            continue
        found[name] = math.sqrt(max(spread**2 - noise**2, 0.0)) / middle
    return found, f"{', '.join(faint)} Angstrom: too faint in single fibres" if faint else ""


def _plot(frame: Frame, rows: Raw, names: list[float], area: Float64) -> Plot:
    number = np.asarray(frame.fibermap.fiber[rows], np.float64)
    layers = tuple(
        Scatter(x=number[np.isfinite(a)], y=(a / m)[np.isfinite(a)], label=f"{n:.1f} Angstrom")
        for n, a, m in zip(names, area, (_median(a) for a in area), strict=True)
        if math.isfinite(m) and m > 0
    )
    panel = Panel(x=Axis(label="fibre"), y=Axis(label="light of the line / median"), layers=layers, title="Lines of the sky in the sky fibres")
    return Plot(name="sky_peaks", title=f"Peaks of the sky, camera {frame.camera}", panels=(panel,))
