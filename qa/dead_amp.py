"""Dead amplifiers, by name and with the reason."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from qa.figures import bars
from qa.liveness import CONSTANT_FRACTION, MIN_SCATTER, death
from qa.values import per_amp
from quicklook.ccd.image import RawImage
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.quantity import Unit

DEAD = MetricDef(
    "dead_amp", "", dims=("amp",),
    doc="1 for an amplifier that is dead (one value throughout, no finite pixel, no noise, or at the top of the converter, overscan too), else 0.",
)  # fmt: skip
CONSTANT = MetricDef("constant_fraction", "", dims=("amp",), doc="Fraction of the pixels of the image area that share one raw value (from a sample).")


class DeadAmpParams(Params):
    """Parameters of `dead_amp`."""

    constant_fraction: float = Field(CONSTANT_FRACTION, gt=0.5, le=1.0, description="an area is constant when this fraction of it is at one value")
    min_scatter: Annotated[float, Unit("adu")] = Field(MIN_SCATTER, ge=0.0, description="scatter of overscan and image below which there is no noise")


class DeadAmp(MonitoringAlg[DeadAmpParams]):
    """Finds amplifiers that are dead, and says in words how it knows."""

    name = "dead_amp"
    metrics = (DEAD, CONSTANT)

    def measure(self, raw: RawImage) -> Measures:
        """1 or 0 for every amplifier, never NaN: an amplifier that cannot be read is dead."""
        found = {a.name: death(raw, a, self.params.constant_fraction, self.params.min_scatter) for a in raw.amplifiers}
        why = {k: reason for k, (reason, _) in found.items()}
        dead = per_amp(DEAD, {k: float(bool(r)) for k, r in why.items()}, why)
        constant = per_amp(CONSTANT, {k: f for k, (_, f) in found.items()}, {k: why[k] for k, (_, f) in found.items() if math.isnan(f)})
        panels = (
            bars(DEAD, dead, title="Dead amplifiers", label="dead", range_=(0.0, 1.2)),
            bars(CONSTANT, constant, title="Pixels that share one raw value", label="fraction", range_=(0.0, 1.05)),
        )
        plot = Plot(
            name="dead_amp",
            title=f"Dead amplifiers, camera {raw.camera}",
            panels=panels,
            columns=2,
            caption="; ".join(f"{k}: {r}" for k, r in why.items() if r),
        )
        return Measures((dead, constant), plots=(plot,))
