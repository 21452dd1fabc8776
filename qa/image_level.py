"""Level and usable pixels of a preprocessed image, and a small picture of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.sections import sample
from qa.values import judged, per_amp
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.plots import Image as Picture
from quicklook.core.plugin import MonitoringAlg

_TALL = 1024
_ROW_STEP = 8
_SAMPLE = 16_000
_MASK_SAMPLE = 40_000
_FAINT = 20.0  # an image whose brightest per cent stays within this many read noises is shown on a linear scale

LEVEL = MetricDef("image_level", "electron", dims=("amp",), doc="Median of the good pixels of the preprocessed image.")
MASKED = MetricDef("masked_fraction", "", dims=("amp",), doc="Fraction of the pixels that cannot be used: masked, or inverse variance zero.")
FINITE = MetricDef("finite_fraction", "", dims=("amp",), doc="Fraction of the pixels whose raw value and calibrations are finite numbers.")


class ImageLevelParams(Params):
    """Parameters of `image_level`."""

    preview_size: int = Field(384, ge=16, le=2048, description="longest side of the small picture [pixel]")


@dataclass(frozen=True, slots=True)
class _State:
    level: float
    masked: float
    finite: float


_NOTHING = _State(math.nan, math.nan, math.nan)


class ImageLevel(MonitoringAlg[ImageLevelParams]):
    """Measures the level of the preprocessed image and how many of its pixels can be used, and makes a small picture of it with its mask.

    Formula: image_level = median of a sample of the good pixels, electron; masked_fraction = pixels with any bit of the mask or ivar 0 / pixels;
    finite_fraction = 1 - pixels with the bit NONFINITE / pixels; of large amplifiers every eighth row counts. The error of a fraction f of n pixels
    is sqrt(f (1 - f) / n), of the level below 0.01 of the scatter of the pixels.
    Source: own definition: a median and counts of bits of the mask.
    """

    name = "image_level"
    metrics = (LEVEL, MASKED, FINITE)

    def measure(self, image: Image) -> Measures:
        """Per amplifier; NaN for one that is dead, and the level where no pixel is good."""
        amps = judged(image.amplifiers)
        dead = {a.name: cause(image.dead.get(a.name, "")) for a in amps}
        found = {a.name: _NOTHING if dead[a.name] else _state(image, a) for a in amps}
        dark = {k: dead[k] or "no good pixel" for k, s in found.items() if math.isnan(s.level)}
        level = per_amp(LEVEL, image.amplifiers, {k: s.level for k, s in found.items()}, dark)
        why = {a.name: dead[a.name] or _reasons(image, a) for a in amps}
        masked = per_amp(MASKED, image.amplifiers, {k: s.masked for k, s in found.items()}, why)
        finite = per_amp(FINITE, image.amplifiers, {k: s.finite for k, s in found.items()}, dead)
        panels = (
            bars(LEVEL, level, title="Median of the good pixels", label="level", range_=(None, None)),
            bars(MASKED, masked, title="Pixels that cannot be used", label="fraction", range_=(0.0, None)),
        )
        levels = Plot(name="image_level", title=f"Level and usable pixels, camera {image.camera}", panels=panels, columns=2)
        return Measures((level, masked, finite), plots=(levels, _preview_plot(image, self.params.preview_size)))


def _state(image: Image, amp: Amplifier) -> _State:
    from qa.kernels.tracks import count_unusable

    step = _ROW_STEP if amp.ccd.shape[0] >= _TALL else 1
    lost, infinite, n = count_unusable(image.mask, image.ivar, int(PixelMask.NONFINITE), amp.ccd.slices, step)
    pixels = sample(image.pixels[amp.ccd.slices], _SAMPLE)
    good = pixels[(sample(image.mask[amp.ccd.slices], _SAMPLE) == 0) & (sample(image.ivar[amp.ccd.slices], _SAMPLE) > 0)]
    return _State(float(np.median(good.astype(np.float64))) if good.size else math.nan, lost / n, 1.0 - infinite / n)


def _reasons(image: Image, amp: Amplifier) -> str:
    """The bits that mask most, with their fractions, from a sample."""
    mask = sample(image.mask[amp.ccd.slices], _MASK_SAMPLE)
    marked = mask[mask != 0]
    fractions = {bit.name or str(bit.value): np.count_nonzero(marked & np.uint16(bit)) / mask.size for bit in PixelMask}
    most = sorted((k for k, f in fractions.items() if f > 0), key=lambda k: -fractions[k])[:3]
    return ", ".join(f"{k} {100 * fractions[k]:.4g} %" for k in most)


def _preview_plot(image: Image, size: int) -> Plot:
    from qa.kernels.preview import preview

    values, masked, block = preview(image.pixels, image.mask, size)
    extent = (0.0, float(values.shape[1] * block), 0.0, float(values.shape[0] * block))
    picture = Picture(
        values=values,
        extent=extent,
        c_axis=Axis(label="signal", unit="electron"),
        mask=masked,
        stretch="asinh" if _is_lit(image, values) else "linear",
        percentile=(1.0, 99.5),
    )
    panel = Panel(
        x=Axis(label="CCD column", unit="pix"),
        y=Axis(label="CCD row (dispersion)", unit="pix"),
        layers=(picture,),
        title=f"Means of {block} x {block} pixels; masked areas overlaid",
    )
    return Plot(name="image_preview", title=f"Preprocessed image, camera {image.camera}", panels=(panel,))


def _is_lit(image: Image, values: np.ndarray) -> bool:
    known = values.ravel()[:: max(1, values.size // _SAMPLE)]
    known = known[np.isfinite(known)].astype(np.float64)
    noise = [n for n in image.read_noise.values() if math.isfinite(n)]
    return bool(known.size and noise) and float(np.percentile(known, 99.0)) > _FAINT * float(np.median(noise))
