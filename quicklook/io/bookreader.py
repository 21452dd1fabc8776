"""The reader of observation books (Simons Observatory): a unit is a folder, and has arrived when its index file and all files it names are there.

The index file is written last. Files that it names and that have not come are companions that are waited for; then the work goes on, and is
done again when they come. The files themselves are not opened.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from quicklook.ccd.book import ANCIL_FILE, BOOK_FILE, MAX_NAMED, STREAM_FILE, Book, pattern_complaint
from quicklook.ccd.exposure import Arrival, Companion, Exposure
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.keys import Unit
from quicklook.core.reading import Reading
from quicklook.core.validation import validate
from quicklook.core.yamlsource import parse_yaml
from quicklook.io.instrument import Instrument
from quicklook.io.naming import match_path, night_of
from quicklook.io.reader import Peek, Reader
from quicklook.io.source import Incomplete, system_errors

PART = "book"
_SHOWN = 20
_MOST_BYTES = 1 << 18
"""A longer index is none: that of a book of a day has some kilobytes."""
_LATEST = 4e9
"""Seconds since 1970 in the year 2096: a later time is none."""


class BookOptions(BaseModel):
    """Options of the reader (`reader_options` of the instrument)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream_file_pattern: str = Field(STREAM_FILE, description="name of a file of a detector stream, with {stream_id} and {index:03d}")
    ancil_file_pattern: str = Field(ANCIL_FILE, description="name of a file of the ancillary stream, with {index:03d}")
    extra_files: tuple[str, ...] = Field((BOOK_FILE,), description="files beside the index that every book has; they are waited for too")
    tolerate_missing_ancil: bool = Field(False, description="ancillary files are not waited for")

    @field_validator("stream_file_pattern")
    @classmethod
    def _of_stream(cls, pattern: str) -> str:
        if wrong := pattern_complaint(pattern, "stream_id", "index"):
            raise ValueError(wrong)
        return pattern

    @field_validator("ancil_file_pattern")
    @classmethod
    def _of_ancil(cls, pattern: str) -> str:
        if wrong := pattern_complaint(pattern, "index"):
            raise ValueError(wrong)
        return pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    book: Book
    exposure: Exposure
    arrival: Arrival
    tags: dict[str, str]


