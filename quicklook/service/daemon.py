"""The daemon: watches, makes jobs, hands them to workers, writes the journal, gives verdicts.

One thread does all of this; sinks read the journal beside it. Everything is in the journal before it is published, and a
part's steps, QAs and verdict are written in one transaction, so that a verdict is announced once. What cannot be written into
the journal now (a full disk) is kept and written when it can be.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing import Pipe

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.core.events import JobFailed, Payload, RawFolder, Receipt, Started, draft
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.io.reader import camera_tags, open_reader
from quicklook.service.arrival.arrivals import Arrivals
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.lookout import Lookout, raw_only
from quicklook.service.arrival.watcher import Watcher
from quicklook.service.calibrating.again import Again
from quicklook.service.calibrating.buildqueue import BuildQueue
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import Job, UnitRow
from quicklook.service.journal.journal import EVENTS, Journal, journal_path, take_lock
from quicklook.service.publishing.commands import Commander, Hooks
from quicklook.service.publishing.sinkset import SinkSet
from quicklook.service.publishing.vitals import Vitals
from quicklook.service.running.attendants import attendants
from quicklook.service.running.attending import Attendant, Surroundings
from quicklook.service.running.lastsaid import was_blind
from quicklook.service.running.reloading import Reloading
from quicklook.service.site import Site
from quicklook.service.verdicts.concluding import Conclusion, after_verdict, conclude, overrides_in_journal, save_unit_plots, summaries_in_journal
from quicklook.service.verdicts.receipts import receipt_of
from quicklook.service.workers.executors import Executor, executor_of
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import LOST_ELSEWHERE, Broken, Judged, Message, Ready, Written

log = logging.getLogger("quicklook.daemon")

HEARTBEAT_S = 5.0
STOP_S, END_S = 4.0, 20.0
"""So long sinks may still take what there is: where somebody wants the daemon to stop, and where it ends by itself."""
RETRY_PAUSES_S = (1.0, 5.0, 20.0)
FULL_DISK_PAUSE_S = 30.0
"""A job whose files found no room is tried again after so long, for ever."""
_LONGEST_HOLD_S = 1.0


class Daemon:
    """The quick-look daemon of a site. Use `run`, or `start`, `step` as often as wanted, and `stop`."""

    def __init__(self, site: Site) -> None:
        self.stopping, self.reloading, self._reloaded = False, Reloading(), False
        self._take_over(site)

    def _take_over(self, site: Site) -> None:
        site.check()
        self.site = site
        self.recipe: Recipe = site.live_recipe()
        self._plans = site.build_plans(self.recipe.builders)
        self.reader = open_reader(site.instrument)
        self._tag = self.recipe.tag
        self._claim = jobs.own_claim(site.file.work.priorities)
        self._bell, self._ring = Pipe(duplex=False)
        self._life = ExitStack()
        self._inbox: deque[Message | Arrived | Rejected] = deque()
        self._held_since: float | None = None
        self._next_beat = 0.0
        self._raw_there: bool | None = None
        self._raw_trouble = ""
        self._drain_s = 0.0
        self._attendants: Sequence[Attendant] = ()

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
        out = self.site.out
        self._sinks = SinkSet(self.site.file.sinks, self.site.document)
        self._life.callback(take_lock(out).close)
        if self.recipe.adoption is not None:
            self.recipe.adoption.prepare()
        self.journal = Journal(journal_path(out), time.time_ns)
        self._life.callback(self.journal.close)
        reopening = Again.of(self.journal, self.recipe, self.site.file.watch.unit_s)
        attempts = self.site.file.work.attempts
        self._builds = BuildQueue(self.journal, self._plans, self._tag, attempts=attempts, pauses_s=RETRY_PAUSES_S, again=reopening)
        self._life.callback(self._sinks.stop)
        self._sinks.start(self.journal, out, self._tag)
        self._life.callback(lambda: self._sinks.drain(self._drain_s))
        self._vitals = Vitals(self.journal, self._tag, out, self._claim)
        self._life.callback(Commander.start(self.site, Hooks(wake=self._wake, stop=self.ask_to_stop, reload=self.reload)).close)
        with self.journal.transaction() as connection:
            again = jobs.release_running(connection, self._tag) + self._builds.release(connection)
        if again:
            log.info("%d jobs that an earlier run left unfinished are done again", again)
        self.executor: Executor = self._executor()
        self._life.callback(self.executor.stop)
        around = Surroundings(
            site=self.site, recipe=self.recipe, journal=self.journal, wake=self._wake, stop=self.ask_to_stop,
            arriving=lambda: self._arriving or not self._lookout.there, reloaded=self._reloaded,
        )  # fmt: skip
        self._attendants = attendants(around)
        for attendant in self._attendants:
            self._life.callback(attendant.close)
        self._start_watching()

    def _start_watching(self) -> None:
        w = self.site.file.watch
        self.watcher = Watcher(
            self.site.raw,
            wanted=raw_only(self.reader.accepts, self.site.raw, self.site.out),
            check=self.reader.peek,
            wake=self._wake,
            mode=w.mode,
            settle_s=w.settle_s,
            patience_s=w.patience_s,
            rescan_s=w.rescan_s,
            poll_s=w.poll_s,
        )
        self._lookout = Lookout(self.watcher, wake=self._wake, hangs_s=w.hangs_s)
        self._life.callback(self._lookout.stop)
        self._arrivals = Arrivals(self.journal, self.site, self.recipe, self.reader, self._wake)
        self._life.callback(self._arrivals.close)
        self._arrivals.recall(self.watcher)
        self._lookout.start()
        log.info("watching %s (%s), writing to %s", self.site.raw, self._lookout.mode, self.site.out)

    def _executor(self) -> Executor:
        return executor_of(self.recipe, self.site.file.work, raw=self.site.raw)

    def _wake(self) -> None:
        if not self._bell.poll():
            self._ring.send_bytes(b"!")

    def run(self, until: Callable[[], bool]) -> None:
        """Work until `until()` is true."""
        self.start()
        try:
            while not (self.stopping or until()):
                self.step()
        finally:
            self.stop(STOP_S if self.stopping else END_S)

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Stop in good order: the watcher, the workers, then the sinks once they have taken what there is."""
        self._drain_s = timeout_s
        self._life.close()

    def ask_to_stop(self) -> None:
        """End `run` soon. From any thread."""
        self.stopping = True
        self._wake()

    def reload(self) -> str:
        """Work by the configuration as it is now, once what runs is done. From any thread. Raises BadConfig: it is refused, the old one goes on."""
        return self.reloading.ask(self.site, self._wake)

    def _begin_with(self, site: Site) -> None:
        self._take_over(site)
        self._reloaded = True
        self.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until every sink has taken every event; False if one has not within the time."""
        return self._sinks.drain(timeout_s)

    @property
    def blind(self) -> str:
        """Why raw files are not seen though they may come, in a sentence; "" where they are."""
        return self._lookout.trouble or ("" if self._lookout.there else f"there is no folder {self.site.raw}")

    # ---- work

    @property
    def _arriving(self) -> bool:
        return bool(self._inbox or self._arrivals.waiting or self._lookout.pending)

    @property
    def idle(self) -> bool:
        """Nothing waits, runs, or is about to arrive."""
        if self._arriving or not all(a.idle for a in self._attendants):
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
        wanted = self.reloading.site is not None and self.executor.running() == 0
        if wanted and not self.reloading.change(self.site, self.stop, self._begin_with, lambda: self.stopping):
            return
        pause = min(self._lookout.wait_s(), 0.05 if self._arrivals.waiting else 1.0)
        self._inbox.extend(self.executor.wait(pause, [self._bell]))
        while self._bell.poll():
            self._bell.recv_bytes()
        self._inbox.extend(self._lookout.poll())
        self._sinks.look_after()
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
        self._close_due()  # before the next jobs: where they run in this process, it would wait for them
        self._hand_out()
        for attendant in self._attendants:
            attendant.turn()
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

    def _announce_folder(self) -> None:
        """Say that the folder of raw files is gone, or cannot be looked into, or can again; at the start that all is well needs no word."""
        there, trouble, before = self._lookout.there, self._lookout.trouble, self._raw_there
        if (there, trouble) == (before, self._raw_trouble):
            return
        if not (there and before is None and not trouble) or was_blind(self.journal, self._tag, str(self.site.raw)):
            lost = f"there is no folder {self.site.raw}; mount it or make it, it is looked for every few seconds"
            back = f"{self.site.raw} is there{' again' if before is False else ', and all of it can be looked into again' if before else ''}"
            log.log(logging.ERROR if trouble else logging.WARNING, "%s", trouble or (back if there else lost))
            self.journal.append([draft(RawFolder(path=str(self.site.raw), there=there, trouble=trouble), tag=self._tag)])
        self._raw_there, self._raw_trouble = there, trouble

    def _hand_out(self) -> None:
        while self.executor.free() > 0 and self.reloading.site is None and not self._lookout.hangs:
            with self.journal.transaction() as connection:
                job = jobs.take_next(connection, self._tag, time.time_ns(), self._claim)
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
            self._builds.adopted(connection, job, message.events)
        elif not job.announced:
            self.journal.append(message.events, connection)
            jobs.set_verdict(connection, job.id, message.status, message.reasons)
            after_verdict(connection, job, self.site.out, self.site.file.watch.unit_s)
            self._builds.note(connection, job)
            log.info("%s %s: %s", job.unit, job.part, message.status)

    def _broken(self, connection: sa.Connection, job: Job, message: Broken) -> None:
        log.warning("%s %s: attempt %d: %s", job.unit, job.part, job.attempts, message.failure.message)
        now = time.time_ns()
        if message.failure.error == LOST_ELSEWHERE:
            jobs.retry_later(connection, job.id, now + int(RETRY_PAUSES_S[0] * 1e9), message.failure, job.attempts - 1)
        elif message.failure.error == NoSpace.__name__ or (message.retry and self._lookout.hangs):
            # not an attempt that counts: it goes well as soon as there is room, or the raw files can be read
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
            after_verdict(connection, job, self.site.out, self.site.file.watch.unit_s)

    # ---- verdicts of units

    def _close_due(self) -> None:
        """Conclude what is complete, or past its deadline with no work left. What its parts have given is read and measured before it is closed."""
        now = time.time_ns()
        with self.journal.reading() as connection:
            due = [row for row in jobs.perhaps_due(connection, self._tag) if self._is_due(connection, row, now)]
        for row in sorted(due, key=lambda r: (r.unit, r.revision), reverse=True):
            with self.journal.reading() as connection:
                states = jobs.part_states(connection, row)
                summaries = summaries_in_journal(connection, row, states, self._tags_of)
                overrides = overrides_in_journal(connection, row, states)
            self._close(conclude(self.recipe, row, states, summaries, overrides=overrides))

    def _tags_of(self, part: str) -> dict[str, str]:
        return {"camera": part, **camera_tags(self.site.instrument, part)}

    def _is_due(self, connection: sa.Connection, row: UnitRow, now: int) -> bool:
        if now > row.deadline_ns:
            return True
        parts = jobs.part_states(connection, row)
        if not all(p.announced for p in parts):
            return False
        complete = bool(row.expected) and not set(row.expected) - {p.part for p in parts}
        whole = self.site.instrument.layout.camera_hdus is not None
        return complete or whole or (not row.expected and now > row.seen_ns + int(self.site.file.watch.gather_s * 1e9))

    def _close(self, done: Conclusion) -> None:
        row = done.row
        with self.journal.transaction() as connection:
            if not jobs.close_unit(connection, row, time.time_ns()):
                return  # somebody has had it opened again meanwhile: the new revision gets the verdict
            self._tell(row, (*done.facts, self._receipt(connection, row)), connection)
            for attendant in self._attendants:
                attendant.closed(connection, done)
        log.info("%s: %s%s", row.unit, done.verdict.status, "".join(f"\n    {r}" for r in done.verdict.reasons))
        if done.card is not None:
            log.info("%s: %s: %s", row.unit, done.card.decision, done.card.why)
        self._tell(row, save_unit_plots(self.recipe, done))

    def _tell(self, row: UnitRow, said: Sequence[Payload], connection: sa.Connection | None = None) -> None:
        if said:
            self.journal.append([draft(p, unit=row.unit, tag=row.tag, revision=row.revision) for p in said], connection)

    def _receipt(self, connection: sa.Connection, row: UnitRow) -> Receipt:
        where = (EVENTS.c.unit == str(row.unit), EVENTS.c.tag == row.tag, EVENTS.c.revision == row.revision)
        rows = connection.execute(sa.select(EVENTS).where(*where).order_by(EVENTS.c.seq))
        return receipt_of(rows, row.closed_ns, row.seen_ns, time.time_ns())

    def _beat(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._vitals.beat(
                workers=self.executor.warm(), pids=getattr(self.executor, "pids", []), sinks=self._sinks.names, raw_trouble=self.blind,
                arriving=self._lookout.arriving + self._arrivals.waiting, work_trouble=getattr(self.executor, "trouble", ""),
            )  # fmt: skip
            self._next_beat = time.monotonic() + HEARTBEAT_S
