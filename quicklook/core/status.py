"""The four statuses and how they are summed.

UNKNOWN means: it should have been measured and judged, and was not. What has no limit, and what does not apply, has no
status at all (``None``) and is left out of every sum. An empty sum is UNKNOWN: nothing that was judged is no evidence of
health.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Status(StrEnum):
    """Status of a metric, a QA, a part, a unit. Worst first: ALARM, WARNING, UNKNOWN, NORMAL."""

    ALARM = "ALARM"
    WARNING = "WARNING"
    UNKNOWN = "UNKNOWN"
    NORMAL = "NORMAL"

    @property
    def severity(self) -> int:
        """0 for NORMAL up to 3 for ALARM."""
        return _SEVERITY[self]


_SEVERITY = {Status.NORMAL: 0, Status.UNKNOWN: 1, Status.WARNING: 2, Status.ALARM: 3}


def worst(statuses: Iterable[Status | None]) -> Status | None:
    """The worst of the statuses; ``None`` entries are left out; ``None`` if nothing is left."""
    present = [s for s in statuses if s is not None]
    return max(present, key=lambda s: s.severity) if present else None


def total(statuses: Iterable[Status | None]) -> Status:
    """As `worst`, but UNKNOWN if nothing was judged at all: no data is never green."""
    return worst(statuses) or Status.UNKNOWN


EXIT_STATUS = {Status.NORMAL: 0, Status.WARNING: 0, Status.ALARM: 1, Status.UNKNOWN: 3}
"""Exit status of a command that judges; 2 is kept for a command that could not run."""


def exit_status(judged: Iterable[tuple[Status, bool]]) -> int:
    """Exit status over parts, each with its status and whether a step of it failed.

    1 if any is an ALARM; else 3 if any is UNKNOWN or could not be processed to its end, whatever else is only a WARNING: a script that goes on at 0
    must find its products; else 0. Without any part 3.
    """
    each = [EXIT_STATUS[Status.UNKNOWN if failed and status is not Status.ALARM else status] for status, failed in judged]
    return next((code for code in (1, 3, 0) if code in each), EXIT_STATUS[Status.UNKNOWN])
