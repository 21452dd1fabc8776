"""Where the panels of a figure go. All lengths are in inches, from the lower left corner of the figure.

Columns share their left and right margins and rows their headers, so that axes stand in line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.render.colours import ColourScale
from monitor.render.numeric import tick_texts
from monitor.render.panel import Prepared
from monitor.render.style import Look, axis_label

GAP = 0.22
EDGE = 0.12
BAR = 0.13
BAR_GAP = 0.08
LEGEND_PAD = 0.06
TICK = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle: left, bottom, width, height."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def top(self) -> float:
        """Its upper end."""
        return self.bottom + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A panel and its places: the whole cell, and the axes within it."""

    prepared: Prepared
    box: Box
    axes: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """All cells of a figure, and its height."""

    cells: tuple[Cell, ...]
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    left: float
    right: float
    header: float
    footer: float


def cell_width(look: Look) -> float:
    """Width of a cell, inch."""
    return (look.width - 2 * EDGE - (look.columns - 1) * GAP) / look.columns


def legend_columns(prepared: Prepared, look: Look, width: float) -> int:
    """How many legend entries stand side by side."""
    if not prepared.entries:
        return 1
    longest = max(len(text) for _, text in prepared.entries)
    return max(1, min(len(prepared.entries), int((width + 0.17) / (longest * look.letter(look.small) + 3.7 * look.small / 72))))


def legend_rows(prepared: Prepared, look: Look, width: float) -> int:
    """How many rows of legend entries there are."""
    return math.ceil(len(prepared.entries) / legend_columns(prepared, look, width))


def _room(prepared: Prepared, look: Look, width: float) -> _Room:
    letter = look.letter(look.small)
    y, x = prepared.y, prepared.x
    left = TICK + (look.figures(y.texts) or letter) + look.line() * lines_of(y.label) + 0.06
    below = look.figures(x.texts) if x.upright else look.line(look.small)
    footer = TICK + below + look.line() * lines_of(x.label) + 0.05
    header = 0.06 + look.line() * len(prepared.title) + look.line(look.small) * len(prepared.notes)
    header += look.line(look.small) * legend_rows(prepared, look, width) + (LEGEND_PAD if prepared.entries else 0.0)
    last = 0.5 * len(x.texts[-1]) * letter if x.texts and not x.upright else 0.05
    bars = sum(bar_width(scale, look) for scale in prepared.scales)
    return _Room(left=left, right=max(bars, last), header=header, footer=footer)


def bar_width(scale: ColourScale, look: Look) -> float:
    """Width that a colour bar takes with its ticks and label."""
    return BAR_GAP + BAR + TICK + look.figures(tick_texts(scale.ticks, log=scale.log)) + look.line() * lines_of(bar_label(scale, look)) + 0.04


def bar_label(scale: ColourScale, look: Look) -> str:
    """The words beside a colour bar, in one or two lines."""
    return axis_label(scale.axis, look.letters(2.0))


def lines_of(label: str) -> int:
    """How many lines a label has."""
    return len(label.splitlines())


def _axes_height(prepared: Prepared, width: float) -> float:
    needed = [p.height for p in prepared.plans if p.height is not None]
    if needed and len(needed) == len(prepared.plans):
        return max(needed)
    if prepared.ratio is not None:
        return min(max(width * prepared.ratio, 0.6), 5.4)
    if any(p.what == "pixels" for p in prepared.plans):
        return min(max(0.6 * width, 2.0), 3.6)
    return min(max(0.42 * width, 2.0), 3.0)


def arrange(panels: Sequence[Prepared], look: Look, top: float, bottom: float) -> Sheet:
    """Places for all panels, with so much room kept above and below them."""
    width = cell_width(look)
    rooms = [_room(p, look, width) for p in panels]
    columns = [rooms[c :: look.columns] for c in range(look.columns)]
    left = [max((r.left for r in column), default=0.0) for column in columns]
    right = [max((r.right for r in column), default=0.0) for column in columns]
    inner = [max(width - a - b, 0.5) for a, b in zip(left, right, strict=True)]
    rows = [range(i, min(i + look.columns, len(panels))) for i in range(0, len(panels), look.columns)]
    headers = [max(rooms[i].header for i in row) for row in rows]
    heights = [max(_axes_height(panels[i], inner[i % look.columns]) for i in row) for row in rows]
    footers = [max(rooms[i].footer for i in row) for row in rows]
    total = top + bottom + sum(headers) + sum(heights) + sum(footers) + GAP * max(len(rows) - 1, 0)
    cells = []
    y = total - top
    for row, header, height, footer in zip(rows, headers, heights, footers, strict=True):
        for i in row:
            column = i % look.columns
            x = EDGE + column * (width + GAP)
            box = Box(left=x, bottom=y - header - height - footer, width=width, height=header + height + footer)
            area = Box(left=x + left[column], bottom=y - header - height, width=inner[column], height=height)
            cells.append(Cell(prepared=panels[i], box=box, axes=_fitted(area, panels[i].ratio)))
        y -= header + height + footer + GAP
    return Sheet(cells=tuple(cells), height=total)


def _fitted(area: Box, ratio: float | None) -> Box:
    """The largest box of that ratio in the upper left of the area."""
    if ratio is None:
        return area
    width = min(area.width, area.height / ratio)
    height = width * ratio
    return Box(left=area.left, bottom=area.top - height, width=width, height=height)
