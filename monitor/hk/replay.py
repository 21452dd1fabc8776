"""A log in fast time: the same sources, the same checker, the time of the log in place of a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from monitor.hk.channels import Validity
from monitor.hk.loading import HkConfig
from monitor.hk.names import select
from monitor.hk.plugins import context_of, sources_for
from monitor.hk.series import series_of
from monitor.hk.watch import GuardedChecker, Trouble
from quicklook.core.housekeeping import Batch, Floats, HkChange, HkFault
from quicklook.core.housekeeping_watch import ChannelCount, HkSeries, Replayed

_TICK_S = 1.0
_LOOKS = 1_000_000


def read_log(config: HkConfig, path: Path, source: str = "") -> tuple[list[Batch], list[HkFault]]:
    """All samples of a log or a folder of logs, and what could not be read. Raises BadConfig."""
    batches: list[Batch] = []
    faults: list[HkFault] = []
    for name, reader in sources_for(config, path, source):
        reader.open(context_of(config, name, {}))
        try:
            for _ in range(_LOOKS):
                taken = reader.take(name, 0.0)
                batches += [b for b in taken.batches if len(b.times)]
                faults += taken.faults
                if not taken.more:
                    break
            faults += reader.take(name, 0.0, last=True).faults
        finally:
            reader.close()
    return batches, faults


def replay(config: HkConfig, path: Path, source: str = "") -> Replayed:
    """See `quicklook.core.housekeeping_watch.HkMonitor.replay`."""
    batches, faults = read_log(config, path, source)
    if not batches:
        return Replayed(changes=(), faults=tuple(faults), channels=(), rows=0, first=np.nan, last=np.nan)
    times = np.concatenate([b.times for b in batches])
    first, last = float(times.min()), float(times.max())
    guarded = GuardedChecker(config, first, Trouble())
    changes: list[HkChange] = []
    ticked = first
    waiting: list[Batch] = []
    for row in rows_in_order(batches):
        now = float(row.times[0])
        if now - ticked >= _TICK_S:
            changes += guarded.check(waiting, float(waiting[-1].times[0]) if waiting else now)
            # what has become stale in a gap did so before the next row came
            changes += guarded.check((), now)
            waiting, ticked = [], now
        waiting.append(row)
    changes += guarded.check(waiting, last)
    counted = tuple(_counts(config, batches, guarded.checker.counts()))
    return Replayed(
        changes=tuple(changes), faults=tuple(faults), channels=counted, rows=times.size, first=first, last=last, per_day=_per_day(times, changes)
    )


def rows_in_order(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Single rows of all batches in the order of time."""
    sizes = [len(b.times) for b in batches]
    if not sum(sizes):
        return
    which, row = np.repeat(np.arange(len(batches)), sizes), np.concatenate([np.arange(n) for n in sizes])
    for k in np.lexsort((row, which, np.concatenate([b.times for b in batches]))):
        batch, i = batches[which[k]], int(row[k])
        texts = {n: t[i : i + 1] for n, t in batch.texts.items()}
        yield Batch(source=batch.source, times=batch.times[i : i + 1], channels=batch.channels, values=batch.values[i : i + 1], texts=texts)


def _per_day(times: Floats, changes: Sequence[HkChange]) -> dict[str, int]:
    days = dict.fromkeys((_day(day * 86400.0) for day in np.unique(times // 86400.0).tolist()), 0)
    return days | dict(sorted(Counter(_day(c.time) for c in incidents(changes)).items()))


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def incidents(changes: Sequence[HkChange]) -> list[HkChange]:
    """What begins, of all changes: each violation and each channel or source without data, once until it is over or gets worse."""
    out: list[HkChange] = []
    worst: dict[str, int] = {}
    for change in changes:
        known = worst.get(change.subject, -1)
        if change.told and change.severity.rank > known:
            out.append(change)
            worst[change.subject] = change.severity.rank
        elif not change.told and change.severity.rank == 0 and not change.cause:
            worst.pop(change.subject, None)
    return out


def _counts(config: HkConfig, batches: Sequence[Batch], states: dict[str, str] | object) -> Iterator[ChannelCount]:
    known = dict(states) if isinstance(states, dict) else {}
    samples: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    for batch in batches:
        for i, raw in enumerate(batch.channels):
            name = config.aliases.of(raw)
            _, valid = Validity((config.facts(name),)).series(0, batch.values[:, i])
            samples[name] += len(valid)
            invalid[name] += int((~valid).sum())
        for raw, texts in batch.texts.items():
            samples[config.aliases.of(raw)] += len(texts)
            invalid[config.aliases.of(raw)] += sum(t is None for t in texts)
    for name in dict.fromkeys([*samples, *known]):
        yield ChannelCount(channel=name, unit=config.facts(name).unit, samples=samples[name], invalid=invalid[name], state=known.get(name, ""))


def read_series(config: HkConfig, path: Path, channels: Sequence[str], source: str = "", *, filter_bad: bool = True) -> Iterator[HkSeries]:
    """Samples of a log by channel (names, aliases or patterns), in the order of time. Raises BadConfig."""
    batches, _ = read_log(config, path, source)
    found: dict[str, tuple[list[float], list[float]]] = {}
    words: dict[str, list[str]] = {}
    for batch in batches:
        columns = {config.aliases.of(n): batch.values[:, i].tolist() for i, n in enumerate(batch.channels)}
        for raw, texts in batch.texts.items():
            known = words.setdefault(config.aliases.of(raw), [])
            known += [t for t in dict.fromkeys(texts) if t is not None and t not in known]
            columns[config.aliases.of(raw)] = [np.nan if t is None else float(known.index(t)) for t in texts]
        for name, values in columns.items():
            times, all_values = found.setdefault(name, ([], []))
            times += batch.times.tolist()
            all_values += values
    for name in select([config.aliases.of(c) for c in channels], found):
        when, given = (np.array(x, dtype=float) for x in found[name])
        order = np.argsort(when, kind="stable")
        yield series_of(config, name, when[order], given[order], words=tuple(words.get(name, ())), filter_bad=filter_bad)
