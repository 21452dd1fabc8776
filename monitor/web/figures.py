"""Plots as data to interactive figures, as JSON: the twin of `monitor.render`. Limits, notes, colours and bands are those of the picture.

A figure is a grid of panels, each with a figure of plotly of its own (so that a narrow screen stacks them), and beside it, as words: title, legend,
notes, the rows of a table, or why nothing is to be seen.
"""

from __future__ import annotations

import math

from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from monitor.render import bands
from monitor.render.numeric import HUGE, tick_texts
from monitor.render.panel import Prepared, Ruler, Scales, prepare
from monitor.render.plan import Entry
from monitor.render.style import GREY, NORMAL, WARNING, axis_label, clean, look_for
from monitor.web.figures_bars import add_bars
from monitor.web.figures_encode import Json, plain
from monitor.web.figures_hover import Judgement
from monitor.web.figures_layers import Around, Drawn, add_image, add_line, add_points
from quicklook.core.errors import BadData
from quicklook.core.plots import Axis, Bars, Image, Line, Panel, Plot, Table

_WIDTH, _DPI = 9.0, 100.0
"""Of the page for which words are broken into lines, inch; the browser breaks them anew."""
_LETTERS_ACROSS, _LETTERS_UP = 56, 30
_BAND_FILL = {"normal": "rgba(0,158,115,0.13)", "warning": "rgba(230,159,0,0.20)"}
_ACROSS = {"xref": "x domain", "yref": "y", "x0": 0, "x1": 1}
_BAND_EDGE = {"normal": (NORMAL, "solid"), "warning": (WARNING, "dash")}


def figure(plot: Plot) -> Json:
    """A plot as ``{name, title, caption, columns, panels}``. What cannot be drawn becomes words, not an exception."""
    panels = [panel_figure(panel) for panel in plot.panels]
    return {"name": plot.name, "title": clean(plot.title), "caption": clean(plot.caption), "columns": max(plot.columns, 1), "panels": panels}


def panel_figure(panel: Panel) -> Json:
    """A panel as ``{title, message, notes, legend, tables, data, layout, ratio}``; ``data`` and ``layout`` are for plotly, null without axes."""
    prepared = prepare(panel, look_for(1, _DPI), _WIDTH)
    drawn = _drawn(panel, prepared)
    tables = [_table(layer) for layer in panel.layers if isinstance(layer, Table)]
    axes = bool(drawn.traces) and not prepared.message
    own = {clean(e["text"]) for e in drawn.legend}
    legend = drawn.legend + [_entry(e) for e in prepared.entries if e[1] not in own and not _said_otherwise(e[1], own)] if axes else []
    return {
        "title": " ".join(prepared.title),
        "message": prepared.message if not tables else "",
        "notes": list(dict.fromkeys([*prepared.notes, *drawn.notes])) if axes else [],
        "legend": legend,
        "tables": tables,
        "data": drawn.traces if axes else None,
        "layout": _layout(panel, prepared, drawn) if axes else None,
        "ratio": prepared.ratio,
    }


def _drawn(panel: Panel, prepared: Prepared) -> Drawn:
    out = Drawn()
    scales = Scales(panel)
    judgement = Judgement(panel.bands)
    bars = [layer for layer in panel.layers if isinstance(layer, Bars)]
    for index, layer in enumerate(panel.layers):
        if isinstance(layer, Table) or (isinstance(layer, Bars) and layer is not bars[0]):
            continue
        try:
            around = Around(
                x=panel.x, y=panel.y, x_limits=prepared.x.limits, y_limits=prepared.y.limits, index=index, scale=scales.of(layer), judgement=judgement
            )
            if isinstance(layer, Bars):
                add_bars(out, bars, around)
            elif isinstance(layer, Line):
                add_line(out, layer, around)
            elif isinstance(layer, Image):
                add_image(out, layer, around)
            else:
                add_points(out, layer, around)
        except BadData:
            continue  # what is wrong with it stands among the notes
    seen: set[str] = set()
    for trace in out.traces:
        _one_bar(trace, seen)
    return out


def _one_bar(trace: Json, seen: set[str]) -> None:
    """Layers that share a scale of colours share its bar."""
    holder = trace if trace["type"] == "heatmap" else trace.get("marker", {})
    if holder.get("showscale"):
        title = holder["colorbar"]["title"]["text"]
        holder["showscale"] = title not in seen
        seen.add(title)


