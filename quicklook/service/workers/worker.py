"""What a worker does with a job, in whatever process it runs: messages go out as they come about."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from quicklook.core.chain import Chain
from quicklook.core.errors import BadData, NotReadyYet, QuicklookError, Transient
from quicklook.core.events import CalibrationMade, Draft, PlotsReady, draft
from quicklook.core.keys import PartKey, Unit
from quicklook.core.memory import array_bytes, give_back
from quicklook.core.results import Failure, QAResult, StepResult
from quicklook.core.status import Status
from quicklook.io.calibfile import keep_ready
from quicklook.service.calibrating.building import Building, Built
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal.jobs import Job
from quicklook.service.running import runlog
from quicklook.service.workers.processing import Processed, Processor, Recipe

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
    """The part has its verdict; its files are still to be written, and take so many bytes of memory until then."""

    job: Job
    status: Status
    reasons: tuple[str, ...]
    events: tuple[Draft, ...]
    held: int = 0


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

LOST_ELSEWHERE = "SchedulerLost"
"""Error of a failure of what hands jobs to other machines. It says nothing of the job, and is no attempt that counts towards giving up."""

_NEXT_S = 0.05
"""Files wait so long for the next job: the daemon has to write the verdict into its journal before it hands that out."""

WRITING = "write"
"""Name of the stage after the last step, in which files are written."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a worker is at, and since when (the monotonic clock of its machine, s)."""

    step: str
    qa: str
    began: float

    @property
    def words(self) -> str:
        """As it stands in a message."""
        return f"QA {self.qa} of step {self.step}" if self.qa else f"step {self.step}"


class Stages:
    """An observer of the runner that tells `send` where the work is."""

    def __init__(self, send: Callable[[Stage], None]) -> None:
        self._send = send

    def begins(self, step: str, qa: str = "") -> None:
        """A step or a QA begins."""
        self._send(Stage(step, qa, time.monotonic()))

    def step(self, result: StepResult) -> None:
        """Nothing: what follows is told when it begins."""

    def qa(self, result: QAResult) -> None:
        """Nothing."""


def _unheard(_stage: Stage) -> None:
    """Where nobody watches the work."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A part that has its verdict, of which no file is written yet."""

    job: Job
    done: Processed
    chain: Chain


def work(processor: Processor, job: Job | BuildJob, send: Callable[[Message], None], tell: Callable[[Stage], None] = _unheard) -> None:
    """Process a job, with all its files, and send what comes of it; `tell` hears of every step when it begins.

    Raises nothing but KeyboardInterrupt and GeneratorExit.
    """
    if (owed := judge(processor, job, send, tell)) is not None:
        write(processor, owed, send, tell)
    give_back()


def judge(processor: Processor, job: Job | BuildJob, send: Callable[[Message], None], tell: Callable[[Stage], None] = _unheard) -> Owed | None:
    """As `work`, up to the verdict: the files that are owed then, None where there are none."""
    owed: list[Owed] = []
    with _failing(job, send):
        if isinstance(job, BuildJob):
            send(_assemble(processor, job, Stages(tell)))
        else:
            owed += _judge(processor, job, send, Stages(tell))
    return owed[0] if owed else None


def write(processor: Processor, owed: Owed, send: Callable[[Message], None], tell: Callable[[Stage], None] = _unheard) -> None:
    """Write what is owed. The verdict stands, whatever comes now: what is tried again, or given up, is the writing alone."""
    with _failing(owed.job, send):
        Stages(tell).begins(WRITING)
        send(Written(owed.job, tuple(processor.write(owed.done, owed.chain))))


