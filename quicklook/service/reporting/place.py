"""Where a report looks: the output folder, and what a run of the daemon has left in it of its configuration, its log and its journal.

Each look has a bound, and says what is not there in place of failing: a report is made of what there is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, QuicklookError, describe
from quicklook.core.events import Event
from quicklook.core.housekeeping_watch import HkStoreLike, hk_monitor
from quicklook.io.configfiles import find_config, read_config
from quicklook.service.journal.journal import EVENTS, Journal, journal_path

log = logging.getLogger("quicklook.reports")

_LOG_BYTES = 48 << 20
_LOG_LINES = 120
_MOST_EVENTS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsed:
    """A run of the daemon: its folder, and its site with every default, as it was written when it began (or was reloaded)."""

    path: Path
    site: Path
    settings: dict[str, Any]
    text: str

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what it worked with; empty where it is not kept."""
        with suppress(OSError, ValueError, AttributeError):
            found = json.loads((self.path / "run.json").read_bytes()).get("versions")
            return {str(k): str(v) for k, v in found.items()}
        return {}

    def setting(self, *names: str) -> Any:
        """A setting by the names that lead to it; None where there is none."""
        found: Any = self.settings
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found


@dataclass(frozen=True)
class ReportPlace:
    """An output folder and a tag, looked at for one report. Close it."""

    out: Path
    tag: str = "live"

    @cached_property
    def journal(self) -> Journal | None:
        """The journal, to be read alone; None where there is none that can be."""
        path = journal_path(self.out)
        if not path.is_file():
            return None
        try:
            return Journal(path, lambda: 0, to_read=True)
        except QuicklookError as error:
            log.info("a report is made without the journal: %s", describe(error))
            return None

    def close(self) -> None:
        """Let go of what was opened."""
        if self.__dict__.get("journal") is not None:
            self.__dict__["journal"].close()

    # ---- events

    def events_of(self, unit: str, kinds: Sequence[str]) -> list[Event]:
        """What the journal says of an exposure, in order; nothing where it has forgotten it, or is not there."""
        where = (EVENTS.c.unit == unit, EVENTS.c.tag == self.tag, EVENTS.c.kind.in_(kinds))
        return self._events(sa.select(EVENTS).where(*where).order_by(EVENTS.c.seq).limit(_MOST_EVENTS))

    def of_night(self, night: int, kind: str) -> list[Event]:
        """What the journal says, by events of a kind, of the exposures of a night."""
        where = (EVENTS.c.unit.like(f"{night:08d}/%"), EVENTS.c.tag == self.tag, EVENTS.c.kind == kind)
        return self._events(sa.select(EVENTS).where(*where).order_by(EVENTS.c.seq).limit(_MOST_EVENTS))

    def last_events(self, kind: str) -> list[Event]:
        """The last events of a kind, in order, at most some thousands."""
        query = sa.select(EVENTS).where(EVENTS.c.kind == kind).order_by(EVENTS.c.seq.desc())
        return self._events(query.limit(_MOST_EVENTS))[::-1]

    def events_back(self, kind: str, seconds: float) -> tuple[list[Event], bool]:
        """Events of a kind, in order: the last ones, as many as are read in so many seconds; and whether these are all."""
        found: list[Event] = []
        end, before = time.monotonic() + seconds, 2**62
        while time.monotonic() < end:
            query = sa.select(EVENTS).where(EVENTS.c.kind == kind, EVENTS.c.seq < before).order_by(EVENTS.c.seq.desc()).limit(_MOST_EVENTS)
            batch = self._events(query)
            found += batch
            if len(batch) < _MOST_EVENTS:
                return found[::-1], True
            before = batch[-1].seq
        return found[::-1], False

    def _events(self, query: sa.Select[Any]) -> list[Event]:
        if self.journal is None:
            return []
        out = []
        try:
            with self.journal.reading() as connection:
                for row in connection.execute(query):
                    fields = dict(row._mapping)
                    with suppress(ValueError):
                        out.append(Event(epoch=self.journal.epoch, **{**fields, "payload": json.loads(fields["payload"])}))
        except QuicklookError as error:
            log.info("a report is made without the journal: %s", describe(error))
        return out

    # ---- runs of the daemon

    def run_at(self, time_ns: int | None) -> RunUsed | None:
        """The run that worked then (the last one without a time); None where none was kept."""
        stamp = datetime.fromtimestamp((time_ns or 2**62) / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ") if time_ns else "9"
        with suppress(OSError):
            runs = sorted(p for p in (self.out / "runs").iterdir() if not p.is_symlink() and (p / "site.yaml").is_file())
            for path in reversed(runs):
                if path.name[:16] <= stamp:
                    return _run_in(path, time_ns)
        return None

    def log_lines(self, run: RunUsed | None, words: Sequence[str], span_ns: tuple[int, int] | None = None) -> tuple[list[str], int]:
        """Lines of the log of a run in which one of these words stands, with the lines that belong to them; and how many earlier ones are left out.
        `span_ns`: those of this time alone (UTC)."""
        bounds = tuple(f"{datetime.fromtimestamp(t / 1e9, UTC):%Y-%m-%d %H:%M:%S}".encode() for t in span_ns) if span_ns is not None else ()
        found: list[str] = []
        for path in _logs(run.path) if run is not None else ():
            if found and not bounds and _moved(path):
                break  # what is older is of others, as a rule
            found = [*_lines_with(path, words, bounds), *found]
        return found[-_LOG_LINES:], max(len(found) - _LOG_LINES, 0)

    # ---- housekeeping

    def hk_store(self, run: RunUsed | None) -> HkStoreLike:
        """The store of samples of a run. Raises BadConfig, with the reason, where there is none that can be read."""
        config = run.setting("housekeeping", "config") if run is not None else None
        if run is None:
            raise BadConfig("no configuration of a run is kept in the output folder, so that it is not known which housekeeping was watched")
        if not config:
            raise BadConfig("the site names no housekeeping, so none was watched")
        store = Path(str(run.setting("housekeeping", "store") or self.out / "hk.sqlite"))
        if not store.is_file():
            raise BadConfig(f"the store of samples {store} is not there")
        return hk_monitor().store(find_config("hk", str(config)), store)


def _run_in(path: Path, time_ns: int | None) -> RunUsed | None:
    """With the site as it was at that time: after a reload there are several."""
    sites = sorted(path.glob("site*.yaml"), key=lambda p: p.stat().st_mtime_ns)
    before = [p for p in sites if time_ns is None or p.stat().st_mtime_ns <= time_ns]
    site = (before or sites[:1])[-1]
    try:
        data = read_config(site).data
        return RunUsed(path=path, site=site.absolute(), settings=dict(data), text=site.read_text(encoding="utf-8", errors="replace"))
    except (BadConfig, OSError) as error:
        log.info("the configuration of a run cannot be read: %s", describe(error))
        return None


def _logs(folder: Path) -> list[Path]:
    """The logs of a run, the latest first: a long one was moved away as log.txt.1, which then became log.txt.2, and so on."""
    found = [p for pattern in ("log.txt*", "log.jsonl*", "*.log") for p in folder.glob(pattern)]
    return sorted(found, key=lambda p: (_moved(p), p.name))


def _moved(log_file: Path) -> int:
    """How often a log was moved away; 0: it is written."""
    return int(log_file.suffix[1:]) if log_file.suffix[1:].isdecimal() else 0


def _lines_with(path: Path, words: Sequence[str], bounds: Sequence[bytes] = ()) -> Iterator[str]:
    """Lines in which a word stands, and the indented ones that follow them. Of a long log its end is read. `bounds`: first and last time of them."""
    wanted = [w.encode() for w in words]
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - _LOG_BYTES, 0))
            taking = False
            for line in file:
                taking = any(w in line for w in wanted) or (taking and line[:1] in b" \t")
                if bounds and line[:1].isdigit():
                    taking = taking and bounds[0] <= line[:19] <= bounds[1]
                if taking:
                    yield line.decode(errors="replace").rstrip("\n")[:2000]
    except OSError:
        return
