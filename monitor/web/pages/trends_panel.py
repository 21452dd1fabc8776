"""Histories as a panel over time: a trace for each camera and element, gaps where nothing was measured, limits as they were at each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.render.style import MARKERS, NORMAL, SERIES, WARNING
from monitor.web.figures_encode import Json, plain, typed
from monitor.web.pages.trends_history import History

_MOST_GROUPS = 24
"""More traces than this cannot be told apart: their median and range are shown."""
_SYMBOLS = dict(zip(MARKERS, ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"), strict=True))
_SHAPES = tuple(_SYMBOLS[m] for m in MARKERS)
_BANDS = (("warning", "rgba(230,159,0,0.16)", WARNING, "dash"), ("normal", "rgba(0,158,115,0.13)", NORMAL, "solid"))
_MOST_BANDS = 60
Floats = npt.NDArray[np.float64]


def trend_panel(histories: Sequence[History]) -> tuple[Json, list[str]]:
    """A panel of one history, or of two: on one axis where they have the same unit, else with an axis of values each; remarks.

    Times are milliseconds, UTC, as plotly reads dates.
    """
    panel: Json = {"title": "", "message": "", "notes": [], "legend": [], "tables": [], "data": [], "ratio": None, "height": 420}
    layout: Json = {"xaxis": {"type": "date", "title": {"text": "time (UTC)"}}, "hovermode": "closest", "shapes": [], "annotations": []}
    notes: list[str] = []
    together = len(histories) == 2 and histories[0].unit == histories[1].unit
    named = together and histories[0].name != histories[1].name
    for number, history in enumerate(histories):
        _add(panel, layout, history, _Side(number, right=bool(number) and not together, named=named), notes)
    layout["yaxis"] = _axis(histories if together else histories[:1])
    if len(histories) == 2 and not together:
        layout["yaxis2"] = _axis(histories[1:]) | {"overlaying": "y", "side": "right"}
    if not panel["data"]:
        panel |= {"data": None, "message": "no values in that time"}
    return panel | {"layout": layout, "notes": notes}, notes


@dataclass(frozen=True, slots=True)
class _Side:
    """Which of the histories it is, which says how it looks; whether its values have the right axis, and its traces need its name."""

    number: int
    right: bool
    named: bool

    @property
    def axis(self) -> Json:
        """Of a trace."""
        return {"yaxis": "y2"} if self.right else {}


def _axis(histories: Sequence[History]) -> Json:
    unit = f" [{plain(histories[0].unit)}]" if histories[0].unit.strip() else ""
    names = dict.fromkeys(plain(h.name.replace("_", " ")) for h in histories)
    return {"title": {"text": f"{', '.join(names)}{unit}"}}


def _add(panel: Json, layout: Json, history: History, side: _Side, notes: list[str]) -> None:
    groups = _groups(history)
    if history.note:
        notes.append(f"{history.name}: {history.note}")
    if history.more:
        notes.append(f"{history.name}: there are older values than are shown; choose a shorter time, or narrow the condition")
    if len(groups) > _MOST_GROUPS:
        notes.append(f"{history.name}: {len(groups)} elements; the median of each exposure and the range of all of them are shown")
        _add_summary(panel, history, side)
    else:
        for k, (label, index) in enumerate(groups):
            _add_trace(panel, history, label or history.name, index, side, k)
    _add_bands(panel, layout, history, side, notes)


def _groups(history: History) -> list[tuple[str, npt.NDArray[np.intp]]]:
    """Elements that have a trace of their own: camera and coordinates."""
    names = [n for n in ("camera", *history.coordinates) if n in history.columns]
    columns = [history.columns[n] for n in names]
    keys = [tuple(str(c[i]) for c in columns) for i in range(len(history))]
    found: dict[tuple[str, ...], list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    labels = {key: " ".join(v if n == "camera" else f"{n} {v}" for n, v in zip(names, key, strict=True) if v) for key in found}
    return [(labels[key], np.array(found[key], np.intp)) for key in sorted(found, key=lambda k: labels[k])]


def _add_trace(panel: Json, history: History, label: str, index: npt.NDArray[np.intp], side: _Side, k: int) -> None:
    columns, number = history.columns, side.number
    colour, symbol = SERIES[(k + 3 * number) % len(SERIES)], _SHAPES[(k // len(SERIES) + k + 3 * number) % len(_SHAPES)]
    expids = _of_exposures(history, index)
    trace: Json = {
        "type": "scatter", "mode": "lines+markers" if len(index) < 3000 else "lines", "showlegend": False, "connectgaps": False,
        "x": typed(_ms(columns["time_ns"][index])), "y": typed(np.asarray(columns["value"][index], np.float64)),
        "line": {"color": colour, "width": 1, "dash": "dot" if number else "solid"}, "marker": {"color": colour, "symbol": symbol, "size": 6},
        "hovertemplate": _hover(history, label, with_unit=True, exposures=bool(expids)), **side.axis,
    }  # fmt: skip
    if expids:
        trace["customdata"] = expids
    panel["data"].append(trace)
    name = f"{history.name} {label}" if side.named and label != history.name else label
    text = f"{name}{' (right axis)' if side.right else ''}"
    panel["legend"].append({"text": text, "mark": symbol, "colour": colour, "traces": [len(panel["data"]) - 1]})


def _of_exposures(history: History, index: npt.NDArray[np.intp]) -> list[list[str]]:
    """What is said of each point: its exposure (as in 20220101/102), its status; nothing of samples that belong to none."""
    columns = history.columns
    if not {"night", "expid", "status", "camera"} <= set(columns):
        return []
    return [[f"{columns['night'][i]}/{columns['expid'][i]}", plain(columns["status"][i] or "not judged"), plain(columns["camera"][i])] for i in index]


def _hover(history: History, label: str, *, with_unit: bool, exposures: bool) -> str:
    unit = f" {plain(history.unit)}" if with_unit and history.unit.strip() else ""
    said = "<br>exposure %{customdata[0]}<br>%{customdata[1]}" if exposures else ""
    return f"<b>{plain(label)}</b><br>%{{x|%Y-%m-%d %H:%M:%S}}<br>%{{y}}{unit}{said}<extra></extra>"


def _ms(ns: npt.NDArray[Any]) -> Floats:
    return np.asarray(ns, np.float64) / 1e6


def _add_summary(panel: Json, history: History, side: _Side) -> None:
    """Median and range of all elements at each time."""
    times, values = np.asarray(history.columns["time_ns"], np.float64), np.asarray(history.columns["value"], np.float64)
    each, inverse = np.unique(times, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    pieces = np.split(values[order], np.flatnonzero(np.diff(inverse[order])) + 1)
    stats = np.array([(np.median(g), g.min(), g.max()) if (g := p[np.isfinite(p)]).size else (math.nan,) * 3 for p in pieces]).reshape(-1, 3)
    colour = SERIES[3 * side.number % len(SERIES)]
    for column, name, dash in ((0, "median", "solid"), (1, "least", "dot"), (2, "greatest", "dot")):
        panel["data"].append({
            "type": "scatter", "mode": "lines+markers" if column == 0 else "lines", "showlegend": False,
            "x": typed(each / 1e6), "y": typed(stats[:, column]),
            "line": {"color": colour, "width": 1.5 if column == 0 else 1, "dash": dash}, "marker": {"color": colour, "size": 5},
            "hovertemplate": _hover(history, name, with_unit=True, exposures=False), **side.axis,
        })  # fmt: skip
        panel["legend"].append({"text": f"{history.name}: {name}", "mark": dash, "colour": colour, "traces": [len(panel["data"]) - 1]})


def _add_bands(panel: Json, layout: Json, history: History, side: _Side, notes: list[str]) -> None:
    """Limits behind the values, each over the time in which it held. None where different elements have different ones."""
    names = [f"{kind}_{side}" for kind in ("normal", "warning") for side in ("low", "high")]
    if any(n not in history.columns for n in names) or not len(history):
        return
    limits = np.stack([np.asarray(history.columns[n], np.float64) for n in names], axis=1)
    times = _ms(history.columns["time_ns"])
    judged = np.isfinite(limits).any(axis=1)
    if not judged.any():
        return
    at_time: dict[float, set[tuple[float, ...]]] = {}
    for t, row in zip(times[judged].tolist(), np.nan_to_num(limits[judged], nan=math.inf).tolist(), strict=True):
        at_time.setdefault(t, set()).add(tuple(row))
    if any(len(found) > 1 for found in at_time.values()):
        notes.append(f"{history.name}: different elements have different limits; choose one of them to see its own")
        return
    stretches = [(list(group), key) for key, group in groupby(sorted(at_time), key=lambda t: next(iter(at_time[t])))]
    if len(stretches) > _MOST_BANDS:
        notes.append(f"{history.name}: its limits change too often to be drawn; hover or look at the exposures")
        return
    for group, key in stretches:
        _add_stretch(layout, (group[0], group[-1]), key, side, whole=len(stretches) == 1)
    for kind, _, colour, dash in reversed(_BANDS):
        mark = "band" if dash == "solid" else "dashed"
        entry = {"text": f"{history.name}: {kind} range", "mark": mark, "colour": colour, "traces": []}
        if entry not in panel["legend"]:  # two of one metric may have the same limits
            panel["legend"].append(entry)


def _add_stretch(layout: Json, span: tuple[float, float], key: tuple[float, ...], side: _Side, *, whole: bool) -> None:
    across = {"xref": "x domain", "x0": 0, "x1": 1} if whole else {"xref": "x", "x0": span[0], "x1": span[1]}
    place = {**across, "yref": "y2" if side.right else "y", "layer": "below"}
    for kind, fill, colour, dash in _BANDS:
        low, high = key[:2] if kind == "normal" else key[2:]
        ends = [e for e in (low, high) if math.isfinite(e)]
        if len(ends) == 2 and not side.number:  # fillings of two histories one over the other would say nothing
            layout["shapes"].append({"type": "rect", **place, "y0": low, "y1": high, "fillcolor": fill, "line": {"width": 0}})
        line = {"color": colour, "width": 1, "dash": dash}
        layout["shapes"] += [{"type": "line", **place, "y0": e, "y1": e, "line": line} for e in ends]
