"""The resolving power of each fibre from the lines of an arc, against the reference arc."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.gaps import gaps
from qa.values import numbered, scalar
from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.arrays import Float64
from quicklook.ccd.calibs import ReferenceArc
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_FEW = "too few of its lines could be measured"
_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))

POWER = MetricDef("resolution", "", doc="Resolving power: wavelength over the full width at half maximum of the lines, median over lines and fibres.")
EACH = MetricDef("fiber_resolution", "", dims=("fiber",), doc="Resolving power of each fibre, median over the lines of the arc.")
RATIO = MetricDef("fiber_resolution_ratio", "", dims=("fiber",), doc="Resolving power of each fibre over that of the reference arc, median.")
BLURRED = MetricDef(
    "blurred_fibers", "", doc="Part of the fibres that have lost a tenth of their resolving power against the reference and against the median fibre."
)  # fmt: skip


class ArcResolutionParams(Params):
    """Parameters of `arc_resolution`."""

    lost: float = Field(0.1, gt=0, lt=1, description="a fibre is blurred where it lost more than this part of its resolving power")
    min_lines: int = Field(3, ge=1, description="a fibre with fewer measured lines is not measured")


class ArcResolution(MonitoringAlg[ArcResolutionParams]):
    """States the resolving power of each fibre from the lines of the arc, against the reference arc.

    Line by line, so that it does not matter which lines were seen. A change that all fibres share is `arc_width_ratio`.
    Formula: R = w / (2.3548 sigma), w the wavelength and sigma that of a Gaussian fitted to a line (Angstrom, the pixel taken out):
    fiber_resolution = median of R over the lines of a fibre, resolution = median over the fibres. fiber_resolution_ratio = median over the lines of
    sigma of the reference / sigma; blurred_fibers = part of the fibres with a ratio below (1 - `lost`) of the median one. No error is
    stated; a fibre with fewer than `min_lines` lines is not measured.
    Source: resolving power by its standard definition, w over the full width at half maximum, 2 sqrt(2 ln 2) sigma. It stands for CHECKARC
    (Check_Resolution) of DESI's quick-look, which has the coefficients of the widths.
    """

    name = "arc_resolution"
    group = "Spectra"
    metrics = (POWER, EACH, RATIO, BLURRED)

    def measure(self, arc: ArcAreas, reference: ReferenceArc | None) -> Measures:
        """Of the lines that were well measured; NaN for fibres with fewer than `min_lines` of them. Without a reference arc the power alone."""
        power = self._medians(arc.wave / (_FWHM * arc.sigma))
        known = np.isfinite(power)
        middle = float(np.median(power[known])) if known.any() else math.nan
        fiber = [int(f) for f in arc.fiber]
        total = scalar(POWER, middle, "" if known.any() else f"no fibre has {self.params.min_lines} lines")
        told = measured(EACH.name, power, fiber=fiber, remarks=gaps(power, fiber, why=_FEW))
        each = told if known.any() else not_applicable(EACH.name, "no fibre has enough lines")
        ratio, blurred, old = self._against(arc, reference)
        facts = {"lines": int(np.isfinite(arc.sigma).any(axis=0).sum())}
        return Measures((total, each, ratio, blurred), plots=(_plot(arc, power, old),), facts=facts)

    def _medians(self, values: Float64) -> Float64:
        """Median over the lines of each fibre, NaN of fibres with too few."""
        count = np.isfinite(values).sum(axis=1)
        ordered = np.sort(values, axis=1)  # NaN last
        rows = np.arange(len(values))
        middle = 0.5 * (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, values.shape[1] - 1)])
        return np.asarray(np.where(count >= self.params.min_lines, middle, np.nan))

    def _against(self, arc: ArcAreas, reference: ReferenceArc | None) -> tuple[Measured, Measured, Float64 | None]:
        """Ratio by fibre, part of blurred fibres, and resolving power [nfibre] of the reference."""
        why = "there is no reference arc (`quicklook calib build refarc` makes one)"
        if reference is not None:
            _, own, other = np.intersect1d(arc.fiber, reference.fiber, return_indices=True)
            _, line, its = np.intersect1d(arc.wave, reference.wave, return_indices=True)
            why = "the reference arc is of other fibres or other lines"
            if own.size and line.size:
                then, now = reference.sigma[np.ix_(other, its)], arc.sigma[np.ix_(own, line)]
                ratio = self._medians(then / now)
                known = np.isfinite(ratio)
                if known.any():
                    blurred = known & (ratio < (1.0 - self.params.lost) * np.median(ratio[known]))
                    old = np.full(arc.fiber.shape, np.nan)
                    old[own] = self._medians(arc.wave[line] / (_FWHM * then))
                    part = scalar(BLURRED, float(blurred.sum() / known.sum()), numbered("fibre", arc.fiber[own][blurred]))
                    numbers = [int(f) for f in arc.fiber[own]]
                    return measured(RATIO.name, ratio, fiber=numbers, remarks=gaps(ratio, numbers, why=_FEW)), part, old
        return not_applicable(RATIO.name, why), not_applicable(BLURRED.name, why), None


def _plot(arc: ArcAreas, power: Float64, old: Float64 | None) -> Plot:
    fibre = np.asarray(arc.fiber, np.float64)
    seen = np.isfinite(power)
    layers: tuple[Scatter | Line, ...] = (Scatter(x=fibre[seen], y=power[seen], label="this arc"),)
    if old is not None and np.isfinite(old).any():
        layers = (*layers, Line(x=fibre, y=old, label="reference arc"))
    by_line = [np.median(s[np.isfinite(s)]) if np.isfinite(s).any() else np.nan for s in (arc.wave / (_FWHM * arc.sigma)).T]
    y = Axis(label="resolving power")
    told = np.isfinite(by_line)
    wave, lines = Axis(label="wavelength", unit="Angstrom"), (Scatter(x=arc.wave[told], y=np.array(by_line)[told]),)
    panels = (
        Panel(x=Axis(label="fibre"), y=y, layers=layers, title="Of each fibre"),
        Panel(x=wave, y=y, layers=lines, title="Of each line, median over fibres"),
    )
    return Plot(name="arc_resolution", title=f"Resolving power, camera {arc.camera}", panels=panels, columns=2)
