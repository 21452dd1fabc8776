"""The trials of a scorecard: frames are simulated, written, read and judged as any other, in processes of their own."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from quicklook.core.chain import Chain
from quicklook.core.errors import BadConfig, QuicklookError
from quicklook.core.keys import PartKey
from quicklook.core.results import PartResult
from quicklook.core.scorecard import Trial
from quicklook.core.status import Status
from quicklook.service.site import load_site
from quicklook.service.workers.processing import Processor
from quicklook.sim import FAULTS, Flavor, PlannedExposure, Scale, SimInstrument, WriteOptions, sim_instruments, write_calibrations, write_exposure
from quicklook.sim.faults import Fault
from quicklook.sim.healthy import healthy_exposure, ladder

B = TypeVar("B")
LEFT_OUT = ("missing_camera",)
"""Faults of a whole exposure, which no camera of it shows; see `quicklook.service.verdicts.exposurecard`."""
_PER_BATCH = 20
"""Healthy frames of one instrument: then another, with gains, noise, defects and fibres of its own."""
_ABSENCE = ("file", "header", "calibration")
_EXPIDS = {"science": 1000, "arc": 2000, "flat": 3000, "zero": 4000, "dark": 5000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Frames of one simulated instrument: `frames` healthy ones, or every strength of a fault once; `exptime` (s) in place of that of the flavor."""

    camera: str
    scale: Scale
    flavor: Flavor
    seed: int
    fault: str = ""
    frames: int = 0
    exptime: float | None = None

    def exposure(self, expid: int, faults: tuple[Fault, ...] = ()) -> PlannedExposure:
        """A healthy exposure of its instrument, but for these faults."""
        planned = replace(healthy_exposure(self.seed, expid, self.flavor), faults=faults)
        return planned if self.exptime is None else replace(planned, exptime=self.exptime)


def plan_batches(
    camera: str,
    scale: Scale,
    *,
    flavors: Sequence[Flavor],
    faults: Sequence[str],
    healthy: int,
    seeds: int,
    first_seed: int,
    exptime: float | None = None,
) -> list[Batch]:
    """What is to be done: `healthy` frames of each flavor, and each fault that it can have, at every strength, for so many seeds. BadConfig."""
    if unknown := [f for f in faults if f not in FAULTS or f in LEFT_OUT]:
        raise BadConfig(f"fault {unknown[0]!r} cannot be scored: use some of {', '.join(f for f in FAULTS if f not in LEFT_OUT)}")
    out = list[Batch]()
    for flavor in flavors:
        counts = [min(_PER_BATCH, healthy - i) for i in range(0, healthy, _PER_BATCH)]
        out += [Batch(camera=camera, scale=scale, flavor=flavor, seed=first_seed + i, frames=n) for i, n in enumerate(counts)]
        possible = [f for f in faults if can_have(flavor, f)]
        out += [Batch(camera=camera, scale=scale, flavor=flavor, seed=first_seed + i, fault=f) for f in possible for i in range(seeds)]
    return [replace(batch, exptime=exptime) for batch in out]


def can_have(flavor: Flavor, fault: str) -> bool:
    """Whether an exposure of that flavor can have the fault."""
    kind = FAULTS[fault]
    lit, sky = flavor in ("science", "arc", "flat"), flavor == "science"
    return (lit or not kind.needs_light) and (sky or not kind.needs_sky)


def run_batches(batches: Sequence[Batch], jobs: int = 1) -> Iterator[list[Trial]]:
    """The trials of each batch, as they are done; with more than one job in processes of one thread each."""
    return run_all(run_batch, batches, jobs)


def run_all(run: Callable[[B], list[Trial]], batches: Sequence[B], jobs: int = 1) -> Iterator[list[Trial]]:
    """What `run` makes of each batch, as it is done; with more than one job in processes of one thread each."""
    if jobs <= 1:
        yield from map(run, batches)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(run, batch) for batch in batches]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def run_batch(batch: Batch) -> list[Trial]:
    """Simulate and judge the frames of one batch in a folder that is removed afterwards."""
    (instrument,) = sim_instruments((batch.camera,), scale=batch.scale, seed=batch.seed)
    with tempfile.TemporaryDirectory(prefix="quicklook-scorecard-") as name:
        folder = Path(name)
        if not batch.fault:
            write_calibrations(folder, (instrument,))
            judge = _Judge(folder)
            first = _EXPIDS[batch.flavor]
            return [judge(batch, instrument, batch.exposure(first + i)) for i in range(batch.frames)]
        return _climb(batch, instrument, folder)


def _climb(batch: Batch, instrument: SimInstrument, folder: Path) -> list[Trial]:
    """The fault at every strength, under healthy conditions that differ from one to the next."""
    kind = FAULTS[batch.fault]
    out, judge = list[Trial](), None
    for number, rung in enumerate(ladder(batch.fault, instrument)):
        if judge is None or kind.level == "calibration":
            home = folder / f"{number}"
            write_calibrations(home, (instrument,), (rung.fault,))
            judge = _Judge(home)
        trial = judge(batch, instrument, batch.exposure(100 * number + _EXPIDS[batch.flavor], (rung.fault,)))
        out.append(replace(trial, fault=batch.fault, label=rung.label, rung=number, absence=kind.level in _ABSENCE))
    return out


class _Judge:
    """Writes one exposure after another and has it processed with the calibrations of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        options: dict[str, Any] = {"instrument": "desi", "calib": str(folder / "calib"), "out": str(folder / "out"), "plots": False}
        self._site = load_site(None, options=options)
        self._chains: dict[str, Chain] = {}
        self._processor = Processor(self._site.recipe(chains={}))

    def __call__(self, batch: Batch, instrument: SimInstrument, planned: PlannedExposure) -> Trial:
        path = write_exposure(self._folder, planned, (instrument,), WriteOptions(truth=False))
        try:
            peek = self._processor.reader.peek(path)
            name = self._site.chain_name(peek.flavor)
            chain = self._chains.setdefault(name, self._site.chain(name))
            result = self._processor.process(path, PartKey(peek.unit, batch.camera), chain).outcome.result
        except QuicklookError as error:
            return self._trial(batch, planned, Status.UNKNOWN, {"read": Status.UNKNOWN}, [str(error)])
        finally:
            path.unlink()
        return self._trial(batch, planned, result.status, statuses_of(result), result.reasons)

    @staticmethod
    def _trial(batch: Batch, planned: PlannedExposure, status: Status, statuses: dict[str, Status], reasons: Sequence[str]) -> Trial:
        return Trial(flavor=batch.flavor, seed=batch.seed, expid=planned.expid, status=status, statuses=statuses, reasons=tuple(reasons))


def statuses_of(result: PartResult) -> dict[str, Status]:
    """Status of every QA that has one, by name; steps that failed are UNKNOWN."""
    failed = {s.name: Status.UNKNOWN for s in result.steps if s.failure}
    return failed | {q.name: q.status for q in result.qas if q.status is not None}
