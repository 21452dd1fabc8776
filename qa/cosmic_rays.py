"""How many pixels cosmic rays hit, for the time that the detector was exposed to them."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.values import judged, per_amp
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg

HIT = MetricDef("cosmic_fraction", "", dims=("amp",), doc="Fraction of the pixels that were found hit by cosmic rays, their surroundings included.")
RATE = MetricDef(
    "cosmic_rate", "1/ks", dims=("amp",),
    doc="Fraction of the pixels hit by cosmic rays per 1000 s of exposure and read-out; grows with the rate of rays and not with the exposure time.",
)  # fmt: skip


class CosmicRaysParams(Params):
    """Parameters of `cosmic_rays`."""

    readout_s: float = Field(60.0, ge=0, description="time that is added to the exposure time: rays fall during the read-out too [s]")
    least_s: float = Field(100.0, ge=0, description="the rate is not measured in exposures shorter than this, for too few rays have fallen [s]")
    least_pixels: int = Field(200_000, ge=1, description="nor in images of fewer pixels, where a single long track decides [pixel]")


class CosmicRays(MonitoringAlg[CosmicRaysParams]):
    """Counts the pixels that preproc found hit by cosmic rays, for each amplifier, and divides by the time."""

    name = "cosmic_rays"
    metrics = (HIT, RATE)

    def measure(self, image: Image, exposure: Exposure) -> Measures:
        """Raises NotApplicable where cosmic rays were not looked for, or the exposure was short."""
        if "cosmics" not in image.applied:
            raise NotApplicable("cosmic rays were not looked for")
        if not exposure.exptime >= self.params.least_s:
            raise NotApplicable(f"an exposure of {exposure.exptime:g} s is too short for a rate of cosmic rays")
        if image.pixels.size < self.params.least_pixels:
            raise NotApplicable(f"an image of {image.pixels.size} pixels is too small for a rate of cosmic rays")
        dead = {a.name: cause(image.dead[a.name]) for a in judged(image.amplifiers) if a.name in image.dead}
        hit = {a.name: math.nan if a.name in dead else _hit(image, a) for a in judged(image.amplifiers)}
        seconds = exposure.exptime + self.params.readout_s
        fraction = per_amp(HIT, image.amplifiers, hit, dead)
        rate = per_amp(RATE, image.amplifiers, {k: 1000.0 * v / seconds for k, v in hit.items()}, dead)
        panel = bars(RATE, rate, title=f"Pixels hit by cosmic rays, {exposure.exptime:g} s", label="fraction of pixels")
        plot = Plot(name="cosmic_rays", title=f"Cosmic rays, camera {image.camera}", panels=(panel,))
        return Measures((fraction, rate), plots=(plot,))


def _hit(image: Image, amp: Amplifier) -> float:
    mask = image.mask[amp.ccd.slices]
    return float(np.count_nonzero(mask & np.uint16(PixelMask.COSMIC))) / mask.size
