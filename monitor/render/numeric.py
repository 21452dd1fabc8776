"""Numbers on their way to the page: which can be drawn, the range of an axis, its ticks and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from quicklook.core.errors import BadData
from quicklook.core.plots import Axis

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

HUGE, TINY = 1e100, 1e-100
"""Beyond `HUGE` a number is taken as infinite, below `TINY` as zero: squares and quotients would overflow in the drawing."""


def numbers(array: npt.NDArray[Any], what: str) -> Floats:
    """`array` as float64, with NaN for all that is not finite. Raises BadData where it holds no numbers."""
    raw = np.asarray(array)
    if raw.dtype.kind not in "biuf":
        raise BadData(f"{what} holds {raw.dtype}, which cannot be drawn as numbers")
    out = raw.astype(np.float64)
    with np.errstate(invalid="ignore"):
        out[~(np.abs(out) < HUGE)] = np.nan
        out[np.abs(out) < TINY] = 0.0
    return out


def vectors(**arrays: npt.NDArray[Any]) -> list[Floats]:
    """The arrays as flat float64 of one length. Raises BadData where their lengths differ."""
    out = [numbers(a, name).ravel() for name, a in arrays.items()]
    if len({len(a) for a in out}) > 1:
        raise BadData("lengths differ: " + ", ".join(f"{n} has {len(a)}" for n, a in zip(arrays, out, strict=True)))
    return out


def interval(values: Floats, *, log: bool = False) -> Interval | None:
    """Least and greatest of what is finite (and above zero, for a logarithmic axis)."""
    good = values[np.isfinite(values) & ((values > 0) | (not log))]
    return (float(good.min()), float(good.max())) if good.size else None


def union(intervals: Iterable[Interval | None]) -> Interval | None:
    """The smallest interval that holds them all."""
    present = [i for i in intervals if i is not None]
    return (min(i[0] for i in present), max(i[1] for i in present)) if present else None


def given_range(axis: Axis) -> tuple[float | None, float | None]:
    """The range that the axis asks for, without ends that it cannot have."""

    def usable(value: float | None) -> float | None:
        if value is None or not math.isfinite(value) or abs(value) >= HUGE or (axis.log and value < TINY):
            return None
        return float(value) if abs(value) >= TINY else 0.0

    return usable(axis.range[0]), usable(axis.range[1])


def widened(span: Interval) -> Interval:
    """`span`, made wide enough to be drawn where both its ends are the same."""
    low, high = span
    size = max(abs(low), abs(high))
    if abs(high - low) > 1e-9 * size:
        return span
    pad = 0.05 * size or 0.5
    return low - pad, high + pad


def axis_limits(axis: Axis, data: Interval | None, margin: float = 0.04) -> Interval:
    """Ends of an axis: those it asks for, else those of the data with a margin. Both asked for in reverse turn the axis round."""
    first, last = given_range(axis)
    if first is not None and last is not None and first != last:
        return widened((first, last))
    low, high = _scaled(axis, data or ((1.0, 10.0) if axis.log else (0.0, 1.0)))
    low, high = widened((low, high))
    pad = margin * (high - low) if data else 0.0
    low, high = low - pad, high + pad
    if first is not None:
        low = _scaled(axis, (first, first))[0]
        high = high if high > low else low + max(1.0, 0.1 * abs(low))
    if last is not None:
        high = _scaled(axis, (last, last))[0]
        low = low if low < high else high - max(1.0, 0.1 * abs(high))
    low, high = widened((low, high))
    return (10.0**low, 10.0**high) if axis.log else (low, high)


def _scaled(axis: Axis, span: Interval) -> Interval:
    return (math.log10(span[0]), math.log10(span[1])) if axis.log else span


def ticks(limits: Interval, *, log: bool = False, count: int = 6) -> list[float]:
    """Places of the ticks within the limits."""
    low, high = sorted(limits)
    if log and low > 0 and len(found := _log_ticks(low, high, count)) >= 2:
        return found
    with np.errstate(all="ignore"):
        places = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(v) + 0.0 for v in places if low - slack <= v <= high + slack]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / count))
    factors = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    places = (f * 10.0**e for e in range(first, last + 1, step) for f in factors)
    return [v for v in places if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]


def tick_texts(values: Sequence[float], *, log: bool = False) -> list[str]:
    """The ticks in figures, as many as they need to differ; powers of ten beyond a million and below a ten-thousandth."""
    if not values:
        return []
    if log:
        return [short(v) for v in values]
    size = max(abs(v) for v in values)
    step = min((abs(b - a) for a, b in pairwise(values)), default=size) or 1.0
    form = "f" if size < 1e6 and step >= 1e-5 else "e"
    texts: list[str] = []
    for digits in range(16):
        texts = [f"{v:.{digits}{form}}" for v in values]
        if all(abs(float(t) - v) < 1e-3 * step for t, v in zip(texts, values, strict=True)):
            break
    return [_compact(t) for t in texts]


def short(value: float, digits: int = 4) -> str:
    """A number in a few figures, for labels and remarks; whole numbers below a million are written out."""
    if 10**digits <= abs(value) < 1e6:
        return _compact(f"{value:.0f}")
    return _compact(f"{value:.{digits}g}")


def _compact(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    out = f"{mantissa}e{int(exponent)}" if e else mantissa
    if float(text) == 0:
        out = "0" if e else out.removeprefix("-")
    return out.replace("-", "\N{MINUS SIGN}")
