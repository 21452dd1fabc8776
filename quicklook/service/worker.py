"""What a worker does with a job, in whatever process it runs: messages go out as they come about."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from quicklook.core.errors import NotReadyYet, QuicklookError, Transient
from quicklook.core.events import Draft
from quicklook.core.keys import PartKey
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.jobs import Job
from quicklook.service.processing import Processor, Recipe

log = logging.getLogger("quicklook.worker")


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is warm."""


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
class Broken:
    """The work could not be done; `retry` if it may go well later."""

    job: Job
    failure: Failure
    retry: bool


Message = Ready | Judged | Written | Broken


def work(processor: Processor, job: Job, send: Callable[[Message], None]) -> None:
    """Process a job and send what comes of it. Raises nothing but KeyboardInterrupt and GeneratorExit."""
    try:
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
    done = processor.process(Path(job.path), key, chain, revision=job.revision)
    if done.outcome.retry:
        failure = next(s.failure for s in done.outcome.result.steps if s.failure is not None)
        send(Broken(job, failure, retry=True))
        return
    result = done.outcome.result
    if not job.announced:
        send(Judged(job, result.status, tuple(result.reasons), tuple(processor.verdict_events(done))))
    # the verdict stands, whatever comes now: what is tried again, or given up, is the writing alone
    send(Written(job, tuple(processor.write(done, chain))))


def worker_main(pipe: Connection, recipe: Recipe, threads: int, warm_up: bool = True) -> None:
    """Body of a worker process: get warm (if wanted), then take jobs from the pipe until it closes or None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    processor = Processor(recipe)
    if warm_up:
        processor.warm_up()
    try:
        pipe.send(Ready())
        while (job := pipe.recv()) is not None:
            work(processor, job, pipe.send)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # the daemon is gone: its next start finds the job open
        return
