"""Dark current of a master dark by amplifier, and how many of its pixels are hot or warm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from qa.dark_scaling import dark_ratio
from qa.figures import bars, histogram, lines
from qa.sections import sample
from qa.values import judged, per_amp, scalar
from quicklook.ccd.arrays import Raw
from quicklook.ccd.calibs import BadPixelMask, Dark
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.plots import Image as Picture
from quicklook.core.plugin import MonitoringAlg

_SAMPLE = 1 << 18
_PREVIEW = 512
_BINS = 120
_PER_HOUR = 3600.0
_FAR = 10.0  # factor of the dark current over which nothing is scaled
_SURE = 5.0  # errors of a pixel that a threshold must be above

CURRENT = MetricDef("dark_current", "electron/h", dims=("amp",), doc="Median of the dark current over the pixels of the amplifier.")
ERROR = MetricDef("dark_error", "electron/h", dims=("amp",), doc="Median of the stated error of a pixel of the master dark.")
HOT = MetricDef("hot_fraction", "", dims=("amp",), doc="Fraction of the pixels of the amplifier that are hot.")
WARM = MetricDef(
    "warm_fraction", "", dims=("amp",),
    doc="Fraction of the pixels of the amplifier whose dark current lies a stated rate (20 electron/h) and more above its median.",
)  # fmt: skip
SCALED = MetricDef(
    "warm_fraction_scaled", "", dims=("amp",),
    doc="As `warm_fraction`, of the dark current scaled to the reference temperature, so that nights of other temperatures can be compared.",
)  # fmt: skip
MISSING = MetricDef("dark_missing_fraction", "", dims=("amp",), doc="Fraction of the pixels of the amplifier for which the master dark has no value.")
SECONDS = MetricDef("dark_seconds", "s", doc="Exposure time of all exposures that the master dark is made from.")


class DarkCurrentParams(Params):
    """Parameters of `dark_current`."""

    warm: float = Field(20.0, gt=0.0, description="a pixel so far above the median of its amplifier is warm [electron/h]")
    reference_c: float | None = Field(
        None, gt=-273.0, lt=100.0, description="temperature that the warm pixels are scaled to; null: none, and nothing is scaled [degree Celsius]"
    )
    energy_ev: float = Field(0.6, gt=0.0, le=1.2, description="activation energy of the dark current of warm pixels [eV]")


class DarkCurrent(MonitoringAlg[DarkCurrentParams]):
    """Level, error, hot, warm and missing pixels of a master dark.

    Formula: dark_current = 3600 x median rate of the pixels (electron/s), electron/h; dark_error = 3600 sqrt(median stated variance); hot_fraction
    = pixels with the bit HOT / pixels; warm_fraction = part of the pixels above dark_current + `warm`, left out where five errors of a pixel reach
    so far; warm_fraction_scaled: above dark_current + `warm` x exp(-E/k (1/T - 1/T0)), the dark current at the temperature T of the detector over
    that at the reference T0; dark_missing_fraction = pixels without a finite value; dark_seconds = sum of the exposure times, s.
    Source: scaling with temperature: Widenhorn et al. 2002, Proc. SPIE 4669, 193. The rest is own definition: medians and counts.
    """

    name = "dark_current"
    metrics = (CURRENT, ERROR, HOT, MISSING, SECONDS, WARM, SCALED)

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
            *self._warm(dark, first.amplifiers, errors),
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

    def _warm(self, dark: Dark, amplifiers: Sequence[Amplifier], errors: Mapping[str, float]) -> tuple[Measured, Measured]:
        """As the darks were taken, and at the reference temperature: there the threshold is scaled, not the pixels."""
        p = self.params
        warm = _above(WARM, dark, amplifiers, errors, p.warm)
        if p.reference_c is None:
            return warm, not_applicable(SCALED.name, "no reference temperature is set (dark_current.reference_c)")
        if dark.temperature_c is None:
            return warm, not_applicable(SCALED.name, "the temperature of the detector is not known")
        ratio = dark_ratio(dark.temperature_c, p.reference_c, p.energy_ev)
        if not 1.0 / _FAR < ratio < _FAR:
            told = f"{dark.temperature_c:g} degree Celsius is too far from the reference of {p.reference_c:g} (dark_current.reference_c)"
            return warm, not_applicable(SCALED.name, told)
        return warm, _above(SCALED, dark, amplifiers, errors, p.warm * ratio)


def _above(definition: MetricDef, dark: Dark, amplifiers: Sequence[Amplifier], errors: Mapping[str, float], threshold: float) -> Measured:
    """Fraction of the pixels more than `threshold`, electron/h, above the median of their amplifier; NaN where noise alone goes there."""
    found: dict[str, float] = {}
    told: dict[str, str] = {}
    noisy = f"{threshold:.3g} electron/h are less than {_SURE:g} times the error of a pixel"
    for amp in judged(amplifiers):
        rate = dark.pixels[amp.ccd.slices]
        rate = rate[np.isfinite(rate)] * np.float32(_PER_HOUR)
        told[amp.name] = f"more than {threshold:.3g} electron/h above the median"
        if not rate.size:
            found[amp.name], told[amp.name] = math.nan, "no pixel has a value"
        elif errors.get(amp.name, math.nan) * _SURE > threshold:
            found[amp.name], told[amp.name] = math.nan, noisy
        else:
            found[amp.name] = _fraction(rate > _median(rate) + threshold)
    if found and set(told.values()) == {noisy}:
        return not_applicable(definition.name, noisy)
    return per_amp(definition, amplifiers, found, told)


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
