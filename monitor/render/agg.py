"""Pixels of a figure, and their PNG. As matplotlib's own, but words that were drawn once are kept: half of them come again in the next figure.

Drawing words letter by letter took a third of the time of a figure, and choosing a filter for each line of the PNG half of the time of
writing it, for a file no smaller.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg, get_hinting_flag
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

Pixels = npt.NDArray[np.uint8]

_KEPT = 4096
"""Words that are kept: some kilobytes each at most."""
_EMPTY = 1
"""Rows below the letters in the pictures that matplotlib makes of them."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2
_LEVEL = 1


class Renderer(RendererAgg):
    """Draws words, level or upright, from pictures that are kept. They begin at whole pixels."""

    def draw_text(self, gc: Any, x: float, y: float, s: str, prop: FontProperties, angle: float, ismath: Any = False, mtext: Any = None) -> None:
        """As matplotlib's; `x` and `y` (downwards) are where the first letter stands on its line."""
        if ismath or angle % 360 not in (0, 90):
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
            return
        picture, left, below = _picture(s, _font(prop), prop.get_size_in_points(), self.dpi, angle % 360 == 90)
        right, down = (left, below) if angle % 360 == 0 else (below - picture.shape[1], -left)
        self._renderer.draw_text_image(picture, round(x + right), round(y + down), 0, gc)

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> tuple[float, float, float]:
        """Of a line of words, pixel."""
        if ismath:
            found: tuple[float, float, float] = super().get_text_width_height_descent(s, prop, ismath)  # type: ignore[no-untyped-call]
            return found
        return _size(s, _font(prop), prop.get_size_in_points(), self.dpi)

    def _get_font_height_metrics(self, prop: FontProperties) -> tuple[float, float, float] | tuple[None, None, None]:
        """Heights above and below the line, and between lines, pixel: matplotlib asks for them from version 3.11 on, for every text."""
        return _heights(_font(prop), prop.get_size_in_points() * self.dpi / 72)


class Canvas(FigureCanvasAgg):
    """A canvas with our renderer."""

    _made: tuple[tuple[float, ...], Renderer] | None = None

    def get_renderer(self) -> RendererAgg:
        """One for each size of the figure."""
        width, height = self.figure.bbox.size
        key = (float(width), float(height), float(self.figure.dpi))
        if self._made is None or self._made[0] != key:
            self._made = key, Renderer(*key)  # type: ignore[no-untyped-call]
        renderer = self.renderer = self._made[1]
        return renderer


