"""From rows of cells to batches: numbers and words told apart, faults counted, columns with a time of their own split off."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from monitor.hk.names import matched
from quicklook.core.housekeeping import FEED, Batch, Floats, HkFault, SourceContext

MOST_TEXT = 200
"""Characters of a word; what is longer is cut."""
MOST_FAULTS = 200
"""Different faults of one look; more are counted as one."""


class FaultCount:
    """Faults of one look at a source: alike ones are counted, not repeated."""

    def __init__(self, source: str, now: float) -> None:
        self.source, self.now = source, now
        self._found: dict[tuple[str, str], HkFault] = {}

    def add(self, place: str, where: str, message: str, kind: str = "BadData", count: int = 1) -> None:
        """A fault at `where` (the first of those alike is told), alike those with the same `place` (a file) and message."""
        key = (place, message)
        if key not in self._found and len(self._found) >= MOST_FAULTS:
            key, where, message = ("", ""), self.source, f"more than {MOST_FAULTS} kinds of faults at once; the others are not told one by one"
        known = self._found.get(key)
        total = count + (known.count if known else 0)
        first = known.where if known else where
        self._found[key] = HkFault(source=self.source, time=self.now, where=first, message=message, count=total, kind=kind)

    @property
    def faults(self) -> tuple[HkFault, ...]:
        """All of them, in the order in which they came first."""
        return tuple(self._found.values())


class Cells:
    """Tells numbers from words, and remembers of each column what it holds: once numbers, always numbers. `times`: columns that hold times."""

    def __init__(self, context: SourceContext, times: Iterable[str] = ()) -> None:
        self._context = context
        self._text: dict[str, bool] = {name: True for name in context.text_channels}
        self._asked = set(times)

    def number(self, cell: object) -> float | None:
        """The number of a cell, NaN for what stands for no value, None for a word. Hexadecimal words (0x2A) are numbers."""
        if isinstance(cell, bool):
            return None
        if isinstance(cell, int | float):
            try:
                return float(cell)
            except OverflowError:
                return math.nan
        if cell is None:
            return math.nan
        plain = str(cell).strip()
        try:
            return float(plain)
        except ValueError:
            pass
        if plain.lower() in self._context.missing:
            return math.nan
        try:
            return float(int(plain, 16)) if plain[:2].lower() == "0x" and len(plain) < 20 else None
        except ValueError:
            return None

    def word(self, cell: object) -> str | None:
        """The word of a cell, None for what stands for no value."""
        plain = "" if cell is None else str(cell).strip()[:MOST_TEXT]
        return None if plain.lower() in self._context.missing else plain

    def batch(self, times: Floats, names: Sequence[str], rows: Sequence[Sequence[object]], wrong: Callable[[str, object, int], None]) -> Batch:
        """One batch of rows with the same columns (without a name: passed over); `wrong` hears (column, cell, row) of words among numbers."""
        numbers: dict[str, list[float]] = {}
        texts: dict[str, list[str | None]] = {}
        for name, cells in zip(names, zip(*rows, strict=True), strict=True):
            if not name or (name not in self._text and len(self._text) >= self._context.max_channels):
                continue
            if name not in self._asked:
                self._asked.add(name)
                if name not in self._text and any(matched(p, name) is not None for p in self._context.number_channels):
                    self._text[name] = False
            found = None if self._text.get(name) else [self.number(c) for c in cells]
            if found is None or (name not in self._text and None in found and all(v is None or math.isnan(v) for v in found)):
                self._text[name] = True
                texts[name] = [self.word(c) for c in cells]
                continue
            if name not in self._text and all(v is not None and math.isnan(v) for v in found):
                pass  # nothing tells yet what it holds
            else:
                self._text.setdefault(name, False)
            for row, value in enumerate(found):
                if value is None:
                    wrong(name, cells[row], row)
            numbers[name] = [math.nan if v is None else v for v in found]
        values = np.array(list(numbers.values()), dtype=float).T if numbers else np.empty((len(times), 0))
        return Batch(source=self._context.source, times=times, channels=tuple(numbers), values=np.ascontiguousarray(values), texts=texts)


class OwnTimes:
    """Columns that have a time of their own in another column: a value that is only repeated, with its old time, is no new sample."""

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        self._groups = dict(groups)
        self._last: dict[str, float] = {}
        self._row = -math.inf

    def column_of(self, name: str) -> str:
        """The column with the time of a channel; "" for the time of the row."""
        return next((time for time, patterns in self._groups.items() if any(matched(p, name) is not None for p in patterns)), "")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold times."""
        return tuple(self._groups)

    def follow(self, rows: Floats) -> bool:
        """Rows at these times come now; returns whether they are of before what has come: a file that is read late, or is in another order."""
        behind = bool(len(rows)) and float(rows[-1]) < self._row
        self._row = max(self._row, float(rows[-1]) if len(rows) else -math.inf)
        return behind

    def newer(self, column: str, times: Floats, *, behind: bool = False) -> Floats:
        """Which of the times [n] (NaN: none) are later than all before them (of rows that are `behind`: among them), boolean [n]."""
        filled = np.where(np.isnan(times), -np.inf, times)
        known = self._last.get(column, -np.inf)
        before = np.maximum.accumulate(np.concatenate([[-np.inf if behind else known], filled]))
        self._last[column] = max(float(before[-1]), known)
        return np.asarray(filled > before[:-1])

    @property
    def state(self) -> dict[str, float]:
        """The last time of each column, to be remembered over a restart."""
        return dict(self._last)

    def resume(self, state: Mapping[str, float]) -> None:
        """Go on from there."""
        self._last |= {k: float(v) for k, v in state.items() if k in self._groups}


def split(batch: Batch, own: OwnTimes, read: Callable[[str], float | None]) -> list[Batch]:
    """One batch for each group of columns that share a time; `batch` has the columns with times among its texts or channels."""
    groups: dict[str, list[str]] = {}
    for name in (*batch.channels, *batch.texts):
        if name not in own.columns:
            groups.setdefault(own.column_of(name), []).append(name)
    out = []
    behind = own.follow(batch.times)
    for column, names in groups.items():
        times = batch.times if not column else _times(batch, column, read)
        keep = np.isfinite(times) if not column else own.newer(column, times, behind=behind)
        if keep.any():
            out.append(_part(batch, names, times, keep, feed=column))
    return out


def _times(batch: Batch, column: str, read: Callable[[str], float | None]) -> Floats:
    if column in batch.texts:
        given = [None if t is None else read(t) for t in batch.texts[column]]
        return np.array([np.nan if t is None else t for t in given], dtype=float)
    if column in batch.channels:
        found = [read(repr(v)) for v in batch.values[:, batch.channels.index(column)].tolist()]
        return np.array([np.nan if t is None else t for t in found], dtype=float)
    return np.full(len(batch.times), np.nan)


def _part(batch: Batch, names: Sequence[str], times: Floats, keep: Floats, *, feed: str) -> Batch:
    rows = np.flatnonzero(keep)
    columns = [i for i, n in enumerate(batch.channels) if n in names]
    texts = {n: [t[i] for i in rows.tolist()] for n, t in batch.texts.items() if n in names}
    channels = tuple(batch.channels[i] for i in columns)
    source = f"{batch.source}{FEED}{feed}" if feed else batch.source
    return Batch(source=source, times=times[rows], channels=channels, values=batch.values[rows][:, columns], texts=texts)
