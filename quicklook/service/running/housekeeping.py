"""Housekeeping beside the frames: a watch in a thread of its own, whose changes of state become events."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, describe
from quicklook.core.events import HkChanged, draft
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import HkMonitor, hk_monitor
from quicklook.core.severity import Severity
from quicklook.io.configfiles import find_config
from quicklook.service.running.attending import Surroundings
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.hk")

_AGAIN_S = 30.0
"""A watch that has failed is started again after so long."""
_HANGS_S = 60.0
"""One that has not come back from its sources for so long is told: a disk or a server may hang."""
_BATCH = 200
_MOST = 20_000
WATCH = "watch"


class HousekeepingWatch:
    """Asks the sources in a thread of its own; what changes is an event. That the watch itself fails or hangs is a change like others."""

    def __init__(self, around: Surroundings, monitor: HkMonitor, config: Document, store: Path) -> None:
        self._around, self._monitor, self._config, self._store = around, monitor, config, store
        self._every_s = around.site.file.housekeeping.every_s
        self._waiting: deque[HkChange] = deque(maxlen=_MOST)
        self._written = 0
        """Changes of the watch that the journal has."""
        self._lock = threading.Lock()
        """Held while changes go into the journal, and while a watch that begins anew takes back those that it will give again."""
        self._stop = threading.Event()
        self._came_back, self._state = time.monotonic(), HkState.NORMAL
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Write what has changed. Raises what the journal raises: then it is written at the next turn."""
        if time.monotonic() - self._came_back > _HANGS_S and not self._stop.is_set():
            self._says(HkState.VIOLATING, "the sources of housekeeping have not answered for a minute: a disk or a server hangs")
        while self._waiting:
            with self._lock:
                self._write_some()

    def _write_some(self) -> None:
        changes = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        if not changes:
            return
        try:
            self._around.journal.append([draft(HkChanged(changes=[_finite(c) for c in changes]), tag=self._around.recipe.tag)])
        except Exception:
            self._waiting.extendleft(reversed(changes))
            raise
        self._written += sum(c.subject != WATCH for c in changes)

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """Nothing yet: an exposure ends by itself."""

    @property
    def idle(self) -> bool:
        """Whether all that has changed is written."""
        return not self._waiting

    def close(self) -> None:
        """End the thread; one that hangs in a source ends with the process."""
        self._stop.set()
        self._thread.join(3.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except Exception as error:  # of a plugin: whatever it is, the frames go on, and it is told
                log.exception("housekeeping is not watched: %s", describe(error))
                self._says(HkState.VIOLATING, f"housekeeping is not watched: {describe(error)}")
                self._came_back = time.monotonic()
                self._stop.wait(_AGAIN_S)

    def _watch(self) -> None:
        watch = self._monitor.watch(self._config, self._store, time.time())
        with self._lock:
            # what one before it has given and the journal has not, it gives again
            self._waiting = deque((c for c in self._waiting if c.subject == WATCH), maxlen=_MOST)
            before = self._written
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                watch.kept(self._written - before)
                self._waiting += watch.turn(time.time())
                for fault in watch.faults():
                    log.warning("%s: %s%s", fault.where, fault.message, f" ({fault.count} times)" if fault.count > 1 else "")
                self._came_back = time.monotonic()
                self._says(HkState.NORMAL, "housekeeping is watched")
                self._stop.wait(max(0.05, self._every_s - (self._came_back - began)))
        finally:
            watch.kept(self._written - before)
            watch.close()

    def _says(self, state: HkState, reason: str) -> None:
        if state is self._state:
            return
        now = time.time()
        change = HkChange(
            subject=WATCH, channel="", limit="", kind=WATCH, state=state, before=self._state, severity=Severity.ALARM, time=now, since=now,
            reason=reason, action="Look at the log of the daemon, and at the sources: quicklook doctor, quicklook hk check.",
        )  # fmt: skip
        self._state = state
        self._waiting.append(change)


def _finite(change: HkChange) -> HkChange:
    """Without NaN, which JSON has not."""
    value, bound, reference = (v if v is None or math.isfinite(v) else None for v in (change.value, change.bound, change.reference))
    return replace(change, value=value, bound=bound, reference=reference)


def housekeeping_watch(around: Surroundings) -> HousekeepingWatch | None:
    """For a site that names a configuration of housekeeping; else None. Raises BadConfig where that cannot be used."""
    settings = around.site.file.housekeeping
    if not settings.config:
        return None
    config, monitor = find_config("hk", settings.config), hk_monitor()
    for remark in monitor.check(config):
        log.info("%s: %s", settings.config, remark)
    store = Path(settings.store) if settings.store else around.site.out / "hk.sqlite"
    if not store.parent.is_dir():
        raise BadConfig(f"there is no folder {store.parent} for the samples of housekeeping", what_next="Make it, or name another file.")
    return HousekeepingWatch(around, monitor, config, store)
