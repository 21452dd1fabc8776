"""Panels that several QAs lay out alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quicklook.core.metrics import Measured, MetricDef
from quicklook.core.plots import Axis, Bars, Line, Panel

AMPLIFIER = Axis(label="amplifier")
EMPTY = 0.5
"""Height at which empty bins are drawn on a logarithmic axis."""


def bars(definition: MetricDef, got: Measured, *, title: str, label: str, range_: tuple[float | None, float | None] = (0.0, None)) -> Panel:
    """One bar per amplifier; the judge adds the limits of the metric. No bar where the metric does not apply."""
    names = tuple(str(c) for c in got.coords.get("amp", ()))
    layers = (Bars(names=names, heights=np.array(got.values)),) if names else ()
    shown = title if got.not_applicable is None else f"{title}: {got.not_applicable}"
    return Panel(x=AMPLIFIER, y=Axis(label=label, unit=definition.unit, range=range_), layers=layers, title=shown, metric=definition.name)


def lines(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, x: Axis, y: Axis, title: str, metric: str | None = None) -> Panel:
    """One line per amplifier."""
    layers = tuple(Line(x=cx, y=cy, label=name) for name, (cx, cy) in curves.items())
    return Panel(x=x, y=y, layers=layers, title=title, metric=metric)


def histogram(values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles and counts of equal bins; what lies outside is left out. Empty bins count `EMPTY`, so that a log axis can show them."""
    n, width = len(edges) - 1, float(edges[1] - edges[0])
    place = (values[np.isfinite(values)].astype(np.float64) - float(edges[0])) / width
    place = place[(place >= 0) & (place < n)]
    counts = np.bincount(place.astype(np.int64), minlength=n).astype(np.float64)
    counts[counts == 0] = EMPTY
    return np.asarray(edges[:-1] + 0.5 * width), counts


def join(names: Sequence[str]) -> str:
    """``A, B and C``."""
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)
