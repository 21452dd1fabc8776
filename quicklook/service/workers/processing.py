"""Processing of one part: read, run the chain, write what comes out. Used by workers, by `run`, and by the Python API."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from quicklook.core.builder import Builder
from quicklook.core.calibration import CalibrationSource
from quicklook.core.chain import Chain
from quicklook.core.decision import DecisionsFile
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import CalibrationMade, Draft, PartVerdict, Payload, PlotsReady, ProductWritten, QADone, StepDone, draft
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey
from quicklook.core.limits import LimitSet
from quicklook.core.reading import Reading
from quicklook.core.results import QAResult, StepResult
from quicklook.core.runner import ChainRunner, Observer, Outcome
from quicklook.io.atomic import write_json
from quicklook.io.calib import open_calibrations
from quicklook.io.folders import exposure_folder
from quicklook.io.headercards import provenance_cards
from quicklook.io.instrument import Instrument
from quicklook.io.plotfiles import save_plots
from quicklook.io.products import STEP_CARD, WriteContext, context_of, write_product
from quicklook.io.reader import Reader, open_reader
from quicklook.io.revisions import of_revision, set_aside
from quicklook.io.room import check_room
from quicklook.service.calibrating.adopting import Adoption
from quicklook.service.running.hkplace import HkPlace

log = logging.getLogger("quicklook.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a worker needs to process any part: configuration alone, no open file; can be pickled.

    `chains` by flavor; the chain under ``""`` is for every other one. `adoption` takes over calibrations that chains and builders make, where
    that is wanted (by the daemon alone); `builders` are those that the daemon uses. `decisions` are the rules by which it is said what to do after
    an exposure, `goals` what every exposure is to reach, by name. `runner` makes of the plain runner another one for a part, such as one that starts
    from stored products (see `quicklook.service.rerun.fromstored`); it can be pickled. Products wait while less than `keep_gb` (1e9 bytes) are free.
    `housekeeping` is what is joined to exposures when they are concluded.
    """

    instrument: Instrument
    chains: Mapping[str, Chain]
    limits: LimitSet
    calib: Path | None
    out: Path
    tag: str = "live"
    products: tuple[str, ...] = ()
    plots: bool = True
    adoption: Adoption | None = None
    builders: Mapping[str, Builder] = field(default_factory=dict)
    decisions: DecisionsFile | None = None
    goals: Mapping[str, float] = field(default_factory=dict)
    runner: Callable[[ChainRunner, PartKey], ChainRunner] | None = None
    keep_gb: float = 0.0
    housekeeping: HkPlace | None = None

    def chain_for(self, flavor: str) -> Chain:
        """The chain of a flavor. Raises BadConfig if none is configured."""
        chain = self.chains.get(flavor) or self.chains.get("")
        if chain is None:
            known = ", ".join(k or "any" for k in self.chains)
            raise BadConfig(f"no chain is configured for flavor {flavor!r} (there are: {known}); add one under `chains` of the site")
        return chain


