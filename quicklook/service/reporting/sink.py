"""The sink that makes reports: of tests and nights when they are over, of exposures where that is wanted, and the pages that open without a daemon.

It works in a process of its own that stands back, and no verdict ever waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from quicklook.core.events import Draft, Event, Heartbeat, TestDone, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.reporting import ReportDocument, Reporter, reporter
from quicklook.core.sink import Piece, PiecedSink, PoolSize, SinkContext
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import revision_in
from quicklook.service.reporting import index, pictures
from quicklook.service.reporting.exposures import exposure_report
from quicklook.service.reporting.making import check_formats, write_report
from quicklook.service.reporting.nights import night_folder, night_report
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.stored import read_exposure
from quicklook.service.reporting.tested import report_of_test
from quicklook.service.sessions.testruns import TestedRecord, read_record

_FILES_S = 6.0
"""So long is waited for the files of an exposure, which another sink writes; then the report says what is not there."""
_LOOK_S = 0.1
_SETTLED_NS = 600 * 10**9
"""A night is over so long after its last verdict where a later one has begun."""


class ReportParams(Params):
    """Parameters of `reports`."""

    tests: tuple[str, ...] = Field(("pdf", "html"), description="formats of reports of tests: pdf, png, html")
    nights: tuple[str, ...] = Field(("pdf", "html"), description="formats of reports of nights")
    exposures: tuple[str, ...] = Field((), description="formats of reports of exposures; default: none, their pages have the same")
    pages: bool = Field(True, description="whether every exposure gets a page, and nights and tags an index, that open without a daemon")
    plots: int = Field(pictures.MOST, ge=0, le=1000, description="plots in a report, what is not NORMAL first")
    plots_s: float = Field(20.0, ge=0, le=600, description="so long a report waits for plots that are being drawn, s")
    quiet_h: float = Field(4.0, gt=0, le=48, description="a night is over when nothing has come for so many hours")


class ReportSink(PiecedSink[ReportParams]):
    """Writes reports beside what they are of, and answers with an event of kind ``report`` for each file."""

    name = "reports"
    kinds = (UnitDone.kind, TestDone.kind, Heartbeat.kind)

    @property
    def pool(self) -> PoolSize:
        """One process: two would write the same index."""
        return PoolSize(processes=1, nice=10, deadline_s=120.0 + self.params.plots_s)

    @property
    def reports(self) -> tuple[str, ...]:
        """Exposures have pages, tests a file of their own."""
        return (*(("exposures.html",) if self.params.pages else ()), *(f"tests.{format}" for format in self.params.tests))

    def check(self) -> None:
        """Look at the formats. Raises BadConfig."""
        for formats in (self.params.tests, self.params.nights, self.params.exposures):
            check_formats(formats)

    def begin(self, context: SinkContext) -> None:
        """Remember where results lie, and which night has not had its report."""
        self._out, self._tag = Path(context.out), context.tag
        self._nights = self._unreported()

    def open(self, context: SinkContext) -> None:
        """As `begin`; load what sets reports."""
        self.begin(context)
        self._reporter: Reporter = reporter()

    # ---- in the daemon

    def pieces(self, event: Event) -> Sequence[Piece]:
        """What is due: the page of an exposure, the report of a test, that of a night which is over."""
        if event.kind == Heartbeat.kind:
            return self._nights_over(event)
        if event.kind == TestDone.kind:
            return [Piece(name="test", line=f"test {event.payload['run']} {event.payload['name']}", urgent=True)] if self.params.tests else []
        if event.unit is None:
            return []
        if event.tag == self._tag:
            self._nights[Unit.parse(event.unit).night] = event.time
        due = self.params.pages or self.params.exposures
        return [Piece(name="exposure", line=f"exposure {event.tag} {event.unit}")] if due else []

    def _nights_over(self, event: Event) -> list[Piece]:
        if not self.params.nights or not self._nights:
            return []
        latest = max(self._nights)
        over = [n for n, t in self._nights.items() if event.time - t > (_SETTLED_NS if n < latest else self.params.quiet_h * 3.6e12)]
        for night in over:
            del self._nights[night]
        return [Piece(name=f"night {n}", line=f"night {self._tag} {n}", data={"night": n}) for n in over]

    def _unreported(self) -> dict[int, int]:
        """The last night of the tag, where something of it is newer than its report: a daemon that begins again does not forget it."""
        try:
            last = max(p for p in (self._out / self._tag / "exposures").iterdir() if p.name.isdecimal() and len(p.name) == 8)
            changed = max(p.stat().st_mtime_ns for p in last.iterdir() if p.name.isdecimal())
            reports = [p.stat().st_mtime_ns for p in last.glob(f"report-{last.name}*")]
        except (OSError, ValueError):
            return {}
        return {int(last.name): changed} if max(reports, default=0) < changed else {}

    # ---- in its process

    def work(self, event: Event, piece: Piece) -> Sequence[Draft]:
        """Make a piece. Raises Transient where it cannot be written now, BadData where nothing can be read of what it is about."""
        place = ReportPlace(self._out, event.tag)
        try:
            if event.kind == TestDone.kind:
                return self._test(event, place)
            if event.kind == Heartbeat.kind:
                return self._night(ReportPlace(self._out, self._tag), int(piece.data["night"]))
            return self._exposure(event, place, UnitDone.model_validate(event.payload))
        finally:
            place.close()

    def _exposure(self, event: Event, place: ReportPlace, done: UnitDone) -> list[Draft]:
        unit = Unit(done.night, done.expid)
        folder = exposure_folder(self._out, event.tag, unit)
        files = [folder / "verdict.json", *(folder / f"qa-{part}-{unit.expid:08d}.json" for part in done.parts)]
        _await(lambda: (revision_in(files[0]) or 0) >= event.revision and all(f.is_file() for f in files), _FILES_S)
        out: list[Draft] = []
        if self.params.exposures:
            wanted = pictures.of_qas(folder, unit, read_exposure(place, unit).measured)
            _await(lambda: all(w.path.is_file() for w in wanted), self.params.plots_s)
            document = exposure_report(place, unit, most_plots=self.params.plots)
            out = self._written(document, folder, self.params.exposures, str(unit.expid), unit=unit, tag=event.tag, revision=event.revision)
        if self.params.pages:
            index.write_exposure_page(self._reporter, place, unit)
            index.add_exposure(self._reporter, place, done)
        return out

    def _test(self, event: Event, place: ReportPlace) -> list[Draft]:
        done = TestDone.model_validate(event.payload)
        folder = (self._out / done.path).parent
        record = read_record(folder / "test.json", TestedRecord)
        wanted = pictures.by_analysis(self._out, [p.model_dump(mode="json") for p in record.plots]) if record is not None else []
        _await(lambda: all(w.path.is_file() for w in wanted), self.params.plots_s)
        document = report_of_test(place, f"{done.run}/{done.name}", most_plots=self.params.plots)
        out = self._written(document, folder, self.params.tests, done.name, tag=event.tag)
        if self.params.pages:
            index.write_top(self._reporter, place)
        return out

    def _night(self, place: ReportPlace, night: int) -> list[Draft]:
        try:
            document = night_report(place, night, picture=self._reporter.picture)
        finally:
            place.close()
        out = self._written(document, night_folder(place, night), self.params.nights, f"{night:08d}", tag=place.tag)
        if self.params.pages:
            index.write_night(self._reporter, place, night)
            index.write_tag(self._reporter, place)
        return out

    def _written(
        self, document: ReportDocument, folder: Path, formats: Sequence[str], name: str, *, tag: str, unit: Unit | None = None, revision: int = 0
    ) -> list[Draft]:
        made = write_report(self._reporter, document, folder, formats, f"{document.name}.rev{revision}" if revision else "")
        return [draft(one.told(self._out, document.kind, name), unit=unit, tag=tag, revision=revision) for one in made]


def _await(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, so long at most."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(_LOOK_S)
