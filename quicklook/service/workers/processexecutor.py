"""Local worker processes: warm, watched, killed at a deadline, replaced."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from quicklook.core.errors import BadConfig, Transient
from quicklook.core.results import Failure
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal.jobs import Job
from quicklook.service.publishing.vitals import memory_mb
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import LOST_ELSEWHERE, Assembled, Broken, Compiled, Judged, Message, Ready, Stage, Written, worker_main

_COLD_DEATHS = 5
"""So many workers in a row that die before they are warm mean that none will live."""

BUILD_FACTOR = 10.0
"""A build of a group may take so many times as long as a camera, and so much memory."""

FAR_ABOVE = 2.0
"""With so many times its limit of memory a worker is killed while it works: sooner than the system would end the daemon instead."""

WARM_UP_S = 900.0
"""Compiling all kernels for the first time takes a minute, some ten where the machine has much else to do. One that is stopped before it is
through leaves little to the next."""

_END_S = 1.0
"""All workers together are given so long to end when they are told to, and again when they are killed."""

_LEAVE_S = 10.0
"""A worker that was asked to end is killed after so long."""

log = logging.getLogger("quicklook.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a worker may take: seconds for a job, for a step or QA of it, to get warm; memory (MB, 1e6 bytes) and jobs until it is renewed, 0: any.

    `calibrations_gb` is the room on the disk for calibrations that all workers share (see `quicklook.io.prepared`). `waiting_mb`: spectra that have
    their verdicts may take so much of a worker while their files wait for other cameras to be judged; 0: files are written before the next camera.
    """

    deadline_s: float = 120.0
    step_deadline_s: float = 60.0
    warm_up_s: float = WARM_UP_S
    memory_mb: float = 0.0
    recycle_jobs: int = 0
    calibrations_gb: float = 0.0
    waiting_mb: float = 0.0


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    stages: Connection
    warm: bool = False
    warms_up: bool = True
    job: Job | BuildJob | None = None
    started: float = field(default_factory=time.monotonic)
    stage: Stage | None = None
    jobs: int = 0
    owed: dict[int, Judged] = field(default_factory=dict)
    """Verdicts that were given, by number of the job, whose files are not written yet."""

    def listen(self) -> None:
        """Take what it says of its steps."""
        try:
            while self.stages.poll():
                self.stage = self.stages.recv()
        except (EOFError, OSError):
            return  # it has ended, as its other pipe says too

    @property
    def busy_with(self) -> str:
        """In words, the step that it is at; empty where it has not said."""
        return self.stage.words if self.busy and self.stage is not None else ""

    @property
    def busy(self) -> bool:
        """Whether it has a job, or files to write."""
        return self.job is not None or bool(self.owed)

    @property
    def held_mb(self) -> float:
        """Memory of the spectra that wait to be written."""
        return sum(j.held for j in self.owed.values()) / 1e6

    def close(self) -> None:
        """Close our ends of its pipes."""
        self.pipe.close()
        self.stages.close()


