"""FITS tables with a row for each time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from monitor.hk.sources.clock import FIRST, LAST, Clock, from_number, guess_number
from monitor.hk.sources.files import Files, Seen
from monitor.hk.sources.rows import Cells, FaultCount, OwnTimes, split
from quicklook.core.errors import BadConfig, BadData, NotReadyYet, Transient, describe
from quicklook.core.housekeeping import Batch, Floats, HkSource, SourceContext, Taken
from quicklook.core.params import Params
from quicklook.io.fitsfile import inspect

_ROWS = 5000
_ELEMENTS = 64
"""Of a column of short vectors each element is a channel, `name[i]`; longer ones are no housekeeping."""


class FitsTableParams(Params):
    """Parameters of `fits_table`."""

    path: str = Field("", description="Files, as a pattern: * any text, ** any depth of folders")
    hdu: str = Field("1", description="Extension with the table: its name or number")
    time: str = Field("", description="Column with the time; empty: the first one")
    time_format: str = Field("auto", description="auto, iso, unix, unix_ms, unix_ns, mjd, jd, or a strptime format")
    zone: str = Field("UTC", description="Time zone of times that say none")
    own_times: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="Column with a time, to patterns of those that have it")
    scan_s: float = Field(10.0, gt=0, description="How often the pattern is looked for again [s]")


class FitsTableSource(HkSource[FitsTableParams]):
    """Reads FITS tables, compressed or not. A file that has changed is read again, from the row after the last one known."""

    name = "fits_table"
    file_param = "path"

    def open(self, context: SourceContext) -> None:
        """Raises BadConfig: no path, a wrong zone."""
        if not self.params.path:
            raise BadConfig(f"source {context.source}: `path` is empty; name its files, as in telemetry/*.fits")
        self._clock = Clock(self.params.time_format, self.params.zone)
        self._context, self._positions = context, dict(context.positions)
        self._files = Files(self.params.path, self.params.scan_s)
        self._cells, self._own = Cells(context, self.params.own_times), OwnTimes(self.params.own_times)
        self._own.resume(json.loads(self._positions.get("*own times") or "{}"))

    def poll(self, now: float) -> Taken:
        """The new rows of one file (5000 at most). Raises Transient where the folder is not there."""
        faults, any_file = FaultCount(self._context.source, now), False
        for seen in self._files.look():
            any_file, path = True, str(seen.path)
            stamp, _, done = self._positions.get(path, "").rpartition("|")
            if stamp == seen.stamp:
                continue
            try:
                inspect(path)
                batches, rows, total = self._read(seen, int(done or 0), faults)
            except NotReadyYet:
                continue
            except Exception as error:  # what the library raises over garbage has many types
                faults.add(path, path, f"the table cannot be read: {describe(error)}", kind=type(error).__name__)
                self._positions[path] = f"{seen.stamp}|{done or 0}"  # until it changes
                continue
            self._positions[path] = f"{seen.stamp if rows == total else ''}|{rows}"
            positions = {path: self._positions[path]}
            if self.params.own_times:
                positions["*own times"] = json.dumps(self._own.state)
            return Taken(batches=tuple(batches), faults=faults.faults, positions=positions, more=True)
        if not any_file and not self._files.folder.is_dir():
            raise Transient(f"the folder {self._files.folder} is not there, so there is nothing to read")
        return Taken(faults=faults.faults)

    def _read(self, seen: Seen, done: int, faults: FaultCount) -> tuple[list[Batch], int, int]:
        import fitsio

        with fitsio.FITS(str(seen.path)) as file:
            which = int(self.params.hdu) if self.params.hdu.isdigit() else self.params.hdu
            table = file[which]
            if not hasattr(table, "get_nrows"):
                raise BadData(f"HDU {self.params.hdu} is no table")
            total = int(table.get_nrows())
            first = done if done <= total else 0
            last = min(total, first + _ROWS)
            data = table.read(rows=np.arange(first, last)) if last > first else None
        batches = [] if data is None else list(self._batches(data, f"{seen.path}", first, faults))
        return batches, last, total

    def _batches(self, data: Any, place: str, first: int, faults: FaultCount) -> Iterator[Batch]:
        columns = dict(_scalars(data))
        name = self.params.time or next(iter(data.dtype.names), "")
        if name not in columns:
            raise BadData(f"there is no column {name!r} with the time; the first ones are {', '.join(list(columns)[:5])}")
        times = self._times(columns.pop(name))
        good = np.flatnonzero(np.isfinite(times))
        if len(good) < len(times):
            faults.add(place, f"{place}: row {first + 1}", "rows whose time cannot be read; left out", count=len(times) - len(good))
        good = good[np.argsort(times[good], kind="stable")]
        if not len(good):
            return
        numbers = {n: c[good].astype(float) for n, c in columns.items() if c.dtype.kind in "iufb" and n not in self._context.text_channels}
        words = {n: [_text(v) for v in c[good].tolist()] for n, c in columns.items() if n not in numbers}
        base = self._words(times[good], words, place, first, faults)
        values = np.column_stack([*numbers.values(), base.values]) if numbers else base.values
        names = (*numbers, *base.channels)
        batch = Batch(source=base.source, times=base.times, channels=names, values=np.ascontiguousarray(values), texts=base.texts)
        yield from split(batch, self._own, Clock("auto", self.params.zone).read) if self.params.own_times else [batch]

    def _words(self, times: Floats, words: dict[str, list[str]], place: str, first: int, faults: FaultCount) -> Batch:
        def wrong(name: str, cell: object, row: int) -> None:
            faults.add(place, f"{place}: row {first + row + 1}", f"{name} holds numbers, and here {str(cell)[:40]!r}; taken as no value")

        rows: Sequence[Sequence[object]] = list(zip(*words.values(), strict=True)) if words else [()] * len(times)
        if not words:
            return Batch(source=self._context.source, times=times, values=np.empty((len(times), 0)))
        return self._cells.batch(times, list(words), rows, wrong)

    def _times(self, column: Any) -> Floats:
        if column.dtype.kind in "iuf":
            return np.array([_from_number(v, self.params.time_format) for v in column.astype(float).tolist()])
        read = [self._clock.read(_text(v)) for v in column.tolist()]
        return np.array([np.nan if t is None else t for t in read], dtype=float)

    def close(self) -> None:
        """Nothing is held open."""


def _scalars(data: Any) -> Iterator[tuple[str, Any]]:
    for name in data.dtype.names:
        column = data[name]
        if column.ndim == 1:
            yield name, column
        elif column.ndim == 2 and column.shape[1] <= _ELEMENTS:
            yield from ((f"{name}[{i}]", column[:, i]) for i in range(column.shape[1]))


def _text(value: object) -> str:
    return value.decode("utf-8", errors="replace").strip() if isinstance(value, bytes) else str(value).strip()


def _from_number(value: float, form: str) -> float:
    try:
        found = guess_number(value) if form == "auto" else from_number(value, form)
    except (ValueError, KeyError):
        return float("nan")
    return found if FIRST <= found <= LAST else float("nan")
