"""QAs alone, on stored products: the chain is gone through, and each step gives back what it has made when it ran.

What stood before and after a step is as it was. Raw frame, exposure and fibre map are read again, calibrations come from the index.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quicklook.ccd.image import RawImage
from quicklook.core.calibration import CalibrationsUsed
from quicklook.core.chain import Chain, QaUse, Step
from quicklook.core.contract import contract_of
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.plots import Plot
from quicklook.core.product import Calibration, Product
from quicklook.core.provenance import DISTRIBUTION, version_of
from quicklook.core.reading import Reading
from quicklook.core.results import PartResult, QAResult
from quicklook.core.runner import ChainRunner, Observer, reasons_of
from quicklook.core.status import Status, total
from quicklook.service.rerun.storedproducts import StoredProducts, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """A part whose QAs were run again: the merged QA before and after, the names of these QAs, their plots, what a person should know."""

    before: PartResult
    after: PartResult
    names: tuple[str, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rerun(ChainRunner):
    """The runner of a chain whose steps give back what was stored. `wanted` by the names of steps; `asked` are calibrations that a step asked for."""

    stored: StoredProducts
    wanted: Mapping[str, tuple[Wanted, ...]] = field(default_factory=dict)
    asked: Mapping[str, tuple[type[Calibration], ...]] = field(default_factory=dict)

    def _run_algorithm(self, state: Any, step: Step) -> None:
        for kind in self.asked.get(step.name, ()):
            self._calibration(state, kind)
        for one in self.wanted.get(step.name, ()):
            product = self.stored.load(one, state.store.get(RawImage))
            state.store.pop(type(product), None)
            state.store[type(product)] = product


def select(chain: Chain, names: Collection[str]) -> tuple[tuple[QaUse, ...], tuple[QaUse, ...]]:
    """The QAs of these names among those of the steps and those of the unit; a name is that within the chain or that of the plugin.

    Raises BadConfig for a name that is not in the chain, with the nearest ones.
    """
    every = [*chain.qas, *chain.unit_qas]
    for name in names:
        if not any(name in (q.name, q.ref.name) for q in every):
            known = sorted({q.name for q in every})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(known)}."
            raise BadConfig(f"chain {chain.name} has no QA called {name!r}", what_next=hint)
    steps = tuple(q for q in chain.qas if q.name in names or q.ref.name in names)
    return steps, tuple(q for q in chain.unit_qas if q.name in names or q.ref.name in names)


def needs(chain: Chain, uses: Collection[QaUse], provided: Sequence[type[Product]]) -> Iterator[Wanted]:
    """What these QAs need that a step has made, each once; `provided` are the types that reading gives."""
    made: dict[type[Product], str] = dict.fromkeys(provided, "")
    seen: set[tuple[str, type[Product]]] = set()
    for step in chain.steps:
        before = dict(made)
        if step.plugin is not None:
            made |= dict.fromkeys(contract_of(step.plugin).outputs, step.name)
        for use in (q for q in step.qas if q in uses):
            for need in contract_of(use.plugin).inputs:
                have = before if need.before else made
                kind = need.type if need.type in have else next((t for t in reversed(have) if issubclass(t, need.type)), None)
                if kind is not None and have[kind] and (have[kind], kind) not in seen:
                    seen.add((have[kind], kind))
                    yield Wanted(step=have[kind], type=kind, who=f"QA {use.name}")


def asked(chain: Chain, uses: Collection[QaUse], provided: Sequence[type[Product]]) -> dict[str, tuple[type[Calibration], ...]]:
    """Calibrations that each step has asked the index for, where one of these QAs asks which were used: it must find them all.

    Those of QAs count for the next step; a QA that asks which were used stands behind all others of its step.
    """
    if not any(need.type is CalibrationsUsed for use in uses for need in contract_of(use.plugin).inputs):
        return {}
    made, waiting = set(provided), list[type[Calibration]]()
    out: dict[str, tuple[type[Calibration], ...]] = {}
    for step in chain.steps:
        inputs = contract_of(step.plugin).inputs if step.plugin is not None else ()
        own = [n.type for n in inputs if issubclass(n.type, Calibration) and n.type not in made]
        made |= set(contract_of(step.plugin).outputs) if step.plugin is not None else set()
        others = [q for q in step.qas if q not in uses]
        of_qas = [n.type for q in others for n in contract_of(q.plugin).inputs if issubclass(n.type, Calibration) and n.type not in made]
        now = any(n.type is CalibrationsUsed for q in step.qas if q in uses for n in contract_of(q.plugin).inputs)
        if step.plugin is not None:
            out[step.name] = tuple(dict.fromkeys([*waiting, *own, *(of_qas if now else [])]))
            waiting = [] if now else of_qas
        else:
            waiting += of_qas
    return out


def measure_stored(
    runner: ChainRunner, reading: Reading, before: PartResult, folder: Path, uses: Sequence[QaUse], observer: Observer | None = None
) -> Remeasured:
    """Run QAs of the steps on what is stored, and put their results in place of those in `before`, with its verdict made again.

    `runner` has chain, judge and calibrations; `reading` is the part as it was read. Raises BadData where a product is not stored, with all that
    are lacking and how to have them.
    """
    chain, key = runner.chain, PartKey(Unit(before.night, before.expid), before.part)
    stored = StoredProducts(folder=folder, key=key, steps=chain.steps)
    provided = [type(p) for p in reading.products]
    wanted = list(needs(chain, uses, provided))
    lacking = [stored.missing(w) for w in wanted if stored.find(w) is None]
    if lacking:
        raise BadData(f"{key}: {'; '.join(lacking)}", what_next="Have these products stored, then run the chain again.")
    only = replace(chain, steps=tuple(replace(s, qas=tuple(q for q in s.qas if q in uses)) for s in chain.steps), unit_qas=())
    again = _Rerun(
        chain=only,
        judge=runner.judge,
        calibrations=runner.calibrations,
        clock=runner.clock,
        stored=stored,
        wanted={s.name: tuple(w for w in wanted if w.step == s.name) for s in chain.steps},
        asked=asked(chain, uses, provided),
    )
    outcome = again.run(key, lambda: reading, tag=before.tag, revision=before.revision, observer=observer)
    failed = next((s.failure for s in outcome.result.steps if s.failure is not None), None)
    if failed is not None:
        raise BadData(f"{key}: {failed.message}", what_next=failed.what_next)
    mark = f"of stored products, {DISTRIBUTION} {version_of(DISTRIBUTION)}, limits {runner.judge.limits.sha256[:12]}"
    qas = [q.model_copy(update={"facts": {**q.facts, "measured_again": mark}}) for q in outcome.result.qas]
    after = merged(before, qas)
    notes = tuple(_notes(before, outcome.result, chain, runner.judge))
    return Remeasured(before=before, after=after, names=tuple(q.name for q in qas), plots=outcome.plots, notes=notes)


def _notes(before: PartResult, again: PartResult, chain: Chain, judge: Judge) -> Iterator[str]:
    """What is not as it was when the chain ran."""
    was = before.provenance
    if was.chain != chain.name or was.config_sha256 != chain.sha256:
        yield f"the chain is not as it was ({was.chain} {was.config_sha256[:12]}, now {chain.name} {chain.sha256[:12]}): parameters may differ"
    if was.limits_sha256 != judge.limits.sha256:
        yield "the limits are not as they were: what was not measured again keeps its status"
    then = {c.kind: c.source for c in was.calibrations}
    for used in again.provenance.calibrations:
        if used.kind in then and then[used.kind] != used.source:
            yield f"calibration {used.kind} is another now: {used.source} in place of {then[used.kind]}"


def merged(before: PartResult, qas: Sequence[QAResult]) -> PartResult:
    """The merged QA with these in place of those of the same name, further ones at the end; sums made again. A verdict set by a person stays."""
    new = {q.name: q for q in qas}
    every = [new.pop(q.name, q) for q in before.qas]
    every += list(new.values())
    if before.override is not None:
        return before.model_copy(update={"qas": every})
    due = [q for q in every if q.status is not None]
    return before.model_copy(
        update={
            "qas": every,
            "status": total([*(q.status for q in every), *(Status.UNKNOWN for s in before.steps if s.failure)]),
            "reasons": reasons_of(before.steps, every),
            "measured": sum(q.status is not Status.UNKNOWN for q in due),
            "expected": len(due),
        }
    )
