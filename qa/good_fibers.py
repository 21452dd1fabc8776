"""How many fibres give light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.fiberlight import light_sums
from qa.values import numbered, scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import Frame, SpecMask
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_LONG, _STEP = 2048, 8
_LINES = "arc"

GOOD = MetricDef("good_fibers", "", doc="Number of fibres that give light.")
LOST = MetricDef("lost_fibers", "", doc="Number of fibres that are dead or low and are not known to be.")
PART = MetricDef("lost_fiber_fraction", "", doc="Part of the fibres, of those that are not known to be bad, that is dead or low.")
DEAD = MetricDef("dead_fibers", "", doc="Number of fibres without light, or without usable samples, that are not known to be bad.")
LOW = MetricDef("low_fibers", "", doc="Number of fibres with far less light than the others that are not known to be bad.")
KNOWN = MetricDef("known_bad_fibers", "", doc="Number of fibres that the fibre map or the calibration calls bad.")
NO_LIGHT = "no light reaches this camera, so fibres cannot be told apart"

_SHOWN = 3.0
"""So much light of the median fibre is shown; beyond are bright targets, beside which a lost fibre could not be seen."""


class GoodFibersParams(Params):
    """Parameters of `good_fibers`."""

    dead: float = Field(0.05, gt=0.0, lt=1.0, description="a fibre with less than this part of the median light is dead")
    low: float = Field(0.3, gt=0.0, lt=1.0, description="a fibre with less than this part of the median light is low")
    min_snr: float = Field(5.0, gt=0.0, description="S/N of the light of the median fibre below which nothing is said")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fibres:
    """Relative light [nfibre] (NaN: no usable sample), and which are known to be bad, dead, low."""

    light: Float64
    known: Raw
    dead: Raw
    low: Raw
    lit: bool


class GoodFibers(MonitoringAlg[GoodFibersParams]):
    """Counts fibres that give light; those that the fibre map or the calibration knows to be bad are counted apart.

    Formula: light = mean flux of the usable samples of a fibre / that of the median fibre; dead_fibers: light < `dead` or no usable sample;
    low_fibers: not dead and light < `low`; lost_fibers = dead_fibers + low_fibers; lost_fiber_fraction = lost_fibers / fibres that are not known to
    be bad; known_bad_fibers = fibres that fibre map or calibration call bad; good_fibers = all others. Counts, without an error; nothing is said
    where the light of the median fibre is below `min_snr` of its errors.
    Source: it stands for NGOODFIB (CountSpectralBins) of DESI's quick-look; here light relative to the median fibre counts, so that no threshold in
    electrons is needed.
    """

    name = "good_fibers"
    group = "Fibres"
    metrics = (GOOD, LOST, PART, DEAD, LOW, KNOWN)

    def measure(self, frame: Frame, exposure: Exposure | None = None) -> Measures:
        """Of extracted spectra, before the sky is subtracted; NaN where the camera has no light at all.

        Every eighth sample of long spectra tells, but in arcs, whose light is in lines that lie between, every one is looked at.
        """
        found = self._fibres(frame, 1 if exposure is not None and exposure.flavor == _LINES else _STEP)
        number = frame.fibermap.fiber
        known = scalar(KNOWN, int(found.known.sum()), numbered("fibre", number[found.known]))
        if not found.lit:
            metrics = (*(scalar(d, math.nan, NO_LIGHT) for d in (GOOD, LOST, PART, DEAD, LOW)), known)
        else:
            lost = found.dead | found.low
            metrics = (
                scalar(GOOD, int((~(lost | found.known)).sum())),
                scalar(LOST, int(lost.sum()), numbered("fibre", number[lost])),
                scalar(PART, float(lost.sum()) / max(1, int((~found.known).sum())), f"{int(lost.sum())} of {int((~found.known).sum())}"),
                scalar(DEAD, int(found.dead.sum()), numbered("fibre", number[found.dead])),
                scalar(LOW, int(found.low.sum()), numbered("fibre", number[found.low])),
                known,
            )
        return Measures(metrics, plots=(self._plot(frame, found),), facts={"fibers": len(number), "rests_on": frame.stage})

    def _fibres(self, frame: Frame, step: int) -> _Fibres:
        weight, total, noise = light_sums(frame, step if frame.flux.shape[1] >= _LONG else 1)
        mean = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        typical = float(np.median(mean[weight > 0])) if (weight > 0).any() else math.nan
        error = np.divide(np.sqrt(noise), weight, out=np.full(total.shape, np.nan), where=weight > 0)
        lit = bool(typical > self.params.min_snr * float(np.median(error[weight > 0]))) if (weight > 0).any() else False
        light = mean / typical if lit else np.full(mean.shape, np.nan)
        known = (frame.mask & np.uint32(SpecMask.BADFIBER)).all(axis=1) | known_bad(frame.fibermap)
        dead = ~known & ~(light >= self.params.dead) & lit
        low = ~known & ~dead & (light < self.params.low) & lit
        return _Fibres(light=light, known=known, dead=dead, low=low, lit=lit)

    def _plot(self, frame: Frame, found: _Fibres) -> Plot:
        number = np.asarray(frame.fibermap.fiber, np.float64)
        seen = np.isfinite(found.light)
        lost = found.dead | found.low
        groups = (("good", seen & ~lost & ~found.known), ("dead or low", seen & lost), ("known bad", seen & found.known))
        layers = tuple(Scatter(x=number[g], y=found.light[g], label=name) for name, g in groups if g.any())
        levels = (("dead", self.params.dead), ("low", self.params.low))
        lines = tuple(Line(x=number[[0, -1]], y=np.full(2, level), label=name) for name, level in levels)
        y = Axis(label="light relative to the median fibre", range=(0.0, _SHOWN if seen.any() and np.nanmax(found.light) > _SHOWN else None))
        panels = [Panel(x=Axis(label="fibre"), y=y, layers=(*layers, *lines), title="Light of the fibres" if found.lit else "No light")]
        x_mm, y_mm = frame.fibermap.columns.get("FIBERASSIGN_X"), frame.fibermap.columns.get("FIBERASSIGN_Y")
        if x_mm is not None and y_mm is not None and seen.any():
            c_axis = Axis(label="relative light", range=(0.0, 2.0))
            places = FocalPlane(x=np.asarray(x_mm, np.float64)[seen], y=np.asarray(y_mm, np.float64)[seen], c=found.light[seen], c_axis=c_axis)
            panels.append(Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(places,), title="On the focal plane"))
        return Plot(name="good_fibers", title=f"Fibres of camera {frame.camera}", panels=tuple(panels), columns=2)
