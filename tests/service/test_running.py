"""The daemon as a program: what the service manager hears, SIGHUP with a bad and a good configuration, a second daemon, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.running.runfolder import latest_run
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

LONG_S = 120.0
SITE = {
    "instrument": "desi",
    "cameras": ["r0"],
    "chains": {"_default": "zero"},
    "raw": "raw",
    "out": "out",
    "watch": {"settle_s": 0.05, "rescan_s": 0.5},
    "work": {"executor": "inline"},
    "sinks": {"files": {}},
    "commands": {"endpoint": ""},
}


class Started:
    """A daemon in a process of its own, with a service manager that listens to it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.heard = folder, list[str]()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(str(folder / "n.sock"))
        self.listener.settimeout(0.1)
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "n.sock"), "WATCHDOG_USEC": "600000"}
        command = [sys.executable, "-m", "quicklook", "watch", "--site", str(folder / "site.yaml"), *options]
        self.log = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)

    def wait_for(self, word: str) -> str:
        """The next message that begins so; those before it are kept in `heard`."""
        end = time.monotonic() + LONG_S
        while time.monotonic() < end:
            try:
                self.heard.append(self.listener.recv(4096).decode())
            except TimeoutError:
                assert self.process.poll() is None, (self.folder / "stderr").read_text()
                continue
            if self.heard[-1].startswith(word):
                return self.heard[-1]
        pytest.fail(f"no {word}; heard {self.heard}; {(self.folder / 'stderr').read_text()}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self.listener.close()
        self.log.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    (tmp_path / "raw").mkdir()
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(SITE))
    one = Started(tmp_path, "--label", "test", "--log-format", "json")
    yield one
    one.close()


def log_of(folder: Path) -> list[dict[str, str]]:
    run = latest_run(folder / "out")
    assert run is not None
    assert run.label == "test"
    return [json.loads(line) for line in run.log_file("json").read_text().splitlines()]


def test_a_daemon_is_managed(started, tmp_path):
    assert "STATUS=watching" in started.wait_for("READY=1")
    started.wait_for("WATCHDOG=1")
    site = tmp_path / "site.yaml"

    site.write_text(yaml.safe_dump({**SITE, "instrument": "no_such_one"}))
    started.process.send_signal(signal.SIGHUP)
    started.wait_for("RELOADING=1")
    assert "refused" in started.wait_for("READY=1")

    site.write_text(yaml.safe_dump({**SITE, "watch": {"settle_s": 0.06}}))
    started.process.send_signal(signal.SIGHUP)
    started.wait_for("RELOADING=1")
    assert "STATUS=watching" in started.wait_for("READY=1")
    run = latest_run(tmp_path / "out")
    assert run is not None
    assert yaml.safe_load((run.path / "site.yaml").read_text())["watch"]["settle_s"] == 0.05
    assert yaml.safe_load((run.path / "site-1.yaml").read_text())["watch"]["settle_s"] == 0.06

    second = subprocess.run(
        [sys.executable, "-m", "quicklook", "watch", "--site", str(site)], capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert second.returncode == 2
    assert "another daemon works in" in second.stderr
    assert latest_run(tmp_path / "out") == run, "a daemon that was refused has no folder"

    started.process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    started.wait_for("STOPPING=1")
    assert started.process.wait(LONG_S) == 0
    assert time.monotonic() - start < 30  # 10 s are promised, on a machine that does nothing else
    messages = [r["message"] for r in log_of(tmp_path)]
    assert any(m.startswith("the configuration is refused, the old one goes on: ") and "no_such_one" in m for m in messages)
    assert "SIGTERM: the daemon stops" in messages
    journal = Journal(journal_path(tmp_path / "out"), time.time_ns)
    told = [(e.payload["name"], e.payload["by"], e.payload["done"]) for e in journal.events(limit=10000) if e.kind == "command"]
    journal.close()
    assert told == [("reload", "SIGHUP", False), ("reload", "SIGHUP", True)]


@pytest.mark.long
def test_sigterm_in_the_middle_of_the_work_ends_within_ten_seconds_and_loses_nothing(tmp_path):
    cameras = sim_instruments(("b0", "r0"), scale="tiny", seed=3)
    write_calibrations(tmp_path, cameras)
    work = {"workers": 2}
    site = {**SITE, "cameras": ["b0", "r0"], "calib": "calib", "chains": {}, "work": work, "sinks": {"files": {}, "render": {}}}
    (tmp_path / "raw").mkdir()
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    for expid in range(100, 130):
        write_exposure(tmp_path, plan_exposure("science", expid, night=20220101), cameras)
    one = Started(tmp_path)
    try:
        one.wait_for("READY=1")
        assert _wait(lambda: _count(tmp_path, "verdict") >= 3)
        start = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(60) == 0
        took = time.monotonic() - start
    finally:
        one.close()
    print(f"ended {took:.1f} s after SIGTERM")
    assert took < 10
    command = [sys.executable, "-m", "quicklook", "watch", "--site", str(tmp_path / "site.yaml"), "--idle", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    journal = Journal(journal_path(tmp_path / "out"), time.time_ns)
    parts = [(e.unit, e.part, e.revision) for e in journal.events(limit=100000) if e.kind == "verdict"]
    units = [(e.unit, e.revision) for e in journal.events(limit=100000) if e.kind == "unit_verdict"]
    journal.close()
    assert len(parts) == len(set(parts)) == 60
    assert len(units) == len(set(units)) == 30


def _count(folder: Path, kind: str) -> int:
    journal = Journal(journal_path(folder / "out"), time.time_ns)
    try:
        return len(journal.events(kinds=[kind]))
    finally:
        journal.close()


def _wait(condition, seconds: float = 200.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False
