"""The contact sheet: one small picture of every camera, with its mask and its status, to be taken in at a glance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Rectangle

from monitor.render.agg import encoded
from monitor.render.colours import ColourScale
from monitor.render.direct import Page
from monitor.render.layout import EDGE, Box
from monitor.render.numeric import short
from monitor.render.panel import Prepared, prepare
from monitor.render.plan import Place
from monitor.render.renderer import add_axes, check_dpi, draw_badge, page_dpi, write
from monitor.render.style import BADGES, GREY, PALE, Look, clean, shortened, styled, wrapped
from quicklook.core.plots import Axis, Image, Panel, Plot
from quicklook.core.status import Status

_WIDTH = 9.6
_FONT = 9.0
_GAP = 0.14
_PAD = 0.05
_LARGEST = 3.4
_REMARKS = 3
_NOTHING = Panel(x=Axis(label=""), y=Axis(label=""), layers=())


def render_contact_sheet(
    plots: Sequence[tuple[str, Plot | None]],
    *,
    statuses: Mapping[str, Status | None] | None = None,
    title: str = "",
    footer: str = "",
    columns: int | None = None,
    dpi: float = 120,
) -> bytes:
    """PNG with the first picture of each plot, in the order given; a name without a plot, or whose plot has no picture, says "no data".

    `statuses` by the same names; a name that is not among them reads "no status". `columns` is chosen by the number of pictures where it
    is not given, six at most. Raises ValueError for a `dpi` that is not above zero.
    """
    check_dpi(dpi)
    across = columns if columns and columns > 0 else min(max(math.ceil(math.sqrt(len(plots))), 1), 6)
    with styled():
        page = _build(plots, statuses or {}, across, title, footer, dpi)
        return encoded(page.pixels(page.dpi), page.dpi)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One picture: its name, its status, what is drawn and what is written below."""

    name: str
    status: Status | None
    prepared: Prepared
    remarks: list[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """Sizes of the sheet, in inches, and what stands above and below."""

    look: Look
    side: float
    rows: int
    stacked: bool
    remarks: int
    title: list[str]
    footer: list[str]

    @property
    def top(self) -> float:
        """Height above the pictures."""
        return EDGE + self.look.line(self.look.font + 3) * len(self.title) + 0.06

    @property
    def header(self) -> float:
        """Height of name and badge, side by side or one above the other."""
        return self.look.line() * (2 if self.stacked else 1) + _PAD

    @property
    def tall(self) -> float:
        """Height of a cell: name and badge, the picture, remarks."""
        return self.header + self.side - 2 * _PAD + self.remarks * self.look.line(_remark_font(self.look)) + 2 * _PAD

    @property
    def height(self) -> float:
        """Height of the sheet."""
        below = self.look.line(self.look.small) * len(self.footer) + EDGE
        return self.top + max(self.rows, 1) * (self.tall + _GAP) + below

    def box(self, index: int) -> Box:
        """Place of a cell."""
        row, column = divmod(index, self.look.columns)
        left = EDGE + column * (self.side + _GAP)
        return Box(left=left, bottom=self.height - self.top - row * (self.tall + _GAP) - self.tall, width=self.side, height=self.tall)


def _remark_font(look: Look) -> float:
    return look.small - 0.5


def _build(
    plots: Sequence[tuple[str, Plot | None]], statuses: Mapping[str, Status | None], columns: int, title: str, footer: str, dpi: float
) -> Page:
    scale = max(1.0, columns / 7)
    side = min((_WIDTH * scale - 2 * EDGE - _GAP * (columns - 1)) / columns, _LARGEST)
    inner = max(columns * (side + _GAP) - _GAP, 2 * _LARGEST)
    look = Look(width=inner + 2 * EDGE, font=_FONT * (1 + 0.4 * (scale - 1)), columns=columns, dpi=dpi)
    cells = [_cell(name, statuses.get(name), plot, look, side) for name, plot in plots]
    longest = max((len(c.name) for c in cells), default=0)
    sheet = _Sheet(
        look=look,
        side=side,
        rows=math.ceil(len(plots) / columns),
        stacked=longest * look.letter(bold=True) + look.badge(Status.UNKNOWN.value, look.small) + 3 * _PAD > side,
        remarks=max((len(c.remarks) for c in cells), default=0),
        title=wrapped(title, look.letters(inner, look.font + 3, bold=True)),
        footer=wrapped(footer, look.letters(inner, look.small), 3),
    )
    size = (look.width, sheet.height)
    figure = Page(size, page_dpi(size, dpi))
    write(figure, sheet.title, EDGE, sheet.height - EDGE, look.font + 3, weight="bold")
    if not plots:
        figure.text(0.5, 0.5, "no data", ha="center", va="center", color=GREY, fontsize=look.font + 3)
    for index, cell in enumerate(cells):
        _draw_cell(figure, sheet, sheet.box(index), cell)
    write(figure, sheet.footer, EDGE, EDGE + look.line(look.small) * len(sheet.footer), look.small, color=GREY)
    return figure


def _cell(name: str, status: Status | None, plot: Plot | None, look: Look, side: float) -> _Cell:
    prepared = prepare(_picture(plot), look, _WIDTH)
    remarks = _remarks(prepared, look.letters(side - 2 * _PAD, _remark_font(look)))
    return _Cell(name=clean(name), status=status, prepared=prepared, remarks=remarks)


def _picture(plot: Plot | None) -> Panel:
    """The first panel of a plot that has a picture, with its pictures alone."""
    for panel in plot.panels if plot else ():
        layers = tuple(layer for layer in panel.layers if isinstance(layer, Image))
        if layers:
            return dataclasses.replace(panel, layers=layers, bands=(), title="")
    return _NOTHING


def _draw_cell(figure: Page, sheet: _Sheet, box: Box, cell: _Cell) -> None:
    look = sheet.look
    _draw_frame(figure, box, cell.status)
    middle = box.top - _PAD - 0.5 * look.line()
    word = look.badge(BADGES[cell.status].word, look.small)
    room = box.width - 2 * _PAD - (0.0 if sheet.stacked else word)
    style: dict[str, Any] = {"transform": figure.dpi_scale_trans, "fontsize": look.font, "weight": "bold", "va": "center_baseline"}
    figure.text(box.left + _PAD, middle, shortened(cell.name, max(int(room / look.letter(bold=True)), 3)), **style)
    left = box.left + (_PAD if sheet.stacked else box.width - word - _PAD)
    draw_badge(figure, cell.status, left, middle - (look.line() if sheet.stacked else 0.0), look.small)
    side = box.width - 2 * _PAD
    bottom = box.top - sheet.header - side
    _draw_picture(figure, cell.prepared, Box(left=box.left + _PAD, bottom=bottom, width=side, height=side), look)
    write(figure, cell.remarks, box.left + _PAD, bottom - 0.02, _remark_font(look), color=GREY)


def _draw_frame(figure: Page, box: Box, status: Status | None) -> None:
    """A frame in the colour of the status; thick where somebody should look."""
    quiet = status in (None, Status.NORMAL)
    colour = PALE if status is None else BADGES[status].colour
    width = 0.8 if quiet else 2.2
    frame = Rectangle((box.left, box.bottom), box.width, box.height, transform=figure.dpi_scale_trans, fill=False, edgecolor=colour, linewidth=width)
    figure.add_artist(frame)


def _draw_picture(figure: Page, prepared: Prepared, box: Box, look: Look) -> None:
    ratio = prepared.ratio or 1.0
    width, height = (box.width, box.width * ratio) if ratio <= 1 else (box.height / ratio, box.height)
    left, bottom = box.left + 0.5 * (box.width - width), box.bottom + 0.5 * (box.height - height)
    ax = add_axes(figure, Box(left=left, bottom=bottom, width=width, height=height))
    if prepared.message:
        ax.set_facecolor("#f2f2f2")
        ax.text(0.5, 0.5, prepared.message.splitlines()[0], transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=look.font)
    place = Place(ax=ax, x=prepared.x.limits, y=prepared.y.limits, dpi=look.dpi, font=look.small)
    for plan in prepared.plans:
        plan.draw(place)
    ax.set_xlim(*prepared.x.limits)
    ax.set_ylim(*prepared.y.limits)


def _remarks(prepared: Prepared, letters: int) -> list[str]:
    """The range of the colours, and what is masked or missing; a unit that has no room is left out."""
    lines = [_range(scale, letters) for scale in prepared.scales if scale.ticks][:1]
    return [shortened(line, letters) for line in [*lines, *(text for _, text in prepared.entries)]][:_REMARKS]


def _range(scale: ColourScale, letters: int) -> str:
    low, high = (short(float(v or 0.0), 3) for v in (scale.norm.vmin, scale.norm.vmax))
    whole = f"{low} to {high} {clean(scale.axis.unit)}".rstrip()
    return whole if len(whole) <= letters else f"{low} to {high}"
