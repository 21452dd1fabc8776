"""Bars of a panel as traces of plotly: status by colour, pattern and word; what was not measured as an empty frame that says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitor.render.bars import categories
from monitor.render.numeric import numbers, short
from monitor.render.style import BADGES, GREY, SERIES
from monitor.web.figures_encode import Json, plain, typed
from monitor.web.figures_hover import line_of, template
from monitor.web.figures_layers import Around, Drawn
from quicklook.core.errors import BadData
from quicklook.core.plots import Bars
from quicklook.core.status import Status

_PATTERNS = ("", "/", ".", "\\", "x")
_STATUS_PATTERNS = {Status.WARNING: "/", Status.ALARM: "x", Status.UNKNOWN: "."}
Look = tuple[str, str, Status | None]
"""Colour, pattern, and the status where it is one to be seen."""
_WRITTEN = 24
"""With more bars than this their values have no room at them."""


def add_bars(out: Drawn, layers: Sequence[Bars], around: Around) -> None:
    """Bars side by side; what was not measured is a dotted frame of full height that says so."""
    names = categories(layers)
    width = 0.8 / max(len(layers), 1)
    written = len(names) * len(layers) <= _WRITTEN
    met: dict[Status, None] = {}
    place = {n: k for k, n in enumerate(names)}
    for i, layer in enumerate(layers):
        values = numbers(layer.heights, "heights").ravel()
        if len(values) != len(layer.names):
            raise BadData(f"lengths differ: {len(layer.names)} names, {len(values)} heights")
        centre = np.array([place[n] for n in layer.names], np.float64) + ((i + 0.5) * width - 0.4)
        said = layer.words if len(layer.words) == len(values) else ("",) * len(values)
        statuses = layer.statuses if len(layer.statuses) == len(values) else ("",) * len(values)
        last = np.array([n not in layer.names[k + 1 :] for k, n in enumerate(layer.names)], bool)
        good = np.isfinite(values) & ((values > 0) | (not around.y.log)) & last
        usual = SERIES[(around.index + i) % len(SERIES)]
        looks = [_look(s, usual, i if len(layers) > 1 else 0) for s in statuses]
        numbers_of = []
        seen = list(dict.fromkeys(look for look, g in zip(looks, good, strict=True) if g))
        for look in seen or [_look("", usual, 0)]:  # without a trace there were no axes for the frames
            chosen = [k for k in np.flatnonzero(good).tolist() if looks[k] == look]
            texts = [plain(said[k]) or short(float(values[k]), 4) for k in chosen] if written else None
            hover = [[plain(layer.names[k]), plain(said[k]), plain(statuses[k]) or "not judged"] for k in chosen]
            trace = {"x": typed(centre[chosen]), "y": typed(values[chosen]), "width": 0.92 * width, "customdata": hover, "text": texts}
            numbers_of.append(out.add(trace | _drawn_as(look, layer.label, around)))
            met |= {look[2]: None} if look[2] is not None else {}
        out.entry(layer.label, "square", usual, numbers_of)
        for k in np.flatnonzero(~np.isfinite(values)).tolist():
            _missing(out, float(centre[k]), width, plain(said[k]) or "not measured", written=written)
    for status in met:
        out.legend.append({"text": status.value, "mark": f"pattern{_STATUS_PATTERNS[status]}", "colour": BADGES[status].colour, "traces": []})


def _drawn_as(look: Look, label: str, around: Around) -> Json:
    """What bars of one look have in common; a pattern is white on the colour."""
    pattern = {"pattern": {"shape": look[1], "fillmode": "overlay", "fgcolor": "#ffffff"}} if look[1] else {}
    hover = template(label, "<b>%{customdata[0]}</b>", line_of(around.y, "y", "value"), "%{customdata[1]} %{customdata[2]}")
    return {"type": "bar", "hovertemplate": hover, "marker": {"color": look[0], **pattern}, "textposition": "outside", "cliponaxis": False}


def _look(status: str, usual: str, series: int) -> Look:
    """How a bar of a status looks."""
    found = next((s for s in _STATUS_PATTERNS if s.value == status), None)
    if found is None:
        return usual, _PATTERNS[series % len(_PATTERNS)], None
    return BADGES[found].colour, _STATUS_PATTERNS[found], found


def _missing(out: Drawn, x: float, width: float, why: str, *, written: bool) -> None:
    half = 0.46 * width
    frame = {"color": GREY, "width": 1, "dash": "dot"}
    upright = {"xref": "x", "yref": "y domain"}
    out.shapes.append({"type": "rect", **upright, "x0": x - half, "x1": x + half, "y0": 0, "y1": 1, "line": frame, "layer": "below"})
    if written:
        out.words.append({**upright, "x": x, "y": 0.5, "text": why, "textangle": -90, "showarrow": False, "font": {"size": 11}})
