"""What a watcher must survive, at full size: bursts, slow files, disks that vanish or fill up. Minutes; some as root."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from bench_site import NIGHT, WATCH, bench_site, by_hand, said, turn

from quicklook.io.reader import open_reader
from quicklook.service.arrival.arrived import Arrived
from quicklook.service.arrival.watcher import Watcher
from quicklook.service.daemon import Daemon
from quicklook.service.publishing.vitals import memory_mb

BURST = 50_000
SLOW_S, SLOW_BYTES = 30.0, 100_000_000
AFTER_S = 2.0
"""From the last byte to the job, on a machine that is not overloaded (see `slack`)."""


def slack() -> float:
    """By how much longer things take where more wants to run than there are cores."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def resident_mb() -> float:
    """Memory of this process, 1e6 bytes."""
    return memory_mb([os.getpid()]) or float("nan")


@pytest.mark.long
@pytest.mark.parametrize("mode", ["inotify", "polling"])
@pytest.mark.timeout(1800)
def test_a_burst_loses_no_file(tmp_path, mode, record_property, capsys):
    """More files at once than the queue of the kernel holds, while nobody reads it; each is a FITS file that is read to its last byte."""
    site = bench_site(tmp_path, cameras=["a"])
    reader = open_reader(site.instrument)
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros((8, 8), np.int16), fits.Header({"FLAVOR": "zero", "EXPTIME": 0.0})).writeto(buffer)
    watcher = Watcher(site.raw, wanted=reader.accepts, check=reader.peek, wake=lambda: None, mode=mode, settle_s=0.25, rescan_s=3600)
    watcher.start()
    try:
        while watcher.pending:
            watcher.poll()
        if mode == "inotify":
            # as if the whole machine were too busy: the thread that reads the queue does not run, and the queue overflows
            assert watcher._notifier is not None
            watcher._notifier._lock.acquire()
        start = time.monotonic()
        for n in range(BURST):
            (site.raw / f"{NIGHT}_{n:05d}_a.fits").write_bytes(buffer.getvalue())
        dropped_s = time.monotonic() - start
        if mode == "inotify":
            watcher._notifier._lock.release()
        found, longest = [], 0.0
        while len(found) < BURST and time.monotonic() - start < 1700:
            turn_from = time.monotonic()
            found += watcher.poll()
            longest = max(longest, time.monotonic() - turn_from)
            time.sleep(min(watcher.wait_s(), 0.05))
        seconds = time.monotonic() - start
        for _ in range(50):
            found += watcher.poll()
    finally:
        watcher.stop()
    with capsys.disabled():
        print(f"\n{mode}: {BURST} files dropped in {dropped_s:.1f} s, all taken after {seconds:.1f} s, longest turn {longest:.2f} s, "
              f"{watcher.overflows} overflows, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    assert all(isinstance(f, Arrived) for f in found)
    assert len({f.path for f in found}) == len(found) == BURST
    assert (watcher.overflows > 0) == (mode == "inotify")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_burst_through_the_whole_daemon(tmp_path, capsys, caplog):
    """As above, into a daemon with its journal, sinks and a worker: one file in a hundred is good, the others are refused, each once."""
    caplog.set_level(logging.ERROR, "quicklook.daemon")  # else the test would keep 50,000 lines of the log
    good = [n for n in range(BURST) if n % 100 == 7]
    site = bench_site(
        tmp_path, cameras=["a"], watch={"mode": "inotify"}, work={"workers": 1}, sinks={"files": {}, "zmq": {"endpoint": f"ipc://{tmp_path}/e.ipc"}}
    )
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros((96, 96), np.int16), fits.Header({"FLAVOR": "zero", "EXPTIME": 0.0})).writeto(buffer)
    daemon = Daemon(site)
    daemon.start()
    try:
        turn(daemon, lambda: said(daemon, "heartbeat"))
        before = resident_mb()
        start = time.monotonic()
        for n in range(BURST):
            (site.raw / f"{NIGHT}_{n:05d}_a.fits").write_bytes(buffer.getvalue() if n % 100 == 7 else b"garbage %d" % n)
        dropped_s, longest, most, turns = time.monotonic() - start, 0.0, 0.0, 1
        while (turns % 20 or not daemon.idle) and time.monotonic() - start < 1700:
            turn_from, turns = time.monotonic(), turns + 1
            daemon.step()
            longest, most = max(longest, time.monotonic() - turn_from), max(most, resident_mb() - before)
        seconds = time.monotonic() - start
        with daemon.journal.reading() as connection:
            told = connection.exec_driver_sql("SELECT kind, count(*), count(DISTINCT coalesce(unit, payload)) FROM events GROUP BY kind").all()
    finally:
        daemon.stop(1)
    kinds = {row[0]: (row[1], row[2]) for row in told}
    with capsys.disabled():
        print(f"\nwhole daemon: {BURST} files dropped in {dropped_s:.1f} s, all dealt with after {seconds:.1f} s, longest turn {longest:.2f} s, "
              f"memory +{most:.0f} MB, {daemon.watcher.overflows} overflows, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    assert kinds["refused"] == (BURST - len(good),) * 2
    assert kinds["seen"] == kinds["unit_verdict"] == (len(good),) * 2
    assert most < 100  # 50,000 names, each for a while with what is known of it
    assert longest < 5 * slack()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_file_that_takes_long_is_one_job_right_after_its_last_byte(tmp_path, capsys):
    """100 MB over 30 s, at a steady rate, watched by inotify and by polling at once."""
    benches = {}
    for mode in ("inotify", "polling"):
        (tmp_path / mode).mkdir()
        watch = {"mode": mode, "settle_s": 0.25, "poll_s": 1.0, "patience_s": 20.0, "rescan_s": 30.0}
        benches[mode] = by_hand(bench_site(tmp_path / mode, cameras=["a"], watch=watch))
    side = int((SLOW_BYTES / 2) ** 0.5)
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros((side, side), np.int16), fits.Header({"FLAVOR": "zero", "EXPTIME": 0.0, "EXPID": 1})).writeto(buffer)
    content, closed = buffer.getvalue(), {}

    def write(mode: str) -> None:
        pieces = 300
        with (tmp_path / mode / "raw" / f"{NIGHT}_0001_a.fits").open("wb", buffering=0) as file:
            for n in range(pieces):
                file.write(content[len(content) * n // pieces : len(content) * (n + 1) // pieces])
                time.sleep(SLOW_S / pieces if n < pieces - 1 else 0)
        closed[mode] = time.monotonic()

    threads = [threading.Thread(target=write, args=(mode,)) for mode in benches]
    for thread in threads:
        thread.start()
    taken: dict[str, float] = {}
    end = time.monotonic() + 8 * SLOW_S
    try:
        while len(taken) < 2 and time.monotonic() < end:
            for mode, (daemon, hand) in benches.items():
                daemon.step()
                if hand.jobs:
                    taken.setdefault(mode, time.monotonic())
        for _ in range(40):
            for daemon, _hand in benches.values():
                daemon.step()
    finally:
        for thread in threads:
            thread.join()
        for daemon, _hand in benches.values():
            daemon.stop(0.5)
    after = {mode: taken[mode] - closed[mode] for mode in taken}
    with capsys.disabled():
        print(f"\njob after the last byte: {', '.join(f'{m} {s:.2f} s' for m, s in after.items())}, load {os.getloadavg()[0]:.1f}")
    for mode, (_daemon, hand) in benches.items():
        assert len(hand.jobs) == 1, mode
        assert 0 < after[mode] < AFTER_S * slack(), mode


@pytest.mark.parametrize("mode", ["inotify", "polling"])
def test_truncated_then_completed_then_renamed_is_one_exposure(tmp_path, mode):
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], watch={**WATCH, "mode": mode}))
    try:
        buffer = io.BytesIO()
        fits.PrimaryHDU(np.zeros((96, 96), np.int16), fits.Header({"FLAVOR": "zero", "EXPTIME": 0.0, "EXPID": 1})).writeto(buffer)
        content, path = buffer.getvalue(), tmp_path / "raw" / f"{NIGHT}_0001_a.fits"
        path.write_bytes(content[:10_000])
        turn(daemon, lambda: said(daemon, "refused"), 30)
        message = said(daemon, "refused")[0].payload["failure"]["message"]
        assert "10000" in message
        assert str(len(content)) in message or "21312" in message  # what its headers promise: 2880 of header, 18432 of pixels
        with path.open("ab") as file:
            file.write(content[10_000:])
        turn(daemon, lambda: hand.jobs, 30)
        (tmp_path / "raw" / "sorted").mkdir()
        path.rename(tmp_path / "raw" / "sorted" / path.name)
        for _ in range(40):
            daemon.step()
        assert len(said(daemon, "seen")) == len(hand.jobs) == 1
    finally:
        daemon.stop(0.5)


