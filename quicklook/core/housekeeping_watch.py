"""Contract of what watches housekeeping: the command line and the daemon reach it by entry point, through these types alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import Floats, HkChange, HkFault
from quicklook.core.registry import find


@dataclass(frozen=True, slots=True, kw_only=True)
class HkSeries:
    """Samples of one channel: `times` float64 [n], Unix seconds, UTC; `values` a masked float64 array [n], masked where the sample is no valid value.

    Of a channel of words `texts` has them, and `values` are their numbers in `words`.
    """

    channel: str
    unit: str
    times: Floats
    values: Any
    words: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The words, None where masked; empty for a channel of numbers."""
        if not self.words:
            return ()
        return tuple(None if v is None else self.words[int(v)] for v in self.values.tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCount:
    """What a replay saw of one channel."""

    channel: str
    unit: str
    samples: int
    invalid: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a log gave in fast time: changes of state in order, faults, counts. Times are Unix seconds, UTC; `first` is NaN where nothing came."""

    changes: tuple[HkChange, ...]
    faults: tuple[HkFault, ...]
    channels: tuple[ChannelCount, ...]
    rows: int
    first: float
    last: float
    per_day: Mapping[str, int] = field(default_factory=dict)
    """Incidents (`HkChange.told`) by day, UTC; days with data and none are there with 0."""


class HkStoreLike(Protocol):
    """The store of samples, as others may use it."""

    def fetch(self, channels: Sequence[str], start: float, stop: float, *, filter_bad: bool = True) -> dict[str, HkSeries]:
        """Samples of each channel with start <= time < stop, in the order of time. Patterns such as ``CCD*`` name all that match."""

    def channels(self) -> tuple[str, ...]:
        """Names of all channels that have samples."""

    def close(self) -> None:
        """Let go of it."""


class HkWatch(Protocol):
    """A watch at work: sources, store, checker. Made and used in one thread, best its own: a source may wait for a disk or a server."""

    def turn(self, now: float) -> tuple[HkChange, ...]:
        """Ask each source, store what came, check it; the changes of state since the last turn. Raises nothing over what a source does."""

    def faults(self) -> tuple[HkFault, ...]:
        """Faults since the last call."""

    def close(self) -> None:
        """Store what is left, close sources and store."""


class HkMonitor(Protocol):
    """What is registered as plugin `hk` of the group `quicklook.monitors`."""

    def check(self, config: Document) -> tuple[str, ...]:
        """Look at a configuration; remarks about it in sentences. Raises BadConfig, with file and line."""

    def replay(self, config: Document, path: Path, *, source: str = "") -> Replayed:
        """A log, or a folder of them, in fast time. `source` names which of the configuration reads it. Raises BadConfig."""

    def incidents(self, changes: Sequence[HkChange]) -> list[HkChange]:
        """Of all changes those that somebody would be told, each once until it is over or gets worse."""

    def read(self, config: Document, path: Path, channels: Sequence[str], *, source: str = "", filter_bad: bool = True) -> Iterator[HkSeries]:
        """Samples of a log, not of a store. Raises BadConfig."""

    def store(self, config: Document, path: Path, *, writing: bool = False) -> HkStoreLike:
        """The store of samples at a path. Raises BadConfig where there is none to read."""

    def watch(self, config: Document, store: Path, started: float) -> HkWatch:
        """Sources opened where they were, checker at rest. Raises BadConfig."""


def hk_monitor() -> HkMonitor:
    """The monitor that is installed. Raises BadConfig where there is none."""
    made = find("monitor", "hk").load()
    if not callable(made):
        raise BadConfig("the monitor 'hk' is registered and is no class")
    monitor: HkMonitor = made()
    return monitor


