"""A daemon over file systems that are mounted and unmounted, or small. Run as root in a mount namespace of its own:

    unshare --mount --propagation private python mounted_bench.py FOLDER vanish|full-raw|full-out

Prints one JSON object: what was said by the daemon, and what the test is to judge.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

from astropy.io import fits
from bench_site import NIGHT, WATCH, bench_site, by_hand, said, turn, write_frame

from quicklook.service.daemon import Daemon
from quicklook.service.running import outcomes


def mount(place: Path, size: str) -> None:
    """A file system in memory."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True)


def vanish(folder: Path) -> dict[str, object]:
    """The file system of the raw files goes away, with a file on it that is being written, and another one comes in its place. No scan is due."""
    mount(folder / "raw", "4m")
    daemon, hand = by_hand(bench_site(folder, cameras=["a"], watch={**WATCH, "mode": "inotify", "patience_s": 5.0, "rescan_s": 3600}))
    write_frame(folder, "a", 1)
    turn(daemon, lambda: len(hand.jobs) == 1, 60)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    (folder / "raw" / f"{NIGHT}_0002_a.fits").write_bytes(b"SIMPLE  =")
    turn(daemon, lambda: daemon.watcher.pending, 60)
    gone = time.monotonic()
    subprocess.run(["umount", str(folder / "raw")], check=True)
    turn(daemon, lambda: said(daemon, "raw_folder"), 60)
    gone_s = time.monotonic() - gone
    mount(folder / "raw", "4m")
    write_frame(folder, "a", 1)
    back = time.monotonic()
    write_frame(folder, "a", 3)
    turn(daemon, lambda: any(e.unit.endswith("0003") for e in said(daemon, "seen")), 60)
    back_s = time.monotonic() - back
    write_frame(folder, "a", 4)  # by notification
    turn(daemon, lambda: any(e.unit.endswith("0004") for e in said(daemon, "seen")), 60)
    there = [e.payload["there"] for e in said(daemon, "raw_folder")]
    daemon.stop(1)
    return {"there": there, "gone_s": gone_s, "back_s": back_s, "seen": [e.unit for e in said(daemon, "seen")]}


def full_raw(folder: Path) -> dict[str, object]:
    """The disk of the raw files fills up while a file is being written; later there is room, and the file is completed in place."""
    mount(folder / "raw", "64k")
    daemon, hand = by_hand(bench_site(folder, cameras=["a"], watch={**WATCH, "mode": "inotify"}))
    whole = write_frame(folder, "a", 1)
    content = whole.read_bytes()
    whole.unlink()
    ballast = folder / "raw" / "ballast.txt"
    ballast.write_bytes(bytes(48 * 1024))
    try:
        whole.write_bytes(content)
        broke = False
    except OSError:
        broke = True
    turn(daemon, lambda: said(daemon, "refused"), 60)
    message = said(daemon, "refused")[0].payload["failure"]["message"]
    ballast.unlink()
    whole.write_bytes(content)
    turn(daemon, lambda: hand.jobs, 60)
    daemon.stop(1)
    return {"broke": broke, "message": message, "jobs": [j.part for j in hand.jobs]}


def full_out(folder: Path) -> dict[str, object]:
    """The disk of the results fills up under journal, products and plots; later there is room."""
    outcomes.FULL_DISK_PAUSE_S = 1.0
    (folder / "out").mkdir()
    mount(folder / "out", "24m")
    spoken: list[str] = []
    logging.getLogger("quicklook").addHandler(_Keeper(spoken))
    daemon = Daemon(bench_site(folder, products=["preproc"]))
    daemon.start()
    ballast = folder / "out" / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    for expid in (1, 2, 3):
        for camera in "ab":
            write_frame(folder, camera, expid)
    stop = time.monotonic() + 8
    while time.monotonic() < stop:
        daemon.step()
    early = len(said(daemon, "unit_verdict"))
    ballast.unlink()
    turn(daemon, lambda: len(said(daemon, "unit_verdict")) == 3 and daemon.idle, 120)
    drained = daemon.drain(30)
    events = daemon.journal.events(limit=10_000)
    daemon.stop(1)
    out = folder / "out" / "live"
    sizes = [len(fits.getdata(p)) for p in sorted(out.rglob("preproc-*.fits"))]
    return {
        "early": early, "drained": drained, "spoken": [s for s in spoken if "nothing is lost" in s or "No space" in s][:5],
        "gaps": [e.seq for e in events] != list(range(1, len(events) + 1)), "statuses": [e.payload["status"] for e in said_of(events)],
        "products": sizes, "verdicts": [json.loads(p.read_text())["status"] for p in sorted(out.rglob("verdict.json"))],
        "left": [p.name for p in out.rglob(".*")], "failed": sum(e.kind == "failed" for e in events),
    }  # fmt: skip


def said_of(events):
    """Verdicts of exposures."""
    return [e for e in events if e.kind == "unit_verdict"]


class _Keeper(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record.getMessage())


if __name__ == "__main__":
    what = {"vanish": vanish, "full-raw": full_raw, "full-out": full_out}[sys.argv[2]]
    print(json.dumps(what(Path(sys.argv[1]))))
