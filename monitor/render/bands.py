"""Limits as bands across a panel: normal green, warning amber, each with its edges and its words; what is outside of both alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from monitor.render.direct import Pane
from monitor.render.numeric import HUGE, TINY, Interval, short
from monitor.render.style import NORMAL, WARNING, Dash, clean
from quicklook.core.plots import Band

_COLOUR = {"normal": NORMAL, "warning": WARNING}
_ALPHA = {"normal": 0.13, "warning": 0.20}
_EDGE: dict[str, Dash] = {"normal": "-", "warning": "--"}


def ends(band: Band) -> Interval:
    """Both ends of a band in order; an open one is infinite."""
    low = -math.inf if band.low is None or math.isnan(band.low) else band.low
    high = math.inf if band.high is None or math.isnan(band.high) else band.high
    low, high = (0.0 if abs(v) < TINY else v for v in (low, high))
    return min(low, high), max(low, high)


def edges(bands: Sequence[Band]) -> list[float]:
    """All finite ends of bands."""
    return [v for b in bands for v in ends(b) if abs(v) < HUGE]


def without(span: Interval, holes: Sequence[Interval]) -> list[Interval]:
    """What is left of an interval when others are cut out of it."""
    left = [span]
    for low, high in holes:
        left = [p for a, b in left for p in ((a, min(b, low)), (max(a, high), b)) if p[0] < p[1]]
    return left


def words(band: Band, unit: str) -> str:
    """``normal: 1.5 to 4 electron``."""
    low, high = ends(band)
    name = clean(band.label) or band.kind
    unit = f" {clean(unit)}" if unit.strip() else ""
    if math.isinf(low) and math.isinf(high):
        return f"{name}: anything"
    if math.isinf(low) or math.isinf(high):
        return f"{name}: {'≤ ' + short(high) if math.isinf(low) else '≥ ' + short(low)}{unit}"
    return f"{name}: {short(low)}{unit}" if low == high else f"{name}: {short(low)} to {short(high)}{unit}"


def entries(bands: Sequence[Band], unit: str, limits: Interval) -> list[tuple[Patch, str]]:
    """Legend entries, each once; a band of which nothing lies within the axis says so."""
    out: dict[str, Patch] = {}
    low, high = sorted(limits)
    for band in sorted(bands, key=lambda b: b.kind):
        first, last = ends(band)
        hidden = " (not on this scale)" if first > high or last < low else ""
        colour = _COLOUR[band.kind]
        patch = Patch(facecolor=colour, alpha=2 * _ALPHA[band.kind], edgecolor=colour, linestyle=_EDGE[band.kind])
        out.setdefault(words(band, unit) + hidden, patch)
    return [(patch, text) for text, patch in out.items()]


def draw(ax: Axes | Pane, bands: Sequence[Band], limits: Interval) -> None:
    """Draw the bands behind the data and their edges before them, clipped to the axis; a warning band is left out where it is normal."""
    low, high = sorted(limits)
    normal = [ends(b) for b in bands if b.kind == "normal"]
    for band in bands:
        span = ends(band)
        colour = _COLOUR[band.kind]
        for a, b in without(span, normal) if band.kind == "warning" else [span]:
            bottom, top = max(a, low), min(b, high)
            if bottom < top:
                ax.axhspan(bottom, top, facecolor=colour, alpha=_ALPHA[band.kind], linewidth=0, zorder=0.5)
        for edge in span:
            if low <= edge <= high:
                ax.axhline(edge, color=colour, linestyle=_EDGE[band.kind], linewidth=0.9, zorder=3)


def include(data: Interval | None, bands: Sequence[Band]) -> Interval | None:
    """The data's interval grown to the edges of the bands that are within twenty times its size, above and below alike, so that a range which is
    the same to both sides is seen as such. Without data, the edges alone.
    """
    found = sorted(edges(bands))
    if not found:
        return data
    if data is None:
        return found[0], found[-1]
    low, high = data
    size = (high - low) or 0.25 * max(abs(v) for v in (low, high, *found))
    near = [e for e in found if max(low - e, e - high) <= 19 * size]
    return min([low, *near]), max([high, *near])
