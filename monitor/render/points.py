"""Lines, points, and the focal plane."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from monitor.render.numeric import Floats, axis_limits, interval, numbers, vectors
from monitor.render.plan import Draw, Entry, Place, Plan, Setting, nothing
from monitor.render.style import BADGES, DASHES, GREY, MARKERS, SERIES, clean
from quicklook.core.errors import BadData
from quicklook.core.plots import FocalPlane, Line, Scatter
from quicklook.core.status import Status

_RASTER = 5000
"""More points than this are kept as pixels in a PDF, which would else take seconds to open."""


def drawable(x: Floats, y: Floats, setting: Setting) -> tuple[Floats, Floats, dict[str, int]]:
    """`x` and `y` with NaN where a point cannot be drawn, and how many there are for each reason. Where both are NaN a line is meant to end."""
    counts: dict[str, int] = {}
    lost = ~(np.isfinite(x) & np.isfinite(y))
    gaps = int((np.isfinite(x) | np.isfinite(y))[lost].sum())
    if lost.all() and len(x):
        gaps = len(x)
    if gaps:
        counts["not measured (gaps)"] = gaps
    for axis, values in ((setting.x, x), (setting.y, y)):
        off = (values <= 0) & ~lost if axis.log else np.zeros(len(x), bool)
        if off.any():
            counts["not above zero, off the logarithmic scale"] = int(off.sum())
        lost = lost | off
    return np.where(lost, np.nan, x), np.where(lost, np.nan, y), counts


def isolated(y: Floats) -> Floats:
    """`y` where it stands alone between gaps, where a line would show nothing; NaN elsewhere."""
    good = np.isfinite(y)
    edge = np.concatenate(([False], good, [False]))
    return np.where(good & ~edge[:-2] & ~edge[2:], y, np.nan)


def plan_line(layer: Line, setting: Setting) -> Plan:
    """A line; a point between two gaps is drawn as a dot."""
    x, y = vectors(x=layer.x, y=layer.y)
    x, y, counts = drawable(x, y, setting)
    colour = SERIES[setting.index % len(SERIES)]
    dash = DASHES[(setting.index // len(SERIES)) % len(DASHES)]
    width = 1.3 if len(x) < 500 else 0.9

    error = None if layer.error is None else np.abs(vectors(x=layer.x, error=layer.error)[1])
    if error is not None and setting.y.log:
        error = None  # half of the range would be off the axis

    def draw(place: Place) -> None:
        raster = len(x) > 10 * _RASTER
        if error is not None:
            place.ax.fill_between(x, y - error, y + error, color=colour, alpha=0.25, linewidth=0, zorder=1.2, rasterized=raster)
        place.ax.plot(x, y, color=colour, linestyle=dash, linewidth=width, rasterized=raster)
        place.ax.plot(x, isolated(y), color=colour, linestyle="", marker=".", markersize=5, rasterized=raster)

    entry = _entry(Line2D([], [], color=colour, linestyle=dash, linewidth=1.5), layer.label)
    return Plan(what="points", total=len(x), draw=draw, x=interval(x), y=interval(y), shown=(x, y), counts=counts, entries=entry, dots=True)


def _entry(handle: Line2D, label: str) -> list[Entry]:
    return [(handle, clean(label))] if label.strip() else []


def plan_scatter(layer: Scatter, setting: Setting) -> Plan:
    """Points in one colour (those of a status in its own), or coloured by `c`; those without a value of `c` are hollow."""
    x, y = vectors(x=layer.x, y=layer.y)
    size = min(max(math.sqrt(6000 / max(len(x), 1)), 2.2), 5.0)
    plan = _plan_points(x, y, layer.c, setting, size, label=layer.label)
    plan.dots = True
    if layer.c is None or setting.scale is None:
        colour, marker = _look(layer.label, setting.index)
        plan.entries = _entry(Line2D([], [], color=colour, linestyle="", marker=marker, markersize=5), layer.label)
    else:
        plan.entries = _entry(Line2D([], [], color=GREY, linestyle="", marker="o", markersize=5), layer.label) + plan.entries
    return plan


def plan_focal_plane(layer: FocalPlane, setting: Setting) -> Plan:
    """Values at places of the focal plane; a cross where the value was not measured."""
    x, y = vectors(x=layer.x, y=layer.y)
    size = min(max(math.sqrt(45000 / max(len(x), 1)), 2.8), 9.0)
    plan = _plan_points(x, y, layer.c, setting, size, crowded=True)
    plan.entries = _entry(Line2D([], [], color=GREY, linestyle="", marker="o", markersize=5), layer.label) + plan.entries
    plan.margins = (0.05, 0.05)
    limits = [axis_limits(a, s, 0.05) for a, s in ((setting.x, plan.x), (setting.y, plan.y))]
    plan.ratio = abs(limits[1][1] - limits[1][0]) / abs(limits[0][1] - limits[0][0])
    return plan


def _room(place: Place, n: int) -> float:
    """Size (point) at which so many points over half of the axes do not lie one over the other."""
    width, height = place.inches
    return max(72 * 0.8 * math.sqrt(0.5 * width * height / max(n, 1)), 2.0)


def _plan_points(x: Floats, y: Floats, c: npt.NDArray[Any] | None, setting: Setting, most: float, *, crowded: bool = False, label: str = "") -> Plan:
    if c is not None and len(np.ravel(c)) != len(x):
        raise BadData(f"lengths differ: x has {len(x)}, c has {len(np.ravel(c))}")
    x, y, counts = drawable(x, y, setting)
    seen = np.isfinite(x)
    values = None if c is None else numbers(c, "c").ravel()
    scale = setting.scale if values is not None else None
    plan = Plan(what="points", total=len(x), draw=nothing, x=interval(x), y=interval(y), shown=(x, y), counts=counts, scale=scale)
    if values is None or scale is None:
        plan.draw = _plain(x, y, _look(label, setting.index), most)
        return plan
    valued = seen & np.isfinite(values) & ((values > 0) | (not scale.log))
    hollow = seen & ~valued
    if hollow.any():
        text = f"not measured ({int(hollow.sum())} of {int(seen.sum())})"
        plan.entries.append((Line2D([], [], color=GREY, linestyle="", marker="x", markersize=5), text))

    def draw(place: Place) -> None:
        raster = len(x) > _RASTER
        size = min(most, _room(place, len(x))) if crowded else most
        place.ax.plot(x[hollow], y[hollow], "x", color=GREY, markersize=size, markeredgewidth=0.9, rasterized=raster, zorder=2.5)
        style: dict[str, Any] = {"cmap": scale.cmap, "norm": scale.norm, "edgecolors": GREY, "linewidths": 0.25}
        place.ax.scatter(x[valued], y[valued], c=values[valued], s=size**2, rasterized=raster, **style)

    plan.draw = draw
    return plan


def _look(label: str, index: int) -> tuple[str, str]:
    """Colour and shape of points: those of a status where that is what they are called."""
    if label in Status.__members__:
        badge = BADGES[Status(label)]
        return badge.colour, badge.marker
    return SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]


def _plain(x: Floats, y: Floats, look: tuple[str, str], size: float) -> Draw:
    colour, marker = look

    def draw(place: Place) -> None:
        place.ax.plot(x, y, linestyle="", marker=marker, color=colour, markersize=size, markeredgewidth=0, alpha=0.85, rasterized=len(x) > _RASTER)

    return draw
