"""Jobs on the workers of a Dask scheduler, by its address. All machines see the same folders under the same paths; that is checked.

Needs the package `distributed` (extra `dask`), of the same version here, on the scheduler, and on the workers.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker, Queue

from quicklook.core.errors import BadConfig, describe
from quicklook.core.provenance import version_of
from quicklook.core.results import Failure
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal.jobs import Job
from quicklook.service.workers.daskhost import DISTRIBUTION, HostSettings, complaint, run_job, stop_hosts
from quicklook.service.workers.processexecutor import BUILD_FACTOR, Bounds
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import LOST_ELSEWHERE, Broken, Judged, Message, Ready

CONNECT_S = 10.0
LOOK_S = 1.0
"""The workers of the scheduler are counted so often."""
ANSWER_S = 5.0
"""A scheduler that does not answer for so long counts as away."""
SILENT_S = 30.0
"""What a scheduler has that has been away for so long is not waited for any more."""
LEAVE_S = 4.0
"""Leaving the scheduler may take so long; what has not ended then ends by its own deadlines."""
GRACE_S = 60.0
"""A worker stops what takes too long by itself; so much later it counts as lost."""

log = logging.getLogger("quicklook.dask")


@dataclass(slots=True)
class _Given:
    job: Job | BuildJob
    future: Any
    started: float = field(default_factory=time.monotonic)
    judged: bool = False


class DaskExecutor:
    """Takes as many jobs as the workers of the scheduler have threads; each runs in a process of its own beside its worker.

    What a worker process costs when it hangs, grows or dies is as with `ProcessExecutor`. A job whose Dask worker is lost is done again on another
    one by Dask itself, and reported as broken where that fails too. While the scheduler is away nothing is handed out, and `trouble` says so; what
    it had is reported as broken in a way that does not count as an attempt.

    Raises BadConfig where the scheduler does not answer, or one of its workers does not see the folders, or has another version.
    """

    def __init__(self, recipe: Recipe, *, address: str, threads: int = 1, bounds: Bounds | None = None, raw: Path | None = None) -> None:
        if not address:
            raise BadConfig("work.executor is dask, and work.address is empty; name the scheduler, as in tcp://host:8786")
        self._address, self._bounds = address, bounds or Bounds()
        self._queue_name = f"quicklook-{uuid.uuid4().hex}"
        self._probe = recipe.out / f".quicklook-probe-{recipe.tag}"
        self._settings = self._write_probe(recipe, threads, raw)
        self._bell, self._ring = Pipe(duplex=False)
        self._given: dict[str, _Given] = {}
        self._came: deque[tuple[str, list[Message]]] = deque()
        self._slots, self._told, self._away, self._heard = 0, 0, "", time.monotonic()
        self._ended = threading.Event()
        try:
            self._client = self._connected()
            self._check()
            self._count()
        except BaseException:
            self._probe.unlink(missing_ok=True)
            raise
        for work in (self._look_after, self._hear):
            threading.Thread(target=work, daemon=True, name=f"dask-{work.__name__.strip('_')}").start()

    def _write_probe(self, recipe: Recipe, threads: int, raw: Path | None) -> HostSettings:
        token = uuid.uuid4().hex
        recipe.out.mkdir(parents=True, exist_ok=True)
        self._probe.write_text(token, encoding="utf-8")
        packed = pickle.dumps(recipe)
        sha256 = hashlib.sha256(packed + repr((threads, self._bounds)).encode()).hexdigest()
        folders = tuple(str(f) for f in (raw, recipe.calib) if f is not None)
        return HostSettings(
            recipe=packed, sha256=sha256, threads=threads, bounds=self._bounds, probe=str(self._probe), token=token, folders=folders,
            version=version_of(DISTRIBUTION),
        )  # fmt: skip

    def _connected(self) -> Any:
        try:
            client = Client(self._address, timeout=CONNECT_S, set_as_default=False, name="quicklook")
        except (OSError, ValueError) as error:  # a time-out is an OSError
            what_next = "Start it (dask scheduler), or correct work.address; the versions of `distributed` must agree."
            raise BadConfig(f"the Dask scheduler {self._address} does not answer: {describe(error)}", what_next=what_next) from error
        self._queue = Queue(self._queue_name, client=client)
        return client

    def _check(self) -> None:
        """Refuse workers that cannot do the work. One that comes later is looked at with its first job."""
        try:
            found: dict[str, str] = self._client.run(complaint, self._settings)
        except Exception as error:  # whatever its workers raise: they may lack this very package
            what_next = f"Install {DISTRIBUTION} of the same version on all machines."
            raise BadConfig(f"the workers of {self._address} cannot be used: {describe(error)}", what_next=what_next) from error
        wrong = sorted({f"{worker}: {why}" for worker, why in found.items() if why})
        if wrong:
            raise BadConfig(f"workers of {self._address} cannot be used: {'; '.join(wrong)}")
        if not found:
            log.warning("the scheduler %s has no workers yet; the work begins when one has come", self._address)

    # ---- contract

    def warm(self) -> int:
        """How many jobs the workers of the scheduler can do at once."""
        return self._slots

    def free(self) -> int:
        """So many more; none while the scheduler is away, or the way to it is being found again."""
        return max(0, self._slots - len(self._given)) if self._client.status == "running" else 0

    def running(self) -> int:
        """Jobs that were given and have not ended; none where the scheduler has been away for long: who waits for them might wait for ever."""
        silent_s = time.monotonic() - self._heard if self._away else 0.0
        return len(self._given) if silent_s < SILENT_S else 0

    @property
    def trouble(self) -> str:
        """Why nothing is handed out, in a sentence; "" where all is well."""
        return self._away or ("" if self._slots else f"the Dask scheduler {self._address} has no workers; start some, or look at their logs")

    def submit(self, job: Job | BuildJob) -> None:
        """Give the job to the scheduler."""
        ticket = f"{self._queue_name}-{uuid.uuid4().hex}"
        given = self._given[ticket] = _Given(job, None)
        try:
            given.future = self._client.submit(run_job, self._settings, job, ticket, self._queue_name, key=ticket, pure=False, retries=0)
            given.future.add_done_callback(lambda future: self._finished(ticket, future))
        except Exception as error:  # the scheduler has gone this moment
            self._lost(ticket, f"the Dask scheduler could not take it: {describe(error)}", LOST_ELSEWHERE)

    def wait(self, timeout_s: float, others: Sequence[Connection] = ()) -> list[Message]:
        """Messages that have come; jobs that nothing is heard of are reported as broken."""
        wait([self._bell, *others], timeout_s)
        while self._bell.poll():
            self._bell.recv_bytes()
        self._give_up()
        out: list[Message] = []
        if self._slots > self._told:
            out.append(Ready())
        self._told = self._slots
        while self._came:
            out += self._noted(*self._came.popleft())
        return out

    def stop(self) -> None:
        """End the work of this executor on all workers, and leave the scheduler. It takes seconds at most, also where nothing answers."""
        self._ended.set()
        leaving = threading.Thread(target=self._leave, daemon=True, name="dask-leave")
        leaving.start()
        leaving.join(LEAVE_S)
        if leaving.is_alive():
            log.warning("the Dask scheduler %s does not answer; what it has is ended by its deadlines", self._address)
        with suppress(OSError):
            self._probe.unlink(missing_ok=True)

    def _leave(self) -> None:
        with suppress(Exception):  # what does not answer is stopped by its own deadline
            self._client.cancel([g.future for g in self._given.values() if g.future is not None], force=True)
            if self._client.status == "running":
                self._client.run(stop_hosts, self._settings.sha256, on_error="ignore", wait=False)
        with suppress(Exception):
            self._client.close(timeout=2)

    # ---- what comes

    def _noted(self, ticket: str, messages: list[Message]) -> list[Message]:
        """Those that were not handed on before; a job that was done again has its verdict once."""
        given = self._given.get(ticket)
        if given is None:
            return []
        out = [m for m in messages if not (given.judged and isinstance(m, Judged))]
        given.judged = given.judged or any(isinstance(m, Judged) for m in out)
        if any(not isinstance(m, Judged) for m in out):
            del self._given[ticket]
        return out

    def _finished(self, ticket: str, future: Future[Any]) -> None:
        """In a thread of the client: the future of a job has ended somehow."""
        try:
            if future.status == "finished":
                self._put(ticket, future.result(timeout=CONNECT_S))
            elif future.status == "error":
                self._failed(ticket, future.exception(timeout=CONNECT_S))
            else:
                self._lost(ticket, f"the Dask scheduler has lost it ({future.status})", LOST_ELSEWHERE)
        except Exception as error:
            self._lost(ticket, f"its result could not be fetched: {describe(error)}", LOST_ELSEWHERE)

    def _failed(self, ticket: str, error: BaseException | None) -> None:
        if isinstance(error, KilledWorker):
            self._lost(ticket, "its Dask workers were lost, one after another")
        elif (given := self._given.get(ticket)) is not None:
            self._put(ticket, [Broken(given.job, Failure.of(error or BadConfig("it failed and does not say why")), retry=True)])

    def _lost(self, ticket: str, why: str, error: str = "WorkerLost") -> None:
        given = self._given.get(ticket)
        if given is not None:
            failure = Failure(error=error, message=why, what_next="It is retried; if it comes again, look at the Dask scheduler and its workers.")
            self._put(ticket, [Broken(given.job, failure, retry=True)])

    def _put(self, ticket: str, messages: list[Message]) -> None:
        self._came.append((ticket, messages))
        if not self._bell.poll():
            with suppress(OSError):
                self._ring.send_bytes(b"!")

    def _give_up(self) -> None:
        for ticket, given in list(self._given.items()):
            factor = BUILD_FACTOR if isinstance(given.job, BuildJob) else 1.0
            limit_s = self._bounds.warm_up_s + self._bounds.deadline_s * factor + GRACE_S
            if time.monotonic() - given.started > limit_s:
                self._lost(ticket, f"nothing was heard of it for {limit_s:g} s", "WorkerLost" if self._slots else LOST_ELSEWHERE)
                if given.future is not None:
                    with suppress(Exception):
                        given.future.cancel()

    # ---- threads

    def _hear(self) -> None:
        """Verdicts that are sent ahead of their files."""
        while not self._ended.is_set():
            try:
                ticket, packed = self._queue.get(timeout="2s")
                self._put(ticket, [pickle.loads(packed)])
            except TimeoutError:
                continue
            except Exception:  # the scheduler is away: `_look_after` says so
                self._ended.wait(LOOK_S)

    def _look_after(self) -> None:
        """Count the workers now and then, and find a scheduler again that was away."""
        while not self._ended.wait(LOOK_S):
            before = self._slots
            try:
                if self._client.status == "closed":
                    self._client = self._connected()
                self._count()
            except Exception as error:
                self._slots = 0
                if not self._away:
                    log.error("the Dask scheduler %s is away, nothing is handed out until it is back: %s", self._address, describe(error))
                self._away = f"the Dask scheduler {self._address} is away ({describe(error)}); start it again, the work goes on by itself"
            if self._slots != before:
                log.info("the Dask scheduler %s has %d places for jobs", self._address, self._slots)
                self._put("", [])  # so that the daemon looks

    def _count(self) -> None:
        # as nthreads() of the client, which waits for ever
        threads: dict[str, int] = self._client.sync(self._client.scheduler.ncores, workers=None, callback_timeout=ANSWER_S)
        self._slots, self._away, self._heard = sum(threads.values()), "", time.monotonic()
