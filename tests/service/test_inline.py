"""The daemon that does the work in its own process: what ends it is not begun for ever, and what is done is in the journal before the next."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from bench_site import bench_site, said, turn, write_frame

from quicklook.core.events import Event
from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.workers.executors import InlineExecutor

CRASHES = """\
import os, quicklook.core.runner as runner
plain = runner.ChainRunner._read
def read(self, state, given):
    if state.key.part == "b":
        os._exit(7)
    plain(self, state, given)
runner.ChainRunner._read = read
"""


def journal_says(folder: Path, kind: str) -> list[Event]:
    journal = Journal(journal_path(folder / "out"), time.time_ns)
    try:
        return journal.events(limit=10_000, kinds=(kind,))
    finally:
        journal.close()


@pytest.mark.timeout(300)
def test_a_camera_that_ends_the_daemon_each_time_is_given_up(tmp_path: Path) -> None:
    site = bench_site(tmp_path, work={"executor": "inline", "attempts": 2}, sinks={}, commands={"endpoint": ""})
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site.file.model_dump(mode="json")))
    (tmp_path / "sitecustomize.py").write_text(CRASHES)
    for camera in "ab":
        write_frame(tmp_path, camera)
    command = [sys.executable, "-m", "quicklook", "watch", "--site", str(tmp_path / "site.yaml"), "--idle", "1"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = [subprocess.run(command, check=False, capture_output=True, env=environment, timeout=300).returncode for _ in range(3)]
    assert ended == [7, 7, 0], "twice it has died of it, then it goes on without it"
    (failed,) = journal_says(tmp_path, "failed")
    assert (failed.part, failed.payload["attempts"]) == ("b", 2)
    assert failed.payload["failure"]["message"] == "the daemon itself has ended while it worked on it"
    assert "tried 2 times" in failed.payload["failure"]["what_next"]
    assert [e.part for e in journal_says(tmp_path, "verdict")] == ["a"]
    (verdict,) = journal_says(tmp_path, "unit_verdict")
    assert verdict.payload["status"] == "UNKNOWN"


def test_what_is_done_is_in_the_journal_before_the_next_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon, before, submit = Daemon(bench_site(tmp_path)), list[int](), InlineExecutor.submit

    def watched(self: InlineExecutor, job: jobs.Job) -> None:
        before.append(len(said(daemon, "verdict")))
        submit(self, job)

    monkeypatch.setattr(InlineExecutor, "submit", watched)
    for camera in "ab":
        write_frame(tmp_path, camera)
    daemon.start()
    try:
        turn(daemon, lambda: said(daemon, "unit_verdict"))
        assert before == [0, 1]
    finally:
        daemon.stop()


def test_a_daemon_that_is_stopped_leaves_what_it_was_at_open_and_untried(tmp_path: Path) -> None:
    for _ in range(6):
        daemon = Daemon(bench_site(tmp_path, cameras=["a"], work={"executor": "inline", "attempts": 2}))
        write_frame(tmp_path, "a")
        daemon.start()
        turn(daemon, lambda d=daemon: d.executor.running())  # it is done, and nobody has heard of it yet
        daemon.stop()
        assert not journal_says(tmp_path, "verdict")
        journal = Journal(journal_path(tmp_path / "out"), time.time_ns)
        with journal.reading() as connection:
            assert jobs.counts(connection, "live") == {jobs.OPEN: 1}
        journal.close()
