"""A verdict changed by a person: a new revision of it, on files, and in the journal where the daemon has the exposure.

Nothing is measured again. The journal is written in one transaction, as by the daemon: both take turns, and the daemon keeps nothing in memory
that this could contradict. Its sinks then tell of the new revision like of any other.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
from pydantic import ValidationError

from quicklook.core.deciding import decide
from quicklook.core.decision import DecisionCard, DecisionsFile
from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.core.events import Decided, Event, Overridden, PartVerdict, Payload, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.results import Override, PartResult, UnitVerdict
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts
from quicklook.io.atomic import write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import next_revision, of_revision
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, JOBS, Journal, daemon_lives
from quicklook.service.publishing.sinks import make_sink
from quicklook.service.verdicts.byhand import SET_ASIDE, overridden


@dataclass(frozen=True, slots=True, kw_only=True)
class Overruled:
    """The verdict as it was and as it is, the new card (None without rules), and whether the journal has it too."""

    before: UnitVerdict
    after: UnitVerdict
    card: DecisionCard | None
    in_journal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the results of an exposure are: the output folder, the tag, the journal of a daemon (there or not)."""

    out: Path
    tag: str
    unit: Unit
    journal: Path

    @property
    def folder(self) -> Path:
        """The folder of the exposure."""
        return exposure_folder(self.out, self.tag, self.unit)


def override(place: Place, change: Override, rules: DecisionsFile | None, expected: Sequence[str] = ()) -> Overruled:
    """Change the verdict of a part, or of the exposure (part ""); `was` of the change is filled in here.

    Raises BadData where there is no verdict or no such part, BadConfig where the change is none or says not who and why, NotReadyYet while the
    exposure is still worked on.
    """
    if not (change.by.strip() and change.reason.strip()):
        raise BadConfig("an override says who and why: give a name and a reason, neither of them empty", what_next="Say both.")
    journal = Journal(place.journal, time.time_ns) if place.journal.is_file() else None
    try:
        before = _latest(place, journal)
        was = _status_before(place, before, change.part)
        if was is change.status:
            raise BadConfig(f"{change.part or 'the exposure'} is {was} already; there is nothing to override", what_next="Look at its verdict.")
        change = change.model_copy(update={"was": was})
        revision = max(next_revision(place.folder), before.revision + 1)
        results = {name: result for name in before.parts if (result := _result(place, name)) is not None}
        after = overridden(before, change, revision)
        card = _card(place, after, results, rules, expected)
        part = _part_override(results.get(change.part), change, revision)
        said = _events(change, after, card, part, place)
        in_journal = journal is not None and _to_journal(journal, place, before, after, change, said)
    finally:
        if journal is not None:
            journal.close()
    _part_to_file(place, part, revision)
    if not (in_journal and daemon_lives(place.out)):  # else its sink writes them
        _to_files(place, said, revision)
    return Overruled(before=before, after=after, card=card, in_journal=in_journal)


# ---- what is there


def _latest(place: Place, journal: Journal | None) -> UnitVerdict:
    """The latest verdict, in the journal or on files: each may be ahead of the other."""
    found = [v for v in (_in_journal(place, journal) if journal else None, _on_file(place)) if v is not None]
    if not found:
        known = sorted(p.name for p in place.out.glob("*") if (p / "exposures").is_dir()) if place.out.is_dir() else []
        what_next = f"Check night and number; results in {place.out} have the tags: {', '.join(known) or 'none'}."
        raise BadData(f"there is no verdict of exposure {place.unit} under tag {place.tag}", what_next=what_next)
    return max(found, key=lambda v: v.revision)


def _on_file(place: Place) -> UnitVerdict | None:
    path = place.folder / "verdict.json"
    try:
        return UnitVerdict.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise BadData(f"{path} cannot be read: {type(error).__name__}; process the exposure again") from error


def _in_journal(place: Place, journal: Journal) -> UnitVerdict | None:
    """None where the journal does not know the exposure. Raises NotReadyYet while the daemon works on it."""
    with journal.reading() as connection:
        row = jobs.latest_unit(connection, place.unit, place.tag)
        if row is None:
            return None
        _refuse_busy(connection, row)
        of_row = (EVENTS.c.unit == str(row.unit), EVENTS.c.tag == row.tag, EVENTS.c.revision == row.revision)
        query = sa.select(EVENTS.c.payload).where(*of_row, EVENTS.c.kind == UnitDone.kind).order_by(EVENTS.c.seq.desc()).limit(1)
        payload = connection.execute(query).scalar()
    return UnitVerdict.model_validate_json(payload) if payload else None


def _refuse_busy(connection: sa.Connection, row: jobs.UnitRow) -> None:
    where = (*_jobs_of(row), JOBS.c.state.in_((jobs.OPEN, jobs.RUNNING)))
    if not row.closed or connection.execute(sa.select(sa.func.count()).where(*where)).scalar():
        raise NotReadyYet(f"exposure {row.unit} is being worked on; override its verdict when it is concluded and its files are written")


