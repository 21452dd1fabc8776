"""Writing what was measured again from stored products: a new revision of the merged QA and of the verdict; products stay where they are."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from quicklook.core.chain import Chain
from quicklook.core.deciding import decide
from quicklook.core.decision import DecisionCard
from quicklook.core.errors import BadData
from quicklook.core.events import Decided, Event, Payload, UnitDone, draft
from quicklook.core.history import Selection, find_verdict
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.plots import Plot
from quicklook.core.results import PartResult, QAResult, UnitVerdict
from quicklook.core.runner import reasons_of
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts
from quicklook.core.unitqa import UnitMeasured, measure_unit
from quicklook.io.atomic import write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.io.plotfiles import load_plots, save_plots
from quicklook.io.revisions import of_revision
from quicklook.service.journal.jobs import DONE, PartState, UnitRow
from quicklook.service.publishing.sinks import make_sink
from quicklook.service.rerun.onlyqa import Remeasured
from quicklook.service.rerun.redraw import redraw
from quicklook.service.verdicts.byhand import ByHand, concluded_by_hand
from quicklook.service.verdicts.explain import picture, plot_data
from quicklook.service.verdicts.verdicts import unit_verdict
from quicklook.service.workers.processing import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The verdict of an exposure before and after, and the decision (None without rules)."""

    before: UnitVerdict | None
    after: UnitVerdict
    card: DecisionCard | None = None


def stored_results(recipe: Recipe, unit: Unit) -> dict[str, PartResult]:
    """The merged QA of every part of an exposure, by its name. Raises BadData where there is none under the tag of the recipe."""
    history = FileHistory(recipe.out)
    found = {r.part: r for r in history.results(Selection(tag=recipe.tag, units=frozenset({unit})))}
    if not found:
        why = "; ".join(history.skipped) or f"below {exposure_folder(recipe.out, recipe.tag, unit)}"
        raise BadData(f"exposure {unit} has no stored results under tag {recipe.tag!r}: {why}", what_next="Check --out and --tag, or run the chain.")
    return found


def write_part(recipe: Recipe, done: Remeasured, revision: int) -> PartResult:
    """Write the merged QA as a new revision, the earlier one is kept beside it; put the new plots in place of the old ones and draw them."""
    after = done.after.model_copy(update={"revision": revision})
    key = PartKey(Unit(after.night, after.expid), after.part)
    folder = exposure_folder(recipe.out, recipe.tag, key.unit)
    path = folder / f"qa-{key.part}-{key.unit.expid:08d}.json"
    shutil.copyfile(path, of_revision(path, done.before.revision))
    write_json(path, after.model_dump(mode="json"))
    if recipe.plots and done.plots:
        of_qas = [q for q in (*done.before.qas, *after.qas) if q.name in done.names]
        _write_plots(recipe, key, done.plots, {name for q in of_qas for name in q.plots}, after.qas, revision, done.before.revision)
    return after


def _write_plots(
    recipe: Recipe, key: PartKey, new: Sequence[Plot], replaced: set[str], qas: Sequence[QAResult], revision: int, earlier: int
) -> None:
    folder = exposure_folder(recipe.out, recipe.tag, key.unit)
    path = plot_data(folder, key)
    old: tuple[Plot, ...] = ()
    if path.is_file():
        old = load_plots(path)
        shutil.copyfile(path, of_revision(path, earlier))
    for name in replaced:
        drawn = picture(folder, name, key)
        if drawn.is_file():
            drawn.rename(of_revision(drawn, earlier))
    save_plots(path, [*(p for p in old if p.name not in replaced), *new])
    alone = path.with_name(f".{path.name}")  # those that changed, for the sink draws all that a file has
    save_plots(alone, new)
    try:
        redraw(recipe.out, alone, key, recipe.tag, revision, {name: q.status for q in qas for name in q.plots})
    finally:
        alone.unlink(missing_ok=True)


