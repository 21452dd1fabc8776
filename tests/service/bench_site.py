"""A bench that writes a file per camera, and an executor whose answers a test chooses: the daemon alone, in milliseconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from quicklook.core.errors import BadData
from quicklook.core.events import Event, PartVerdict, ProductWritten, draft
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.calibrating.builds import BuildJob
from quicklook.service.daemon import Daemon
from quicklook.service.journal.jobs import Job
from quicklook.service.site import Site, load_site
from quicklook.service.workers.worker import Broken, Judged, Message, Written

NIGHT = 20220101
BENCH = """\
name: bench
files: {patterns: ["{night:8d}_{expid:4d}_{camera}.fits"]}
header:
  flavor: {keywords: FLAVOR, default: zero}
layouts:
  - amplifiers:
      A: {data: "[1:64,:]", overscan: "[65:96,:]", gain: 1.0, read_noise: 3.0}
companions: [{role: notes, file: "notes-{expid:04d}.txt", required_for: [science]}]
"""
WATCH = {"settle_s": 0.0, "patience_s": 0.3, "companion_s": 0.2, "gather_s": 60.0, "rescan_s": 0.2, "mode": "polling", "poll_s": 0.1}


def bench_site(folder: Path, **options: Any) -> Site:
    """A site on that bench: cameras a and b, chain raw, events to files."""
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "bench.yaml").write_text(BENCH)
    given = {
        "instrument": str(folder / "bench.yaml"), "cameras": ["a", "b"], "raw": str(folder / "raw"), "out": str(folder / "out"), "plots": False,
        "chains": {"_default": "raw"}, "watch": WATCH, "work": {"executor": "inline"}, "sinks": {"files": {}}, **options,
    }  # fmt: skip
    return load_site(None, options=given)


def write_frame(folder: Path, camera: str, expid: int = 1, flavor: str = "zero", seed: int = 0) -> Path:
    """One frame of noise, whole at once."""
    path = folder / "raw" / f"{NIGHT}_{expid:04d}_{camera}.fits"
    pixels = np.random.default_rng([seed, expid]).normal(1000, 3, (96, 96)).round().astype(np.int16)
    header = fits.Header({"FLAVOR": flavor, "EXPTIME": 0.0 if flavor == "zero" else 10.0, "EXPID": expid, "SEED": seed})
    beside = path.with_name(f".{path.name}")
    fits.PrimaryHDU(pixels, header).writeto(beside, overwrite=True)
    return beside.rename(path)


class ByHand:
    """An executor of one worker that does what the test says."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.builds: list[BuildJob] = []
        self.messages: deque[Message] = deque()

    def warm(self) -> int:
        return 1

    def free(self) -> int:
        return 8 - self.running()

    def running(self) -> int:
        return len(self.jobs) + len(self.builds)

    def submit(self, job: Job | BuildJob) -> None:
        if isinstance(job, BuildJob):
            self.builds.append(job)
        else:
            self.jobs.append(job)

    def wait(self, timeout_s: float, others: Sequence[Connection] = ()) -> list[Message]:
        if not self.messages:
            wait(list(others), min(timeout_s, 0.02))
        out = list(self.messages)
        self.messages.clear()
        return out

    def stop(self) -> None:
        """Nothing runs."""

    def judge(self, job: Job, status: Status = Status.NORMAL) -> None:
        verdict = PartVerdict(status=status, reasons=[f"{status}: as the test says"], measured=1, expected=1, seconds=0.1)
        event = draft(verdict, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision)
        self.messages.append(Judged(job, status, (f"{status}: as the test says",), (event,)))

    def written(self, job: Job) -> None:
        self.jobs.remove(job)
        product = ProductWritten(name="qa", path="x.json", sha256="", size=1)
        self.messages.append(Written(job, (draft(product, unit=job.unit, part=job.part, tag=job.tag, revision=job.revision),)))

    def broken(self, job: Job | BuildJob, error: Exception | None = None, *, retry: bool = False) -> None:
        if isinstance(job, BuildJob):
            self.builds.remove(job)
        else:
            self.jobs.remove(job)
        self.messages.append(Broken(job, Failure.of(error or BadData("it broke")), retry))


def by_hand(site: Site) -> tuple[Daemon, ByHand]:
    """A daemon that has started, with such an executor."""
    daemon, hand = Daemon(site), ByHand()
    daemon._executor = lambda: hand  # type: ignore[method-assign]
    daemon.start()
    return daemon, hand


def turn(daemon: Daemon, until: Callable[[], object], seconds: float = 60.0) -> None:
    """Turn until something holds."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, [(e.kind, e.part, e.revision) for e in daemon.journal.events(limit=1000) if e.kind != "heartbeat"]
        daemon.step()


def said(daemon: Daemon, kind: str) -> list[Event]:
    """Events of a kind."""
    return daemon.journal.events(limit=10_000, kinds=(kind,))