def in_a_namespace(folder: Path, what: str) -> dict:
    """Run `mounted_bench.py` where it may mount; the test is skipped where nobody may."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("mounting needs root and unshare(1); `make test-long` as root runs this")
    alone = ["unshare", "--mount", "--propagation", "private"]
    (folder / "try").mkdir()
    tried = subprocess.run([*alone, "mount", "-t", "tmpfs", "none", str(folder / "try")], check=False, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"mounting is not allowed here: {tried.stderr.strip()}")
    script = Path(__file__).with_name("mounted_bench.py")
    done = subprocess.run([*alone, sys.executable, str(script), str(folder), what], check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.long
def test_a_file_system_that_vanishes_and_returns(tmp_path, capsys):
    answer = in_a_namespace(tmp_path, "vanish")
    with capsys.disabled():
        print(f"\nthe file system was missed after {answer['gone_s']:.1f} s, a file on its return taken after {answer['back_s']:.1f} s")
    assert answer["there"] == [False, True]
    assert answer["gone_s"] < 60
    assert answer["back_s"] < 60
    assert [unit[-4:] for unit in answer["seen"] if not unit.endswith("0001")] == ["0003", "0004"]


@pytest.mark.long
def test_a_raw_file_that_a_full_disk_has_broken_is_flagged_and_taken_when_completed(tmp_path):
    answer = in_a_namespace(tmp_path, "full-raw")
    assert answer["broke"]
    assert "the disk is full" in answer["message"]
    assert answer["jobs"] == ["a"]


@pytest.mark.long
def test_a_full_disk_of_the_results_loses_nothing(tmp_path):
    answer = in_a_namespace(tmp_path, "full-out")
    assert answer["early"] < 3
    assert answer["spoken"]
    assert answer["statuses"] == answer["verdicts"]
    assert len(answer["statuses"]) == 3
    assert answer["products"] == [96] * 6
    assert answer["drained"]
    assert not answer["gaps"]
    assert not answer["left"]
    assert not answer["failed"]