@contextmanager
def _failing(job: Job | BuildJob, send: Callable[[Message], None]) -> Iterator[None]:
    """What fails is sent, and not raised."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except QuicklookError as error:
        log.warning("%s %s could not be processed to its end: %s", job.unit, job.part, error)
        send(Broken(job, Failure.of(error), retry=isinstance(error, Transient | NotReadyYet)))
    except BaseException as error:  # a plugin may as well raise SystemExit
        log.exception("%s %s could not be processed to its end", job.unit, job.part)
        send(Broken(job, Failure.of(error), retry=isinstance(error, OSError)))


def _judge(processor: Processor, job: Job, send: Callable[[Message], None], stages: Stages) -> list[Owed]:
    key = PartKey(job.unit, job.part)
    chain = processor.recipe.chain_for(job.flavor)
    done = processor.process(Path(job.path), key, chain, revision=job.revision, observer=stages, spare=LARGE)
    result = done.outcome.result
    if done.outcome.retry:
        failure = next(s.failure for s in result.steps if s.failure is not None)
        send(Broken(job, failure, retry=True))
        return []
    if not job.announced:
        held = array_bytes((done.outcome.products, done.outcome.kept, done.outcome.plots))
        send(Judged(job, result.status, tuple(result.reasons), tuple(processor.verdict_events(done)), held))
    return [Owed(job, done, chain)]


def _assemble(processor: Processor, job: BuildJob, stages: Stages) -> Assembled:
    """Build a calibration from a group and write it: into the index where that is wanted and its verdict is NORMAL, else into the output folder."""
    from quicklook.service.calibrating.builtfiles import left_out_words, write_built

    recipe, building = processor.recipe, Building(processor.reader, processor.recipe.limits, processor.calibrations, threads=1)
    built = building.build(recipe.builders[job.builder], building.gather([Path(p) for p in job.files]), job.part, observer=stages)
    stages.begins(WRITING)
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
    from quicklook.service.calibrating.builtfiles import save_plots_of

    if not recipe.plots or not built.group.outcome.plots:
        return []
    folder = recipe.out / recipe.tag / "calib" / f"{built.builder.name}-{built.camera}-{first.night:08d}-{first.expid:08d}"
    return [save_plots_of(built, folder / "plots", recipe.out)]


def worker_main(
    pipe: Connection, stages: Connection, recipe: bytes, threads: int, warm_up: bool = True, may_end: bool = False, calibrations_gb: float = 0.0
) -> None:
    """Body of a worker process: get warm (if wanted), then take jobs from the pipe until it closes or None comes.

    With `may_end` it ends, and says so, where getting warm meant compiling. `recipe` is a Recipe, pickled and packed by
    zlib. What it is at goes into `stages`. It ends when its parent does.
    Calibrations are shared with the other workers, up to `calibrations_gb` (1e9 bytes) on the disk.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runlog.inherit()
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    keep_ready(int(calibrations_gb * 1e9))
    processor = Processor(pickle.loads(zlib.decompress(recipe)))
    if warm_up:
        processor.warm_up()
    try:
        if may_end and _has_compiled():
            pipe.send(Compiled())
            return
        pipe.send(Ready())
        _serve(processor, pipe, stages)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # the daemon is gone: its next start finds the job open
        return


def _serve(processor: Processor, pipe: Connection, stages: Connection) -> None:
    """Do jobs until None comes: verdicts first, and files when no job has come for a moment."""
    owed: deque[Owed] = deque()
    patience_s = 0.0
    while True:
        if owed and not pipe.poll(patience_s):
            patience_s = 0.0
            write(processor, owed.popleft(), pipe.send, stages.send)
            give_back()  # what the allocator kept of the spectra would add to the peak of the next exposure
            continue
        if (job := pipe.recv()) is None:
            break
        # what was announced before is only written again, and nobody was told that files are owed
        later = judge(processor, job, pipe.send, stages.send)
        if later is not None and later.job.announced:
            write(processor, later, pipe.send, stages.send)
        elif later is not None:
            owed.append(later)
        del later
        give_back()
        patience_s = _NEXT_S
    for left in owed:
        write(processor, left, pipe.send, stages.send)


def _end_with_parent() -> None:
    """Leave as soon as the parent is gone, killed or not: its successor does the job again, and nobody would stop this one if it hung."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _has_compiled() -> bool:
    module = sys.modules.get("quicklook.core.compiled")  # imported by the first kernel alone
    return module is not None and bool(module.compiled_here())
