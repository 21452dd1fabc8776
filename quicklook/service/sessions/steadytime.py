"""Time for time-outs: UTC as it was at the start of the daemon, and from then on a clock that nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_STEP_NS = 10 * 10**9
"""Clocks that differ by less were not set."""


def _running_ns() -> int:
    """Since the machine has started, while it sleeps too, ns; where a system does not tell that, while it is awake."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)


@dataclass(slots=True)
class SteadyTime:
    """Called, it gives UTC in nanoseconds, from which a clock that is set while the daemon runs takes and to which it adds nothing."""

    wall_ns: Callable[[], int] = time.time_ns
    running_ns: Callable[[], int] = _running_ns
    _offset: int = field(init=False)

    def __post_init__(self) -> None:
        self._offset = self.wall_ns() - self.running_ns()

    def __call__(self) -> int:
        return self._offset + self.running_ns()

    def shown(self, at_ns: int) -> int:
        """A moment as the clock of the machine tells it now, to ten seconds where that was set."""
        step = self.wall_ns() - self()
        return at_ns + round(step / _STEP_NS) * _STEP_NS
