"""Elements of a metric as bytes, without loss: short ones as they are, long ones compressed, with bytes of equal weight side by side.

Doubles that are decimals (counts, millimetres to two places) are whole numbers of their last place.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import BadData
from quicklook.core.status import Status

_PLAIN, _PACKED, _DECIMAL = b"\0", b"\1", b"\2"
_PLACES = 6
"""Decimal places of numbers that are taken for decimals, at most."""
_MOST = 2.0**31
_WHOLE = {bytes((np.dtype(t).itemsize,)): t for t in (np.int8, np.int16, np.int32)}
_SHORT = 96
"""Bytes below which compression gains nothing."""

CODES: dict[str | None, int] = {None: 0, "NORMAL": 1, "UNKNOWN": 2, "WARNING": 3, "ALARM": 4}
"""Statuses as numbers, worse ones higher; 0: not judged."""
NAMES = np.array(["", *map(str, sorted(Status, key=lambda s: s.severity))], dtype=object)
"""Statuses by their number."""


def pack(values: npt.NDArray[np.generic]) -> bytes:
    """A vector of numbers as bytes."""
    if values.dtype == np.float64 and (found := _whole(values)) is not None:
        places, whole = found
        return _DECIMAL + bytes((places, whole.dtype.itemsize)) + _bytes(whole)
    return _bytes(values)


def _whole(values: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.signedinteger[Any]]] | None:
    """Decimal places, and as so many whole numbers of the last one; None where that does not give the same doubles again, bit by bit."""
    first = float(values[0]) if len(values) else math.nan
    if not math.isfinite(first):
        return None
    places = next((p for p in range(_PLACES + 1) if abs(first) < _MOST and round(first * 10**p) / 10**p == first), None)
    for p in range(places, _PLACES + 1) if places is not None else ():
        with np.errstate(over="ignore"):
            rounded = np.rint(values * 10.0**p)
        if not (np.abs(rounded) < _MOST).all():  # nor is NaN
            return None
        whole = rounded.astype(np.int32)
        if (whole / 10.0**p).tobytes() == np.ascontiguousarray(values).tobytes():
            most = int(np.abs(rounded).max())
            return p, whole.astype(next(t for t in _WHOLE.values() if most <= np.iinfo(t).max))
    return None


def _bytes(values: npt.NDArray[np.generic]) -> bytes:
    raw = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).tobytes()
    if len(raw) < _SHORT:
        return _PLAIN + raw
    columns = np.frombuffer(raw, np.uint8).reshape(-1, values.dtype.itemsize)
    packed = zlib.compress(columns.T.tobytes(), 1)
    return _PACKED + packed if len(packed) < len(raw) else _PLAIN + raw


def unpack(blob: bytes, n: int, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """The vector [n]. Raises BadData where these are other bytes."""
    if blob[:1] == _DECIMAL and blob[2:3] in _WHOLE:
        return np.asarray(unpack(blob[3:], n, _WHOLE[blob[2:3]]), np.float64) / 10.0 ** blob[1]
    kind = np.dtype(dtype).newbyteorder("<")
    try:
        raw = blob[1:]
        if blob[:1] == _PACKED:
            flat = np.frombuffer(zlib.decompress(raw), np.uint8).reshape(kind.itemsize, n)
            raw = flat.T.tobytes()
        found = np.frombuffer(raw, kind)
    except (ValueError, zlib.error) as error:
        raise BadData(f"elements of a metric in the store cannot be read: {error}") from error
    if len(found) != n:
        raise BadData(f"a metric in the store has {len(found)} elements where it says that it has {n}")
    return found


def status_codes(statuses: Sequence[str | None]) -> bytes | None:
    """Statuses of elements; None where all are the same: the status of the metric says it."""
    if not statuses or statuses.count(statuses[0]) == len(statuses):
        return None
    return pack(np.array([CODES[s] for s in statuses], np.uint8))


def limit_numbers(limit_of: Sequence[int | None]) -> bytes | None:
    """Which limit each element has (-1: none); None where all have the first."""
    if not limit_of or limit_of.count(0) == len(limit_of):
        return None
    return pack(np.array([-1 if i is None else i for i in limit_of], np.int16))
