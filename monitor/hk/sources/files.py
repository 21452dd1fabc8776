"""The files that a pattern names: found again and again, looked at when they have changed."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_FILES = 100_000
_SHARE = 50
"""A search is repeated after so many times what it took, at the earliest."""
_ACTIVE = 50
"""The last so many files of a pattern are looked at every time: they are those that grow; the others when the pattern is looked for again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was when it was looked at."""

    path: Path
    size: int
    mtime_ns: int
    inode: int

    @property
    def stamp(self) -> str:
        """Changes whenever the file does."""
        return f"{self.inode}:{self.size}:{self.mtime_ns}"


def _natural(path: str) -> tuple[object, ...]:
    """Names in the order in which people number them: HK_9 before HK_10."""
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", path) if p)


class Files:
    """All files of a pattern (`**` is any depth of folders), in the order of their names; `scan_s` is how often the pattern is looked for again."""

    def __init__(self, pattern: str, scan_s: float) -> None:
        self.pattern, self._scan_s = pattern, scan_s
        self._paths: list[str] = []
        self._due = 0.0
        self.found: frozenset[str] = frozenset()
        """All that the last search has found, where it was looked at to its end just now; else empty."""

    def look(self) -> Iterator[Seen]:
        """Those that are there; when the pattern was not looked for just now, only the last ones of the list. Raises OSError."""
        began, self.found = time.monotonic(), frozenset()
        if scanning := began >= self._due:
            plain = os.path.expanduser(self.pattern)
            found = iter([plain]) if os.path.isfile(plain) else glob.iglob(plain, recursive=True)
            self._paths = sorted((p for p, _ in zip(found, range(MOST_FILES), strict=False)), key=_natural)
        for path in self._paths if scanning else self._paths[-_ACTIVE:]:
            try:
                found_now = os.stat(path)
            except OSError:
                continue  # gone since: nothing to read
            if os.path.isfile(path):
                yield Seen(Path(path), found_now.st_size, found_now.st_mtime_ns, found_now.st_ino)
        if scanning:
            # years of day folders are not looked through all the time
            self.found = frozenset(self._paths)
            self._due = began + max(self._scan_s, _SHARE * (time.monotonic() - began))

    @property
    def folder(self) -> Path:
        """The folder before the first sign that stands for others; where it is absent, nothing can come."""
        fixed = re.split(r"[*?\[]", self.pattern, maxsplit=1)[0]
        return Path(os.path.expanduser(fixed if fixed.endswith("/") else os.path.dirname(fixed) or "."))
