"""Memory that was given back stays given back: how the heap of the C library is used by a program that runs for months.

By itself it raises the size from which a block is mapped on its own to that of the largest one that was ever freed (mallopt(3)). Tables of some
megabytes, which are made anew now and then, then lie among small things that stay, and leave holes behind.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import time
from typing import Any

import sqlalchemy as sa

from quicklook.service.running.attending import Surroundings
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.memory")

_MMAP_THRESHOLD = -3
"""Of the parameters of mallopt(3): the size from which a block is mapped on its own, and goes back to the system when it is freed."""
_MAPPED_FROM = 1 << 18
_ARENA_MAX = -8
"""Of the same: heaps that threads share. Each thread would have one of its own, with holes of its own; here they wait for each other anyway."""
_ARENAS = 2
_PERIOD_S = 60.0


def sparing_heap(library: Any = None) -> None:
    """Have large blocks mapped on their own, and few heaps for all threads; to be called before threads begin. For the C library of GNU alone."""
    library = library if library is not None else _gnu_library()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MAPPED_FROM)
        library.mallopt(_ARENA_MAX, _ARENAS)


class Thrift:
    """Gives back every minute what is free. A C library that is not that of GNU is left alone."""

    def __init__(self, library: Any = None) -> None:
        self._library = library if library is not None else _gnu_library()
        self._next = time.monotonic() + _PERIOD_S

    def turn(self) -> None:
        """Give back what is free, if it is time: a few hundredths of a second."""
        if self._library is not None and time.monotonic() >= self._next:
            gc.collect()  # cycles that wait for their turn lie among things that stay: the longer, the more holes they leave
            self._library.malloc_trim(0)
            self._next = time.monotonic() + _PERIOD_S

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """An exposure leaves nothing behind."""

    @property
    def idle(self) -> bool:
        """It never has anything left to do."""
        return True

    def close(self) -> None:
        """Nothing is open."""


def _gnu_library() -> Any:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if library is not None and hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def thrift(around: Surroundings) -> Thrift | None:
    """For a site; None where images are worked on in this very process, which would have to ask the system for each of them."""
    return Thrift() if around.site.file.work.executor != "inline" else None
