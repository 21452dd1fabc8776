"""The end of an exposure: QAs over all of its cameras, its verdict, and the decision on what to do. From stored metrics alone."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.causes import likely_causes
from quicklook.core.deciding import decide, wanted_goals
from quicklook.core.decision import DecisionCard
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.core.events import Decided, Overridden, PartVerdict, Payload, PlotsReady, QADone, UnitDone
from quicklook.core.hkframes import QA_NAME, ExposureHousekeeping
from quicklook.core.judge import Judge
from quicklook.core.plots import Plot
from quicklook.core.results import Override, QAResult, UnitVerdict
from quicklook.core.unitparts import PartSummary, UnitParts
from quicklook.core.unitqa import UnitMeasured, measure_unit, with_unit_qa
from quicklook.io.folders import exposure_folder
from quicklook.io.plotfiles import load_plots, save_plots
from quicklook.io.revisions import next_revision, set_aside_unit_plots
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import FAILED, IGNORED, Job, PartState, UnitRow
from quicklook.service.journal.journal import EVENTS
from quicklook.service.verdicts.byhand import ByHand, concluded_by_hand
from quicklook.service.verdicts.verdicts import unit_verdict
from quicklook.service.workers.processing import Recipe

log = logging.getLogger("quicklook.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What is said of an exposure as a whole: its verdict, the card (None where no rules are configured), plots."""

    row: UnitRow
    verdict: UnitVerdict
    card: DecisionCard | None
    plots: tuple[Plot, ...] = ()

    @property
    def facts(self) -> list[Payload]:
        """As events: each QA of the exposure, its verdict, the decision."""
        out: list[Payload] = [QADone(**q.model_dump()) for q in self.verdict.qas]
        out.append(UnitDone(**self.verdict.model_dump()))
        return [*out, Decided(**self.card.model_dump())] if self.card is not None else out


def conclude(
    recipe: Recipe,
    row: UnitRow,
    states: Sequence[PartState],
    summaries: Sequence[PartSummary],
    *,
    goals: Mapping[str, float] | None = None,
    said: ByHand | None = None,
    housekeeping: ExposureHousekeeping | None = None,
) -> Conclusion:
    """Measure, judge and decide; with the housekeeping of the exposure, where there is any.

    `goals` are given by hand, and go before those of the header and the site. `said` is what persons have said of an earlier revision.
    """
    parts = UnitParts(unit=row.unit, tags=row.tags, parts=tuple(summaries), expected=row.expected)
    whole = _measured(recipe, parts, housekeeping)
    verdict = concluded_by_hand(unit_verdict(row, states, whole), said or ByHand())
    if housekeeping is not None:
        verdict = verdict.model_copy(update={"causes": likely_causes(housekeeping, parts, verdict)})
    return Conclusion(row=row, verdict=verdict, card=_card(recipe, parts, verdict, goals or {}), plots=whole.plots)


def _card(recipe: Recipe, parts: UnitParts, verdict: UnitVerdict, goals: Mapping[str, float]) -> DecisionCard | None:
    if recipe.decisions is None:
        return None
    try:
        return decide(recipe.decisions, parts, verdict, wanted_goals(recipe.decisions, parts.tags, recipe.goals, goals))
    except Exception:  # whatever is wrong with rules or results: the verdict is not lost for it
        log.exception("%s: no decision could be made", parts.unit)
        return None


def _measured(recipe: Recipe, parts: UnitParts, housekeeping: ExposureHousekeeping | None) -> UnitMeasured:
    try:
        chain = recipe.chain_for(parts.tags.get("flavor", ""))
    except BadConfig:  # there is none any more: the verdicts of the parts say so
        return UnitMeasured()
    if housekeeping is None:
        return measure_unit(chain, parts, Judge(recipe.limits), time.perf_counter)
    return measure_unit(with_unit_qa(chain, QA_NAME), parts, Judge(recipe.limits), time.perf_counter, (housekeeping,))


def after_verdict(connection: sa.Connection, job: Job, out: Path, unit_s: float) -> None:
    """What the last verdict of the parts that have arrived brings, in the transaction in which it is written.

    A deadline is for cameras that never come, not for work that waits: where it has passed meanwhile, it starts again, `unit_s` seconds
    from now. A unit that was concluded without this part is concluded anew, as a new revision in which all other parts stay as they are;
    not where a later revision has taken its place.
    """
    row = jobs.unit_of(connection, job)
    if jobs.awaited(connection, row):
        return
    now = time.time_ns()
    if not row.closed:
        if now > row.deadline_ns:
            jobs.set_deadline(connection, row, now + int(unit_s * 1e9))
    elif conclude_anew(connection, row, out):
        log.info("%s: %s has its verdict after the exposure; it is concluded again", row.unit, job.part)


