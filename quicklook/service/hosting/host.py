"""The host of the live page (see `quicklook.core.hosting.Host`): all comes from the journal and the files of results, and nothing is written."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from quicklook.core.alarms import ReportCard
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.events import Event, Heartbeat, HkChanged
from quicklook.core.hosting import (
    About,
    AlarmsNow,
    CalibrationLine,
    DiskNow,
    ExposureNow,
    FileRef,
    HkFiles,
    JobLine,
    NightCount,
    Role,
    UnitLine,
)
from quicklook.core.housekeeping import HkChange
from quicklook.core.keys import Unit
from quicklook.core.provenance import versions
from quicklook.core.results import QAResult
from quicklook.core.validation import validate
from quicklook.core.wire import CommandAnswer, State
from quicklook.io.calib import open_index
from quicklook.io.calibentry import nights_text
from quicklook.io.configfiles import find_config
from quicklook.io.history import FileHistory
from quicklook.io.metricstore import MetricStore
from quicklook.io.metricstore.place import StoreParams
from quicklook.io.reader import camera_tags, open_reader
from quicklook.service.alarms.report import DAY_NS, report_card
from quicklook.service.hosting import exposures, filed, nights
from quicklook.service.hosting.acting import Acting
from quicklook.service.hosting.alarmsread import AlarmReader
from quicklook.service.hosting.journalreader import JournalReader
from quicklook.service.journal import jobview
from quicklook.service.journal.journal import EVENTS, JOBS, Journal, daemon_lives
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.running.hkplace import hk_place
from quicklook.service.running.runfolder import latest_run
from quicklook.service.site import Site

_LAST_BEAT = sa.select(EVENTS.c.time).where(EVENTS.c.kind == Heartbeat.kind).order_by(EVENTS.c.seq.desc()).limit(1)
_PARTS = sa.select(JOBS.c.part).where(JOBS.c.tag == sa.bindparam("of_tag"), JOBS.c.part != "").distinct()
_METRICS = "metrics"
_TAIL_BYTES = 131_072
_PAGE = 2000


class JournalHost:
    """Shows a site, whether a daemon works there or not."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reader = JournalReader(site.out)
        self._acting = Acting(site)
        self._known = ("", nights.UnitEvents(), nights.NightStatuses())
        self._lock = threading.Lock()
        self._alarms = AlarmReader(self._reader)
        self._metrics: MetricStore | None = None
        self._hk: tuple[str, int, dict[str, HkChange]] = ("", 0, {})

    def _tag(self, tag: str) -> str:
        return tag or self._site.file.tag

    # ---- what is shown, and to whom

    def about(self) -> About:
        """What is shown."""
        site, instrument = self._site, self._site.instrument
        tags = sorted({*FileHistory(site.out).tags(), site.file.tag})
        cameras = list(instrument.cameras.expected)
        return About(
            instrument=instrument.name, site=site.source, out=str(site.out), tag=site.file.tag, tags=tags, cameras=cameras,
            groups={c: camera_tags(instrument, c) for c in cameras or self._seen_cameras()}, versions=versions(("plotly", "starlette")),
            acts=self._acting.why_not(),
        )  # fmt: skip

    def _seen_cameras(self) -> list[str]:
        """Cameras that have come, where nobody has said which there are."""
        try:
            with self._reader.reading() as connection:
                return sorted(str(part) for part in connection.execute(_PARTS, {"of_tag": self._site.file.tag}).scalars())
        except NotReadyYet:
            return []

    def role(self, token: str) -> Role:
        """What somebody may do who gives this token."""
        return self._acting.role(token)

    # ---- events

    def epoch(self) -> str:
        """The journal's."""
        return self._reader.journal().epoch

    def changed(self) -> object:
        """Differs from before wherever something was written."""
        return self._reader.changed()

    def last_seq(self) -> int:
        """Number of the last event."""
        return self._reader.journal().last_seq()

    def events(self, after: int, *, limit: int = 1000, kinds: Sequence[str] = (), brief: bool = False) -> list[Event]:
        """Events above a number, in order."""
        return self._reader.events(after, limit, kinds, brief=brief)

    def lives(self) -> bool:
        """Whether a daemon works now; not, where this user cannot see that: then its sign of life tells."""
        try:
            return daemon_lives(self._site.out)
        except BadConfig:
            return False

    def heartbeat_ns(self) -> int | None:
        """When the daemon last gave a sign of life."""
        with self._reader.reading() as connection:
            found = connection.execute(_LAST_BEAT).scalar()
        return int(found) if found is not None else None

    # ---- state, nights, exposures

    def _journal(self) -> tuple[Journal, nights.UnitEvents, nights.NightStatuses]:
        """The journal, with what is known of it: the number of an event says nothing of another journal."""
        journal = self._reader.journal()
        with self._lock:
            if self._known[0] != journal.epoch:
                self._known = (journal.epoch, nights.UnitEvents(), nights.NightStatuses())
            return journal, *self._known[1:]

    def state(self, tag: str = "", units: int = 20) -> State:
        """The state of things when the last event was written."""
        return state_of(self._reader.journal(), units=units, tag=self._tag(tag))

    def nights(self, tag: str = "") -> list[NightCount]:
        """Nights with exposures, the latest first."""
        journal, _, statuses = self._journal()
        with journal.reading() as connection:
            found = nights.nights(connection, statuses, self._tag(tag))
        return found or filed.nights_on_disk(self._site.out, self._tag(tag))

    def night(self, night: int, tag: str = "") -> list[UnitLine]:
        """Exposures of a night, the latest first."""
        journal, known, _ = self._journal()
        with journal.reading() as connection:
            found = nights.night_lines(connection, known, night, self._tag(tag))
        return found or filed.night_on_disk(self._site.out, night, self._tag(tag))

    def latest(self, tag: str = "") -> Unit | None:
        """The exposure that arrived last."""
        with self._reader.reading() as connection:
            return nights.latest_unit(connection, self._tag(tag))

    def exposure(self, unit: Unit, tag: str = "", revision: int | None = None) -> ExposureNow:
        """An exposure."""
        out, named = self._site.out, self._tag(tag)
        with self._reader.reading() as connection:
            found = exposures.exposure_in_journal(connection, unit, named, revision, out)
        found = found or filed.exposure_on_disk(out, unit, named, revision)
        if found is None:
            raise exposures.not_known(unit, named, revision)
        return found.model_copy(update={"tags_with_it": sorted({*filed.tags_with(out, unit), named})})

    def qas(self, unit: Unit, part: str, tag: str = "", revision: int | None = None) -> list[QAResult]:
        """Results of the QAs of a camera, or of the exposure as a whole (part "")."""
        with self._reader.reading() as connection:
            found = exposures.qas_in_journal(connection, unit, part, self._tag(tag), revision)
        return found or filed.qas_on_disk(self._site.out, unit, part, self._tag(tag), revision)

    def files(self, unit: Unit, tag: str = "", kind: str = "", part: str | None = None, revision: int | None = None) -> list[FileRef]:
        """Files of an exposure that are there, of a kind and a camera."""
        out, named = self._site.out, self._tag(tag)
        with self._reader.reading() as connection:
            found, known_there = exposures.files_in_journal(connection, unit, named, revision, out, kind, part)
        if not known_there and revision is None:
            shown_parts = list(self._site.instrument.cameras.expected)
            known = filed.exposure_on_disk(out, unit, named, None) if not found else None
            found = [*found, *filed.files_on_disk(out, unit, named, list(known.parts) if known else shown_parts)]
        if kind == "raw" and not any(f.kind == kind for f in found):
            found = filed.raw_files(self._site, unit)  # of a processing that the journal does not know, or moved since
        return [f for f in found if kind in ("", f.kind) and part in (None, f.part)]

    # ---- alarms, housekeeping, jobs, disks

    def alarms(self, past: int = 200) -> AlarmsNow:
        """Alarms, with so many of the last incidents."""
        found = self._alarms.read()
        latest = list(found.past)[::-1][: max(0, past)]
        return AlarmsNow(now=list(found.now), mutes=list(found.mutes), past=latest, past_total=len(found.past))

    def alarm_report(self, days: float) -> ReportCard:
        """The report card of the alarms that fired in the last so many days."""
        now = time.time_ns()
        return report_card(self._alarms.read().past, now - round(days * DAY_NS), now)

    def housekeeping(self) -> HkFiles | None:
        """What is watched; None where nothing is."""
        place = hk_place(self._site.file.housekeeping, self._site.out)
        return HkFiles(config=find_config("hk", place.config), store=place.store) if place is not None else None

    def hk_states(self) -> dict[str, HkChange]:
        """How each thing of housekeeping stands, by subject."""
        epoch = self.epoch()
        with self._lock:
            known, after, states = self._hk if self._hk[0] == epoch else (epoch, 0, {})
            while page := self._reader.events(after, _PAGE, (HkChanged.kind,), brief=False):
                for event in page:
                    states |= {c.subject: c for c in HkChanged.model_validate(event.payload).changes}
                after = page[-1].seq
            self._hk = (known, after, states)
            return dict(states)

    def jobs(self, states: Sequence[str], limit: int = 200) -> list[JobLine]:
        """Jobs in these states, the newest first."""
        with self._reader.reading() as connection:
            found = jobview.list_jobs(connection, tag=self._site.file.tag, states=states, limit=limit)
        return [JobLine(**{name: getattr(job, name) for name in JobLine.model_fields}) for job in found]

    def disks(self) -> list[DiskNow]:
        """Room on the disks that are written to and read from."""
        found = []
        for what, path in (("results", str(self._site.out)), ("raw files", self._site.file.raw), ("calibrations", self._site.file.calib)):
            try:
                usage = shutil.disk_usage(path) if path else None
            except OSError:
                continue
            if usage is not None:
                found.append(DiskNow(what=what, path=path, free_gb=usage.free / 1e9, total_gb=usage.total / 1e9))
        return found

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of the log of the daemon."""
        run = latest_run(self._site.out)
        for path in (run.log_file("console"), run.log_file("json")) if run is not None else ():
            try:
                with path.open("rb") as file:
                    file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                    return file.read(_TAIL_BYTES).decode(errors="replace").splitlines()[-lines:]
            except OSError:
                continue
        return []

    def calibrations(self) -> list[CalibrationLine]:
        """The index of calibrations."""
        if not self._site.file.calib:
            return []
        return [
            CalibrationLine(
                kind=e.of_kind, part=", ".join(e.camera), path=e.path, valid=nights_text(e.valid_from, e.valid_to), quality=e.quality,
                made_from=", ".join(map(str, e.made_from)),
            )
            for e in open_index(self._site.file.calib).entries()
        ]  # fmt: skip

    # ---- what people do

    def command(self, name: str, args: Mapping[str, str], by: str) -> CommandAnswer:
        """Give the daemon a command in the name of a person."""
        return self._acting.command(name, args, by, lives=self.lives())

    def show(self, unit: Unit, part: str, product: str, tag: str = "") -> str:
        """Send a frame to the DS9 of the site."""
        return self._acting.show(unit, part, product, self._tag(tag))

    # ---- for pages that look into files

    def reader(self) -> Any:
        """The reader of raw files of the instrument."""
        return open_reader(self._site.instrument)

    def metrics(self) -> Any:
        """The store of metrics, open to read."""
        with self._lock:
            if self._metrics is not None and self._metrics.replaced:
                self._metrics.close()  # who reads it now reads it to the end
                self._metrics = None
            if self._metrics is None:
                self._metrics = MetricStore(self._metrics_place(), to_read=True)
            return self._metrics

    def _metrics_place(self) -> str:
        """Where the sink `metrics` of the site writes. Raises NotReadyYet where it has none."""
        params = self._site.file.sinks.get(_METRICS)
        if params is None:
            raise NotReadyYet("the site keeps no store of metrics", what_next="Name the sink `metrics` under `sinks` of the site.")
        return validate(StoreParams, self._site.document, ("sinks", _METRICS), params).address(self._site.out)

    def close(self) -> None:
        """Let go of everything."""
        self._reader.close()
        with self._lock:
            if self._metrics is not None:
                self._metrics.close()
