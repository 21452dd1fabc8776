"""Bars over named categories, coloured by status where they have one; a category that was not measured is hatched and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from monitor.render.numeric import Floats, interval, numbers, short, union
from monitor.render.plan import Draw, Entry, Place, Plan
from monitor.render.style import BADGES, GREY, HATCHES, INK, SERIES, clean, shortened
from quicklook.core.errors import BadData
from quicklook.core.plots import Axis, Bars
from quicklook.core.status import Status

_WRITTEN = 16
"""With more categories than this, values and words have no room beside their bars."""
_WORD = 16
_STATUS = {s.value: s for s in Status if s is not Status.NORMAL}


def categories(layers: Sequence[Bars]) -> tuple[str, ...]:
    """The names of all layers, each once, in order of appearance."""
    return tuple(dict.fromkeys(name for layer in layers for name in layer.names))


def plan_bars(layers: Sequence[Bars], y: Axis, first: int) -> Plan:
    """All bars of a panel, side by side; `first` is the number of the first among the layers."""
    names = categories(layers)
    heights = [_heights(layer, names) for layer in layers]
    seen = [np.where(h <= 0, -np.inf, h) if y.log else h for h in heights]
    span = union([interval(h) for h in seen])
    plan = Plan(what="bars", total=len(names) * len(layers), draw=_draw(layers, names, seen, first), categories=names or None, margins=(0.0, 0.1))
    plan.whole = span is not None and all(np.all((np.round(h) == h) | ~np.isfinite(h)) for h in heights) and not y.log
    if heights:
        bars = np.concatenate([np.where(np.isfinite(h), h, np.nan) for h in seen])
        plan.shown = (np.full(len(bars), np.nan), bars)
    plan.x = (-0.5, len(names) - 0.5) if names else None
    plan.y = span if y.log or span is None else union([span, (0.0, 0.0)])
    plan.entries = [e for i, layer in enumerate(layers) for e in _entry(layer, first + i, len(layers))]
    plan.notes = _notes(layers, heights, seen)
    plan.entries += _status_entries(layers)
    lost = sum(int(np.isnan(h).sum()) for h in heights)
    if lost and len(names) * len(layers) > _WRITTEN:
        plan.entries.append((Patch(facecolor="none", edgecolor=GREY, hatch="xxxx", linewidth=0.5), f"not measured ({lost})"))
    return plan


def _heights(layer: Bars, names: Sequence[str]) -> Floats:
    """Heights in the order of `names`; those of absent categories are minus infinity (nothing is drawn)."""
    values = numbers(layer.heights, "heights").ravel()
    if len(values) != len(layer.names):
        raise BadData(f"lengths differ: {len(layer.names)} names, {len(values)} heights")
    at = dict(zip(layer.names, values, strict=True))
    return np.array([at.get(n, -np.inf) for n in names], dtype=np.float64)


def _entry(layer: Bars, index: int, series: int) -> list[Entry]:
    if not layer.label.strip():
        return []
    hatch = HATCHES[index % len(HATCHES)] if series > 1 else ""
    return [(Patch(facecolor=SERIES[index % len(SERIES)], edgecolor="white", hatch=hatch), clean(layer.label))]


def _status_entries(layers: Sequence[Bars]) -> list[Entry]:
    """What the colours mean that are not the usual one."""
    found = {s for layer in layers for s in _of(layer, layer.statuses).values() if s in _STATUS and s != Status.UNKNOWN}
    return [(Patch(facecolor=BADGES[_STATUS[s]].colour, edgecolor="white"), s) for s in sorted(found)]


def _of(layer: Bars, texts: Sequence[str]) -> dict[str, str]:
    """Words or statuses by the names of the bars; none where they are not one for each bar."""
    return dict(zip(layer.names, texts, strict=True)) if len(texts) == len(layer.names) else {}


def _notes(layers: Sequence[Bars], heights: Sequence[Floats], seen: Sequence[Floats]) -> list[str]:
    notes = []
    repeated = sum(len(layer.names) - len(set(layer.names)) for layer in layers)
    if repeated:
        notes.append(f"{repeated} names appear twice; the last of each is shown")
    off = sum(int((np.isneginf(s) & np.isfinite(h)).sum()) for h, s in zip(heights, seen, strict=True))
    if off:
        notes.append(f"{off} bars not above zero, off the logarithmic scale")
    return notes


def _draw(layers: Sequence[Bars], names: Sequence[str], heights: Sequence[Floats], first: int) -> Draw:
    width = 0.8 / max(len(layers), 1)
    written = len(names) * len(layers) <= _WRITTEN

    def draw(place: Place) -> None:
        bottom = min(place.y) if place.ax.get_yscale() == "log" else min(max(0.0, min(place.y)), max(place.y))
        for i, values in enumerate(heights):
            centre: Floats = np.arange(len(names), dtype=np.float64) + ((i + 0.5) * width - 0.4)
            good = np.isfinite(values)
            hatch = HATCHES[(first + i) % len(HATCHES)] if len(layers) > 1 else ""
            usual, statuses, words = SERIES[(first + i) % len(SERIES)], _of(layers[i], layers[i].statuses), _of(layers[i], layers[i].words)
            colours = [BADGES[_STATUS[s]].colour if (s := statuses.get(n, "")) in _STATUS else usual for n, g in zip(names, good, strict=True) if g]
            style: dict[str, Any] = {"color": colours, "hatch": hatch, "edgecolor": "white", "linewidth": 0, "zorder": 2}
            place.ax.bar(centre[good], values[good] - bottom, 0.92 * width, bottom=bottom, **style)
            if written:
                _write_values(place, centre[good], values[good], width, [words.get(n, "") for n, g in zip(names, good, strict=True) if g])
            lost = np.isnan(values)
            _mark_missing(place, centre[lost], width, [words.get(n, "") for n, m in zip(names, lost, strict=True) if m] if written else None)

    return draw


def _write_values(place: Place, centre: Floats, values: Floats, width: float, words: Sequence[str]) -> None:
    """Values, or the words of a bar, at the ends of the bars, if all of them have room. Bars that start near their heights need more digits."""
    digits = 3 if min(place.y) <= 0 <= max(place.y) else 5
    texts = [shortened(w, _WORD) or short(v, digits) for v, w in zip(values, words, strict=True)]
    room = width * place.inches[0] / abs(place.x[1] - place.x[0])
    if max((len(t) for t in texts), default=0) * 0.62 * place.font / 72 > room:
        return
    for x, v, text in zip(centre, values, texts, strict=True):
        offset, align = ((0, 2), "bottom") if v >= 0 else ((0, -2), "top")
        style: dict[str, Any] = {"ha": "center", "va": align, "color": INK, "fontsize": place.font, "annotation_clip": True, "zorder": 4}
        place.ax.annotate(text, (x, v), offset, textcoords="offset points", **style)


def _mark_missing(place: Place, centre: Floats, width: float, words: Sequence[str] | None) -> None:
    """Hatch the whole height at these places, and write why ("not measured" where nobody says) where there is room."""
    across = place.ax.get_xaxis_transform()
    place.ax.bar(centre, 1.0, 0.92 * width, transform=across, facecolor="none", edgecolor="#bbbbbb", hatch="xxxx", linewidth=0.5, zorder=1)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    style: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90, "color": INK, "fontsize": place.font, "bbox": box, "zorder": 4}
    for x, word in zip(centre, words, strict=True) if words is not None else ():
        place.ax.text(x, 0.5, shortened(word, _WORD) or "not measured", transform=across, clip_on=True, **style)
