"""Work on data that were processed before: from a step on, or QAs alone, on products stored under one tag, with the results under another.

Each class here makes, in a worker, a runner in place of the plain one (see `Recipe.runner` in workers/processing.py); it can be pickled, but for
`Debugging`, which is for work in this process alone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from quicklook.ccd.image import RawImage
from quicklook.ccd.spectra import Frame, Scores
from quicklook.core.calibration import CalibrationsUsed
from quicklook.core.chain import Chain, QaUse, Step
from quicklook.core.contract import Requirement, contract_of
from quicklook.core.errors import BadConfig, BadData, NotApplicable
from quicklook.core.history import find_result
from quicklook.core.keys import PartKey
from quicklook.core.plots import Plot
from quicklook.core.product import Calibration, Product
from quicklook.core.reading import Read
from quicklook.core.rejudge import Definitions, rejudge_qa
from quicklook.core.results import Failure, PartResult, QAResult
from quicklook.core.runner import ChainRunner, Observer, Outcome
from quicklook.io.folders import exposure_folder
from quicklook.io.hdus import Hdus
from quicklook.io.history import FileHistory
from quicklook.io.plotfiles import load_plots
from quicklook.io.spectrafile import read_scores
from quicklook.service.rerun.onlyqa import measure_stored, needs, select
from quicklook.service.rerun.storedproducts import StoredProducts, Wanted, labels_of
from quicklook.service.verdicts.explain import plot_data

log = logging.getLogger("quicklook.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where earlier results are: the output folder and the tag."""

    out: Path
    tag: str

    def folder(self, key: PartKey) -> Path:
        """The folder of the exposure of a part."""
        return exposure_folder(self.out, self.tag, key.unit)

    def result(self, key: PartKey) -> PartResult:
        """The merged QA of a part. Raises BadData where there is none."""
        found = find_result(FileHistory(self.out), key, tag=self.tag)
        if found is None:
            raise BadData(f"{key} has no stored result under tag {self.tag}", what_next="Run the chain on it first, or name another --from-tag.")
        return found

    def plots(self, key: PartKey) -> tuple[Plot, ...]:
        """The plots of a part as data; none where none are stored."""
        path = plot_data(self.folder(key), key)
        return load_plots(path) if path.is_file() else ()

    def products(self, key: PartKey, chain: Chain) -> Earlier:
        """The products of a part, as steps of a chain have made them."""
        return Earlier(folder=self.folder(key), key=key, steps=chain.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier(StoredProducts):
    """As `StoredProducts`, and the scores as they were at a step: every frame has those of its stage and of stages before it."""

    def find(self, wanted: Wanted) -> Path | None:
        """See `StoredProducts.find`."""
        found = StoredProducts.find(self, wanted)
        return self._frame_at(wanted.step) if found is None and wanted.type is Scores else found

    def missing(self, wanted: Wanted) -> str:
        """See `StoredProducts.missing`."""
        maker = self._frame_maker(wanted.step) if wanted.type is Scores else ""
        return StoredProducts.missing(self, Wanted(step=maker, type=Frame, who=wanted.who) if maker else wanted)

    def load(self, wanted: Wanted, raw: RawImage | None) -> Product:
        """See `StoredProducts.load`."""
        if wanted.type is Scores and StoredProducts.find(self, wanted) is None and (path := self._frame_at(wanted.step)) is not None:
            return read_scores(path, self.key.part)
        return StoredProducts.load(self, wanted, raw)

    def _frame_maker(self, step: str) -> str:
        """The step that has made the frame that there was when a step had ended; empty where there was none."""
        so_far = self.steps[: [s.name for s in self.steps].index(step) + 1]
        makers = (s.name for s in reversed(so_far) if s.plugin is not None and Frame in contract_of(s.plugin).outputs)
        return next(makers, "")

    def _frame_at(self, step: str) -> Path | None:
        """The file of that frame; None where it is not stored or has no scores."""
        maker = self._frame_maker(step)
        path = StoredProducts.find(self, Wanted(step=maker, type=Frame, who="")) if maker else None
        return path if path is not None and Hdus(path).has("SCORES") else None


def step_of(chain: Chain, name: str) -> str | None:
    """The step of a chain that is meant by a name: that of a step, or the kind of product that it is the first to make; None where there is none."""
    steps = chain.steps[1:]
    if name in [s.name for s in steps]:
        return name
    return next((s.name for s in steps if s.plugin is not None and name in [t.kind for t in contract_of(s.plugin).outputs]), None)


def boundary(chain: Chain, start: str, provided: Sequence[type[Product]]) -> tuple[Wanted, ...]:
    """What the steps from `start` on (see `step_of`), and their QAs, need of those before, each once. Raises BadConfig where there is no such step.

    What reading gives (`provided`) is read again, calibrations come from the index.
    """
    names = [s.name for s in chain.steps]
    skipped = frozenset(names[: names.index(_known(chain, start))])
    made: dict[type[Product], str] = dict.fromkeys(provided, "")
    found: dict[tuple[str, type[Product]], Wanted] = {}
    for step in chain.steps:
        after = {**made, **dict.fromkeys(contract_of(step.plugin).outputs if step.plugin is not None else (), step.name)}
        for who, need, have in _asks(step, made, after) if step.name not in skipped else ():
            kind = need.type if need.type in have else next((t for t in reversed(list(have)) if issubclass(t, need.type)), None)
            if kind is not None and have[kind] in skipped:
                found.setdefault((have[kind], kind), Wanted(step=have[kind], type=kind, who=who))
        made = after
    return tuple(found.values())


def _known(chain: Chain, start: str) -> str:
    step = step_of(chain, start)
    if step is None:
        raise BadConfig(f"chain {chain.name} has no step called {start!r} to start from; it has: {', '.join(s.name for s in chain.steps[1:])}")
    return step


Made = Mapping[type[Product], str]


def _asks(step: Step, before: Made, after: Made) -> Iterator[tuple[str, Requirement, Made]]:
    """What a step and its QAs ask for, and what there is then: the steps that have made it, by type."""
    for need in contract_of(step.plugin).inputs if step.plugin is not None else ():
        yield f"step {step.name}", need, before
    for use in step.qas:
        for need in contract_of(use.plugin).inputs:
            yield f"QA {use.name}", need, before if need.before else after


@dataclass(frozen=True, slots=True, kw_only=True)
class FromStep:
    """Start chains at a step, on the products of earlier ones as they are stored; QAs of the steps before are taken over, and judged again.

    `provides` are the types that the reader gives, `definitions` the metrics that are declared now.
    """

    source: Stored
    step: str
    provides: tuple[type[Product], ...]
    definitions: Definitions = field(default_factory=dict)

    def __call__(self, plain: ChainRunner, key: PartKey) -> ChainRunner:
        """The runner for a part. Raises BadConfig (no such step), BadData (no stored result)."""
        chain = plain.chain
        wanted, names = boundary(chain, self.step, self.provides), [s.name for s in chain.steps]
        return _FromStepRunner(
            chain=chain, judge=plain.judge, calibrations=plain.calibrations, clock=plain.clock, keep=plain.keep, spare=plain.spare,
            wanted=wanted, skipped=frozenset(names[1 : names.index(_known(chain, self.step))]), earlier=self.source.result(key),
            stored=self.source.products(key, chain), plots=self.source.plots(key), definitions=self.definitions,
        )  # fmt: skip

    def lacking(self, chain: Chain, key: PartKey) -> list[str]:
        """Why a part cannot be done, and how it could: a sentence for each product that is not stored. Raises BadConfig (step), BadData (a file)."""
        earlier = find_result(FileHistory(self.source.out), key, tag=self.source.tag)
        if earlier is None:
            return [f"there is no stored result under tag {self.source.tag}"]
        left_out, stored = _left_out(earlier), self.source.products(key, chain)
        wanted = (w for w in boundary(chain, self.step, self.provides) if w.step not in left_out)
        return [stored.missing(w) for w in wanted if stored.find(w) is None]


def _left_out(result: PartResult) -> dict[str, str]:
    """Steps that did not apply, and why."""
    return {s.name: s.not_applicable for s in result.steps if s.not_applicable}


@dataclass(frozen=True, slots=True, kw_only=True)
class _FromStepRunner(ChainRunner):
    """Steps in `skipped` give back what is stored."""

    wanted: tuple[Wanted, ...]
    skipped: frozenset[str]
    earlier: PartResult
    stored: StoredProducts
    plots: tuple[Plot, ...]
    definitions: Definitions

    def run(self, key: PartKey, read: Read, *, tag: str = "live", revision: int = 0, observer: Observer | None = None) -> Outcome:
        """See `ChainRunner.run`; calibrations that the steps before have used are told too."""
        outcome = ChainRunner.run(self, key, read, tag=tag, revision=revision, observer=observer)
        provenance = outcome.result.provenance
        known = {c.kind for c in provenance.calibrations}
        more = [c for c in self.earlier.provenance.calibrations if c.kind not in known]
        told = provenance.model_copy(update={"calibrations": [*more, *provenance.calibrations]})
        result = outcome.result.model_copy(update={"provenance": told})
        return Outcome(result=result, products=outcome.products, plots=outcome.plots, kept=outcome.kept, made_by=outcome.made_by)

    def _run_algorithm(self, state: Any, step: Step) -> None:
        if step.name not in self.skipped:
            ChainRunner._run_algorithm(self, state, step)
            return
        if why := _left_out(self.earlier).get(step.name):
            raise NotApplicable(why)
        needed = [w for w in self.wanted if w.step == step.name]
        for one in (*needed, *(k for k in self._kept(step) if k.type not in {w.type for w in needed})):
            product = self.stored.load(one, state.store.get(RawImage))
            if one in needed:
                state.store.pop(type(product), None)
                state.store[type(product)] = product
            if product.label in self.keep:
                state.kept[product.label], state.made_by[product.label] = product, step.name

    def _input(self, state: Any, need: Requirement, store: Mapping[type[Product], Product]) -> Product | Sequence[Product] | None:
        if need.type is not CalibrationsUsed:
            return ChainRunner._input(self, state, need, store)
        used = {c.kind: c for c in self.earlier.provenance.calibrations}
        used |= {found[1].kind: found[1] for found in state.calibrations.values() if found}
        absent = dict(state.absent)
        for kind in (k for k in self._asked() if k.kind not in used):
            absent.setdefault(kind.kind, self.calibrations.absence(kind, state.key, state.tags))
        return CalibrationsUsed(used=tuple(used.values()), absent=absent)

    def _asked(self) -> tuple[type[Calibration], ...]:
        """Calibrations that the steps before ask the index for."""
        made: set[type[Product]] = set()
        out: dict[type[Calibration], None] = {}
        for plugin in (s.plugin for s in self.chain.steps if s.name in self.skipped):
            contract = contract_of(plugin) if plugin is not None else None
            out |= {n.type: None for n in (contract.inputs if contract else ()) if issubclass(n.type, Calibration) and n.type not in made}
            made |= set(contract.outputs if contract else ())
        return tuple(out)

    def _kept(self, step: Step) -> Iterator[Wanted]:
        """Products of a step that are written and stored: the new tag then has all that the old one has."""
        for kind in contract_of(step.plugin).outputs if step.plugin is not None else ():
            wanted = Wanted(step=step.name, type=kind, who="")
            if self.keep & set(labels_of(kind)) and self.stored.find(wanted) is not None:
                yield wanted

    def _qa(self, state: Any, step: Step, use: QaUse, before: Any, watch: Observer) -> None:
        if step.name not in self.skipped and step.plugin is not None:
            ChainRunner._qa(self, state, step, use, before, watch)
            return
        stored = next((q for q in self.earlier.qas if q.name == use.name), None)
        if stored is None:
            why = f"QA {use.name} stands before the step that was started from, and its result is not stored under tag {self.earlier.tag}"
            result = self._unknown(state, step, use, why, Failure(error="NotStored", message=why, what_next="Run the whole chain."))
        else:
            state.plots += [p for p in self.plots if p.name in stored.plots]
            result = rejudge_qa(self.judge, stored, state.tags, definitions=self.definitions)
            source = f"tag {self.earlier.tag}, revision {self.earlier.revision}"
            result = result.model_copy(update={"facts": {**result.facts, "taken_from": source}})
        state.qas.append(result)
        watch.qa(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyQas:
    """QAs alone on stored products; all else of the merged QA is taken over from the stored one.

    `chains` by name; `provides` are the types that the reader gives.
    """

    source: Stored
    names: tuple[str, ...]
    chains: Mapping[str, Chain]
    provides: tuple[type[Product], ...] = ()

    def __call__(self, plain: ChainRunner, key: PartKey) -> ChainRunner:
        """The runner for a part. Raises BadConfig (no such QA), BadData (no stored result)."""
        chain = self.chains.get(plain.chain.name, plain.chain)
        return _OnlyQaRunner(
            chain=chain, judge=plain.judge, calibrations=plain.calibrations, clock=plain.clock,
            uses=select(chain, self.names)[0], earlier=self.source.result(key), folder=self.source.folder(key), plots=self.source.plots(key),
        )  # fmt: skip


    def lacking(self, chain: Chain, key: PartKey) -> list[str]:
        """As `FromStep.lacking`."""
        if find_result(FileHistory(self.source.out), key, tag=self.source.tag) is None:
            return [f"there is no stored result under tag {self.source.tag}"]
        chain = self.chains.get(chain.name, chain)
        stored = StoredProducts(folder=self.source.folder(key), key=key, steps=chain.steps)
        wanted = needs(chain, select(chain, self.names)[0], self.provides)
        return list(dict.fromkeys(stored.missing(w) for w in wanted if stored.find(w) is None))


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnlyQaRunner(ChainRunner):
    """Measures `uses` again."""

    uses: tuple[QaUse, ...]
    earlier: PartResult
    folder: Path
    plots: tuple[Plot, ...]

    def run(self, key: PartKey, read: Read, *, tag: str = "live", revision: int = 0, observer: Observer | None = None) -> Outcome:
        """See `ChainRunner.run`. Raises BadData where a product that is needed is not stored."""
        moved = {"tag": tag, "revision": revision}
        if not self.uses:  # QAs of the exposure as a whole are measured when it is concluded
            return Outcome(result=self.earlier.model_copy(update=moved), products={}, plots=self.plots)
        plain = ChainRunner(chain=self.chain, judge=self.judge, calibrations=self.calibrations, clock=self.clock)
        done = measure_stored(plain, read(), self.earlier, self.folder, self.uses, observer)
        for note in done.notes:
            log.warning("%s: %s", key, note)
        replaced = {name for q in (*done.before.qas, *done.after.qas) if q.name in done.names for name in q.plots}
        plots = (*(p for p in self.plots if p.name not in replaced), *done.plots)
        return Outcome(result=done.after.model_copy(update=moved), products={}, plots=plots)


PostMortem = Callable[[BaseException, TracebackType | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Debugging:
    """Runs chains as ever, and calls `look` on whatever a step or a QA raises, before it becomes a failure. `inner` may make another runner first."""

    look: PostMortem
    inner: Callable[[ChainRunner, PartKey], ChainRunner] | None = None

    def __call__(self, plain: ChainRunner, key: PartKey) -> ChainRunner:
        """A runner of the same kind."""
        runner = self.inner(plain, key) if self.inner is not None else plain
        kind, look = type(runner), self.look

        class Watched(kind):  # type: ignore[misc, valid-type]
            """Looks at what is raised."""

            __slots__ = ()

            def _read(self, state: Any, read: Read) -> None:
                _look_at(look, lambda: kind._read(self, state, read))

            def _run_algorithm(self, state: Any, step: Step) -> None:
                _look_at(look, lambda: kind._run_algorithm(self, state, step))

            def _unknown(self, *args: Any, **kwargs: Any) -> QAResult:
                if (error := sys.exc_info()[1]) is not None:  # else its step has failed, and was looked at
                    look(error, error.__traceback__)
                result: QAResult = kind._unknown(self, *args, **kwargs)
                return result

        made: ChainRunner = Watched(**{name: getattr(runner, name) for name in runner.__dataclass_fields__})
        return made


def _look_at(look: PostMortem, act: Callable[[], None]) -> None:
    try:
        act()
    except NotApplicable:
        raise
    except Exception as error:
        look(error, error.__traceback__)
        raise
