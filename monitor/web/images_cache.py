"""What was read from files and is asked for again soon: kept within a bound of memory, read once by however many ask at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Things by key, the one that was not used for longest goes first when there are more than `most` bytes. Safe for threads."""

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most, self._size = most, size
        self._things: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """The thing of that key. What `load` raises is raised, and tried again the next time."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
            mine = self._loading.setdefault(key, threading.Lock())
        with mine:
            with self._lock:
                if key in self._things:
                    return self._things[key]
            try:
                thing = load()
                with self._lock:
                    self._things[key] = thing
                    self._drop()
                return thing
            finally:
                with self._lock:
                    self._loading.pop(key, None)

    def _drop(self) -> None:
        while len(self._things) > 1 and self.used > self._most:
            self._things.popitem(last=False)

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return sum(self._size(t) for t in self._things.values())


def state_of(path: str | Path) -> tuple[str, int, int]:
    """A key of the file as it is now: another one when it is written anew. Raises FileNotFoundError."""
    stat = Path(path).stat()
    return str(path), stat.st_mtime_ns, stat.st_size
