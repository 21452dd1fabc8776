"""Rows of words: columns as wide as their longest word, the last one wrapped to what is left. No axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.render.plan import Draw, Place, Plan, nothing
from monitor.render.style import GREY, INK, Look, clean, shortened, wrapped
from quicklook.core.plots import Table

_MOST_ROWS = 60
_LINES = 3
_WIDEST = 28
_SPACE = 5
_LEADING = 1.25

Cells = tuple[list[str], ...]
"""A row: the lines of each of its columns."""


def plan_table(layer: Table, look: Look, width: float) -> Plan:
    """A table in a panel `width` inches wide. What has no room is cut, and marked."""
    rows = [layer.header, *layer.rows[:_MOST_ROWS]]
    columns = max((len(r) for r in rows), default=0)
    if columns == 0 or not layer.rows:
        return Plan(what="rows", total=len(layer.rows), draw=nothing)
    plain = [[clean(c) for c in (*r, *[""] * (columns - len(r)))] for r in rows]
    fixed = [min(max(len(r[i]) for r in plain), _WIDEST) + _SPACE for i in range(columns - 1)]
    letters = look.letters(width, look.small)
    room = max(letters - sum(fixed), 10)
    cells = [(*([shortened(r[i], _WIDEST)] for i in range(columns - 1)), wrapped(r[-1], room, _LINES) or [""]) for r in plain]
    starts = [sum(fixed[:i]) / letters for i in range(columns)]
    lines = float(sum(max(len(c) for c in r) for r in cells)) + 0.4
    plan = Plan(what="rows", total=len(layer.rows), draw=_draw(cells, starts, lines), x=(0.0, 1.0), y=(0.0, lines), margins=(0.0, 0.0))
    plan.height = lines * _LEADING * look.small / 72 + 0.05
    plan.notes = [f"{len(layer.rows) - _MOST_ROWS} more rows are not shown"] if len(layer.rows) > _MOST_ROWS else []
    return plan


def _draw(rows: Sequence[Cells], starts: Sequence[float], lines: float) -> Draw:
    def draw(place: Place) -> None:
        place.ax.set_axis_off()
        top = 0.0
        for index, row in enumerate(rows):
            colour, weight = (INK, "normal") if index else (GREY, "bold")
            style: dict[str, Any] = {"fontsize": place.font, "va": "baseline", "color": colour, "weight": weight}
            for x, texts in zip(starts, row, strict=True):
                for n, text in enumerate(texts):
                    place.ax.text(x, 1.0 - (top + n + 0.8) / lines, text, transform=place.ax.transAxes, **style)
            top += max(len(c) for c in row) + (0.35 if index == 0 else 0.0)
            if index == 0:
                place.ax.plot([0, 1], [1.0 - (top - 0.05) / lines] * 2, transform=place.ax.transAxes, color=GREY, linewidth=0.7)

    return draw
