"""Rows of the store unfolded: a row for every element of a metric, with its coordinates, status and limit."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from quicklook.core.errors import BadData
from quicklook.io.metricstore.packing import unpack
from quicklook.io.metricstore.tables import AXES, LIMITS

RANGES = ("normal_low", "normal_high", "warning_low", "warning_high")
_NOTHING = np.full(4, np.nan)
Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a row: ranges of the one that decided float64 [4], and of all of them [n, 4]."""

    deciding: npt.NDArray[np.float64]
    all: npt.NDArray[np.float64]


class Dictionaries:
    """Axes and limits by number, read once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.axes = functools.lru_cache(4000)(self._axes)
        self.limits = functools.lru_cache(4000)(self._limits)

    def _axes(self, number: int) -> Mapping[str, Column]:
        """Coordinates of every element, in the order of the values [n], by axis."""
        text = self._connection.execute(sa.select(AXES.c.coords).where(AXES.c.id == number)).scalar()
        coords: Mapping[str, list[Any]] = json.loads(text or "{}")
        places = list(itertools.product(*coords.values()))
        return {name: column_of([place[i] for place in places]) for i, name in enumerate(coords)}

    def _limits(self, number: int) -> Limits:
        wanted = sa.select(LIMITS.c.used, *(LIMITS.c[name] for name in RANGES)).where(LIMITS.c.id == number)
        row = self._connection.execute(wanted).first()
        if row is None:
            return Limits(deciding=_NOTHING, all=np.empty((0, 4)))
        used = [[*limit["normal"], *limit["warning"]] for limit in json.loads(row.used)]
        return Limits(deciding=np.array(row[1:], dtype=float), all=np.array(used, dtype=float).reshape(-1, 4))


def column_of(values: Sequence[Any]) -> Column:
    """Numbers as numbers (int64 where all are whole), else texts as objects."""
    if values and all(type(v) is int and abs(v) < 2**62 for v in values):
        return np.array(values, dtype=np.int64)
    if values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return np.array(values, dtype=np.float64)
    return np.array([str(v) for v in values] + [None], dtype=object)[:-1]


@dataclass(slots=True)
class Unfolded:
    """Elements of rows: of which row each is [n], its value, status (code), limits [n, 4], and coordinates [n] by axis."""

    row: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]
    codes: npt.NDArray[np.uint8]
    ranges: npt.NDArray[np.float64]
    coords: dict[str, Column]


def unfold(rows: Sequence[Any], known: Dictionaries, *, summary: bool) -> Unfolded:
    """Every element of rows of `VALUES`; in a `summary`, and where elements were dropped, one a row: the value or the median."""
    counts = np.fromiter((_count(r, summary) for r in rows), np.intp, len(rows))
    values, codes, ranges = [], [], []
    for r, n in zip(rows, counts.tolist(), strict=True):
        if n == 0:
            continue
        whole = n > 1 or (r.elements is not None and not summary)
        values.append(unpack(r.elements, n, np.float64) if whole else (np.nan if r.value is None else r.value,))
        codes.append(unpack(r.statuses, n, np.uint8) if whole and r.statuses is not None else (r.status or 0,) * n)
        ranges.append(_ranges(r, n, known, whole=whole))
    axes = [known.axes(r.axes) if r.axes is not None and not summary and r.n and not dropped(r) else {} for r in rows]
    return Unfolded(
        row=np.repeat(np.arange(len(rows)), counts),
        values=np.concatenate(values) if values else np.empty(0),
        codes=np.concatenate(codes).astype(np.uint8) if codes else np.empty(0, np.uint8),
        ranges=np.concatenate(ranges) if ranges else np.empty((0, 4)),
        coords=_coords(axes, counts.tolist()),
    )


def dropped(row: Any) -> bool:
    """Whether the elements of a row are not kept any more: what is left is as in a summary."""
    return bool(row.n > 1 and row.elements is None)


def _count(row: Any, summary: bool) -> int:
    """A metric that should have been measured and has no element at all is one that is not known; one that does not apply has none."""
    wanted = 1 if row.status else 0
    return min(row.n, 1) or wanted if summary or dropped(row) else row.n or wanted


def _ranges(row: Any, n: int, known: Dictionaries, *, whole: bool) -> npt.NDArray[np.float64]:
    if row.limits is None:
        return np.broadcast_to(_NOTHING, (n, 4))
    limits = known.limits(row.limits)
    if not whole:
        return limits.deciding[None, :]
    if row.limit_of is None:
        return np.broadcast_to(limits.all[0], (n, 4))
    which = unpack(row.limit_of, n, np.int16).astype(np.intp)
    return np.vstack([limits.all, _NOTHING])[which]


def _coords(axes: Sequence[Mapping[str, Column]], counts: Sequence[int]) -> dict[str, Column]:
    for a, n in zip(axes, counts, strict=True):
        if any(len(column) != n for column in a.values()):
            raise BadData(f"a metric in the store has {n} elements, and axes of {', '.join(str(len(c)) for c in a.values())}")
    names = list(dict.fromkeys(name for a in axes for name in a))
    return {name: joined([a.get(name) if name in a else _absent(n) for a, n in zip(axes, counts, strict=True)]) for name in names}


def _absent(n: int) -> Column:
    return np.full(n, np.nan)


def joined(pieces: Sequence[Column | None]) -> Column:
    """Pieces of a column as one: numbers where all are numbers, else texts, "" for a number that is not known."""
    present = [p for p in pieces if p is not None and len(p)]
    if not present:
        return np.empty(0)
    if any(p.dtype == object for p in present):
        return np.concatenate([p if p.dtype == object else _words(p) for p in present])
    return np.concatenate(present)


def _words(numbers: Column) -> Column:
    return np.array(["" if v != v else str(v) for v in numbers.tolist()] + [None], dtype=object)[:-1]
