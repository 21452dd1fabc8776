"""Exposures of processings that no journal has (aim mode), or of which it keeps no details any more: from their files of results."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from quicklook.core.decision import DecisionCard
from quicklook.core.errors import QuicklookError
from quicklook.core.history import Selection, find_result, find_verdict
from quicklook.core.hosting import ExposureNow, FileRef, NightCount, PartLine, PlotName, UnitLine
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import QAResult, UnitVerdict
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.io.reader import open_reader
from quicklook.io.revisions import of_revision
from quicklook.service.site import Site

_REASONS = 3


def tags_with(out: Path, unit: Unit) -> list[str]:
    """Tags under which an exposure has results."""
    return [tag for tag in FileHistory(out).tags() if exposure_folder(out, tag, unit).is_dir()]


def nights_on_disk(out: Path, tag: str) -> list[NightCount]:
    """Nights that have results under a tag, the latest first."""
    history = FileHistory(out)
    found = []
    for night in sorted(history.nights(tag), reverse=True):
        units = list(history.units(Selection(tag=tag, first_night=night, last_night=night)))
        found.append(NightCount(night=f"{night:08d}", exposures=len(units), statuses={}))
    return found


def night_on_disk(out: Path, night: int, tag: str) -> list[UnitLine]:
    """Exposures of a night that have a verdict under a tag, the last number first."""
    return [_line(out, tag, v) for v in FileHistory(out).verdicts(Selection(tag=tag, first_night=night, last_night=night))]


def _line(out: Path, tag: str, verdict: UnitVerdict) -> UnitLine:
    unit = Unit(verdict.night, verdict.expid)
    card = _card(exposure_folder(out, tag, unit), verdict.revision)
    written = _written_ns(exposure_folder(out, tag, unit) / "verdict.json")
    return UnitLine(
        unit=str(unit), expid=unit.expid, revision=verdict.revision, flavor=verdict.tags.get("flavor", ""), program=verdict.tags.get("program", ""),
        tags=verdict.tags, seen=written, concluded=written, status=verdict.status, decision=card.decision if card else None,
        why=card.why if card else "", reasons=verdict.reasons[:_REASONS], parts={k: str(v) for k, v in verdict.parts.items()}, expected=[],
        overridden=bool(verdict.overrides),
    )  # fmt: skip


def exposure_on_disk(out: Path, unit: Unit, tag: str, revision: int | None) -> ExposureNow | None:
    """The exposure as its files say; None where there is no verdict of it."""
    history = FileHistory(out)
    verdict = find_verdict(history, unit, tag=tag, revision=revision)
    if verdict is None:
        return None
    folder = exposure_folder(out, tag, unit)
    files = files_on_disk(out, unit, tag, list(verdict.parts))
    revisions = sorted({v.revision for v in history.verdicts(Selection(tag=tag, units=frozenset({unit}), all_revisions=True))})
    parts = {}
    for part, status in verdict.parts.items():
        result = find_result(history, PartKey(unit, part), tag=tag)
        told = {"measured": result.measured, "expected": result.expected, "degraded": result.degraded, "reasons": result.reasons} if result else {}
        parts[part] = PartLine(state="done", status=status, revision=verdict.revision, **told)
    return ExposureNow(
        unit=str(unit), night=f"{unit.night:08d}", expid=unit.expid, tag=tag, revision=verdict.revision, revisions=revisions, tags_with_it=[],
        tags=verdict.tags, verdict=verdict, verdict_time=_written_ns(folder / "verdict.json"), decision=_card(folder, verdict.revision),
        overrides=verdict.overrides, parts=parts, plots=[PlotName(part=f.part, name=f.name, drawn=True) for f in files if f.kind == "plot"],
        products=[f for f in files if f.kind == "product"],
    )  # fmt: skip


def qas_on_disk(out: Path, unit: Unit, part: str, tag: str, revision: int | None) -> list[QAResult]:
    """Results of the QAs of a camera, or of the exposure as a whole (part ""), from the merged file; empty where there is none."""
    history = FileHistory(out)
    if part:
        result = find_result(history, PartKey(unit, part), tag=tag, revision=revision)
        return result.qas if result is not None else []
    verdict = find_verdict(history, unit, tag=tag, revision=revision)
    return verdict.qas if verdict is not None else []


def files_on_disk(out: Path, unit: Unit, tag: str, parts: list[str]) -> list[FileRef]:
    """Files in the folder of an exposure, by their names: ``<name>-<camera>-<expid>``, of its latest revision."""
    folder, end = exposure_folder(out, tag, unit), f"-{unit.expid:08d}"
    found = []
    for path in (*sorted(folder.glob(f"*{end}.*")), *sorted((folder / "plots").glob(f"*{end}.*"))):
        stem = path.name.partition(f"{end}.")[0]
        if path.name != f"{stem}{end}{path.suffix}":
            continue  # of an earlier revision
        part = next((p for p in parts if stem.endswith(f"-{p}")), "")
        name = stem.removesuffix(f"-{part}") if part else stem
        kind = _kind(path, name)
        if kind:
            found.append(FileRef(kind=kind, part=part, name=path.name if kind in ("plots", "merged") else name, path=str(path.resolve()),
                                 size=path.stat().st_size))  # fmt: skip
    return found


def raw_files(site: Site, unit: Unit) -> list[FileRef]:
    """Raw files of an exposure under the raw folder of the site, one for each of their cameras; what cannot be read is left out."""
    reader, found = open_reader(site.instrument), []
    for path in reader.locate(site.raw, unit.expid, unit.night) if site.file.raw else ():
        with suppress(QuicklookError):
            found += [FileRef(kind="raw", part=camera, name=path.name, path=str(path)) for camera in reader.peek(path).cameras]
    return found


def _kind(path: Path, name: str) -> str:
    if path.parent.name == "plots":
        return {".png": "plot", ".npz": "plots"}.get(path.suffix, "")
    if path.suffix == ".json":
        return "merged" if name == "qa" else ""
    return "product"


def _card(folder: Path, revision: int) -> DecisionCard | None:
    plain = folder / "decision.json"
    for path in (plain, of_revision(plain, revision)):
        try:
            card = DecisionCard.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            continue
        if card.revision == revision:
            return card
    return None


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
