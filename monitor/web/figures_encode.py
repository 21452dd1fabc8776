"""Numbers and words on their way to an interactive figure: typed arrays in base64, fewer points where there are too many, words without markup."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.render.numeric import Floats
from monitor.render.style import clean

Json = dict[str, Any]

_EXACT = 1e-6
"""A float32 may be off by so much of the span of an array: less than a pixel of any screen."""
_CODES = {"u1": np.uint8, "f4": np.float32, "f8": np.float64}


def typed(values: npt.NDArray[Any]) -> Json:
    """An array as plotly reads it: dtype, base64 of its little-endian bytes, shape where it has two axes. float32 where that is fine enough."""
    array = np.asarray(values)
    if array.dtype != np.uint8:
        array = _small(np.asarray(array, np.float64))
    code = next(c for c, t in _CODES.items() if array.dtype == t)
    out: Json = {"dtype": code, "bdata": base64.b64encode(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).decode("ascii")}
    if array.ndim == 2:
        out["shape"] = f"{array.shape[0]},{array.shape[1]}"
    return out


def _small(values: Floats) -> npt.NDArray[Any]:
    good = values[np.isfinite(values)]
    if not good.size:
        return values.astype(np.float32)
    span = float(good.max()) - float(good.min()) or float(np.abs(good).max())
    with np.errstate(over="ignore", under="ignore"):
        short = values.astype(np.float32)
        exact = np.isfinite(short[np.isfinite(values)]).all() and float(np.abs(short[np.isfinite(values)] - good).max()) <= _EXACT * span
    return short if exact else values


def untyped(item: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Inverse of `typed`."""
    array = np.frombuffer(base64.b64decode(item["bdata"]), np.dtype(_CODES[item["dtype"]]).newbyteorder("<"))
    return array.reshape([int(n) for n in item["shape"].split(",")]) if "shape" in item else array


def plain(text: object) -> str:
    """Words that plotly draws letter for letter: it would take tags, and names in braces after a percent sign, for its own."""
    return html.escape(clean(text), quote=False).replace("%", "&#37;").replace("$", "&#36;")


def fewer_of_line(x: Floats, y: Floats, most: int) -> tuple[npt.NDArray[np.intp] | None, int]:
    """Which points of a line are drawn so that it looks the same, None for all of them, and how many stand for how many (points a bucket).

    Of every bucket the least, the greatest, the first and the last point are kept, and one gap where there is one: no peak and no break is lost.
    """
    n = len(y)
    if n <= most:
        return None, 1
    buckets = max(most // 5, 1)
    size = -(-n // buckets)
    kept: list[npt.NDArray[np.intp]] = []
    padded = np.full(size * -(-n // size), np.nan)
    padded[:n] = np.where(np.isfinite(x), y, np.nan)
    rows = padded.reshape(-1, size)
    start = np.arange(len(rows)) * size
    kept.append(start)
    kept.append(np.minimum(start + size - 1, n - 1))
    kept.append(start + np.argmin(np.where(np.isnan(rows), np.inf, rows), axis=1))
    kept.append(start + np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=1))
    gaps = np.isnan(rows)
    kept.append((start + np.argmax(gaps, axis=1))[gaps.any(axis=1)])
    index = np.unique(np.concatenate(kept))
    return index[index < n], size


def fewer_of_points(columns: list[Floats], most: int) -> npt.NDArray[np.intp] | None:
    """Which of too many points are drawn, None for all of them: the outermost half by each column, and of the others every so many."""
    n = len(columns[0])
    if n <= most:
        return None
    keep = np.zeros(n, bool)
    each = max(most // (4 * len(columns)), 1)
    for column in columns:
        order = np.argsort(np.where(np.isfinite(column), column, 0.0), kind="stable")
        keep[order[:each]] = True
        keep[order[-each:]] = True
    left = np.flatnonzero(~keep)
    room = max(most - int(keep.sum()), 1)
    keep[left[:: -(-len(left) // room)]] = True
    return np.flatnonzero(keep)
