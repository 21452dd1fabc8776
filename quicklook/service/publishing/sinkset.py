"""The sinks of a daemon together: started, looked after, waited for."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from quicklook.core.document import Document
from quicklook.core.errors import Transient
from quicklook.core.sink import SinkContext
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.sinks import SinkRunner, make_sink, start_sink
from quicklook.service.running.hkplace import HkPlace

log = logging.getLogger("quicklook.daemon")

_READY_S = 5.0
_STOP_S = 2.0
_PERIOD_S = 5.0


class SinkSet:
    """The sinks that a site names, made and checked; `start` lets them read the journal. Raises BadConfig for one that cannot be made."""

    def __init__(self, params: dict[str, dict[str, Any]], document: Document) -> None:
        self._params = params
        self._made = {name: make_sink(name, given, document) for name, given in params.items()}
        self.running: list[SinkRunner] = []
        self._next_check = 0.0

    @property
    def names(self) -> list[str]:
        """Those that run."""
        return [s.name for s in self.running]

    def start(self, journal: Journal, out: Path, tag: str = "live", housekeeping: HkPlace | None = None) -> None:
        """Start all of them. Raises BadConfig where one cannot be opened; `stop` ends those that were started."""
        self._journal = journal
        reports = tuple(what for sink in self._made.values() for what in sink.reports)
        context = SinkContext(out=str(out), epoch=journal.epoch, tag=tag, reports=reports)
        if housekeeping is not None:
            context = replace(context, hk_config=housekeeping.config, hk_store=str(housekeeping.store))
        for name, sink in self._made.items():
            self.running.append(start_sink(journal, journal_path(out), name, sink, self._params[name], context))
        for runner in self.running:
            runner.ready(_READY_S)

    def look_after(self) -> None:
        """See that those which should run do; at most every five seconds."""
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + _PERIOD_S
            for sink in self.running:
                sink.check()

    def drain(self, timeout_s: float) -> bool:
        """Wait until every sink has taken every event; False if one has not within the time."""
        end = time.monotonic() + timeout_s
        try:
            while (behind := self._behind()) > 0:
                if time.monotonic() > end:
                    log.warning("sinks are %d events behind and go on at the next start", behind)
                    return False
                time.sleep(0.02)
        except Transient as error:
            log.warning("how far the sinks are is not known: %s", error)
            return False
        return True

    def _behind(self) -> int:
        last = self._journal.last_seq()
        return max((last - self._journal.position(s.name) for s in self.running), default=0)

    def stop(self) -> None:
        """End all of them, at the same time."""
        enders = [threading.Thread(target=sink.stop, args=(_STOP_S,), name=f"end {sink.name}") for sink in self.running]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
