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

from quicklook.core.errors import Transient
from quicklook.core.events import RawFolder, draft
from quicklook.io.reader import open_reader
from quicklook.service.arrival.arrivals import Arrivals
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.lookout import Lookout, raw_only
from quicklook.service.arrival.watcher import Watcher
from quicklook.service.calibrating.again import Again
from quicklook.service.calibrating.buildqueue import BuildQueue
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import Journal, journal_path, take_lock
from quicklook.service.publishing.commands import Commander, Hooks
from quicklook.service.publishing.sinkset import SinkSet
from quicklook.service.publishing.vitals import Vitals
from quicklook.service.running.attendants import attendants
from quicklook.service.running.attending import Attendant, Surroundings
from quicklook.service.running.lastsaid import was_blind
from quicklook.service.running.memory import sparing_heap
from quicklook.service.running.outcomes import Outcomes
from quicklook.service.running.reloading import Reloading
from quicklook.service.site import Site
from quicklook.service.verdicts.closing import Closing
from quicklook.service.workers.executors import Executor, executor_of
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import Message, Ready

log = logging.getLogger("quicklook.daemon")

HEARTBEAT_S = 5.0
STOP_S, END_S = 4.0, 20.0
"""So long sinks may still take what there is: where somebody wants the daemon to stop, and where it ends by itself."""
WRITE_S = 3.0
"""So long workers may still write files of verdicts that were given."""
RETRY_PAUSES_S = (1.0, 5.0, 20.0)
_LONGEST_HOLD_S = 1.0


class Daemon:
    """The quick-look daemon of a site. Use `run`, or `start`, `step` as often as wanted, and `stop`."""

    def __init__(self, site: Site) -> None:
        self.stopping, self._reloaded = False, False
        self.reloading = Reloading(busy=lambda: not all(a.idle for a in self._attendants))
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
        self._next_beat, self._began, self._worked = 0.0, time.monotonic(), False
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
        if self.site.file.work.executor != "inline":
            sparing_heap()
        self._sinks = SinkSet(self.site.file.sinks, self.site.document)
        self._life.callback(take_lock(out).close)
        if self.recipe.adoption is not None:
            self.recipe.adoption.prepare()
        self.journal = Journal(journal_path(out), time.time_ns)
        self._life.callback(self.journal.close)
        reopening = Again.of(self.journal, self.recipe, self.site.file.watch.unit_s)
        attempts = self.site.file.work.attempts
        self._builds = BuildQueue(self.journal, self._plans, self._tag, attempts=attempts, pauses_s=RETRY_PAUSES_S, again=reopening)
        self._outcomes = Outcomes(self.journal, self.site, self.recipe, self._builds, RETRY_PAUSES_S)
        self._closing = Closing(self.journal, self.site, self.recipe, lambda: self._attendants, self._wake)
        self._life.callback(self._closing.close)
        self._life.callback(self._sinks.stop)
        self._sinks.start(self.journal, out, self._tag, self.recipe.housekeeping)
        self._life.callback(lambda: self._sinks.drain(self._drain_s))
        self._vitals = Vitals(self.journal, self._tag, out, self._claim)
        self._life.callback(Commander.start(self.site, Hooks(wake=self._wake, stop=self.ask_to_stop, reload=self.reload)).close)
        with self.journal.transaction() as connection:
            again = self._outcomes.release(connection)
        if again:
            log.info("%d jobs that an earlier run left unfinished are done again", again)
        self.executor: Executor = self._executor()
        self._life.callback(self._outcomes.leave)
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
        self._arrivals = Arrivals(self.journal, self.site, self.recipe, self.reader, lambda: self._lookout.looked, self._wake)
        self._life.callback(self._arrivals.close)
        self._arrivals.recall(self.watcher)
        self._lookout.start()
        log.info("watching %s (%s), writing to %s", self.site.raw, self._lookout.mode, self.site.out)
        log.info("workers get ready; the first time on a machine they compile, which takes a minute or two; what comes meanwhile waits")

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
        """Stop in good order: files of verdicts that were given, the watcher, the workers, then the sinks once they have taken what there is."""
        self._drain_s = timeout_s
        self._let_write(min(timeout_s, WRITE_S))
        self._life.close()

    def _let_write(self, timeout_s: float) -> None:
        """Wait until workers have written what they owe; what they have not after that is made again at the next start."""
        owed: Callable[[], int] = getattr(self.executor, "owed", int)
        end = time.monotonic() + timeout_s
        try:
            while owed() and time.monotonic() < end:
                self._inbox.extend(self.executor.wait(0.1))
                self._take_all()
        except (Transient, OSError) as error:
            log.warning("files that are not written yet are written at the next start: %s", error)

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
        self._take_all()
        self._arrivals.look_again()
        self._closing.close_due()  # before the next jobs: where they run in this process, it would wait for them
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
        if not (there and before is None and not trouble) or was_blind(self.journal, self._tag):
            lost = f"there is no folder {self.site.raw}; mount it or make it, it is looked for every few seconds"
            back = f"{self.site.raw} is there{' again' if before is False else ', and all of it can be looked into again' if before else ''}"
            log.log(logging.ERROR if trouble or not there else logging.WARNING, "%s", trouble or (back if there else lost))
            self.journal.append([draft(RawFolder(path=str(self.site.raw), there=there, trouble=trouble), tag=self._tag)])
        self._raw_there, self._raw_trouble = there, trouble

    def _hand_out(self) -> None:
        while self.executor.free() > 0 and self.reloading.site is None and not self._lookout.hangs:
            with self.journal.transaction() as connection:
                job = jobs.take_next(connection, self._tag, time.time_ns(), self._claim)
                begun = job is not None and self._outcomes.begin(connection, job)
                if job is not None and begun:
                    self._closing.expect(jobs.unit_of(connection, job))
            if job is None:
                self._builds.hand_out(self.executor)
                return
            if begun:
                self.executor.submit(job)

    def _take_all(self) -> None:
        while self._inbox:
            self._take(self._inbox[0])
            self._inbox.popleft()

    def _take(self, message: Message | Arrived | Rejected) -> None:
        if isinstance(message, Arrived | Rejected):
            self._arrivals.take(message)
        elif isinstance(message, Ready):
            self._next_beat = 0.0
            if not self._worked:
                self._worked = True
                log.info("the first worker is ready, %.0f s after the start", time.monotonic() - self._began)
        elif isinstance(message.job, BuildJob):
            self._builds.take(message.job, message)
        else:
            with self.journal.transaction() as connection:
                # as the journal has it: the message says what was known when the job was handed out
                job = jobs.job_now(connection, message.job.id)
                if job.state == jobs.RUNNING:  # else a later revision has taken its place
                    self._outcomes.note(connection, job, message, raw_hangs=self._lookout.hangs)

    def _beat(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._vitals.beat(
                workers=self.executor.warm(), pids=getattr(self.executor, "pids", []), sinks=self._sinks.names, raw_trouble=self.blind,
                arriving=self._lookout.arriving + self._arrivals.waiting, work_trouble=getattr(self.executor, "trouble", ""),
            )  # fmt: skip
            self._next_beat = time.monotonic() + HEARTBEAT_S
