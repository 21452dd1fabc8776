"""Files that may be copies of one that is gone: held until the place is known to which that was moved, or the tree was looked through in vain.

A copy has a time of its own, and is found before the older file that was moved in the same moment.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quicklook.service.arrival.arrived import Arrived

_LOOKS = 2
"""The scan that ends next may have passed the place before the file was there; the one after that has not."""


@dataclass(frozen=True, slots=True)
class _Held:
    found: Arrived
    earlier: str
    looks: int
    until: float


class Vanished:
    """`looked`: scans of the whole tree of which every file was dealt with, so far; where that does not go on, a file is held for `most_s`."""

    def __init__(self, looked: Callable[[], int], *, most_s: float) -> None:
        self._looked, self._most_s = looked, most_s
        self._held: deque[_Held] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, found: Arrived, earlier: str) -> None:
        """`earlier` is gone, and nothing says whether `found` is a copy of it."""
        self.drop(found.path)
        self._held.append(_Held(found, earlier, self._looked() + _LOOKS, time.monotonic() + self._most_s))

    def drop(self, path: Path) -> None:
        """Hold this one no more: what has come under its name since counts."""
        self._held = deque(h for h in self._held if h.found.path != path)

    def moved(self, earlier: str) -> list[Arrived]:
        """Those that can be compared now that it is known where the earlier file is. They are held no more."""
        out = [h.found for h in self._held if h.earlier == earlier]
        self._held = deque(h for h in self._held if h.earlier != earlier)
        return out

    def over(self) -> Arrived | None:
        """The first one, where the earlier file has been looked for long enough. It is held until it is dropped."""
        if self._held and (self._held[0].looks <= self._looked() or self._held[0].until <= time.monotonic()):
            return self._held[0].found
        return None
