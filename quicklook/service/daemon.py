"""The daemon: watches, makes jobs, hands them to workers, writes the journal, gives verdicts.

One thread does all of this; sinks read the journal beside it. Everything is in the journal before it is published, and a
part's steps, QAs and verdict are written in one transaction, so that a verdict is announced once.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, QuicklookError
from quicklook.core.events import Heartbeat, JobFailed, Receipt, Refused, Seen, Started, UnitDone, draft
from quicklook.core.results import Failure
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.reader import Peek, open_reader
from quicklook.service import jobs
from quicklook.service.executors import Executor, InlineExecutor, ProcessExecutor
from quicklook.service.jobs import Job, UnitRow
from quicklook.service.journal import EVENTS, FILES, Journal
from quicklook.service.processing import Recipe
from quicklook.service.sinks import SinkRunner, start_sink
from quicklook.service.site import Site
from quicklook.service.verdicts import unit_verdict
from quicklook.service.watcher import Arrived, Rejected, Watcher
from quicklook.service.worker import Broken, Judged, Message, Ready, Written

log = logging.getLogger("quicklook.daemon")

HEARTBEAT_S = 5.0
RETRY_PAUSES_S = (1.0, 5.0, 20.0)


def journal_path(out: Path) -> Path:
    """Where the journal of an output folder is."""
    return out / "journal.sqlite"


class Daemon:
    """The quick-look daemon of a site. Use `run`, or `start`, `step` as often as wanted, and `stop`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.recipe: Recipe = site.recipe()
        self.reader = open_reader(site.instrument)
        self._bell, self._ring = Pipe(duplex=False)
        self._lock: IO[str] | None = None
        self._waiting: dict[Path, tuple[Arrived, float]] = {}
        self._next_beat = 0.0
        self._sinks: list[SinkRunner] = []

    # ---- life

    def start(self) -> None:
        """Take the lock, open the journal, start workers, sinks and the watcher. Raises BadConfig where another daemon has the folder."""
        out = self.site.out
        self._lock = _lock(out / "daemon.lock")
        self.journal = Journal(journal_path(out), time.time_ns)
        with self.journal.transaction() as connection:
            again = jobs.release_running(connection)
        if again:
            log.info("%d jobs that an earlier run left unfinished are done again", again)
        self.executor: Executor = self._executor()
        context = SinkContext(out=str(out), epoch=self.journal.epoch)
        self._sinks = [start_sink(self.journal, journal_path(out), name, params, context) for name, params in self.site.file.sinks.items()]
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
        self._remember_files()
        self.watcher.start()
        log.info("watching %s (%s), writing to %s", self.site.raw, self.watcher.mode, out)

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

    def _remember_files(self) -> None:
        with self.journal.reading() as connection:
            for row in connection.execute(sa.select(FILES)):
                self.watcher.known(Path(row.path), row.size, row.mtime_ns)

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
        self.watcher.stop()
        self.executor.stop()
        self.drain(timeout_s)
        for sink in self._sinks:
            sink.stop(2.0)
        self.journal.close()
        if self._lock:
            self._lock.close()

    def drain(self, timeout_s: float) -> bool:
        """Wait until every sink has taken every event; False if one has not within the time."""
        end = time.monotonic() + timeout_s
        while self._behind() > 0:
            if time.monotonic() > end:
                log.warning("sinks are %d events behind and go on at the next start", self._behind())
                return False
            time.sleep(0.02)
        return True

    def _behind(self) -> int:
        last = self.journal.last_seq()
        return max((last - self.journal.position(s.name) for s in self._sinks), default=0)

    # ---- work

    @property
    def idle(self) -> bool:
        """Nothing waits, runs, or is about to arrive."""
        with self.journal.reading() as connection:
            count = jobs.counts(connection)
            units = jobs.open_units(connection)
        return not (count.get(jobs.OPEN) or count.get(jobs.RUNNING) or units or self._waiting or self.watcher.pending)

    def step(self) -> None:
        """One turn: take messages, take arrivals, hand out jobs, close what is due."""
        pause = min(self.watcher.wait_s(), 0.05 if self._waiting else 1.0)
        for message in self.executor.wait(pause, [self._bell]):
            self._take(message)
        while self._bell.poll():
            self._bell.recv_bytes()
        for found in self.watcher.poll():
            self._refuse(found) if isinstance(found, Rejected) else self._arrive(found)
        self._look_for_companions()
        self._hand_out()
        self._close_due()
        self._beat()

    def _refuse(self, found: Rejected) -> None:
        log.warning("%s is refused: %s", found.path.name, found.failure.message)
        with self.journal.transaction() as connection:
            jobs.remember_file(connection, str(found.path), found.size, found.mtime_ns, "refused")
            self.journal.append([draft(Refused(file=found.path.name, failure=found.failure), tag=self.recipe.tag)], connection)

    def _arrive(self, found: Arrived) -> None:
        try:
            missing = self._lacking(found.path)
        except (QuicklookError, OSError) as error:
            self._refuse(Rejected(path=found.path, size=found.size, mtime_ns=found.mtime_ns, failure=Failure.of(error)))
            return
        if missing and self.site.file.watch.companion_s > 0:
            self._waiting[found.path] = (found, time.monotonic() + self.site.file.watch.companion_s)
        else:
            self._enter(found)

    def _look_for_companions(self) -> None:
        for path, (found, until) in list(self._waiting.items()):
            try:
                lacking = self._lacking(path)
            except (QuicklookError, OSError):
                # it is being changed, or gone: the watcher brings it again when it stands still
                del self._waiting[path]
                continue
            if not lacking or time.monotonic() > until:
                del self._waiting[path]
                self._enter(found)

    def _lacking(self, path: Path) -> list[str]:
        """Required companions that are not there, and cameras that should be in the file: it may have been seen between two of its HDUs."""
        peek = self.reader.peek(path)
        return [c.name for c in peek.companions if c.required and not c.present] + list(peek.missing_cameras)

    def _enter(self, found: Arrived) -> None:
        """Make a unit and its jobs of a complete file."""
        try:
            peek = self.reader.peek(found.path)
            self.recipe.chain_for(peek.flavor)
        except (QuicklookError, OSError) as error:
            self._refuse(Rejected(path=found.path, size=found.size, mtime_ns=found.mtime_ns, failure=Failure.of(error)))
            return
        with self.journal.transaction() as connection:
            if jobs.file_known(connection, str(found.path), found.size, found.mtime_ns):
                return
            jobs.remember_file(connection, str(found.path), found.size, found.mtime_ns, "taken")
            revision = self._enter_unit(connection, found, peek)
            seen = Seen(file=found.path.name, size=found.size, parts=list(peek.cameras), tags=dict(peek.tags))
            self.journal.append([draft(seen, unit=peek.unit, tag=self.recipe.tag, revision=revision)], connection)
        log.info("%s has arrived: %s, %s", found.path.name, peek.flavor, " ".join(peek.cameras))

    def _enter_unit(self, connection: sa.Connection, found: Arrived, peek: Peek) -> int:
        """Store the unit, or one more camera of it, or a new revision of it; returns the revision."""
        tag, old = self.recipe.tag, jobs.latest_unit(connection, peek.unit, self.recipe.tag)
        again = old is not None and {p.part for p in jobs.part_states(connection, old)} & set(peek.cameras)
        if old is not None and not old.closed and not again:
            # a file per camera: one more camera of an exposure that is being worked on
            jobs.add_jobs(connection, dataclasses.replace(old, path=str(found.path)), peek.cameras)
            return old.revision
        now = time.time_ns()
        row = UnitRow(
            unit=peek.unit,
            tag=tag,
            revision=0 if old is None else old.revision + 1,
            path=str(found.path),
            expected=self.site.instrument.cameras.expected,
            tags=dict(peek.tags),
            closed_ns=found.mtime_ns,
            seen_ns=found.seen_ns,
            deadline_ns=now + int(self.site.file.watch.unit_s * 1e9),
        )
        jobs.add_unit(connection, row, peek.cameras)
        if old is not None and self.site.instrument.layout.camera_hdus is None:
            jobs.carry_over(connection, old, row, peek.cameras)
        return row.revision

    def _hand_out(self) -> None:
        while self.executor.free() > 0:
            with self.journal.transaction() as connection:
                job = jobs.take_next(connection, time.time_ns())
                if job is None:
                    return
                if not job.announced:
                    self._say(Started(chain=self.recipe.chain_for(self.reader.peek(Path(job.path)).flavor).name), job, connection)
            self.executor.submit(job)

    def _say(self, payload: Started | JobFailed, job: Job, connection: sa.Connection) -> None:
        self.journal.append([draft(payload, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision)], connection)

    def _take(self, message: Message) -> None:
        if isinstance(message, Ready):
            self._next_beat = 0.0
        elif isinstance(message, Judged):
            self._publish(message)
        elif isinstance(message, Written):
            with self.journal.transaction() as connection:
                self.journal.append(message.events, connection)
                jobs.finish(connection, message.job.id)
        elif isinstance(message, Broken):
            self._broken(message)

    def _publish(self, message: Judged) -> None:
        with self.journal.transaction() as connection:
            self.journal.append(message.events, connection)
            jobs.set_verdict(connection, message.job.id, message.status, message.reasons)
            self._close_complete(connection, message.job)
        log.info("%s %s: %s", message.job.unit, message.job.part, message.status)

    def _broken(self, message: Broken) -> None:
        job, again = message.job, message.retry and message.job.attempts < self.site.file.work.attempts
        log.warning("%s %s: attempt %d: %s", job.unit, job.part, job.attempts, message.failure.message)
        with self.journal.transaction() as connection:
            if again:
                pause = RETRY_PAUSES_S[min(job.attempts, len(RETRY_PAUSES_S)) - 1]
                jobs.retry_later(connection, job.id, time.time_ns() + int(pause * 1e9), message.failure)
                return
            jobs.give_up(connection, job.id, message.failure)
            self._say(JobFailed(attempts=job.attempts, failure=message.failure), job, connection)
            if not job.announced:
                jobs.set_verdict(connection, job.id, Status.UNKNOWN, [f"UNKNOWN: processing failed: {message.failure.message}"])
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
            due = [row for row in jobs.open_units(connection) if self._is_due(connection, row, now)]
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
        now = time.time_ns()
        times = {"closed": row.closed_ns or row.seen_ns, "seen": row.seen_ns}
        where = (EVENTS.c.unit == str(row.unit), EVENTS.c.tag == row.tag, EVENTS.c.revision == row.revision)
        for event in connection.execute(sa.select(EVENTS).where(*where).order_by(EVENTS.c.seq)):
            times |= _times_of(event.kind, event.part, event.time, event.payload)
        times["verdict"] = now
        return Receipt(times=times, seconds_to_verdict=(now - times["closed"]) / 1e9)

    def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + HEARTBEAT_S
        for sink in self._sinks:
            sink.check()
        with self.journal.reading() as connection:
            count = jobs.counts(connection)
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


def _times_of(kind: str, part: str | None, time_ns: int, payload: str) -> dict[str, int]:
    if kind == "seen":
        return {"readable": time_ns}
    if part is None or kind not in ("started", "verdict"):
        return {}
    own = {f"{part}/{kind}": time_ns}
    if kind == "verdict":
        steps = json.loads(payload).get("times", {})
        own |= {f"{part}/{name}": t for name, t in steps.items()}
    return own


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
        raise BadConfig(f"another daemon works in {path.parent}; stop it or name another output folder") from error
    return file
