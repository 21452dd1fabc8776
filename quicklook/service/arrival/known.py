"""What is remembered of the files of a tree, without their names: 24 bytes for each, so that a daemon can run beside years of exposures.

A name is kept as its hash of 64 bits, and so is what the file was like. Two files of a million have the same hash once in thirty million such trees,
and even then one of them is only looked at once more: what it was like differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_AT_ONCE = 128
"""So many new ones are sorted in together: until then they are in a dictionary, a hundred bytes each."""
_NEVER = -1
_LATEST_S = 2**32 - 1


class Known:
    """Names of files, what each was like (size in bytes and time of change, UTC ns) when it was noted, and the last scan that has met it."""

    def __init__(self) -> None:
        self._new: dict[int, tuple[int, int, int]] = {}
        self._names, self._like = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._scans, self._changed_s = np.empty(0, np.uint32), np.empty(0, np.uint32)

    def __len__(self) -> int:
        return len(self._names) + len(self._new)

    def __contains__(self, path: str) -> bool:
        name = _hash(path)
        return name in self._new or self._place(name) is not None

    def note(self, path: str, size: int = 0, mtime_ns: int = 0, *, scan: int) -> None:
        """A file is like this now; `scan` is the number of the last scan of the whole tree."""
        name, what = _hash(path), (_hash((size, mtime_ns)), scan, min(max(mtime_ns // 10**9, 0), _LATEST_S))
        at = self._place(name)
        if at is not None:
            self._like[at], self._scans[at], self._changed_s[at] = what
            return
        self._new[name] = what
        if len(self._new) >= _AT_ONCE:
            self._sort_in()

    def same(self, path: str, size: int, mtime_ns: int) -> bool:
        """Whether a file was like this when it was noted last."""
        name, like = _hash(path), _hash((size, mtime_ns))
        if (new := self._new.get(name)) is not None:
            return new[0] == like
        at = self._place(name)
        return at is not None and int(self._like[at]) == like

    def meet(self, paths: Sequence[str], scan: int | None = None) -> list[int]:
        """Of each path the second of its last change (UTC) as it was noted, -1 where it is not known; a scan of the whole tree leaves its number."""
        names = [_hash(path) for path in paths]
        places, there = self._places(names)
        changed = np.full(len(names), _NEVER, np.int64)
        changed[there] = self._changed_s[places[there]]
        if scan is not None:
            self._scans[places[there]] = scan
        for i, name in enumerate(names) if self._new else ():
            if (new := self._new.get(name)) is not None:
                changed[i] = new[2]
                self._new[name] = (new[0], new[1] if scan is None else scan, new[2])
        return [int(second) for second in changed.tolist()]

    def forget(self, scan: int) -> int:
        """Forget those that no scan of this number or a later one has met; returns how many."""
        before = len(self)
        self._keep(self._scans >= scan)
        self._new = {name: what for name, what in self._new.items() if what[1] >= scan}
        return before - len(self)

    def _place(self, name: int) -> int | None:
        at = int(np.searchsorted(self._names, np.uint64(name)))
        return at if at < len(self._names) and int(self._names[at]) == name else None

    def _places(self, names: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Where these names would be, and whether they are there."""
        wanted = np.array(names, np.uint64)
        if len(self._names) == 0:
            return np.zeros(len(names), np.intp), np.zeros(len(names), bool)
        places = np.minimum(np.searchsorted(self._names, wanted), len(self._names) - 1)
        return places, self._names[places] == wanted

    def _keep(self, wanted: np.ndarray) -> None:
        if not wanted.all():
            self._names, self._like, self._scans, self._changed_s = (a[wanted] for a in (self._names, self._like, self._scans, self._changed_s))

    def _sort_in(self) -> None:
        """Take the new ones in among the others."""
        names = np.concatenate([self._names, np.fromiter(self._new, np.uint64, len(self._new))])
        like, scans, changed_s = (np.fromiter((w[i] for w in self._new.values()), np.uint64, len(self._new)) for i in range(3))
        order = np.argsort(names, kind="stable")
        self._names, self._like = names[order], np.concatenate([self._like, like])[order]
        self._scans = np.concatenate([self._scans, scans.astype(np.uint32)])[order]
        self._changed_s = np.concatenate([self._changed_s, changed_s.astype(np.uint32)])[order]
        self._new.clear()


def _hash(what: object) -> int:
    return hash(what) & 0xFFFF_FFFF_FFFF_FFFF
