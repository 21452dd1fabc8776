"""`quicklook watch` as a program, beside a folder of raw files that is not there, or whose file system hangs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench_site import BENCH, write_frame

from quicklook.service.journal.journal import Journal, journal_path

QUICKLOOK = [sys.executable, "-m", "quicklook"]


def site_in(folder: Path, work: dict[str, Any], **watch: Any) -> Path:
    (folder / "bench.yaml").write_text(BENCH)
    site = {
        "instrument": "bench.yaml", "cameras": ["a"], "raw": "raw", "out": "out", "plots": False, "chains": {"_default": "raw"}, "watch": watch,
        "work": work, "sinks": {"files": {}}, "commands": {"endpoint": ""},
    }  # fmt: skip
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    return folder / "site.yaml"


def test_a_night_that_nobody_could_see_does_not_end_well(tmp_path: Path) -> None:
    """Who starts it by a script reads its status: 0 over a folder that was never there would say that nothing had come."""
    site = site_in(tmp_path, {"executor": "inline"})
    done = subprocess.run([*QUICKLOOK, "watch", "--site", str(site), "--idle", "0.2"], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert f"nothing could be seen: there is no folder {tmp_path / 'raw'}" in done.stderr


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def hanging(tmp_path: Path) -> dict[str, str]:
    """The environment of a program for which each call on the raw folder hangs while the file `hangs` is there."""
    compiler, library = shutil.which("cc") or shutil.which("gcc"), tmp_path / "hanging.so"
    if compiler is None:
        pytest.skip("a C compiler is needed to play a file system that hangs")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(Path(__file__).with_name("hanging.c")), "-ldl"], check=True)
    (tmp_path / "raw").mkdir()
    return {**os.environ, "LD_PRELOAD": str(library), "HANG_FOLDER": str(tmp_path / "raw"), "HANG_FLAG": str(tmp_path / "hangs")}


def test_a_command_names_the_mount_that_hangs_and_ends(tmp_path: Path, hanging: dict[str, str]) -> None:
    site = site_in(tmp_path, {"executor": "inline"})
    Journal(journal_path(tmp_path / "out"), time.time_ns).close()
    (tmp_path / "hangs").touch()
    begin = "from quicklook.service.arrival import patience; patience.PATIENCE_S = 3; from quicklook.cli.main import main; main()"
    words = [sys.executable, "-c", begin]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": hanging}
    begun = [(subprocess.Popen([*words, command, "--site", str(site)], **pipes), status) for command, status in (("doctor", 1), ("ledger", 2))]
    for process, status in begun:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == status, said
        assert f"{tmp_path / 'raw'} hangs: a look at it has not come back for 3 s" in said
        assert "Look after the server of this file system" in said


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_hard_mount_whose_server_is_gone(tmp_path: Path, hanging: dict[str, str]) -> None:
    """Every call on the raw folder hangs, in the daemon and in its worker; it is said, the program can be stopped, and nothing is lost."""
    site, flag, environment = site_in(tmp_path, {"workers": 1, "deadline_s": 3.0}, hangs_s=2.0), tmp_path / "hangs", hanging

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen([*QUICKLOOK, "watch", "--site", str(site)], stdout=log, stderr=log, env=environment)

    def events(kind: str) -> list[dict[str, Any]]:
        if not journal_path(tmp_path / "out").is_file():
            return []
        journal = Journal(journal_path(tmp_path / "out"), time.time_ns)
        try:
            return [{**e.payload, "unit": e.unit} for e in journal.events(limit=10_000, kinds=(kind,))]
        finally:
            journal.close()

    daemon = start()
    try:
        wait_for(lambda: any(b["workers"] for b in events("heartbeat")), "no worker is warm")
        for n in range(1, 31):
            write_frame(tmp_path, "a", n)
        wait_for(lambda: events("unit_verdict"), "no exposure has been done")
        flag.touch()
        wait_for(lambda: events("raw_folder"), "that it hangs is not said")
        write_frame(tmp_path, "a", 31)
        beats = len(events("heartbeat"))
        wait_for(lambda: len(events("heartbeat")) > beats + 1, "the daemon hangs too")
        shown = subprocess.run([*QUICKLOOK, "status", "--site", str(site)], check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "300"})
        assert "RAW FILES ARE NOT SEEN" in shown.stdout
        assert "does not answer" in shown.stdout
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(120) == 0
        daemon = start()  # while it hangs
        time.sleep(8)
        flag.unlink()
        wait_for(lambda: len(events("unit_verdict")) == 31, "not all is done when it answers again")
        assert sorted(str(e["unit"])[-2:] for e in events("unit_verdict")) == [f"{n:02d}" for n in range(1, 32)]
        assert events("failed") == []
        wait_for(lambda: len(list((tmp_path / "out").rglob("verdict.json"))) == 31, "not all verdicts are written")
    finally:
        flag.unlink(missing_ok=True)
        daemon.terminate()
        daemon.wait(30)
