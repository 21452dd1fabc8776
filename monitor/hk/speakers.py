"""Which sources speak: a source that is silent explains that its channels are stale, so that one message is enough."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monitor.hk.channels import INVALID, OLD, UNSEEN, Flags, Freshness
from monitor.hk.config import SourceSpec
from monitor.hk.edges import Index
from quicklook.core.housekeeping import FEED
from quicklook.core.severity import Severity


class Speakers:
    """The sources, the feeds within them, and when each last gave a sample (Unix seconds)."""

    def __init__(self, sources: Mapping[str, SourceSpec], started: float) -> None:
        self._specs = dict(sources)
        self.names: list[str] = []
        self.last = self._after = self.since = np.zeros(0)
        self.silent = np.zeros(0, dtype=bool)
        self._parent: list[int] = []
        for name in sources:
            self._add(name, started)

    def _add(self, name: str, since: float) -> None:
        parent = name.partition(FEED)[0]
        spec = self._specs.get(parent, SourceSpec(plugin="?"))
        after = spec.silent_after_s if parent == name else spec.feed_after_s or spec.silent_after_s
        self._parent.append(self.names.index(parent) if parent in self.names else len(self.names))
        self.names.append(name)
        self.last = np.append(self.last, -np.inf)
        self._after = np.append(self._after, after or np.inf)
        self.since = np.append(self.since, since)
        self.silent = np.append(self.silent, False)

    def knows(self, name: str) -> bool:
        """Whether it is a source of the configuration, or a feed of one."""
        return name.partition(FEED)[0] in self._specs

    def number(self, name: str) -> int:
        """The index of a source or a feed; one that is new is added."""
        if name not in self.names:
            self._add(name, float(self.since.max(initial=0.0)))
        return self.names.index(name)

    def severity(self, name: str) -> Severity:
        """How much its silence matters."""
        parent = name.partition(FEED)[0]
        spec = self._specs.get(parent, SourceSpec(plugin="?"))
        return spec.silent_severity if parent == name else spec.feed_severity

    def spoke(self, name: str, time: float, channels: Index, fresh: Freshness) -> None:
        """A source gave a row. After a pause of its own the age of its channels is counted from here: they could not come."""
        source = self.number(name)
        pause = time - self.last[source]
        if pause > 0:
            if pause > fresh.after.min(initial=np.inf):
                mine = ((fresh.source == source) | (fresh.source < 0)) & (fresh.after < pause)
                fresh.base[mine] = np.maximum(fresh.base[mine], time)
            for feed, parent in enumerate(self._parent):
                if parent == source and feed != source and pause > self._after[feed]:
                    self.since[feed] = time
            self.last[source] = time
        fresh.source[channels] = source

    def look(self, now: float) -> list[tuple[str, bool]]:
        """Sources and feeds that have become silent (True) or speak again (False)."""
        silent = now - np.maximum(self.last, self.since) > self._after
        for feed, parent in enumerate(self._parent):
            if feed != parent and now - self.last[parent] > self._after[feed]:
                silent[feed] = self.silent[feed]  # the whole source is silent: this says nothing of the feed
        changed = np.flatnonzero(silent != self.silent)
        self.silent = silent
        return [(self.names[i], bool(silent[i])) for i in changed.tolist()]

    def explains(self, fresh: Freshness, now: float) -> Flags:
        """For each channel, whether its source was silent for so long that the channel is stale for that alone."""
        if not len(fresh.after):
            return np.zeros(0, dtype=bool)
        spoken = np.where(fresh.source >= 0, self.last[fresh.source], self.last.max(initial=-np.inf))
        grace = now - np.maximum(fresh.base, fresh.last_valid) <= fresh.after
        # a few values that are none, before a pause or after it, say nothing of the channel yet
        few = (fresh.state == INVALID) & (fresh.invalid < fresh.most_invalid)
        missing = (fresh.state == OLD) | (fresh.state == UNSEEN) | few
        found: Flags = fresh.stale & missing & ((now - spoken > fresh.after) | grace)
        return found

    def of(self, source: int) -> str:
        """The subject of a source, for a cause; of a channel that never came the one that was silent for longest."""
        if source < 0:
            source = int(np.argmin(self.last)) if len(self.names) else -1
        return f"source:{self.names[source]}" if 0 <= source < len(self.names) else ""
