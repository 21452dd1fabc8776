"""Executors: where jobs run. A contract, an inline one, and local processes that can be killed at a deadline."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from quicklook.core.errors import BadConfig
from quicklook.core.results import Failure
from quicklook.service.builds import BuildJob
from quicklook.service.jobs import Job
from quicklook.service.processing import Processor, Recipe
from quicklook.service.worker import Assembled, Broken, Compiled, Message, Ready, Written, work, worker_main

_COLD_DEATHS = 5
"""So many workers in a row that die before they are warm mean that none will live."""

BUILD_DEADLINES = 10.0
"""A build of a group may take so many times as long as a camera."""

WARM_UP_S = 180.0
"""Compiling all kernels for the first time takes a minute on a slow machine."""

log = logging.getLogger("quicklook.service")


class Executor(Protocol):
    """Runs jobs somewhere and hands back messages."""

    def warm(self) -> int:
        """How many workers are ready for work, busy or not."""
        ...

    def free(self) -> int:
        """How many jobs it can take now."""
        ...

    def running(self) -> int:
        """How many jobs it has."""
        ...

    def submit(self, job: Job | BuildJob) -> None:
        """Take a job. Call only when `free` is not 0."""
        ...

    def wait(self, timeout_s: float, others: Sequence[Connection] = ()) -> list[Message]:
        """Messages that have come, after at most `timeout_s` or as soon as one of `others` is readable."""
        ...

    def stop(self) -> None:
        """End all work now."""
        ...


class InlineExecutor:
    """Runs each job in the calling process, when it is submitted. For tests and small machines."""

    def __init__(self, recipe: Recipe) -> None:
        self._processor = Processor(recipe)
        self._messages: deque[Message] = deque()

    def warm(self) -> int:
        """This process is."""
        return 1

    def free(self) -> int:
        """Always one."""
        return 1

    def running(self) -> int:
        """Never any: a job is done when `submit` returns."""
        return 0

    def submit(self, job: Job | BuildJob) -> None:
        """Run it."""
        work(self._processor, job, self._messages.append)

    def wait(self, timeout_s: float, others: Sequence[Connection] = ()) -> list[Message]:
        """What has been done since the last call."""
        if not self._messages:
            wait(list(others), timeout_s)
        out = list(self._messages)
        self._messages.clear()
        return out

    def stop(self) -> None:
        """Nothing runs."""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    warm: bool = False
    warms_up: bool = True
    job: Job | BuildJob | None = None
    started: float = field(default_factory=time.monotonic)


class ProcessExecutor:
    """Warm worker processes, spawned (never forked: OpenMP does not survive it), killed at `deadline_s` and replaced.

    Getting warm may take `warm_up_s`. A worker that dies of it, or takes longer, is replaced by one that does without. One that had to compile is
    replaced once by a fresh one, which loads from the cache what it needs, in a third of the memory.
    """

    def __init__(
        self, recipe: Recipe, *, workers: int, threads: int = 1, deadline_s: float = 120.0, warm_up_s: float = WARM_UP_S
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._recipe, self._threads, self._deadline_s, self._warm_up_s = recipe, threads, deadline_s, warm_up_s
        self._cold_deaths = 0
        self._workers = [self._spawn() for _ in range(workers)]

    def _spawn(self, warm_up: bool = True, may_end: bool = True) -> _Worker:
        ours, theirs = self._context.Pipe()
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            # read when numpy and numba are first imported, so it must be set before the child starts
            os.environ[name] = str(self._threads)
        args = (theirs, self._recipe, self._threads, warm_up, may_end)
        process = self._context.Process(target=worker_main, args=args, daemon=True, name="quicklook-worker")
        process.start()
        theirs.close()
        return _Worker(process=process, pipe=ours, warms_up=warm_up)

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        return [w.process.pid for w in self._workers if w.process.pid]

    def warm(self) -> int:
        """Workers whose kernels are compiled."""
        return sum(w.warm for w in self._workers)

    def free(self) -> int:
        """Warm workers without a job."""
        return sum(w.warm and w.job is None for w in self._workers)

    def running(self) -> int:
        """Workers with a job."""
        return sum(w.job is not None for w in self._workers)

    def submit(self, job: Job | BuildJob) -> None:
        """Give the job to an idle worker."""
        worker = next(w for w in self._workers if w.warm and w.job is None)
        worker.job, worker.started = job, time.monotonic()
        try:
            worker.pipe.send(job)
        except (BrokenPipeError, OSError):
            log.warning("worker %s was gone when it was given %s", worker.process.pid, job.unit)

    def wait(self, timeout_s: float, others: Sequence[Connection] = ()) -> list[Message]:
        """Messages of all workers; dead and overdue ones are replaced and their jobs reported as broken."""
        ready = wait([w.pipe for w in self._workers] + list(others), timeout_s)
        messages: list[Message] = []
        for worker in list(self._workers):
            if worker.pipe in ready:
                messages += self._receive(worker)
        return messages + self._overdue()

    def _receive(self, worker: _Worker) -> list[Message]:
        out: list[Message] = []
        try:
            while worker.pipe.poll():
                message: Message | Compiled = worker.pipe.recv()
                if isinstance(message, Compiled):
                    self._renew(worker)
                    return out
                if isinstance(message, Ready):
                    worker.warm, self._cold_deaths = True, 0
                if isinstance(message, Written | Assembled | Broken):
                    worker.job = None
                out.append(message)
        except (EOFError, OSError):
            worker.process.join(5)
            out += self._replace(worker, f"its worker process ended with status {worker.process.exitcode}")
        return out

    def _renew(self, worker: _Worker) -> None:
        worker.process.join(5)
        worker.pipe.close()
        self._workers[self._workers.index(worker)] = self._spawn(may_end=False)

    def _overdue(self) -> list[Message]:
        now, out = time.monotonic(), []
        for worker in list(self._workers):
            limit_s = self._deadline_s if worker.warm else self._warm_up_s
            limit_s *= BUILD_DEADLINES if isinstance(worker.job, BuildJob) else 1.0
            if (worker.job is not None or not worker.warm) and now - worker.started > limit_s:
                worker.process.kill()
                out += self._replace(worker, f"it took longer than {limit_s:g} s and was stopped")
        return out

    def _replace(self, worker: _Worker, why: str) -> list[Message]:
        worker.process.join(5)
        worker.pipe.close()
        died_warming_up = worker.warms_up and not worker.warm
        self._cold_deaths += not (worker.warm or worker.warms_up)
        if self._cold_deaths > _COLD_DEATHS:
            raise BadConfig(f"worker processes do not start ({why}); the log says why, `quicklook validate` checks the configuration")
        self._workers[self._workers.index(worker)] = self._spawn(warm_up=not died_warming_up)
        if worker.job is None:
            log.error("a worker was replaced: %s%s", why, "; the new one does not warm up, its first frame will be slower" if died_warming_up else "")
            return []
        failure = Failure(error="WorkerLost", message=why, what_next="It is retried; if it comes again, look at the log and at the file.")
        return [Broken(worker.job, failure, retry=True)]

    def stop(self) -> None:
        """End all workers: kindly, then not."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(2)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join(2)
            worker.pipe.close()
