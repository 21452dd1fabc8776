"""Lines, markers, rectangles and words, drawn with matplotlib's renderer at pixels from the lower left corner of the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform

from monitor.render.agg import Renderer, lines_of_text, shared_font
from monitor.render.numeric import Floats
from monitor.render.style import INK

Draw = Callable[[Renderer], None]
PLAIN = IdentityTransform()
DASHED = {"-": None, "--": (3.7, 1.6), "-.": (6.4, 1.6, 1.0, 1.6), ":": (1.0, 1.65)}
"""As matplotlib's `lines.dashed_pattern` and the others, in units of the width of the line."""


@lru_cache(256)
def rgba(colour: Any, alpha: float | None = None) -> tuple[float, float, float, float]:
    """Red, green, blue and opacity of a colour."""
    return to_rgba(colour, alpha)


@lru_cache(64)
def marker_of(shape: Any) -> tuple[Path, Any, Any, Any, Any]:
    """Path and transform of a marker of size 1, from which size on it snaps to pixels, how its corners and ends are."""
    style = MarkerStyle(shape)
    return style.get_path(), style.get_transform().frozen(), style.get_snap_threshold(), style.get_joinstyle(), style.get_capstyle()


def dash_of(style: str, width: float) -> tuple[float, list[float] | None]:
    """Dashes of a line of that style and width, point."""
    pattern = DASHED[style]
    return 0, None if pattern is None else [p * width for p in pattern]


def context(renderer: Renderer, clip: Bbox | None) -> Any:
    """What the renderer is told of how to draw; nothing is drawn outside of `clip`."""
    gc: Any = renderer.new_gc()
    gc.set_linewidth(0.0)
    if clip is not None:
        gc.set_clip_rectangle(clip)
    return gc


def closed(corners: Floats) -> Path:
    """The outline through corners [n, 2]."""
    codes = np.full(len(corners) + 1, Path.LINETO, np.uint8)
    codes[0], codes[-1] = Path.MOVETO, Path.CLOSEPOLY
    return Path(np.concatenate([corners, corners[:1]]), codes)


def draw_outline(renderer: Any, gc: Any, path: Path, face: Any) -> None:
    """A path in pixels, filled where there is a `face`."""
    renderer.draw_path(gc, path, PLAIN, face)


def draw_line(
    renderer: Renderer, at: Floats, clip: Bbox | None, colour: Any, style: str, width: float, *, cap: str = "", join: str = "round"
) -> None:
    """A line through places [n, 2], broken where one is NaN; `width` in points."""
    gc = context(renderer, clip)
    gc.set_foreground(rgba(colour), isRGBA=True)
    gc.set_linewidth(width)
    gc.set_dashes(*dash_of(style, width))
    gc.set_joinstyle(join)
    gc.set_capstyle(cap or ("projecting" if style == "-" else "butt"))
    draw_outline(renderer, gc, Path(at), None)


def draw_markers(renderer: Renderer, at: Floats, clip: Bbox | None, *, marker: Any, color: Any, markersize: float = 6.0, **style: Any) -> None:
    """The same marker at places [n, 2]; sizes in points."""
    path, turn, snap, join, cap = marker_of(marker)
    edge, size = style.get("markeredgecolor", color), markersize * renderer.dpi / 72
    gc = context(renderer, clip)
    gc.set_foreground(rgba(edge), isRGBA=True)
    gc.set_linewidth(style.get("markeredgewidth", 1.0))
    gc.set_snap(size >= snap if isinstance(snap, int | float) and not isinstance(snap, bool) else snap)
    gc.set_joinstyle(join)
    gc.set_capstyle(cap)
    renderer.draw_markers(gc, path, turn + Affine2D().scale(size), Path(at), PLAIN, rgba(color))


def rectangle(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    face: Any = "none",
    edge: Any = "none",
    line: float = 0.0,
    hatch: str = "",
    clip: Bbox | None = None,
    snap: bool | None = None,
    dash: str = "-",
) -> Draw:
    """A rectangle; lines of its hatch are of the colour of its edge."""

    def draw(renderer: Renderer) -> None:
        gc = context(renderer, clip)
        gc.set_snap(snap)
        gc.set_foreground(rgba(edge), isRGBA=True)
        gc.set_linewidth(line if rgba(edge)[3] > 0 else 0.0)
        gc.set_joinstyle("miter")
        gc.set_dashes(*dash_of(dash, line))
        if hatch:
            gc.set_hatch(hatch)
            gc.set_hatch_color(rgba(edge))
            gc.set_hatch_linewidth(0.6)
        colour = rgba(face)
        corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
        draw_outline(renderer, gc, closed(corners), colour if colour[3] > 0 else None)

    return draw


def words(
    x: float, y: float, text: str, *, fontsize: float, color: Any = INK, ha: str = "left", va: str = "baseline", rotation: float = 0, **more: Any
) -> Draw:
    """Words at a place: `weight`, `style`, `multialignment`, `clip`, `bbox` (facecolor, edgecolor, pad in points, alpha) as of matplotlib's."""

    def draw(renderer: Renderer) -> None:
        if not text or not (math.isfinite(x) and math.isfinite(y)):
            return
        font = _sized(more.get("weight", "normal"), more.get("style", "normal"), float(fontsize))
        laid = lines_of_text(renderer, text, font, ha=ha, va=va, upright=rotation % 360 == 90, inner=more.get("multialignment") or ha)
        if box := more.get("bbox"):
            pad = box.get("pad", 4.0) * renderer.dpi / 72
            left, bottom, width, height = laid.box
            frame = (x + left - pad, y + bottom - pad, width + 2 * pad, height + 2 * pad)
            face, edge = (rgba(box.get(k, "none"), box.get("alpha") if box.get(k, "none") != "none" else None) for k in ("facecolor", "edgecolor"))
            rectangle(*frame, face=face, edge=edge, line=1.0, clip=more.get("clip"))(renderer)
        gc = context(renderer, more.get("clip"))
        gc.set_foreground(rgba(color), isRGBA=True)
        for line, right, up in laid.lines:
            renderer.draw_text(gc, x + right, renderer.height - (y + up), line, font, 90.0 if rotation % 360 == 90 else 0.0)

    return draw


@lru_cache(64)
def _sized(weight: str, style: str, size: float) -> FontProperties:
    font: FontProperties = shared_font(weight, style).copy()
    font.set_size(size)
    return font
