"""Saturated pixels of every amplifier."""

from __future__ import annotations

import math

import numpy as np

from qa.figures import EMPTY, bars, histogram, lines, missing
from qa.sections import sample
from qa.values import judged, per_amp
from quicklook.ccd.arrays import Raw
from quicklook.ccd.health import health
from quicklook.ccd.image import RawImage
from quicklook.ccd.strips import saturation_level
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.plots import Axis, Plot
from quicklook.core.plugin import MonitoringAlg, NoParams

_ROWS = 128  # rows compared at a time: the comparison stays in the cache
_SAMPLE = 40_000
_BINS = 128

FRACTION = MetricDef(
    "saturated_fraction", "", dims=("amp",),
    doc="Fraction of the pixels of the image area at or above the saturation level of the amplifier, or at the top of the converter.",
)  # fmt: skip
COUNT = MetricDef("saturated_pixels", "pix", dims=("amp",), doc="Number of those pixels.")


def _count(pixels: Raw, level: float) -> tuple[int, int]:
    """Pixels at or above the level, and finite pixels."""
    blocks = [pixels[i : i + _ROWS] for i in range(0, pixels.shape[0], _ROWS)]
    if pixels.dtype.kind in "iu":
        edge = math.ceil(level)
        # most blocks have none, and their highest pixel says so in less time than a comparison of all
        return sum(int(np.count_nonzero(b >= edge)) for b in blocks if b.max(initial=0) >= edge), pixels.size
    edge = pixels.dtype.type(level)
    return sum(int(np.count_nonzero(b >= edge)) for b in blocks), sum(int(np.count_nonzero(np.isfinite(b))) for b in blocks)


class Saturation(MonitoringAlg[NoParams]):
    """Counts saturated pixels in the image area of every amplifier.

    Formula: saturated_pixels = raw pixels at or above the saturation level, ADU: the stated one, else the top of a converter of 16 bits, and never
    above the top of the type of the file; saturated_fraction = that number / finite pixels. Counts, without an error.
    Source: own definition; the level is that of the description of the instrument.
    """

    name = "saturation"
    metrics = (FRACTION, COUNT)

    def measure(self, raw: RawImage) -> Measures:
        """Per amplifier; NaN for one that is dead."""
        amps = judged(raw.amplifiers)
        levels = {a.name: saturation_level(a, raw.pixels.dtype) for a in raw.amplifiers}
        dead = {a.name: health(raw.pixels, a).cause for a in amps}
        living = [a for a in amps if not dead[a.name]]
        counts = {a.name: _count(raw.pixels[a.data.slices], levels[a.name]) for a in living}
        remarks = dead | {k: f"{high} of {n} pixels at {levels[k]:g} ADU or more" if high else "" for k, (high, n) in counts.items()}
        none = dict.fromkeys(dead, math.nan)
        fraction = per_amp(FRACTION, raw.amplifiers, none | {k: high / n for k, (high, n) in counts.items()}, remarks)
        count = per_amp(COUNT, raw.amplifiers, none | {k: float(high) for k, (high, _) in counts.items()}, remarks)
        samples = {a.name: sample(raw.pixels[a.data.slices], _SAMPLE).ravel() for a in living}
        panels = (
            bars(FRACTION, fraction, title="Saturated pixels", label="fraction"),
            lines(
                _histograms(samples, max(levels.values())),
                missing=missing(fraction),
                x=Axis(label="raw value", unit="adu"),
                y=Axis(label="pixels of a sample", log=True, range=(0.8 * EMPTY, None)),
                title="Raw values",
            ),
        )
        plot = Plot(name="saturation", title=f"Saturation and raw values, camera {raw.camera}", panels=panels, columns=2)
        return Measures((fraction, count), plots=(plot,), facts={f"saturation_adu_{k}": v for k, v in levels.items()})


def _histograms(samples: dict[str, Raw], top: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One histogram per amplifier over the range that all of them fill, in whole ADU bins."""
    finite = {k: v[np.isfinite(v)] if v.dtype.kind == "f" else v for k, v in samples.items()}
    finite = {k: v for k, v in finite.items() if v.size}
    if not finite:
        return {}
    low, high = min(float(v.min()) for v in finite.values()), min(max(float(v.max()) for v in finite.values()), top)
    width = max(1.0, float(np.ceil((high - low + 1.0) / _BINS)))
    edges = float(np.floor(low)) - 0.5 + width * np.arange(_BINS + 1)
    return {k: histogram(v, edges) for k, v in finite.items()}
