"""The channels that are watched: what counts as a valid value, when it was last there, and when its data are stale. Vectorised over channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.hk.edges import Index
from monitor.hk.loading import ChannelFacts
from quicklook.core.housekeeping import Floats

Flags = npt.NDArray[np.bool_]
FINE, UNSEEN, OLD, INVALID, FROZEN = range(5)
WHY = ("", "no sample was ever seen", "no valid sample for too long", "its samples are no valid values", "its value does not change any more")
FILL_TOLERANCE = 1e-6
"""Relative: 1e20 that went through 32 bits is 1.00000002e20."""


class Validity:
    """Tells valid values from others. All arrays have one entry a channel; `fills` [n, k], padded with NaN."""

    def __init__(self, facts: Sequence[ChannelFacts]) -> None:
        most = max([1, *(len(f.fill) for f in facts)])
        self.fills = np.array([[*f.fill, *[np.nan] * (most - len(f.fill))] for f in facts], dtype=float).reshape(len(facts), most)
        self._near = FILL_TOLERANCE * np.abs(self.fills)
        self.low = np.array([f.low for f in facts], dtype=float)
        self.high = np.array([f.high for f in facts], dtype=float)
        self.scale = np.array([f.scale for f in facts], dtype=float)
        self.offset = np.array([f.offset for f in facts], dtype=float)

    def physical(self, which: Index, given: Floats) -> tuple[Floats, Flags]:
        """Physical values and whether each is valid, of one sample `given` [k] of each of the channels `which`."""
        value: Floats = self.scale[which] * given + self.offset[which]
        fill = (np.abs(given[:, None] - self.fills[which]) <= self._near[which]).any(axis=1)
        return value, np.isfinite(given) & ~fill & (value >= self.low[which]) & (value <= self.high[which])

    def series(self, channel: int, given: Floats) -> tuple[Floats, Flags]:
        """As `physical`, of many samples [n] of one channel."""
        return self.physical(np.full(len(given), channel), given)

    def why_not(self, channel: int, given: float) -> str:
        """Why a sample is no valid value, in words."""
        if not np.isfinite(given):
            return "it is no number"
        if (np.abs(given - self.fills[channel]) <= self._near[channel]).any():
            return f"{given:g} is a fill value"
        low, high = self.low[channel], self.high[channel]
        return f"{self.scale[channel] * given + self.offset[channel]:g} is not plausible ({low:g} to {high:g})"


class Freshness:
    """When each channel had its last sample and valid value, and whether its data are stale. Times are Unix seconds, UTC."""

    def __init__(self, facts: Sequence[ChannelFacts], started: float) -> None:
        n = len(facts)
        self.after = np.array([f.stale_after_s for f in facts], dtype=float)
        self.most_invalid = np.array([f.invalid_rows for f in facts], dtype=float)
        self.frozen_after = np.array([f.frozen_after_s for f in facts], dtype=float)
        self.last = np.full(n, -np.inf)
        """Time of the last sample, valid or not."""
        self.last_valid = np.full(n, -np.inf)
        self.value = np.full(n, np.nan)
        """The last valid value, physical."""
        self.given = np.full(n, np.nan)
        """The last sample as it was given."""
        self.base = np.full(n, started)
        """From here on the age is counted where nothing came since: the start, or the time when a silent source spoke again."""
        self.invalid = np.zeros(n)
        self.constant_s = np.zeros(n)
        self.source = np.full(n, -1)
        self.state = np.full(n, UNSEEN)
        self.stale = np.zeros(n, dtype=bool)

    def take(self, which: Index, times: Floats, given: Floats, value: Floats, valid: Flags) -> None:
        """One sample each of the channels `which`; samples before the last one of a channel are not to be given."""
        step = np.minimum(times - self.last[which], self.after[which])
        same = valid & (value == self.value[which])
        self.constant_s[which] = np.where(same, self.constant_s[which] + step, np.where(valid, 0.0, self.constant_s[which]))
        self.last[which] = times
        self.given[which] = given
        self.invalid[which] = np.where(valid, 0, self.invalid[which] + 1)
        good = which[valid]
        self.last_valid[good] = times[valid]
        self.value[good] = value[valid]

    @property
    def speechless(self) -> Flags:
        """Channels that have no valid value now, to which another one could be compared: stale, or their last sample was none."""
        found: Flags = self.stale | (self.invalid > 0) | np.isnan(self.value)
        return found

    def look(self, now: float) -> None:
        """See which are stale `now`, and why."""
        age = now - np.maximum(self.last_valid, self.base)
        seen = self.last > -np.inf
        state = np.where(seen, FINE, UNSEEN)
        state[seen & (self.last_valid == -np.inf)] = INVALID
        frozen = self.constant_s > self.frozen_after
        state[frozen] = FROZEN
        invalid = self.invalid >= self.most_invalid
        state[invalid] = INVALID
        old = age > self.after
        state[old & seen] = np.where(self.invalid[old & seen] > 0, INVALID, OLD)
        stale = frozen | invalid | old
        # what was stale stays so until a valid value comes: a source that speaks again makes nothing valid by itself
        stale |= self.stale & (self.last_valid < self.base)
        state[stale & (state == FINE)] = OLD
        self.stale, self.state = stale, state

    def extend(self, other: Freshness) -> None:
        """Add the channels of another one behind these."""
        for name in vars(other):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
