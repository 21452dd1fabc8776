"""Dark current of a master dark by amplifier, and how many of its pixels are hot."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qa.figures import bars, histogram, lines
from qa.sections import sample
from qa.values import judged, per_amp, scalar
from quicklook.ccd.arrays import Raw
from quicklook.ccd.calibs import BadPixelMask, Dark
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.plots import Image as Picture
from quicklook.core.plugin import MonitoringAlg, NoParams

_SAMPLE = 1 << 18
_PREVIEW = 512
_BINS = 120
_PER_HOUR = 3600.0

CURRENT = MetricDef("dark_current", "electron/h", dims=("amp",), doc="Median of the dark current over the pixels of the amplifier.")
ERROR = MetricDef("dark_error", "electron/h", dims=("amp",), doc="Median of the stated error of a pixel of the master dark.")
HOT = MetricDef("hot_fraction", "", dims=("amp",), doc="Fraction of the pixels of the amplifier that are hot.")
MISSING = MetricDef("dark_missing_fraction", "", dims=("amp",), doc="Fraction of the pixels of the amplifier for which the master dark has no value.")
SECONDS = MetricDef("dark_seconds", "s", doc="Exposure time of all exposures that the master dark is made from.")


class DarkCurrent(MonitoringAlg[NoParams]):
    """Level, error, hot and missing pixels of a master dark."""

    name = "dark_current"
    metrics = (CURRENT, ERROR, HOT, MISSING, SECONDS)

    def measure(self, dark: Dark, mask: BadPixelMask, images: Sequence[Image], exposures: Sequence[Exposure]) -> Measures:
        """By amplifier; the amplifiers are those of the first exposure."""
        first = images[0]
        amps = judged(first.amplifiers)
        rates = {a.name: sample(dark.pixels[a.ccd.slices], _SAMPLE) for a in amps}
        known = {k: v[np.isfinite(v)] * _PER_HOUR for k, v in rates.items()}
        empty = {k: "no pixel has a value" for k, v in known.items() if not v.size}
        errors = {a.name: _error(dark, a) for a in amps}
        metrics = (
            per_amp(CURRENT, first.amplifiers, {k: _median(v) for k, v in known.items()}, empty),
            per_amp(ERROR, first.amplifiers, errors, {k: "the dark states no error" for k, v in errors.items() if math.isnan(v)}),
            per_amp(HOT, first.amplifiers, {a.name: _fraction((mask.pixels[a.ccd.slices] & np.uint16(PixelMask.HOT)) != 0) for a in amps}),
            per_amp(MISSING, first.amplifiers, {a.name: _fraction(~np.isfinite(dark.pixels[a.ccd.slices])) for a in amps}),
            scalar(SECONDS, sum(e.exptime for e in exposures)),
        )
        facts = {"temperature_c": dark.temperature_c, "exposures": len(exposures)}
        panels = (
            bars(CURRENT, metrics[0], title="Dark current", label="dark current"),
            bars(HOT, metrics[2], title="Hot pixels", label="fraction of pixels"),
            _histogram(known),
            _picture(dark),
        )
        plot = Plot(name="dark_current", title=f"Master dark, camera {first.camera}", panels=panels, columns=2)
        return Measures(metrics, plots=(plot,), facts=facts)


def _median(values: Raw) -> float:
    return float(np.median(values)) if values.size else math.nan


def _fraction(flags: Raw) -> float:
    return float(flags.mean())


def _error(dark: Dark, amp: Amplifier) -> float:
    if dark.variance is None:
        return math.nan
    variance = sample(dark.variance[amp.ccd.slices], _SAMPLE)
    return math.sqrt(_median(variance[variance > 0])) * _PER_HOUR if (variance > 0).any() else math.nan


def _histogram(known: dict[str, Raw]) -> Panel:
    x, y = Axis(label="dark current", unit="electron/h"), Axis(label="pixels", log=True)
    some = np.concatenate([v for v in known.values() if v.size] or [np.zeros(1)])
    low, high = (float(q) for q in np.percentile(some, (0.1, 99.9)))
    edges = np.linspace(low, max(high, low + 1e-3), _BINS + 1)
    return lines({k: histogram(v, edges) for k, v in known.items() if v.size}, x=x, y=y, title="Pixels by dark current")


def _picture(dark: Dark) -> Panel:
    ny, nx = dark.pixels.shape
    step = max(1, -(-max(ny, nx) // _PREVIEW))
    shown = np.ascontiguousarray(dark.pixels[::step, ::step]) * np.float32(_PER_HOUR)
    layer = Picture(values=shown, extent=(0.0, float(nx), 0.0, float(ny)), c_axis=Axis(label="dark current", unit="electron/h"))
    return Panel(x=Axis(label="column", unit="pix"), y=Axis(label="row", unit="pix"), layers=(layer,), title="Master dark")