def conclude_anew(connection: sa.Connection, row: UnitRow, out: Path) -> bool:
    """Open a new revision of a unit that is closed, in which all of its parts stay as they are. False where a later one has taken its place."""
    if jobs.latest_unit(connection, row.unit, row.tag) != row or not row.closed:
        return False
    on_disk = next_revision(exposure_folder(out, row.tag, row.unit))
    new = dataclasses.replace(row, revision=max(on_disk, row.revision + 1), closed=False)
    jobs.add_unit(connection, new, ())
    jobs.carry_over(connection, row, new, ())
    return True


def save_unit_plots(recipe: Recipe, done: Conclusion) -> list[PlotsReady]:
    """Write the plots of the exposure as data. Those of an earlier revision are kept under its number.

    None where there are none, or they cannot be written: the verdict stands without them.
    """
    if not (recipe.plots and done.plots):
        return []
    folder = exposure_folder(recipe.out, recipe.tag, done.row.unit)
    path = folder / "plots" / f"plots-{done.row.unit.expid:08d}.npz"
    try:
        _set_aside(folder, path, done.row.revision)
        save_plots(path, done.plots)
    except (Transient, BadConfig, OSError) as error:
        log.warning("%s: plots of the exposure are not written: %s", done.row.unit, error)
        return []
    by_plot = {name: qa.status for qa in done.verdict.qas for name in qa.plots}
    names = [p.name for p in done.plots]
    return [PlotsReady(path=str(path.relative_to(recipe.out)), names=names, statuses=[by_plot.get(n) for n in names])]


def _set_aside(folder: Path, path: Path, revision: int) -> None:
    if path.is_file():
        with suppress(BadData):  # broken: its pictures keep their names until they are drawn again
            set_aside_unit_plots(folder, path, [p.name for p in load_plots(path)], revision)


_UNTIL = (EVENTS.c.unit == sa.bindparam("of_unit"), EVENTS.c.tag == sa.bindparam("of_tag"), EVENTS.c.revision <= sa.bindparam("of_revision"))
_TOLD = sa.select(EVENTS.c.part, EVENTS.c.revision, EVENTS.c.kind, EVENTS.c.payload).where(*_UNTIL).order_by(EVENTS.c.seq)
_OF_PARTS = _TOLD.where(EVENTS.c.kind.in_(sa.bindparam("kinds", expanding=True)), EVENTS.c.part.is_not(None))
"""What is said of the parts of a unit, up to a revision."""


def _until(row: UnitRow) -> dict[str, object]:
    return {"of_unit": str(row.unit), "of_tag": row.tag, "of_revision": row.revision}


def summaries_in_journal(
    connection: sa.Connection, row: UnitRow, states: Sequence[PartState], tags_of: Callable[[str], Mapping[str, str]]
) -> list[PartSummary]:
    """What the journal has of the parts of a unit: of each the QAs of its latest processing, in this revision or carried over into it."""
    found: dict[str, tuple[int, list[str]]] = {}
    for part, revision, _, payload in connection.execute(_OF_PARTS, {**_until(row), "kinds": [QADone.kind]}):
        known = found.get(part)
        if known is None or known[0] != revision:
            found[part] = known = (revision, [])
        known[1].append(payload)
    return [_summary(state, row, found.get(state.part, (row.revision, [])), tags_of(state.part)) for state in states]


def said_in_journal(connection: sa.Connection, row: UnitRow, states: Sequence[PartState]) -> ByHand:
    """What persons have said of parts that were not processed again since, and last of the exposure as a whole."""
    said: dict[str, tuple[int, Override]] = {}
    kinds = [Overridden.kind, PartVerdict.kind]
    for part, revision, kind, payload in connection.execute(_TOLD.where(EVENTS.c.kind.in_(kinds)), _until(row)):
        if kind == Overridden.kind:
            said[part or ""] = (revision, Override.model_validate_json(payload))
        elif part in said and revision > said[part][0]:
            del said[part]
    known = {"", *(s.part for s in states)}
    overrides = tuple(sorted((o for part, (_, o) in said.items() if part in known), key=lambda o: o.time))
    return ByHand(overrides=overrides, seen=_verdict_in_journal(connection, row, said[""][0]) if "" in said else None)


def _verdict_in_journal(connection: sa.Connection, row: UnitRow, revision: int) -> UnitVerdict | None:
    where = (EVENTS.c.kind == UnitDone.kind, EVENTS.c.revision == revision)
    for _, _, _, payload in connection.execute(_TOLD.where(*where), _until(row)):
        with suppress(ValueError):  # written by another version
            return UnitVerdict.model_validate_json(payload)
    return None


def _summary(state: PartState, row: UnitRow, found: tuple[int, list[str]], tags: Mapping[str, str]) -> PartSummary:
    revision, payloads = found
    stale = revision != row.revision and state.state in (FAILED, IGNORED)  # what failed now has nothing, whatever it once had
    qas: list[QAResult] = []
    for payload in () if stale or not state.announced else payloads:
        with suppress(ValueError):  # written by another version
            qas.append(QAResult.model_validate_json(payload))
    return PartSummary(part=state.part, status=state.status, tags=tags, reasons=state.reasons, qas=tuple(qas))