def _status_before(place: Place, before: UnitVerdict, part: str) -> Status:
    if not part:
        return before.status
    if part not in before.parts:
        raise BadData(f"exposure {place.unit} has no camera {part}; it has: {', '.join(before.parts) or 'none'}", what_next="Name one of these.")
    return before.parts[part]


def _part_file(place: Place, part: str) -> Path:
    return place.folder / f"qa-{part}-{place.unit.expid:08d}.json"


def _result(place: Place, part: str) -> PartResult | None:
    """The merged QA of a part; None where processing has failed before there was one, or it is of another version."""
    try:
        return PartResult.model_validate_json(_part_file(place, part).read_bytes())
    except (OSError, ValidationError):
        return None


def _jobs_of(row: jobs.UnitRow) -> tuple[sa.ColumnElement[bool], ...]:
    return (JOBS.c.unit == str(row.unit), JOBS.c.tag == row.tag, JOBS.c.revision == row.revision)


# ---- what is made


def _card(
    place: Place, verdict: UnitVerdict, results: Mapping[str, PartResult], rules: DecisionsFile | None, expected: Sequence[str]
) -> DecisionCard | None:
    """Decided again, with the goals that were known then."""
    if rules is None:
        return None
    goals: dict[str, tuple[float, str]] = {}
    try:
        old = DecisionCard.model_validate_json((place.folder / "decision.json").read_bytes())
        goals = {g.name: (g.wanted, g.source) for g in old.goals if g.name in rules.goals}
    except (OSError, ValidationError):
        pass  # it was concluded without rules
    parts = [
        PartSummary.of(results[name]) if name in results else PartSummary(part=name, status=status) for name, status in verdict.parts.items()
    ]
    names = [*expected, *verdict.missing] if verdict.missing else list(verdict.parts)
    unit_parts = UnitParts(unit=place.unit, tags=verdict.tags, parts=tuple(parts), expected=tuple(dict.fromkeys(names)))
    return decide(rules, unit_parts, verdict, goals)


def _part_override(result: PartResult | None, change: Override, revision: int) -> PartResult | None:
    if result is None:
        return None
    aside = [r if r.startswith(SET_ASIDE) else f"{SET_ASIDE}{r}" for r in result.reasons]
    return result.model_copy(
        update={"revision": revision, "status": change.status, "override": change, "reasons": [change.sentence, *aside]}
    )


def _events(
    change: Override, after: UnitVerdict, card: DecisionCard | None, part: PartResult | None, place: Place
) -> list[tuple[str | None, Payload]]:
    said: list[tuple[str | None, Payload]] = [(change.part or None, Overridden(**change.model_dump()))]
    if part is not None:
        path = str(_part_file(place, part.part).relative_to(place.out))
        verdict = PartVerdict(
            status=part.status, reasons=part.reasons, measured=part.measured, expected=part.expected, degraded=part.degraded, seconds=0.0, path=path
        )
        said.append((part.part, verdict))
    said.append((None, UnitDone(**after.model_dump())))
    return [*said, (None, Decided(**card.model_dump()))] if card is not None else said


# ---- where it goes


def _to_journal(
    journal: Journal, place: Place, before: UnitVerdict, after: UnitVerdict, change: Override, said: Sequence[tuple[str | None, Payload]]
) -> bool:
    """A new revision of the unit, closed, with its jobs carried over; False where the journal does not know the exposure."""
    with journal.transaction() as connection:
        old = jobs.latest_unit(connection, place.unit, place.tag)
        if old is None:
            return False
        _refuse_busy(connection, old)
        if old.revision > before.revision:
            raise NotReadyYet(f"exposure {place.unit} has just got another verdict; look at it first")
        new = replace(old, revision=after.revision)
        jobs.add_unit(connection, new, ())
        jobs.carry_over(connection, old, new, ())
        if change.part:
            told = {"status": str(change.status), "reasons": json.dumps([change.sentence])}
            connection.execute(sa.update(JOBS).where(*_jobs_of(new), JOBS.c.part == change.part).values(**told))
        jobs.close_unit(connection, new, time.time_ns())
        journal.append([draft(p, unit=place.unit, part=part, tag=place.tag, revision=after.revision) for part, p in said], connection)
    return True


def _part_to_file(place: Place, part: PartResult | None, revision: int) -> None:
    """The merged QA of the part; the earlier one is kept beside it."""
    if part is not None:
        path = _part_file(place, part.part)
        earlier = PartResult.model_validate_json(path.read_bytes()).revision
        if earlier < revision:
            shutil.copyfile(path, of_revision(path, earlier))
            write_json(path, part.model_dump(mode="json"))


def _to_files(place: Place, said: Sequence[tuple[str | None, Payload]], revision: int) -> None:
    """Verdict and decision, as the sink of a daemon writes them; one that starts later does so once more."""
    sink = make_sink("files", {})
    sink.open(SinkContext(out=str(place.out)))
    for number, (name, payload) in enumerate(said, start=1):
        if payload.kind in (UnitDone.kind, Decided.kind):
            told = draft(payload, unit=place.unit, part=name, tag=place.tag, revision=revision)
            sink.accept(Event(**told.model_dump(), epoch="", seq=number, time=time.time_ns()))
    sink.close()
