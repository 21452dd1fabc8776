"""Colour scales: which values get which colour, with the ticks of the colour bar. One scale serves all layers of a panel that share an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, FuncNorm, LogNorm, Normalize

from monitor.render.numeric import Floats, Interval, given_range, short, ticks, widened
from monitor.render.style import PALE
from quicklook.core.plots import Axis

_MAPS = {"diverging": "PRGn"}
Stretch = Literal["linear", "asinh", "log"]
Extend = Literal["neither", "min", "max", "both"]
_SAMPLE = 200_000
_MANY = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColourScale:
    """Values to colours, the ticks of the bar, which of its ends hide values beyond, and what must be said about it."""

    axis: Axis
    norm: Normalize
    cmap: Colormap
    ticks: tuple[float, ...]
    log: bool
    extend: Extend
    notes: tuple[str, ...] = ()


def _sampled(values: Floats) -> Floats:
    flat = values[np.isfinite(values)]
    return flat[:: max(1, flat.size // _SAMPLE)]


def image_scale(axis: Axis, values: Floats, stretch: Stretch, percentile: tuple[float, float]) -> ColourScale:
    """Scale of an image: the percentile range of its values, or the range of the axis, under its stretch."""
    sample = _sampled(values)
    log = axis.log or stretch == "log"
    notes = []
    if log and sample.size and not (sample > 0).any():
        log = False
        notes.append("no value above zero: the scale is linear")
    if sample.size and float(sample.min()) == float(sample.max()):
        notes.append(f"every value is {short(float(sample[0]), 6)}")
    span = _colour_range(axis, sample, percentile, log=log)
    if stretch == "asinh" and not log:
        return _scale(axis, _asinh_norm(sample, *span), "viridis", sample, log=False, notes=notes)
    return _plain_scale(axis, span, sample, log=log, notes=notes)


def point_scale(axis: Axis, values: Floats) -> ColourScale:
    """Scale of coloured points: all their values (of many points all but the outermost), or the range of the axis."""
    sample = values[np.isfinite(values)]
    span = _colour_range(axis, sample, (0.0, 100.0) if sample.size < _MANY else (0.5, 99.5), log=axis.log)
    return _plain_scale(axis, span, sample, log=axis.log, notes=[])


def _plain_scale(axis: Axis, span: Interval, sample: Floats, *, log: bool, notes: list[str]) -> ColourScale:
    """Logarithmic, or linear; linear values of both signs get two hues about zero."""
    low, high = span
    if log:
        return _scale(axis, LogNorm(low, high), "viridis", sample, log=True, notes=notes)
    if low < 0 < high and min(-low, high) > 0.2 * max(-low, high):
        if given_range(axis) == (None, None):
            low, high = -max(-low, high), max(-low, high)
        cmap = "PRGn" if low == -high else "viridis"
        return _scale(axis, Normalize(low, high), cmap, sample, log=False, notes=notes)
    return _scale(axis, Normalize(low, high), "viridis", sample, log=False, notes=notes)


def _colour_range(axis: Axis, sample: Floats, percentile: tuple[float, float], *, log: bool) -> Interval:
    """What the ends of the scale stand for: the range of the axis, else percentiles; never empty."""
    low, high = (1.0, 10.0) if log else (0.0, 1.0)
    good = sample[sample > 0] if log else sample
    if good.size:
        wanted = percentile if 0 <= percentile[0] < percentile[1] <= 100 else (1.0, 99.0)
        low, high = (float(v) for v in np.percentile(good, wanted))
        if low == high:
            low, high = float(good.min()), float(good.max())
    first, last = given_range(axis)
    low = low if first is None or (log and first <= 0) else first
    high = high if last is None or (log and last <= 0) else last
    low, high = min(low, high), max(low, high)
    if log:
        return (low / 1.1, high * 1.1) if high < low * (1 + 1e-9) else (low, high)
    return widened((low, high))


def _asinh_norm(sample: Floats, low: float, high: float) -> Normalize:
    """asinh((v - median) / w) with w three times the scatter below the median: the sky is stretched, the bright end compressed."""
    middle, width = 0.5 * (low + high), (high - low) / 10
    if sample.size:
        below, centre = (float(v) for v in np.percentile(sample, (16, 50)))
        middle = min(max(centre, low), high)
        width = min(max(3 * (centre - below), (high - low) / 3000), (high - low) / 3)

    def forward(values: Floats) -> Floats:
        return np.asarray(np.arcsinh((np.asarray(values) - middle) / width))

    def inverse(values: Floats) -> Floats:
        return np.asarray(middle + width * np.sinh(np.asarray(values)))

    return FuncNorm((forward, inverse), low, high)


def _scale(axis: Axis, norm: Normalize, cmap: str, sample: Floats, *, log: bool, notes: list[str]) -> ColourScale:
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    below = bool(sample.size) and float(sample.min()) < low
    above = bool(sample.size) and float(sample.max()) > high
    extend: Extend = "both" if below and above else "min" if below else "max" if above else "neither"
    places: list[float] = []
    if sample.size:
        places = _curved_ticks(norm, low, high) if isinstance(norm, FuncNorm) else ticks((low, high), log=log, count=6)
    chosen = cmap if axis.colours == "auto" else _MAPS.get(axis.colours, axis.colours)
    colours = matplotlib.colormaps[chosen].with_extremes(bad=PALE)
    return ColourScale(axis=axis, norm=norm, cmap=colours, ticks=tuple(places), log=log, extend=extend, notes=tuple(notes))


def _curved_ticks(norm: Normalize, low: float, high: float) -> list[float]:
    """Ticks of a curved scale: zero and round numbers (1, 2, 5 times powers of ten) not closer than an eighth of the bar."""
    top = math.ceil(math.log10(max(abs(low), abs(high))))
    sizes = [f * 10.0**e for e in range(top, top - 6, -1) for f in (5, 2, 1)]
    wanted = [v for v in [0.0, *sizes, *(-s for s in sizes)] if low <= v <= high]
    chosen: dict[float, float] = {}
    for value in wanted:
        place = float(norm(value))
        if all(abs(place - other) >= 0.125 for other in chosen.values()):
            chosen[value] = place
    return sorted(chosen) if len(chosen) >= 3 else ticks((low, high), count=5)
