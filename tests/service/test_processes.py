"""The daemon as a program: worker processes, killed workers, kill -9 and restart, a listener in another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quicklook.core.events import Event
from quicklook.core.keys import Unit
from quicklook.service.daemon import Daemon, journal_path
from quicklook.service.journal.journal import Journal
from quicklook.service.site import load_site
from quicklook.service.workers.executors import ProcessExecutor
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

NIGHT = 20220101
CAMERAS = sim_instruments(("r0",), scale="tiny", seed=4)
SITE = """\
instrument: desi
cameras: [r0]
raw: raw
calib: calib
out: out
watch: {settle_s: 0.05, rescan_s: 0.5}
work: {workers: 2}
sinks: {files: {}, zmq: {endpoint: "ipc://ENDPOINT"}}
"""


@pytest.fixture
def folder(tmp_path):
    write_calibrations(tmp_path, CAMERAS)
    (tmp_path / "raw").mkdir()
    (tmp_path / "site.yaml").write_text(SITE.replace("ENDPOINT", str(tmp_path / "e.ipc")))
    return tmp_path


def events_of(folder: Path) -> list[Event]:
    path = journal_path(folder / "out")
    if not path.exists():
        return []
    journal = Journal(path, time.time_ns)
    try:
        return journal.events(limit=100000)
    finally:
        journal.close()


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "quicklook", "watch", "--site", str(folder / "site.yaml"), *options]
    log = (folder / "log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log)


def wait_for(condition, seconds: float = 180.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_kill_minus_nine_loses_nothing_and_announces_nothing_twice(folder):
    expids = range(100, 112)
    daemon = start(folder)
    try:
        for n, expid in enumerate(expids):
            write_exposure(folder, plan_exposure("zero", expid, night=NIGHT), CAMERAS)
            if n == 5:
                assert wait_for(lambda: any(e.kind == "verdict" for e in events_of(folder)))
                daemon.send_signal(signal.SIGKILL)
                daemon.wait(120)
                daemon = start(folder)

        def done() -> int:
            return sum(e.kind == "unit_verdict" for e in events_of(folder))

        assert wait_for(lambda: done() >= len(expids)), (folder / "log").read_text()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(120) == 0
    finally:
        daemon.kill()
    events = events_of(folder)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    for kind in ("verdict", "unit_verdict"):
        said = [Unit.parse(e.unit).expid for e in events if e.kind == kind]
        assert sorted(said) == list(expids), kind
    for expid in expids:
        assert (folder / f"out/live/exposures/{NIGHT}/{expid:08d}/qa-r0-{expid:08d}.json").is_file()
    assert not [p for p in (folder / "out").rglob(".*")], "temporary files are left behind"


def test_stop_by_sigterm_ends_every_process(folder):
    daemon = start(folder)
    assert wait_for(lambda: len(events_of(folder)) > 0)
    children = [int(p) for p in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()]
    assert children
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(120) == 0
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_a_worker_that_is_killed_is_replaced_and_its_job_done(folder):
    site = load_site(folder / "site.yaml", options={"sinks": {}})
    daemon = Daemon(site)
    daemon.start()
    try:
        assert isinstance(daemon.executor, ProcessExecutor)
        killed = set[int]()
        write_exposure(folder, plan_exposure("zero", 100, night=NIGHT), CAMERAS)
        end = time.monotonic() + 180
        while time.monotonic() < end and not any(e.kind == "unit_verdict" for e in daemon.journal.events()):
            daemon.step()
            if not killed and daemon.executor.running():
                killed = set(daemon.executor.pids)  # not those of the start: one that has compiled for all is replaced
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
        assert killed
        verdict = next(e for e in daemon.journal.events() if e.kind == "unit_verdict")
        assert verdict.payload["status"] == "NORMAL"
        assert not killed & set(daemon.executor.pids)
    finally:
        daemon.stop()


def test_a_listener_in_another_process_prints_the_verdict(folder):
    daemon = start(folder)
    listener = subprocess.Popen(
        [sys.executable, "-m", "quicklook", "listen", "--endpoint", f"ipc://{folder}/e.ipc", "--since", "0", "--topic", "verdict/", "--count", "1"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert wait_for(lambda: any(e.kind == "heartbeat" for e in events_of(folder)))
        write_exposure(folder, plan_exposure("zero", 100, night=NIGHT), CAMERAS)
        out, _ = listener.communicate(timeout=180)
        assert "verdict/r0/-" in out
        assert "NORMAL" in out
    finally:
        listener.kill()
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(120)
