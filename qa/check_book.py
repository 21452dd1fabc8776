"""Whether an observation book is whole: its index, the files that it names, and what else lies in its folder."""

from __future__ import annotations

import fnmatch
import math
import re
from typing import Any

from pydantic import Field

from qa.values import scalar
from quicklook.ccd.book import ANCIL, BOOK_FILE, INDEX_FILE, Book
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Table
from quicklook.core.plugin import MonitoringAlg

INDEX = MetricDef("book_index_problems", "", doc="Number of keys of the index that are absent or say what cannot be.")
MISSING = MetricDef("book_missing_files", "", doc="Number of files that the index names, or every book has, and that are not there or empty.")
STRAY = MetricDef("book_stray_files", "", doc="Number of files in the folder of the book that do not belong to it.")
COUNTS = MetricDef("book_file_excess", "", dims=("stream",), doc="Files of a stream less the ranges of samples of the index; 0 where they are equal.")

_KEYS = (
    "book_id", "type", "subtype", "telescope", "tube_slot", "start_time", "stop_time", "n_samples", "stream_ids", "detsets", "sample_ranges", "tags",
    "wafer_slots",
)  # fmt: skip
_NAME = re.compile(r"(?P<type>[a-z]+)_(?P<ctime>\d{10})_(?P<telescope>[A-Za-z0-9]+)_(?P<slots>[01]+)")
_SHOWN = 20
Fact = str | int | float | bool | None


class CheckBookParams(Params):
    """Parameters of `check_book`: what is let pass in books that are known to deviate."""

    required_keys: tuple[str, ...] = Field(_KEYS, description="keys that the index must have")
    extra_files: tuple[str, ...] = Field((BOOK_FILE,), description="files that every book has beside its index")
    extra_extra_files: tuple[str, ...] = Field((), description="further files that may be there, with * and ?")
    banned_files: tuple[str, ...] = Field((), description="files that must not be there, with * and ?, whatever else is tolerated")
    tolerate_stray_files: bool = Field(False, description="files that do not belong to the book are let pass, but for those that are banned")
    tolerate_missing_extra_files: bool = Field(False, description="files that every book has may be absent, but for the index")
    tolerate_missing_ancil: bool = Field(False, description="the ancillary files may be absent, all of them")


class CheckBook(MonitoringAlg[CheckBookParams]):
    """Checks that a book has arrived whole: keys of its index, a file of each stream for each range of samples, no stray files.

    Formula: book_index_problems = keys of `required_keys` that are absent + statements that cannot be (id or type other than those of the
    folder's name, detsets and stream_ids of different lengths, not as many streams as the name has slots with 1, a range of samples that is none,
    an end before the start); book_missing_files = files named by stream_ids x sample_ranges, ancillary files and `extra_files` that are absent or
    empty; book_stray_files = all others in the folder; book_file_excess = files of a stream that are there - number of sample_ranges. Counts,
    without an error. No file but the index is opened.
    Source: the layout of Level-2 books of the Simons Observatory (files D_, A_ and M_ of a folder, M_index.yaml written last); the parameters
    stand for the work-arounds of the same names of its book checker.
    """

    name = "check_book"
    metrics = (INDEX, MISSING, STRAY, COUNTS)

    def measure(self, book: Book) -> Measures:
        """Of a listing of the folder and the index."""
        problems = [*_absent_keys(book, self.params.required_keys), *_contradictions(book)]
        missing, stray = self._missing(book), self._stray(book)
        metrics = tuple(scalar(d, len(said), _some(said)) for d, said in ((INDEX, problems), (MISSING, missing), (STRAY, stray)))
        counts = self._counts(book)
        facts: dict[str, Fact] = {"book": book.name, "files": len(book.files), "size_bytes": sum(book.files.values()), "streams": len(book.streams)}
        return Measures((*metrics, counts), plots=(_plot(book, (*metrics, counts)),), facts=facts)

    def _no_ancil(self, book: Book) -> bool:
        return self.params.tolerate_missing_ancil and not book.found()[ANCIL]

    def _missing(self, book: Book) -> list[str]:
        let_pass = set(book.named()[ANCIL]) if self._no_ancil(book) else set()
        extra = [] if self.params.tolerate_missing_extra_files else [n for n in self.params.extra_files if book.files.get(n, 0) <= 0]
        return [*(n for n in book.missing() if n not in let_pass), *extra]

    def _stray(self, book: Book) -> list[str]:
        banned = [n for n in book.files if _fits(n, self.params.banned_files)]
        if self.params.tolerate_stray_files:
            return sorted(banned)
        known = {name for names in book.named().values() for name in names} | {INDEX_FILE, *self.params.extra_files}
        stray = [n for n in book.files if n not in known and not _fits(n, self.params.extra_extra_files)]
        return sorted({*stray, *banned})

    def _counts(self, book: Book) -> Measured:
        """NaN of every stream where the index has no ranges: then nothing says how many there should be."""
        found = {s: len(names) for s, names in book.found().items() if s != ANCIL or not self._no_ancil(book)}
        known = isinstance(book.index.get("sample_ranges"), list)
        values = [float(n - book.n_files) if known else math.nan for n in found.values()]
        remarks: dict[Coord | tuple[Coord, ...], str] = {
            (s,): f"{n} files, {book.n_files} ranges of samples" for s, n in found.items() if known and n != book.n_files
        }
        return measured(COUNTS.name, values, stream=list(found), remarks=remarks)


