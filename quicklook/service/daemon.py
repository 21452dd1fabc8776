"""The daemon: watches, makes jobs, hands them to workers, writes the journal, gives verdicts.

One thread does all of this; sinks read the journal beside it. Everything is in the journal before it is published, and a
part's steps, QAs and verdict are written in one transaction, so that a verdict is announced once. What cannot be written into
the journal now (a full disk) is kept and written when it can be.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import Pipe
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.core.events import Heartbeat, JobFailed, Payload, RawFolder, Receipt, Started, UnitDone, draft
from quicklook.core.results import Failure
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.reader import open_reader
from quicklook.service import jobs
from quicklook.service.arrivals import Arrivals
from quicklook.service.buildqueue import BuildQueue
from quicklook.service.builds import BuildJob
from quicklook.service.executors import Executor, InlineExecutor, ProcessExecutor
from quicklook.service.jobs import Job, UnitRow
from quicklook.service.journal import EVENTS, Journal
from quicklook.service.processing import Recipe
from quicklook.service.receipts import receipt_of
from quicklook.service.sinks import SinkRunner, make_sink, start_sink
from quicklook.service.site import Site
from quicklook.service.verdicts import unit_verdict
from quicklook.service.watcher import Arrived, Rejected, Watcher
from quicklook.service.worker import Broken, Judged, Message, Ready, Written

log = logging.getLogger("quicklook.daemon")

HEARTBEAT_S = 5.0
RETRY_PAUSES_S = (1.0, 5.0, 20.0)
FULL_DISK_PAUSE_S = 30.0
"""A job whose files found no room is tried again after so long, for ever."""
_SINK_READY_S = 5.0
_LONGEST_HOLD_S = 1.0


def journal_path(out: Path) -> Path:
    """Where the journal of an output folder is."""
    return out / "journal.sqlite"


class Daemon:
    """The quick-look daemon of a site. Use `run`, or `start`, `step` as often as wanted, and `stop`."""

    def __init__(self, site: Site) -> None:
        site.check()
        self.site = site
        self.recipe: Recipe = site.live_recipe()
        self._plans = site.build_plans(self.recipe.builders)
        self.reader = open_reader(site.instrument)
        self._tag = self.recipe.tag
        self._bell, self._ring = Pipe(duplex=False)
        self._life = ExitStack()
        self._inbox: deque[Message | Arrived | Rejected] = deque()
        self._held_since: float | None = None
        self._next_beat = self._next_check = 0.0
        self._raw_there: bool | None = None
        self._drain_s = 0.0
        self._sinks: list[SinkRunner] = []

    # ---- life

    def start(self) -> None:
        """Take the lock, open the journal, start sinks, workers and the watcher.

        Raises BadConfig where another daemon has the folder, or a sink cannot be opened; then nothing is left running. A folder of raw
        files that is not there yet is waited for.
        """
        try:
            self._start()
        except BaseException:
            self._life.close()
            raise

    def _start(self) -> None:
        out, params = self.site.out, self.site.file.sinks
        made = {name: make_sink(name, given, self.site.document) for name, given in params.items()}
        self._life.callback(_lock(out / "daemon.lock").close)
        if self.recipe.adoption is not None:
            self.recipe.adoption.prepare()
        self.journal = Journal(journal_path(out), time.time_ns)
        self._life.callback(self.journal.close)
        self._builds = BuildQueue(self.journal, self._plans, self._tag, attempts=self.site.file.work.attempts, pauses_s=RETRY_PAUSES_S)
        context = SinkContext(out=str(out), epoch=self.journal.epoch)
        for name, sink in made.items():
            self._sinks.append(start_sink(self.journal, journal_path(out), name, sink, params[name], context))
            self._life.callback(self._sinks[-1].stop, 2.0)
        for runner in self._sinks:
            runner.ready(_SINK_READY_S)
        self._life.callback(lambda: self.drain(self._drain_s))
        with self.journal.transaction() as connection:
            again = jobs.release_running(connection, self._tag) + self._builds.release(connection)
        if again:
            log.info("%d jobs that an earlier run left unfinished are done again", again)
        self.executor: Executor = self._executor()
        self._life.callback(self.executor.stop)
        self._start_watching()

    def _start_watching(self) -> None:
        w = self.site.file.watch
        self.watcher = Watcher(
            self.site.raw,
            wanted=self.reader.accepts,
            check=self.reader.peek,
            wake=self._wake,
            mode=w.mode,
            settle_s=w.settle_s,
            patience_s=w.patience_s,
            rescan_s=w.rescan_s,
            poll_s=w.poll_s,
        )
        self._life.callback(self.watcher.stop)
        self._arrivals = Arrivals(self.journal, self.site, self.recipe, self.reader)
        self._arrivals.recall(self.watcher)
        self.watcher.start()
        log.info("watching %s (%s), writing to %s", self.site.raw, self.watcher.mode, self.site.out)

    def _executor(self) -> Executor:
        work = self.site.file.work
        if work.executor == "inline":
            return InlineExecutor(self.recipe)
        cores = len(os.sched_getaffinity(0))
        workers = work.workers or max(1, cores // work.threads)
        if workers * work.threads > cores:
            fitting = max(1, cores // work.threads)
            log.warning("%d workers x %d threads are more than the %d cores; using %d workers", workers, work.threads, cores, fitting)
            workers = fitting
        return ProcessExecutor(self.recipe, workers=workers, threads=work.threads, deadline_s=work.deadline_s)

    def _wake(self) -> None:
        if not self._bell.poll():
            self._ring.send_bytes(b"!")

    def run(self, until: Callable[[], bool]) -> None:
        """Work until `until()` is true."""
        self.start()
        try:
            while not until():
                self.step()
        finally:
            self.stop()

    def stop(self, timeout_s: float = 8.0) -> None:
        """Stop in good order: the watcher, the workers, then the sinks once they have taken what there is."""
        self._drain_s = timeout_s
        self._life.close()

    def drain(self, timeout_s: float) -> bool:
        """Wait until every sink has taken every event; False if one has not within the time."""
        end = time.monotonic() + timeout_s
        try:
            while (behind := self._behind()) > 0:
                if time.monotonic() > end:
                    log.warning("sinks are %d events behind and go on at the next start", behind)
                    return False
                time.sleep(0.02)
        except Transient as error:
            log.warning("how far the sinks are is not known: %s", error)
            return False
        return True

    def _behind(self) -> int:
        last = self.journal.last_seq()
        return max((last - self.journal.position(s.name) for s in self._sinks), default=0)

    # ---- work

    @property
    def idle(self) -> bool:
        """Nothing waits, runs, or is about to arrive."""
        if self._inbox or self._arrivals.waiting or self.watcher.pending:
            return False
        try:
            with self.journal.reading() as connection:
                count = jobs.counts(connection, self._tag)
                waiting = count.get(jobs.OPEN) or count.get(jobs.RUNNING) or self._builds.unfinished(connection)
                return not (waiting or jobs.open_units(connection, self._tag))
        except Transient:
            return False

    def step(self) -> None:
        """One turn: take messages, take arrivals, hand out jobs, close what is due."""
        pause = min(self.watcher.wait_s(), 0.05 if self._arrivals.waiting else 1.0)
        self._inbox.extend(self.executor.wait(pause, [self._bell]))
        while self._bell.poll():
            self._bell.recv_bytes()
        self._inbox.extend(self.watcher.poll())
        self._look_after_sinks()
        try:
            self._turn()
        except Transient as error:
            self._hold(error)
        else:
            self._go_on()

    def _turn(self) -> None:
        """All that the journal is needed for. What it raises leaves everything as it was, to be done at a later turn."""
        self._announce_folder()
        while self._inbox:
            self._take(self._inbox[0])
            self._inbox.popleft()
        self._arrivals.look_again()
        self._hand_out()
        self._close_due()
        self._beat()

    def _hold(self, error: Transient) -> None:
        """The journal cannot be used: say so once, and wait a little."""
        if self._held_since is None:
            self._held_since = time.monotonic()
            log.error("%s; nothing is lost, the work goes on as soon as it can. %s", error, error.what_next)
        time.sleep(min(_LONGEST_HOLD_S, 0.05 + time.monotonic() - self._held_since))

    def _go_on(self) -> None:
        if self._held_since is not None:
            log.warning("the journal can be used again after %.0f s", time.monotonic() - self._held_since)
            self._held_since = None

    def _look_after_sinks(self) -> None:
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + HEARTBEAT_S
            for sink in self._sinks:
                sink.check()

    def _announce_folder(self) -> None:
        """Say that the folder of raw files is gone, or there again; that it is there at the start needs no word."""
        there, before = self.watcher.there, self._raw_there
        if there == before:
            return
        if not (there and before is None):
            said = f"{self.site.raw} is there {'again' if before is False else ''}".strip() if there else f"there is no folder {self.site.raw}"
            log.warning("%s%s", said, "" if there else "; mount it or make it, it is looked for every few seconds")
            self.journal.append([draft(RawFolder(path=str(self.site.raw), there=there), tag=self._tag)])
        self._raw_there = there

    def _hand_out(self) -> None:
        while self.executor.free() > 0:
            with self.journal.transaction() as connection:
                job = jobs.take_next(connection, self._tag, time.time_ns())
                begun = job is not None and self._begin(connection, job)
            if job is None:
                self._builds.hand_out(self.executor)
                return
            if begun:
                self.executor.submit(job)

    def _begin(self, connection: sa.Connection, job: Job) -> bool:
        """Announce that work on a job begins; False if there is no chain for it any more. The raw file is not looked at: it may be gone."""
        try:
            chain = self.recipe.chain_for(job.flavor)
        except BadConfig as error:
            self._fail(connection, job, Failure.of(error))
            return False
        if not job.announced:
            self._say(Started(chain=chain.name), job, connection)
        return True

    def _say(self, payload: Payload, job: Job, connection: sa.Connection) -> None:
        self.journal.append([draft(payload, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision)], connection)

    def _take(self, message: Message | Arrived | Rejected) -> None:
        if isinstance(message, Arrived | Rejected):
            self._arrivals.take(message)
        elif isinstance(message, Ready):
            self._next_beat = 0.0
        elif isinstance(message.job, BuildJob):
            self._builds.take(message.job, message)
        else:
            with self.journal.transaction() as connection:
                # as the journal has it: the message says what was known when the job was handed out
                job = jobs.job_now(connection, message.job.id)
                if job.state == jobs.RUNNING:  # else a later revision has taken its place
                    self._note(connection, job, message)

    def _note(self, connection: sa.Connection, job: Job, message: Judged | Written | Broken) -> None:
        if isinstance(message, Broken):
            self._broken(connection, job, message)
        elif isinstance(message, Written):
            self.journal.append(message.events, connection)
            jobs.finish(connection, job.id)
        elif not job.announced:
            self.journal.append(message.events, connection)
            jobs.set_verdict(connection, job.id, message.status, message.reasons)
            self._builds.note(connection, job)
            self._close_complete(connection, job)
            log.info("%s %s: %s", job.unit, job.part, message.status)

    def _broken(self, connection: sa.Connection, job: Job, message: Broken) -> None:
        log.warning("%s %s: attempt %d: %s", job.unit, job.part, job.attempts, message.failure.message)
        now = time.time_ns()
        if message.failure.error == NoSpace.__name__:
            # not an attempt that counts: it goes well as soon as there is room
            jobs.retry_later(connection, job.id, now + int(FULL_DISK_PAUSE_S * 1e9), message.failure, job.attempts - 1)
        elif message.retry and job.attempts < self.site.file.work.attempts:
            pause = RETRY_PAUSES_S[min(job.attempts, len(RETRY_PAUSES_S)) - 1]
            jobs.retry_later(connection, job.id, now + int(pause * 1e9), message.failure, job.attempts)
        else:
            tried = f"It was tried {job.attempts} times and is given up: mend the cause, then process it again with `quicklook run`."
            self._fail(connection, job, message.failure.model_copy(update={"what_next": tried}) if message.retry else message.failure)

    def _fail(self, connection: sa.Connection, job: Job, failure: Failure) -> None:
        """The job is over; its part is UNKNOWN, unless its verdict is announced already."""
        jobs.give_up(connection, job.id, failure)
        self._say(JobFailed(attempts=job.attempts, failure=failure), job, connection)
        if not job.announced:
            jobs.set_verdict(connection, job.id, Status.UNKNOWN, [f"UNKNOWN: processing failed: {failure.message}"])
        self._close_complete(connection, job)

    # ---- verdicts of units

    def _close_complete(self, connection: sa.Connection, job: Job) -> None:
        row = jobs.unit_of(connection, job)
        if row is None or row.closed:
            return
        parts = jobs.part_states(connection, row)
        if row.expected and all(p.announced for p in parts) and not set(row.expected) - {p.part for p in parts}:
            self._close(connection, row)

    def _close_due(self) -> None:
        now = time.time_ns()
        with self.journal.reading() as connection:
            due = [row for row in jobs.open_units(connection, self._tag) if self._is_due(connection, row, now)]
        for row in due:
            with self.journal.transaction() as connection:
                self._close(connection, row)

    def _is_due(self, connection: sa.Connection, row: UnitRow, now: int) -> bool:
        if now > row.deadline_ns:
            return True
        if not all(p.announced for p in jobs.part_states(connection, row)):
            return False
        whole = self.site.instrument.layout.camera_hdus is not None
        return whole or (not row.expected and now > row.seen_ns + int(self.site.file.watch.gather_s * 1e9))

    def _close(self, connection: sa.Connection, row: UnitRow) -> None:
        verdict = unit_verdict(row, jobs.part_states(connection, row))
        jobs.close_unit(connection, row, time.time_ns())
        said = (UnitDone(**verdict.model_dump()), self._receipt(connection, row))
        self.journal.append([draft(p, unit=row.unit, tag=row.tag, revision=row.revision) for p in said], connection)
        log.info("%s: %s%s", row.unit, verdict.status, "".join(f"\n    {r}" for r in verdict.reasons))

    def _receipt(self, connection: sa.Connection, row: UnitRow) -> Receipt:
        where = (EVENTS.c.unit == str(row.unit), EVENTS.c.tag == row.tag, EVENTS.c.revision == row.revision)
        rows = connection.execute(sa.select(EVENTS).where(*where).order_by(EVENTS.c.seq))
        return receipt_of(rows, row.closed_ns, row.seen_ns, time.time_ns())

    def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        with self.journal.reading() as connection:
            count = jobs.counts(connection, self._tag)
        last = self.journal.last_seq()
        lag = {s.name: last - self.journal.position(s.name) for s in self._sinks}
        beat = Heartbeat(
            workers=self.executor.warm(),
            waiting=count.get(jobs.OPEN, 0),
            running=count.get(jobs.RUNNING, 0),
            done=count.get(jobs.DONE, 0),
            failed=count.get(jobs.FAILED, 0),
            sinks=lag,
        )
        self.journal.append([draft(beat, tag=self.recipe.tag)])
        self._next_beat = time.monotonic() + HEARTBEAT_S


def _lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise BadConfig(f"{path.parent} cannot be used as output folder: {error.strerror}; give access or name another one") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        what_next = "Stop the other daemon or name another output folder."
        raise BadConfig(f"another daemon works in {path.parent}", what_next=what_next) from error
    return file
