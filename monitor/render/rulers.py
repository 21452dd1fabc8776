"""Ticks, their texts, labels, grids and colour bars, drawn at known places.

Matplotlib's own ticks are objects of five artists each, made and measured anew for every figure: they took half of the time of drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from monitor.render.bare import new_axes
from monitor.render.colours import ColourScale
from monitor.render.direct import Page, Pane
from monitor.render.layout import BAR, BAR_GAP, TICK, Box, Cell, bar_label, bar_width
from monitor.render.numeric import Interval, tick_texts
from monitor.render.panel import Ruler
from monitor.render.style import GREY, INK, Look

_GRID: dict[str, Any] = {"color": "#e6e6e6", "linewidth": 0.6, "zorder": 0.4}
_MARK: dict[str, Any] = {"color": GREY, "linestyle": "", "markersize": 3.5, "markeredgewidth": 0.7}
_NEAR = 0.02
_SHADES = 256
_TIP = 0.03


def fractions(values: Sequence[float], limits: Interval, *, log: bool) -> list[float]:
    """Where the values lie on the axis: 0 at its lower, 1 at its upper end."""
    low, high, *at = (math.log10(v) if log else v for v in (*limits, *values))
    return [(v - low) / (high - low) for v in at]


def draw_rulers(figure: Figure | Page, ax: Axes | Pane, box: Box, x: Ruler, y: Ruler, look: Look) -> None:
    """Scales, limits, ticks and labels of both axes of the box (inch)."""
    if x.log:
        ax.set_xscale("log")
    if y.log:
        ax.set_yscale("log")
    ax.set_xlim(*x.limits)
    ax.set_ylim(*y.limits)
    _below(figure, box, x, look)
    _left(figure, box, y, look)


def _below(figure: Figure | Page, box: Box, ruler: Ruler, look: Look) -> None:
    places = [box.left + f * box.width for f in fractions(ruler.ticks, ruler.limits, log=ruler.log)]
    _marks(figure, places, [box.bottom] * len(places), 3)
    turn: dict[str, Any] = {"rotation": 90} if ruler.upright else {}
    inches = figure.dpi_scale_trans
    for place, text in zip(places, ruler.texts, strict=True):
        figure.text(place, box.bottom - TICK, text, transform=inches, fontsize=look.small, color=INK, ha="center", va="top", **turn)
    if ruler.label:
        tall = look.figures(ruler.texts) if ruler.upright else look.line(look.small)
        bottom = box.bottom - TICK - (tall if ruler.texts else 0.0) - _NEAR
        figure.text(box.left + 0.5 * box.width, bottom, ruler.label, transform=inches, fontsize=look.font, color=INK, ha="center", va="top")


def _left(figure: Figure | Page, box: Box, ruler: Ruler, look: Look) -> None:
    places = [box.bottom + f * box.height for f in fractions(ruler.ticks, ruler.limits, log=ruler.log)]
    _marks(figure, [box.left] * len(places), places, 0)
    inches = figure.dpi_scale_trans
    for place, text in zip(places, ruler.texts, strict=True):
        figure.text(box.left - TICK, place, text, transform=inches, fontsize=look.small, color=INK, ha="right", va="center_baseline")
    if ruler.label:
        right = box.left - TICK - look.figures(ruler.texts) - _NEAR
        style: dict[str, Any] = {"ha": "right", "va": "center", "rotation": 90, "multialignment": "center"}
        figure.text(right, box.bottom + 0.5 * box.height, ruler.label, transform=inches, fontsize=look.font, color=INK, **style)


def _marks(figure: Figure | Page, xs: list[float], ys: list[float], marker: Literal[0, 1, 3]) -> None:
    """Short lines: to the left (0), to the right (1), downwards (3)."""
    if xs and isinstance(figure, Page):
        figure.marks(xs, ys, marker=marker, color=GREY, markersize=_MARK["markersize"], markeredgewidth=_MARK["markeredgewidth"])
    elif xs:
        figure.add_artist(Line2D(xs, ys, marker=marker, transform=figure.dpi_scale_trans, **_MARK))


def draw_grid(ax: Axes | Pane, x: Ruler, y: Ruler, *, both: bool) -> None:
    """Pale lines at the ticks: across, and upwards too where `both`."""
    _lines(ax, y, across=True)
    if both:
        _lines(ax, x, across=False)


def _lines(ax: Axes | Pane, ruler: Ruler, *, across: bool) -> None:
    if not ruler.ticks:
        return
    at = np.repeat(np.array(ruler.ticks), 3)
    at[2::3] = np.nan
    ends = np.tile([0.0, 1.0, np.nan], len(ruler.ticks))
    transform: Any = ax.get_yaxis_transform() if across else ax.get_xaxis_transform()
    ax.plot(*((ends, at) if across else (at, ends)), transform=transform, **_GRID)


def draw_colour_bars(figure: Figure | Page, cell: Cell, look: Look) -> None:
    """The colour bars of a cell, to the right of its axes."""
    left = cell.axes.left + cell.axes.width
    for scale in cell.prepared.scales:
        _bar(figure, Box(left=left + BAR_GAP, bottom=cell.axes.bottom, width=BAR, height=cell.axes.height), scale, look)
        left += bar_width(scale, look)


def _bar(figure: Figure | Page, box: Box, scale: ColourScale, look: Look) -> None:
    """Shades in equal steps of the scale; a tip at an end beyond which there are values."""
    inches, tip = figure.dpi_scale_trans, _TIP * box.height
    low = box.bottom + (tip if scale.extend in ("min", "both") else 0.0)
    high = box.top - (tip if scale.extend in ("max", "both") else 0.0)
    shades = scale.cmap(np.linspace(0.0, 1.0, _SHADES))[:, None, :]
    width, height = figure.get_size_inches()
    ax = new_axes(figure, box.left / width, low / height, box.width / width, (high - low) / height)
    ax.set_axis_off()
    ax.imshow(shades, extent=(0.0, 1.0, 0.0, 1.0), origin="lower", aspect="auto")
    middle, right = box.left + 0.5 * box.width, box.left + box.width
    for end, point, colour, there in ((low, box.bottom, shades[0, 0], low > box.bottom), (high, box.top, shades[-1, 0], high < box.top)):
        if there:
            figure.add_artist(Polygon([(box.left, end), (right, end), (middle, point)], transform=inches, facecolor=colour, edgecolor="none"))
    figure.add_artist(Rectangle((box.left, low), box.width, high - low, transform=inches, fill=False, edgecolor=GREY, linewidth=0.7))
    texts = tick_texts(scale.ticks, log=scale.log)
    places = [low + float(scale.norm(v)) * (high - low) for v in scale.ticks]
    _marks(figure, [right] * len(places), places, 1)
    for place, text in zip(places, texts, strict=True):
        figure.text(right + TICK, place, text, transform=inches, fontsize=look.small, color=INK, va="center_baseline")
    beside = right + TICK + look.figures(texts) + _NEAR
    style: dict[str, Any] = {"rotation": 90, "ha": "left", "va": "center", "multialignment": "center"}
    figure.text(beside, box.bottom + 0.5 * box.height, bar_label(scale, look), transform=inches, fontsize=look.font, color=INK, **style)
