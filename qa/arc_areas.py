"""The lines of an arc against the reference arc: lamps that fade, lines that go, fibres that lose light, focus that changes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from qa.values import numbered, scalar
from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.arrays import Float64
from quicklook.ccd.calibs import ReferenceArc
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

LEVEL = MetricDef("arc_level", "", dims=("lamp",), doc="Light of the lines of an element over that of the reference arc, median of lines and fibres.")
LINES = MetricDef("arc_lines_changed", "", doc="Number of lines whose light over the reference departs from that of the others of their element.")
LOST = MetricDef("arc_lines_lost", "", doc="Number of lines of the reference arc that no fibre shows.")
FIBERS = MetricDef("arc_fibers_changed", "", doc="Part of the fibres whose light over the reference departs from that of the others.")
WIDTH = MetricDef("arc_width_ratio", "", doc="Width of the lines over that of the reference arc, median over lines and fibres.")
_OVER = Axis(label="over reference")
_NONE = "no line was measured in both"


class ArcAreasParams(Params):
    """Parameters of `arc_areas`."""

    changed: float = Field(0.2, gt=0, description="a line or a fibre has changed where its light departs by more than this part of the others'")


class ArcAreasQa(MonitoringAlg[ArcAreasParams]):
    """Compares the light and the width of the lines of an arc with the reference arc: lamps that fade, lines that go, fibres that lose light, focus.

    Formula: r = area (electron/s, of a fitted Gaussian) over that of the same line and fibre in the reference; r_line = median of r over the
    fibres. arc_level = median of r_line over the lines of an element; arc_lines_changed = number of lines with |r_line / arc_level - 1| >
    `changed`; arc_lines_lost = lines of the reference that no fibre shows; arc_fibers_changed = part of the fibres whose median over the lines of r
    / r_line is off 1 by more than `changed`, or not known; arc_width_ratio = median of sigma / sigma of the reference. No error is stated.
    Source: own definition: medians, each relative to the next wider one, so that a lamp, a line and a fibre that change are told apart.
    """

    name = "arc_areas"
    group = "Spectra"
    metrics = (LEVEL, LINES, LOST, FIBERS, WIDTH)

    def measure(self, arc: ArcAreas, reference: ReferenceArc | None) -> Measures:
        """Of the lines and fibres that both have. Raises NotApplicable where there is no reference arc, or it is of other lines or fibres."""
        if reference is None:
            raise NotApplicable("there is no reference arc (`quicklook calib build refarc` makes one)")
        _, own, other = np.intersect1d(arc.fiber, reference.fiber, return_indices=True)
        wave, line, its = np.intersect1d(arc.wave, reference.wave, return_indices=True)
        if not (own.size and wave.size):
            raise NotApplicable("the reference arc is of other fibres or other lines")
        light = arc.area[np.ix_(own, line)] / reference.area[np.ix_(other, its)]
        width = arc.sigma[np.ix_(own, line)] / reference.sigma[np.ix_(other, its)]
        lamps = [re.split(r"[\W_]", arc.name[i])[0] for i in line]
        names = list(dict.fromkeys(lamps))
        by_line = medians(light, 0)
        level = {n: _middle(by_line[[lamp == n for lamp in lamps]]) for n in names}
        relative = by_line / np.array([level[lamp] for lamp in lamps])
        changed = np.abs(relative - 1.0) > self.params.changed
        by_fiber = medians(light / by_line, 1)
        moved = np.isfinite(reference.area[other][:, its]).any(axis=1) & ~(np.abs(by_fiber - 1.0) <= self.params.changed)
        lost = np.flatnonzero(np.isnan(by_line) & np.isfinite(reference.area[other][:, its]).any(axis=0))
        metrics = (
            measured(LEVEL.name, [level[n] for n in names], remarks={n: _NONE for n in names if math.isnan(level[n])}, lamp=names),
            scalar(LINES, int(changed.sum()), _waves(wave[changed])),
            scalar(LOST, len(lost), _waves(wave[lost])),
            scalar(FIBERS, float(moved.mean()), numbered("fibre", arc.fiber[own][moved])),
            scalar(WIDTH, _middle(width.ravel()), "" if np.isfinite(width).any() else _NONE),
        )
        place = Axis(label="wavelength", unit="Angstrom")
        panels = (
            Panel(x=place, y=_OVER, layers=(_points(wave, by_line),), title="Light by line"),
            Panel(x=Axis(label="fibre"), y=_OVER, layers=(_points(arc.fiber[own], by_fiber),), title="Light by fibre"),
            Panel(x=place, y=_OVER, layers=(_points(wave, medians(width, 0)),), title="Width by line"),
        )
        plot = Plot(name="arc_areas", title=f"Lines against the reference arc, camera {arc.camera}", panels=panels, columns=3)
        return Measures(metrics, plots=(plot,), facts={"lines": int(wave.size)})


def _middle(values: Float64) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else math.nan


def medians(values: Float64, axis: int) -> Float64:
    """Medians of the finite values along an axis; NaN where there is none."""
    return np.array([_middle(v) for v in (values.T if axis == 0 else values)])


def _waves(waves: Float64) -> str:
    return ", ".join(f"{w:.1f}" for w in waves[:10]) + (" Angstrom" if len(waves) else "")


def _points(x: Sequence[float] | Float64, y: Float64) -> Scatter:
    place = np.asarray(x, np.float64)
    seen = np.isfinite(y)
    return Scatter(x=place[seen], y=y[seen])
