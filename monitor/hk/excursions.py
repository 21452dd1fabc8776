"""Which limits channels violated in a stretch of time: the checker itself, fed with stored samples from somewhat before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.hk.checker import Checker
from monitor.hk.loading import HkConfig
from monitor.hk.names import matched
from monitor.hk.thinning import Group, Samples, groups_of
from quicklook.core.housekeeping import Batch, HkChange, HkState

_OPEN = (HkState.VIOLATING,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violated:
    """A limit that was violated: as it was told when it was worst, when it began (Unix seconds), for how many seconds of the stretch."""

    change: HkChange
    since: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the checker said of a stretch: violations by channel, and for each channel the states of its limits at the end (none: it has none)."""

    violated: Mapping[str, tuple[Violated, ...]]
    states: Mapping[str, tuple[HkState, ...]]


def reduced(config: HkConfig, names: Sequence[str]) -> HkConfig:
    """The configuration as far as it is about these channels: a checker of it is made in milliseconds."""
    file = config.file
    limits = tuple(limit for limit in file.limits if any(b.spec is limit for n in names for b in config.limits_on(n)))
    channels = tuple(s for s in file.channels if any(matched(s.name, n) is not None for n in names))
    return HkConfig(file.model_copy(update={"limits": limits, "channels": channels}), config.document)


def wanted_with(config: HkConfig, names: Sequence[str]) -> list[str]:
    """These channels, those that their limits are relative to, and those that tell the state of the instrument."""
    references = (b.reference for n in names for b in config.limits_on(n) if b.reference)
    states = (config.aliases.of(c) for state in config.file.states for c in state.when)
    return list(dict.fromkeys([*names, *references, *states]))


def judge(config: HkConfig, samples: Mapping[str, Samples], start: float, stop: float) -> Judged:
    """Feed the samples up to `stop` to a checker; what is violated from `start` on. `config` is a `reduced` one."""
    first = min((float(s.times[0]) for s in samples.values() if s.times.size), default=start)
    checker = Checker(config, first)
    open_: dict[str, tuple[float, HkChange]] = {}
    done: dict[str, list[Violated]] = {}
    entered = False
    groups, left_out = groups_of(config, samples)
    for batch in _batches(samples, groups, stop):
        if not entered and batch.times[0] >= start:
            entered = True
            _enter(checker, start, open_)
        for change in checker.feed(batch):
            if entered:
                _follow(change, start, open_, done)
    if not entered:
        _enter(checker, start, open_)
    for subject, (began, change) in open_.items():
        done.setdefault(subject, []).append(_violated(change, began, start, stop))
    by_channel: dict[str, list[Violated]] = {}
    for some in done.values():
        by_channel.setdefault(some[0].change.channel, []).append(_merged(some))
    states: dict[str, list[HkState]] = {}
    for now in checker.states(stop):
        if now.limit != "data":
            lacking = now.channel in left_out and now.state is not HkState.OFF
            states.setdefault(now.channel, []).append(HkState.UNKNOWN if lacking else now.state)
    return Judged(violated={c: tuple(v) for c, v in by_channel.items()}, states={c: tuple(s) for c, s in states.items()})


def _enter(checker: Checker, start: float, open_: dict[str, tuple[float, HkChange]]) -> None:
    """What is violated when the stretch begins."""
    for now in checker.states(start):
        if now.state in _OPEN and now.limit != "data":
            open_[now.subject] = (start, now)


def _follow(change: HkChange, start: float, open_: dict[str, tuple[float, HkChange]], done: dict[str, list[Violated]]) -> None:
    if change.state in _OPEN:
        began, before = open_.get(change.subject, (max(change.since, start), change))
        open_[change.subject] = (began, change if change.severity >= before.severity else before)
    elif change.subject in open_:
        began, before = open_.pop(change.subject)
        done.setdefault(change.subject, []).append(_violated(before, began, start, change.time))


def _violated(change: HkChange, began: float, start: float, stop: float) -> Violated:
    return Violated(change=change, since=change.since, seconds=max(0.0, stop - max(began, start)))


def _merged(some: Sequence[Violated]) -> Violated:
    """One limit that was violated more than once: the worst, and all the seconds."""
    worst = max(some, key=lambda v: v.change.severity.rank)
    return Violated(change=worst.change, since=min(v.since for v in some), seconds=sum(v.seconds for v in some))


def _batches(samples: Mapping[str, Samples], groups: Sequence[Group], stop: float) -> Iterator[Batch]:
    """All rows up to `stop` in the order of time."""
    which = np.concatenate([np.full(g.rows.size, i) for i, g in enumerate(groups)]) if groups else np.empty(0, dtype=int)
    order = np.argsort(np.concatenate([g.times[g.rows] for g in groups]), kind="stable") if groups else which
    at = [0] * len(groups)
    runs = np.split(which[order], np.flatnonzero(np.diff(which[order])) + 1) if which.size else []
    for run in runs:
        number = int(run[0])
        group = groups[number]
        taken = group.rows[at[number] : at[number] + run.size]
        at[number] += run.size
        taken = taken[group.times[taken] <= stop]
        # row by row: what changes between two rows is to be seen when it does
        for row in taken.tolist():
            yield _row(samples, group.names, float(group.times[row]), row)


def _row(samples: Mapping[str, Samples], names: Sequence[str], time: float, row: int) -> Batch:
    numbers = [n for n in names if not samples[n].words]
    texts = {n: [samples[n].words[row]] for n in names if samples[n].words}
    values = np.array([[samples[n].given[row] for n in numbers]], dtype=float)
    return Batch(source="stored", times=np.array([time]), channels=tuple(numbers), values=values, texts=texts)
