"""Figures drawn straight into pixels: what our panels use of matplotlib's figures and axes, without the objects that these are made of.

Of the time of a figure two thirds went into making and keeping matplotlib's artists, some thousands of them, and into collecting them when they were
gone. Here every line, bar or word is a function that is called once with matplotlib's renderer (Agg). PDFs are drawn from matplotlib's own figures;
tests compare both, pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Affine2D, Bbox

from monitor.render.agg import Pixels, Renderer
from monitor.render.numeric import Floats
from monitor.render.resample import page_picture
from monitor.render.strokes import DASHED, PLAIN, Draw, closed, context, draw_line, draw_markers, draw_outline, marker_of, rectangle, rgba, words
from monitor.render.style import GREY, INK

_FRAME = 0.7


class _Layer:
    """Things to draw, each with its height (`zorder`); of one height the first is drawn first."""

    def __init__(self) -> None:
        self._things: list[tuple[float, int, Draw]] = []

    def put(self, zorder: float, draw: Draw) -> None:
        """Add one."""
        self._things.append((zorder, len(self._things), draw))

    def draw(self, renderer: Renderer) -> None:
        """Draw all."""
        for _, _, thing in sorted(self._things, key=lambda t: t[:2]):
            thing(renderer)


class Page(_Layer):
    """A figure of `figsize` inches. Places are in parts of it, or in inches where `transform` is `dpi_scale_trans`."""

    def __init__(self, figsize: tuple[float, float], dpi: float) -> None:
        super().__init__()
        self._size, self.dpi = figsize, dpi
        self.dpi_scale_trans = Affine2D().scale(dpi)
        self.axes: list[Pane] = []

    def get_size_inches(self) -> tuple[float, float]:
        """Width and height."""
        return self._size

    def pane(self, left: float, bottom: float, width: float, height: float) -> Pane:
        """Axes at that place, in parts of the figure."""
        whole = np.array([self._size[0], self._size[1]]) * self.dpi
        box = Bbox.from_bounds(left * whole[0], bottom * whole[1], width * whole[0], height * whole[1])
        made = Pane(self, box)
        self.axes.append(made)
        self.put(0.0, made.draw)
        return made

    def text(self, x: float, y: float, text: str, *, transform: Any = None, zorder: float = 3.0, **style: Any) -> None:
        """Words, see `words`."""
        scale = (self.dpi, self.dpi) if transform is self.dpi_scale_trans else (self._size[0] * self.dpi, self._size[1] * self.dpi)
        self.put(zorder, words(x * scale[0], y * scale[1], text, **style))

    def marks(self, xs: Sequence[float], ys: Sequence[float], *, zorder: float = 2.0, **style: Any) -> None:
        """The same marker at several places, inch."""
        at = np.stack([np.asarray(xs, np.float64), np.asarray(ys, np.float64)], axis=1) * self.dpi
        self.put(zorder, lambda r: draw_markers(r, at, None, **style))

    def handle(self, handle: Any, place: tuple[float, float, float, float]) -> bool:
        """A line, marker or patch like one of matplotlib's at a place: left, middle, width, height (inch). False where it is none that we know."""
        left, middle, width, tall = (v * self.dpi for v in place)
        if isinstance(handle, Patch):
            face, edge, line = handle.get_facecolor(), handle.get_edgecolor(), handle.get_linewidth()
            style: Any = {"-": "-", "solid": "-", "--": "--", "dashed": "--"}.get(str(handle.get_linestyle()))
            if style is None:
                return False
            box = {"face": face, "edge": edge, "line": line, "hatch": handle.get_hatch() or "", "dash": style}
            self.put(5.0, rectangle(left, middle - 0.5 * tall, width, tall, **box))
            return True
        if not isinstance(handle, Line2D) or handle.get_linestyle() not in (*DASHED, "None", ""):
            return False
        alpha, colour, dash, shape = handle.get_alpha(), handle.get_color(), str(handle.get_linestyle()), handle.get_marker()
        lined = dash in DASHED
        ends = np.array([(left, middle), (left + width, middle)] if lined else [(left + 0.5 * width, middle)])
        if lined:
            self.put(5.0, lambda r: draw_line(r, ends, None, rgba(colour, alpha), dash, handle.get_linewidth()))
        if shape not in (None, "None", ""):
            more = {"markersize": handle.get_markersize(), "markeredgewidth": handle.get_markeredgewidth()}
            self.put(5.0, lambda r: draw_markers(r, ends, None, marker=shape, color=rgba(colour, alpha), **more))
        return True

    def add_artist(self, artist: Any) -> None:
        """One of matplotlib's own, whose transform leads to pixels."""
        self.put(artist.get_zorder(), artist.draw)

    def pixels(self, dpi: float) -> Pixels:
        """The picture: red, green, blue and opacity, uint8 [ny, nx, 4]. `dpi` must be that of the page."""
        width, height = self._size
        renderer = Renderer(width * dpi, height * dpi, dpi)  # type: ignore[no-untyped-call]
        rectangle(0.0, 0.0, width * dpi, height * dpi, face="white", snap=False)(renderer)
        self.draw(renderer)
        return np.asarray(renderer.buffer_rgba())  # type: ignore[no-untyped-call]


