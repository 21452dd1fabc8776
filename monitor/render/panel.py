"""A panel made ready: plans of its layers, limits and ticks of its axes, what is written above it, and the room all this needs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.render import bands
from monitor.render.bars import plan_bars
from monitor.render.colours import ColourScale, image_scale, point_scale
from monitor.render.images import picture, plan_image
from monitor.render.numeric import Floats, Interval, axis_limits, given_range, numbers, tick_texts, ticks, union
from monitor.render.plan import Entry, Plan, Setting
from monitor.render.points import plan_focal_plane, plan_line, plan_scatter
from monitor.render.style import Look, axis_label, counted, shortened, wrapped
from monitor.render.table import plan_table
from quicklook.core.errors import BadData
from quicklook.core.plots import Axis, Bars, FocalPlane, Image, Layer, Line, Panel, Scatter, Table

_MOST_ENTRIES = 12
_MOST_NAMES = 48
_NAME = 22
_SIDES = 1.4
_DOT, _TOUCHING = 0.03, 0.01
"""Parts of an axis: the room that a dot needs at an end that is asked for; how near to any other end it touches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """An axis ready to draw: limits, ticks with their texts, scale, lines of the label, whether the texts stand upright."""

    limits: Interval
    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    log: bool
    label: str
    upright: bool = False


