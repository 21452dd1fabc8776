"""Page System: the daemon, its queue, latencies, disks, versions, what has failed, calibrations, the log."""

from __future__ import annotations

import time

from pydantic import Field

from monitor.web.api import Nothing
from monitor.web.routing import Page, Route
from quicklook.core.hosting import About, CalibrationLine, DiskNow, Host, JobLine
from quicklook.core.results import Record
from quicklook.core.wire import State

_MOST_JOBS = 200


class SystemAnswer(Record):
    """The daemon and what it works with. `failed`: jobs that have failed and can be done again, the newest first; `server_time`: UTC, ns."""

    about: About
    state: State
    lives: bool
    server_time: int
    disks: list[DiskNow]
    failed: list[JobLine]
    open: list[JobLine]


class JobsAsk(Record):
    """Jobs in a state."""

    state: str = Field("failed", pattern="^(open|running|done|failed|ignored|superseded)$")
    limit: int = Field(_MOST_JOBS, ge=1, le=2000)


class JobsAnswer(Record):
    """Jobs, the newest first."""

    jobs: list[JobLine]


class LogAsk(Record):
    """The end of the log."""

    lines: int = Field(60, ge=1, le=500)


class LogAnswer(Record):
    """Lines of the log of the daemon, the last ones."""

    lines: list[str]


class CalibrationsAnswer(Record):
    """The index of calibrations."""

    calibrations: list[CalibrationLine]


def system(host: Host, _ask: Nothing) -> SystemAnswer:
    """All but the log and the calibrations."""
    return SystemAnswer(
        about=host.about(), state=host.state(units=0), lives=host.lives(), server_time=time.time_ns(), disks=host.disks(),
        failed=host.jobs(["failed"], _MOST_JOBS), open=host.jobs(["running", "open"], 50),
    )  # fmt: skip


def jobs(host: Host, ask: JobsAsk) -> JobsAnswer:
    """Jobs in one state."""
    return JobsAnswer(jobs=host.jobs([ask.state], ask.limit))


def log(host: Host, ask: LogAsk) -> LogAnswer:
    """The end of the log."""
    return LogAnswer(lines=host.log_tail(ask.lines))


def calibrations(host: Host, _ask: Nothing) -> CalibrationsAnswer:
    """The index."""
    return CalibrationsAnswer(calibrations=host.calibrations())


PAGE = Page(
    name="system",
    title="System",
    path="/system",
    key="s",
    template="system.html",
    routes=(
        Route("GET", "/system", system, "The daemon: queue, workers, disks, versions, what has failed", shared=True),
        Route("GET", "/jobs", jobs, "Jobs in a state"),
        Route("GET", "/log", log, "The end of the log of the daemon"),
        Route("GET", "/calibrations", calibrations, "The index of calibrations"),
    ),
)
