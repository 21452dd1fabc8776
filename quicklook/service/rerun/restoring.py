"""A metrics store filled from what is there: stored results of all tags, then the journal, which knows times, tests and persons."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.keys import Unit
from quicklook.core.validation import validate
from quicklook.io.history import FileHistory
from quicklook.io.metricstore.fromfiles import stored_events
from quicklook.io.metricstore.opening import open_store
from quicklook.io.metricstore.place import StoreParams, StorePlace
from quicklook.io.metricstore.writing import KINDS, Writer
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.site import Site, load_site

log = logging.getLogger("quicklook.metrics")

SINK = "metrics"
"""The sink of a site whose parameters say where the store is."""
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was filled in: exposures from files, events from the journal, and what could not be stored or read, in sentences."""

    exposures: int
    events: int
    left_out: tuple[str, ...]


def restore(url: str, out: Path, tell: Callable[[str], None] = lambda _text: None) -> Restored:
    """Fill a store, which is made where there is none. What it has already stays, and is not doubled. Raises BadConfig, Transient."""
    engine = open_store(url, to_read=False)
    writer = Writer(engine, out)
    left_out: list[str] = []
    try:
        exposures = _from_files(writer, out, left_out, tell)
        events = _from_journal(writer, out, left_out, tell)
    finally:
        engine.dispose()
    return Restored(exposures=exposures, events=events, left_out=tuple(left_out))


def _from_files(writer: Writer, out: Path, left_out: list[str], tell: Callable[[str], None]) -> int:
    history, count = FileHistory(out), 0
    for tag in history.tags():
        for events in stored_events(out, history, tag):
            left_out += [f"{event.unit} {event.topic}: {describe(error)}" for event, error in writer.write(events)]
            count += bool(events)
            if count % 50 == 0 and events:
                tell(f"{count} exposures")
    left_out += history.skipped
    return count


def _from_journal(writer: Writer, out: Path, left_out: list[str], tell: Callable[[str], None]) -> int:
    path = journal_path(out)
    if not path.is_file():
        return 0
    journal, after, count = Journal(path, time.time_ns, to_read=True), 0, 0
    try:
        while events := journal.events(after, limit=_BATCH, kinds=KINDS):
            left_out += [f"event {event.seq} ({event.topic}): {describe(error)}" for event, error in writer.write(events)]
            after, count = events[-1].seq, count + len(events)
            tell(f"{count} events")
    finally:
        journal.close()
    return count


def note_exposures(site: Site, tag: str, units: Collection[Unit]) -> str:
    """Bring stored results of exposures into the store of a site, where it has one already; returns why that was not possible, or ""."""
    try:
        url = store_of(site) if units else None
        if url is None or ("://" not in url and not Path(url).is_file()):
            return ""
        engine = open_store(url, to_read=False)
        try:
            writer = Writer(engine, site.out)
            lost = [e for events in stored_events(site.out, FileHistory(site.out), tag, units) for e in writer.write(events)]
        finally:
            engine.dispose()
    except (BadConfig, Transient) as error:
        return f"the metrics store has not got these results: {describe(error)}; `quicklook query --rebuild` brings them there"
    return f"{len(lost)} of these results cannot be stored in the metrics store: {describe(lost[0][1])}" if lost else ""


def store_of(site: Site) -> str | None:
    """The address of the store of a site, not to be shown; None where it has none. Raises BadConfig."""
    params = site.file.sinks.get(SINK)
    return None if params is None else _place(params).address(site.out)


def _place(params: Mapping[str, Any]) -> StoreParams:
    return validate(StoreParams, Document.from_data({SINK: params}, f"sink {SINK}"), (SINK,))


def place_of_store(store: str, site: Path | None, out: Path | None) -> tuple[str, Path, str]:
    """The address of the store that is named, or of the one of a site; the output folder; the tag of the site. Raises BadConfig."""
    folder, tag, params = out or Path("quicklook-out"), "live", {}
    if site is not None:
        described = load_site(site, options={"out": str(out)} if out else {})
        folder, tag, params = described.out, described.file.tag, described.file.sinks.get(SINK, {})
    place = StorePlace(url=store) if store else _place(params)
    return place.address("." if store else folder), folder, tag
