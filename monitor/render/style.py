"""The one style of all figures: colours, sizes, fonts, and how words and numbers are written.

Colours are those of Okabe and Ito (2008), which people with any form of colour blindness can tell apart; nothing is told by
colour alone. Widths and fonts are chosen so that a figure scaled to a page of 7.2 inch has no text below 5.5 points.
"""

from __future__ import annotations

import textwrap
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import matplotlib
from matplotlib.rcsetup import cycler

from quicklook.core.plots import Axis
from quicklook.core.status import Status

INK = "#222222"
GREY = "#5c5c5c"
PALE = "#d4d4d4"
NORMAL, WARNING, ALARM, UNKNOWN = "#009E73", "#E69F00", "#D55E00", "#8C4A8C"
MASK = "#D55E00"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Dash = Literal["-", "--", "-.", ":"]
DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xxx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """How a status looks: a shape, a colour, a word."""

    marker: str
    colour: str
    word: str


BADGES: Mapping[Status | None, Badge] = MappingProxyType(
    {
        Status.NORMAL: Badge(marker="o", colour=NORMAL, word="NORMAL"),
        Status.WARNING: Badge(marker="^", colour=WARNING, word="WARNING"),
        Status.ALARM: Badge(marker="X", colour=ALARM, word="ALARM"),
        Status.UNKNOWN: Badge(marker="D", colour=UNKNOWN, word="UNKNOWN"),
        None: Badge(marker="_", colour=GREY, word="no status"),
    }
)

_STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": ["DejaVu Sans"],
        "text.color": INK,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.facecolor": "white",
        "axes.linewidth": 0.7,
        "axes.grid": False,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "grid.color": "#e6e6e6",
        "grid.linewidth": 0.6,
        "hatch.linewidth": 0.6,
        "lines.linewidth": 1.2,
        "axes.prop_cycle": cycler(color=["#222222"]),  # every layer says its own: a long one is costly to go through
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.direction": "out",
        "ytick.direction": "out",
        "pdf.fonttype": 42,
        "text.parse_math": False,
        "agg.path.chunksize": 10000,
    }
)

_LOCK = threading.RLock()
_READY: dict[str, Any] = {}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style, whatever the user's own settings are; one thread at a time, for matplotlib allows no more.

    Warnings about glyphs that the font lacks are silenced: such a letter is drawn as a box.
    """
    settings: Any = matplotlib.rcParams
    with _LOCK, warnings.catch_warnings():
        before = dict.copy(settings)
        try:
            if not _READY:
                matplotlib.rcdefaults()
                settings.update(_STYLE)
                _READY.update({k: v for k, v in dict.items(settings) if not k.startswith("backend")})
            dict.update(settings, _READY)  # as they were checked once: to check all of them takes as long as to draw a small figure
            warnings.filterwarnings("ignore", message="Glyph")
            yield
        finally:
            dict.update(settings, before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Sizes of a figure: width (inch), font (point), columns, and the pixels an inch that are wanted."""

    width: float
    font: float
    columns: int
    dpi: float

    @property
    def small(self) -> float:
        """Font of ticks and notes, point."""
        return self.font - 1.0

    def line(self, font: float | None = None) -> float:
        """Height of a line of text, inch."""
        return 1.3 * (font or self.font) / 72

    def letters(self, inches: float, font: float | None = None, *, bold: bool = False) -> int:
        """How many letters of ordinary text fit into that width."""
        return max(8, int(inches / self.letter(font, bold=bold)))

    def figures(self, texts: Iterable[str]) -> float:
        """Width of the longest of the texts of ticks, inch: a figure of DejaVu Sans is 0.636 of its size wide."""
        return 0.64 * self.small / 72 * max((len(t) for t in texts), default=0)

    def badge(self, word: str, font: float | None = None) -> float:
        """Width of a status badge, inch: its shape and its word in bold capitals."""
        return (1.6 + 0.85 * len(word)) * (font or self.font) / 72

    def letter(self, font: float | None = None, *, bold: bool = False) -> float:
        """Width of a letter, inch: the mean of DejaVu Sans, with a little to spare."""
        return (0.68 if bold else 0.59) * (font or self.font) / 72


def look_for(columns: int, dpi: float) -> Look:
    """Sizes for a figure of that many columns: wider figures have larger letters, so that they can be scaled to the page."""
    width, font = {1: (7.2, 9.0), 2: (9.6, 10.0), 3: (12.0, 11.5)}.get(columns, (14.4, 12.5))
    return Look(width=width if columns < 5 else 3.6 * columns, font=font if columns < 5 else 3.125 * columns, columns=columns, dpi=dpi)


def clean(text: object) -> str:
    """Text that can be drawn: line breaks and control characters become blanks. Dollar signs stay what they are."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()


def wrapped(text: object, letters: int, lines: int = 3) -> list[str]:
    """`text` in lines of at most so many letters; words without a blank are broken, what is left over is cut and marked."""
    out = textwrap.wrap(clean(text), letters)
    if len(out) > lines:
        last = out[lines - 1]
        out = [*out[: lines - 1], f"{last[: letters - 1]}…"]
    return out


def shortened(text: object, letters: int) -> str:
    """`text` of at most so many letters: the middle is left out, for names differ at their ends."""
    plain = clean(text)
    if len(plain) <= letters:
        return plain
    head = max(letters // 2, 1)
    tail = max(letters - 1 - head, 0)
    return f"{plain[:head]}…{plain[len(plain) - tail :]}"


def axis_label(axis: Axis, letters: int = 1000) -> str:
    """``label [unit]``, or the label alone where the axis has no unit; in two or three lines where it is too long for one."""
    unit = f"[{clean(axis.unit)}]" if axis.unit.strip() else ""
    whole = f"{clean(axis.label)} {unit}".strip()
    if len(whole) <= letters:
        return whole
    lines = [clean(axis.label)] if len(clean(axis.label)) <= letters else wrapped(axis.label, letters, 2)
    if lines and unit and len(lines) > 1 and len(lines[-1]) + 1 + len(unit) <= letters:
        return "\n".join([*lines[:-1], f"{lines[-1]} {unit}"])
    return "\n".join([*lines, *([shortened(unit, letters)] if unit else [])])


def counted(number: int, total: int, what: str) -> str:
    """``3 of 512 points``; the noun is given in the plural."""
    return f"{number} of {total} {what}" if number < total else f"all {total} {what}"
