"""What stands now, for those who look and do not watch: by what a daemon has stored, or by a log that is followed. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from monitor.hk.checker import Checker
from monitor.hk.loading import BoundLimit, HkConfig
from monitor.hk.memory import remember
from monitor.hk.plugins import context_of, sources_for
from monitor.hk.store import HkStore
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import HkRow
from quicklook.core.severity import Severity

_LOOKS = 10_000


def rows_of(checker: Checker, now: float) -> tuple[HkRow, ...]:
    """One row for each channel, and for each source that is silent, the worst first."""
    worst: dict[str, HkChange] = {}
    for change in checker.states(now):
        known = worst.get(change.channel)
        if known is None or _badness(change) < _badness(known):
            worst[change.channel] = change
    silent = [n for n, s in zip(checker.speakers.names, checker.speakers.silent.tolist(), strict=True) if s]
    rows = [*_channels(checker, worst, now), *(_silent(checker, name, now) for name in silent)]
    return tuple(sorted(rows, key=lambda r: r.rank))


def _badness(change: HkChange) -> tuple[int, int, str]:
    return HkRow(name=change.subject, state=change.state, severity=change.severity).rank


def _channels(checker: Checker, worst: Mapping[str, HkChange], now: float) -> Iterator[HkRow]:
    fresh, states = checker.fresh, checker.counts()
    limits: dict[str, list[BoundLimit]] = {}
    for bound in checker.limits.limits:
        limits.setdefault(bound.channel, []).append(bound)
    for i, name in enumerate(checker.names):
        change, value, last = worst.get(name), float(fresh.value[i]), float(fresh.last_valid[i])
        state = HkState(states[name])
        words = i in checker.worded and value == value
        yield HkRow(
            name=name,
            state=state,
            severity=change.severity if change is not None and change.state is state else Severity.NONE,
            value=None if value != value or words else value,
            text=checker.word(value) if words else "",
            unit=checker.facts[i].unit or (change.unit if change is not None else ""),
            age_s=max(0.0, now - last) if last > float("-inf") else None,
            since=change.since if change is not None and change.state is state and change.since < now else None,
            limit=_limit(limits.get(name, []), change),
            why=_why(change if change is not None and change.state is state else None, stale=bool(fresh.stale[i])),
        )


def _why(change: HkChange | None, *, stale: bool) -> str:
    """What is said of it; a violation that outlasts its data is as old as these."""
    lost = "; no valid sample since" if change is not None and stale and change.state is HkState.VIOLATING else ""
    return f"{change.text if change is not None else ''}{lost}".removeprefix("; ")


def _limit(mine: Sequence[BoundLimit], change: HkChange | None) -> str:
    """The worst limit on a channel, else the first one, and its range."""
    found = next((b for b in mine if change is not None and b.spec.name == change.limit), mine[0] if mine else None)
    if found is None:
        return ""
    spec = found.spec
    if spec.kind == "identity":
        return f"{spec.name}: {' or '.join(map(str, spec.equals))}"
    level = (getattr(spec, change.level) if change is not None and change.level else None) or spec.performance or spec.survival
    low, high = level.range if level is not None else (None, None)
    against = f" from {found.reference or f'{found.constant:g}'}" if spec.kind == "relative" else ""
    against += f" per {spec.per_s:g} s" if spec.kind == "rate" else ""
    return f"{spec.name}: {'' if low is None else f'{low:g}'} .. {'' if high is None else f'{high:g}'}{against}"


def _silent(checker: Checker, name: str, now: float) -> HkRow:
    said = checker.teller.source(name, True, now)
    last = float(checker.speakers.last[checker.speakers.number(name)])
    age = now - last if last > float("-inf") else None
    return HkRow(name=said.subject, state=HkState.STALE, severity=said.severity, age_s=age, since=said.since, why=said.text)


class StoreView:
    """What a daemon knows, as it has stored it; what it has not said for long is as old as that. Raises BadConfig where there is no store."""

    def __init__(self, config: HkConfig, path: Path) -> None:
        self._config, self._path, self._clock = config, path, float("nan")
        self._store = HkStore(path, writing=False)

    def rows(self, now: float) -> tuple[HkRow, ...]:
        """See `HkView`. Raises Transient, BadData."""
        blob, clock = self._store.fact("checker"), self._store.fact("clock")
        if not isinstance(blob, bytes):
            raise BadData(f"{self._path} does not say how things stand: no daemon of this version has written it")
        checker = Checker(self._config, now)
        remember(checker, blob)
        self._clock = float(str(clock))
        checker.tick(max(now, self._clock))
        return rows_of(checker, now)

    def note(self) -> str:
        """What it is, and how old."""
        last = "" if self._clock != self._clock else f", written {datetime.fromtimestamp(self._clock, UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"as the daemon knows it ({self._path}{last})"

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class LogView:
    """A log, or a folder of them, followed and judged here. Raises BadConfig where no source of the configuration reads it."""

    def __init__(self, config: HkConfig, path: Path, source: str) -> None:
        self._path, self._checker = path, Checker(config, 0.0)  # what is old is old: nobody has waited for it
        self._sources, self._failed = sources_for(config, path, source), dict[str, str]()
        self._faults, self._last = 0, ""
        if not self._sources:
            raise BadConfig(f"no source of this configuration reads {path}")
        for name, reader in self._sources:
            reader.open(context_of(config, name, {}))

    def rows(self, now: float) -> tuple[HkRow, ...]:
        """See `HkView`."""
        batches = []
        for name, reader in self._sources:
            for _ in range(_LOOKS):
                taken = reader.take(name, now)
                batches += [b for b in taken.batches if len(b.times)]
                self._failed[name] = taken.failed
                for fault in taken.faults:
                    self._faults, self._last = self._faults + fault.count, f"{fault.where}: {fault.message}"
                if not taken.more:
                    break
        for batch in sorted(batches, key=lambda b: float(b.times[0])):
            self._checker.feed(batch)
        self._checker.tick(now)
        return rows_of(self._checker, now)

    def note(self) -> str:
        """What is followed, and what of it cannot be read."""
        failed = "".join(f"; {name}: {why}" for name, why in self._failed.items() if why)
        faults = f"; {self._faults} faults in it, the last one: {self._last}" if self._faults else ""
        return f"{self._path}, judged here{failed}{faults}"

    def close(self) -> None:
        """Close the sources."""
        for _, reader in self._sources:
            reader.close()
