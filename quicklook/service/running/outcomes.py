"""What comes of jobs, written into the journal: begun, judged, written, tried again, given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.core.events import JobFailed, Payload, Started, draft
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.calibrating.buildqueue import BuildQueue
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import Job
from quicklook.service.journal.journal import Journal
from quicklook.service.site import Site
from quicklook.service.verdicts.concluding import after_verdict
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import LOST_ELSEWHERE, Broken, Judged, Written

log = logging.getLogger("quicklook.daemon")

FULL_DISK_PAUSE_S = 30.0
"""A job whose files found no room is tried again after so long, for ever."""
_TOLD_S = 3600.0
"""That there is still no room for the files of a job is not logged again for so long: the log may be on the same disk."""
DIED = Failure(error="DaemonLost", message="the daemon itself has ended while it worked on it", what_next="It is tried again; look at the file.")


class Outcomes:
    """Writes what comes of the jobs of cameras, for the daemon, in its thread. What may pass is tried again after `pauses_s`."""

    def __init__(self, journal: Journal, site: Site, recipe: Recipe, builds: BuildQueue, pauses_s: Sequence[float]) -> None:
        self._journal, self._site, self._recipe, self._builds, self._pauses_s = journal, site, recipe, builds, pauses_s
        self._told: dict[tuple[int, str], float] = {}

    def release(self, connection: sa.Connection) -> int:
        """After a restart: what an earlier run left unfinished is open again. Returns how many.

        It is an attempt that counts where the work is done in the daemon itself: else what ends the daemon would be begun for ever.
        """
        died = DIED if self._site.file.work.executor == "inline" else None
        return jobs.release_running(connection, self._recipe.tag, died) + self._builds.release(connection, died)

    def leave(self) -> None:
        """The daemon ends in good order: what it is at is no attempt, and is open for the next one."""
        with suppress(Transient), self._journal.transaction() as connection:
            jobs.release_running(connection, self._recipe.tag)
            self._builds.release(connection)

    def begin(self, connection: sa.Connection, job: Job) -> bool:
        """Announce that work on a job begins; False if it was begun too often, or there is no chain for it now. The raw file is not looked at."""
        if job.attempts > self._site.file.work.attempts and (why := jobs.last_failure(connection, job)) is not None:
            self._give_up(connection, replace(job, attempts=job.attempts - 1), why)
            return False
        try:
            chain = self._recipe.chain_for(job.flavor)
        except BadConfig as error:
            self._fail(connection, job, Failure.of(error))
            return False
        if not job.announced:
            self._say(Started(chain=chain.name), job, connection)
        return True

    def _say(self, payload: Payload, job: Job, connection: sa.Connection) -> None:
        self._journal.append([draft(payload, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision)], connection)

    def note(self, connection: sa.Connection, job: Job, message: Judged | Written | Broken, *, raw_hangs: bool = False) -> None:
        """Write what a worker says of a job: its verdict, that its files are written, or that it could not be done."""
        if isinstance(message, Broken):
            self._broken(connection, job, message, raw_hangs)
        elif isinstance(message, Written):
            self._journal.append(message.events, connection)
            jobs.finish(connection, job.id)
            self._builds.adopted(connection, job, message.events)
        elif not job.announced:
            self._journal.append(message.events, connection)
            jobs.set_verdict(connection, job.id, message.status, message.reasons)
            after_verdict(connection, job, self._site.out, self._site.file.watch.unit_s)
            self._builds.note(connection, job)
            log.info("%s %s: %s", job.unit, job.part, message.status)

    def _broken(self, connection: sa.Connection, job: Job, message: Broken, raw_hangs: bool) -> None:
        now = time.time_ns()
        waits = message.failure.error == NoSpace.__name__ or (message.retry and raw_hangs)
        level = logging.DEBUG if waits and self._told_already(job, message.failure) else logging.WARNING
        log.log(level, "%s %s: attempt %d: %s", job.unit, job.part, job.attempts, message.failure.message)
        if message.failure.error == LOST_ELSEWHERE:
            jobs.retry_later(connection, job.id, now + int(self._pauses_s[0] * 1e9), message.failure, job.attempts - 1)
        elif waits:
            # not an attempt that counts: it goes well as soon as there is room, or the raw files can be read
            jobs.retry_later(connection, job.id, now + int(FULL_DISK_PAUSE_S * 1e9), message.failure, job.attempts - 1)
        elif message.retry and job.attempts < self._site.file.work.attempts:
            pause = self._pauses_s[min(job.attempts, len(self._pauses_s)) - 1]
            jobs.retry_later(connection, job.id, now + int(pause * 1e9), message.failure, job.attempts)
        else:
            (self._give_up if message.retry else self._fail)(connection, job, message.failure)

    def _told_already(self, job: Job, failure: Failure) -> bool:
        """Whether the log has this of this job already; it is noted that it has."""
        now, about = time.monotonic(), (job.id, failure.error)
        self._told = {key: at for key, at in self._told.items() if now - at < _TOLD_S}
        return self._told.setdefault(about, now) != now

    def _give_up(self, connection: sa.Connection, job: Job, failure: Failure) -> None:
        """What may pass has not passed: the job is over."""
        tried = f"It was tried {job.attempts} times and is given up: mend the cause, then `quicklook jobs {job.unit} --requeue` does it again."
        self._fail(connection, job, failure.model_copy(update={"what_next": tried}))

    def _fail(self, connection: sa.Connection, job: Job, failure: Failure) -> None:
        """The job is over; its part is UNKNOWN, unless its verdict is announced already."""
        jobs.give_up(connection, job.id, failure)
        self._say(JobFailed(attempts=job.attempts, failure=failure), job, connection)
        if not job.announced:
            jobs.set_verdict(connection, job.id, Status.UNKNOWN, [f"UNKNOWN: processing failed: {failure.message}"])
            after_verdict(connection, job, self._site.out, self._site.file.watch.unit_s)
