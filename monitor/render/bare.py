"""Axes without ticks, titles and grids of matplotlib's own, which are objects of five artists each that nobody sees: see `rulers`."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure

from monitor.render.direct import Page, Pane


class _BareX(XAxis):
    def set_clip_path(self, path: Any, transform: Any = None) -> None:
        """There is nothing to clip."""


class _BareY(YAxis):
    def set_clip_path(self, path: Any, transform: Any = None) -> None:
        """There is nothing to clip."""


class BareAxes(Axes):
    """Axes whose ticks and titles are never made."""

    def _init_axis(self) -> None:
        self.xaxis, self.yaxis = _BareX(self, clear=False), _BareY(self, clear=False)
        for spine, axis in (("bottom", self.xaxis), ("top", self.xaxis), ("left", self.yaxis), ("right", self.yaxis)):
            self.spines[spine].register_axis(axis)

    def grid(self, *args: Any, **kwargs: Any) -> None:
        """There is none."""

    def tick_params(self, *args: Any, **kwargs: Any) -> None:
        """There are none."""

    def _update_title_position(self, renderer: Any) -> None:
        """There is none."""

    def _update_patch_limits(self, patch: Any) -> None:
        """Limits are given: matplotlib would look at every curve of every patch for them."""

    def _update_line_limits(self, line: Any) -> None:
        """Limits are given."""


def new_axes(figure: Figure | Page, left: float, bottom: float, width: float, height: float) -> Axes | Pane:
    """Axes of that kind of figure at that place, in parts of it."""
    if isinstance(figure, Page):
        return figure.pane(left, bottom, width, height)
    return bare_axes(figure, left, bottom, width, height)


def bare_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at that place, in parts of the figure."""
    ax = BareAxes(figure, (left, bottom, width, height))
    ax.xaxis.set_visible(False)
    ax.yaxis.set_visible(False)
    for spine in ax.spines.values():
        spine.get_spine_transform()  # puts it into its place, as making a tick would
    figure.add_axes(ax)
    return ax
