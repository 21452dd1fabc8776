"""What a layer becomes before anything is drawn: its extent, its remarks, its legend entries, and how to draw it.

Figures are laid out from plans: ticks, legends and notes are known before the axes are placed, so that the layout needs no
trial drawing, which would take most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from monitor.render.colours import ColourScale
from monitor.render.direct import Pane
from monitor.render.numeric import Floats, Interval
from quicklook.core.plots import Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a layer is drawn: its axes, the limits of both, the pixels that one inch has, the font of small text (point)."""

    ax: Axes | Pane
    x: Interval
    y: Interval
    dpi: float
    font: float

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height of the axes, inch."""
        figure = self.ax.get_figure(root=True)
        width, height = figure.get_size_inches() if figure else (7.0, 5.0)
        box = self.ax.get_position()
        return float(box.width * width), float(box.height * height)


def nothing(_: Place) -> None:
    """Draws nothing: for a layer that has nothing to show."""


Draw = Callable[[Place], None]
Entry = tuple[Artist, str]


@dataclass(slots=True, kw_only=True)
class Plan:
    """A layer made ready. `empty` says that there is nothing in it to see; `what` names its elements in the plural.

    `notes` are said as they are; `counts` says how many of the elements met which fate, summed over the layers of the panel. `whole`: its heights are
    counts, between which there are no ticks. `dots`: it has points, which want room at the ends of an axis. `worded`: words in
    its cells take the place of ticks. `height` (inch) is what it needs of the page, where it does not take what it gets.
    """

    what: str
    total: int
    draw: Draw
    x: Interval | None = None
    y: Interval | None = None
    shown: tuple[Floats, Floats] | None = None
    margins: tuple[float, float] = (0.02, 0.06)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    scale: ColourScale | None = None
    categories: tuple[str, ...] | None = None
    ratio: float | None = None
    whole: bool = False
    dots: bool = False
    worded: bool = False
    height: float | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing of it can be seen."""
        return self.categories is None and (self.x is None or self.y is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a layer knows of its panel: its axes, its own number among the layers, its colour scale."""

    x: Axis
    y: Axis
    index: int
    scale: ColourScale | None = None
