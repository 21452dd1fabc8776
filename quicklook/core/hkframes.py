"""Housekeeping during one exposure: statistics of channels over its time, and which of them were outside of their range. Pure.

It is made from a store of samples by what watches housekeeping (`ExposureJoin`), measured by the QA `housekeeping`, and held against what
else was found in the exposure (`quicklook.core.causes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np

from quicklook.core.housekeeping import Floats
from quicklook.core.product import Product
from quicklook.core.severity import Severity

STATISTICS = ("mean", "median", "rms", "peak_to_peak")
QA_NAME = "housekeeping"


def share_words(overlap: float) -> str:
    """For how much of an exposure, in words."""
    if overlap >= 1:
        return "all through the exposure"
    return f"for {f'{100 * overlap:.0f}' if overlap >= 0.01 else 'less than 1'} % of the exposure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Excursion:
    """A channel outside of a limit of its configuration during an exposure.

    `value` is the one farthest out (of a limit that is relative, a rate or a word: the last that was told), `bound` the end of the range that was
    passed, both in `unit`; None of what has none (flags, words: `text` says it). `since`: the first bad sample, Unix seconds. `overlap`: the
    part of the exposure time during which it was so. `usual` and `scatter`: median and robust standard deviation of the channel in the
    hours before, NaN where there were too few samples.
    """

    limit: str
    severity: Severity
    level: str = ""
    direction: str = ""
    value: float | None = None
    bound: float | None = None
    unit: str = ""
    text: str = ""
    since: float
    overlap: float
    usual: float = math.nan
    scatter: float = math.nan
    history_h: float = 0.0
    reason: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """What a channel is declared to matter for: cameras (patterns), QAs or metrics (patterns), and why, in a sentence."""

    parts: tuple[str, ...] = ("*",)
    spoils: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDuring:
    """A channel during an exposure. `samples` within its time, of which `invalid` are no valid value (fill values, implausible ones).

    `numbers` has the `STATISTICS` of the valid ones, in `unit`; without any, those of the nearest valid sample, which is `away_s` from the exposure
    (0: within it). NaN: there is no value. `blind_s`: the longest stretch of the exposure without a valid sample. `judged`: whether it is known if
    its limits held all through, beside those in `out`; None where it has none that applies. `note` says what is to be said of it; `times` (s from
    the start of the exposure) and `values`, both [n], are for a plot, thinned.
    """

    channel: str
    unit: str = ""
    text: bool = False
    samples: int = 0
    invalid: int = 0
    numbers: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(STATISTICS, math.nan))
    away_s: float = math.nan
    blind_s: float = 0.0
    judged: bool | None = None
    note: str = ""
    late: bool = False
    out: tuple[Excursion, ...] = ()
    concerns: tuple[Concern, ...] = ()
    times: Floats = field(default_factory=lambda: np.empty(0))
    values: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        self.times.flags.writeable = self.values.flags.writeable = False

    @property
    def invalid_fraction(self) -> float:
        """Part of the samples that is no valid value; NaN where none came within the exposure and none near it is valid."""
        if self.samples:
            return self.invalid / self.samples
        return 0.0 if math.isfinite(self.away_s) else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureHousekeeping(Product):
    """The chosen channels during one exposure. `problem`: why nothing at all could be read, in words; then the channels that are known by name
    are there without values."""

    kind = "exposure_housekeeping"

    start: datetime | None
    exptime_s: float
    channels: tuple[ChannelDuring, ...] = ()
    problem: str = ""

    @property
    def late(self) -> tuple[str, ...]:
        """Channels whose samples have not all come."""
        return tuple(c.channel for c in self.channels if c.late)


class ExposureJoin(Protocol):
    """Reads a store for exposures. Made and used in one thread."""

    @property
    def wanted(self) -> bool:
        """Whether the configuration joins any channel to exposures."""

    def during(self, start: datetime | None, exptime_s: float) -> ExposureHousekeeping:
        """The chosen channels during an exposure (UTC; None or NaN: not known). Never raises for what is in the store: `problem` says it."""

    def close(self) -> None:
        """Let go of the store."""
