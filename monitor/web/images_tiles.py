"""Tiles of an image as PNG: colours by a stretch, and its mask in stripes over it. Upper row first, as browsers draw."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Literal, TypeVar

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from PIL import Image as Picture

from monitor.render.colours import ColourScale, image_scale
from monitor.render.style import MASK, PALE
from monitor.web.images import TILE, Preview
from quicklook.core.errors import NotReadyYet
from quicklook.core.plots import Axis

T = TypeVar("T", bound=np.generic)
Stretch = Literal["linear", "asinh", "log"]
Colours = Literal["grey", "viridis"]
_NONE = 255
"""The colour of pixels without a value."""
_ALPHA = (60, 230)


def scale_of(preview: Preview, stretch: Stretch, low: float | None, high: float | None) -> ColourScale:
    """The scale of an image between two values, or its percentiles 0.5 and 99.5."""
    axis = Axis(label="signal", unit=preview.unit, range=(low, high))
    return image_scale(axis, preview.sample.astype(np.float64), stretch, (0.5, 99.5))


def image_tile(preview: Preview, place: tuple[int, int, int], scale: ColourScale, colours: Colours) -> bytes:
    """A tile (level, column, row; rows from below). Raises NotReadyYet where there is none."""
    values = _cut(preview.levels, place)
    shown = np.where(values <= 0, np.finfo(np.float32).tiny, values) if scale.log else values
    with np.errstate(all="ignore"):
        normed = np.ma.filled(np.ma.asarray(scale.norm(np.ma.masked_invalid(shown.astype(np.float64))), np.float64), np.nan)
    index = np.where(np.isfinite(normed), np.clip(np.nan_to_num(normed) * (_NONE - 1), 0, _NONE - 1), _NONE).astype(np.uint8)
    picture = Picture.fromarray(np.ascontiguousarray(index[::-1]))
    picture.putpalette(_palette(colours))
    return _png(picture)


def mask_tile(preview: Preview, place: tuple[int, int, int], bits: int) -> bytes:
    """The mask of a tile: stripes where any of the bits is set, transparent elsewhere."""
    shown = (_cut(preview.masks, place) & bits) != 0
    ny, nx = shown.shape
    stripe = (np.arange(ny)[:, None] - np.arange(nx)[None, :]) % 8 < 4
    out = np.zeros((ny, nx, 4), np.uint8)
    out[shown] = [*(int(255 * c) for c in to_rgb(MASK)), _ALPHA[1]]
    if min(ny, nx) >= 16:
        out[shown & ~stripe & _wide(shown), 3] = _ALPHA[0]
    return _png(Picture.fromarray(np.ascontiguousarray(out[::-1])))


def _wide(shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Spots large enough for stripes to be seen."""
    return np.asarray(np.roll(shown, 4, 0) & np.roll(shown, -4, 0) & np.roll(shown, 4, 1) & np.roll(shown, -4, 1))


def _cut(levels: tuple[npt.NDArray[T], ...], place: tuple[int, int, int]) -> npt.NDArray[T]:
    level, column, row = place
    if 0 <= level < len(levels) and column >= 0 and row >= 0:
        tile = levels[level][row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        if tile.size:
            return tile
    raise NotReadyYet(f"there is no tile {column}, {row} of level {level}", what_next="Load the page anew.")


@lru_cache(maxsize=4)
def _palette(colours: Colours) -> bytes:
    """256 colours: 255 shades, and one for no value."""
    shades = matplotlib.colormaps["gray" if colours == "grey" else "viridis"](np.linspace(0.0, 1.0, _NONE))[:, :3]
    table = np.vstack([shades, to_rgb(PALE)])
    return np.round(255 * table).astype(np.uint8).tobytes()


def _png(picture: Picture.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=3)
    return out.getvalue()
