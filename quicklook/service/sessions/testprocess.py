"""One test at a time is worked on, in a process of its own that can be killed; or in the daemon itself, where the site says `inline`."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from quicklook.core.session import SubTask
from quicklook.service.sessions.subtasks import UNWRITTEN, process_main, run_test
from quicklook.service.sessions.testoutcome import crashed
from quicklook.service.sessions.testruns import TestedRecord, read_record
from quicklook.service.sessions.testwork import Work

log = logging.getLogger("quicklook.session")


@dataclass(slots=True, kw_only=True)
class Runner:
    """Works on one test. It is stopped when it takes longer than `deadline_s`. `unwritten`: why its results could not be written; then it is to be
    done again."""

    inline: bool
    deadline_s: float
    log_file: Path
    work: Work | None = None
    unwritten: str = ""
    _process: BaseProcess | None = None
    _begun: float = 0.0
    _done: list[TestedRecord] = field(default_factory=list)

    def start(self, work: Work) -> None:
        """Begin; call only when nothing is worked on."""
        for left in (*(f"{s}.json" for s in SubTask), "test.json"):
            (work.folder / left).unlink(missing_ok=True)  # of an attempt that was interrupted
        self.work, self._begun = work, time.monotonic()
        if self.inline:
            try:
                self._done.append(run_test(work))
            finally:
                self.work = None  # where the disk is full it is found complete again
            return
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=process_main, args=(work, str(self.log_file)), daemon=True, name="quicklook-test")
        self._process.start()

    def finished(self) -> Iterator[TestedRecord]:
        """Outcomes that have come; also of a test whose process has ended before its work, or has taken too long."""
        done, self._done = self._done, []
        yield from done
        if self.work is None or self._process is None:
            return
        late = time.monotonic() - self._begun > self.deadline_s
        if self._process.is_alive() and not late:
            return
        if self._process.is_alive():
            self._process.kill()
        self._process.join(5)
        work, status = self.work, self._process.exitcode
        record = read_record(work.folder / "test.json", TestedRecord)
        if record is None and status == UNWRITTEN:
            self.work, self._process = None, None
            self.unwritten = f"the results of test {work.name} could not be written into {work.folder}; see {self.log_file}"
            return
        if record is None:
            why = f"it took longer than {self.deadline_s:g} s and was stopped" if late else f"its process ended with status {status}"
            log.error("test %s: %s", work.name, why)
            record = crashed(work, why)
        self.work, self._process = None, None
        yield record

    @property
    def at(self) -> tuple[str, str]:
        """Name of the test that is worked on, and its sub-task; empty where none is."""
        if self.work is None:
            return "", ""
        return self.work.name, next((str(s) for s in SubTask if not (self.work.folder / f"{s}.json").is_file()), "")

    def stop(self) -> None:
        """End the work now."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(2)
            if self._process.is_alive():
                self._process.kill()
                self._process.join(2)
