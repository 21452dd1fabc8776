"""Measures one exposure of thirty cameras through the daemon, from the last byte of its file to its first and last verdict.

As a program: `python tests/benchmarks/thirty_cameras.py FOLDER [EXPOSURES]`. FOLDER has raw/ and calib/ of one exposure, as `quicklook simulate` makes
it, and gets a folder `bench` for what is written. Further exposures are copies with another number: the first one finds calibrations that no worker has
loaded, the others are as in a night.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quicklook.core.events import Event
from quicklook.service.daemon import Daemon
from quicklook.service.site import Site, load_site
from quicklook.service.workers.executors import ProcessExecutor

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds after the last byte; CPU seconds of all processes until the last verdict of a camera; sums over the cameras by step."""

    seen_s: float
    first_verdict_s: float
    last_verdict_s: float
    unit_verdict_s: float
    all_written_s: float
    cameras: int
    statuses: dict[str, int]
    cpu_workers_s: float
    cpu_daemon_s: float
    load: float
    steps_s: dict[str, float]


def bench_site(folder: Path, **options: Any) -> Site:
    """A site for the exposure in a folder; what it writes goes into `bench` there."""
    out = folder / "bench"
    shutil.rmtree(out, ignore_errors=True)
    (out / "raw").mkdir(parents=True)
    return load_site(None, options={"instrument": "desi", "raw": str(out / "raw"), "calib": str(folder / "calib"), "out": str(out / "out"), **options})


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(folder: Path, exposures: int = 2, **options: Any) -> list[Measured]:
    """Let the daemon process the exposure so many times. `options` go to the site."""
    site = bench_site(folder, **options)
    raw = next((folder / "raw").glob("*/*/desi-*.fits.fz"))
    daemon = Daemon(site)
    daemon.start()
    try:
        _turn(daemon, lambda: daemon.executor.warm() > 0 and daemon.executor.free() == daemon.executor.warm() and daemon.idle, 900)
        first = int(raw.parent.name)
        return [_one(daemon, raw, site.raw / raw.parent.parent.name / f"{first + n:08d}") for n in range(exposures)]
    finally:
        daemon.stop()


def _turn(daemon: Daemon, until: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("the daemon did not come to an end")
        daemon.step()


def _one(daemon: Daemon, raw: Path, folder: Path) -> Measured:
    folder.mkdir(parents=True)
    for other in raw.parent.glob("fibermap-*"):
        renumbered(other, folder)
    beside = renumbered(raw, folder, ".part")
    after, pids = daemon.journal.last_seq(), _pids(daemon)
    before = {pid: cpu_s(pid) for pid in (*pids, os.getpid())}
    os.utime(beside)
    closed_ns, start = time.time_ns(), time.monotonic()
    beside.rename(beside.with_suffix(""))
    _turn(daemon, lambda: daemon.journal.events(after, limit=1, kinds=("unit_verdict",)), 1800)
    load, taken = os.getloadavg()[0], {pid: cpu_s(pid) - t for pid, t in before.items() if Path(f"/proc/{pid}").exists()}
    _turn(daemon, lambda: daemon.idle, 600)
    written = time.monotonic() - start
    events = daemon.journal.events(after, limit=100_000)
    return _measured(events, closed_ns, written, load, taken.pop(os.getpid()), sum(taken.values()))


def renumbered(path: Path, folder: Path, suffix: str = "") -> Path:
    """A copy of a file of an exposure under the number that its new folder is named after, in its headers too."""
    old, new = path.parent.name, folder.name
    copy = folder / f"{path.name.replace(old, new)}{suffix}"
    card = "EXPID   = {:>20d}".format
    copy.write_bytes(path.read_bytes().replace(card(int(old)).encode(), card(int(new)).encode()))
    return copy


def _pids(daemon: Daemon) -> list[int]:
    return daemon.executor.pids if isinstance(daemon.executor, ProcessExecutor) else []


def _measured(events: list[Event], closed_ns: int, written: float, load: float, daemon_s: float, workers_s: float) -> Measured:
    def times(kind: str) -> list[float]:
        return [(e.time - closed_ns) / 1e9 for e in events if e.kind == kind]

    steps: dict[str, float] = {}
    for event in events:
        if event.part is not None and event.kind in ("step", "qa"):
            name = event.payload["name"] if event.kind == "step" else "all QAs"
            steps[name] = steps.get(name, 0.0) + float(event.payload["seconds"])
    said = [str(e.payload["status"]) for e in events if e.kind == "verdict"]
    return Measured(
        seen_s=times("seen")[0],
        first_verdict_s=times("verdict")[0],
        last_verdict_s=times("verdict")[-1],
        unit_verdict_s=times("unit_verdict")[0],
        all_written_s=written,
        cameras=len(said),
        statuses={status: said.count(status) for status in sorted(set(said))},
        cpu_workers_s=workers_s,
        cpu_daemon_s=daemon_s,
        load=load,
        steps_s=steps,
    )


if __name__ == "__main__":
    found = measure(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2, sinks={"files": {}}, plots=False)
    print(json.dumps([asdict(m) for m in found], indent=1))
