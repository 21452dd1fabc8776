"""Which samples of a long stretch the checker has to see so that it says the same as of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from monitor.hk.channels import Flags, Validity
from monitor.hk.edges import Index
from monitor.hk.loading import BoundLimit, HkConfig
from quicklook.core.housekeeping import Floats

MOST_ROWS = 4000
"""Of more rows every second (third, ...) one is judged, and beside these all near what may violate a limit."""
MOST_NEAR = 20_000
"""So many of the latter at most: about two seconds of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Samples of one channel as they were given: `times` [n] ascending, `given` [n]; of a channel of words these, None where there was none."""

    times: Floats
    given: Floats
    words: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Channels that share their times, and the rows of these that are to be judged."""

    names: tuple[str, ...]
    times: Floats
    rows: Index


def groups_of(config: HkConfig, samples: Mapping[str, Samples]) -> tuple[list[Group], set[str]]:
    """All that is to be judged, and channels of which too much is left out to call them normal."""
    grids: dict[bytes, list[str]] = {}
    for name, one in samples.items():
        if one.times.size:
            grids.setdefault(one.times.tobytes(), []).append(name)
    groups = [(tuple(names), samples[names[0]].times) for names in grids.values()]
    step = max(1, -(-sum(times.size for _, times in groups) // MOST_ROWS))
    kept = [np.arange(times.size) % step == (times.size - 1) % step for _, times in groups]  # the last one is among them
    left_out = set[str]()
    if step > 1:
        place = {name: i for i, (names, _) in enumerate(groups) for name in names}
        near = {n: _near(config, n, samples) for n in place}
        room = MOST_NEAR
        for name in sorted(near, key=lambda n: int(near[n].sum())):
            more = [(n, mask) for n, mask in _with(config, name, near[name], samples) if n in place]
            room -= sum(int((mask & ~kept[place[n]]).sum()) for n, mask in more)
            if room < 0:
                left_out.add(name)
                continue
            for n, mask in more:
                kept[place[n]] |= mask
    return [Group(names=names, times=times, rows=np.flatnonzero(k)) for (names, times), k in zip(groups, kept, strict=True)], left_out


def _with(config: HkConfig, name: str, near: Flags, samples: Mapping[str, Samples]) -> Iterator[tuple[str, Flags]]:
    """The channel, and at the same times what limits on it are relative to."""
    yield name, near
    for bound in config.limits_on(name):
        if bound.reference in samples and near.any():
            at = np.searchsorted(samples[name].times, samples[bound.reference].times)
            yield bound.reference, near[np.minimum(at, near.size - 1)] | near[np.maximum(at - 1, 0)]


def _near(config: HkConfig, name: str, samples: Mapping[str, Samples]) -> Flags:
    """Samples that may violate a limit on the channel, and so many about them as persistence asks for."""
    one = samples[name]
    found = np.zeros(one.times.size, dtype=bool)
    value, valid = _values(config, name, one)
    for bound in config.limits_on(name):
        spec = bound.spec
        if spec.kind == "rate":  # over so long: ten samples in that time tell it
            found |= _each(one.times, spec.over_s / 10)
            continue
        judged = value - spec.factor * _reference(config, bound, one.times, samples) if spec.kind == "relative" else value
        outside = _outside(bound, judged, valid)
        reach = max(spec.persistence.of, spec.persistence.clear) + 1
        sums, at = np.concatenate([[0], np.cumsum(outside)]), np.arange(outside.size)
        found |= sums[np.minimum(at + reach + 1, outside.size)] > sums[np.maximum(at - reach, 0)]
    return found


def _values(config: HkConfig, name: str, one: Samples) -> tuple[Floats, Flags]:
    if one.words:
        return one.given, np.isfinite(one.given)
    value, valid = Validity((config.facts(name),)).series(0, one.given)
    return np.where(valid, value, np.nan), valid


def _each(times: Floats, every_s: float) -> Flags:
    """The first sample of each stretch of so many seconds."""
    which = np.floor(times / every_s)
    return np.concatenate([[True], which[1:] != which[:-1]])[: times.size]


def _reference(config: HkConfig, bound: BoundLimit, times: Floats, samples: Mapping[str, Samples]) -> Floats:
    """What a relative limit is relative to, at these times: the latest value; NaN where there is none."""
    one = samples.get(bound.reference)
    if not bound.reference or one is None or not one.times.size:
        return np.full(times.size, np.nan if bound.reference else bound.constant)
    value, _ = _values(config, bound.reference, one)
    at = np.searchsorted(one.times, times, side="right") - 1
    return np.where(at >= 0, value[np.maximum(at, 0)], np.nan)


def _outside(bound: BoundLimit, value: Floats, valid: Flags) -> Flags:
    """What is out of a range of the limit; of words and flags where they change."""
    if bound.spec.kind == "identity":
        return np.concatenate([[True], value[1:] != value[:-1]])[: value.size]
    out = np.zeros(value.size, dtype=bool)
    for level in (bound.spec.performance, bound.spec.survival):
        low, high = level.range if level is not None else (None, None)
        out |= (value < (-np.inf if low is None else low)) | (value > (np.inf if high is None else high))
    return out & valid