class _Spines:
    """The sides of the frame, as far as they are switched."""

    def __init__(self, shown: set[str]) -> None:
        self._shown = shown

    def __getitem__(self, names: Sequence[str]) -> _Sides:
        return _Sides(self._shown, names)


class _Sides:
    def __init__(self, shown: set[str], names: Sequence[str]) -> None:
        self._shown, self._names = shown, set(names)

    def set_visible(self, visible: bool) -> None:
        """Show or hide them."""
        if visible:
            self._shown |= self._names
        else:
            self._shown -= self._names


def _side(x0: float, x1: float, y0: float, y1: float) -> Draw:
    """A side of a frame."""
    ends = np.array([(x0, y0), (x1, y1)])
    return lambda renderer: draw_line(renderer, ends, None, GREY, "-", _FRAME, cap="projecting", join="miter")


class Pane(_Layer):
    """Axes at a box of pixels: scales, limits, and what is drawn within. Named and meant as matplotlib's; no more than our panels use."""

    transAxes = "axes"  # noqa: N815

    def __init__(self, page: Page, box: Bbox) -> None:
        super().__init__()
        self._page, self._box = page, box
        self._limits = [(0.0, 1.0), (0.0, 1.0)]
        self._log = [False, False]
        self._sides = {"left", "right", "top", "bottom"}
        self._face: Any = "white"
        self.axison = True
        self.spines = _Spines(self._sides)

    # ---- the frame

    def set_xscale(self, scale: str) -> None:
        """log or linear."""
        self._log[0] = scale == "log"

    def set_yscale(self, scale: str) -> None:
        """log or linear."""
        self._log[1] = scale == "log"

    def get_yscale(self) -> str:
        """log or linear."""
        return "log" if self._log[1] else "linear"

    def set_xlim(self, low: float, high: float) -> None:
        """Limits from left to right."""
        self._limits[0] = (low, high)

    def set_ylim(self, low: float, high: float) -> None:
        """Limits from below."""
        self._limits[1] = (low, high)

    def set_axis_off(self) -> None:
        """No frame and no background."""
        self.axison = False

    def set_facecolor(self, colour: Any) -> None:
        """The background."""
        self._face = colour

    def get_figure(self, root: bool = True) -> Page:  # noqa: ARG002
        """The page."""
        return self._page

    def get_position(self) -> Bbox:
        """Its box, in parts of the page."""
        width, height = (s * self._page.dpi for s in self._page.get_size_inches())
        b = self._box
        return Bbox.from_extents(b.x0 / width, b.y0 / height, b.x1 / width, b.y1 / height)

    def get_xaxis_transform(self) -> str:
        """x of the data, y in parts of the box."""
        return "xaxis"

    def get_yaxis_transform(self) -> str:
        """y of the data, x in parts of the box."""
        return "yaxis"

    def draw(self, renderer: Renderer) -> None:
        """Background, contents, frame: lines of a frame lie over the data and below words."""
        b = self._box
        if self.axison:
            rectangle(b.x0, b.y0, b.width, b.height, face=self._face)(renderer)
            sides = {
                "left": (b.x0, b.x0, b.y0, b.y1), "right": (b.x1, b.x1, b.y0, b.y1),
                "bottom": (b.x0, b.x1, b.y0, b.y0), "top": (b.x0, b.x1, b.y1, b.y1),
            }  # fmt: skip
            for side in sorted(self._sides):
                self.put(2.5, _side(*sides[side]))
        super().draw(renderer)

    # ---- places

    def _axis(self, values: Any, which: int) -> Floats:
        """Pixels along an axis."""
        low, high = self._limits[which]
        at = np.asarray(values, np.float64)
        start, size = (self._box.x0, self._box.width) if which == 0 else (self._box.y0, self._box.height)
        if self._log[which]:
            with np.errstate(divide="ignore", invalid="ignore"):
                at = np.where(at > 0, np.log10(np.where(at > 0, at, 1.0)), np.nan)
            low, high = math.log10(low), math.log10(high)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(start + (at - low) / (high - low) * size)

    def _part(self, values: Any, which: int) -> Floats:
        start, size = (self._box.x0, self._box.width) if which == 0 else (self._box.y0, self._box.height)
        return np.asarray(start + np.asarray(values, np.float64) * size)

    def _at(self, x: Any, y: Any, transform: Any = None) -> Floats:
        """Pixels [n, 2]."""
        across = self._part(x, 0) if transform in ("axes", "yaxis") else self._axis(x, 0)
        up = self._part(y, 1) if transform in ("axes", "xaxis") else self._axis(y, 1)
        return np.stack(np.broadcast_arrays(np.atleast_1d(across), np.atleast_1d(up)), axis=1)

    # ---- contents

    def plot(self, x: Any, y: Any, shape: str = "", *, linestyle: str = "-", marker: Any = None, zorder: float = 2.0, **style: Any) -> None:
        """A line, markers, or both."""
        transform = style.pop("transform", None)
        style.pop("rasterized", None)
        colour, alpha = style.pop("color", INK), style.pop("alpha", None)
        width = style.pop("linewidth", 1.2)
        if shape:
            marker, linestyle = shape, ""

        def draw(renderer: Renderer) -> None:
            at, clip = self._at(x, y, transform), self._box
            if linestyle in DASHED:
                draw_line(renderer, at, clip, rgba(colour, alpha), linestyle, width)
            if marker:
                draw_markers(renderer, at, clip, marker=marker, color=rgba(colour, alpha), **style)

        self.put(zorder, draw)

    def axhline(self, y: float, *, color: Any, linestyle: str = "-", linewidth: float = 1.2, zorder: float = 2.0) -> None:
        """A line across."""
        self.plot([0.0, 1.0], [y, y], transform="yaxis", color=color, linestyle=linestyle, linewidth=linewidth, zorder=zorder)

    def axhspan(self, low: float, high: float, *, facecolor: Any, alpha: float | None = None, linewidth: float = 0.0, zorder: float = 1.0) -> None:  # noqa: ARG002
        """A band across."""

        def draw(renderer: Renderer) -> None:
            (x0, y0), (x1, y1) = self._at([0.0, 1.0], [low, high], "yaxis")
            rectangle(x0, y0, x1 - x0, y1 - y0, face=rgba(facecolor, alpha), clip=self._box)(renderer)

        self.put(zorder, draw)

    def fill_between(self, x: Any, low: Any, high: Any, *, color: Any, alpha: float = 1.0, zorder: float = 1.0, **_: Any) -> None:
        """The area between two lines, in pieces where one of them has gaps."""

        def draw(renderer: Renderer) -> None:
            below, above = self._at(x, low), self._at(x, high)
            good = np.isfinite(below).all(axis=1) & np.isfinite(above).all(axis=1)
            edges = np.flatnonzero(np.diff(np.concatenate(([0], good.astype(np.int8), [0]))))
            gc = context(renderer, self._box)
            for a, b in zip(edges[::2], edges[1::2], strict=True):
                outline = np.concatenate([below[a:b], above[a:b][::-1]])
                draw_outline(renderer, gc, closed(outline), rgba(color, alpha))

        self.put(zorder, draw)

    def scatter(self, x: Any, y: Any, *, c: Any, s: float, cmap: Any, norm: Any, zorder: float = 1.0, **style: Any) -> None:
        """Coloured points."""

        def draw(renderer: Renderer) -> None:
            at = self._at(x, y)
            colours: Any = np.atleast_2d(cmap(norm(np.asarray(c, np.float64))))
            dashes: Any = [(0, None)]
            urls: Any = [None]
            if not len(at):
                return
            path, turn, *_ = marker_of("o")
            scale = math.sqrt(s) * renderer.dpi / 72
            matrix = (turn + Affine2D().scale(scale)).get_matrix()[None]
            gc = context(renderer, self._box)
            edges: Any = np.array([rgba(style["edgecolors"])])
            line = [style["linewidths"]]
            renderer.draw_path_collection(gc, PLAIN, [path], matrix, at, PLAIN, colours, edges, line, dashes, [True], urls, "screen")

        self.put(zorder, draw)

    def bar(self, centre: Any, heights: Any, width: float, *, bottom: float = 0.0, zorder: float = 1.0, **style: Any) -> None:
        """Bars of one width; `color` or `facecolor` one or many."""
        transform, hatch = style.get("transform"), style.get("hatch", "")
        face = style["facecolor"] if "facecolor" in style else style.get("color", INK)
        edge, line = style.get("edgecolor", "none"), float(style.get("linewidth", 0.0))

        def draw(renderer: Renderer) -> None:
            middle, tall = np.atleast_1d(np.asarray(centre, np.float64)), np.broadcast_to(np.asarray(heights, np.float64), np.shape(centre))
            low = self._at(middle - 0.5 * width, np.full(middle.shape, bottom), transform)
            high = self._at(middle + 0.5 * width, bottom + tall, transform)
            faces = [face] * len(middle) if isinstance(face, str) else list(face)
            for (x0, y0), (x1, y1), own in zip(low, high, faces, strict=True):
                rectangle(x0, y0, x1 - x0, y1 - y0, face=own, edge=edge, line=line, hatch=hatch, clip=self._box)(renderer)

        self.put(zorder, draw)

    def imshow(self, values: npt.NDArray[Any], *, extent: Sequence[float], cmap: Any = None, norm: Any = None, zorder: float = 0.0, **_: Any) -> None:
        """A picture, lower row first: values by their colours, or colours (uint8)."""

        def draw(renderer: Renderer) -> None:
            (x0, y0), (x1, y1) = self._at([extent[0], extent[1]], [extent[2], extent[3]])
            made = page_picture(values, (x0, x1, y0, y1), self._box, cmap, norm)
            if made is not None:
                renderer.draw_image(context(renderer, self._box), made.left, made.bottom, made.colours)

        self.put(zorder, draw)

    def text(self, x: float, y: float, text: str, *, transform: Any = None, clip_on: bool = False, zorder: float = 3.0, **style: Any) -> None:
        """Words, see `words`."""

        def draw(renderer: Renderer) -> None:
            ((left, bottom),) = self._at(x, y, transform)
            words(left, bottom, text, clip=self._box if clip_on else None, **style)(renderer)

        self.put(zorder, draw)

    def annotate(self, text: str, xy: tuple[float, float], xytext: tuple[float, float], *, zorder: float = 3.0, **style: Any) -> None:
        """Words beside a place, so many points off; nothing where the place is outside."""
        for name in ("textcoords", "annotation_clip"):
            style.pop(name, None)

        def draw(renderer: Renderer) -> None:
            ((x, y),) = self._at(*xy)
            if self._box.x0 - 1e-6 <= x <= self._box.x1 + 1e-6 and self._box.y0 - 1e-6 <= y <= self._box.y1 + 1e-6:
                words(x + xytext[0] * renderer.dpi / 72, y + xytext[1] * renderer.dpi / 72, text, **style)(renderer)

        self.put(zorder, draw)
