"""What runs on a Dask worker: each job in a process of its own beside it, which can be killed at a deadline as on this machine.

A thread of a Dask worker cannot be ended, and its memory not be told from that of its neighbours; so a thread here only hands a job to a
`ProcessExecutor` of one worker, warm from job to job, and waits for it.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicklook.core.errors import BadConfig
from quicklook.core.provenance import version_of
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.journal.jobs import Job
from quicklook.service.workers.processexecutor import Bounds, ProcessExecutor
from quicklook.service.workers.worker import Assembled, Broken, Judged, Message, Ready, Written

DISTRIBUTION = "spectroquicklook"
MOUNT = "mount the same file system at the same path"
IDLE_S = 900.0
"""A process that had nothing to do for so long is ended when another one is wanted: its daemon may be gone."""

log = logging.getLogger("quicklook.dask")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What a Dask worker must know: the recipe (pickled) and its checksum, and what the files that all machines share are.

    `probe` is a file that holds `token`, in the output folder; `folders` must be there.
    """

    recipe: bytes
    sha256: str
    threads: int
    bounds: Bounds
    probe: str
    token: str
    folders: tuple[str, ...]
    version: str


@dataclass(slots=True)
class _Idle:
    executor: ProcessExecutor
    since: float


_pool: dict[str, list[_Idle]] = {}
_busy: dict[str, list[ProcessExecutor]] = {}
_queues: dict[str, Any] = {}
_lock = threading.Lock()


def complaint(settings: HostSettings) -> str:
    """Why jobs with these settings cannot be run on this machine; empty where they can."""
    here, own = socket.gethostname(), version_of(DISTRIBUTION)
    if own != settings.version:
        return f"{here} has {DISTRIBUTION} {own}, the daemon {settings.version}: install the same version on all machines"
    try:
        found = Path(settings.probe).read_text(encoding="utf-8")
    except OSError as error:
        return f"{here} does not see {settings.probe}, which the daemon has just written ({error.strerror}): {MOUNT}"
    if found != settings.token:
        return f"{here} sees another file at {settings.probe} than the daemon: {MOUNT}"
    lacking = [f for f in settings.folders if not Path(f).is_dir()]
    return f"{here} has no folder {', '.join(lacking)}: mount it as on the machine of the daemon" if lacking else ""


def run_job(settings: HostSettings, job: Job | BuildJob, ticket: str, queue: str) -> list[Message]:
    """Run a job to its end; returns all its messages. Its verdict goes into `queue` at once, with the ticket.

    Raises BadConfig where this machine cannot, with what to do.
    """
    with _borrowed(settings) as executor:
        out: list[Message] = []
        while not executor.free():
            executor.wait(0.2)
        executor.submit(job)
        while not (out and isinstance(out[-1], Written | Assembled | Broken)):
            for message in executor.wait(1.0):
                if isinstance(message, Ready):
                    continue
                out.append(message)
                if isinstance(message, Judged):
                    _tell(queue, ticket, message)
        return out


@contextmanager
def _borrowed(settings: HostSettings) -> Iterator[ProcessExecutor]:
    """A process for one job, warm if there is one."""
    executor = _taken(settings)
    try:
        yield executor
    except BaseException:
        _is_over(settings, executor)
        executor.stop()
        raise
    with _lock:
        if _is_over(settings, executor):  # else it was stopped meanwhile
            _pool.setdefault(settings.sha256, []).append(_Idle(executor, time.monotonic()))


def _is_over(settings: HostSettings, executor: ProcessExecutor) -> bool:
    """Take it from those that are busy; False where it is none of them any more."""
    busy = _busy.get(settings.sha256, [])
    if executor not in busy:
        return False
    busy.remove(executor)
    return True


def _taken(settings: HostSettings) -> ProcessExecutor:
    with _lock:
        idle = _pool.get(settings.sha256, [])
        executor = idle.pop().executor if idle else _started(settings)
        _busy.setdefault(settings.sha256, []).append(executor)
        return executor


def _started(settings: HostSettings) -> ProcessExecutor:
    if wrong := complaint(settings):
        raise BadConfig(wrong)
    for others in _pool.values():
        for old in [o for o in others if time.monotonic() - o.since > IDLE_S]:
            others.remove(old)
            old.executor.stop()
    # Dask marks its workers as daemonic, and such a process may start none. Ours end with their parent, however that ends.
    getattr(multiprocessing.current_process(), "_config", {})["daemon"] = False
    return ProcessExecutor(pickle.loads(settings.recipe), workers=1, threads=settings.threads, bounds=settings.bounds)


def _tell(queue: str, ticket: str, message: Message) -> None:
    """The verdict now, while files are written. Where that fails it comes with the rest."""
    from distributed import Queue, get_client

    try:
        with _lock:
            if queue not in _queues:
                _queues[queue] = Queue(queue, client=get_client())
        _queues[queue].put((ticket, pickle.dumps(message)), timeout="5s")
    except Exception:  # whatever the network says
        log.warning("a verdict could not be sent ahead of its files", exc_info=True)


def stop_hosts(sha256: str) -> int:
    """End all processes that work by a recipe, busy or not; returns how many."""
    with _lock:
        ended = [idle.executor for idle in _pool.pop(sha256, [])] + _busy.pop(sha256, [])
    for executor in ended:
        executor.stop()
    return len(ended)
