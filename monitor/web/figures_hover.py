"""What is said of a point under the pointer: names, values, units, and where it lies by the limits that the panel shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitor.render import bands
from monitor.render.numeric import Floats
from monitor.web.figures_encode import plain
from quicklook.core.plots import Axis, Band

_PLACES = ("not measured", "within the normal range shown", "▲ within the warning range shown", "✖ outside of the ranges shown")


def line_of(axis: Axis, place: str, name: str) -> str:
    """``label: value unit`` as a template of plotly; `place` is what it fills in."""
    unit = f" {plain(axis.unit)}" if axis.unit.strip() else ""
    rounded = "" if place in ("x", "y") else ":.6~g"  # of x and y the axis rounds
    return f"{plain(axis.label) or name}: %{{{place}{rounded}}}{unit}"


def template(label: str, *lines: str, status: bool = False) -> str:
    """A template for hover: the label in bold, the lines, with `status` the texts of the points; no box beside it."""
    head = [f"<b>{plain(label)}</b>"] if label.strip() else []
    return "<br>".join([*head, *lines, *(["%{text}"] if status else [])]) + "<extra></extra>"


class Judgement:
    """Where y values lie by the ranges that a panel shows: those of the limit that decided. Another may hold for one point, so no status is named."""

    def __init__(self, given: Sequence[Band]) -> None:
        spans = {kind: {bands.ends(b) for b in given if b.kind == kind} for kind in ("normal", "warning")}
        self.known = len(spans["normal"]) == 1 and len(spans["warning"]) <= 1
        self._normal = next(iter(spans["normal"]), (-math.inf, math.inf))
        self._warning = next(iter(spans["warning"]), self._normal)

    def words(self, y: Floats) -> list[str]:
        """The place of each value."""
        normal = (y >= self._normal[0]) & (y <= self._normal[1])
        warning = (y >= self._warning[0]) & (y <= self._warning[1])
        found = np.select([~np.isfinite(y), normal, warning], [0, 1, 2], 3)
        return [_PLACES[i] for i in found.tolist()]
