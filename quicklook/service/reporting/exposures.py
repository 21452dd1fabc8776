"""The report of an exposure, from what is stored of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from quicklook.core.keys import Unit
from quicklook.core.reporting import Absent, Block, Column, Fact, Facts, Grid, ReportDocument, Section, Sentence
from quicklook.core.results import PartResult
from quicklook.core.status import Status
from quicklook.service.reporting import parts, pictures
from quicklook.service.reporting.housekeeping import housekeeping_section, span_of
from quicklook.service.reporting.latency import latency_section, latency_words
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.stored import StoredExposure, read_exposure
from quicklook.service.reporting.tables import metric_sections
from quicklook.service.reporting.words import counted, listed, moment, now_words, ranged

DECISIONS = {"go_on": "Go on", "repeat": "Repeat it", "stop": "Stop", "call": "Call somebody"}
_TAGS = ("flavor", "program", "exptime", "start", "target", "test", "airmass", "telescope", "instrument")
_UNITS = {"exptime": " s", "start": " UTC"}
_ALL_GOOD = "Everything that was judged is within its limits."
_MOST_UNKNOWN, _MOST_REASONS = 8, 24
"""So many reasons stand on the front page: those that are UNKNOWN, and all. The rest is below."""
_NOT_SHOWN = ("night", "expid", "camera")


def exposure_report(place: ReportPlace, unit: Unit, *, most_plots: int = pictures.MOST, link: bool = False, draw: bool = False) -> ReportDocument:
    """The report of an exposure. `link`: its plots are linked, drawn or not; `draw`: those that are there as data alone are drawn first.

    Raises BadData where nothing of it can be read.
    """
    found = read_exposure(place, unit)
    if draw:
        pictures.drawn_now(place.out, found.folder, unit, place.tag, found.measured, found.revision)
    status = found.verdict.status if found.verdict is not None else Status.UNKNOWN
    headline, action = _headline(found)
    provenance = [r.provenance for r in found.results]
    wanted = pictures.of_exposure(found.folder, unit, found.measured)
    return ReportDocument(
        kind="exposure", name=f"report-{unit.expid:08d}", title=f"Exposure {unit.night:08d}/{unit.expid:08d}", subtitle=_subtitle(found),
        status=status, headline=headline, action=action, reasons=_reasons(found), facts=_facts(found), made=now_words(),
        about=f"tag {place.tag}, revision {found.revision}, made {now_words()}",
        sections=[
            *_cameras(found),
            *metric_sections(found.measured, found.silent),
            pictures.plots_section(wanted, found.folder / "plots", most_plots, link=link),
            housekeeping_section(place, found.run, span_of(found.tags)),
            _input(found),
            parts.configuration_section(provenance, found.run),
            parts.calibrations_section(found.results),
            latency_section(found.receipt),
            parts.log_section(place, found.run, [str(unit)]),
            parts.versions_section(provenance),
            parts.rerun_section(rerun_commands(found), found.run),
        ],
    )  # fmt: skip


def _subtitle(found: StoredExposure) -> str:
    tags = found.tags
    words = [tags.get("flavor", "flavor not known"), tags.get("target", ""), tags.get("program", "")]
    words += [f"{tags['exptime']} s"] if "exptime" in tags else []
    words += [counted(len(found.verdict.parts), "camera")] if found.verdict is not None else []
    return ", ".join(w for w in words if w)


def _headline(found: StoredExposure) -> tuple[str, str]:
    if found.card is not None:
        decision = DECISIONS.get(found.card.decision, str(found.card.decision))
        said = found.card.action.rstrip(".").casefold() == decision.casefold()
        return f"{decision}: {found.card.why}", "" if said else found.card.action
    if found.verdict is None:
        return "No verdict was reached: what follows is what its cameras have given.", ""
    return f"The verdict is {found.verdict.status}; no decision was made.", ""


def _reasons(found: StoredExposure) -> list[Sentence]:
    reasons = found.card.reasons if found.card is not None else found.verdict.reasons if found.verdict is not None else []
    out = _first(map(sentence_of, reasons))
    out += [Sentence(text=f"Likely cause: {text}") for text in found.causes]
    if found.card is not None:
        out += [Sentence(text=f"Also: {text}") for text in found.card.also]
    out += [Sentence(text=f"A person has changed a verdict: {o.part or 'the exposure'} {o.sentence}", status=o.status) for o in _overrides(found)]
    for text, of in _alike(found.failed).items():
        out.append(Sentence(text=f"Not processed: {ranged(of) or 'the exposure'}: {text}", status=Status.UNKNOWN))
    if found.verdict is None:
        out += [sentence_of(f"{result.part}: {text}") for result in found.results for text in result.reasons]
        out.append(Sentence(text="The exposure has no verdict: nothing is known of it as a whole.", status=Status.UNKNOWN))
    if not out:
        good = found.verdict is not None and found.verdict.status is Status.NORMAL
        out.append(Sentence(text=_ALL_GOOD, status=Status.NORMAL) if good else Sentence(text="No reason is stored.", status=Status.UNKNOWN))
    goals = [goal.sentence for goal in found.card.goals] if found.card is not None else []
    return out + [Sentence(text=text[0].upper() + text[1:]) for text in goals]


def _first(reasons: Iterable[Sentence]) -> list[Sentence]:
    """As many as are read on a front page, and how many more there are."""
    kept: list[Sentence] = []
    left = unknown = 0
    for one in reasons:
        unknown += one.status is Status.UNKNOWN
        if len(kept) < _MOST_REASONS and (one.status is not Status.UNKNOWN or unknown <= _MOST_UNKNOWN):
            kept.append(one)
        else:
            left += 1
    more = [Sentence(text=f"{counted(left, 'more reason')}: see what is out of limits, and the cameras, below.")] if left else []
    return kept + more


def _alike(by_part: Mapping[str, str]) -> dict[str, list[str]]:
    """Parts by what is said of them."""
    out: dict[str, list[str]] = {}
    for part, text in by_part.items():
        out.setdefault(text, []).append(part)
    return out


def _overrides(found: StoredExposure) -> Sequence[Any]:
    return found.verdict.overrides if found.verdict is not None else ()


def sentence_of(text: str) -> Sentence:
    """A reason with the status that it names: ``z0: ALARM: ...``, or ``ALARM: z0: ...``."""
    head = text.split(": ", 2)[:2]
    return Sentence(text=text, status=next((Status(word) for word in head if word in Status.__members__), None))


def _facts(found: StoredExposure) -> list[Fact]:
    tags = found.tags
    shown = {name: _when(tags[name]) if name == "start" else tags[name] for name in _TAGS if tags.get(name)}
    rows = [Fact(name=name, value=f"{value}{_UNITS.get(name, '')}") for name, value in shown.items()]
    if found.verdict is not None:
        rows.append(Fact(name="cameras", value=f"{len(found.verdict.parts)}: {ranged(found.verdict.parts, 12)}"))
        if found.verdict.missing:
            rows.append(Fact(name="missing", value=ranged(found.verdict.missing, 12)))
    if found.card is not None:
        rows.append(Fact(name="QAs", value=f"{found.card.measured} of {found.card.expected} have measured"))
    rows.append(Fact(name="last byte to verdict", value=latency_words(found.receipt)))
    if found.decided_ns is not None:
        rows.append(Fact(name="verdict given", value=moment(found.decided_ns)))
    return rows


def _when(text: str) -> str:
    """A time of a header, as this report writes them; as it stands where it is none."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return text


