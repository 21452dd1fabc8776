"""Plots as data: a QA lays them out, the judge adds limits as bands, a renderer elsewhere draws them.

A plot is a grid of panels; a panel has two axes and layers drawn one over the other. Every axis has a label and a unit.
`pack` and `unpack` turn plots into a JSON-able skeleton and a table of arrays, so that they can be stored without pickle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Colours = Literal["auto", "viridis", "cividis", "magma", "diverging"]
"""Maps of colours that rise evenly in lightness, whoever looks; the diverging one has two hues about its middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis: label, unit ("" for a pure number), scale, and the range shown (None: from the data).

    `colours` is the map of an axis of colours (auto: by the values). `names` are written at its places 0, 1, ... in the place of numbers.
    """

    label: str
    unit: str = ""
    log: bool = False
    range: tuple[float | None, float | None] = (None, None)
    colours: Colours = "auto"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through the points x, y (same length), within a shaded range y - error to y + error where `error` (same length) is given."""

    x: Array
    y: Array
    label: str = ""
    error: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Points x, y; coloured by `c` (same length, axis `c_axis`) where given."""

    x: Array
    y: Array
    c: Array | None = None
    c_axis: Axis | None = None
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars over named categories.

    `words`, one for each bar or none at all, are written at it ("" for nothing), where there is no value in place of "not measured".
    `statuses`, likewise, are those of the bars ("" for none); the judge adds them where the panel shows a metric.
    """

    names: tuple[str, ...]
    heights: Array
    label: str = ""
    words: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of words under a header; the last column takes what room is left. The axes of its panel are not drawn."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture or heat map [ny, nx], lower left first; `extent` is x0, x1, y0, y1 of its edges; `mask` (same shape) is overlaid.

    `words`, rows of the shape of the values or none, are written into the cells, and take the place of ticks.
    """

    values: Array
    extent: tuple[float, float, float, float]
    c_axis: Axis
    mask: Array | None = None
    stretch: Literal["linear", "asinh", "log"] = "linear"
    percentile: tuple[float, float] = (1.0, 99.0)
    words: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalPlane:
    """Values at places x, y (mm) of the focal plane, equal scales on both axes."""

    x: Array
    y: Array
    c: Array
    c_axis: Axis
    label: str = ""


Layer = Line | Scatter | Bars | Table | Image | FocalPlane


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A range of the y axis that a limit calls normal or warning; None is without end."""

    low: float | None
    high: float | None
    kind: Literal["normal", "warning"]
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes. `metric` names the metric that the y axis shows: the judge adds its limits as bands.

    `message` says why there is nothing to be seen, where that is so.
    """

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    title: str = ""
    metric: str | None = None
    bands: tuple[Band, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A named figure of panels in rows of `columns`."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    columns: int = 1
    caption: str = ""


_LAYERS: dict[str, type[Any]] = {c.__name__: c for c in (Line, Scatter, Bars, Table, Image, FocalPlane)}


@dataclass(slots=True)
class _Packer:
    arrays: dict[str, Array] = field(default_factory=dict)

    def value(self, item: Any) -> Any:
        if isinstance(item, np.ndarray):
            key = f"a{len(self.arrays)}"
            self.arrays[key] = item
            return {"$array": key}
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            out = {f.name: self.value(getattr(item, f.name)) for f in dataclasses.fields(item)}
            return {"$type": type(item).__name__, **out}
        if isinstance(item, tuple):
            return [self.value(v) for v in item]
        return item


def pack(plots: Sequence[Plot]) -> tuple[list[Any], dict[str, Array]]:
    """Skeleton (strings, numbers, lists, mappings) and the arrays it refers to by key."""
    packer = _Packer()
    return [packer.value(p) for p in plots], packer.arrays


_TYPES: dict[str, type[Any]] = {c.__name__: c for c in (Axis, Band, Panel, Plot)} | _LAYERS


def unpack(skeleton: Sequence[Any], arrays: Mapping[str, Array]) -> tuple[Plot, ...]:
    """Inverse of `pack`. Raises KeyError or TypeError on a skeleton that `pack` did not make."""

    def value(item: Any) -> Any:
        if isinstance(item, Mapping):
            if "$array" in item:
                return arrays[item["$array"]]
            fields = {k: value(v) for k, v in item.items() if k != "$type"}
            return _TYPES[item["$type"]](**fields)
        if isinstance(item, list):
            return tuple(value(v) for v in item)
        return item

    return tuple(value(p) for p in skeleton)
