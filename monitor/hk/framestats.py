"""Statistics of one channel over the time of an exposure: what counts, what is invalid, frozen, or still to come."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from monitor.hk.channels import Flags, Validity
from monitor.hk.edges import Index
from monitor.hk.loading import ChannelFacts
from monitor.hk.thinning import Samples
from quicklook.core.hkframes import STATISTICS, ChannelDuring, Concern
from quicklook.core.housekeeping import Floats

_DRAWN = 300
_LACKING = 5
"""Samples that lack at the end of an exposure, by their usual distance, make its channel late."""
NOWHERE = "it has no sample in this exposure, nor near it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A channel that is joined: what it concerns, and how far from an exposure a sample may lie."""

    name: str
    facts: ChannelFacts
    reach_s: float
    concerns: tuple[Concern, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time of an exposure, Unix seconds by the clock of the telemetry; `low` and `high` are its ends with the margin."""

    start: float
    stop: float
    margin: float

    @property
    def low(self) -> float:
        """From here on samples count."""
        return self.start - self.margin

    @property
    def high(self) -> float:
        """Up to here."""
        return self.stop + self.margin


def until_known(samples: Samples, window: Window) -> Samples:
    """What the checker is to see: up to the end of the exposure; of a channel without any until then the first one after it."""
    n = max(1, int(np.searchsorted(samples.times, window.high, side="right")))
    return Samples(times=samples.times[:n], given=samples.given[:n], words=samples.words[:n])


def during(chosen: Chosen, samples: Samples | None, window: Window, *, text: bool) -> ChannelDuring:
    """The statistics of a channel; `samples` are None where it is not known at all, `text` says whether it holds words."""
    plain = ChannelDuring(channel=chosen.name, unit=chosen.facts.unit, text=text, concerns=chosen.concerns)
    if samples is None or not samples.times.size:
        why = "no channel of this name has ever had a sample" if samples is None else NOWHERE
        return replace(plain, note=why, late=True)
    times, given = samples.times, samples.given
    value, valid = (given, np.isfinite(given)) if text else Validity((chosen.facts,)).series(0, given)
    inside = (times >= window.low) & (times <= window.high)
    n, bad = int(inside.sum()), int((inside & ~valid).sum())
    if constant := _frozen(times, value, valid, chosen.facts, window):
        note = f"its value has not changed for {constant / 3600:.1f} h: the sensor is taken for frozen"
        return replace(plain, samples=max(1, n), invalid=max(1, n), note=note)
    used, away, note = _nearest(times, valid, inside, window, chosen.reach_s)
    late = _late(times, window) if n or away > 0 else not n
    if late and n:
        note = "; ".join(t for t in (note, f"samples until {datetime.fromtimestamp(float(times[-1]), UTC):%H:%M:%S} alone have come") if t)
    made = replace(plain, samples=n, invalid=bad, away_s=away, blind_s=_blind(times[valid], window), note=note, late=late)
    if text:
        return made
    thin = _drawn(value, inside, used)
    numbers = _numbers(value[used]) if used.any() else dict.fromkeys(STATISTICS, math.nan)
    return replace(made, numbers=numbers, times=times[thin] - window.start, values=np.where(valid[thin], value[thin], np.nan))


def _blind(valid_times: Floats, window: Window) -> float:
    """The longest stretch of the exposure without a valid sample, s; it is not asked what was before it and after."""
    inside = valid_times[(valid_times > window.start) & (valid_times < window.stop)]
    return float(np.diff(np.concatenate([[window.start], inside, [window.stop]])).max())


def _drawn(value: Floats, inside: Flags, used: Flags) -> Index:
    """Samples for a plot: not all of very many, but the least and the largest valid value among them."""
    which = np.flatnonzero(inside)
    ends = np.flatnonzero(inside & used)
    far = [ends[np.argmin(value[ends])], ends[np.argmax(value[ends])]] if ends.size else []
    return np.union1d(which[:: max(1, which.size // _DRAWN)], np.array(far, dtype=np.int64))


def _nearest(times: Floats, valid: Flags, inside: Flags, window: Window, reach_s: float) -> tuple[Flags, float, str]:
    """Which samples count, how far from the exposure they are (s; NaN: none), and what is to be said of it."""
    used = inside & valid
    if used.any():
        return used, 0.0, ""
    if inside.any():
        return used, math.nan, "none of its samples in this exposure is a valid value"
    distance = np.where(valid, np.maximum(window.start - times, times - window.stop), np.inf)
    nearest = int(np.argmin(distance))
    away = float(distance[nearest])
    if away > reach_s:
        return used, math.nan, NOWHERE if not valid.any() else f"its nearest valid sample is {away:.0f} s away"
    used[nearest] = True
    side = "before it began" if times[nearest] < window.start else "after it ended"
    return used, away, f"no sample within the exposure; the nearest one, {away:.0f} s {side}, is taken"


def _frozen(times: Floats, value: Floats, valid: Flags, facts: ChannelFacts, window: Window) -> float:
    """For how many seconds a sensor has not changed, where that is longer than it may; gaps count as the checker counts them. Else 0."""
    if not math.isfinite(facts.frozen_after_s):
        return 0.0
    upto = valid & (times <= window.high)
    at, v = times[upto], value[upto]
    if at.size < 2:
        return 0.0
    changed = np.flatnonzero(np.diff(v) != 0)
    tail = at[changed[-1] + 1 :] if changed.size else at
    constant = float(np.minimum(np.diff(tail), facts.stale_after_s).sum())
    return constant if constant > facts.frozen_after_s else 0.0


def _late(times: Floats, window: Window) -> bool:
    """Whether samples of the exposure may still come: so many lack before its end that it matters. Of a source with a row an exposure, and where
    too few are there to tell how far apart they come, it is not said."""
    if times.size < 3:
        return False
    return float(times[-1]) + _LACKING * float(np.median(np.diff(times[-20:]))) < window.stop


def _numbers(values: Floats) -> dict[str, float]:
    """The statistics; of a single value it is not known how much it scatters."""
    with np.errstate(over="ignore", invalid="ignore"):  # of values that are not plausible, where nobody has said what is
        mean = float(values.mean())
        spread = (float(np.sqrt(((values - mean) ** 2).mean())), float(np.ptp(values))) if values.size > 1 else (math.nan, math.nan)
        numbers = (mean, float(np.median(values)), *spread)
    return {name: n if math.isfinite(n) else math.nan for name, n in zip(STATISTICS, numbers, strict=True)}
