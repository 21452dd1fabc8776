"""A QA: the median of each amplifier, before and after the step."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from quicklook.ccd.image import Image
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Panel, Plot
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.product import Before

LEVEL = MetricDef("example_level", "electron", dims=("amp",), doc="Median of the good pixels of the amplifier.")
CHANGE = MetricDef("example_change", "electron", doc="How far the step has moved the median of the image.")


class MedianLevelParams(Params):
    """Parameters of `median_level`."""

    every: int = Field(1, ge=1, description="rows are taken in steps of this")


class MedianLevel(MonitoringAlg[MedianLevelParams]):
    """Median level of each amplifier."""

    name = "median_level"
    metrics = (LEVEL, CHANGE)

    def measure(self, image: Image, before: Before[Image]) -> Measures:
        """The levels; NaN for an amplifier without a good pixel."""
        levels, remarks = [], {}
        for amp in image.amplifiers:
            good = image.ivar[amp.ccd.slices][:: self.params.every] > 0
            values = image.pixels[amp.ccd.slices][:: self.params.every][good]
            levels.append(float(np.median(values)) if values.size else np.nan)
            if not values.size:
                remarks[amp.name] = "no good pixel"
        names = [amp.name for amp in image.amplifiers]
        change = float(np.median(image.pixels) - np.median(before.pixels))
        bars = Panel(
            x=Axis(label="amplifier"),
            y=Axis(label="level", unit="electron"),
            layers=(Bars(names=tuple(names), heights=np.array(levels)),),
            metric=LEVEL.name,
        )
        plot = Plot(name="median_level", title=f"Median level, camera {image.camera}", panels=(bars,))
        return Measures((measured(LEVEL.name, levels, amp=names, remarks=remarks), measured(CHANGE.name, change)), plots=(plot,))
