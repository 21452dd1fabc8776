"""A channel of housekeeping for a page: its limits in words, its last value, its past in few points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from monitor.hk.config import LimitSpec
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import HkSeries
from quicklook.core.results import Record
from quicklook.core.severity import Severity

SPARK_S = 3600.0
"""The small curve of a channel is of so long."""
_SPARK_BINS = 60


class LimitNow(Record):
    """A limit on a channel and how it stands. Ranges are of the value, null where open; `words` says it in a line."""

    name: str
    kind: str
    state: HkState
    severity: Severity = Severity.NONE
    performance: tuple[float | None, float | None] | None = None
    survival: tuple[float | None, float | None] | None = None
    words: str
    states: list[str] = Field(default_factory=list)
    reason: str = ""
    action: str = ""
    since: float | None = None
    said: str = ""


def last_of(series: HkSeries | None) -> tuple[float | None, float | None, str]:
    """Time, value and word of the last valid sample."""
    if series is None or not len(series.times):
        return None, None, ""
    valid = np.flatnonzero(~np.ma.getmaskarray(series.values))
    if not valid.size:
        return None, None, ""
    i = int(valid[-1])
    value = float(series.values[i])
    word = series.words[int(value)] if series.words and 0 <= int(value) < len(series.words) else ""
    return float(series.times[i]), None if series.words else value, word


def spark_of(series: HkSeries, now: float) -> list[float | None]:
    """Means of valid values in bins of the last hour; None where there are none."""
    valid = ~np.ma.getmaskarray(series.values)
    if series.words or not valid.any():
        return []
    place = ((series.times[valid] - (now - SPARK_S)) / SPARK_S * _SPARK_BINS).astype(int)
    inside = (place >= 0) & (place < _SPARK_BINS)
    n = np.bincount(place[inside], minlength=_SPARK_BINS)
    total = np.bincount(place[inside], weights=np.asarray(series.values[valid])[inside], minlength=_SPARK_BINS)
    return [float(f"{t / k:.6g}") if k and math.isfinite(t) else None for t, k in zip(total.tolist(), n.tolist(), strict=True)]


def limit_now(spec: LimitSpec, reference: str, change: HkChange | None) -> LimitNow:
    """A limit; UNKNOWN where nothing was ever told of it: it was not judged."""
    return LimitNow(
        name=spec.name, kind=spec.kind, state=change.state if change else HkState.UNKNOWN, severity=change.severity if change else Severity.NONE,
        performance=spec.performance.range if spec.performance else None, survival=spec.survival.range if spec.survival else None,
        words=_words(spec, reference), states=list(spec.states), reason=spec.reason, action=spec.action, since=change.since if change else None,
        said=change.sentence if change and change.state not in (HkState.NORMAL, HkState.OFF) else "",
    )  # fmt: skip


def _words(spec: LimitSpec, reference: str) -> str:
    if spec.kind == "identity":
        return f"is {' or '.join(map(str, spec.equals))}"
    parts = [f"{name} {_range(level.range, spec.unit)}" for name, level in (("normal", spec.performance), ("survives", spec.survival)) if level]
    if spec.kind == "relative":
        factor = "" if spec.factor == 1 else f"{spec.factor:g} × "
        parts.append(f"relative to {factor}{reference or spec.reference}")
    if spec.kind == "rate":
        parts.append(f"change in {spec.per_s:g} s")
    return ", ".join(parts)


def _range(bounds: tuple[float | None, float | None], unit: str) -> str:
    low, high = bounds
    tail = f" {unit}" if unit else ""
    if low is None:
        return f"up to {high:g}{tail}"
    return f"from {low:g}{tail}" if high is None else f"{low:g} to {high:g}{tail}"


def thinned(one: HkSeries, points: int) -> Sequence[int]:
    """Places of samples to show: all, or of each stretch the least and the greatest valid value; of words, where they change."""
    n = len(one.times)
    if n <= points:
        return range(n)
    if one.words:
        changes = np.flatnonzero(np.diff(np.ma.filled(one.values, -1.0))) + 1
        return sorted({*[0, *changes.tolist()][1 - points :], n - 1})  # of too many the last ones; as it was last it stayed
    values: Any = np.ma.filled(one.values, np.nan)
    kept: list[int] = []
    for piece in np.array_split(np.arange(n), points // 2):
        valid = piece[np.isfinite(values[piece])]
        ends = {int(valid[np.argmin(values[valid])]), int(valid[np.argmax(values[valid])])} if valid.size else {int(piece[0])}
        kept += sorted(ends)
    return kept