def conclude_again(
    recipe: Recipe, unit: Unit, results: Mapping[str, PartResult], revision: int, chain: Chain, again: Sequence[str] = ()
) -> Whole:
    """The verdict over these results and those QAs of the whole that were stored; those named in `again` are measured again. Nothing is written.

    What a person has said of the exposure stays, unless what is measured now is worse than that. A part whose stored result cannot be read has no
    QAs, and is not NORMAL any more.
    """
    before = find_verdict(FileHistory(recipe.out), unit, tag=recipe.tag)
    tags = dict(before.tags) if before is not None else dict(next(iter(results.values())).tags)
    names = [*results, *(p for p in (before.parts if before is not None else ()) if p not in results)]
    expected = _expected(recipe, names, before)
    row = UnitRow(
        unit=unit, tag=recipe.tag, revision=revision, path="", expected=expected, tags=tags, closed_ns=None, seen_ns=0, deadline_ns=0
    )  # fmt: skip
    states = [_state(name, results, before) for name in names]
    known = {name: PartSummary.of(result) for name, result in results.items()}
    summaries = [known.get(s.part) or PartSummary(part=s.part, status=s.status, reasons=s.reasons) for s in states]
    parts = UnitParts(unit=unit, tags=tags, parts=tuple(summaries), expected=expected)
    uses = tuple(q for q in chain.unit_qas if q.name in again)
    new = {q.name: q for q in measure_unit(replace(chain, unit_qas=uses), parts, Judge(recipe.limits), time.perf_counter).qas}
    qas = [new.pop(q.name, q) for q in (before.qas if before is not None else ())] + list(new.values())
    after = unit_verdict(row, states, UnitMeasured(qas=tuple(qas), reasons=tuple(reasons_of([], qas))))
    if before is not None:
        after = concluded_by_hand(after, ByHand(overrides=tuple(before.overrides), seen=before))
        after = after.model_copy(update={"causes": list(before.causes)})
    return Whole(before=before, after=after, card=_card(recipe, parts, after))


def _expected(recipe: Recipe, names: Sequence[str], before: UnitVerdict | None) -> tuple[str, ...]:
    """Cameras that were expected then: those that came do not say so, for an exposure may be of whatever came, or of a camera that was asked for."""
    if before is not None and (before.missing or before.extra):
        return (*(n for n in names if n not in before.extra), *before.missing)
    of_site = recipe.instrument.cameras.expected
    return of_site if set(of_site) == set(names) else ()


def _state(name: str, results: Mapping[str, PartResult], before: UnitVerdict | None) -> PartState:
    result = results.get(name)
    if result is not None:
        return PartState(part=name, state=DONE, announced=True, status=result.status, reasons=tuple(result.reasons))
    status = before.parts[name] if before is not None else None
    if before is None or status is not Status.NORMAL or any(o.part == name for o in before.overrides):
        return PartState(part=name, state=DONE, announced=True, status=status, reasons=())
    why = "UNKNOWN: its stored result cannot be read; run the chain again"
    return PartState(part=name, state=DONE, announced=True, status=Status.UNKNOWN, reasons=(why,))


def _card(recipe: Recipe, parts: UnitParts, verdict: UnitVerdict) -> DecisionCard | None:
    """Decided again, with the goals that were known then."""
    if recipe.decisions is None:
        return None
    goals: dict[str, tuple[float, str]] = {}
    try:
        path = exposure_folder(recipe.out, recipe.tag, parts.unit) / "decision.json"
        old = DecisionCard.model_validate_json(path.read_bytes())
        goals = {g.name: (g.wanted, g.source) for g in old.goals if g.name in recipe.decisions.goals}
    except (OSError, ValidationError):
        pass  # it was concluded without rules
    return decide(recipe.decisions, parts, verdict, goals)


def write_whole(recipe: Recipe, whole: Whole) -> None:
    """Write verdict and decision, as the sink of a daemon does; earlier ones are kept under their revision."""
    payloads: list[Payload] = [UnitDone(**whole.after.model_dump())]
    payloads += [Decided(**whole.card.model_dump())] if whole.card is not None else []
    unit = Unit(whole.after.night, whole.after.expid)
    sink = make_sink("files", {})
    sink.open(SinkContext(out=str(recipe.out)))
    for number, payload in enumerate(payloads, start=1):
        said = draft(payload, unit=unit, tag=whole.after.tag, revision=whole.after.revision)
        sink.accept(Event(**said.model_dump(), epoch="", seq=number, time=time.time_ns()))
    sink.close()
