"""The report of an exposure: what it says of a real result, and of one that lacks parts."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reported import UNIT, Results

from quicklook.core.errors import BadData
from quicklook.core.events import HkChanged, JobFailed, draft
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.keys import Unit
from quicklook.core.reporting import Grid, ReportDocument, Section, reporter
from quicklook.core.results import Failure
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.reporting.exposures import exposure_report
from quicklook.service.reporting.index import write_exposure_page
from quicklook.service.reporting.making import write_report
from quicklook.service.reporting.place import ReportPlace


def report(results: Results, **options: bool) -> ReportDocument:
    place = ReportPlace(results.out)
    try:
        return exposure_report(place, UNIT, **options)  # type: ignore[arg-type]
    finally:
        place.close()


def section(document: ReportDocument, title: str) -> Section:
    found = document.section(title)
    assert found is not None
    return found


def grids(part: Section) -> list[Grid]:
    return [b for b in part.blocks if isinstance(b, Grid)]


def absent(part: Section) -> str:
    return " ".join(b.text for b in part.blocks if b.block == "absent")


def test_the_front_page_has_verdict_decision_and_reasons(results: Results) -> None:
    document = report(results)
    assert document.status is Status.ALARM
    assert document.headline.startswith("Call somebody: ")
    assert document.action
    assert any(s.status is Status.ALARM and "read_noise" in s.text for s in document.reasons)
    assert {f.name: f.value for f in document.facts}["flavor"] == "zero"


def test_what_is_out_of_limits_comes_first_with_value_unit_and_ranges(results: Results) -> None:
    (grid,) = grids(section(report(results), "Out of limits"))
    first = dict(zip((c.title for c in grid.columns), grid.rows[0], strict=True))
    stored = json.loads((results.folder / "qa-r0-00000102.json").read_text())
    metric = next(m for q in stored["qas"] for m in q["metrics"] if m["name"] == first["metric"])
    assert metric["status"] == first["status"] == "ALARM"
    assert float(first["value"]) == pytest.approx(metric["values"][metric["worst"]], rel=1e-3)
    assert first["unit"] == (metric["unit"] or "–")
    noise = next(r for r in grid.rows if r[2] == "read_noise")
    assert noise[4:7] == ["electron", "1.1 to 4.1", "0.6 to 4.6"]


def test_every_metric_that_has_values_is_in_a_group_with_a_unit(results: Results) -> None:
    stored = json.loads((results.folder / "qa-r0-00000102.json").read_text())
    wanted = {m["name"] for q in stored["qas"] for m in q["metrics"] if m["values"] and not m["not_applicable"]}
    tables = [g for g in grids(section(report(results), "Metrics")) if len(g.columns) == 10]
    rows = [row for grid in tables for row in grid.rows]
    assert wanted <= {row[0] for row in rows}
    assert all(row[2] for row in rows)
    ccds = next(g for g in tables if g.title == "CCDs")
    assert ccds.rows[0][-1] == "ALARM"


def test_calibrations_versions_and_how_it_is_done_again(with_run: Results) -> None:
    document = report(with_run)
    kinds = {row[0]: row[2] for row in grids(section(document, "Calibrations"))[0].rows}
    assert float(kinds["bias"]) > 0
    assert any(row[0] == "numpy" for row in grids(section(document, "Versions"))[0].rows)
    text = section(document, "How to do it again").blocks[0].text  # type: ignore[union-attr]
    assert "quicklook aim --night 20220101 --expid 102 --tag again-102" in text
    assert f"quicklook run zero {with_run.raw} --camera r0" in text


def test_the_log_has_the_lines_on_the_exposure_alone(with_run: Results) -> None:
    text = section(report(with_run), "Log").blocks[0].text  # type: ignore[union-attr]
    assert "ALARM" in text
    assert "something else" not in text
    assert "not of it" not in text


def test_housekeeping_of_its_time_without_fill_values(with_run: Results) -> None:
    row = grids(section(report(with_run), "Housekeeping"))[0].rows[0]
    assert row[:7] == ["TEMP", "degC", "4", "1", "4", "6", "8"]


def test_a_channel_without_a_sample_is_unknown(with_run: Results) -> None:
    with_run.change("verdict.json", lambda v: v["tags"].update(start="2021-01-01T00:00:00+00:00"))
    part = section(report(with_run), "Housekeeping")
    assert not grids(part)
    assert "Unknown: no sample in that time of TEMP" in absent(part)
    assert "No limit" not in str(part)


def judged(results: Results, *states: tuple[float, HkState]) -> None:
    """Put changes of the limit into the journal: seconds after the beginning of the exposure, and to which state."""
    change = HkChange(
        subject="TEMP/warm", channel="TEMP", limit="warm", kind="limit", state=HkState.NORMAL, before=HkState.NORMAL, severity=Severity.WARNING,
        time=0.0, since=0.0,
    )  # fmt: skip
    journal = Journal(journal_path(results.out), time.time_ns)
    for after, state in states:
        journal.append([draft(HkChanged(changes=[replace(change, state=state, time=results.span()[0] + after)]))])
    journal.close()


def test_a_limit_violated_for_a_part_of_the_exposure_is_told(with_run: Results) -> None:
    with_run.change("verdict.json", lambda v: v["tags"].update(exptime="100"))
    judged(with_run, (-50.0, HkState.NORMAL), (10.0, HkState.VIOLATING), (20.0, HkState.NORMAL))
    part = section(report(with_run), "Housekeeping")
    assert "Out of limits" in str(part)
    assert "No limit" not in str(part)


def test_where_nobody_judged_housekeeping_nothing_is_called_good(with_run: Results) -> None:
    for states in ((), ((5000.0, HkState.NORMAL),)):  # said of a later time
        judged(with_run, *states)
        part = section(report(with_run), "Housekeeping")
        assert "does not say (any more) whether limits were kept" in absent(part)
        assert "No limit" not in str(part)
    judged(with_run, (-60.0, HkState.NORMAL))
    assert "No limit was reported as violated" in str(section(report(with_run), "Housekeeping"))
    judged(with_run, (-50.0, HkState.UNKNOWN))
    assert "could not be judged: TEMP/warm" in absent(section(report(with_run), "Housekeeping"))


def test_no_secret_of_the_log_is_in_a_report_or_a_page(with_run: Results, tmp_path: Path) -> None:
    assert "hunter2" in str(section(report(with_run), "Log"))
    place = ReportPlace(with_run.out)
    page = write_exposure_page(reporter(), place, UNIT).read_text()
    place.close()
    made = write_report(reporter(), report(with_run), tmp_path / "to", ("html",))[0].path.read_text()
    for text in (page, made):
        assert "read_noise" in text
        assert "hunter2" not in text


def test_commands_hold_in_every_folder(with_run: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(with_run.out.parent)
    text = str(section(report(Results(Path("out"), with_run.raw)), "How to do it again"))
    assert f"--site {with_run.out}/runs" in text


def test_a_qa_that_failed_is_named_where_limits_are(results: Results) -> None:
    def fail(data: dict[str, Any]) -> None:
        qa = next(q for q in data["qas"] if q["metrics"])
        qa.update(metrics=[], failure={"error": "BadData", "message": "no light", "what_next": ""})

    results.change("qa-r0-00000102.json", fail)
    assert "1 QA could not measure" in absent(section(report(results), "Out of limits"))


@pytest.mark.parametrize("times", [[], {"verdict": 10**30}, {"verdict": "now"}])
def test_a_broken_receipt_costs_its_times_alone(results: Results, times: object) -> None:
    results.change("receipt.json", lambda r: r.update(times_ns=times))
    assert "verdict given" not in {f.name for f in report(results).facts}


def test_plots_are_drawn_where_they_are_there_as_data_and_absent_else(results: Results) -> None:
    assert "not drawn" in absent(section(report(results), "Plots")) or "is drawn" in absent(section(report(results), "Plots"))
    figures = section(report(results, draw=True), "Plots").blocks[0].items  # type: ignore[union-attr]
    assert figures[0].status is Status.ALARM  # type: ignore[union-attr]
    drawn = next((results.folder / "plots").glob("read_noise-*.png"))
    drawn.write_bytes(drawn.read_bytes()[:-20])
    left = section(report(results), "Plots")
    assert str(drawn) not in {f.path for f in left.blocks[0].items}  # type: ignore[union-attr]


def test_what_is_not_there_is_said_and_nothing_is_invented(results: Results) -> None:
    for name in ("decision.json", "receipt.json"):
        (results.folder / name).unlink(missing_ok=True)
    document = report(results)
    assert document.headline == "The verdict is ALARM; no decision was made."
    assert absent(section(document, "Latency receipt")) == "There is no receipt."
    assert "not known" in {f.value for f in document.facts}
    assert "no configuration of a run is kept" in absent(section(document, "Housekeeping"))
    assert "no log of a run is kept" in absent(section(document, "Log"))
    assert "does not say (any more)" in absent(section(document, "Input"))


def test_a_camera_whose_result_is_broken_is_named(results: Results) -> None:
    (results.folder / "qa-r0-00000102.json").write_text("{ broken")
    document = report(results)
    assert document.status is Status.ALARM
    assert grids(section(document, "Cameras"))[0].rows[0][2:] == ["no result", "no merged QA of it can be read"]
    assert "qa-r0-00000102.json is left out" in absent(section(document, "Cameras"))
    (results.folder / "verdict.json").write_text("[]")
    with pytest.raises(BadData, match="no result that can be read"):
        report(results)


def test_without_a_verdict_what_the_cameras_gave_is_reported_as_unknown(results: Results) -> None:
    (results.folder / "verdict.json").unlink()
    document = report(results)
    assert document.status is Status.UNKNOWN
    assert document.headline.startswith("No verdict was reached")
    assert Status.NORMAL not in {r.status for r in document.reasons}
    assert Status.ALARM in {r.status for r in document.reasons}
    results.change("qa-r0-00000102.json", lambda r: r.update(reasons=[], status="UNKNOWN"))
    assert {r.status for r in report(results).reasons} == {Status.UNKNOWN}


def test_an_exposure_that_is_not_there(results: Results) -> None:
    with pytest.raises(BadData, match="has no result"):
        exposure_report(ReportPlace(results.out), Unit(20220101, 999))


def test_a_reason_of_an_older_revision_is_not_taken_for_this_one(results: Results) -> None:
    results.change("decision.json", lambda d: d.update(revision=7))
    assert report(results).headline == "The verdict is ALARM; no decision was made."


def test_cameras_in_which_it_is_just_the_same_share_a_row(results: Results) -> None:
    text = (results.folder / "qa-r0-00000102.json").read_text()
    for other in ("r1", "r2"):
        (results.folder / f"qa-{other}-00000102.json").write_text(text.replace('"part": "r0"', f'"part": "{other}"'))
    rows = grids(section(report(results), "Out of limits"))[0].rows
    assert [row[1] for row in rows if row[2] == "read_noise"] == ["r0-r2"]
    metrics = next(g for g in grids(section(report(results), "Metrics")) if g.title == "CCDs")
    assert [row[1] for row in metrics.rows if row[0] == "read_noise"] == ["all 3"]


def test_a_picture_broken_in_its_middle_costs_the_pictures_and_not_the_report(results: Results, tmp_path: Path) -> None:
    document = report(results, draw=True)
    drawn = next((results.folder / "plots").glob("read_noise-*.png"))
    data = bytearray(drawn.read_bytes())
    data[60:-20] = bytes(len(data) - 80)
    drawn.write_bytes(bytes(data))
    told: list[str] = []

    class Watched:
        def pdf(self, document: ReportDocument) -> bytes:
            told.append(absent(section(document, "Plots")))
            return reporter().pdf(document)

    (made,) = write_report(Watched(), document, tmp_path, ["pdf"])  # type: ignore[arg-type]
    assert made.path.read_bytes()[:5] == b"%PDF-"
    assert "The pictures are left out" in told[-1]


def front(results: Results) -> list[str]:
    return [s.text for s in report(results).reasons]


def test_what_is_good_says_why_and_repeats_nothing(results: Results) -> None:
    good = {"status": "NORMAL", "reasons": []}
    results.change("verdict.json", lambda v: v.update(good, parts={"r0": "NORMAL"}))
    results.change("decision.json", lambda c: c.update(good, decision="go_on", why="all is within its limits", action="Go on.", also=[], goals=[], causes=[]))
    found = report(results)
    assert [s.text for s in found.reasons] == ["Everything that was judged is within its limits."]
    assert (found.headline, found.action) == ("Go on: all is within its limits", "")


def test_likely_causes_stand_on_the_front_page(results: Results) -> None:
    results.change("decision.json", lambda c: c.update(causes=["TEMP was 12 degC (normal: -10 to 10)"]))
    assert "Likely cause: TEMP was 12 degC (normal: -10 to 10)" in front(results)


def test_a_front_page_has_room_for_the_worst_reasons_alone(results: Results) -> None:
    reasons = ["ALARM: r0: a", *(f"UNKNOWN: r0: metric {i} was not measured" for i in range(30))]
    results.change("decision.json", lambda c: c.update(reasons=reasons))
    told = front(results)
    assert told[0] == "ALARM: r0: a"
    assert sum(text.startswith("UNKNOWN") for text in told) == 8
    assert any(text.startswith("22 more reasons") for text in told)


def test_of_cameras_without_a_result_nothing_is_said_to_be_within_limits(with_run: Results) -> None:
    (with_run.folder / "qa-r0-00000102.json").unlink()
    journal = Journal(journal_path(with_run.out), time.time_ns)
    failure = Failure(error="MissingCalibration", message="there is no bias", what_next="Make one.")
    journal.append([draft(JobFailed(failure=failure, attempts=1), unit=UNIT, part="r0")])
    journal.close()
    found = report(with_run)
    assert "r0 gave no result" in absent(section(found, "Out of limits"))
    assert grids(section(found, "Cameras"))[0].rows[0][3] == "processing failed: there is no bias. Make one."
    assert "Not processed: r0: there is no bias. Make one." in [s.text for s in found.reasons]


def test_what_one_dead_amplifier_hides_is_one_row(results: Results) -> None:
    def unmeasured(data: dict[str, Any]) -> None:
        for qa in data["qas"]:
            for metric in qa["metrics"]:
                if metric["name"] in ("read_noise", "bias_level"):
                    values, statuses = metric["values"], metric["statuses"]
                    values[1], statuses[1] = None, "UNKNOWN"
                    remark = {"at": ["B"], "text": "the amplifier is dead"}
                    metric.update(status="UNKNOWN", worst=1, values=values, statuses=statuses, remarks=[remark])

    results.change("qa-r0-00000102.json", unmeasured)
    found = {grid.title: grid for grid in grids(section(report(results), "Out of limits"))}
    row = next(r for r in found["Not measured, though it should have been"].rows if r[3] == "the amplifier is dead")
    assert row[:3] == ["UNKNOWN", "r0", "amp B"]
    assert set(row[4].split(", ")) == {"read_noise", "bias_level"}


def test_headers_that_differ_between_cameras_are_not_given_as_those_of_all(results: Results) -> None:
    data = json.loads((results.folder / "qa-r0-00000102.json").read_text())
    (results.folder / "qa-r1-00000102.json").write_text(json.dumps({**data, "part": "r1", "tags": {**data["tags"], "detector": "other"}}))
    rows = {f.name: f.value for b in section(report(results), "Input").blocks if b.block == "facts" for f in b.rows}
    assert rows["detector"].startswith("not the same in all cameras: ")
