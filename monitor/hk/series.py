"""Samples by name, with what the configuration says of them: which are valid, in which unit, which words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from monitor.hk.channels import Validity
from monitor.hk.loading import HkConfig
from monitor.hk.memory import last_samples
from monitor.hk.names import select
from monitor.hk.store import HkStore
from quicklook.core.errors import BadData
from quicklook.core.housekeeping import Floats
from quicklook.core.housekeeping_watch import HkSeries


def series_of(config: HkConfig, name: str, times: Floats, given: Floats, *, words: tuple[str, ...] = (), filter_bad: bool = True) -> HkSeries:
    """Physical values of one channel, masked where they are not valid (with `filter_bad`), or where there is no number at all (without)."""
    facts = config.facts(name)
    value, valid = (given, np.isfinite(given)) if words else Validity((facts,)).series(0, given)
    bad = ~valid if filter_bad else ~np.isfinite(value)
    return HkSeries(channel=name, unit=facts.unit, times=times, values=np.ma.MaskedArray(value, mask=bad), words=words)


class ConfiguredStore:
    """A store as others see it: see `quicklook.core.housekeeping_watch.HkStoreLike`."""

    def __init__(self, config: HkConfig, path: Path, *, writing: bool = False) -> None:
        self.config, self.raw = config, HkStore(path, writing=writing)

    def fetch(self, channels: Sequence[str], start: float, stop: float, *, filter_bad: bool = True) -> dict[str, HkSeries]:
        """Samples of channels, by name, alias or pattern; a channel that is not known is not there. Raises Transient."""
        known = self.raw.channels()
        names = select([self.config.aliases.of(c) for c in channels], known)
        words = self.raw.words() if any(known[n] for n in names) else {}
        listed = tuple(words.get(i, "") for i in range(max(words, default=-1) + 1))
        found = self.raw.read(names, start, stop)
        return {
            n: series_of(self.config, n, times, given, words=listed if known[n] else (), filter_bad=filter_bad) for n, (times, given) in found.items()
        }

    def channels(self) -> tuple[str, ...]:
        """Names of all channels that have samples. Raises Transient."""
        return tuple(self.raw.channels())

    def span(self) -> tuple[float, float] | None:
        """First and last time of any sample, Unix seconds."""
        return self.raw.span()

    def last_samples(self) -> dict[str, float]:
        """When each source last gave a sample (Unix seconds), as the watch has noted it; empty where that cannot be read. Raises Transient."""
        noted = self.raw.fact("checker")
        with suppress(BadData):
            return last_samples(noted) if isinstance(noted, bytes) else {}
        return {}

    def close(self) -> None:
        """Close the file."""
        self.raw.close()
