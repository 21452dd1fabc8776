"""Dark current of every amplifier in one dark exposure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import bars, histogram, lines, missing
from qa.sections import sample
from qa.values import judged, per_amp
from quicklook.ccd.arrays import Float32
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Plot
from quicklook.core.plugin import MonitoringAlg

_SAMPLE = 1 << 17
_PER_HOUR = 3600.0
_MEDIAN_ERROR = 1.2533  # error of a median over that of a mean, of Gaussian noise
_BINS = 100
_FEW = 64
_HUGE = np.float32(1e12)  # electron: no charge, but what a broken calibration makes

RATE = MetricDef(
    "dark_rate", "electron/h", dims=("amp",),
    doc="Median of the good pixels of a dark exposure, no dark subtracted, over its time: dark current, and light that leaks in.",
)  # fmt: skip
ERROR = MetricDef("dark_rate_error", "electron/h", dims=("amp",), doc="Error of that rate, from the scatter of the pixels.")


class DarkLevelParams(Params):
    """Parameters of `dark_level`."""

    least_s: float = Field(60.0, gt=0, description="shorter exposures tell nothing: a tenth of an electron of bias is 6 electron/h in a minute [s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """Median and scatter (1.4826 MAD) of a sample of good pixels, electron; or why not."""

    level: float = math.nan
    scatter: float = math.nan
    pixels: Float32 | None = None
    why: str = ""


class DarkLevel(MonitoringAlg[DarkLevelParams]):
    """Measures the dark current of every amplifier in a single dark, before any dark is subtracted.

    Formula: dark_rate = 3600 x median of the good pixels (electron) / exposure time (s), electron/h; dark_rate_error = 3600 x 1.2533 x 1.4826 MAD /
    sqrt(n) / exposure time, of a sample of n good pixels.
    Source: dark current by its standard definition, charge over time; 1.2533 = sqrt(pi/2) is the error of a median over that of a mean.
    """

    name = "dark_level"
    metrics = (RATE, ERROR)

    def measure(self, image: Image, exposure: Exposure) -> Measures:
        """Per amplifier. Raises NotApplicable for other flavors, for short exposures, and where the dark of the calibrations was subtracted."""
        seconds = exposure.exptime
        if exposure.flavor != "dark":
            raise NotApplicable(f"a dark current is measured in darks, this is a {exposure.flavor} exposure")
        if "dark" in image.applied:
            raise NotApplicable("the dark current was subtracted (preproc.use_dark)")
        if seconds < self.params.least_s:
            raise NotApplicable(f"an exposure of {seconds:g} s is too short for a dark current")
        found = {a.name: _level(image, a) for a in judged(image.amplifiers)}
        scale = _PER_HOUR / seconds if math.isfinite(seconds) else math.nan
        told = {k: v.why or ("" if math.isfinite(scale) else "the exposure time is not known") for k, v in found.items()}
        rate = per_amp(RATE, image.amplifiers, {k: scale * v.level for k, v in found.items()}, told)
        errors = {k: scale * v.scatter * _MEDIAN_ERROR / math.sqrt(v.pixels.size) if v.pixels is not None else math.nan for k, v in found.items()}
        error = per_amp(ERROR, image.amplifiers, errors, told)
        panels = (
            bars(RATE, rate, title=f"Dark current, {seconds:g} s", label="dark current", range_=(None, None)),
            lines(
                _histograms(found),
                x=Axis(label="pixel", unit="electron"),
                y=Axis(label="pixels of a sample", log=True),
                title="Pixels of the dark",
                missing=missing(rate),
            ),
        )
        return Measures((rate, error), plots=(Plot(name="dark_level", title=f"Dark current, camera {image.camera}", panels=panels, columns=2),))


def _level(image: Image, amp: Amplifier) -> _Level:
    if amp.name in image.dead:
        return _Level(why=cause(image.dead[amp.name]))
    cut = amp.ccd.slices
    good = (sample(image.mask[cut], _SAMPLE) == 0) & (sample(image.ivar[cut], _SAMPLE) > 0)
    pixels = sample(image.pixels[cut], _SAMPLE)
    pixels = pixels[good & (np.abs(pixels) < _HUGE)]
    if pixels.size < _FEW:
        return _Level(why=f"{pixels.size} good pixels are too few")
    middle = float(np.median(pixels))
    return _Level(level=middle, scatter=1.4826 * float(np.median(np.abs(pixels - np.float32(middle)))), pixels=pixels)


def _histograms(found: dict[str, _Level]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One for each amplifier, from 6 sigma of the noise below the lowest level to 10 above the highest."""
    known = [v for v in found.values() if v.pixels is not None]
    if not known:
        return {}
    wide = max(0.1, *(v.scatter for v in known))
    edges = np.linspace(min(v.level for v in known) - 6.0 * wide, max(v.level for v in known) + 10.0 * wide, _BINS + 1)
    return {k: histogram(v.pixels, edges) for k, v in found.items() if v.pixels is not None}
