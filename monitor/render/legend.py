"""The legend of a panel, drawn at known places: matplotlib's own packs boxes in boxes and measures each of them anew at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from monitor.render.agg import width_of
from monitor.render.direct import Page
from monitor.render.plan import Entry
from monitor.render.style import INK, Look

_HANDLE, _TEXT, _APART, _TALL = 1.8, 2.3, 1.4, 0.7
"""Width of a handle, where its text begins, how far columns are apart, height of a patch: in units of the font."""
_ABOVE = 5.0


def draw_legend(figure: Figure | Page, entries: Sequence[Entry], left: float, top: float, columns: int, look: Look) -> None:
    """Handles with their texts, downwards in columns from that place (inch). Columns are as wide as the longest of their texts."""
    em, line = look.small / 72, look.line(look.small)
    inches = figure.dpi_scale_trans
    for column in np.array_split(np.arange(len(entries)), columns):
        for row, index in enumerate(column):
            handle, text = entries[index]
            middle = top - (row + 0.5) * line
            if not (isinstance(figure, Page) and figure.handle(handle, (left, middle, _HANDLE * em, _TALL * em))):
                figure.add_artist(_placed(handle, left, middle, em, figure))
            figure.text(left + _TEXT * em, middle, text, transform=inches, fontsize=look.small, color=INK, va="center_baseline", zorder=_ABOVE)
        left += (_TEXT + _APART) * em + max((width_of(entries[i][1], look.small, look.dpi) for i in column), default=0.0)


def _placed(handle: Artist, left: float, middle: float, em: float, figure: Figure | Page) -> Artist:
    """A line, a point or a patch like the handle, at that place."""
    copy: Artist
    if isinstance(handle, Line2D):
        ends = [left, left + _HANDLE * em] if handle.get_linestyle() not in ("None", "") else [left + 0.5 * _HANDLE * em]
        copy = Line2D(ends, [middle] * len(ends))
        copy.update_from(handle)
    elif isinstance(handle, Patch):
        copy = Rectangle((left, middle - 0.5 * _TALL * em), _HANDLE * em, _TALL * em)
        copy.update_from(handle)
    else:
        raise TypeError(f"a legend has lines and patches, no {type(handle).__name__}")
    copy.set_transform(figure.dpi_scale_trans)
    copy.set_zorder(_ABOVE)
    return copy