def _cameras(found: StoredExposure) -> list[Section]:
    by_part = {r.part: r for r in found.results}
    statuses = found.verdict.parts if found.verdict is not None else {r.part: r.status for r in found.results}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, status in sorted(statuses.items(), key=lambda one: (-one[1].severity, one[0])):
        alike.setdefault((str(status), *_camera_words(found, by_part.get(name), name)), []).append(name)
    rows = [[ranged(names, 12), *cells] for cells, names in alike.items()]
    rows += [[name, str(Status.UNKNOWN), "no result", "it did not arrive"] for name in (found.verdict.missing if found.verdict is not None else ())]
    columns = [
        Column(title="camera", share=1.7), Column(title="status", kind="status"), Column(title="QAs measured", share=1.4),
        Column(title="why", share=6),
    ]  # fmt: skip
    blocks: list[Block] = [Grid(columns=columns, rows=rows)] if rows else [Absent(text="No camera has a verdict.")]
    blocks += [Absent(text=text) for text in found.skipped]
    return [Section(title="Cameras", blocks=blocks)]


def _camera_words(found: StoredExposure, result: PartResult | None, name: str) -> tuple[str, str]:
    """How many QAs have measured, and why the camera has its status."""
    if result is None:
        failed = found.failed.get(name)
        return "no result", f"processing failed: {failed}" if failed else "no merged QA of it can be read"
    more = f" (and {len(result.reasons) - 1} more)" if len(result.reasons) > 1 else ""
    degraded = f" Degraded: {'; '.join(result.degraded)}." if result.degraded else ""
    return f"{result.measured} of {result.expected}", f"{(result.reasons or [''])[0]}{more}{degraded}".strip()


