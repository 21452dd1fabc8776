"""Which folders the kernel watches for us: not all of years, but those in which something has come last.

Each one that is watched takes memory, here and in the kernel, and a user may watch a limited number only.
"""

from __future__ import annotations

import os

MOST = 500
"""So many are watched. A night has fewer exposures; what changes in an older folder is found by the next scan of the tree."""


class Folders:
    """Folders by the number of their watch, each with the time (s) of the last thing that came in it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._names: dict[int, str] = {}
        self._used: dict[int, float] = {}
        self._gone: set[str] = set()
        self._first: tuple[int, float] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def get(self, watch: int) -> str | None:
        """The folder of a watch; None where there is no such watch any more."""
        return self._names.get(watch)

    @property
    def full(self) -> bool:
        """Whether one has to go before another one is watched."""
        return len(self._names) >= self._most

    def wants(self, used: float) -> bool:
        """Whether a folder in which something has come at that time is to be watched."""
        return not self.full or used > self._longest_unused()[1]

    def add(self, watch: int, folder: str, used: float) -> int | None:
        """A folder is watched now, or has got another name. Returns the watch that is given up for it."""
        new = watch not in self._names
        gone = self._longest_unused()[0] if new and self.full else None
        if gone is not None:
            self.drop(gone)
        self._names[watch] = folder
        self.use(watch, used)
        self._first = None
        return gone

    def use(self, watch: int, now: float) -> None:
        """Something has come in it."""
        self._used[watch] = max(now, self._used.get(watch, 0.0))

    def drop(self, watch: int) -> None:
        """It is watched no more."""
        if (name := self._names.pop(watch, None)) is not None:
            self._gone.add(name)
        self._used.pop(watch, None)
        self._first = None

    def gone(self) -> set[str]:
        """Folders of which a watch has ended since the last call, those too that are watched anew."""
        gone, self._gone = self._gone, set()
        return gone

    def _longest_unused(self) -> tuple[int, float]:
        """The one in which nothing has come for the longest time, and that time. Folders above one that is watched are in use."""
        if self._first is None or self._used[self._first[0]] != self._first[1]:
            above = {os.path.dirname(name) for name in self._names.values()}
            self._first = min(((w, self._used[w]) for w, name in self._names.items() if name not in above), key=lambda one: one[1])
        return self._first
