"""Persistence and hysteresis, for many limits at once: two different tools, against chatter in time and against hovering at a bound.

A limit has four edges, in this order: survival low, survival high, performance low, performance high; an edge that it has not is at infinity.
For each edge:

- a judgement is *bad* where the value is beyond the bound; while the edge is violated, where it is not yet inside by more than the hysteresis;
- the edge becomes violated when at least `count` of the last `of` judgements were bad;
- it is over when the last `clear` judgements, one after another, were not bad; what was before is then forgotten.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quicklook.core.housekeeping import Floats

Index = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
LOW_SIDE = np.array([True, False, True, False])
LEVELS = ("survival", "survival", "performance", "performance")
DIRECTIONS = ("low", "high", "low", "high")
_ONE = np.uint64(1)
_BITS = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)


def popcount(words: Words) -> npt.NDArray[np.int64]:
    """Number of bits set of each word, same shape."""
    counted: npt.NDArray[np.int64] = _BITS[np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 8)].sum(axis=-1, dtype=np.int64)
    return counted


class Edges:
    """The memory of n limits. `bounds` float64 [n, 4]; `hysteresis` [n]; `count`, `of` (at most 64), `clear` [n] integers, 1 or more."""

    def __init__(self, bounds: Floats, hysteresis: Floats, count: Index, of: Index, clear: Index) -> None:
        n = len(bounds)
        self.bounds, self.hysteresis, self.count, self.clear = bounds, hysteresis, count, clear
        self.window = np.array([(1 << int(m)) - 1 for m in of], dtype=np.uint64)
        self.history = np.zeros((n, 4), dtype=np.uint64)
        """The last judgements of each edge, the latest in bit 0, 1 is bad."""
        self.good = np.zeros((n, 4), dtype=np.int64)
        """Judgements since the last bad one."""
        self.violated = np.zeros((n, 4), dtype=bool)
        self.since = np.full((n, 4), np.nan)
        """Time of the first bad judgement of what is pending or violated."""

    def extend(self, other: Edges) -> None:
        """Add the limits of another one behind these."""
        for name in ("bounds", "hysteresis", "count", "clear", "window", "history", "good", "violated", "since"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))

    def judge(self, which: Index, x: Floats, times: Floats) -> None:
        """A value each for the limits `which` (no index twice) at their `times`, all [k]; x is finite."""
        violated = self.violated[which]
        slack = np.where(violated, self.hysteresis[which, None], 0.0)
        bounds, v = self.bounds[which], x[:, None]
        bad = np.where(LOW_SIDE, v < bounds + slack, v > bounds - slack)
        history, good = self.history[which], self.good[which]
        if not (bad.any() or violated.any() or history.any()):
            return
        fresh = bad & (history == 0) & ~violated
        history = ((history << _ONE) | bad.astype(np.uint64)) & self.window[which, None]
        good = np.where(bad, 0, good + 1)
        on = popcount(history) >= self.count[which, None]
        over = violated & (good >= self.clear[which, None])
        violated = (violated | on) & ~over
        history[over] = 0
        since = np.where(fresh, times[:, None], self.since[which])
        since[~violated & (history == 0)] = np.nan
        self.history[which], self.good[which], self.violated[which], self.since[which] = history, good, violated, since

    def forget(self, which: Index, *, violations: bool) -> None:
        """Begin anew for these limits: after a gap what was seen before says nothing. A violation stays unless `violations`."""
        self.history[which] = 0
        self.good[which] = 0
        if violations:
            self.violated[which] = False
        self.since[which] = np.where(self.violated[which], self.since[which], np.nan)
