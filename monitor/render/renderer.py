"""Plots to PNG and PDF. The same plot gives the same bytes: no date, no version and no setting of the user goes into them."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from monitor.render import agg, bands
from monitor.render.bare import new_axes
from monitor.render.direct import Page, Pane
from monitor.render.layout import EDGE, LEGEND_PAD, Box, Cell, arrange, cell_width, legend_columns, legend_rows
from monitor.render.legend import draw_legend
from monitor.render.panel import prepare
from monitor.render.plan import Place
from monitor.render.rulers import draw_colour_bars, draw_grid, draw_rulers
from monitor.render.style import BADGES, GREY, PALE, Look, clean, look_for, styled, wrapped
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.status import Status

MOST_PANELS = 60
"""A figure of more panels is cut, and says so: nobody could read it, and a PNG has a greatest size."""

S = TypeVar("S", Figure, Page)
_MOST_PIXELS = 30_000
_EMPTY = Panel(x=Axis(label=""), y=Axis(label=""), layers=())


def render_png(plot: Plot, *, dpi: float = 120, status: Status | None = None, footer: str = "") -> bytes:
    """The plot as a PNG of `dpi` pixels an inch; `status` is shown as a shape, a colour and a word, `footer` in small letters below.

    What cannot be drawn is said in its panel; only a `dpi` that is not above zero raises ValueError.
    """
    check_dpi(dpi)
    with styled():
        page = _laid_out(plot, dpi, status, footer, lambda size: Page(size, page_dpi(size, dpi)))
        return agg.encoded(page.pixels(page.dpi), page.dpi)


def render_pdf(plot: Plot, *, status: Status | None = None, footer: str = "") -> bytes:
    """The plot as a PDF of one page, with text that can be searched. Points beyond some thousands are kept as pixels."""
    with styled():
        figure = build(plot, dpi=150, status=status, footer=footer)
        out = io.BytesIO()
        metadata = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None, "Title": clean(plot.title)}
        FigureCanvasPdf(figure).print_figure(out, format="pdf", dpi=150, metadata=metadata)
        figure.clear()
        return out.getvalue()


def check_dpi(dpi: float) -> None:
    """Raise ValueError for a resolution that no picture can have."""
    if not (math.isfinite(dpi) and dpi > 0):
        raise ValueError(f"dpi is {dpi}; it must be above zero, 120 for a page")


def page_dpi(size: tuple[float, float], dpi: float) -> float:
    """The resolution for a page of that size (inch): that which is wanted, less where it would have too many pixels for a PNG."""
    return min(dpi, _MOST_PIXELS / max(size))


def build(plot: Plot, *, dpi: float, status: Status | None = None, footer: str = "") -> Figure:
    """The figure of a plot, of matplotlib's own objects. To be called within `styled()`."""
    return _laid_out(plot, dpi, status, footer, lambda size: Figure(figsize=size, dpi=dpi))


def _laid_out(plot: Plot, dpi: float, status: Status | None, footer: str, make: Callable[[tuple[float, float]], S]) -> S:
    """The plot on a figure or page that `make` makes, of a size in inches."""
    panels = plot.panels[:MOST_PANELS] or (_EMPTY,)
    look = look_for(min(max(plot.columns, 1), len(panels)), dpi)
    width = cell_width(look)
    page = _Page.of(plot, look, status, footer, len(plot.panels) - len(panels))
    sheet = arrange([prepare(p, look, width) for p in panels], look, page.top, page.bottom)
    figure = make((look.width, sheet.height))
    page.draw(figure, look)
    for cell in sheet.cells:
        _draw_cell(figure, cell, look)
    return figure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """What stands above and below the panels, in wrapped lines, and the heights it takes (inch)."""

    title: list[str]
    caption: list[str]
    footer: list[str]
    status: Status | None
    top: float
    bottom: float

    @classmethod
    def of(cls, plot: Plot, look: Look, status: Status | None, footer: str, left_out: int) -> _Page:
        inner = look.width - 2 * EDGE
        room = inner - (look.badge(status.value) if status else 0.0)
        title = wrapped(plot.title, look.letters(room, look.font + 2, bold=True))
        left = f" {left_out} more panels are not drawn." if left_out else ""
        caption = wrapped(plot.caption + left, look.letters(inner), 6)
        below = wrapped(footer, look.letters(inner, look.small), 2)
        top = EDGE + look.line(look.font + 2) * max(len(title), 1 if status else 0) + (0.06 if title or status else 0.0)
        bottom = EDGE + look.line() * len(caption) + look.line(look.small) * len(below) + (0.05 if caption or below else 0.0)
        return cls(title=title, caption=caption, footer=below, status=status, top=top, bottom=bottom)

    def draw(self, figure: Figure | Page, look: Look) -> None:
        """Write it onto the figure."""
        height = figure.get_size_inches()[1]
        write(figure, self.title, EDGE, height - EDGE, look.font + 2, weight="bold")
        if self.status:
            left = look.width - EDGE - look.badge(self.status.value)
            draw_badge(figure, self.status, left, height - EDGE - 0.5 * look.line(look.font + 2), look.font)
        y = EDGE + look.line() * len(self.caption) + look.line(look.small) * len(self.footer)
        write(figure, self.caption, EDGE, y, look.font)
        write(figure, self.footer, EDGE, y - look.line() * len(self.caption), look.small, color=GREY)


