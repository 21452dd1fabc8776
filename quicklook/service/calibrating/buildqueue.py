"""The daemon's work on groups: builds are handed out in the gaps between exposures, and what comes of them is noted."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from quicklook.core.errors import NoSpace
from quicklook.core.events import CalibrationMade, Draft, JobFailed, draft
from quicklook.core.results import Failure
from quicklook.service.calibrating import builds
from quicklook.service.calibrating.again import Again
from quicklook.service.calibrating.buildmembers import BuildPlan
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal.jobs import Job
from quicklook.service.journal.journal import Journal
from quicklook.service.workers.executors import Executor
from quicklook.service.workers.worker import LOST_ELSEWHERE, Assembled, Broken, Message

log = logging.getLogger("quicklook.daemon")

_NO_ATTEMPT = (LOST_ELSEWHERE, NoSpace.__name__)
"""Errors that say nothing of a group: it is built as soon as the scheduler is back, or there is room."""


class BuildQueue:
    """Groups of one tag. Everything here raises what the journal raises, and leaves all as it was."""

    def __init__(
        self, journal: Journal, plans: Sequence[BuildPlan], tag: str, *, attempts: int, pauses_s: Sequence[float], again: Again | None = None
    ) -> None:
        self._journal, self._plans, self._tag, self._attempts, self._pauses = journal, tuple(plans), tag, attempts, tuple(pauses_s)
        self._again = again

    def release(self, connection: sa.Connection, died: Failure | None = None) -> int:
        """After a restart: builds whose workers are gone are open again. Returns how many. What counts as an attempt is as for the jobs."""
        return builds.release_running(connection, self._tag, died)

    def unfinished(self, connection: sa.Connection) -> int:
        """Builds that are open or running."""
        return builds.unfinished(connection, self._tag) if self._plans else 0

    def note(self, connection: sa.Connection, job: Job) -> None:
        """A part has its verdict: open what it completes."""
        builds.note(connection, job, self._plans)

    def adopted(self, connection: sa.Connection, job: Job | BuildJob, events: Sequence[Draft]) -> None:
        """Where these events say that calibrations were entered into the index: open the groups and exposures that have waited for them."""
        kinds = {str(e.payload["name"]) for e in events if e.kind == CalibrationMade.kind and e.payload["adopted"]}
        if kinds:
            builds.reconsider(connection, job, self._plans)
            if self._again is not None:
                self._again(connection, job, kinds)

    def hand_out(self, executor: Executor) -> None:
        """Start a build. Call when no exposure waits; where there are several workers one is left for the next exposure."""
        if not self._plans or executor.free() == 0 or (executor.warm() > 1 and executor.free() < 2):
            return
        with self._journal.transaction() as connection:
            job = builds.take_next(connection, self._tag, time.time_ns(), self._plans)
            why = builds.last_failure(connection, job.id) if job is not None and job.attempts > self._attempts else None
            if job is not None and why is not None:
                self._give_up(connection, replace(job, attempts=job.attempts - 1), why)
        if job is not None and why is None:
            log.info("%s of %s is built from %d files", job.builder, job.part, len(job.files))
            executor.submit(job)

    def take(self, job: BuildJob, message: Message) -> None:
        """Note what a worker says of a build."""
        with self._journal.transaction() as connection:
            if not builds.is_running(connection, job.id):
                return
            if isinstance(message, Assembled):
                self._journal.append(message.events, connection)
                builds.finish(connection, job.id, message.status)
                self.adopted(connection, job, message.events)
                log.info("%s of %s is built: %s", job.builder, job.part, message.status)
            elif isinstance(message, Broken):
                self._broken(connection, job, message)

    def _broken(self, connection: sa.Connection, job: BuildJob, message: Broken) -> None:
        log.warning("%s of %s: attempt %d: %s", job.builder, job.part, job.attempts, message.failure.message)
        counts = message.failure.error not in _NO_ATTEMPT
        if message.retry and (job.attempts < self._attempts or not counts):
            pause_s = self._pauses[min(job.attempts, len(self._pauses)) - 1]
            attempts = job.attempts if counts else job.attempts - 1
            builds.retry_later(connection, job.id, time.time_ns() + int(pause_s * 1e9), message.failure, attempts)
            return
        self._give_up(connection, job, message.failure)

    def _give_up(self, connection: sa.Connection, job: BuildJob, failure: Failure) -> None:
        builds.give_up(connection, job.id, failure)
        said = draft(JobFailed(attempts=job.attempts, failure=failure), unit=job.unit, part=job.part, tag=job.tag)
        self._journal.append([said], connection)