def _said_otherwise(text: str, own: set[str]) -> bool:
    """Shares of masked and absent pixels, and counts of absent bars, take the place of our own words."""
    return any(text.startswith(start) and start in own for start in ("masked", "no value"))


def _entry(entry: Entry) -> Json:
    """An entry of the legend of the picture, for what is no series."""
    handle, text = entry
    if isinstance(handle, Patch):
        mark = "hatch" if handle.get_hatch() else "dashed" if handle.get_linestyle() in ("--", "dashed") else "band"
        return {"text": text, "mark": mark, "colour": to_hex(handle.get_edgecolor() if mark == "hatch" else handle.get_facecolor()), "traces": []}
    if isinstance(handle, Line2D):
        return {"text": text, "mark": "x-thin" if handle.get_marker() == "x" else "solid", "colour": to_hex(handle.get_color()), "traces": []}
    return {"text": text, "mark": "square", "colour": GREY, "traces": []}


def _table(layer: Table) -> Json:
    return {"header": [clean(c) for c in layer.header], "rows": [[clean(c) for c in row] for row in layer.rows]}


def _layout(panel: Panel, prepared: Prepared, drawn: Drawn) -> Json:
    layout: Json = {
        "xaxis": _axis(panel.x, prepared.x, _LETTERS_ACROSS),
        "yaxis": _axis(panel.y, prepared.y, _LETTERS_UP),
        "shapes": [*_bands(panel, prepared), *drawn.shapes],
        "annotations": drawn.words,
        "barmode": "overlay",
        "hovermode": "closest",
        "dragmode": "zoom",
    }
    if prepared.ratio is not None:
        layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1, "constrain": "domain"} if panel.x.unit == panel.y.unit else {}
        layout["xaxis"] |= {"constrain": "domain"}
    return layout


def _axis(axis: Axis, ruler: Ruler, letters: int) -> Json:
    low, high = ruler.limits
    title = "<br>".join(plain(line) for line in axis_label(axis, letters).split("\n"))
    out: Json = {"title": {"text": title}, "type": "log" if ruler.log else "linear"}
    out["range"] = [math.log10(low), math.log10(high)] if ruler.log and low > 0 and high > 0 else [low, high]
    if axis.names or (ruler.ticks and not _numeric(ruler)):
        out |= {"tickmode": "array", "tickvals": list(ruler.ticks), "ticktext": [plain(t) for t in ruler.texts], "showgrid": False, "zeroline": False}
        out |= {"tickangle": -60 if ruler.upright else 0}
    elif not ruler.ticks:
        out |= {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
    return out


def _numeric(ruler: Ruler) -> bool:
    """Whether the texts of the ticks are the numbers themselves, and no names."""
    return tick_texts(ruler.ticks, log=ruler.log) == list(ruler.texts)


def _bands(panel: Panel, prepared: Prepared) -> list[Json]:
    """Ranges of limits behind the data, and their edges; without end where the limit has none, so that zooming out stays honest."""
    out: list[Json] = []
    log = prepared.y.log
    low, high = sorted(prepared.y.limits)
    far = 1e3 * (high - low)
    normal = [bands.ends(b) for b in panel.bands if b.kind == "normal"]
    for band in panel.bands:
        span = bands.ends(band)
        for a, b in bands.without(span, normal) if band.kind == "warning" else [span]:
            bottom, top = (max(a, low / 1e6), min(b, high * 1e6)) if log else (max(a, low - far), min(b, high + far))
            if bottom < top:
                out.append(_rectangle(bottom, top, _BAND_FILL[band.kind]))
        colour, dash = _BAND_EDGE[band.kind]
        for edge in span:
            if abs(edge) < HUGE and (edge > 0 or not log):
                line = {"color": colour, "width": 1.2, "dash": dash}
                out.append({"type": "line", **_ACROSS, "y0": edge, "y1": edge, "line": line, "layer": "above"})
    return out


def _rectangle(bottom: float, top: float, colour: str) -> Json:
    return {"type": "rect", **_ACROSS, "y0": bottom, "y1": top, "fillcolor": colour, "line": {"width": 0}, "layer": "below"}

