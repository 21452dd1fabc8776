"""An observation book: a folder of files that an index names. What lies in it, and what should; not what the files hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quicklook.core.product import Product

STREAM_FILE, ANCIL_FILE = "D_{stream_id}_{index:03d}.g3", "A_ancil_{index:03d}.g3"
INDEX_FILE, BOOK_FILE = "M_index.yaml", "M_book.yaml"
ANCIL = "ancil"
MAX_NAMED, MAX_STREAMS = 20_000, 200
"""More files, or streams, are in no book."""
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Book(Product):
    """A book: the name of its folder, its index as it was read, and its files, by name, with their sizes (bytes).

    A folder within it stands among the files with a slash at its end. `stream_file` and `ancil_file` say how files are named.
    """

    kind = "book"

    name: str
    index: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    stream_file: str = STREAM_FILE
    ancil_file: str = ANCIL_FILE

    @property
    def streams(self) -> tuple[str, ...]:
        """Detector streams that the index names, of an absurd number the first ones; names that could be no part of a file name are left out."""
        ids = self.index.get("stream_ids")
        names = [s for s in ids[:MAX_STREAMS] if isinstance(s, str) and _STREAM.fullmatch(s)] if isinstance(ids, list) else []
        return tuple(dict.fromkeys(names))

    @property
    def n_files(self) -> int:
        """Files of each stream, by the index: one for each range of samples."""
        ranges = self.index.get("sample_ranges")
        n = len(ranges) if isinstance(ranges, list) else 0
        return min(n, MAX_NAMED // (len(self.streams) + 1))

    def named(self) -> dict[str, tuple[str, ...]]:
        """Files that the index names, by stream, and those of the ancillary stream as `ancil`."""
        numbers = range(self.n_files)
        out = {s: tuple(self.stream_file.format(stream_id=s, index=i) for i in numbers) for s in self.streams}
        return out | {ANCIL: tuple(self.ancil_file.format(index=i) for i in numbers)}

    def found(self) -> dict[str, tuple[str, ...]]:
        """Files that are there and are named like files of a stream, whatever their number, by stream; empty ones are not there."""
        out: dict[str, list[str]] = {s: [] for s in (*self.streams, ANCIL)}
        of_stream, of_ancil = _pattern(self.stream_file), _pattern(self.ancil_file)
        for name, size in sorted(self.files.items()):
            if size > 0 and of_ancil.fullmatch(name):
                out[ANCIL].append(name)
            elif size > 0 and (match := of_stream.fullmatch(name)) and match["stream_id"] in out:
                out[match["stream_id"]].append(name)
        return {stream: tuple(names) for stream, names in out.items()}

    def missing(self) -> tuple[str, ...]:
        """Files that the index names and that are not there, or empty."""
        return tuple(name for names in self.named().values() for name in names if self.files.get(name, 0) <= 0)


def _pattern(pattern: str) -> re.Pattern[str]:
    """Of file names with any index."""
    words = re.split(r"(\{[^{}]*\})", pattern)
    fields = [r"(?P<stream_id>.+)" if w == "{stream_id}" else r"\d+" if w.startswith("{index") else re.escape(w) for w in words]
    return re.compile("".join(fields), re.DOTALL)


def pattern_complaint(pattern: str, *fields: str) -> str:
    """What is wrong with a pattern of file names, which has these fields and no other (`index` as in {index:03d}); "" where nothing is."""
    found = re.findall(r"\{[^{}]*\}", pattern)
    wanted = [r"\{index(?::0\d+d)?\}" if name == "index" else re.escape("{" + name + "}") for name in fields]
    fits = len(found) == len(fields) and all(any(re.fullmatch(w, f) for f in found) for w in wanted)
    if not fits or "/" in pattern or "}{" in pattern or re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", pattern)):
        return f"must hold {' and '.join('{' + f + '}' for f in fields)}, each once, not side by side, and no slash"
    return ""
