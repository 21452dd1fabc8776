"""The report of a night under a tag, from verdicts, decisions and receipts of its exposures; merged QA are not read: a night has thousands."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quicklook.core.errors import QuicklookError, describe
from quicklook.core.events import CalibrationMade, Refused, Seen
from quicklook.core.plots import Plot
from quicklook.core.reporting import Absent, Block, Column, Fact, Grid, ReportDocument, Section, Sentence
from quicklook.core.status import Status, total
from quicklook.service.alarms.view import read_alarms
from quicklook.service.reporting import parts
from quicklook.service.reporting.exposures import DECISIONS, sentence_of
from quicklook.service.reporting.housekeeping import housekeeping_section, span_of
from quicklook.service.reporting.latency import latency_s, old_s, verdict_ns
from quicklook.service.reporting.nightplots import plots_section
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.stored import NightExposure, read_night
from quicklook.service.reporting.words import counted, duration_words, listed, moment, now_words, ranged
from quicklook.service.sessions.testruns import TestedRecord, numbers_text, read_record, tests_folder

_QA = re.compile(r"\[([a-z0-9_, ]+)\]")
_ORDER = (Status.ALARM, Status.WARNING, Status.UNKNOWN, Status.NORMAL)
_NIGHT = re.compile(r"(?<!\d)(?:19|20)\d{6}(?!\d)")
_MOST_REASONS = 40
_BESIDE_NS = 3600 * 10**9
"""The log of a night is that from so long before its first verdict to so long after its last one."""
_ALARM_BEFORE_NS, _ALARM_AFTER_NS = 60 * 10**9, 600 * 10**9
"""Its alarms are those that were raised from so long before its first verdict to so long after its last one."""


def night_folder(place: ReportPlace, night: int) -> Path:
    """Where the files of a night lie."""
    return place.out / place.tag / "exposures" / f"{night:08d}"


def night_report(place: ReportPlace, night: int, *, picture: Callable[[Plot], bytes] | None = None) -> ReportDocument:
    """The report of a night; `picture` draws its plot. Raises BadData where it has no exposure."""
    found, skipped = read_night(place, night)
    times = [t for e in found if (t := verdict_ns(e.receipt)) is not None]
    first_ns, last = min(times, default=None), max(times, default=None)
    run = place.run_at(last)
    about = (first_ns - _BESIDE_NS, last + _BESIDE_NS) if first_ns is not None and last is not None else None
    lost = _unjudged(place, night, found, about)
    span = _span(found)
    return ReportDocument(
        kind="night", name=f"report-{night:08d}", title=f"Night {night:08d}", subtitle=f"{counted(len(found), 'exposure')} under tag {place.tag}",
        status=total([*(e.verdict.status for e in found), *([Status.UNKNOWN] if lost.any else [])]), headline=_headline(found, lost),
        reasons=_reasons(found, lost), facts=_facts(found), made=now_words(), about=f"night {night:08d}, tag {place.tag}, made {now_words()}",
        sections=[
            Section(title="Cameras", blocks=_cameras(found)),
            Section(title="What was found most often", blocks=_often(found)),
            plots_section(place, run, night, found, span, picture, night_folder(place, night)),
            Section(title="Exposures", blocks=[*_not_judged(place, lost), *_exposures(found), *(Absent(text=t) for t in skipped)]),
            _tests(place, night),
            _alarms(place, first_ns, last),
            _calibrations(place, night),
            housekeeping_section(place, run, span),
            parts.configuration_section([], run),
            parts.log_section(place, run, [" WARNING ", " ERROR ", " CRITICAL "], about, what="no warning and no error in that time"),
            parts.versions_section([], run),
            parts.rerun_section(_commands(night, run.site if run is not None else None), run),
        ],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """What came in a night and has no verdict: exposures, and files that were refused."""

    units: Sequence[str]
    refused: Sequence[Refused]

    @property
    def any(self) -> bool:
        return bool(self.units or self.refused)

    @property
    def words(self) -> list[str]:
        out = [f"{counted(len(self.units), 'exposure')} without a verdict"] if self.units else []
        return [*out, f"{counted(len(self.refused), 'file')} refused"] if self.refused else out


def _unjudged(place: ReportPlace, night: int, found: Sequence[NightExposure], about: tuple[int, int] | None) -> _Lost:
    """A file is of the night that its path names; where that names none, of that in whose time it came. One that was taken later is not lost."""
    seen = place.of_night(night, Seen.kind)
    units = sorted({e.unit or "" for e in seen} - {str(e.unit) for e in found})
    taken = {Seen.model_validate(e.payload).path for e in seen}
    refused: dict[str, Refused] = {}
    for event in place.last_events(Refused.kind):
        said = Refused.model_validate(event.payload)
        named = _NIGHT.findall(said.path)
        here = f"{night:08d}" in named if named else about is not None and about[0] <= event.time <= about[1]
        if here and said.path not in taken:
            refused[said.path or said.file] = said
    return _Lost(units=units, refused=list(refused.values()))


def _not_judged(place: ReportPlace, lost: _Lost) -> list[Block]:
    if place.journal is None:
        return [Absent(text="Unknown: whether all that came was judged. There is no journal.")]
    rows = [[unit, str(Status.UNKNOWN), "it was seen, and no verdict was reached"] for unit in lost.units]
    rows += [[r.file, str(Status.UNKNOWN), f"refused: {r.failure.message}. {r.failure.what_next}".strip()] for r in lost.refused]
    columns = [Column(title="exposure or file", share=2), Column(title="status", kind="status"), Column(title="why", share=5)]
    return [Grid(title="Not judged", columns=columns, rows=rows)] if rows else []


def _headline(found: Sequence[NightExposure], lost: _Lost) -> str:
    counts = Counter(e.verdict.status for e in found)
    judged = f"{counted(len(found), 'exposure')}: " + ", ".join(f"{counts[s]} {s}" for s in _ORDER if counts[s])
    return "; ".join([judged, *lost.words]) + "."


def _reasons(found: Sequence[NightExposure], lost: _Lost) -> list[Sentence]:
    bad = sorted((e for e in found if e.verdict.status is not Status.NORMAL), key=lambda e: (-e.verdict.status.severity, e.unit))
    out = [Sentence(text=f"{e.unit.expid}: {_why(e)}", status=e.verdict.status) for e in bad[:_MOST_REASONS]]
    if len(bad) > len(out):
        out.append(Sentence(text=f"{len(bad) - len(out)} more exposures are not NORMAL; the table of exposures has all of them."))
    if lost.any:
        out.append(Sentence(text=f"{' and '.join(lost.words)}: of these nothing is known.", status=Status.UNKNOWN))
    return out or [Sentence(text="Every exposure is within its limits.", status=Status.NORMAL)]


def _why(one: NightExposure) -> str:
    if one.card is not None:
        return f"{DECISIONS.get(one.card.decision, one.card.decision)}: {one.card.why}"
    return one.verdict.reasons[0] if one.verdict.reasons else ""


def _facts(found: Sequence[NightExposure]) -> list[Fact]:
    flavors = Counter(e.verdict.tags.get("flavor", "not known") for e in found)
    seconds = [t for e in found if math.isfinite(t := latency_s(e.receipt))]
    old = sum(old_s(e.receipt) > 0 for e in found)
    missing = sum(len(e.verdict.missing) for e in found)
    rows = [
        Fact(name="exposures", value=numbers_text([str(e.unit) for e in found])),
        Fact(name="flavors", value=", ".join(f"{n} {name}" for name, n in flavors.most_common())),
        Fact(name="cameras missing", value=str(missing)),
        Fact(name="verdicts by hand", value=str(sum(bool(e.verdict.overrides) for e in found))),
    ]
    if seconds:
        median, p95 = (duration_words(float(np.percentile(seconds, q))) for q in (50, 95))
        after = f"; {counted(old, 'file')} had lain there before: counted from when seen" if old else ""
        rows.append(Fact(name="last byte to verdict", value=f"median {median}, 95 % within {p95}{after}"))
    else:
        rows.append(Fact(name="last byte to verdict", value="not known"))
    return rows


def _exposures(found: Sequence[NightExposure]) -> list[Block]:
    rows = []
    for e in found:
        tags = e.verdict.tags
        decision = DECISIONS.get(e.card.decision, str(e.card.decision)) if e.card is not None else "–"
        cameras = f"{len(e.verdict.parts)}" + (f", {len(e.verdict.missing)} missing" if e.verdict.missing else "")
        start = tags.get("start", "")[11:19]
        why = (e.card.why if e.card is not None else _why(e)) if e.verdict.status is not Status.NORMAL else ""
        took = latency_s(e.receipt)
        seconds = f"{took:.2f}" if math.isfinite(took) else "not known"
        header = [start, tags.get("flavor", ""), tags.get("exptime", "")]
        rows.append([str(e.unit.expid), *header, cameras, str(e.verdict.status), decision, seconds, why])
    columns = [
        Column(title="exposure", share=1.4), Column(title="start, UTC", share=1.2), Column(title="flavor", share=1.1),
        Column(title="time, s", kind="number", share=0.9), Column(title="cameras", share=1.2), Column(title="status", kind="status"),
        Column(title="decision", share=1.6), Column(title="verdict after, s", kind="number", share=1.1), Column(title="why", share=4.5),
    ]  # fmt: skip
    return [Grid(columns=columns, rows=rows)]


def _cameras(found: Sequence[NightExposure]) -> list[Block]:
    counts: dict[str, Counter[str]] = {}
    for e in found:
        for name, status in e.verdict.parts.items():
            counts.setdefault(name, Counter())[status] += 1
        for name in e.verdict.missing:
            counts.setdefault(name, Counter())["missing"] += 1
    columns = [Column(title="camera", share=2), *(Column(title=str(s), kind="number") for s in _ORDER), Column(title="missing", kind="number")]
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, c in sorted(counts.items()):
        alike.setdefault((*(str(c[s]) for s in _ORDER), str(c["missing"])), []).append(name)
    rows = [[ranged(names, 12), *cells] for cells, names in sorted(alike.items(), key=lambda one: [*map(int, one[0])], reverse=True)]
    return [Grid(columns=columns, rows=rows, note="Number of exposures.")] if rows else [Absent(text="No camera has a verdict.")]


def _often(found: Sequence[NightExposure]) -> list[Block]:
    counts: dict[str, Counter[bool]] = {}
    for e in found:
        told = {(name.strip(), sentence_of(r).status is Status.UNKNOWN) for r in e.verdict.reasons for of in _QA.findall(r) for name in of.split(",")}
        for name, unknown in told:
            counts.setdefault(name, Counter())[unknown] += 1
    ordered = sorted(counts.items(), key=lambda one: (-one[1][False], -one[1][True], one[0]))[:25]
    rows = [[name, str(c[False]), str(c[True])] for name, c in ordered]
    columns = [
        Column(title="QA", share=3), Column(title="exposures in which it was out of limits", kind="number", share=2),
        Column(title="in which it could not measure", kind="number", share=2),
    ]  # fmt: skip
    return [Grid(columns=columns, rows=rows)] if rows else [Absent(text="Nothing: no reason of a verdict names a QA.")]


def _tests(place: ReportPlace, night: int) -> Section:
    rows = []
    for path in sorted(tests_folder(place.out).glob("*/*/test.json")):
        record = read_record(path, TestedRecord) if not path.parent.parent.is_symlink() else None
        if record is not None and any(u.startswith(f"{night:08d}/") for u in record.exposures):
            got = f"{len(record.exposures)} of {record.expected}"
            flags = listed((r.name for r in record.flags.raised), 8) or "none"
            rows.append([record.name, str(record.status), got, numbers_text(record.exposures), flags, record.run])
    columns = [
        Column(title="test"), Column(title="status", kind="status"), Column(title="exposures"), Column(title="numbers", share=1.6),
        Column(title="flags", share=2), Column(title="run", share=1.8),
    ]  # fmt: skip
    return Section(title="Tests", blocks=[Grid(columns=columns, rows=rows) if rows else Absent(text="No test has exposures of this night.")])


def _alarms(place: ReportPlace, first_ns: int | None, last_ns: int | None) -> Section:
    """Those that were raised while the exposures of the night were judged."""
    if place.journal is None or first_ns is None or last_ns is None:
        return Section(title="Alarms", blocks=[Absent(text="Unknown: there is no journal, or no receipt that says when the night was.")])
    try:
        past = read_alarms(place.journal).past
    except QuicklookError as error:
        return Section(title="Alarms", blocks=[Absent(text=f"Unknown: the journal cannot be read: {describe(error)}")])
    rows = [
        [moment(p.fired), str(p.worst), p.what, "over" if p.ended else "acknowledged" if p.acknowledged else "firing", p.by or "–"]
        for p in past if p.fired is not None and first_ns - _ALARM_BEFORE_NS <= p.fired <= last_ns + _ALARM_AFTER_NS
    ]  # fmt: skip
    columns = [Column(title="since", share=2), Column(title="severity"), Column(title="what", share=5), Column(title="state"), Column(title="by")]
    none = "None was told in the journal; where no sink `alarms` is set up, none can be."
    return Section(title="Alarms", blocks=[Grid(columns=columns, rows=rows) if rows else Absent(text=none)])


def _calibrations(place: ReportPlace, night: int) -> Section:
    rows = []
    for event in place.last_events(CalibrationMade.kind):
        if (event.unit or "").startswith(f"{night:08d}/"):
            made = CalibrationMade.model_validate(event.payload)
            said = "adopted" if made.adopted else f"not adopted: {listed(made.reasons, 3)}"
            rows.append([made.name, event.part or "", str(made.status), said, made.path or "not written"])
    columns = [
        Column(title="kind"), Column(title="camera"), Column(title="status", kind="status"), Column(title="use", share=3),
        Column(title="file", share=4),
    ]  # fmt: skip
    blocks: list[Block] = [Grid(columns=columns, rows=rows) if rows else Absent(text="The journal knows of none that was made this night.")]
    return Section(title="Calibrations made", blocks=blocks)


def _span(found: Sequence[NightExposure]) -> tuple[float, float] | None:
    spans = [s for e in found if (s := span_of(dict(e.verdict.tags))) is not None]
    return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None


def _commands(night: int, site: Path | None) -> dict[str, list[str]]:
    of = ["--site", str(site)] if site is not None else []
    return {
        "all of it again, under a tag of its own": ["quicklook", "aim", "--night", f"{night:08d}", "--tag", f"again-{night:08d}", *of],
        "what was expected, seen and processed": ["quicklook", "ledger", "--night", f"{night:08d}", *of],
    }
