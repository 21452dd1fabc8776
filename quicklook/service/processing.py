"""Processing of one part: read, run the chain, write what comes out. Used by workers, by `run`, and by the Python API."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from quicklook.ccd.exposure import Exposure
from quicklook.core.calibration import CalibrationSource
from quicklook.core.chain import Chain
from quicklook.core.errors import BadConfig
from quicklook.core.events import Draft, PartVerdict, Payload, PlotsReady, ProductWritten, QADone, StepDone, draft
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey
from quicklook.core.limits import LimitSet
from quicklook.core.reading import Reading
from quicklook.core.results import QAResult, StepResult
from quicklook.core.runner import ChainRunner, Observer, Outcome
from quicklook.io.atomic import write_json
from quicklook.io.calib import open_calibrations
from quicklook.io.folders import exposure_folder
from quicklook.io.instrument import Instrument
from quicklook.io.plotfiles import save_plots
from quicklook.io.products import WriteContext, provenance_cards, write_product
from quicklook.io.reader import Reader, open_reader

log = logging.getLogger("quicklook.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a worker needs to process any part: configuration alone, no open file; can be pickled.

    `chains` by flavor; the chain under ``""`` is for every other one.
    """

    instrument: Instrument
    chains: Mapping[str, Chain]
    limits: LimitSet
    calib: Path | None
    out: Path
    tag: str = "live"
    products: tuple[str, ...] = ()
    plots: bool = True

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
    """A part that has its verdict: what the chain gave, when each step ended (UTC ns), how long it all took (s)."""

    key: PartKey
    outcome: Outcome
    times: Mapping[str, int]
    seconds: float


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
        from quicklook.service.warmup import warm_chains, warm_decompression

        try:
            warm_decompression()
            warm_chains(self.recipe.chains, self.recipe.limits)
        except Exception:
            log.exception("warming up failed; the first frame will be slower")

    def process(self, path: Path, key: PartKey, chain: Chain, *, revision: int = 0, observer: Observer | None = None) -> Processed:
        """Take one part through its chain, in memory. Never raises for what is wrong with data or plugins."""
        runner = ChainRunner(chain=chain, judge=Judge(self.recipe.limits), calibrations=self.calibrations, clock=time.perf_counter)
        times, start = _Times(observer), time.perf_counter()

        def read() -> Reading:
            return self.reader.read(path, key.part)

        outcome = runner.run(key, read, tag=self.recipe.tag, revision=revision, observer=times)
        return Processed(key=key, outcome=outcome, times=times.times, seconds=time.perf_counter() - start)

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
        """Write the merged QA, the plots as data and the products that are asked for; yields an event for each file."""
        qa_file = self._qa_file(done)
        write_json(qa_file, done.outcome.result.model_dump(mode="json"), sync=False)
        yield self._written(done, qa_file, "qa")
        if self.recipe.plots and done.outcome.plots:
            path = qa_file.parent / "plots" / f"plots-{done.key.part}-{done.key.unit.expid:08d}.npz"
            save_plots(path, done.outcome.plots)
            names = [p.name for p in done.outcome.plots]
            status_of = {name: qa.status for qa in done.outcome.result.qas for name in qa.plots}
            statuses = [status_of.get(name) for name in names]
            ready = PlotsReady(path=str(path.relative_to(self.recipe.out)), names=names, statuses=statuses)
            yield _event(done, ready)
        for kind in dict.fromkeys((*chain.products, *self.recipe.products)):
            yield from self._write_product(done, kind, qa_file.parent)

    def _write_product(self, done: Processed, kind: str, folder: Path) -> Iterator[Draft]:
        product = next((p for p in done.outcome.products.values() if p.kind == kind), None)
        if product is None:
            log.warning("%s: no product of kind %s was made", done.key, kind)
            return
        result = done.outcome.result
        exposure = next(p for p in done.outcome.products.values() if isinstance(p, Exposure))
        cards = provenance_cards(tuple(result.provenance.calibrations), result.provenance.config_sha256)
        context = WriteContext(exposure=exposure, camera=done.key.part, provenance=cards, sync=False)
        yield self._written(done, write_product(product, folder, context), kind)

    def _written(self, done: Processed, path: Path, name: str) -> Draft:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        written = ProductWritten(name=name, path=str(path.relative_to(self.recipe.out)), sha256=sha256, size=path.stat().st_size)
        return _event(done, written)


def _event(done: Processed, payload: Payload) -> Draft:
    result = done.outcome.result
    return draft(payload, unit=done.key.unit, part=done.key.part, tag=result.tag, revision=result.revision)
