"""The watcher as the daemon sees it: nothing here takes longer than a moment, whatever the file system of the raw files does."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.aside import Aside, NoAnswer
from quicklook.service.arrival.watcher import Watcher

log = logging.getLogger("quicklook.watcher")

_START_S = 5.0
_LONGEST_PAUSE_S = 1.0


def raw_only(accepts: Callable[[Path], bool], raw: Path, out: Path) -> Callable[[Path], bool]:
    """What can be a raw file: not what is in the output folder, where that lies in the raw folder. Else results might be taken for raw files."""
    return (lambda path: accepts(path) and not path.is_relative_to(out)) if out.is_relative_to(raw) and out != raw else accepts


class Lookout:
    """Looks through a watcher, in a thread of its own. A call that has not come back for `hangs_s` is trouble that is said.

    What the watcher has found while nobody waited for it is given at the next `poll`. `wake` is called, from another thread, when there is some.
    """

    def __init__(self, watcher: Watcher, *, wake: Callable[[], None], hangs_s: float) -> None:
        self._watcher, self._hangs_s = watcher, hangs_s
        self._aside = Aside("quicklook-raw", wake)
        self._found: deque[Arrived | Rejected] = deque()
        self._looked = 0
        self.looked = 0
        """Scans of the whole tree of which every file that can be taken was given by `poll`."""

    def start(self) -> None:
        """Begin to watch. Raises BadConfig where there is something that is no folder. A folder that does not answer is waited for."""
        try:
            self._aside.ask("start", self._watcher.start, _START_S)
        except NoAnswer:
            log.warning("%s does not answer; all else goes on, and it is watched as soon as it does", self._watcher.folder)

    def stop(self) -> None:
        """Stop watching. A call that is out is left to itself."""
        self._watcher.stop()
        self._aside.close()

    @property
    def hangs(self) -> bool:
        """Whether the file system does not answer: who reads a file of it now does not come back."""
        return self._aside.out_s > self._hangs_s

    @property
    def there(self) -> bool:
        """Whether the folder was there, and answered, when it was looked for last."""
        return self._watcher.there and not self.hangs

    @property
    def trouble(self) -> str:
        """Why files in the folder are not seen though they may come, in a sentence; "" where nothing is known to be wrong."""
        if self.hangs:
            return (
                f"{self._watcher.folder} does not answer: a look into it has not come back for more than {self._hangs_s:g} s; "
                "look after the server of this file system"
            )
        return self._watcher.trouble

    @property
    def mode(self) -> str:
        """``inotify`` or ``polling``; ``auto`` before it is chosen."""
        return self._watcher.mode

    @property
    def pending(self) -> int:
        """Files that are not complete yet or not fetched, and one more while the tree is looked through."""
        return self._watcher.pending + len(self._found) + self._aside.busy

    @property
    def arriving(self) -> int:
        """Files that are noticed and not fetched yet."""
        return self._watcher.arriving + len(self._found)

    def wait_s(self) -> float:
        """How long the caller may sleep before `poll` should be called again; it is woken when a call comes back."""
        return _LONGEST_PAUSE_S if self._aside.busy else self._watcher.wait_s()

    def poll(self) -> list[Arrived | Rejected]:
        """As `Watcher.poll`, or what has been found so far where the file system takes its time."""
        try:
            self._aside.ask("poll", self._look)
        except NoAnswer:
            log.debug("a look into %s is not back yet", self._watcher.folder)
        self.looked = self._looked  # first: what is found meanwhile may belong to the next one
        return [self._found.popleft() for _ in range(len(self._found))]

    def _look(self) -> None:
        self._found.extend(self._watcher.poll())
        if not self._watcher.arriving:
            self._looked = self._watcher.looked
