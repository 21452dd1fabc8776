"""Scans of a tree, in slices: all of it every now and then and, where the tree is polled, as often as that allows for what is new or fresh."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from quicklook.service.arrival.tree import printable, walk

_SLICE_S = 0.05
_REST = 1.0
"""Polling rests so many times as long as it took to go through the tree, at least: there is other work."""


class Scans:
    """When the tree below `folder` is gone through, how far that is, and what was found of its folders.

    `number`: scans of the whole tree that were begun; `ended`: the last of them that has ended; `whole`: whether the one now, or the last, is one
    of those, and `over`, whether it has ended in the slice before.
    """

    def __init__(self, folder: Path, *, rescan_s: float, poll_s: float) -> None:
        self._folder, self._rescan_s, self._poll_s = str(folder), rescan_s, poll_s
        self.number, self.ended, self.whole, self.over = 0, 0, False, False
        self._walk: Iterator[tuple[list[os.DirEntry[str]], list[str]]] | None = None
        self._took_s = 0.0
        self._next = self._next_poll = 0.0
        self._shut: dict[str, str] = {}
        self._shut_now: dict[str, str] = {}
        self._devices: dict[int, str] = {}

    @property
    def running(self) -> bool:
        """Whether the tree is being gone through."""
        return self._walk is not None

    @property
    def at_once(self) -> bool:
        """Whether a scan of the whole tree is to begin at once."""
        return self._next == 0.0

    @property
    def devices(self) -> list[str]:
        """Of each device that the tree has parts on, the first folder."""
        return list(self._devices.values())

    @property
    def trouble(self) -> str:
        """Which folders of the tree could not be looked into, in a sentence; "" where there are none."""
        if not self._shut:
            return ""
        (folder, why), more = next(iter(self._shut.items())), len(self._shut) - 1
        others = f", nor can {more} folders more" if more else ""
        return f"{printable(folder)} cannot be looked into: {why}{others}; files in it are not seen: give access to it"

    def ask(self) -> None:
        """Something may have been missed: scan the whole tree as soon as that can be."""
        self._next = 0.0

    def reset(self) -> None:
        """The folder is another one: what was found of the one before is void."""
        self._walk, self._shut, self._shut_now, self._devices = None, {}, {}, {}

    def due_s(self, *, polling: bool) -> float:
        """When the next scan is due (monotonic clock)."""
        return min(self._next, self._next_poll) if polling else self._next

    def begin(self, now: float, *, polling: bool) -> None:
        """Begin a scan, where one is due and none is running."""
        if self._walk is not None or now < self.due_s(polling=polling):
            return
        self.whole = now >= self._next
        self._walk, self._took_s, self._shut_now = walk(self._folder, self._note_shut, self._devices), 0.0, {}
        self.number += self.whole
        self._next = math.inf if self.whole else self._next  # until this one is over

    def slice(self, now: float) -> Iterator[tuple[list[str], list[str]]]:
        """What the scan comes to in a moment: paths of files, and of folders."""
        self.over = False
        if self._walk is None:
            return
        begun, until = time.monotonic(), now + _SLICE_S
        for files, folders in self._walk:
            yield [entry.path for entry in files], folders
            if time.monotonic() > until:
                self._took_s += time.monotonic() - begun
                return
        self._took_s += time.monotonic() - begun
        self._end(now)

    def _end(self, now: float) -> None:
        self._walk, self._next_poll = None, now + max(self._poll_s, _REST * self._took_s)
        if self.whole:
            if self._next == math.inf:  # else something has called for another one meanwhile
                self._next = now + self._rescan_s
            self._shut, self.over, self.ended = self._shut_now, True, self.number

    def _note_shut(self, folder: str, error: OSError) -> None:
        self._shut_now[folder] = error.strerror or str(error)
