"""How far pixels differ in response, how well that is known, and for how many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.values import judged, per_amp
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.calibs import PixelFlat
from quicklook.ccd.image import Image
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.plots import Image as Picture
from quicklook.core.plugin import MonitoringAlg

_PREVIEW = 512
SCATTER = MetricDef("pixflat_scatter", "", dims=("amp",), doc="Robust scatter of the response among the pixels whose response was measured.")
ERROR = MetricDef("pixflat_error", "", dims=("amp",), doc="Median error of the response of a pixel, where it was measured.")
MEASURED = MetricDef("pixflat_measured", "", dims=("amp",), doc="Part of the pixels whose response was measured: those on which light falls.")
LOW = MetricDef("pixflat_low_fraction", "", dims=("amp",), doc="Part of the measured pixels with a low response (dust, dead pixels).")


class PixelResponseParams(Params):
    """Parameters of `pixel_response`."""

    low: float = Field(0.8, gt=0, lt=1, description="a response below this is low")


class PixelResponse(MonitoringAlg[PixelResponseParams]):
    """Measures scatter, error and extent of a pixel flat.

    Formula: over the pixels with ivar above 0, those on which light fell: pixflat_scatter = 1.4826 MAD of the response, pixflat_error = median of 1
    / sqrt(ivar), pixflat_low_fraction = part of them with a response below `low`; pixflat_measured = those pixels / all pixels. Relative, 1 for the
    mean pixel.
    Source: own definition: robust scatter (1.4826 MAD), medians and counts.
    """

    name = "pixel_response"
    metrics = (SCATTER, ERROR, MEASURED, LOW)

    def measure(self, flat: PixelFlat, images: Sequence[Image]) -> Measures:
        """By amplifier; where no pixel was measured scatter, error and low fraction are NaN."""
        first = images[0]
        amps = judged(first.amplifiers)
        ivar = np.where(np.isfinite(flat.pixels), flat.ivar if flat.ivar is not None else np.float32(1), np.float32(0))
        known = {a.name: ivar[a.ccd.slices] > 0 for a in amps}
        response = {a.name: flat.pixels[a.ccd.slices][known[a.name]].astype(np.float64) for a in amps}
        error = {a.name: 1.0 / np.sqrt(ivar[a.ccd.slices][known[a.name]].astype(np.float64)) for a in amps}
        none = {k: "no pixel was measured" for k, v in response.items() if not v.size}
        metrics = (
            per_amp(SCATTER, first.amplifiers, {k: _scatter(v) for k, v in response.items()}, none),
            per_amp(ERROR, first.amplifiers, {k: float(np.median(v)) if v.size else math.nan for k, v in error.items()}, none),
            per_amp(MEASURED, first.amplifiers, {k: float(v.mean()) for k, v in known.items()}),
            per_amp(LOW, first.amplifiers, {k: float((v < self.params.low).mean()) if v.size else math.nan for k, v in response.items()}, none),
        )
        panels = (bars(MEASURED, metrics[2], title="Measured pixels", label="part of the pixels"), _picture(flat.pixels))
        return Measures(metrics, plots=(Plot(name="pixel_response", title=f"Pixel flat, camera {first.camera}", panels=panels, columns=2),))


def _scatter(values: Float64) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else math.nan


def _picture(pixels: Raw) -> Panel:
    ny, nx = pixels.shape
    step = max(1, -(-max(ny, nx) // _PREVIEW))
    shown = np.ascontiguousarray(pixels[::step, ::step])
    layer = Picture(values=shown, extent=(0.0, float(nx), 0.0, float(ny)), c_axis=Axis(label="response"))
    return Panel(x=Axis(label="column", unit="pix"), y=Axis(label="row", unit="pix"), layers=(layer,), title="Pixel flat")