def _absent_keys(book: Book, required: tuple[str, ...]) -> list[str]:
    return [f"{key} is absent" for key in required if key not in book.index]


def _contradictions(book: Book) -> list[str]:
    index, said = book.index, list[str]()
    name = _NAME.fullmatch(book.name)
    if name is None:
        said.append(f"{book.name} is no name of a book")
    if "book_id" in index and index["book_id"] != book.name:
        said.append(f"book_id is {index['book_id']!r:.60}, the folder is {book.name}")
    if name is not None and "type" in index and index["type"] != name["type"]:
        said.append(f"type is {index['type']!r:.60}, by the folder it is {name['type']}")
    if name is not None and "telescope" in index and index["telescope"] != name["telescope"]:
        said.append(f"telescope is {index['telescope']!r:.60}, by the folder it is {name['telescope']}")
    return [*said, *_of_streams(book, name["slots"].count("1") if name else None), *_of_ranges(index, book.n_files), *_of_times(index)]


def _of_streams(book: Book, slots: int | None) -> list[str]:
    ids, sets, said = book.index.get("stream_ids"), book.index.get("detsets"), list[str]()
    if "stream_ids" in book.index and (not isinstance(ids, list) or len(book.streams) != len(ids)):
        said.append("stream_ids is no list of different names")
    elif isinstance(ids, list) and slots is not None and slots != len(ids):
        said.append(f"{len(ids)} stream_ids, by the folder there are {slots}")
    if isinstance(ids, list) and "detsets" in book.index and (not isinstance(sets, list) or len(sets) != len(ids)):
        said.append("detsets and stream_ids are not of one length")
    return said


def _of_ranges(index: Any, n_files: int) -> list[str]:
    if "sample_ranges" not in index:
        return []
    ranges = index["sample_ranges"]
    if not isinstance(ranges, list) or not ranges:
        return ["sample_ranges is no list of ranges"]
    if len(ranges) > n_files:
        return [f"{len(ranges)} sample_ranges are more than any book has"]
    bad = [i for i, r in enumerate(ranges) if not (isinstance(r, list) and len(r) == 2 and all(type(v) is int for v in r) and r[0] < r[1])]
    return [f"{len(bad)} of {len(ranges)} sample_ranges are no [start, stop), the first is number {bad[0]}"] if bad else []


def _of_times(index: Any) -> list[str]:
    times = [index.get(k) for k in ("start_time", "stop_time")]
    wrong = [k for k, t in zip(("start_time", "stop_time"), times, strict=True) if k in index and not isinstance(t, int | float)]
    if wrong:
        return [f"{' and '.join(wrong)} is no number"]
    return [f"it stops ({times[1]}) before it starts ({times[0]})"] if None not in times and times[1] < times[0] else []


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def _some(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


def _plot(book: Book, metrics: tuple[Measured, ...]) -> Plot:
    """A row of words per check, and a row per stream."""
    rows = [(m.name.removeprefix("book_").replace("_", " "), _in_words(m), ", ".join(dict.fromkeys(m.remarks.values()))) for m in metrics[:3]]
    found = book.found()
    rows += [(stream, f"{len(names)} of {book.n_files}", f"{sum(book.files[n] for n in names) / 1e6:.1f} MB") for stream, names in found.items()]
    table = Table(header=("check", "found", "details"), rows=tuple(rows))
    panel = Panel(x=Axis(label="column"), y=Axis(label="check"), layers=(table,), title=book.name)
    return Plot(name="check_book", title="What was found of the book", panels=(panel,))


def _in_words(metric: Measured) -> str:
    value = float(metric.values.ravel()[0])
    return "good" if value == 0 else f"{value:g}"
