"""Pixels that no calibration can be trusted for: a raw value or a calibration that is no number."""

from __future__ import annotations

import math

from qa.figures import bars
from qa.values import judged, per_amp
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg, NoParams

LOST = MetricDef(
    "nonfinite_fraction", "", dims=("amp",),
    doc="Fraction of the pixels whose raw value, bias, dark or pixel flat is not a finite number.",
)  # fmt: skip


class UnusablePixels(MonitoringAlg[NoParams]):
    """Counts the pixels that are lost because a raw value or a calibration of theirs is NaN or infinite.

    Formula: nonfinite_fraction = pixels with the bit NONFINITE of the mask / pixels of the amplifier. A count, without an error.
    Source: own definition: a bit of the project's pixel mask, beyond those of the DESI data model.
    """

    name = "unusable_pixels"
    metrics = (LOST,)

    def measure(self, image: Image) -> Measures:
        """Per amplifier; NaN for one that is dead."""
        dead = {a.name: cause(image.dead[a.name]) for a in judged(image.amplifiers) if a.name in image.dead}
        told: dict[str, str] = dict(dead)
        values: dict[str, float] = {}
        for amp in judged(image.amplifiers):
            values[amp.name] = math.nan if amp.name in dead else _lost(image, amp)
            if values[amp.name] > 0:
                told[amp.name] = "a calibration (bias, dark, pixel flat) or the raw frame holds values that are no numbers"
        lost = per_amp(LOST, image.amplifiers, values, told)
        panel = bars(LOST, lost, title="Pixels without a finite raw value or calibration", label="fraction of pixels")
        return Measures((lost,), plots=(Plot(name="unusable_pixels", title=f"Unusable pixels, camera {image.camera}", panels=(panel,)),))


def _lost(image: Image, amp: Amplifier) -> float:
    from qa.kernels.tracks import count_groups, count_pixels

    ny, nx = amp.ccd.shape
    if "cosmics" in image.applied:  # `cosmic_rays` goes through the same mask
        return count_groups(image.mask, int(PixelMask.COSMIC), amp.ccd.slices, int(PixelMask.NONFINITE))[2] / (ny * nx)
    return count_pixels(image.mask, int(PixelMask.NONFINITE), amp.ccd.slices) / (ny * nx)
