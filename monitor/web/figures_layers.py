"""Layers of a panel as traces of plotly, with what the legend says of them. Everywhere SVG traces alone: others need a policy that allows eval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.colors import Normalize, to_hex

from monitor.render.colours import ColourScale
from monitor.render.images import binned, extent_of, picture
from monitor.render.numeric import Floats, Interval, tick_texts, vectors
from monitor.render.plan import Setting
from monitor.render.points import drawable, isolated
from monitor.render.style import DASHES, GREY, MASK, PALE, SERIES
from monitor.web.figures_encode import Json, fewer_of_line, fewer_of_points, plain, typed
from monitor.web.figures_hover import Judgement, line_of, template
from quicklook.core.plots import Axis, FocalPlane, Image, Line, Scatter

MOST_LINE, MOST_POINTS, MOST_PIXELS = 10_000, 6_000, 600
"""So many points of a line and of a cloud, and pixels a side of a picture, are sent; more are made fewer, and the figure says so."""
_MOST_JUDGED = 2000
_DASHES = dict(zip(DASHES, ("solid", "dash", "dashdot", "dot"), strict=True))
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
_SHADES = 33


@dataclass(slots=True, kw_only=True)
class Drawn:
    """What the layers of a panel have become: traces, entries of the legend, shapes and words over them, remarks."""

    traces: list[Json] = field(default_factory=list)
    legend: list[Json] = field(default_factory=list)
    shapes: list[Json] = field(default_factory=list)
    words: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, trace: Json) -> int:
        """A trace; its number."""
        self.traces.append({"showlegend": False, **trace})
        return len(self.traces) - 1

    def entry(self, text: str, mark: str, colour: str, traces: Sequence[int]) -> None:
        """An entry of the legend that shows and hides traces; none without a text."""
        if text.strip():
            self.legend.append({"text": text, "mark": mark, "colour": colour, "traces": list(traces)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a layer knows of its panel: its axes and their limits, its number, its colours, the judgement of its y values."""

    x: Axis
    y: Axis
    x_limits: Interval
    y_limits: Interval
    index: int
    scale: ColourScale | None
    judgement: Judgement

    @property
    def colour(self) -> str:
        """Of the series."""
        return SERIES[self.index % len(SERIES)]

    def drawable(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Points with NaN where they cannot be drawn."""
        return drawable(x, y, Setting(x=self.x, y=self.y, index=self.index, scale=self.scale))[:2]


def add_line(out: Drawn, layer: Line, around: Around) -> None:
    """A line, its shaded range, and dots where a point stands alone between gaps."""
    x, y = vectors(x=layer.x, y=layer.y)
    x, y = around.drawable(x, y)
    kept, size = fewer_of_line(x, y, MOST_LINE)
    error = None if layer.error is None or around.y.log else np.abs(vectors(x=layer.x, error=layer.error)[1])
    alone = isolated(y)
    if kept is not None:
        out.notes.append(f"of every {size} points the least and the greatest are drawn")
        x, y, alone = x[kept], y[kept], alone[kept]
        error = None if error is None else error[kept]
    numbers_of: list[int] = []
    if error is not None:
        numbers_of.append(out.add(_range(x, y - error, y + error, around.colour)))
    dash = _DASHES[DASHES[(around.index // len(SERIES)) % len(DASHES)]]
    judged = around.judgement.known and len(y) <= _MOST_JUDGED
    hover = template(layer.label, line_of(around.x, "x", "x"), line_of(around.y, "y", "y"), status=judged)
    trace: Json = {
        "type": "scatter", "mode": "lines", "x": typed(x), "y": typed(y), "hovertemplate": hover, "connectgaps": False,
        "line": {"color": around.colour, "dash": dash, "width": 1.6 if len(y) < 500 else 1.1},
    }  # fmt: skip
    if np.isfinite(alone).any():
        trace |= {"mode": "lines+markers", "marker": {"color": around.colour, "size": np.where(np.isfinite(alone), 5, 0).tolist(), "opacity": 1}}
    numbers_of.append(out.add(trace | ({"text": around.judgement.words(y)} if judged else {})))
    out.entry(layer.label, dash, around.colour, numbers_of)


def _range(x: Floats, low: Floats, high: Floats, colour: str) -> Json:
    """The range between two lines, a closed outline for each stretch without a gap."""
    good = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], good.astype(np.int8), [0]))))
    xs: list[Floats] = []
    ys: list[Floats] = []
    for start, stop in edges.reshape(-1, 2):
        piece = slice(start, stop)
        xs += [x[piece], x[piece][::-1], np.array([np.nan])]
        ys += [low[piece], high[piece][::-1], np.array([np.nan])]
    empty = np.empty(0)
    return {
        "type": "scatter", "mode": "none", "fill": "toself", "fillcolor": _faint(colour), "hoverinfo": "skip",
        "x": typed(np.concatenate(xs) if xs else empty), "y": typed(np.concatenate(ys) if ys else empty),
    }  # fmt: skip


def _faint(colour: str, alpha: float = 0.25) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def add_points(out: Drawn, layer: Scatter | FocalPlane, around: Around) -> None:
    """Points in one colour or coloured by a value; crosses where that was not measured."""
    x, y = vectors(x=layer.x, y=layer.y)
    x, y = around.drawable(x, y)
    values = vectors(x=x, c=layer.c)[1] if layer.c is not None and around.scale is not None else None
    kept = fewer_of_points([x, y] if values is None else [x, y, values], MOST_POINTS)
    if kept is not None:
        out.notes.append(f"{len(kept)} of {len(x)} points are drawn, the outermost all")
        x, y = x[kept], y[kept]
        values = None if values is None else values[kept]
    crowded = isinstance(layer, FocalPlane)
    size = min(max(math.sqrt((45000 if crowded else 12000) / max(len(x), 1)), 4.0), 13.0 if crowded else 8.0)
    if values is None or around.scale is None:
        _plain_points(out, layer, around, (x, y), size)
    else:
        _coloured_points(out, layer, around, (x, y, values), around.scale, size)


def _plain_points(out: Drawn, layer: Scatter | FocalPlane, around: Around, at: tuple[Floats, Floats], size: float) -> None:
    x, y = at
    symbol = _SYMBOLS[around.index % len(_SYMBOLS)]
    judged = around.judgement.known and len(y) <= _MOST_JUDGED
    trace: Json = {
        "type": "scatter", "mode": "markers", "x": typed(x), "y": typed(y),
        "marker": {"color": around.colour, "symbol": symbol, "size": size, "opacity": 0.85},
        "hovertemplate": template(layer.label, line_of(around.x, "x", "x"), line_of(around.y, "y", "y"), status=judged),
    }  # fmt: skip
    out.entry(layer.label, symbol, around.colour, [out.add(trace | ({"text": around.judgement.words(y)} if judged else {}))])


def _coloured_points(
    out: Drawn, layer: Scatter | FocalPlane, around: Around, at: tuple[Floats, Floats, Floats], scale: ColourScale, size: float
) -> None:
    x, y, values = at
    valued = np.isfinite(x) & np.isfinite(values) & ((values > 0) | (not scale.log))
    lost = np.isfinite(x) & ~valued
    where = (line_of(around.x, "x", "x"), line_of(around.y, "y", "y"))
    trace: Json = {
        "type": "scatter", "mode": "markers", "x": typed(x[valued]), "y": typed(y[valued]), "customdata": typed(values[valued]),
        "hovertemplate": template(layer.label, *where, line_of(scale.axis, "customdata", "value")),
        "marker": {"size": size, "color": typed(_normed(scale, values[valued])), **colour_axis(scale), "line": {"width": 0.5, "color": GREY}},
    }  # fmt: skip
    numbers_of = [out.add(trace)]
    out.entry(layer.label, "circle", GREY, numbers_of)
    if lost.any():
        cross = {"color": GREY, "symbol": "x-thin", "size": size, "line": {"width": 1.3, "color": GREY}}
        hollow = {"type": "scatter", "mode": "markers", "x": typed(x[lost]), "y": typed(y[lost]), "marker": cross}
        number = out.add(hollow | {"hovertemplate": template(layer.label, *where, f"{plain(scale.axis.label)}: not measured")})
        out.entry(f"not measured ({int(lost.sum())} of {int(np.isfinite(x).sum())})", "x-thin", GREY, [number])


def _normed(scale: ColourScale, values: Floats) -> Floats:
    """Values on the scale of colours, 0 to 1 within its range."""
    if scale.log:
        values = np.where(values <= 0, np.finfo(np.float64).tiny, values)
    with np.errstate(all="ignore"):
        return np.clip(np.ma.filled(np.ma.asarray(scale.norm(np.ma.masked_invalid(values)), np.float64), np.nan), 0.0, 1.0)


def colour_axis(scale: ColourScale) -> Json:
    """Colours and their bar: as in the picture of the same plot, whatever the stretch."""
    shades = np.linspace(0.0, 1.0, _SHADES)
    words = tick_texts(scale.ticks, log=scale.log)
    unit = f" [{plain(scale.axis.unit)}]" if scale.axis.unit.strip() else ""
    places = [float(v) for v in np.atleast_1d(_normed(scale, np.asarray(scale.ticks, np.float64)))] if scale.ticks else []
    beyond = {"neither": "", "min": " ▾ lower", "max": " ▴ higher", "both": " ▴▾ beyond"}[scale.extend]
    title = {"text": f"{plain(scale.axis.label)}{unit}{beyond and f' <i>({beyond.strip()})</i>'}", "side": "right"}
    return {
        "colorscale": [[float(s), to_hex(scale.cmap(float(s)))] for s in shades], "showscale": True,
        **{"cmin": 0.0, "cmax": 1.0},
        "colorbar": {"title": title, "tickmode": "array", "tickvals": places, "ticktext": words, "thickness": 12, "outlinewidth": 0, "len": 1.0},
    }  # fmt: skip


def add_image(out: Drawn, layer: Image, around: Around) -> None:
    """A picture with its values under the pointer, its words, its mask in stripes."""
    scale = around.scale
    values, factor = picture(layer)
    if scale is None or not values.size:
        return
    x0, x1, y0, y1 = extent_of(layer)
    values, factor = _coarser(layer, values, factor)
    ny, nx = values.shape
    axis = colour_axis(scale)
    where = (line_of(around.x, "x", "x"), line_of(around.y, "y", "y"))
    trace: Json = {"type": "heatmap", **_grid(x0, x1, nx, "x"), **_grid(y0, y1, ny, "y"), "hoverongaps": False}
    if type(scale.norm) is Normalize:  # what is linear needs no second array for what is said under the pointer
        del axis["cmin"], axis["cmax"]
        axis["colorbar"]["tickvals"] = list(scale.ticks)
        trace |= {"z": typed(values), "zmin": float(scale.norm.vmin or 0.0), "zmax": float(scale.norm.vmax or 0.0), **axis}
        trace["hovertemplate"] = template("", *where, line_of(scale.axis, "z", "value"))
    else:
        trace |= {"z": typed(_normed(scale, values)), "zmin": axis.pop("cmin"), "zmax": axis.pop("cmax"), **axis, "customdata": typed(values)}
        trace["hovertemplate"] = template("", *where, line_of(scale.axis, "customdata", "value"))
    if layer.words and factor == 1:
        trace |= {"text": [["<br>".join(plain(line) for line in cell.split("\n")) for cell in row] for row in layer.words], "texttemplate": "%{text}"}
    out.add(trace)
    if np.isnan(values).any():
        out.legend.append({"text": "no value", "mark": "square", "colour": PALE, "traces": []})
    if layer.mask is not None and np.any(layer.mask):
        shown = _any_of(np.asarray(layer.mask) != 0, factor)
        stripes = np.where(shown, 1.0, np.nan)
        number = out.add({
            "type": "heatmap", "z": typed(stripes), "zmin": 0.0, "zmax": 1.0, "colorscale": [[0, MASK], [1, MASK]],
            **_grid(x0, x1, shown.shape[1], "x"), **_grid(y0, y1, shown.shape[0], "y"), "showscale": False, "opacity": 0.6,
            "hovertemplate": "masked<extra></extra>", "hoverongaps": False,
        })  # fmt: skip
        out.entry("masked", "square", MASK, [number])


def _grid(first: float, last: float, n: int, axis: str) -> Json:
    step = (last - first) / n
    return {f"{axis}0": first + 0.5 * step, f"d{axis}": step}


def _coarser(layer: Image, values: Floats, factor: int) -> tuple[Floats, int]:
    """The values binned until they are few enough to be sent."""
    more = max(1, math.ceil(max(values.shape) / MOST_PIXELS))
    return (binned(layer.values, factor * more), factor * more) if more > 1 else (values, factor)


def _any_of(mask: Any, factor: int) -> Any:
    """Whether any pixel under a larger one is set."""
    for axis in (0, 1):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], factor), axis=axis)
    return mask
