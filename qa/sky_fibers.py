"""Sky fibres that see something else than the sky."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from qa.targets import in_blocks, on_focal_plane
from qa.values import numbered, scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

EXCESS = MetricDef(
    "sky_fiber_excess", "", dims=("fiber",), doc="Light of a sky fibre beyond the model of the sky, over the sky: 0 where it sees the sky alone."
)
PART = MetricDef("contaminated_sky_fibers", "", doc="Part of the sky fibres that see light of something else than the sky.")


class SkyFibersParams(Params):
    """Parameters of `sky_fibers`."""

    sigma: float = Field(5.0, gt=0.0, description="a sky fibre sees something else if its light beyond the sky exceeds its error by more [sigma]")
    least: float = Field(0.03, gt=0.0, description="and is more than this part of the sky")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Of the sky fibres: row, light beyond the sky over the sky and its error (NaN where nothing is usable), whether it is something else's."""

    row: Raw
    excess: Float64
    error: Float64
    odd: Raw


class SkyFibers(MonitoringAlg[SkyFibersParams]):
    """Finds sky fibres with targets in them, and names them.

    Broad light of a star or a galaxy counts, emission lines and cosmic rays do not. The model of the sky rests on the most crowded levels of the
    sky fibres (`compute_sky`), each left out of its own, so that up to about half of them may be spoilt.
    Formula: sky_fiber_excess = median over 32 blocks of wavelength of (what is left of a fibre after the sky is subtracted) / median of the sky,
    both as flux per frequency; its error is sqrt(pi m / 2) / sum(1/s) over the sky, of m blocks of errors s. contaminated_sky_fibers = part of the
    sky fibres with an excess above `least` and above `sigma` of its errors.
    Source: own definition: a median over blocks with the error of a median, sqrt(pi/2) that of a mean.
    """

    name = "sky_fibers"
    group = "Fibres"
    metrics = (EXCESS, PART)

    def measure(self, frame: Frame, sky: SkyModel) -> Measures:
        """Of the sky-subtracted frame. Raises NotApplicable where there are no sky fibres, or the model is not on the samples of the frame."""
        objtype = np.array(frame.fibermap.objtype)
        rows = np.flatnonzero((objtype == "SKY") & ~known_bad(frame.fibermap))
        if not rows.size:
            raise NotApplicable("the fibre map has no sky fibres that are not known to be bad")
        if sky.flux.shape != frame.flux.shape:
            raise NotApplicable("the model of the sky does not lie on the samples of the frame")
        seen = self._seen(frame, sky, rows)
        number = np.asarray(frame.fibermap.fiber)[rows]
        told = np.isfinite(seen.excess)
        words = numbered("fibre", number[seen.odd]) + (f", {_percent(seen)} of the sky" if seen.odd.any() else "")
        part = float(seen.odd.sum()) / float(told.sum()) if told.any() else math.nan
        metrics = (
            measured(EXCESS.name, seen.excess[told], fiber=tuple(int(n) for n in number[told])),
            scalar(PART, part, words if told.any() else "no sky fibre has usable samples"),
        )
        facts = {"sky_fibers": int(rows.size), "contaminated": int(seen.odd.sum())}
        return Measures(metrics, plots=(self._plot(frame, seen),), facts=facts)

    def _seen(self, frame: Frame, sky: SkyModel, rows: Raw) -> _Seen:
        left = in_blocks(frame, rows)
        level = in_blocks(replace(frame, flux=sky.flux, ivar=sky.ivar, mask=sky.mask), rows).median_light()
        level = np.where(level > 0, level, np.nan)
        excess, error = left.median_light() / level, left.light_error() / level
        odd = (excess > self.params.least) & (excess > self.params.sigma * error)
        return _Seen(row=rows, excess=excess, error=error, odd=odd)

    def _plot(self, frame: Frame, seen: _Seen) -> Plot:
        number = np.asarray(frame.fibermap.fiber, np.float64)[seen.row]
        groups = (("sky", ~seen.odd), ("something else", seen.odd))
        points = tuple(Scatter(x=number[g], y=seen.excess[g], label=name) for name, g in groups if (g & np.isfinite(seen.excess)).any())
        limit = (Line(x=np.array([number.min(), number.max()]), y=np.full(2, self.params.least), label="limit of a fibre"),) if number.size else ()
        axis = Axis(label="excess / sky")
        panels = [Panel(x=Axis(label="fibre"), y=axis, layers=(*points, *limit), title="Of each sky fibre")]
        told = np.isfinite(seen.excess)
        panels += on_focal_plane(frame.fibermap, seen.row[told], seen.excess[told], axis, "On the focal plane")
        return Plot(name="sky_fibers", title=f"Sky fibres, camera {frame.camera}", panels=tuple(panels), columns=len(panels))


def _percent(seen: _Seen) -> str:
    low, high = 100 * float(seen.excess[seen.odd].min()), 100 * float(seen.excess[seen.odd].max())
    return f"{low:.0f} %" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f} %"
