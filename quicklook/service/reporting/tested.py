"""The report of a test of a session, from what its run has left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.history import Selection
from quicklook.core.keys import Unit
from quicklook.core.reporting import Absent, Block, Column, Fact, Grid, Prose, ReportDocument, Section, Sentence
from quicklook.core.results import MetricResult, PartResult, QAResult, UnitVerdict
from quicklook.core.session import SubTask
from quicklook.core.status import Status, worst
from quicklook.io.configfiles import read_config
from quicklook.io.history import FileHistory
from quicklook.service.calibrating.builtfiles import BuildRecord
from quicklook.service.reporting import parts, pictures
from quicklook.service.reporting.exposures import sentence_of
from quicklook.service.reporting.housekeeping import Span, housekeeping_section, span_of
from quicklook.service.reporting.place import ReportPlace, RunUsed
from quicklook.service.reporting.tables import Result, metrics_section, out_of_limits
from quicklook.service.reporting.words import counted, listed, moment, now_words
from quicklook.service.sessions.testruns import RunRecord, SubTaskDone, TestedRecord, numbers_text, read_record, tests_folder

_GROUP = "Over the exposures"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTest:
    """What is stored of a test: its record and sub-tasks, the run of its session, results of its analyses and of its exposures."""

    folder: Path
    record: TestedRecord
    run: RunRecord | None
    subtasks: Mapping[SubTask, SubTaskDone]
    built: tuple[tuple[str, BuildRecord], ...]
    verdicts: Mapping[Unit, UnitVerdict]
    results: tuple[PartResult, ...]
    used: RunUsed | None
    skipped: tuple[str, ...]

    @property
    def analysed(self) -> list[Result]:
        """The QAs of its analyses, and its series of metrics."""
        out = [Result(part=record.camera, qa=qa, of=name) for name, record in self.built for qa in record.result.qas]
        return out + [Result(part=camera, qa=_as_qa(name, rows), of=name) for name, camera, rows in self._series()]

    def _series(self) -> Iterator[tuple[str, str, list[MetricResult]]]:
        found = self._data(SubTask.META).get("series", {})
        for name, cameras in found.items():
            for camera, rows in cameras.items():
                yield name, camera, [MetricResult.model_validate(r) for r in rows]

    def _data(self, sub: SubTask) -> Mapping[str, Any]:
        done = self.subtasks.get(sub)
        return done.data if done is not None else {}

    @property
    def of_exposures(self) -> list[Result]:
        """The QAs of its exposures."""
        return [Result(part=r.part, qa=q, of=str(r.expid)) for r in self.results for q in r.qas]

    @property
    def files(self) -> list[tuple[str, str, str]]:
        """Calibrations that its analyses have made: kind, camera, path."""
        made = self._data(SubTask.BASIC).get("analyses", {})
        return [(kind, camera, path) for by in made.values() for camera, one in by.items() for kind, path in one.get("files", {}).items()]


def _as_qa(name: str, rows: list[MetricResult]) -> QAResult:
    return QAResult(name=name, step="meta", group=_GROUP, status=worst(r.status for r in rows), seconds=0.0, metrics=rows)


def find_test(out: Path, name: str) -> Path:
    """The folder of a test: NAME, of the latest run that has it, or RUN/NAME. Raises BadData with what is there."""
    folder = tests_folder(out)
    there = sorted((p for p in folder.glob("*/*/test.json") if not p.parent.parent.is_symlink()), key=lambda p: p.stat().st_mtime_ns)
    found = [p.parent for p in there if name in (p.parent.name, f"{p.parent.parent.name}/{p.parent.name}")]
    if not found:
        known = listed(sorted({p.parent.name for p in there}), 12) or "none"
        what_next = f"Tests that are over there: {known}. Check name and output folder (--site)."
        raise BadData(f"there is no test {name!r} in {folder}", what_next=what_next)
    return found[-1]


def read_test(place: ReportPlace, folder: Path) -> StoredTest:
    """What there is of a test. Raises BadData where its record cannot be read."""
    record = read_record(folder / "test.json", TestedRecord)
    if record is None:
        raise BadData(f"{folder / 'test.json'} cannot be read", what_next="Run the test again: quicklook aim --test.")
    subtasks = {s: done for s in SubTask if (done := read_record(folder / f"{s}.json", SubTaskDone)) is not None}
    units = frozenset(Unit.parse(u) for u in record.exposures)
    prep = subtasks.get(SubTask.PREP)
    tag = str(prep.data.get("tag", "")) if prep is not None else ""
    history, wanted = FileHistory(place.out), Selection(tag=tag or place.tag, units=units, newest_first=False)
    results = tuple(history.results(wanted)) if units else ()
    verdicts = {Unit(v.night, v.expid): v for v in history.verdicts(wanted)} if units else {}
    return StoredTest(
        folder=folder, record=record, run=read_record(folder.parent / "run.json", RunRecord), subtasks=subtasks,
        built=tuple(_built(place.out, subtasks.get(SubTask.BASIC))), verdicts=verdicts, results=results, used=place.run_at(record.ended_ns),
        skipped=tuple(history.skipped),
    )  # fmt: skip


def _built(out: Path, basic: SubTaskDone | None) -> Iterator[tuple[str, BuildRecord]]:
    for name, cameras in (basic.data.get("analyses", {}) if basic is not None else {}).items():
        for one in cameras.values():
            try:
                yield name, BuildRecord.model_validate_json((out / one["result"]).read_bytes())
            except (OSError, KeyError, ValidationError):
                continue


def report_of_test(place: ReportPlace, name: str, *, most_plots: int = pictures.MOST) -> ReportDocument:
    """The report of a test. Raises BadData where there is none of that name."""
    found = read_test(place, find_test(place.out, name))
    record = found.record
    provenance = [b.result.provenance for _, b in found.built] or [r.provenance for r in found.results]
    wanted = pictures.by_analysis(place.out, [p.model_dump(mode="json") for p in record.plots])
    session = found.run.session if found.run is not None else "not known"
    return ReportDocument(
        kind="test", name=f"report-{record.name}", title=f"Test {record.name}", subtitle=f"Session {session}, run {record.run}",
        status=record.status, headline=_headline(record), action=_action(record), reasons=_reasons(record), facts=_facts(found),
        made=now_words(), about=f"test {record.name}, run {record.run}, made {now_words()}",
        sections=[
            _flags(found),
            _exposures(found),
            _subtasks(found),
            out_of_limits([*found.analysed, *found.of_exposures]),
            metrics_section(found.analysed, "Metrics of the analyses"),
            pictures.plots_section(wanted, found.folder, most_plots),
            housekeeping_section(place, found.used, _span(found)),
            metrics_section(found.of_exposures, "Metrics of the exposures", told=bool(found.analysed)),
            parts.configuration_section(provenance, found.used, [Fact(name="session, as it was", value=str(found.folder.parent / "session.yaml"))]),
            parts.calibrations_section([*(b.result for _, b in found.built), *found.results]),
            parts.log_section(place, found.used, [f"test {record.name}:", f" {record.name} ", f"/{record.name}/"]),
            parts.versions_section(provenance),
            parts.rerun_section(_commands(found), found.used),
        ],
    )  # fmt: skip


def _headline(record: TestedRecord) -> str:
    got = f"{len(record.exposures)} of {counted(record.expected, 'exposure')}"
    over = "complete" if record.complete else "closed at its time-out" if record.timed_out else "not complete"
    flags = f"flags {listed((r.name for r in record.flags.raised), 8)}" if record.flags.raised else "no flag raised"
    unknown = f", {counted(len(record.flags.not_known), 'flag')} not known" if record.flags.not_known else ""
    return f"{record.status}: {over} with {got}, {flags}{unknown}."


def _action(record: TestedRecord) -> str:
    return "" if record.status is Status.NORMAL else "Read the flags below: each says what to do."


def _reasons(record: TestedRecord) -> list[Sentence]:
    told = [sentence_of(reason) for reason in record.reasons]
    if told or record.status is not Status.NORMAL:
        return told or [Sentence(text="No reason is stored.", status=Status.UNKNOWN)]
    unknown = f" Not known: {counted(len(record.flags.not_known), 'flag')}, see below." if record.flags.not_known else ""
    return [Sentence(text=f"Everything that was judged is within its limits, and no flag was raised.{unknown}", status=Status.NORMAL)]


def _facts(found: StoredTest) -> list[Fact]:
    record = found.record
    cameras = sorted({r.part for r in found.results} | {b.camera for _, b in found.built})
    rows = [
        Fact(name="exposures", value=numbers_text(record.exposures) or "none"),
        Fact(name="expected", value=str(record.expected)),
        Fact(name="nights", value=listed(sorted({u.partition("/")[0] for u in record.exposures}), 4) or "none"),
        Fact(name="cameras", value=listed(cameras, 12) or "none"),
        Fact(name="repetition", value=str(record.repetition)),
        Fact(name="ended", value=moment(record.ended_ns)),
        Fact(name="analyses", value=listed(record.analyses, 8) or "none"),
        Fact(name="work took", value=f"{sum(record.seconds.values()):.1f} s"),
    ]
    for name, units in (("aborted", record.aborted), ("not expected", list(record.strays)), ("more than expected", record.extra)):
        rows += [Fact(name=name, value=numbers_text(units))] if units else []
    return rows


def _flags(found: StoredTest) -> Section:
    said, meaning = found.record.flags, _flag_docs(found.folder.parent / "site.yaml")
    rows = [[str(r.status), r.name, "raised", f"{r.why}. {meaning.get(r.name, '')}".strip()] for r in said.raised]
    rows += [[str(Status.UNKNOWN), name, "not known", said.why.get(name, "nothing of what it rests on was measured")] for name in said.not_known]
    rows += [["", name, "does not apply", said.why.get(name, "")] for name in said.not_applicable]
    columns = [Column(title="status", kind="status"), Column(title="flag", share=2), Column(title="state", share=1.5), Column(title="why", share=6)]
    blocks: list[Block] = [Grid(columns=columns, rows=rows)] if rows else []
    blocks.append(Prose(paragraphs=[f"Clear: {listed(said.clear, 60)}."]) if said.clear else Absent(text="No flag is clear."))
    return Section(title="Flags", blocks=blocks)


def _flag_docs(path: Path) -> dict[str, str]:
    """What each flag says, and what to do, from the configuration as the run has kept it."""
    try:
        flags = read_config(path).get(("session", "flags")) or []
        return {str(f["name"]): " ".join(str(f["doc"]).split()) for f in flags}
    except (BadConfig, KeyError, TypeError):
        return {}


def _exposures(found: StoredTest) -> Section:
    rows = []
    for text in found.record.exposures:
        unit = Unit.parse(text)
        verdict = found.verdicts.get(unit)
        if verdict is None:
            rows.append([text, "", "", "", str(Status.UNKNOWN), "", "no verdict of it can be read"])
            continue
        tags = verdict.tags
        why = verdict.reasons[0] if verdict.reasons else ""
        more = f" (and {len(verdict.reasons) - 1} more)" if len(verdict.reasons) > 1 else ""
        cameras = str(len(verdict.parts)) + (f", {len(verdict.missing)} missing" if verdict.missing else "")
        start = tags.get("start", "")[:19].replace("T", " ")
        rows.append([text, start, tags.get("flavor", ""), tags.get("exptime", ""), str(verdict.status), cameras, f"{why}{more}"])
    columns = [
        Column(title="exposure", share=2.2), Column(title="start, UTC", share=2), Column(title="flavor"), Column(title="time, s", kind="number"),
        Column(title="status", kind="status"), Column(title="cameras", share=1.2), Column(title="why", share=4),
    ]  # fmt: skip
    blocks: list[Block] = [Grid(columns=columns, rows=rows)] if rows else [Absent(text="The test has no exposure.")]
    return Section(title="Exposures", blocks=[*blocks, *(Absent(text=t) for t in found.skipped)])


def _subtasks(found: StoredTest) -> Section:
    record = found.record
    rows = []
    for sub in SubTask:
        done = found.subtasks.get(sub)
        why = f"{done.failure.message} {done.failure.what_next}" if done is not None and done.failure is not None else ""
        why = why or (done.source if done is not None else "")
        rows.append([str(sub), record.states.get(sub, "not known"), f"{record.seconds.get(sub, 0.0):.2f}", why])
    columns = [Column(title="sub-task"), Column(title="state"), Column(title="took, s", kind="number"), Column(title="remark", share=5)]
    blocks: list[Block] = [Grid(columns=columns, rows=rows)]
    analyses = [[name, camera, str(status or "")] for name, by in record.analyses.items() for camera, status in by.items()]
    if analyses:
        columns = [Column(title="analysis", share=2), Column(title="camera", share=2), Column(title="status", kind="status")]
        blocks.append(Grid(title="Analyses", columns=columns, rows=analyses))
    if found.files:
        columns = [Column(title="kind"), Column(title="camera", share=1.5), Column(title="file, below the output folder", share=6)]
        blocks.append(Grid(title="Calibrations made", columns=columns, rows=[list(one) for one in found.files]))
    return Section(title="Work", blocks=blocks)


def _span(found: StoredTest) -> Span | None:
    spans = [s for v in found.verdicts.values() if (s := span_of(dict(v.tags))) is not None]
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None


def _commands(found: StoredTest) -> dict[str, Sequence[str]]:
    site = ["--site", str(found.used.site)] if found.used is not None else []
    session = ["--session", str(found.folder.parent / "session.yaml")]
    name = found.record.test
    return {"the test again, under a tag of its own": ["quicklook", "aim", "--test", name, *session, "--tag", f"again-{name}", *site]}