class BookReader(Reader):
    """Reads what can be said of a book without opening its files. The name of the folder gives the unit: `expid` and the groups of the pattern."""

    name = "so_book"
    provides = (Book, Exposure, Arrival)

    def __init__(self, instrument: Instrument) -> None:
        super().__init__(instrument)
        self.options = validate(BookOptions, Document.from_data(instrument.reader_options, f"instrument {instrument.name}, reader_options"))

    def peek(self, path: str | Path) -> Peek:
        """See `Reader.peek`: the index is read, the folder is listed."""
        opened = self._open(Path(path))
        return Peek(
            path=Path(path), unit=opened.exposure.unit, cameras=(PART,), missing_cameras=(), exposure=opened.exposure, arrival=opened.arrival,
            tags=opened.tags,
        )  # fmt: skip

    def read(self, path: str | Path, camera: str) -> Reading:
        """See `Reader.read`. `camera` is `book`, the one part that a book has. Raises BadData for another one."""
        if camera != PART:
            raise BadData(f"{path}: a book has one part, {PART!r}, and no {camera!r}")
        opened = self._open(Path(path))
        degraded = opened.arrival.problems.get("companions", ())
        return Reading(products=(opened.arrival, opened.exposure, opened.book), tags=opened.tags | {"camera": PART}, degraded=degraded)

    def _open(self, path: Path) -> _Opened:
        index = _read_index(path)
        options = self.options
        book = Book(
            name=path.parent.name, index=index, files=_listed(path.parent), stream_file=options.stream_file_pattern,
            ancil_file=options.ancil_file_pattern,
        )  # fmt: skip
        exposure = self._exposure(path, book)
        arrival = self._arrival(path, book)
        tags = {
            "instrument": self.instrument.name, "telescope": _word(index.get("telescope")) or self.instrument.telescope, "flavor": exposure.flavor,
            "program": exposure.program, "night": f"{exposure.unit.night:08d}", "expid": str(exposure.unit.expid), "object": book.name,
        }  # fmt: skip
        if exposure.start is not None:
            tags["start"] = exposure.start.isoformat()
        return _Opened(book=book, exposure=exposure, arrival=arrival, tags={k: v for k, v in tags.items() if v})

    def _exposure(self, path: Path, book: Book) -> Exposure:
        facts = match_path(path, self.instrument)
        if facts is None or facts.expid is None:
            raise BadData(f"{path.parent.name} is no name of a book: it must fit files.patterns of instrument {self.instrument.name}")
        began, ended = _time(book.index.get("start_time")), _time(book.index.get("stop_time"))
        since = _time(facts.expid)
        if since is None:
            raise BadData(f"{path.parent.name}: {facts.expid} is no time in seconds since 1970")
        start = datetime.fromtimestamp(since if began is None else began, UTC)
        night = night_of(datetime.fromtimestamp(since, UTC), self.instrument.site)
        seconds = math.nan if began is None or ended is None else ended - began
        return Exposure(
            unit=Unit(night, facts.expid), instrument=self.instrument.name, flavor=facts.groups.get("type", "unknown"),
            program=_word(book.index.get("subtype")), exptime=seconds, start=start, object=book.name,
        )  # fmt: skip

    def _arrival(self, path: Path, book: Book) -> Arrival:
        named = [(role, name) for role, names in book.named().items() for name in names] + [("extra", name) for name in self.options.extra_files]
        optional = {"ancil"} if self.options.tolerate_missing_ancil else set()
        companions = tuple(
            Companion(role=role, name=name, present=book.files.get(name, 0) > 0, required=role not in optional) for role, name in named
        )
        absent = [c.name for c in companions if c.required and not c.present]
        problems = tuple(f"{name} is not there" for name in absent[:_SHOWN]) + ((f"nor are {len(absent) - _SHOWN} more",) if absent[_SHOWN:] else ())
        return Arrival(
            file=f"{path.parent.name}/{path.name}", size=sum(book.files.values()), hdus=(), expected_hdus=(), companions=companions,
            problems={"companions": problems} if problems else {},
        )  # fmt: skip


def _read_index(path: Path) -> dict[str, Any]:
    """The index as plain data. Raises Incomplete where it is empty, BadData where it is none, as for the bytes of any file."""
    with system_errors(path), path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadData(f"{path} is longer than {_MOST_BYTES} bytes; it is no index of a book")
    if not content.strip(b"\0 \n"):
        raise Incomplete(f"{path} is empty", expected=None, found=len(content))
    try:
        return dict(parse_yaml(content.decode("utf-8"), str(path)).data)
    except (BadConfig, UnicodeDecodeError) as error:
        raise BadData(f"the index of the book cannot be read: {error}") from error


def _listed(folder: Path) -> dict[str, int]:
    """What is in the folder, by name, with sizes; a folder has a slash at its end. Names that are no text are shown with escapes."""
    out: dict[str, int] = {}
    with system_errors(folder), os.scandir(folder) as entries:
        for entry in entries:
            if len(out) >= 2 * MAX_NAMED:
                raise BadData(f"{folder} holds more than {2 * MAX_NAMED} files; it is no book")
            name = entry.name.encode("utf-8", "backslashreplace").decode()
            try:
                out[f"{name}/" if entry.is_dir() else name] = entry.stat().st_size
            except OSError:  # a link that leads nowhere, or gone meanwhile
                out[name] = 0
    return out


def _time(value: object) -> float | None:
    """Seconds since 1970; None where it is no such number."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 < value < _LATEST
    return float(value) if good and isinstance(value, int | float) else None


def _word(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 100 else ""
