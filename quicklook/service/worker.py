"""What a worker does with a job, in whatever process it runs: messages go out as they come about."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from quicklook.core.errors import BadData, NotReadyYet, QuicklookError, Transient
from quicklook.core.events import CalibrationMade, Draft, PlotsReady, draft
from quicklook.core.keys import PartKey, Unit
from quicklook.core.memory import give_back
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.building import Building, Built
from quicklook.service.builds import BuildJob
from quicklook.service.jobs import Job
from quicklook.service.processing import Processor, Recipe

log = logging.getLogger("quicklook.worker")
LARGE = frozenset({"raw", "preproc"})
"""Kinds of products that a worker does not hold longer than they are used: 240 MB of a full DESI camera."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is warm."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The worker has compiled kernels, which are in their cache now, and ends: the compiler would hold 300 MB for as long as it lives."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The part has its verdict; files are still to be written."""

    job: Job
    status: Status
    reasons: tuple[str, ...]
    events: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """All files of the part are written."""

    job: Job
    events: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Assembled:
    """A group was built, with this verdict; its files are written."""

    job: BuildJob
    status: Status
    events: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """The work could not be done; `retry` if it may go well later."""

    job: Job | BuildJob
    failure: Failure
    retry: bool


Message = Ready | Judged | Written | Assembled | Broken


def work(processor: Processor, job: Job | BuildJob, send: Callable[[Message], None]) -> None:
    """Process a job and send what comes of it. Raises nothing but KeyboardInterrupt and GeneratorExit."""
    try:
        if isinstance(job, BuildJob):
            send(_assemble(processor, job))
        else:
            _work(processor, job, send)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except QuicklookError as error:
        log.warning("%s %s could not be processed to its end: %s", job.unit, job.part, error)
        send(Broken(job, Failure.of(error), retry=isinstance(error, Transient | NotReadyYet)))
    except BaseException as error:  # a plugin may as well raise SystemExit
        log.exception("%s %s could not be processed to its end", job.unit, job.part)
        send(Broken(job, Failure.of(error), retry=isinstance(error, OSError)))


def _work(processor: Processor, job: Job, send: Callable[[Message], None]) -> None:
    key = PartKey(job.unit, job.part)
    chain = processor.recipe.chain_for(job.flavor)
    done = processor.process(Path(job.path), key, chain, revision=job.revision, spare=LARGE)
    if done.outcome.retry:
        failure = next(s.failure for s in done.outcome.result.steps if s.failure is not None)
        send(Broken(job, failure, retry=True))
        return
    result = done.outcome.result
    if not job.announced:
        send(Judged(job, result.status, tuple(result.reasons), tuple(processor.verdict_events(done))))
    # the verdict stands, whatever comes now: what is tried again, or given up, is the writing alone
    send(Written(job, tuple(processor.write(done, chain))))
    del done
    give_back()  # what the allocator kept of the spectra would add to the peak of the next exposure


def _assemble(processor: Processor, job: BuildJob) -> Assembled:
    """Build a calibration from a group and write it: into the index where that is wanted and its verdict is NORMAL, else into the output folder."""
    from quicklook.service.builtfiles import left_out_words, write_built

    recipe, building = processor.recipe, Building(processor.reader, processor.recipe.limits, processor.calibrations, threads=1)
    built = building.build(recipe.builders[job.builder], building.gather([Path(p) for p in job.files]), job.part)
    adoption = recipe.adoption
    kinds = set(adoption.settings.kinds) & set(built.products) if adoption and built.status is Status.NORMAL else set()
    folder = adoption.folder if adoption and kinds else recipe.out / recipe.tag / "calib"
    reasons, paths = list(built.group.outcome.result.reasons), dict[str, Path]()
    try:
        paths = write_built(built, folder, add=kinds, plots=False).calibrations
    except BadData as error:
        log.warning("%s of %s: %s", job.builder, job.part, error)
        reasons, kinds = [str(error)], set()
    made = [
        CalibrationMade(
            name=kind,
            by=built.builder.name,
            path=str(paths.get(kind, "")),
            status=built.status,
            adopted=kind in kinds,
            reasons=reasons,
            made_from=list(built.made_from),
            left_out=left_out_words(built.members),
        )
        for kind in (t.kind for t in built.builder.products)
    ]
    events = [draft(m, unit=job.unit, part=job.part, tag=job.tag) for m in made]
    # plots of a group belong to no exposure: the receipt of its first one must not change
    events += [draft(p, part=job.part, tag=job.tag) for p in _plots(recipe, built, job.unit)]
    return Assembled(job, built.status, tuple(events))


def _plots(recipe: Recipe, built: Built, first: Unit) -> list[PlotsReady]:
    """The plots of a build as data, in a folder of their own, for the renderer; none where plots are not wanted."""
    from quicklook.service.builtfiles import save_plots_of

    if not recipe.plots or not built.group.outcome.plots:
        return []
    folder = recipe.out / recipe.tag / "calib" / f"{built.builder.name}-{built.camera}-{first.night:08d}-{first.expid:08d}"
    return [save_plots_of(built, folder / "plots", recipe.out)]


def worker_main(pipe: Connection, recipe: Recipe, threads: int, warm_up: bool = True, may_end: bool = False) -> None:
    """Body of a worker process: get warm (if wanted), then take jobs from the pipe until it closes or None comes.

    With `may_end` it ends, and says so, where getting warm meant compiling.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    processor = Processor(recipe)
    if warm_up:
        processor.warm_up()
    try:
        if may_end and _has_compiled():
            pipe.send(Compiled())
            return
        pipe.send(Ready())
        while (job := pipe.recv()) is not None:
            work(processor, job, pipe.send)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # the daemon is gone: its next start finds the job open
        return


def _has_compiled() -> bool:
    module = sys.modules.get("quicklook.core.compiled")  # imported by the first kernel alone
    return module is not None and bool(module.compiled_here())
