"""From configured figures and a finished result to plots as data. Pure: no pixel, no file."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.core.judge import add_bands, number, range_words
from quicklook.core.metrics import Coord
from quicklook.core.plots import Axis, Bars, FocalPlane, Image, Layer, Line, Panel, Plot, Scatter
from quicklook.core.plotspecs import FIELDS, AxisSpec, FigureSpec, Panel2d, Panel3d, PanelPatch, axes_of
from quicklook.core.results import MetricResult, PartResult
from quicklook.core.status import Status, worst

_WORDED = (6, 8)
"""A patch of more rows or columns has no room for words in its cells."""
_UNITS = dict.fromkeys(("wave", "line", "window"), "Angstrom")
"""Units of dimensions that have one: wavelengths."""
_WORDS = {"amp": "amplifier", "fiber": "fibre", "wave": "wavelength"}
"""What dimensions are called in writing."""
PREFIX = "figure-"
"""Before the names of configured figures, so that they are told from the plots of QAs."""

Floats = npt.NDArray[np.float64]
_Rows = tuple[tuple[tuple[Coord, ...] | None, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot that was laid out, and the worst status of the metrics in it."""

    plot: Plot
    status: Status | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """Values of a metric by what is left of its coordinates, each with its status."""

    values: dict[tuple[Coord, ...], float]
    statuses: dict[tuple[Coord, ...], str]
    left_out: frozenset[tuple[Coord, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Cells of a patch, lowest row first, each the coordinates of an element; the names of both axes, and the edges x0, x1, y0, y1."""

    rows: _Rows
    x: Axis
    y: Axis
    extent: tuple[float, float, float, float]


def applies(figure: FigureSpec, tags: Mapping[str, str]) -> bool:
    """Whether all conditions on tags hold."""
    return all(any(fnmatch.fnmatchcase(tags.get(tag, ""), p) for p in patterns) for tag, patterns in figure.when.items())


def figures_of(figures: Iterable[FigureSpec], result: PartResult, *, names: Sequence[str] = ()) -> list[Figure]:
    """The figures that apply to a result: those whose conditions hold and of which something was measured. Those of `names` in any case."""
    found = {m.name: m for qa in result.qas for m in qa.metrics}
    lacking = {m.name: m.not_applicable for m in found.values() if m.not_applicable}
    out = []
    for spec in figures:
        shown = [found[a.name] for p in spec.panels for _, a in axes_of(p) if a.name in found]
        if spec.name not in names if names else not applies(spec, result.tags):
            continue
        plot = _plot(spec, result, found, lacking)
        if names or any(p.layers for p in plot.panels):
            out.append(Figure(plot=add_bands(plot, list(found.values())), status=worst(m.status for m in shown)))
    return out


def _plot(spec: FigureSpec, result: PartResult, found: Mapping[str, MetricResult], lacking: Mapping[str, str | None]) -> Plot:
    fields = dict.fromkeys(FIELDS, "") | {"camera": result.part, "night": f"{result.night:08d}", "expid": f"{result.expid:08d}"}
    fields |= {k: result.tags.get(k, "") for k in ("flavor", "program")}
    title = spec.title or spec.name.replace("_", " ") + ", camera {camera}"
    for name, text in fields.items():
        title = title.replace(f"{{{name}}}", text)
    panels = tuple(_panel(p, found, lacking) for p in spec.panels)
    return Plot(name=PREFIX + spec.name, title=title, panels=panels, columns=spec.columns, caption=spec.caption)


def _panel(spec: Panel2d | Panel3d | PanelPatch, found: Mapping[str, MetricResult], lacking: Mapping[str, str | None]) -> Panel:
    if (nothing := _lacks(spec, found, lacking)) is not None:
        return nothing
    if isinstance(spec, Panel2d):
        return _panel_2d(spec, found)
    return _panel_3d(spec, found) if isinstance(spec, Panel3d) else _patch(spec, found)


def _lacks(spec: Panel2d | Panel3d | PanelPatch, found: Mapping[str, MetricResult], lacking: Mapping[str, str | None]) -> Panel | None:
    """An empty panel with the reason where one of its metrics has no value; None where all have."""
    axes = [a for _, a in axes_of(spec)]
    title = spec.title or _label(axes[0].name)
    dims = found[axes[0].name].coords if axes[0].name in found else ()
    for axis in axes:
        metric = found.get(axis.name)
        if metric is None and axis.name not in dims:
            return _nothing(title, f"{axis.name} was not measured here")
        if metric is not None and not metric.values:
            why = lacking.get(axis.name)
            return _nothing(title, metric.reason or f"{axis.name} was not measured" + (f": {why}" if why else ""))
        if metric is not None and not _series(axis, metric).values:
            return _nothing(title, f"{axis.name} of {', '.join(f'{k} {v}' for k, v in axis.at.items())} was not measured")
    return None


def _nothing(title: str, message: str) -> Panel:
    return Panel(x=Axis(label=""), y=Axis(label=""), layers=(), title=title, message=message)


def _label(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _axis(spec: AxisSpec, found: Mapping[str, MetricResult], places: Sequence[tuple[Coord, ...]] = ()) -> Axis:
    """As the configuration has it; `places` are the coordinates along it, which name it where they are words."""
    unit = found[spec.name].unit if spec.name in found else _UNITS.get(spec.name, "")
    words = spec.name not in found and any(isinstance(p[0], str) for p in places)
    names = tuple(str(p[0]) for p in places) if words else ()
    return Axis(label=spec.title or _label(spec.name), unit=unit, log=spec.log, range=spec.range, colours=spec.colours, names=names)


def _series(spec: AxisSpec, metric: MetricResult) -> _Series:
    """The elements of a metric that `at` selects, by the coordinates that it leaves."""
    dims = list(metric.coords)
    kept = [i for i, d in enumerate(dims) if d not in spec.at]
    values, statuses, out = {}, {}, set()
    for flat, place in enumerate(itertools.product(*metric.coords.values())):
        if all(str(place[dims.index(d)]) == str(v) for d, v in spec.at.items()):
            key = tuple(place[i] for i in kept)
            value, status = metric.values[flat], metric.statuses[flat]
            values[key] = math.nan if value is None else value
            statuses[key] = status.value if status else ""
            if flat in metric.left_out:
                out.add(key)
    return _Series(values=values, statuses=statuses, left_out=frozenset(out))


def _along(spec: AxisSpec, found: Mapping[str, MetricResult], places: Sequence[tuple[Coord, ...]]) -> Floats:
    """Values of an axis at these places: of the metric, or the coordinate itself (its place in order where it is a word)."""
    if spec.name in found:
        known = _series(spec, found[spec.name]).values
        return np.array([known.get(p, math.nan) for p in places], np.float64)
    words = any(isinstance(p[0], str) for p in places)
    return np.array([i if words else float(p[0]) for i, p in enumerate(places)], np.float64)


def _panel_2d(spec: Panel2d, found: Mapping[str, MetricResult]) -> Panel:
    layers: list[Layer] = []
    for y in spec.y:
        known = _series(y, found[y.name])
        places = list(known.values)
        values = np.array(list(known.values.values()), np.float64)
        label = (y.title or _label(y.name)) if len(spec.y) > 1 else ""
        named = spec.x.name not in found and any(isinstance(p[0], str) for p in places)
        if spec.style == "bars" or (spec.style == "auto" and named):
            words = tuple("not judged" if p in known.left_out else "" for p in places)
            layers.append(Bars(names=tuple(str(p[0]) for p in places), heights=values, label=label, words=words))
        elif spec.style == "line":
            layers.append(Line(x=_along(spec.x, found, places), y=values, label=label))
        else:
            layers.append(Scatter(x=_along(spec.x, found, places), y=values, label=label))
    y_axis = _axis(spec.y[0], found)
    title = spec.title or " and ".join(_label(y.name) for y in spec.y)
    along = list(_series(spec.y[0], found[spec.y[0].name]).values)
    return Panel(x=_axis(spec.x, found, along), y=y_axis, layers=tuple(layers), title=title, metric=spec.y[0].name)


def _panel_3d(spec: Panel3d, found: Mapping[str, MetricResult]) -> Panel:
    places = list(_series(spec.z, found[spec.z.name]).values)
    x, y, z = (_along(a, found, places) for a in (spec.x, spec.y, spec.z))
    c_axis = _axis(spec.z, found)
    layer: Layer = FocalPlane(x=x, y=y, c=z, c_axis=c_axis) if spec.equal else Scatter(x=x, y=y, c=z, c_axis=c_axis)
    return Panel(x=_axis(spec.x, found, places), y=_axis(spec.y, found, places), layers=(layer,), title=_judged(spec.title, found[spec.z.name]))


def _judged(title: str, metric: MetricResult, *, told: bool = False) -> str:
    """The title with the limit of what the colours show, for colours have no bands, and how much is beyond it, unless that is `told` elsewhere."""
    limit = metric.deciding
    said = title or _label(metric.name)
    if limit is None:
        return said
    unit = f" {metric.unit}" if metric.unit else ""
    judged = [s for s in metric.statuses if s is not None]
    bad = sum(s is not Status.NORMAL for s in judged)
    beyond = f"; {bad} of {len(judged)} not NORMAL" if bad and not told else ""
    return f"{said} (normal: {range_words(*limit.normal)}{unit}{beyond})"


def _patch(spec: PanelPatch, found: Mapping[str, MetricResult]) -> Panel:
    metric = found[spec.z.name]
    known = _series(spec.z, metric)
    dims = [d for d in metric.coords if d not in spec.z.at]
    grid = _grid(spec, metric, known, dims)
    values = np.array([[math.nan if p is None else known.values.get(p, math.nan) for p in row] for row in grid.rows], np.float64)
    worded = values.shape[0] <= _WORDED[0] and values.shape[1] <= _WORDED[1]
    words = tuple(tuple(_cell(p, known) for p in row) for row in grid.rows) if worded else ()
    image = Image(values=values, extent=grid.extent, c_axis=_axis(spec.z, found), words=words, percentile=(0.0, 100.0))
    x, y = (dataclasses.replace(a, label=t or a.label) for a, t in ((grid.x, spec.x_title), (grid.y, spec.y_title)))
    return Panel(x=x, y=y, layers=(image,), title=_judged(spec.title, metric, told=worded))


def _grid(spec: PanelPatch, metric: MetricResult, known: _Series, dims: Sequence[str]) -> _Grid:
    rows: _Rows
    if spec.layout:
        rows = tuple(tuple((c,) for c in row) for row in reversed(spec.layout))
        extent = (*_span((), len(rows[0])), *_span((), len(rows)))
        return _Grid(rows=rows, x=Axis(label="from left to right"), y=Axis(label="from below"), extent=extent)
    if spec.bundle:
        rows, first = _bundles(list(known.values), spec.bundle)
        names = tuple(str(first + i) for i in range(len(rows[0])))
        x, y = Axis(label=f"bundle of {spec.bundle}", names=names), Axis(label=f"{_label(dims[0])} in the bundle")
        return _Grid(rows=rows, x=x, y=y, extent=(*_span((), len(names)), *_span((), spec.bundle)))
    across_dim = spec.x.name if spec.x is not None else dims[-1]
    up_dim = next(d for d in dims if d != across_dim)
    along, up = metric.coords[across_dim], metric.coords[up_dim]
    rows = tuple(tuple((a, b) if dims[0] == across_dim else (b, a) for a in along) for b in up)
    return _Grid(rows=rows, x=_dim_axis(across_dim, along), y=_dim_axis(up_dim, up), extent=(*_span(along, len(along)), *_span(up, len(up))))


def _dim_axis(dim: str, coords: Sequence[Coord]) -> Axis:
    names = () if _even(coords) else tuple(str(c) for c in coords)
    return Axis(label=_label(dim), unit=_UNITS.get(dim, ""), names=names)


def _even(coords: Sequence[Coord]) -> bool:
    """Whether they are numbers in equal steps, which can be an axis by themselves."""
    steps = np.diff(np.array([c for c in coords if not isinstance(c, str)], np.float64))
    return bool(steps.size > 1 and steps.size == len(coords) - 1 and steps[0] > 0 and np.allclose(steps, steps[0], rtol=0.01, atol=0.0))


def _span(coords: Sequence[Coord], n: int) -> tuple[float, float]:
    """Both edges of an axis: of the coordinates where they are numbers in equal steps, else of their places in order."""
    if not _even(coords):
        return -0.5, n - 0.5
    first, last = float(coords[0]), float(coords[-1])
    half = 0.5 * (last - first) / (n - 1)
    return first - half, last + half


def _bundles(places: Sequence[tuple[Coord, ...]], size: int) -> tuple[_Rows, int]:
    """One column a bundle, by the number itself, and the first bundle; numbers that nobody has measured leave gaps."""
    numbers = {int(p[0]): p for p in places if not isinstance(p[0], str)}
    first, last = min(numbers, default=0) // size, max(numbers, default=0) // size
    return tuple(tuple(numbers.get(b * size + k) for b in range(first, last + 1)) for k in range(size)), first


def _cell(place: tuple[Coord, ...] | None, known: _Series) -> str:
    """Name, value and what is the matter."""
    if place is None:
        return ""
    value = known.values.get(place, math.nan)
    status = known.statuses.get(place, "")
    name = " ".join(str(c) for c in place)
    if not math.isfinite(value):
        return f"{name}\nnot\nmeasured"
    bad = "not judged" if place in known.left_out else status if status != Status.NORMAL.value else ""
    return "\n".join(t for t in (name, number(value), bad) if t)
