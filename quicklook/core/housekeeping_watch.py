"""Contract of what watches housekeeping: the command line and the daemon reach it by entry point, through these types alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.hkframes import ExposureJoin
from quicklook.core.housekeeping import Floats, HkChange, HkFault, HkState
from quicklook.core.registry import find
from quicklook.core.severity import Severity


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
class HkRange:
    """A range of a channel that does not move, in the unit of the channel; None is without end. `level`: within `performance` all is normal, between
    that and `survival` it is a warning."""

    limit: str
    level: str
    low: float | None
    high: float | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class HkRow:
    """One channel (or source) as it stands. `age_s`: of its last valid value; `limit`: the worst limit on it and its range, in words."""

    name: str
    state: HkState
    severity: Severity = Severity.NONE
    value: float | None = None
    text: str = ""
    unit: str = ""
    age_s: float | None = None
    since: float | None = None
    limit: str = ""
    why: str = ""

    @property
    def rank(self) -> tuple[int, int, str]:
        """For an order with the worst first."""
        return _STATES.index(self.state), -self.severity.rank, self.name


_STATES = (HkState.VIOLATING, HkState.STALE, HkState.UNKNOWN, HkState.PENDING, HkState.NORMAL, HkState.OFF)


class HkView(Protocol):
    """What stands now, for those who look and do not watch: nothing is written, nobody is told."""

    def rows(self, now: float) -> tuple[HkRow, ...]:
        """Everything that is watched, `now` being Unix seconds, the worst first. Raises Transient, BadData where it cannot be read now."""

    def note(self) -> str:
        """What it is a view of, and how old what it knows is, in one line."""

    def close(self) -> None:
        """Let go of files and sources."""


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
        """Ask each source, store what came, check it; the changes of state since the last turn. Raises nothing over what a source does.

        What the one before has given and nobody has kept is given again.
        """

    def kept(self, n: int) -> None:
        """The first `n` of all changes that it has given are kept elsewhere."""

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

    def ranges(self, config: Document, channel: str) -> tuple[HkRange, ...]:
        """The ranges of a channel that do not move, performance before survival. Raises BadConfig."""

    def join(self, config: Document, store: Path) -> ExposureJoin:
        """What reads the store for exposures, by `exposures` of the configuration; the store may come later. Raises BadConfig."""

    def view(self, config: Document, path: Path, *, source: str = "") -> HkView:
        """What stands now, by the store of a daemon, or by a log or folder that is followed. Raises BadConfig."""

    def picture(
        self, config: Document, path: Path, channels: Sequence[str], *, start: float, stop: float, source: str = "", form: str = "png"
    ) -> bytes | None:
        """Channels over time with their limits, as PNG or PDF; None where they have no samples there. Raises BadConfig."""

    def watch(self, config: Document, store: Path, started: float) -> HkWatch:
        """Sources opened where they were, checker at rest. Raises BadConfig."""


def hk_monitor() -> HkMonitor:
    """The monitor that is installed. Raises BadConfig where there is none."""
    made = find("monitor", "hk").load()
    if not callable(made):
        raise BadConfig("the monitor 'hk' is registered and is no class")
    monitor: HkMonitor = made()
    return monitor


