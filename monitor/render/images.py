"""Images and heat maps, with their mask laid over them in stripes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from monitor.render.colours import ColourScale
from monitor.render.numeric import HUGE, Floats, Interval, numbers
from monitor.render.plan import Place, Plan, Setting, nothing
from monitor.render.style import INK, MASK, PALE, clean
from quicklook.core.errors import BadData
from quicklook.core.plots import Axis, Image

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Of red, green and blue (ITU-R BT.709)."""
_MOST = 1200
"""An image of more pixels than this a side is binned before it is drawn: no page shows more."""


def binned(values: npt.NDArray[Any], factor: int) -> Floats:
    """Mean over squares of `factor` pixels, of those that are finite; what is left over at the upper edges is a cell of its own."""
    if factor == 1:
        return numbers(values, "image")
    starts = [np.arange(0, n, factor) for n in values.shape]
    total: Floats = np.zeros((len(starts[0]), len(starts[1])))
    count: Floats = np.zeros_like(total)
    for i, row in enumerate(starts[0]):
        strip = numbers(values[row : row + factor], "image")
        good = np.isfinite(strip)
        total[i] = np.add.reduceat(np.where(good, strip, 0.0).sum(axis=0), starts[1])
        count[i] = np.add.reduceat(good.sum(axis=0), starts[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def picture(layer: Image) -> tuple[Floats, int]:
    """The values to draw and by how much they are binned. Raises BadData where they are no picture."""
    if layer.values.ndim != 2:
        raise BadData(f"image has shape {layer.values.shape}, it needs two axes [ny, nx]")
    if layer.mask is not None and layer.mask.shape != layer.values.shape:
        raise BadData(f"mask has shape {layer.mask.shape}, image {layer.values.shape}")
    if layer.words and (len(layer.words), *{len(row) for row in layer.words}) != layer.values.shape:
        raise BadData(f"the words of an image are not of its shape {layer.values.shape}")
    factor = max(1, math.ceil(max(layer.values.shape) / _MOST))
    return (binned(layer.values, factor) if layer.values.size else np.empty((0, 0))), factor


def extent_of(layer: Image) -> tuple[float, float, float, float]:
    """Its extent, or that of its pixels where the one given has no width."""
    x0, x1, y0, y1 = (float(v) for v in layer.extent)
    usable = all(abs(v) < HUGE for v in (x0, x1, y0, y1)) and x0 != x1 and y0 != y1
    return (x0, x1, y0, y1) if usable else (-0.5, layer.values.shape[1] - 0.5, -0.5, layer.values.shape[0] - 0.5)


def equal_scales(x: Axis, y: Axis, extent: tuple[float, float, float, float]) -> float | None:
    """Height over width of a picture whose axes have one unit and similar lengths; None for a heat map, which may be stretched."""
    ratio = abs(extent[3] - extent[2]) / abs(extent[1] - extent[0])
    return ratio if x.unit == y.unit and 0.25 <= ratio <= 4 else None


def plan_image(layer: Image, values: Floats, factor: int, setting: Setting) -> Plan:
    """An image: pixels without a value stay grey, masked ones get stripes, both are counted."""
    extent = extent_of(layer)
    scale = setting.scale
    plan = Plan(what="pixels", total=layer.values.size, draw=nothing, margins=(0.0, 0.0), scale=scale)
    if scale is None or not layer.values.size:
        return plan
    plan.x, plan.y = _sorted(extent[:2]), _sorted(extent[2:])
    plan.ratio = equal_scales(setting.x, setting.y, extent)
    plan.worded = bool(layer.words)
    plan.notes = [] if layer.words else list(scale.notes)
    plan.notes += ([f"mean of {factor}×{factor} pixels"] if factor > 1 else [])
    _count_gaps(plan, values, log=scale.log)
    if scale.log:
        values = np.where(values <= 0, np.finfo(np.float64).tiny, values)
    masked = layer.mask is not None and bool(np.any(layer.mask))
    if layer.mask is not None:
        share = float(np.count_nonzero(layer.mask)) / layer.mask.size
        plan.entries.append((Patch(facecolor="white", edgecolor=MASK, hatch="/////", linewidth=0), f"masked {percent(share)}"))

    def draw(place: Place) -> None:
        place.ax.imshow(values, extent=extent, origin="lower", aspect="auto", cmap=scale.cmap, norm=scale.norm, zorder=1)
        if masked and layer.mask is not None:
            stripes = mask_picture(layer.mask, _pixels(place, extent))
            place.ax.imshow(stripes, extent=extent, origin="lower", aspect="auto", interpolation="nearest", zorder=1.5)

        if layer.words:
            _write_words(place, layer, values, extent, scale)

    plan.draw = draw
    return plan


def _write_words(place: Place, layer: Image, values: Floats, extent: tuple[float, float, float, float], scale: ColourScale) -> None:
    """The words of each cell in its middle: dark on light colours, light on dark ones."""
    ny, nx = values.shape
    across, up = (extent[1] - extent[0]) / nx, (extent[3] - extent[2]) / ny
    shade = np.asarray(scale.cmap(scale.norm(np.ma.masked_invalid(values))))[..., :3] @ _LUMINANCE
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": place.font, "zorder": 4, "clip_on": True}
    for row, texts in enumerate(layer.words):
        for column, text in enumerate(texts):
            lines = "\n".join(clean(line) for line in text.split("\n"))
            colour = INK if shade[row, column] > 0.5 else "white"
            place.ax.text(extent[0] + (column + 0.5) * across, extent[2] + (row + 0.5) * up, lines, color=colour, **style)


def _sorted(span: tuple[float, ...]) -> Interval:
    return min(span), max(span)


def _count_gaps(plan: Plan, values: Floats, *, log: bool) -> None:
    lost = float(np.isnan(values).mean())
    if lost:
        text = "no pixel has a value" if lost == 1 else f"no value {percent(lost)}"
        plan.entries.append((Patch(facecolor=PALE, edgecolor="none"), text))
    if log and (off := float((values <= 0).mean())) > 0:
        plan.notes.append(f"{percent(off)} of pixels not above zero: shown as the lowest")


def percent(share: float) -> str:
    """A share in words that never round a little to nothing or most to all."""
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    if share < 0.0001:
        return "< 0.01 %"
    if share > 0.9999:
        return "> 99.99 %"
    return f"{100 * share:.2g} %" if share < 0.99 else f"{100 * share:.4g} %"


def _pixels(place: Place, extent: tuple[float, float, float, float]) -> tuple[int, int]:
    """Height and width of the picture in pixels of the page, a little less, so that none of them falls between two."""
    width, height = place.inches
    across = abs((extent[1] - extent[0]) / (place.x[1] - place.x[0]))
    up = abs((extent[3] - extent[2]) / (place.y[1] - place.y[0]))
    tall, wide = (0.97 * place.dpi * side for side in (height * up, width * across))
    return min(max(int(tall), 1), _MOST), min(max(int(wide), 1), _MOST)


_BETWEEN = (255, 255, 255, 70)
"""RGBA between the stripes: the data are still seen."""


def mask_picture(mask: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """RGBA [height, width, 4] of the mask at the size of the page: stripes where it is set, transparent elsewhere.

    A pixel of the page is set if any pixel of the mask under it is, so that a single masked pixel is not lost.
    """
    shown = mask != 0
    for axis, n in enumerate(size):
        have = shown.shape[axis]
        places = np.arange(n) * have // n
        shown = np.logical_or.reduceat(shown, places, axis=axis) if have > n else np.take(shown, places, axis=axis)
    ny, nx = size
    stripe = (np.arange(ny)[:, None] - np.arange(nx)[None, :]) % 9 < 5
    solid = stripe | ~_wide(shown)
    out = np.zeros((ny, nx, 4), dtype=np.uint8)
    out[shown & solid] = [*(int(255 * c) for c in to_rgb(MASK)), 255]
    out[shown & ~solid] = _BETWEEN
    return out


def _wide(shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of spots large enough to show stripes; smaller ones are drawn in the full colour."""
    beside = [np.roll(shown, -4, axis=axis) | np.roll(shown, 4, axis=axis) for axis in (0, 1)]
    return np.asarray(shown & beside[0] & beside[1])
