"""The index that opens without a daemon, the sink that keeps it, and the reports of nights and tests."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from reported import UNIT, Results

from quicklook.core.alarms import AlarmNow
from quicklook.core.errors import BadConfig
from quicklook.core.events import AlarmChanged, Draft, Event, Heartbeat, Payload, Refused, Seen, TestDone, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.plots import Plot
from quicklook.core.reporting import ReportDocument, reporter
from quicklook.core.results import Failure, UnitVerdict
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.sinks import make_sink
from quicklook.service.reporting import place as placing
from quicklook.service.reporting.index import add_exposure, write_all
from quicklook.service.reporting.nights import night_folder, night_report
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.sink import ReportSink
from quicklook.service.rerun.restoring import restore

sys.path.insert(0, str(Path(__file__).parents[1]))
HOUR = 3_600_000_000_000


def dead_links(out: Path) -> list[str]:
    """Links of all pages that lead nowhere, or out of the folder; pictures may still be drawn."""
    bad = []
    for page in out.rglob("index.html"):
        for link in re.findall(r'href="([^"]*)"', page.read_text()):
            target = (page.parent / unquote(link)).resolve()
            if not (target.is_file() and target.is_relative_to(out.resolve())):
                bad.append(f"{page}: {link}")
    return bad


def event(payload: Payload, seq: int, *, time: int = 0, **about: object) -> Event:
    return Event(**draft(payload, **about).model_dump(), epoch="e", seq=seq, time=time)  # type: ignore[arg-type]


def sink_of(results: Results, **params: object) -> ReportSink:
    sink = make_sink("reports", {"plots_s": 0.0, **params})
    assert isinstance(sink, ReportSink)
    sink.open(SinkContext(out=str(results.out)))
    return sink


def done(results: Results) -> UnitDone:
    return UnitDone.model_validate_json((results.folder / "verdict.json").read_bytes())


def test_from_the_top_every_page_is_reached_by_links(results: Results) -> None:
    place = ReportPlace(results.out)
    assert write_all(reporter(), place) == 2
    assert not dead_links(results.out)
    night = (results.out / "live/exposures/20220101/index.html").read_text()
    assert 'href="00000102/index.html"' in night
    assert "ALARM" in night
    assert 'href="live/index.html"' in (results.out / "index.html").read_text()
    assert 'src="plots/' in (results.folder / "index.html").read_text()


def test_one_more_exposure_is_one_more_line_whatever_the_lines_were(results: Results) -> None:
    place, made = ReportPlace(results.out), reporter()
    verdict = done(results)
    kept = results.out / "live/exposures/20220101/.index.json"
    add_exposure(made, place, verdict)
    assert list(json.loads(kept.read_text())) == ["00000102"]
    kept.write_text("[1, {broken")
    add_exposure(made, place, UnitVerdict.model_validate({**verdict.model_dump(), "expid": 101, "status": "NORMAL"}))
    add_exposure(made, place, verdict)
    assert list(json.loads(kept.read_text())) == ["00000101", "00000102"]


def test_hostile_names_are_text_in_every_page(results: Results) -> None:
    nasty = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e"
    results.change("verdict.json", lambda v: v["tags"].update(flavor=nasty, target=nasty, start=nasty, exptime=nasty))
    results.change("decision.json", lambda d: d.update(why=nasty))
    write_all(reporter(), ReportPlace(results.out))
    for page in results.out.rglob("index.html"):
        text = page.read_text()
        assert "<script" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;" in (results.folder / "index.html").read_text()


def test_the_sink_writes_page_and_report_and_says_so(results: Results) -> None:
    sink = sink_of(results, exposures=["pdf"])
    told = sink.accept(event(done(results), 1, unit=UNIT))
    assert [d.kind for d in told] == ["report"]
    assert told[0].payload["path"] == "live/exposures/20220101/00000102/report-00000102.pdf"
    assert told[0].unit == str(UNIT)
    assert (results.folder / "index.html").is_file()
    assert not dead_links(results.out)


def test_a_later_revision_has_a_report_of_its_own(results: Results) -> None:
    results.change("verdict.json", lambda v: v.update(revision=2))
    told = sink_of(results, exposures=["html"], pages=False).accept(event(done(results), 1, unit=UNIT, revision=2))
    assert told[0].payload["path"].endswith("report-00000102.rev2.html")
    assert told[0].revision == 2


def test_a_later_revision_takes_the_place_of_one_that_waits(results: Results) -> None:
    sink = sink_of(results)
    first, second = (sink.pieces(event(done(results), seq, unit=UNIT, revision=seq))[0] for seq in (1, 2))
    assert first.line == second.line


def test_a_night_is_reported_once_when_it_is_quiet_or_the_next_has_begun(results: Results) -> None:
    sink = sink_of(results, quiet_h=2.0)
    beat = Heartbeat(waiting=0, running=0, done=1, failed=0)
    sink._nights.clear()
    sink.pieces(event(done(results), 1, time=HOUR, unit=UNIT))
    assert not sink.pieces(event(beat, 2, time=2 * HOUR))
    (piece,) = sink.pieces(beaten := event(beat, 3, time=4 * HOUR))
    assert piece.data == {"night": 20220101}
    assert not sink.pieces(event(beat, 4, time=5 * HOUR))
    told = sink.work(beaten, piece)
    assert {d.payload["format"] for d in told} == {"pdf", "html"}
    assert (results.out / "live/exposures/20220101/report-20220101.pdf").is_file()
    assert "report-20220101.pdf" in (results.out / "live/exposures/20220101/index.html").read_text()
    sink.pieces(event(done(results), 5, time=6 * HOUR, unit=UNIT))
    later = UnitDone.model_validate({**done(results).model_dump(), "night": 20220102})
    sink.pieces(event(later, 6, time=6 * HOUR, unit=type(UNIT)(20220102, 102)))
    assert [p.data["night"] for p in sink.pieces(event(beat, 7, time=6 * HOUR + HOUR // 5))] == [20220101]


def test_a_daemon_that_begins_again_still_owes_the_night_its_report(results: Results) -> None:
    assert list(sink_of(results)._nights) == [20220101]
    (results.out / "live/exposures/20220101/report-20220101.pdf").write_bytes(b"x")
    assert not sink_of(results)._nights


def test_formats_are_checked_when_the_site_is_read() -> None:
    with pytest.raises(BadConfig, match="docx"):
        make_sink("reports", {"tests": ["docx"]})


def test_the_report_of_a_night(with_run: Results) -> None:
    place = ReportPlace(with_run.out)
    document = night_report(place, 20220101, picture=reporter().picture)
    place.close()
    assert document.status is Status.ALARM
    assert document.headline == "2 exposures: 1 ALARM, 1 NORMAL."
    assert document.reasons[0].text.startswith("102: Call somebody")
    assert [row[0] for row in block_of(document, "Exposures").rows] == ["101", "102"]
    often = {row[0]: row[1:] for row in block_of(document, "What was found most often").rows}
    assert often["read_noise"] == ["1", "0"]
    plots = block_of(document, "Plots")
    assert [Path(f.path).name.rpartition("-")[0] for f in plots.items] == ["statuses", "latency", "housekeeping"]
    assert "the site keeps no store of metrics" in str(document.section("Plots"))


def block_of(document: ReportDocument, title: str) -> Any:
    found = document.section(title)
    assert found is not None
    return found.blocks[0]


def test_metrics_over_a_night_come_from_the_store_with_their_limits(results: Results) -> None:
    restore(str(results.out / "metrics.sqlite"), results.out)
    place = ReportPlace(results.out)
    drawn: dict[str, Plot] = {}
    document = night_report(place, 20220101, picture=lambda plot: drawn.setdefault(plot.name, plot) and reporter().picture(plot))
    place.close()
    assert [f.caption[:7] for f in block_of(document, "Plots").items][-1] == "Metrics"
    panel = next(p for p in drawn["trends-1"].panels if p.title.startswith("read_noise:"))
    assert panel.title == "read_noise: not NORMAL in 1 exposure"
    assert panel.y.unit == "electron"
    assert {b.kind for b in panel.bands} == {"normal", "warning"}
    median, lowest, highest = (layer.y for layer in panel.layers)  # type: ignore[union-attr]
    assert (lowest <= median).all()
    assert (median <= highest).all()
    assert highest[1] > 2 * highest[0]


def test_what_came_and_was_not_judged_is_not_called_normal(results: Results) -> None:
    results.change("verdict.json", lambda v: v.update(status="NORMAL", parts={"r0": "NORMAL"}, reasons=[]))
    failure = Failure(error="BadData", message="it is truncated", what_next="Look at the file.")
    raw = results.out / "raw"

    def refused(night: int, name: str) -> Draft:
        return draft(Refused(file=name, failure=failure, path=str(raw / f"{night}/{name}")))

    def seen(unit: Unit, name: str) -> Draft:
        return draft(Seen(file=name, size=1, parts=["r0"], path=str(raw / f"20220101/{name}")), unit=unit)

    journal = Journal(journal_path(results.out), time.time_ns)
    journal.append([refused(20220101, "a.fits"), refused(20220102, "b.fits"), refused(20220101, "c.fits")])
    journal.append([seen(Unit(20220101, 101), "101.fits"), seen(Unit(20220101, 102), "c.fits"), seen(Unit(20220101, 103), "103.fits")])
    journal.close()
    place = ReportPlace(results.out)
    document = night_report(place, 20220101)
    place.close()
    assert document.status is Status.UNKNOWN
    assert document.headline == "2 exposures: 2 NORMAL; 1 exposure without a verdict; 1 file refused."
    assert [row[0] for row in block_of(document, "Exposures").rows] == ["20220101/00000103", "a.fits"]
    assert "it is truncated" in block_of(document, "Exposures").rows[1][2]
    assert document.reasons[-1].status is Status.UNKNOWN


def test_the_alarms_of_a_night_are_known_however_many_came_later(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "_MOST_EVENTS", 3)
    start = 1_700_000_000 * 10**9
    for expid in (101, 102):
        path = results.folder.parent / f"{expid:08d}/receipt.json"
        path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | {"times_ns": {"verdict": start}}))
    journal = Journal(journal_path(results.out), time.time_ns)
    for n, (key, fired) in enumerate([("amp", start), ("amp", start + HOUR // 20), *((f"later {i}", start + 24 * HOUR) for i in range(5))]):
        alarm = AlarmNow(key=key, fingerprint=f"{n:012d}", rule="r", state="firing", severity=Severity.ALARM, worst=Severity.ALARM, frame=False,
                         what=f"{key} {n}", began=fired, fired=fired)  # fmt: skip
        journal.append([draft(AlarmChanged(name=key, alarm=alarm))])
    journal.close()
    place = ReportPlace(results.out)
    rows = block_of(night_report(place, 20220101), "Alarms").rows
    place.close()
    assert [row[2:4] for row in rows] == [["amp 0", "over"], ["amp 1", "firing"]]


def test_the_log_of_a_night_is_not_that_of_another(with_run: Results) -> None:
    for i, expid in enumerate((101, 102)):
        path = with_run.folder.parent / f"{expid:08d}/receipt.json"
        receipt = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(receipt | {"times_ns": {"verdict": (1_700_000_000 + i) * 10**9}}))
    with (with_run.out / "runs/20200101T000000Z-7/log.txt").open("a") as file:
        for day, word in ((13, "earlier"), (14, "of it"), (15, "later")):
            file.write(f"2023-11-{day} 22:13:20.000Z WARNING quicklook: {word}\n    and more {word}\n")
    place = ReportPlace(with_run.out)
    text = str(night_report(place, 20220101, picture=reporter().picture).section("Log"))
    place.close()
    assert "and more of it" in text
    assert "earlier" not in text
    assert "later" not in text


def test_a_night_whose_plot_cannot_be_written_has_its_report(results: Results) -> None:
    place = ReportPlace(results.out)
    (night_folder(place, 20220101) / "latency-20220101.png").mkdir()
    part = night_report(place, 20220101, picture=lambda _: b"").section("Plots")
    place.close()
    assert "cannot be written" in str(part)


def test_a_test_of_a_session_has_its_report_from_the_daemon(tmp_path: Path) -> None:
    """Zeros of a bench, a daemon that works in this process, the sink in a process of its own."""
    from bench_site import said, turn
    from session_site import session_site, take_zero

    from quicklook.service.daemon import Daemon

    site = session_site(tmp_path, sinks={"files": {}, "reports": {"plots_s": 0.0, "nights": []}}, plots=False)
    daemon = Daemon(site)
    daemon.start()
    try:
        for expid in (1, 2, 3):
            take_zero(tmp_path, expid)
        turn(daemon, lambda: len(said(daemon, "report")) >= 2, 90)
    finally:
        daemon.stop()
    told = {e.payload["format"]: e.payload for e in said_in(site.out, "report")}
    assert told["pdf"]["of"] == "test"
    assert told["pdf"]["name"] == "BIAS01"
    page = (site.out / told["html"]["path"]).read_text()
    for words in ("Test BIAS01", "3 of 3 exposures", "MISSDATA", "read_noise", "Metrics of the exposures", "quicklook aim --test BIAS01"):
        assert words in page
    assert not dead_links(site.out)
    assert TestDone.kind == "test"


def said_in(out: Path, kind: str) -> list[Event]:
    from quicklook.service.journal.journal import Journal, journal_path

    journal = Journal(journal_path(out), lambda: 0, to_read=True)
    found = journal.events(limit=10_000, kinds=(kind,))
    journal.close()
    return found
