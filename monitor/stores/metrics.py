"""The sink that keeps metrics, verdicts, exposures, decisions, tests, overrides and changes of housekeeping in SQL, to be asked later."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.events import Draft, Event, SinkGaveUp, draft
from quicklook.core.results import Failure
from quicklook.core.sink import Sink, SinkContext
from quicklook.io.metricstore.dropping import Dropping, before_days
from quicklook.io.metricstore.opening import name_of, open_store, stamp_of
from quicklook.io.metricstore.place import StoreParams
from quicklook.io.metricstore.writing import KINDS, Writer

log = logging.getLogger("quicklook.metrics")


_FIRST_S, _PERIOD_S = 60.0, 86400.0
"""When what is old is dropped first, and how often."""


def _file_of(engine: Engine) -> tuple[int, int] | None:
    """The file that is there under the name of a store; None where there is none, or it is in a server."""
    found = stamp_of(engine)
    return None if found is None else found[:2]


class MetricSink(Sink[StoreParams]):
    """Writes what events say into a metrics store: those that come together in one transaction. Where nothing comes, it drops what is old."""

    name = "metrics"
    kinds = KINDS

    def check(self) -> None:
        """Look at the address. Raises BadConfig."""
        self.params.check()

    def open(self, context: SinkContext) -> None:
        """Open the store and bring its tables up to date. Raises Transient, also for a store that cannot be used: observing does not wait for it."""
        self._gathered: list[Event] = []
        self._out = context.out
        self._open()
        self._next = time.monotonic() + _FIRST_S

    def _open(self) -> None:
        try:
            self._engine = open_store(self.params.address(self._out), to_read=False)
        except BadConfig as error:
            raise Transient(f"{describe(error)} {error.what_next}") from error
        self._file = _file_of(self._engine)
        self._writer = Writer(self._engine, self._out)
        self._dropping: Dropping | None = None

    def accept(self, event: Event) -> Sequence[Draft]:
        """Gather."""
        self._gathered.append(event)
        return []

    def flush(self) -> Sequence[Draft]:
        """Write what was gathered. Raises Transient where the database is away: it is asked again with the same, and more."""
        if not self._gathered:
            self._drop()
            return []
        if _file_of(self._engine) != self._file:
            log.warning("%s was moved away, and is made anew; `quicklook query --rebuild` brings there what was before", name_of(self._engine))
            self._engine.dispose()
            self._open()
        lost = self._writer.write(self._gathered)
        self._gathered = []
        return [self._told(event, error) for event, error in lost]

    def _drop(self) -> None:
        """Drop a few of the elements that are kept no longer, if it is time. What cannot be dropped now waits: nothing waits for it."""
        if not self.params.elements_days or time.monotonic() < self._next:
            return
        try:
            self._dropping = self._dropping or Dropping(self._engine, before_days(self.params.elements_days, time.time_ns()))
            if self._dropping.turn():
                return
            if self._dropping.cameras:
                log.info("old elements of %d metrics were dropped", self._dropping.metrics)
        except (Transient, SQLAlchemyError) as error:
            log.warning("old elements of metrics stay until tomorrow: %s", describe(error))
        self._dropping, self._next = None, time.monotonic() + _PERIOD_S

    def _told(self, event: Event, error: Exception) -> Draft:
        log.error("event %d (%s) cannot be stored: %s", event.seq, event.topic, describe(error))
        gave_up = SinkGaveUp(name=self.name, seq=event.seq, failure=Failure.of(error))
        return draft(gave_up, part=event.part, tag=event.tag, revision=event.revision).model_copy(update={"unit": event.unit})

    def close(self) -> None:
        """Let go of the connections."""
        if hasattr(self, "_engine"):
            self._engine.dispose()
