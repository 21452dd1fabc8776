"""The light of each fibre in a flat against the reference flat: a lamp that fades, fibres that lose light."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.values import numbered, row_medians, scalar
from quicklook.ccd.calibs import ReferenceFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

LEVEL = MetricDef("flat_level", "", doc="Light of the fibres per second over that of the reference flat, median over the fibres.")
SCATTER = MetricDef("flat_level_scatter", "", doc="Robust scatter over the fibres of their light over that of the reference flat, relative.")
CHANGED = MetricDef("flat_fibers_changed", "", doc="Part of the fibres whose light over the reference flat departs from that of the others.")


class FlatLevelParams(Params):
    """Parameters of `flat_level`."""

    changed: float = Field(0.1, gt=0, description="a fibre has changed where its light departs by more than this part of the others'")


class FlatLevel(MonitoringAlg[FlatLevelParams]):
    """Compares the level of every fibre in a flat exposure with the reference flat."""

    name = "flat_level"
    group = "Fibres"
    metrics = (LEVEL, SCATTER, CHANGED)

    def measure(self, frame: Frame, exposure: Exposure, reference: ReferenceFlat | None) -> Measures:
        """Of the fibres that both have. Raises NotApplicable where there is no reference flat, or no exposure time."""
        if reference is None:
            raise NotApplicable("there is no reference flat (`quicklook calib build refflat` makes one)")
        if not (math.isfinite(exposure.exptime) and exposure.exptime > 0):
            raise NotApplicable(f"the exposure time is {exposure.exptime} s")
        fiber, own, other = np.intersect1d(frame.fibermap.fiber, reference.fiber, return_indices=True)
        level = row_medians(frame.flux, (frame.mask == 0) & (frame.ivar > 0))[own] / exposure.exptime
        lit = np.isfinite(reference.level[other]) & (reference.level[other] > 0)
        ratio = np.where(lit, level / np.where(lit, reference.level[other], 1.0), np.nan)
        known = np.isfinite(ratio)
        if not known.any():
            raise NotApplicable("no fibre has light in the flat and a level in the reference flat")
        middle = float(np.median(ratio[known]))
        relative = ratio / middle if middle > 0 else np.full(ratio.shape, math.nan)
        moved = lit & ~(np.abs(relative - 1.0) <= self.params.changed)
        scatter = 1.4826 * float(np.median(np.abs(relative[known] - 1.0)))
        metrics = (
            scalar(LEVEL, middle),
            scalar(SCATTER, scatter),
            scalar(CHANGED, float(moved.sum() / lit.sum()), numbered("fibre", fiber[moved])),
        )
        layer = Scatter(x=np.asarray(fiber[known], np.float64), y=ratio[known])
        panel = Panel(x=Axis(label="fibre"), y=Axis(label="over reference"), layers=(layer,), title="Light by fibre")
        plot = Plot(name="flat_level", title=f"Fibres against the reference flat, camera {frame.camera}", panels=(panel,))
        return Measures(metrics, plots=(plot,), facts={"fibers": int(known.sum())})
