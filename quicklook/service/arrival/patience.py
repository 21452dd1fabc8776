"""Patience with file systems, for commands that a person waits for: one whose server is gone is named, and not waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from quicklook.core.errors import Hangs

T = TypeVar("T")

PATIENCE_S = 30.0
"""A single look at a file or folder takes longer than this only where the file system hangs."""

Look = Callable[[object], None]
"""Called with the path that is looked at next."""


class Patience:
    """Runs work in threads of their own. Work of many looks says before each of them, by `look`, what it looks at.

    What hangs is left behind: its thread ends with the program, or when the file system comes back.
    """

    def __init__(self, within_s: float | None = None) -> None:
        self._within_s = PATIENCE_S if within_s is None else within_s
        self._at, self._since = "", 0.0

    def look(self, at: object) -> None:
        """The work goes on; next it looks at this path."""
        self._at, self._since = str(at), time.monotonic()

    def run(self, do: Callable[[], T], at: object) -> T:
        """What `do` gives or raises; it begins with a look `at`. Raises Hangs where it has not come back and said nothing for too long."""
        came: list[T] = []
        failed: list[BaseException] = []
        over = threading.Event()

        def work() -> None:
            try:
                came.append(do())
            except BaseException as error:  # raised where it is waited for
                failed.append(error)
            over.set()

        self.look(at)
        threading.Thread(target=work, name="quicklook-look", daemon=True).start()
        while not over.wait(max(0.0, left := self._since + self._within_s - time.monotonic())):
            if left <= 0:
                raise Hangs(f"{self._at} hangs: a look at it has not come back for {self._within_s:g} s", what_next=Hangs.what_next)
        if failed:
            raise failed[0]
        return came[0]