def pixels(figure: Figure, dpi: float) -> Pixels:
    """The figure as red, green, blue and opacity, uint8 [ny, nx, 4]."""
    figure.dpi = dpi
    canvas: Any = Canvas(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def encoded(picture: Pixels, dpi: float) -> bytes:
    """An opaque picture as PNG.

    Source of the form: PNG specification (third edition), colour type 2, filter type 0 (none): chunks IHDR, pHYs, IDAT, IEND.
    """
    ny, nx = picture.shape[:2]
    lines = np.zeros((ny, 1 + 3 * nx), np.uint8)
    coloured = lines[:, 1:].reshape(ny, nx, 3)  # a view
    for channel in range(3):  # one by one: numpy is slow over a last axis of three
        coloured[..., channel] = picture[..., channel]
    head = struct.pack(">IIBBBBB", nx, ny, 8, _RGB, 0, 0, 0)
    density = struct.pack(">IIB", *[round(dpi / 0.0254)] * 2, 1)
    chunks = ((b"IHDR", head), (b"pHYs", density), (b"IDAT", zlib.compress(lines.data, _LEVEL)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def width_of(text: str, size: float, dpi: float) -> float:
    """Width of a line of words in the font of the style, inch; `size` in points."""
    return _size(text, _font(FontProperties()), size, dpi)[0] / dpi


@dataclass(frozen=True, slots=True)
class Laid:
    """Lines of words, each with its place (right of and above the anchor, pixel), and the box around them: left, bottom, width, height."""

    lines: tuple[tuple[str, float, float], ...]
    box: tuple[float, float, float, float]


@lru_cache(_KEPT)
def _laid(text: str, font: FontProperties, size: float, dpi: float, ha: str, va: str, upright: bool, inner: str) -> Laid:
    """Where matplotlib would lay the words; see its `Text._get_layout`."""
    above, below, gap = _heights(font, size * dpi / 72)
    texts = text.split("\n")
    if above is None or below is None or gap is None:
        _, tall, below = _size("lp", font, size, dpi)
        above, gap = tall - below, 0.0
    spare = gap if len(texts) > 1 else 0.0
    down, ys, widths, first, last = 0.0, [], [], 0.0, 0.0
    for line in texts:
        wide, tall, under = _size(line, font, size, dpi) if line else (0.0, 0.0, 0.0)
        a, d = max(tall - under, above) + 0.5 * spare, max(under, below) + 0.5 * spare
        first = a - down
        down -= a
        ys.append(down)
        widths.append(wide)
        down, last = down - d, d
    width, low = max(widths), ys[-1] - last
    xs = [{"left": 0.0, "center": 0.5 * (width - w), "right": width - w}[inner] for w in widths]
    places = [(-y, x) if upright else (x, y) for x, y in zip(xs, ys, strict=True)]
    left, right, bottom, top = (0.0, -low, 0.0, width) if upright else (0.0, width, low, 0.0)
    across = {"left": left, "right": right, "center": 0.5 * (left + right)}[ha]
    up = {
        "bottom": bottom, "top": top, "center": 0.5 * (bottom + top), "baseline": bottom + last, "center_baseline": top - 0.5 * first,
    }[va]  # fmt: skip
    lines = tuple((line, x - across, y - up) for line, (x, y) in zip(texts, places, strict=True))
    return Laid(lines, (left - across, bottom - up, right - left, top - bottom))


def lines_of_text(renderer: Renderer, text: str, font: FontProperties, *, ha: str, va: str, upright: bool, inner: str) -> Laid:
    """Words in one line or several, by their anchor `ha`, `va`, as matplotlib lays them; `inner`: how lines stand to each other."""
    return _laid(text, _font(font), font.get_size_in_points(), renderer.dpi, ha, va, upright, inner)


def shared_font(weight: str, style: str) -> FontProperties:
    """A font of the style's family, one object for the same font."""
    return _font_of(tuple(FontProperties().get_family()), style, weight)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _font(prop: FontProperties) -> FontProperties:
    """The font without its size, one and the same object for the same font."""
    return _font_of(tuple(prop.get_family()), prop.get_style(), prop.get_weight())


@lru_cache(64)
def _font_of(family: tuple[str, ...], style: Any, weight: Any) -> FontProperties:
    return FontProperties(family=list(family), style=style, weight=weight)


def _set(text: str, font: FontProperties, size: float, dpi: float) -> Any:
    """Matplotlib's font with the text in it."""
    face = get_font(findfont(font))
    face.clear()
    face.set_size(size, dpi)
    face.set_text(text, 0.0, flags=get_hinting_flag())  # type: ignore[no-untyped-call]
    return face


@lru_cache(_KEPT)
def _size(text: str, font: FontProperties, size: float, dpi: float) -> tuple[float, float, float]:
    face = _set(text, font, size, dpi)
    width, height = face.get_width_height()
    return width / 64, height / 64, face.get_descent() / 64


@lru_cache(_KEPT)
def _picture(text: str, font: FontProperties, size: float, dpi: float, upright: bool) -> tuple[Pixels, float, float]:
    """How dark each pixel is, uint8 [ny, nx], and how far its left lower corner is to the right of, and below, the beginning of the line, pixel."""
    face = _set(text, font, size, dpi)
    face.draw_glyphs_to_bitmap(antialiased=True)
    picture = np.array(face.get_image(), np.uint8)
    left, _ = face.get_bitmap_offset()
    below = face.get_descent() / 64 + _EMPTY
    return np.ascontiguousarray(np.rot90(picture)) if upright else picture, left / 64, below


@lru_cache(64)
def _heights(font: FontProperties, pixels_per_em: float) -> tuple[float, float, float] | tuple[None, None, None]:
    """From the tables of the font: OS/2 (typographic), or hhea."""
    face = get_font(findfont(font))
    head = face.get_sfnt_table("head")
    for name, keys in (("OS/2", ("sTypoAscender", "sTypoDescender", "sTypoLineGap")), ("hhea", ("ascent", "descent", "lineGap"))):
        table: Any = face.get_sfnt_table(name)  # type: ignore[call-overload]
        if table is not None and head is not None:
            above, below, gap = (table[key] * pixels_per_em / head["unitsPerEm"] for key in keys)
            return above, -below, gap
    return None, None, None