@dataclass(slots=True)
class _Times:
    """Notes when each step and QA ended, UTC ns, and passes everything on."""

    on: Observer | None
    times: dict[str, int] = field(default_factory=dict)

    def begins(self, step: str, qa: str = "") -> None:
        if self.on:
            self.on.begins(step, qa)

    def step(self, result: StepResult) -> None:
        self.times[result.name] = time.time_ns()
        if self.on:
            self.on.step(result)

    def qa(self, result: QAResult) -> None:
        self.times[f"{result.step}/{result.name}"] = time.time_ns()
        if self.on:
            self.on.qa(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """A part that has its verdict: what the chain gave, when it began and each step ended (UTC ns), how long it all took (s)."""

    key: PartKey
    outcome: Outcome
    times: Mapping[str, int]
    seconds: float
    started_ns: int = 0


class Processor:
    """Processes parts by a recipe. Holds what is worth keeping between parts: the reader and loaded calibrations."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @cached_property
    def reader(self) -> Reader:
        """The reader of the instrument."""
        return open_reader(self.recipe.instrument)

    @cached_property
    def calibrations(self) -> CalibrationSource:
        """The calibrations of the site."""
        return open_calibrations(self.recipe.calib)

    def warm_up(self) -> None:
        """Import plugins and compile or load their kernels, so that the first frame is not slower than the others."""
        from quicklook.service.workers.warmup import warm_chains, warm_decompression

        try:
            warm_decompression()
            warm_chains(self.recipe.chains, self.recipe.limits)
        except (Exception, SystemExit):
            log.exception("warming up failed; the first frame will be slower")

    def process(
        self, path: Path, key: PartKey, chain: Chain, *, revision: int = 0, observer: Observer | None = None, spare: frozenset[str] = frozenset()
    ) -> Processed:
        """Take one part through its chain, in memory. Never raises for what is wrong with data or plugins.

        Products of the kinds `spare` are let go when nothing takes them any more.
        """
        keep = frozenset((*chain.products, *self.recipe.products, *(self.recipe.adoption.kept if self.recipe.adoption else ())))
        judge = Judge(self.recipe.limits)
        runner = ChainRunner(chain=chain, judge=judge, calibrations=self.calibrations, clock=time.perf_counter, keep=keep, spare=spare)
        times, start, started_ns = _Times(observer), time.perf_counter(), time.time_ns()
        if self.recipe.runner is not None:
            runner = self.recipe.runner(runner, key)

        def read() -> Reading:
            return self.reader.read(path, key.part)

        outcome = runner.run(key, read, tag=self.recipe.tag, revision=revision, observer=times)
        return Processed(key=key, outcome=outcome, times=times.times, seconds=time.perf_counter() - start, started_ns=started_ns)

    def verdict_events(self, done: Processed) -> list[Draft]:
        """Every step, every QA and the verdict, as events."""
        result = done.outcome.result
        steps = [_event(done, StepDone(**s.model_dump())) for s in result.steps]
        qas = [_event(done, QADone(**q.model_dump())) for q in result.qas]
        verdict = PartVerdict(
            status=result.status,
            reasons=result.reasons,
            measured=result.measured,
            expected=result.expected,
            degraded=result.degraded,
            seconds=done.seconds,
            times=dict(done.times),
            path=str(self._qa_file(done).relative_to(self.recipe.out)),
        )
        return [*steps, *qas, _event(done, verdict)]

    def _qa_file(self, done: Processed) -> Path:
        folder = exposure_folder(self.recipe.out, self.recipe.tag, done.key.unit)
        return folder / f"qa-{done.key.part}-{done.key.unit.expid:08d}.json"

    def write(self, done: Processed, chain: Chain) -> Iterator[Draft]:
        """Write the merged QA, the plots as data and the products that are asked for; yields an event for each file.

        What an earlier revision has written is kept under its number. Where a later one is there, only QA and plots are written, so named.
        """
        qa_file, revision = self._qa_file(done), done.outcome.result.revision
        latest = set_aside(qa_file, revision)
        qa_file = qa_file if latest else of_revision(qa_file, revision)
        write_json(qa_file, done.outcome.result.model_dump(mode="json"), sync=False)
        yield self._written(done, qa_file, "qa")
        if self.recipe.plots and done.outcome.plots:
            path = qa_file.parent / "plots" / f"plots-{done.key.part}-{done.key.unit.expid:08d}.npz"
            path = path if latest else of_revision(path, revision)
            save_plots(path, done.outcome.plots)
            names = [p.name for p in done.outcome.plots]
            status_of = {name: qa.status for qa in done.outcome.result.qas for name in qa.plots}
            statuses = [status_of.get(name) for name in names]
            ready = PlotsReady(path=str(path.relative_to(self.recipe.out)), names=names, statuses=statuses)
            yield _event(done, ready)
        if chain.products or self.recipe.products:
            check_room(self.recipe.out, self.recipe.keep_gb)
        for label in dict.fromkeys((*chain.products, *self.recipe.products)) if latest else ():
            yield from self._write_product(done, label, qa_file.parent)
        if latest and self.recipe.adoption is not None:
            yield from self._adopt(done, self.recipe.adoption)

    def _adopt(self, done: Processed, adoption: Adoption) -> Iterator[Draft]:
        """Take over the calibrations of a part that is NORMAL. One that the index refuses is told, and nothing else happens."""
        result = done.outcome.result
        for product in adoption.wanted(done.outcome):
            path, reasons = "", list[str]()
            try:
                path = str(adoption.add(product, done.key, done.outcome).path)
            except BadData as error:
                log.warning("%s: %s", done.key, error)
                reasons = [str(error)]
            yield _event(
                done,
                CalibrationMade(
                    name=product.kind,
                    by=result.provenance.chain,
                    path=path,
                    status=result.status,
                    adopted=bool(path),
                    reasons=reasons,
                    made_from=[done.key.unit.expid],
                ),
            )

    def _write_product(self, done: Processed, label: str, folder: Path) -> Iterator[Draft]:
        product = done.outcome.kept.get(label)
        if product is None:
            log.warning("%s: no product %s was made", done.key, label)
            return
        yield self._written(done, write_product(product, folder, self._context(done, label)), label)

    @staticmethod
    def _context(done: Processed, label: str) -> WriteContext:
        provenance, step = done.outcome.result.provenance, done.outcome.made_by.get(label)
        cards = provenance_cards(tuple(provenance.calibrations), provenance.config_sha256)
        cards = {**cards, STEP_CARD: step} if step else cards
        return context_of(done.outcome.products.values(), done.key.part, cards, sync=False)

    def _written(self, done: Processed, path: Path, name: str) -> Draft:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        written = ProductWritten(name=name, path=str(path.relative_to(self.recipe.out)), sha256=sha256, size=path.stat().st_size)
        return _event(done, written)


def _event(done: Processed, payload: Payload) -> Draft:
    result = done.outcome.result
    return draft(payload, unit=done.key.unit, part=done.key.part, tag=result.tag, revision=result.revision)