_NO_RULER = Ruler(limits=(0.0, 1.0), ticks=(), texts=(), log=False, label="")


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A panel ready to be laid out. `title` and `notes` are wrapped lines; `message` is written across an empty panel."""

    panel: Panel
    plans: list[Plan]
    x: Ruler
    y: Ruler
    title: list[str]
    notes: list[str]
    entries: list[Entry]
    message: str = ""
    scales: list[ColourScale] = field(default_factory=list)
    ratio: float | None = None


def prepare(panel: Panel, look: Look, width: float) -> Prepared:
    """Make a panel ready for a cell of that width (inch). What cannot be drawn becomes words, not an exception."""
    plans, notes = _plans(panel, look, width)
    visible = [p for p in plans if not p.empty]
    x_axis, y_axis = _axes(panel, plans, notes)
    x_limits = _limits(x_axis, visible, 0)
    y_limits = _y_limits(y_axis, panel, visible)
    notes += [n for p in visible for n in p.notes] + _counts(visible, x_limits, y_limits)
    entries = [e for p in visible for e in p.entries] + bands.entries(panel.bands, panel.y.unit, y_limits)
    names = next((p.categories for p in visible if p.categories), None)
    words = bool(visible) and all(p.what == "rows" for p in visible)
    ticked = bool(visible) and not any(p.worded for p in visible)
    scales = list(dict.fromkeys(p.scale for p in visible if p.scale))
    return Prepared(
        panel=panel,
        plans=visible,
        x=_name_ruler(x_axis, names, look, width) if names else _NO_RULER if words else _ruler(x_axis, x_limits, look, width, ticked=ticked),
        y=_NO_RULER if words else _y_ruler(y_axis, y_limits, look, panel, visible, ticked=ticked),
        title=wrapped(panel.title, look.letters(width, bold=True)),
        notes=wrapped("; ".join(dict.fromkeys(notes)), look.letters(width, look.small)) if visible else [],
        entries=_cut(entries, look, width),
        message="" if visible else "\n".join(wrapped(panel.message, look.letters(max(width - _SIDES, 1.0)), 6)) or _empty_message(plans, notes),
        scales=scales,
        ratio=_ratio(visible, x_limits, y_limits),
    )


def _plans(panel: Panel, look: Look, width: float) -> tuple[list[Plan], list[str]]:
    plans: list[Plan] = []
    notes: list[str] = []
    scales = Scales(panel)
    bars = [layer for layer in panel.layers if isinstance(layer, Bars)]
    first = next((i for i, layer in enumerate(panel.layers) if isinstance(layer, Bars)), 0)
    for index, layer in enumerate(panel.layers):
        try:
            if isinstance(layer, Bars):
                if index == first:
                    plans.append(plan_bars(bars, panel.y, first))
            elif isinstance(layer, Table):
                plans.append(plan_table(layer, look, width))
            else:
                plans.append(_plan(layer, panel, index, scales))
        except BadData as error:
            notes.append(f"a layer cannot be drawn: {error}")
    return plans, notes


class Scales:
    """The colour scales of a panel: layers that share an axis of colour share its scale."""

    def __init__(self, panel: Panel) -> None:
        self.pictures: dict[int, tuple[Floats, int]] = {}
        self._layers = panel.layers
        self._scales: dict[object, ColourScale] = {}

    def picture(self, layer: Image) -> tuple[Floats, int]:
        """The values of an image, binned once."""
        if id(layer) not in self.pictures:
            self.pictures[id(layer)] = picture(layer)
        return self.pictures[id(layer)]

    def of(self, layer: Layer) -> ColourScale | None:
        """The scale of a layer, None if it has no colours to scale. Raises BadData where its values are no numbers."""
        key = _scale_key(layer)
        if key is None:
            return None
        if key not in self._scales:
            same = [other for other in self._layers if _scale_key(other) == key]
            self._scales[key] = self._make(layer, same)
        return self._scales[key]

    def _make(self, layer: Layer, same: Sequence[Layer]) -> ColourScale:
        if isinstance(layer, Image):
            values = [self.picture(i)[0].ravel() for i in same if isinstance(i, Image)]
            return image_scale(layer.c_axis, np.concatenate(values), layer.stretch, layer.percentile)
        coloured = [numbers(p.c, "c").ravel() for p in same if isinstance(p, Scatter | FocalPlane) and p.c is not None]
        axis = layer.c_axis if isinstance(layer, Scatter | FocalPlane) else None
        return point_scale(axis or Axis(label=""), np.concatenate(coloured))


def _scale_key(layer: Layer) -> object:
    if isinstance(layer, Image):
        return ("image", layer.c_axis, layer.stretch, tuple(layer.percentile))
    if isinstance(layer, FocalPlane) or (isinstance(layer, Scatter) and layer.c is not None):
        return ("points", layer.c_axis)
    return None


def _plan(layer: Line | Scatter | Image | FocalPlane, panel: Panel, index: int, scales: Scales) -> Plan:
    setting = Setting(x=panel.x, y=panel.y, index=index, scale=scales.of(layer))
    if isinstance(layer, Line):
        return plan_line(layer, setting)
    if isinstance(layer, Scatter):
        return plan_scatter(layer, setting)
    if isinstance(layer, FocalPlane):
        return plan_focal_plane(layer, setting)
    values, factor = scales.picture(layer)
    return plan_image(layer, values, factor, setting)


def _axes(panel: Panel, plans: Sequence[Plan], notes: list[str]) -> tuple[Axis, Axis]:
    """The axes as they can be drawn: a picture cannot lie on a logarithmic one."""
    if not any(p.what == "pixels" for p in plans) or not (panel.x.log or panel.y.log):
        return panel.x, panel.y
    notes.append("pictures are drawn on linear axes")
    linear = [Axis(label=a.label, unit=a.unit, range=a.range) for a in (panel.x, panel.y)]
    return linear[0], linear[1]


def _limits(axis: Axis, plans: Sequence[Plan], which: int) -> Interval:
    names = next((p.categories for p in plans if p.categories), None)
    if names and which == 0:
        return -0.6, len(names) - 0.4
    margin = max((p.margins[which] for p in plans), default=0.0)
    return _room_for_dots(axis, axis_limits(axis, union(p.y if which else p.x for p in plans), margin), [p.x for p in plans if p.dots])


def _room_for_dots(axis: Axis, limits: Interval, seen: Sequence[Interval | None]) -> Interval:
    """The limits, with an end moved a little outwards where points lie on it: they would be cut in half."""
    low, high = limits
    if axis.log or not low < high:
        return limits
    size = high - low
    room = _DOT * size
    at = [v for interval in seen if interval is not None for v in interval]
    below, above = (_DOT * size if end is not None else _TOUCHING * size for end in given_range(axis))
    if any(low <= v < low + below for v in at):
        low -= room
    if any(high - above < v <= high for v in at):
        high += room
    return low, high


def _y_limits(axis: Axis, panel: Panel, plans: Sequence[Plan]) -> Interval:
    grown = bands.include(union(p.y for p in plans), panel.bands)
    if axis.log and grown is not None and grown[0] <= 0:
        grown = union(p.y for p in plans)
    margin = max((p.margins[1] for p in plans), default=0.05)
    low, high = axis_limits(axis, grown, margin)
    on_zero = bool(plans) and all(p.categories for p in plans) and not axis.log and grown is not None and grown[0] == 0
    if on_zero and high > 0 and given_range(axis)[0] in (None, 0.0):
        low = 0.0
        if _counting(panel, plans) and given_range(axis)[1] is None:
            high = max(high, 1.08)
    return _room_for_dots(axis, (low, high), [p.y for p in plans if p.dots])


def _counting(panel: Panel, plans: Sequence[Plan]) -> bool:
    """Whether all that is shown are counts; a limit between whole numbers says that they are none."""
    return all(p.whole for p in plans) and all(e % 1 == 0 for e in bands.edges(panel.bands))


def _counts(plans: Sequence[Plan], x: Interval, y: Interval) -> list[str]:
    """How many points or bars of all layers are not seen, and why: what is not shown is at least counted."""
    lost: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    for plan in plans:
        counts = dict(plan.counts)
        if plan.shown is not None:
            along, across = ((v < min(ends)) | (v > max(ends)) for v, ends in zip(plan.shown, (x, y), strict=True))
            counts["outside the range shown"] = int((along | across).sum())
        for fate, number in counts.items():
            lost[plan.what, fate] += number
            total[plan.what, fate] += plan.total if number else 0
    return [f"{counted(n, total[what, fate], what)} {fate}" for (what, fate), n in lost.items() if n]


def _ruler(axis: Axis, limits: Interval, look: Look, width: float, *, ticked: bool = True) -> Ruler:
    label = axis_label(axis, look.letters(max(width - 1.0, 1.5)))
    if axis.names and ticked:
        step = -(-len(axis.names) // (6 if width < 5 else 9))
        named = [i for i in range(0, len(axis.names), step) if min(limits) <= i <= max(limits)]
        texts = tuple(shortened(axis.names[i], _NAME) for i in named)
        return Ruler(limits=limits, ticks=tuple(map(float, named)), texts=texts, log=False, label=label)
    places = ticks(limits, log=axis.log, count=6 if width < 5 else 9) if ticked else []
    return Ruler(limits=limits, ticks=tuple(places), texts=tuple(tick_texts(places, log=axis.log)), log=axis.log, label=label)


def _y_ruler(axis: Axis, limits: Interval, look: Look, panel: Panel, plans: Sequence[Plan], *, ticked: bool) -> Ruler:
    """As `_ruler`; whole numbers alone where all that is shown are counts."""
    ruler = _ruler(axis, limits, look, 3.0, ticked=ticked or bool(panel.bands))
    if not plans or not _counting(panel, plans):
        return ruler
    places = [v for v in ruler.ticks if v % 1 == 0]
    return dataclasses.replace(ruler, ticks=tuple(places), texts=tuple(tick_texts(places)))


def _name_ruler(axis: Axis, names: Sequence[str], look: Look, width: float) -> Ruler:
    """Categories as ticks: upright where they do not fit side by side, thinned out where they do not fit at all."""
    step = max(1, -(-len(names) // _MOST_NAMES))
    places = range(0, len(names), step)
    room = (width - 1.0) / len(names) * step / look.letter(look.small)
    longest = max(len(names[i]) for i in places)
    upright = longest > room - 1
    texts = tuple(shortened(names[i], _NAME) for i in places)
    label = axis_label(axis, look.letters(max(width - 1.0, 1.5)))
    limits = (-0.6, len(names) - 0.4)
    return Ruler(limits=limits, ticks=tuple(float(i) for i in places), texts=texts, log=False, label=label, upright=upright)


def _cut(entries: Sequence[Entry], look: Look, width: float) -> list[Entry]:
    """Legend entries that fit: not too many, none too long, and none that matplotlib would hide for its first letter."""
    letters = look.letters(width - 0.6, look.small)
    shown = [(handle, shortened(text, letters).lstrip("_") or "?") for handle, text in entries[:_MOST_ENTRIES]]
    if len(entries) > _MOST_ENTRIES:
        handle, text = shown[-1]
        shown[-1] = (handle, f"{text} … and {len(entries) - _MOST_ENTRIES} more")
    return shown


def _empty_message(plans: Sequence[Plan], notes: Sequence[str]) -> str:
    if notes:
        return "cannot be drawn\n" + "\n".join(wrapped(notes[0].removeprefix("a layer cannot be drawn: "), 60))
    total = sum(p.total for p in plans)
    what = plans[0].what if plans else ""
    return f"no data\nnone of {total} {what} has a value" if total else "no data"


def _ratio(plans: Sequence[Plan], x: Interval, y: Interval) -> float | None:
    """Height over width of the axes for equal scales, where a layer wants them."""
    if not any(p.ratio for p in plans):
        return None
    return min(max(abs(y[1] - y[0]) / abs(x[1] - x[0]), 0.05), 20.0)
