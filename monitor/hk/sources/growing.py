"""One text file that grows: whole lines alone, each once, also over restarts; header lines that come again with other columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.hk.sources.clock import Clock
from monitor.hk.sources.files import Seen
from monitor.hk.sources.rows import FaultCount

LONGEST_LINE = 1 << 20
MOST_COLUMNS = 20_000
DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": None}


@dataclass(slots=True)
class Row:
    """A row of a file: its time (Unix seconds, UTC), the columns and the cells, without that of the time."""

    time: float
    columns: tuple[str, ...]
    cells: list[str]
    line: int


@dataclass(slots=True, kw_only=True)
class LineFormat:
    """How lines are read: delimiter (None: white space, "auto": told by the first header), sign of comments, column of the time, names of columns."""

    delimiter: str | None
    comment: str
    time_column: str
    names: tuple[str, ...]


@dataclass(slots=True)
class GrowingFile:
    """A file, and how far it was read. `place` is its name in messages."""

    place: str
    form: LineFormat
    clock: Clock
    offset: int = 0
    inode: int = 0
    line: int = 0
    stamp: str = ""
    header: int = -1
    """Where the header line that holds begins; -1 where there is none yet."""
    columns: tuple[str, ...] = ()
    time_index: int = 0
    delimiter: str | None = None
    rest: int = 0
    """Bytes of a line without its end."""
    ready: bool = field(default=False)

    @property
    def position(self) -> str:
        """To be stored; for `resume`."""
        return json.dumps({"o": self.offset, "i": self.inode, "n": self.line, "h": self.header, "c": self.clock.state})

    def resume(self, position: str) -> None:
        """Go on where another one was. What is no position is passed over: the file is then read from its beginning."""
        try:
            known = json.loads(position)
            offset, inode, line, header = (int(known[k]) for k in ("o", "i", "n", "h"))
            self.clock.resume(str(known["c"]))
        except (ValueError, KeyError, TypeError):
            return
        self.offset, self.inode, self.line, self.header = offset, inode, line, header

    def read(self, seen: Seen, most: int, faults: FaultCount) -> tuple[list[Row], bool]:
        """Rows that were completed since, of at most `most` bytes, and whether there are more. Raises OSError."""
        if self.inode and (seen.size < self.offset or seen.inode != self.inode):
            faults.add(self.place, f"{self.place}:{self.line}", "the file was replaced or cut; it is read anew", count=1)
            self._anew()
        self.inode = seen.inode
        if seen.stamp == self.stamp:
            return [], False
        with open(seen.path, "rb") as f:
            self._recall_header(f.read, f.seek)
            f.seek(self.offset)
            data = f.read(most)
        more = self.offset + len(data) < seen.size
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) >= LONGEST_LINE:
            said = f"more than {LONGEST_LINE >> 20} MiB without the end of a line: this is no log; passed over"
            faults.add(self.place, f"{self.place}:{self.line + 1}", said)
            whole = len(data)
        rows = self._rows(data[:whole], faults)
        self.offset += whole
        self.rest = len(data) - whole
        if not more:
            self.stamp = seen.stamp
        return rows, more and whole > 0

    def _anew(self) -> None:
        self.offset, self.line, self.header, self.columns, self.delimiter, self.stamp = 0, 0, -1, (), None, ""

    def _recall_header(self, read: object, seek: object) -> None:
        """After a restart: the header line that held."""
        if self.header >= 0 and not self.columns and callable(seek) and callable(read):
            seek(self.header)
            self._take_header(_decoded(read(LONGEST_LINE).split(b"\n", 1)[0]))

    def _rows(self, data: bytes, faults: FaultCount) -> list[Row]:
        out: list[Row] = []
        at = self.offset
        for raw in data.split(b"\n")[:-1] if data.endswith(b"\n") else []:
            self.line += 1
            begin, at = at, at + len(raw) + 1
            text = _decoded(raw)
            if text.strip() and not (self.form.comment and text.startswith(self.form.comment)):
                row = self._row(text, begin, faults)
                if row is not None:
                    out.append(row)
        return out

    def _row(self, text: str, begin: int, faults: FaultCount) -> Row | None:
        if not self.columns or self._is_header(text):
            self.header = begin
            if not self._take_header(text):
                self.header = -1
                faults.add(self.place, f"{self.place}:{self.line}", "this is no header: a line with the names of the columns must come first")
            return None
        cells = self._cells(text)
        while len(cells) > len(self.columns) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(self.columns):
            said = f"a row has another number of cells than the {len(self.columns)} columns of its header; left out"
            faults.add(self.place, f"{self.place}:{self.line}", said)
            return None
        time = self.clock.read(cells[self.time_index])
        if time is None:
            faults.add(self.place, f"{self.place}:{self.line}", "the time of a row cannot be read; left out")
            return None
        del cells[self.time_index]
        return Row(time, self.columns[: self.time_index] + self.columns[self.time_index + 1 :], cells, self.line)

    def _is_header(self, text: str) -> bool:
        """Whether a line in the middle names the columns anew: the name of the time stands where the time would."""
        name = self.columns[self.time_index]
        cells = self._cells(text[: LONGEST_LINE // 8]) if name in text else []
        return any(c.strip() == name for c in cells[: self.time_index + 1]) or (bool(cells) and name in [c.strip() for c in cells])

    def _take_header(self, text: str) -> bool:
        given = self.form.delimiter
        self.delimiter = _guess(text) if given == "auto" else given
        names = self.form.names or tuple(c.strip() for c in self._cells(text))
        if not 2 <= len(names) <= MOST_COLUMNS or (not self.form.names and _all_numbers(names)):
            return False
        wanted = self.form.time_column
        if wanted and wanted not in names:
            return False
        self.columns, self.time_index = names, names.index(wanted) if wanted else 0
        return True

    def _cells(self, text: str) -> list[str]:
        if self.delimiter is None:
            return text.split()
        if '"' in text:
            try:
                return next(csv.reader([text], delimiter=self.delimiter), [])
            except csv.Error:
                pass  # what is no CSV has quotes that mean nothing
        return text.split(self.delimiter)


def _decoded(raw: bytes) -> str:
    # a file on a network that was cut off may have blocks of zeros
    return raw.replace(b"\0", b"").rstrip(b"\r").decode("utf-8-sig", errors="replace")


def _guess(text: str) -> str | None:
    counts = {d: text.count(d) for d in ("\t", ";", ",", "|")}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] else None


def _all_numbers(names: Sequence[str]) -> bool:
    """Whether a line is one of values: at most its first cell is no number."""
    others = [n for n in names[1:] if n]
    return bool(others) and all(n.replace(".", "", 1).replace("-", "", 1).replace("e", "", 1).replace("+", "", 1).isdigit() for n in others)
