"""Executors: where jobs run. The contract, the one that runs them in this process, and the choice by the settings of a site."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from quicklook.core.errors import BadConfig
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal.jobs import Job
from quicklook.service.settings import WorkSettings
from quicklook.service.workers.processexecutor import Bounds, ProcessExecutor
from quicklook.service.workers.processing import Processor, Recipe
from quicklook.service.workers.worker import Message, work

__all__ = ["Bounds", "Executor", "InlineExecutor", "ProcessExecutor", "bounds_of", "executor_of"]

log = logging.getLogger("quicklook.service")

_WAITING_SHARE = 0.2
"""Spectra whose files wait may take so much of the memory of the machine, in all workers together."""


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
    """Runs each job in the calling process, when it is submitted. For tests and small machines.

    It takes the next one when what came of the last is fetched: that is to be in the journal before a job that may end the process.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._processor = Processor(recipe)
        self._messages: deque[Message] = deque()

    def warm(self) -> int:
        """This process is."""
        return 1

    def free(self) -> int:
        """One, unless a job was done of which nobody has heard yet."""
        return 0 if self._messages else 1

    def running(self) -> int:
        """One where a job was done of which nobody has heard yet."""
        return 1 if self._messages else 0

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


def bounds_of(work: WorkSettings, workers: int = 1) -> Bounds:
    """What the settings of a site allow each of so many workers."""
    machine_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    return Bounds(
        deadline_s=work.deadline_s,
        step_deadline_s=work.step_deadline_s,
        memory_mb=work.memory_limit_mb,
        recycle_jobs=work.recycle_jobs,
        calibrations_gb=work.calibrations_gb,
        waiting_mb=min(work.waiting_mb, machine_mb * _WAITING_SHARE / workers),
    )


def executor_of(recipe: Recipe, work: WorkSettings, *, raw: Path | None = None, workers: int = 0, most: int | None = None) -> Executor:
    """The executor that a site asks for.

    `workers` goes before the number in the settings, `most` is the largest number that is of use; `raw` is the folder that workers on other
    machines must see beside those of the recipe. Raises BadConfig where Dask is asked for and cannot be used.
    """
    if work.executor == "inline":
        return InlineExecutor(recipe)
    if work.executor == "dask":
        return _dask(recipe, work, raw)
    cores = len(os.sched_getaffinity(0))
    fitting = max(1, cores // work.threads)
    wanted = workers or work.workers or fitting
    if wanted > fitting:
        log.warning("%d workers x %d threads are more than the %d cores; using %d workers", wanted, work.threads, cores, fitting)
    count = max(1, min(wanted, fitting, most or wanted))
    return ProcessExecutor(recipe, workers=count, threads=work.threads, bounds=bounds_of(work, count))


def _dask(recipe: Recipe, work: WorkSettings, raw: Path | None) -> Executor:
    try:
        from quicklook.service.workers.daskexecutor import DaskExecutor
    except ModuleNotFoundError as error:
        if error.name not in ("distributed", "dask"):
            raise
        raise BadConfig("work.executor is dask, and Dask is not installed", what_next="pip install 'spectroquicklook[dask]'") from error
    return DaskExecutor(recipe, address=work.address, threads=work.threads, bounds=bounds_of(work), raw=raw)
