"""The light of flats on a detector without spectra: how much, and how even."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from qa.figures import bars
from qa.sections import sample
from qa.values import judged, per_amp, scalar
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.plots import Image as Picture
from quicklook.core.plugin import MonitoringAlg

_SAMPLE = 1 << 16
_BOXES = 16

LIGHT = MetricDef("flat_light", "electron/s", dims=("amp",), doc="Median level of the pixels of the amplifier in flats over time, median over flats.")
GRADIENT = MetricDef("flat_gradient", "", doc="Brightest minus faintest box of the mean flat (a 16th of a side each), over the median box.")


class FlatLightParams(Params):
    """Parameters of `flat_light`."""

    zero: str = Field("zero", description="flavor of the exposures without light, which are left out")


class FlatLight(MonitoringAlg[FlatLightParams]):
    """Level of flats by amplifier, and the gradient of their light over the detector.

    Formula: flat_light = median over the flats of (median of the good pixels / exposure time), electron/s, by the gains of the instrument; boxes =
    medians of the good pixels in 16 x 16 boxes, in electron/s, mean over the flats; flat_gradient = (largest - smallest box) / median box.
    Source: own definition: medians.
    """

    name = "flat_light"
    metrics = (LIGHT, GRADIENT)

    def measure(self, images: Sequence[Image], exposures: Sequence[Exposure]) -> Measures:
        """By amplifier, and over the camera. Raises NotApplicable where there is no flat with an exposure time."""
        flats = [i for i, e in enumerate(exposures) if e.flavor != self.params.zero and e.exptime > 0]
        if not flats:
            raise NotApplicable("there is no flat with an exposure time")
        levels: dict[str, list[float]] = {}
        boxes: list[npt.NDArray[np.float64]] = []
        for i in flats:
            image = images[i]
            rate = {a.name: (1.0 if "gain" in image.applied else a.gain) / exposures[i].exptime for a in judged(image.amplifiers)}
            for amp in judged(image.amplifiers):
                levels.setdefault(amp.name, []).append(_level(image.pixels[amp.ccd.slices], image.ivar[amp.ccd.slices]) * rate[amp.name])
            boxes.append(_boxes(image, rate))
        light = {k: float(np.median(v)) for k, v in levels.items()}
        none = {k: "no good pixel" for k, v in light.items() if math.isnan(v)}
        mean = np.mean(boxes, axis=0)
        gradient = _gradient(mean)
        metrics = (per_amp(LIGHT, image.amplifiers, light, none), scalar(GRADIENT, gradient, "no good pixel" if math.isnan(gradient) else ""))
        ny, nx = image.shape
        layer = Picture(values=mean.astype(np.float32), extent=(0.0, float(nx), 0.0, float(ny)), c_axis=Axis(label="light", unit="electron/s"))
        picture = Panel(x=Axis(label="column", unit="pix"), y=Axis(label="row", unit="pix"), layers=(layer,), title="Light of the flats")
        panels = (bars(LIGHT, metrics[0], title="Level of the flats", label="level"), picture)
        return Measures(metrics, plots=(Plot(name="flat_light", title=f"Flats, camera {image.camera}", panels=panels, columns=2),))


def _level(pixels: npt.NDArray[np.float32], ivar: npt.NDArray[np.float32]) -> float:
    good = sample(pixels, _SAMPLE)[sample(ivar, _SAMPLE) > 0]
    return float(np.median(good)) if good.size else math.nan


def _boxes(image: Image, rate: dict[str, float]) -> npt.NDArray[np.float64]:
    """Medians of the good pixels in boxes, electron/s; NaN where there is none."""
    scaled = np.full(image.shape, np.nan, np.float32)
    for amp in judged(image.amplifiers):
        cut = amp.ccd.slices
        scaled[cut] = np.where(image.ivar[cut] > 0, image.pixels[cut] * np.float32(rate[amp.name]), np.float32(np.nan))
    ys, xs = (np.linspace(0, n, _BOXES + 1).astype(int) for n in image.shape)
    out = np.full((_BOXES, _BOXES), np.nan)
    for i in range(_BOXES):
        for k in range(_BOXES):
            part = sample(scaled[ys[i] : ys[i + 1], xs[k] : xs[k + 1]], 4096)
            known = part[np.isfinite(part)]
            out[i, k] = float(np.median(known)) if known.size else math.nan
    return out


def _gradient(boxes: npt.NDArray[np.float64]) -> float:
    known = boxes[np.isfinite(boxes)]
    middle = float(np.median(known)) if known.size else math.nan
    return float(known.max() - known.min()) / middle if middle > 0 else math.nan