def draw_badge(figure: Figure | Page, status: Status | None, left: float, middle: float, font: float) -> None:
    """The status as a shape and a word, at that place in inches."""
    badge = BADGES[status]
    inches = figure.dpi_scale_trans
    marker = Line2D(
        [left + 0.5 * font / 72],
        [middle],
        marker=badge.marker,
        color=badge.colour,
        markersize=0.95 * font,
        markeredgecolor="white" if badge.marker == "X" else badge.colour,
        markeredgewidth=0.3,
        linestyle="",
        transform=inches,
    )
    figure.add_artist(marker)
    figure.text(left + 1.45 * font / 72, middle, badge.word, transform=inches, fontsize=font, weight="bold", va="center_baseline")


def write(figure: Figure | Page, lines: list[str], left: float, top: float, font: float, **style: str) -> float:
    """Write lines downwards from `top`; returns where they end."""
    step = 1.3 * font / 72
    for i, line in enumerate(lines):
        figure.text(left, top - (i + 0.8) * step, line, transform=figure.dpi_scale_trans, fontsize=font, va="baseline", **style)  # type: ignore[arg-type]
    return top - step * len(lines)


def add_axes(figure: Figure | Page, box: Box) -> Axes | Pane:
    """Axes at that place in inches."""
    width, height = figure.get_size_inches()
    return new_axes(figure, box.left / width, box.bottom / height, box.width / width, box.height / height)


def _draw_cell(figure: Figure | Page, cell: Cell, look: Look) -> None:
    prepared = cell.prepared
    ax = add_axes(figure, cell.axes)
    draw_rulers(figure, ax, cell.axes, prepared.x, prepared.y, look)
    if prepared.ratio is None and not prepared.message and not prepared.scales:
        draw_grid(ax, prepared.x, prepared.y, both=not any(p.categories for p in prepared.plans))
    ax.spines[["top", "right"]].set_visible(bool(prepared.scales) or bool(prepared.message))
    bands.draw(ax, prepared.panel.bands, prepared.y.limits)
    place = Place(ax=ax, x=prepared.x.limits, y=prepared.y.limits, dpi=look.dpi, font=look.small)
    for plan in prepared.plans:
        plan.draw(place)
    ax.set_xlim(*prepared.x.limits)
    ax.set_ylim(*prepared.y.limits)
    if prepared.message:
        ax.set_facecolor("#f2f2f2")
        box = {"facecolor": "white", "edgecolor": PALE, "pad": 5.0}
        ax.text(0.5, 0.5, prepared.message, transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=look.font, bbox=box)
    _draw_header(figure, cell, look)
    draw_colour_bars(figure, cell, look)


def _draw_header(figure: Figure | Page, cell: Cell, look: Look) -> None:
    prepared = cell.prepared
    y = write(figure, prepared.title, cell.box.left, cell.box.top, look.font, weight="bold")
    notes = look.line(look.small) * len(prepared.notes)
    rows = look.line(look.small) * legend_rows(prepared, look, cell.box.width) + LEGEND_PAD
    y = cell.axes.top + 0.06 + notes + (rows if prepared.entries else 0.0)
    if prepared.entries:
        draw_legend(figure, prepared.entries, cell.box.left, y - 0.5 * LEGEND_PAD, legend_columns(prepared, look, cell.box.width), look)
        y -= rows
    write(figure, prepared.notes, cell.box.left, y, look.small, style="italic", color=GREY)
