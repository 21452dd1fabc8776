"""What is stored of an exposure, as a report needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicklook.core.decision import DecisionCard
from quicklook.core.errors import BadData
from quicklook.core.events import JobFailed, Overridden, Seen
from quicklook.core.history import Selection, find_verdict
from quicklook.core.keys import Unit
from quicklook.core.results import PartResult, UnitVerdict
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.service.reporting.latency import read_receipt, verdict_ns
from quicklook.service.reporting.place import ReportPlace, RunUsed
from quicklook.service.reporting.tables import Result
from quicklook.service.reporting.words import listed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExposure:
    """What is stored of an exposure: its verdict and card (None: not there), the results of its cameras, its receipt, its raw file, its run."""

    unit: Unit
    tag: str
    folder: Path
    verdict: UnitVerdict | None
    card: DecisionCard | None
    results: tuple[PartResult, ...]
    receipt: dict[str, Any]
    seen: Seen | None
    failed: Mapping[str, str]
    run: RunUsed | None
    skipped: tuple[str, ...]

    @property
    def tags(self) -> dict[str, str]:
        """What the header said, as far as it is the same in all cameras."""
        if self.verdict is not None and self.verdict.tags:
            return dict(self.verdict.tags)
        every = [set(r.tags.items()) for r in self.results]
        return dict(set.intersection(*every)) if every else {}

    @property
    def revision(self) -> int:
        """Of its verdict."""
        return self.verdict.revision if self.verdict is not None else max((r.revision for r in self.results), default=0)

    @property
    def measured(self) -> list[Result]:
        """All QAs: of the exposure as a whole, then of its cameras."""
        whole = [Result(part="", qa=q) for q in self.verdict.qas] if self.verdict is not None else []
        return whole + [Result(part=r.part, qa=q) for r in self.results for q in r.qas]

    @property
    def causes(self) -> list[str]:
        """What has likely led to it, in words."""
        return self.card.causes if self.card is not None else [c.sentence for c in self.verdict.causes] if self.verdict is not None else []

    @property
    def silent(self) -> list[str]:
        """Cameras without a result: missing, failed, or not to be read."""
        if self.verdict is None:
            return []
        return sorted({*self.verdict.parts, *self.verdict.missing} - {r.part for r in self.results})

    @property
    def decided_ns(self) -> int | None:
        """When its verdict was given."""
        return verdict_ns(self.receipt)


def read_exposure(place: ReportPlace, unit: Unit) -> StoredExposure:
    """What there is of an exposure. Raises BadData where there is nothing that can be read."""
    folder, history = exposure_folder(place.out, place.tag, unit), FileHistory(place.out)
    wanted = Selection(tag=place.tag, units=frozenset({unit}))
    results = tuple(sorted(history.results(wanted), key=lambda r: r.part))
    verdict = find_verdict(history, unit, tag=place.tag)
    if verdict is None and not results:
        what_next = "; ".join(history.skipped) or "Check number, output folder (--site) and tag (--tag)."
        raise BadData(f"exposure {unit} has no result that can be read under tag {place.tag!r}", what_next=what_next)
    events = place.events_of(str(unit), (Seen.kind, JobFailed.kind, Overridden.kind))
    seen = next((Seen.model_validate(e.payload) for e in reversed(events) if e.kind == Seen.kind), None)
    failures = [(e.part or "", JobFailed.model_validate(e.payload).failure) for e in events if e.kind == JobFailed.kind]
    done = {r.part for r in results}
    failed = {part: f"{failure.message}. {failure.what_next}".strip() for part, failure in failures if part not in done}
    receipt = read_receipt(folder)
    return StoredExposure(
        unit=unit, tag=place.tag, folder=folder, verdict=verdict, card=read_card(folder, verdict), results=results, receipt=receipt, seen=seen,
        failed=failed, run=place.run_at(verdict_ns(receipt)), skipped=tuple(history.skipped),
    )  # fmt: skip


def read_card(folder: Path, verdict: UnitVerdict | None) -> DecisionCard | None:
    """The card that belongs to a verdict; None where there is none."""
    try:
        card = DecisionCard.model_validate_json((folder / "decision.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return card if verdict is not None and card.revision == verdict.revision else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightExposure:
    """An exposure of a night: its verdict, its card (None: not there), its receipt (empty: not there)."""

    unit: Unit
    verdict: UnitVerdict
    card: DecisionCard | None
    receipt: dict[str, Any]


def read_night(place: ReportPlace, night: int) -> tuple[list[NightExposure], Sequence[str]]:
    """The exposures of a night, in their order, and what could not be read. Raises BadData where there is none."""
    history = FileHistory(place.out)
    wanted = Selection(tag=place.tag, first_night=night, last_night=night, newest_first=False)
    found = [_of_night(place, v) for v in history.verdicts(wanted)]
    if not found:
        nights = listed((f"{n:08d}" for n in history.nights(place.tag)), 8) or "none"
        what_next = f"Nights that have exposures under this tag: {nights}."
        raise BadData(f"night {night:08d} has no verdict under tag {place.tag!r}", what_next=what_next)
    return found, history.skipped


def _of_night(place: ReportPlace, verdict: UnitVerdict) -> NightExposure:
    unit = Unit(verdict.night, verdict.expid)
    folder = exposure_folder(place.out, place.tag, unit)
    return NightExposure(unit=unit, verdict=verdict, card=read_card(folder, verdict), receipt=read_receipt(folder))
