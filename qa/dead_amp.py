"""Dead amplifiers, by name and with the reason; and areas that are dead in a living one."""

from __future__ import annotations

import math

from qa.figures import bars
from qa.values import judged, per_amp
from quicklook.ccd.deadarea import DeadArea, dead_area
from quicklook.ccd.health import Health, health
from quicklook.ccd.image import RawImage
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg, NoParams

DEAD = MetricDef(
    "dead_amp", "", dims=("amp",), flag=True,
    doc="1 for an amplifier that is dead (one value throughout, no finite pixel, no noise, or a saturated overscan), else 0.",
)  # fmt: skip
AREA = MetricDef(
    "dead_fraction", "", dims=("amp",),
    doc="Fraction of the pixels of the image area that are dead though the amplifier lives: far below the bias level, or in rows without noise.",
)  # fmt: skip
CONSTANT = MetricDef("constant_fraction", "", dims=("amp",), doc="Fraction of the pixels of the image area that share one raw value (from a sample).")


class DeadAmp(MonitoringAlg[NoParams]):
    """Finds amplifiers that are dead, wholly or in part, and says in words how it knows.

    Formula: dead_amp = 1 where no pixel is finite, or 90 % of image and overscan (of the image alone, unless it is overexposed) have one value, or
    both scatter by less than 0.1 ADU (half of the central 68 %), or half of the overscan is saturated; else 0. dead_fraction = pixels of the image
    area more than 15 sigma of the overscan below the bias level, or in stretches of 64 equal pixels of a row below saturation / pixels.
    constant_fraction = part of a sample of the image area at its commonest value. Without an error.
    Source: own definition: signs of a read-out that gives no charge; noise, ripples and trails stay within six sigma of the level.
    """

    name = "dead_amp"
    metrics = (DEAD, AREA, CONSTANT)

    def measure(self, raw: RawImage) -> Measures:
        """Per amplifier. `dead_amp` is 1 or 0, never NaN: an amplifier that cannot be read is dead."""
        amps = judged(raw.amplifiers)
        found = {a.name: health(raw.pixels, a) for a in amps}
        areas = {a.name: dead_area(raw.pixels, a) for a in amps if not found[a.name].dead}
        dead = per_amp(DEAD, raw.amplifiers, {k: float(bool(h.dead)) for k, h in found.items()}, {k: h.dead for k, h in found.items()})
        of_area = {k: areas[k].fraction if k in areas else math.nan for k in found}
        area = per_amp(AREA, raw.amplifiers, of_area, {k: _said(h, areas.get(k)) for k, h in found.items()})
        unknown = {k: h.cause for k, h in found.items() if math.isnan(h.constant)}
        constant = per_amp(CONSTANT, raw.amplifiers, {k: h.constant for k, h in found.items()}, unknown)
        panels = (
            bars(DEAD, dead, title="Dead amplifiers", label="dead", range_=(0.0, 1.2)),
            bars(AREA, area, title="Dead pixels of living amplifiers", label="fraction"),
            bars(CONSTANT, constant, title="Pixels that share one raw value", label="fraction", range_=(0.0, 1.05)),
        )
        told = [f"{k}: {h.dead or areas[k].words}" for k, h in found.items() if h.dead or areas[k].words]
        plot = Plot(name="dead_amp", title=f"Dead amplifiers, camera {raw.camera}", panels=panels, columns=3, caption="; ".join(told))
        return Measures((dead, area, constant), plots=(plot,))


def _said(found: Health, area: DeadArea | None) -> str:
    return found.cause if area is None else area.words