class ProcessExecutor:
    """Warm worker processes, spawned (never forked: OpenMP does not survive it), killed beyond their `bounds` and replaced.

    A worker that dies of getting warm, or takes too long for it, is replaced by one that does without. One that had to compile is replaced once by
    a fresh one, which loads from the cache what it needs, in a third of the memory. One that is too large after a job, or has done enough of them,
    is renewed. Verdicts go before files: a worker that has judged a camera takes the next one, and writes when there is none, or when what waits is
    more than its bounds allow. What is lost with a worker is its own job, whose failure names the step, and what it has not written.
    """

    def __init__(self, recipe: Recipe, *, workers: int, threads: int = 1, bounds: Bounds | None = None) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._threads, self._bounds = threads, bounds or Bounds()
        # packed, as it then fits into the pipe to a new process at once: nobody waits until that has begun to read
        self._recipe = zlib.compress(pickle.dumps(recipe), 1)
        self._cold_deaths, self._renewed, self._stopped = 0, 0, False
        self._leaving: list[tuple[BaseProcess, float]] = []
        self._workers = [self._spawn() for _ in range(workers)]

    def _spawn(self, warm_up: bool = True, may_end: bool = True) -> _Worker:
        if self._stopped:
            raise Transient("the workers were stopped")
        ours, theirs = self._context.Pipe()
        heard, told = self._context.Pipe(duplex=False)
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            # read when numpy and numba are first imported, so it must be set before the child starts
            os.environ[name] = str(self._threads)
        args = (theirs, told, self._recipe, self._threads, warm_up, may_end, self._bounds.calibrations_gb)
        process = self._context.Process(target=worker_main, args=args, daemon=True, name="quicklook-worker")
        process.start()
        theirs.close()
        told.close()
        return _Worker(process=process, pipe=ours, stages=heard, warms_up=warm_up)

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        return [w.process.pid for w in self._workers if w.process.pid]

    @property
    def renewed(self) -> int:
        """How many workers were renewed because of their memory or their number of jobs."""
        return self._renewed

    def warm(self) -> int:
        """Workers whose kernels are compiled."""
        return sum(w.warm for w in self._workers)

    def free(self) -> int:
        """Warm workers without a job, and with room for what they have not written."""
        return sum(self._is_free(w) for w in self._workers)

    def _is_free(self, worker: _Worker) -> bool:
        return worker.warm and worker.job is None and (not worker.owed or worker.held_mb < self._bounds.waiting_mb)

    def running(self) -> int:
        """Workers with a job, or with files to write."""
        return sum(w.busy for w in self._workers)

    def owed(self) -> int:
        """Verdicts that were given and whose files are not written yet."""
        return sum(len(w.owed) for w in self._workers)

    def submit(self, job: Job | BuildJob) -> None:
        """Give the job to an idle worker."""
        worker = min((w for w in self._workers if self._is_free(w)), key=lambda w: len(w.owed))
        worker.listen()
        worker.job, worker.started, worker.stage = job, time.monotonic(), None
        try:
            worker.pipe.send(job)
        except (BrokenPipeError, OSError):
            log.warning("worker %s was gone when it was given %s", worker.process.pid, job.unit)

    def wait(self, timeout_s: float, others: Sequence[Connection] = ()) -> list[Message]:
        """Messages of all workers; dead ones and those beyond their bounds are replaced, and their jobs reported as broken."""
        ready = wait([w.pipe for w in self._workers] + list(others), timeout_s)
        messages: list[Message] = []
        for worker in list(self._workers):
            if worker.pipe in ready:
                messages += self._receive(worker)
        self._see_off()
        return messages + self._beyond()

    def _receive(self, worker: _Worker) -> list[Message]:
        out: list[Message] = []
        try:
            while worker.pipe.poll():
                message: Message | Compiled = worker.pipe.recv()
                if isinstance(message, Compiled):
                    self._change(worker, may_end=False)
                    return out
                if isinstance(message, Ready):
                    worker.warm, self._cold_deaths = True, 0
                out.append(message)
                if not isinstance(message, Ready) and self._note(worker, message) and not worker.busy and self._worn(worker):
                    self._renewed += 1
                    self._change(worker, may_end=True)
                    return out
        except (EOFError, OSError):
            worker.process.join(5)
            worker.listen()
            at = f" in {worker.busy_with}" if worker.busy_with else ""
            out += self._replace(worker, f"its worker process ended with status {worker.process.exitcode}{at}")
        return out

    def _note(self, worker: _Worker, message: Judged | Written | Assembled | Broken) -> bool:
        """What a message says of the work of a worker; whether a job of it is over."""
        if isinstance(message, Judged):
            worker.owed[message.job.id] = message
        elif not isinstance(message.job, BuildJob):
            worker.owed.pop(message.job.id, None)
        if worker.job == message.job:
            worker.job = None
        worker.started = time.monotonic()
        over = not isinstance(message, Judged)
        worker.jobs += over
        return over

    def _worn(self, worker: _Worker) -> bool:
        """Whether a worker has done enough, or is too large now that its job is over."""
        bounds, pid, jobs = self._bounds, worker.process.pid, worker.jobs
        if bounds.recycle_jobs and jobs >= bounds.recycle_jobs:
            log.info("worker %s is renewed after %d jobs", pid, jobs)
            return True
        if not bounds.memory_mb or (size := _size(worker)) <= bounds.memory_mb:
            return False
        often = "; it was its first, so if this comes again raise work.memory_limit_mb" if jobs == 1 else ""
        log.warning("worker %s has %.0f MB after %d jobs, the limit is %.0f MB: it is renewed%s", pid, size, jobs, bounds.memory_mb, often)
        return True

    def _change(self, worker: _Worker, *, may_end: bool) -> None:
        """A fresh worker in place of one that is to end by itself."""
        try:
            worker.pipe.send(None)
        except (BrokenPipeError, OSError):
            log.debug("worker %s has ended already", worker.process.pid)
        worker.close()
        self._leaving.append((worker.process, time.monotonic() + _LEAVE_S))
        self._workers[self._workers.index(worker)] = self._spawn(may_end=may_end)

    def _see_off(self) -> None:
        for process, until in list(self._leaving):
            if process.is_alive() and time.monotonic() > until:
                process.kill()
                process.join(1)
            if not process.is_alive():
                process.join()
                self._leaving.remove((process, until))

    def _beyond(self) -> list[Message]:
        out: list[Message] = []
        for worker in list(self._workers):
            if (worker.busy or not worker.warm) and (why := self._why_stopped(worker)):
                worker.process.kill()
                out += self._replace(worker, why)
        return out

    def _why_stopped(self, worker: _Worker) -> str:
        """Why a worker may not go on; empty if it may."""
        bounds, now = self._bounds, time.monotonic()
        if not worker.warm:
            return f"it took longer than {bounds.warm_up_s:g} s to get warm and was stopped" if now - worker.started > bounds.warm_up_s else ""
        worker.listen()
        factor = BUILD_FACTOR if isinstance(worker.job, BuildJob) else 1.0
        stage, at = worker.stage, worker.busy_with
        if stage is not None and now - stage.began > bounds.step_deadline_s * factor:
            return f"{at} took longer than {bounds.step_deadline_s * factor:g} s and was stopped"
        if now - worker.started > bounds.deadline_s * factor:
            return f"it took longer than {bounds.deadline_s * factor:g} s and was stopped{f' in {at}' if at else ''}"
        most = bounds.memory_mb * FAR_ABOVE * factor
        if most and (size := _size(worker)) > most:
            return f"its worker had {size:.0f} MB of memory{f' in {at}' if at else ''}, more than {most:.0f} MB, and was stopped"
        return ""

    def _replace(self, worker: _Worker, why: str) -> list[Message]:
        worker.process.join(5)
        worker.close()
        died_warming_up = worker.warms_up and not worker.warm
        self._cold_deaths += not (worker.warm or worker.warms_up)
        if self._cold_deaths > _COLD_DEATHS:
            raise BadConfig(f"worker processes do not start ({why}); the log says why, `quicklook validate` checks the configuration")
        self._workers[self._workers.index(worker)] = self._spawn(warm_up=not died_warming_up)
        if not worker.busy:
            log.error("a worker was replaced: %s%s", why, "; the new one does not warm up, its first frame will be slower" if died_warming_up else "")
            return []
        at = worker.job or next(iter(worker.owed.values())).job
        failure = Failure(error="WorkerLost", message=why, what_next="It is retried; if it comes again, look at the log and at the file.")
        aside = Failure(error=LOST_ELSEWHERE, message=f"its files were not written yet: {why}", what_next="Another worker writes them.")
        beside = [Broken(j.job, aside, retry=True) for j in worker.owed.values() if j.job != at]
        return [Broken(at, failure, retry=True), *beside]

    def stop(self) -> None:
        """End all workers: kindly, then not. From any thread; `wait` in another one raises Transient then, or OSError."""
        self._stopped = True
        processes = [w.process for w in self._workers] + [p for p, _ in self._leaving]
        for process in processes:
            process.terminate()
        end = time.monotonic() + _END_S  # of all together: one may hang in the system, on a disk that is away
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        left = [process for process in processes if process.is_alive()]
        for process in left:
            process.kill()
        for process in left:
            process.join(max(0.05, end + _END_S - time.monotonic()))
        for worker in self._workers:
            worker.close()


def _size(worker: _Worker) -> float:
    """Resident memory, MB; 0 where the system does not tell."""
    return memory_mb([worker.process.pid or 0]) or 0.0
