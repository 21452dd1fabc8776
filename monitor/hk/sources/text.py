"""Delimited text that grows: the housekeeping log of a test bench, CSV, day folders."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import numpy as np
from pydantic import Field

from monitor.hk.sources.clock import Clock, day_of
from monitor.hk.sources.files import Files, Seen
from monitor.hk.sources.growing import DELIMITERS, GrowingFile, LineFormat, Row
from monitor.hk.sources.rows import Cells, FaultCount, OwnTimes, split
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.housekeeping import Batch, HkSource, SourceContext, Taken
from quicklook.core.params import Params

_OWN = "*own times"
_MOST_BYTES = 1 << 20
_HELD = 50


class TextParams(Params):
    """Parameters of `text`."""

    path: str = Field("", description="Files, as a pattern: * any text, ** any depth of folders, as in bench/*/HK_*_ROE1.txt")
    delimiter: str = Field("auto", description="Between cells: tab, comma, semicolon, bar, space, or auto (told by the header line)")
    comment: str = Field("#", description="Lines that begin so are passed over; empty for none")
    names: tuple[str, ...] = Field((), description="Names of the columns, for files whose header line is to be passed over")
    time: str = Field("", description="Column with the time; empty: the first one")
    time_format: str = Field("auto", description="auto, iso, unix, unix_ms, unix_ns, mjd, jd, or a strptime format such as %d%m%yD%H%M%ST")
    zone: str = Field("UTC", description="Time zone of times that say none")
    date_pattern: str = Field("", description="For clocks without a date: a regular expression for the path, its one group is the date")
    date_format: str = Field("%d%m%y", description="strptime format of that date")
    own_times: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="Column with a time, to patterns of those that have it")
    scan_s: float = Field(5.0, gt=0, description="How often the pattern is looked for again [s]")


class TextSource(HkSource[TextParams]):
    """Reads delimited text while it grows: a line is taken when it is complete, once, in order; a header line in the middle may change the columns.

    A clock without a date gets that of the file's name (`date_pattern`), or of the last change of the file, and goes on at midnight.
    """

    name = "text"
    file_param = "path"

    def open(self, context: SourceContext) -> None:
        """Raises BadConfig: no path, a wrong delimiter or zone."""
        p = self.params
        if not p.path:
            raise BadConfig(f"source {context.source}: `path` is empty; name its files, as in bench/*/HK_*.txt")
        if p.delimiter != "auto" and p.delimiter not in DELIMITERS:
            raise BadConfig(f"source {context.source}: delimiter {p.delimiter!r} is none of auto, {', '.join(DELIMITERS)}")
        Clock(p.time_format, p.zone)
        self._context, self._positions = context, dict(context.positions)
        self._files, self._open = Files(p.path, p.scan_s), dict[str, GrowingFile]()
        self._done: dict[str, str] = {}
        self._cells, self._own = Cells(context, p.own_times), OwnTimes(p.own_times)
        self._own.resume(json.loads(self._positions.get(_OWN) or "{}"))

    def poll(self, now: float) -> Taken:
        """What all files have got since the last look, 1 MiB or so at most. Raises Transient where the folder is not there."""
        faults, batches, positions = FaultCount(self._context.source, now), list[Batch](), dict[str, str]()
        left, any_file, more = _MOST_BYTES, False, False
        for seen in self._files.look():
            any_file = True
            if self._done.get(str(seen.path)) == seen.stamp:
                continue
            file = self._file(seen)
            rows, again = self._read(file, seen, left, faults)
            if file.offset or rows:
                positions |= self._moved(file, str(seen.path))
            left -= sum(map(len, (c for r in rows for c in r.cells)))
            more |= again
            batches += self._batches(rows, file, faults)
            if left <= 0:
                more = True
                break
        positions |= self._forgotten()
        self._let_go()
        if not any_file and not self._files.folder.is_dir():
            raise Transient(f"the folder {self._files.folder} is not there, so there is nothing to read")
        if batches and self.params.own_times:
            positions[_OWN] = json.dumps(self._own.state)
        return Taken(batches=tuple(batches), faults=faults.faults, positions=positions, more=more)

    def finish(self, now: float) -> Taken:
        """A last line without its end may be cut in the middle of a number: it is left out, and told."""
        faults = FaultCount(self._context.source, now)
        for path, file in self._open.items():
            if file.rest:
                faults.add(path, f"{path}:{file.line + 1}", "the last line has no end; it may be cut, and is left out")
        return Taken(faults=faults.faults)

    def close(self) -> None:
        """Nothing is held open."""

    def _forgotten(self) -> dict[str, str]:
        """Positions of files that a search has not found any more, as empty: they are not kept for years."""
        known = self._files.found
        # where the folder has gone too, a disk may be away, and its files come back
        gone = [] if not known else [p for p in self._positions if p != _OWN and p not in known and os.path.isdir(os.path.dirname(p))]
        for path in gone:
            del self._positions[path]
            self._open.pop(path, None)
            self._done.pop(path, None)
        return dict.fromkeys(gone, "")

    def _let_go(self) -> None:
        """Of files that were read to their end, all but the last are remembered by their stamp alone: there may be years of them."""
        for path in list(self._open)[:-_HELD]:
            if (file := self._open[path]).stamp and not file.rest:
                self._done[path] = file.stamp
                del self._open[path]

    def _file(self, seen: Seen) -> GrowingFile:
        path, p = str(seen.path), self.params
        if path not in self._open:
            form = LineFormat(delimiter=DELIMITERS.get(p.delimiter, "auto"), comment=p.comment, time_column=p.time, names=p.names)
            clock = Clock(p.time_format, p.zone, day_of(path, p.date_pattern, p.date_format))
            self._open[path] = GrowingFile(path, form, clock)
            if path in self._positions:
                self._open[path].resume(self._positions[path])
        file = self._open[path]
        if file.clock.day is None:
            file.clock.day = _day_of_change(seen, file.clock)
        return file

    def _read(self, file: GrowingFile, seen: Seen, most: int, faults: FaultCount) -> tuple[list[Row], bool]:
        try:
            return file.read(seen, max(most, 1 << 20), faults)
        except OSError as error:
            faults.add(file.place, file.place, f"the file cannot be read: {error.strerror or error}", kind="Transient")
            return [], False
        except Exception as error:  # garbage of a kind that nobody thought of: the other files go on
            faults.add(file.place, f"{file.place}:{file.line}", f"the file cannot be used from here on: {describe(error)}", kind=type(error).__name__)
            file.offset, file.stamp = seen.size, seen.stamp
            return [], False

    def _moved(self, file: GrowingFile, path: str) -> dict[str, str]:
        position = file.position
        if self._positions.get(path) == position:
            return {}
        self._positions[path] = position
        return {path: position}

    def _batches(self, rows: Sequence[Row], file: GrowingFile, faults: FaultCount) -> Iterator[Batch]:
        for columns, group in groupby(rows, key=lambda r: r.columns):
            same = sorted(group, key=lambda r: r.time)

            def wrong(name: str, cell: object, row: int, lines: Sequence[int] = tuple(r.line for r in same)) -> None:
                faults.add(file.place, f"{file.place}:{lines[row]}", f"{name} holds numbers, and here {str(cell)[:40]!r}; taken as no value")

            batch = self._cells.batch(np.array([r.time for r in same]), columns, [r.cells for r in same], wrong)
            if self.params.own_times:
                yield from split(batch, self._own, Clock("auto", self.params.zone).read)
            else:
                yield batch


def _day_of_change(seen: Seen, clock: Clock) -> date:
    """The day, in the zone of the clock, on which the file was changed last."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seen.mtime_ns // 10**9)).astimezone(clock.zone).date()
