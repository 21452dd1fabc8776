"""Housekeeping: what a source gives (batches of samples, faults), and what watching them against limits says (changes of state). Pure.

A source is a plugin of the group `quicklook.hk_sources`. What watches is found as plugin `hk` of the group `quicklook.monitors`; its contract
is in `quicklook.core.housekeeping_watch`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import BadData, describe
from quicklook.core.plugin import P, Plugin
from quicklook.core.severity import Severity

Floats = npt.NDArray[np.float64]
FEED = ":"
"""Between the name of a source and that of a feed within it: columns that have times of their own may fall silent while the source speaks."""


class HkState(StrEnum):
    """State of one thing that is watched: a limit on a channel, the data of a channel, a source, the checker itself.

    Only NORMAL says that all is well. PENDING: bad samples, not yet enough of them. UNKNOWN: nothing was judged yet, or cannot be. STALE: no valid
    sample for too long. OFF: the limit does not apply in the present state of the instrument.
    """

    NORMAL = "NORMAL"
    PENDING = "PENDING"
    VIOLATING = "VIOLATING"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"
    OFF = "OFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples of one source that share their times, in the order of time.

    `times` float64 [n], Unix seconds, UTC, finite. `values` float64 [n, nchannel] as they were given: fill values are still in them, NaN is a
    sample that was no number. `texts` are channels whose samples are words, None where there was none; no name is in both. Raises BadData where
    shapes differ or a time is not finite.
    """

    source: str
    times: Floats
    channels: tuple[str, ...] = ()
    values: Floats
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.times.shape[0] if self.times.ndim == 1 else -1
        if self.values.shape != (n, len(self.channels)) or any(len(t) != n for t in self.texts.values()):
            raise BadData(f"a batch of {self.source} has {self.times.shape} times, values {self.values.shape} of {len(self.channels)} channels")
        if not np.isfinite(self.times).all():
            raise BadData(f"a batch of {self.source} has a time that is not finite")

    @property
    def size(self) -> int:
        """Number of samples, of all channels."""
        return len(self.times) * (len(self.channels) + len(self.texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class HkFault:
    """Something that a source could not use, or that failed: where (file and line, address), what, how often, what kind of error."""

    source: str
    time: float
    where: str
    message: str
    count: int = 1
    kind: str = "BadData"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one look at a source gave.

    `positions` are entries (key to text) that changed since the last look; they are to be stored together with the batches, and are given to
    `open` after a restart. An empty text forgets the key. `failed`: the source itself cannot be used now (absent, unreachable). `more`: there is
    more at once.
    """

    batches: tuple[Batch, ...] = ()
    faults: tuple[HkFault, ...] = ()
    positions: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """What a source is told when it is opened: its name, where it was, texts that stand for no value.

    `text_channels` are names that hold words, `number_channels` names or patterns (* and ?) of those that hold numbers; of others their first samples
    tell.
    """

    source: str
    positions: Mapping[str, str] = field(default_factory=dict)
    text_channels: frozenset[str] = frozenset()
    number_channels: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    max_channels: int = 5000


class HkSource(Plugin[P]):
    """Base of sources of housekeeping. A subclass defines `open`, `poll` and `close`; the engine calls `take`.

    Whatever `open` or `poll` raises becomes a fault: a source that fails never ends the loop that asks it, and is asked again.
    """

    file_param: ClassVar[str] = ""
    """The parameter that names the files it reads, if it reads files: replaying sets it."""

    def open(self, context: SourceContext) -> None:
        """Make ready, and go on after the positions of the context. Raises BadConfig, Transient."""

    def poll(self, now: float) -> Taken:  # noqa: ARG002 - of those that define it
        """What has come since the last look, `now` being Unix seconds, UTC. To be quick, and bounded. May raise anything."""
        raise TypeError(f"{type(self).__qualname__} defines no `poll`")

    def finish(self, now: float) -> Taken:  # noqa: ARG002 - of those that define it
        """What is left when no more will come, such as a last line without its end. Called in replays alone."""
        return Taken()

    def close(self) -> None:
        """Let go of everything."""

    def take(self, name: str, now: float, *, last: bool = False) -> Taken:
        """As `poll` (or `finish` where it is the `last`), with an exception as a fault. Raises nothing but what ends the process."""
        try:
            return _well_named(self.finish(now) if last else self.poll(now), name, now)
        except Exception as error:  # of a plugin, over data of somebody else: it may be anything
            said = describe(error)
            return Taken(faults=(HkFault(source=name, time=now, where=name, message=said, kind=type(error).__name__),), failed=said)


MOST_NAME = 200


@functools.lru_cache(maxsize=1024)
def _strange(names: tuple[str, ...]) -> frozenset[str]:
    """Those that cannot be names of channels: empty, too long, or not to be printed."""
    return frozenset(n for n in names if not n.strip() or len(n) > MOST_NAME or not n.isprintable())


def _well_named(taken: Taken, source: str, now: float) -> Taken:
    """Without what cannot be the name of a channel, which is a fault: it comes from files and servers of others."""
    wrong = [_strange((*b.channels, *b.texts)) for b in taken.batches]
    if not any(wrong):
        return taken
    batches = tuple(_without(b, names) for b, names in zip(taken.batches, wrong, strict=True))
    shown = repr(next(iter(frozenset().union(*wrong))))[:60]
    message = f"names of channels that are empty, longer than {MOST_NAME} letters, or not to be printed, such as {shown}; left out"
    fault = HkFault(source=source, time=now, where=source, message=message, count=sum(map(len, wrong)))
    return replace(taken, batches=batches, faults=(*taken.faults, fault))


def _without(batch: Batch, names: frozenset[str]) -> Batch:
    kept = [i for i, n in enumerate(batch.channels) if n not in names]
    texts = {n: t for n, t in batch.texts.items() if n not in names}
    return replace(batch, channels=tuple(batch.channels[i] for i in kept), values=batch.values[:, kept], texts=texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class HkChange:
    """One change of state of one thing that is watched. An alarm stands on these.

    `subject` names the thing for good: `channel/limit`, `channel/data`, `source:name`, `checker`. `since` is when what it is now began: the first bad
    sample, or the last valid one of data that are stale. `bound` is the limit that was passed, in `unit`, `reference` the value of the channel that
    it is relative to. `cause` is the subject that explains this one (its source is silent), so that one message is enough.
    """

    subject: str
    channel: str
    limit: str
    kind: str
    state: HkState
    before: HkState
    severity: Severity
    time: float
    since: float
    direction: str = ""
    level: str = ""
    value: float | None = None
    text: str = ""
    bound: float | None = None
    reference: float | None = None
    unit: str = ""
    instrument_state: str = ""
    cause: str = ""
    reason: str = ""
    action: str = ""

    @property
    def told(self) -> bool:
        """Whether it is an incident of its own: something that matters, and that nothing else explains."""
        return self.severity is not Severity.NONE and not self.cause and self.state in (HkState.VIOLATING, HkState.STALE)

    @property
    def sentence(self) -> str:
        """What, where, value, limit, since when, in one line."""
        unit = f" {self.unit}" if self.unit else ""
        parts = [f"{self.channel or self.subject}"]
        if self.limit not in ("", "data", "silence", "works"):
            parts.append(f"{self.limit}:")
        if self.value is not None and self.kind not in ("staleness", "identity"):
            parts.append(f"{self.value:.6g}{unit}")
        if self.bound is not None:
            against = f" (reference {self.reference:.6g})" if self.reference is not None else ""
            parts.append(f"{'below' if self.direction == 'low' else 'above'} {self.bound:.6g}{unit}{against}, {self.level}")
        if self.text:
            parts.append(self.text)
        if self.since < self.time:
            parts.append(f"since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S}")
        if self.instrument_state:
            parts.append(f"[{self.instrument_state}]")
        return " ".join(parts)