def _input(found: StoredExposure) -> Section:
    rows = []
    if found.seen is not None:
        rows += [Fact(name="raw file", value=found.seen.path or found.seen.file), Fact(name="size", value=f"{found.seen.size / 1e6:.3f} MB")]
        rows.append(Fact(name="cameras in it", value=ranged(found.seen.parts, 40)))
        rows += [Fact(name="earlier taken from", value=found.seen.earlier)] if found.seen.earlier else []
    rows += [Fact(name=k, value=v) for k, v in _tags_words(found).items() if k not in (*_TAGS, *_NOT_SHOWN) and v]
    rows += [Fact(name=k, value=str(v)) for k, v in _file_facts(found).items()]
    blocks: list[Block] = [Facts(rows=rows)] if rows else []
    if found.seen is None:
        blocks.insert(0, Absent(text="The journal does not say (any more) from which raw file it was made."))
    return Section(title="Input", blocks=blocks)


def _tags_words(found: StoredExposure) -> dict[str, str]:
    """What the headers say; where cameras say different things, that."""
    each = [r.tags for r in found.results]
    of = {k: list(dict.fromkeys(t[k] for t in each if k in t)) for k in found.tags}
    return {k: v if len(of[k]) < 2 else f"not the same in all cameras: {listed(of[k], 4)}" for k, v in found.tags.items()}


def _file_facts(found: StoredExposure) -> dict[str, object]:
    qa = next((q for r in found.results for q in r.qas if q.name == "check_file"), None)
    return {k: v for k, v in qa.facts.items() if k in ("file", "hdus", "companions")} if qa is not None else {}


def rerun_commands(found: StoredExposure) -> dict[str, list[str]]:
    """What does it again, as words of a command line."""
    site = ["--site", str(found.run.site)] if found.run is not None else []
    chosen = ["--night", f"{found.unit.night:08d}", "--expid", str(found.unit.expid)]
    out = {"the same again, under a tag of its own": ["quicklook", "aim", *chosen, "--tag", f"again-{found.unit.expid}", *site]}
    if found.seen is not None and found.results:
        one = max(found.results, key=lambda r: r.status.severity)
        file = found.seen.path or found.seen.file
        out["one camera of it, on the screen"] = ["quicklook", "run", one.provenance.chain, file, "--camera", one.part, *site]
    worst = max((m for r in found.measured for m in r.qa.metrics if m.status), key=lambda m: m.status.severity if m.status else -1, default=None)
    part = next((r.part for r in found.measured if worst is not None and worst in r.qa.metrics), "")
    if worst is not None:
        words = [str(found.unit), *([part] if part else []), worst.name]
        out["why a metric is as it is"] = ["quicklook", "explain", *words, "--tag", found.tag, *site]
    return out
