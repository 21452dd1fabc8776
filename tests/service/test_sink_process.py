"""A sink in a process of its own: it is killed at any moment, and neither the work nor the end of the daemon waits for it."""

from __future__ import annotations

import os
import signal
import time

from quicklook.core.sink import SinkContext
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.sinks import SinkProcess


def test_one_that_was_killed_while_it_looked_whether_to_end(tmp_path):
    Journal(journal_path(tmp_path), time.time_ns).close()
    runner = SinkProcess(journal_path(tmp_path), "files", {}, SinkContext(out=str(tmp_path)))
    try:
        assert not [name for name, held in vars(runner).items() if "synchronize" in type(held).__module__], "a lock that a dead process may hold"
        first = runner._process.pid
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + 60
        while runner._process.pid == first and time.monotonic() < end:
            runner.check()
            time.sleep(0.02)
        assert runner._process.pid != first, "it is started again"
    finally:
        runner.stop(120.0)
    assert runner._process.exitcode == 0, "it has ended by itself"


def test_one_that_does_not_answer_is_killed(tmp_path):
    Journal(journal_path(tmp_path), time.time_ns).close()
    runner = SinkProcess(journal_path(tmp_path), "files", {}, SinkContext(out=str(tmp_path)))
    os.kill(runner._process.pid, signal.SIGSTOP)
    runner.stop(0.2)
    runner._process.join(60)
    assert runner._process.exitcode == -signal.SIGKILL
