"""Panels that several QAs lay out alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quicklook.core.metrics import Coord, Measured, MetricDef
from quicklook.core.plots import Axis, Bars, Line, Panel

AMPLIFIER = Axis(label="amplifier")
EMPTY = 0.5
"""Height at which empty bins are drawn on a logarithmic axis."""
DEAD = "the amplifier is dead: "
_ROOM = 0.01  # of the value itself, kept on either side of bars that are shown from near their heights on


def bars(definition: MetricDef, got: Measured, *, title: str, label: str, range_: tuple[float | None, float | None] = (0.0, None)) -> Panel:
    """One bar per amplifier, marked where it is dead or known to be bad; the judge adds limits and statuses. No bar where it does not apply."""
    amps = got.coords.get("amp", ())
    words = tuple(label if definition.flag and v == 1.0 else word(got, c) for c, v in zip(amps, got.values, strict=True))
    layers = (Bars(names=tuple(str(c) for c in amps), heights=np.array(got.values), words=words),) if amps else ()
    message = "" if got.not_applicable is None else f"not measured: {got.not_applicable}"
    y = Axis(label=label, unit=definition.unit, range=range_)
    return Panel(x=AMPLIFIER, y=y, layers=layers, title=title, metric=definition.name, message=message)


def word(got: Measured, amp: Coord) -> str:
    """What is written at the bar of an amplifier: dead, known bad, or nothing."""
    if (amp,) in got.left_out:
        return "known bad"
    return "dead" if got.remarks.get((amp,), "").startswith(DEAD) else ""


def around(got: Measured) -> tuple[float | None, float | None]:
    """Range of an axis on which differences between the values are seen: the values, and as much room again; None where there are none."""
    values = got.values[np.isfinite(got.values)]
    if values.size == 0:
        return None, None
    low, high = float(values.min()), float(values.max())
    room = max(0.5 * high - 0.5 * low, _ROOM * max(abs(low), abs(high)), 1.0)
    return low - room, high + room


def lines(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, x: Axis, y: Axis, title: str, missing: Sequence[str] = ()) -> Panel:
    """One line per amplifier; those that have none are named in the title, as in ``B: dead``."""
    layers = tuple(Line(x=cx, y=cy, label=name) for name, (cx, cy) in curves.items())
    return Panel(x=x, y=y, layers=layers, title=f"{title} ({', '.join(missing)})" if missing else title)


def missing(got: Measured) -> list[str]:
    """``B: dead``, ``C: known bad`` for amplifiers that are so."""
    return [f"{c}: {word(got, c)}" for c in got.coords.get("amp", ()) if word(got, c)]


def histogram(values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles and counts of equal bins; what lies outside is left out. Empty bins count `EMPTY`, so that a log axis can show them."""
    n, width = len(edges) - 1, float(edges[1] - edges[0])
    known = values[(values >= edges[0]) & (values < edges[-1])].astype(np.float64)  # no infinity, NaN or huge number passes
    place = ((known - float(edges[0])) / width).astype(np.int64).clip(0, n - 1)
    counts = np.bincount(place, minlength=n).astype(np.float64)
    counts[counts == 0] = EMPTY
    return np.asarray(edges[:-1] + 0.5 * width), counts
