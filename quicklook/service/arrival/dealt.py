"""What the watcher has dealt with: files that were taken or refused, as they were then, and names that are none of its business."""

from __future__ import annotations

import time
from collections.abc import Sequence

from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.known import Known

_FRESH_S = 600.0
"""Polling looks so long at a file that was taken; after that, only the scans do."""


class Dealt:
    """So that each file is given once, and again when it has changed; `scan` is the number of the last scan of the whole tree."""

    def __init__(self) -> None:
        self._done, self._left_out = Known(), Known()
        self.refused, self._barred = set[str](), set[str]()

    def __len__(self) -> int:
        return len(self._done)

    def __contains__(self, path: str) -> bool:
        return path in self._done

    def note(self, path: str, size: int, mtime_ns: int, *, scan: int, refused: bool = False, barred: bool = False) -> None:
        """A file of this size and time was dealt with; `barred`: what was in the way may pass without a change of it."""
        self._done.note(path, size, mtime_ns, scan=scan)
        (self.refused.add if refused else self.refused.discard)(path)
        (self._barred.add if barred else self._barred.discard)(path)

    def given(self, found: Arrived | Rejected, *, scan: int) -> None:
        """This was found of a file, and is given."""
        refused, barred = isinstance(found, Rejected), isinstance(found, Rejected) and found.barred
        self.note(str(found.path), found.size, found.mtime_ns, scan=scan, refused=refused, barred=barred)

    def leave_out(self, path: str, *, scan: int) -> None:
        """It cannot be a raw file. Not for what was only noted: most of that are temporary names, which do not come again."""
        self._left_out.note(path, scan=scan)

    def is_left_out(self, path: str) -> bool:
        """Whether it is known that this can be no raw file."""
        return path in self._left_out

    def is_over(self, path: str, size: int, mtime_ns: int, *, again: bool) -> bool:
        """Whether there is nothing more to do for a file that is like this; `again`: one that was barred is to be tried again."""
        return self._done.same(path, size, mtime_ns) and not (again and path in self._barred)

    def worth_a_look(self, paths: Sequence[str], scan: int | None) -> list[str]:
        """Of paths that a scan of the whole tree (else `scan` is None) has met, those that may be new or changed."""
        met = zip(paths, self._done.meet(paths, scan), self._left_out.meet(paths, scan), strict=True)
        return [path for path, changed_s, left_out in met if left_out < 0 and (scan is not None or self._may_change(path, changed_s))]

    def forget(self, scan: int) -> None:
        """Forget the names that no scan of this number or a later one has met."""
        self._left_out.forget(scan)
        if self._done.forget(scan):
            self.refused = {path for path in self.refused if path in self._done}
            self._barred = {path for path in self._barred if path in self._done}

    def _may_change(self, path: str, changed_s: int) -> bool:
        return changed_s < 0 or path in self.refused or time.time() - changed_s < _FRESH_S
