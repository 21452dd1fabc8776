"""Pictures at the size of the page: the mean of what falls on a pixel of it, or the nearest value where there are fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.transforms import Bbox

from monitor.render.numeric import Floats

Extent = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PagePicture:
    """Colours (uint8 [ny, nx, 4], lower row first), and the pixel of the page where their lower left corner is."""

    left: int
    bottom: int
    colours: npt.NDArray[np.uint8]


def page_picture(values: npt.NDArray[Any], extent: Extent, box: Bbox, cmap: Any, norm: Any) -> PagePicture | None:
    """The part of a picture within a box; `extent` its edges x0, x1, y0, y1 (pixels of the page, either order). None where nothing is within."""
    x0, x1, y0, y1 = extent
    picture = values[:, ::-1] if x1 < x0 else values
    picture = picture[::-1] if y1 < y0 else picture
    x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    columns, rows = _pixels(x0, x1, box.x0, box.x1), _pixels(y0, y1, box.y0, box.y1)
    if not len(columns) or not len(rows):
        return None
    across, up = (columns + 0.5 - x0) / (x1 - x0) * picture.shape[1], (rows + 0.5 - y0) / (y1 - y0) * picture.shape[0]
    if picture.ndim == 2:
        steps = picture.shape[0] / (y1 - y0), picture.shape[1] / (x1 - x0)
        shown = _along(_along(np.asarray(picture, np.float64), up, steps[0], 0), across, steps[1], 1)
        colours = cmap(norm(np.ma.masked_invalid(shown)), bytes=True)
    else:
        colours = picture[_nearest(up, picture.shape[0])][:, _nearest(across, picture.shape[1])]
        colours = np.rint(255 * colours) if colours.dtype.kind == "f" else colours
    return PagePicture(int(columns[0]), int(rows[0]), np.ascontiguousarray(colours, np.uint8))


def _pixels(low: float, high: float, first: float, last: float) -> npt.NDArray[np.int64]:
    """Pixels of the page that the picture covers within the box."""
    start, stop = max(low, first), min(high, last)
    return np.arange(round(start), max(round(stop), round(start)), dtype=np.int64)


def _nearest(places: Floats, size: int) -> npt.NDArray[np.int64]:
    return np.clip(places.astype(np.int64), 0, size - 1)


def _along(values: Floats, places: Floats, step: float, axis: int) -> Floats:
    """Values at the pixels of the page along an axis; `step` of them fall on one pixel."""
    size = values.shape[axis]
    if step <= 1.0:
        return np.take(values, _nearest(places, size), axis=axis)
    starts = np.clip(np.floor(places - 0.5 * step + 0.5).astype(np.int64), 0, size - 1)
    end = min(size, int(np.ceil(places[-1] + 0.5 * step)))
    part = np.take(values, np.arange(end), axis=axis)
    starts = np.minimum(starts, end - 1)
    good = np.isfinite(part)
    if good.all():
        total = np.add.reduceat(part, starts, axis=axis)
        count: Any = np.diff(np.append(starts, end)).clip(1)
        count = count[:, None] if axis == 0 else count[None, :]
        return np.asarray(total / count)
    total = np.add.reduceat(np.where(good, part, 0.0), starts, axis=axis)
    number = np.add.reduceat(good, starts, axis=axis, dtype=np.int64)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
