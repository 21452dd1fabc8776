"""What others reach of housekeeping: registered as `hk` under `quicklook.monitors`; see `quicklook.core.housekeeping_watch.HkMonitor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from monitor.hk.during import ExposureReader
from monitor.hk.loading import check_config, load_hk
from monitor.hk.plugins import make_source
from monitor.hk.ranges import ranges_of
from monitor.hk.replay import incidents, read_series, replay
from monitor.hk.series import ConfiguredStore
from monitor.hk.storefile import is_store
from monitor.hk.view import LogView, StoreView
from monitor.hk.watch import Watch
from quicklook.core.document import Document
from quicklook.core.housekeeping import HkChange
from quicklook.core.housekeeping_watch import HkRange, HkSeries, HkView, Replayed


class HkMonitor:
    """Housekeeping by configuration: check it, replay a log, read a log or a store, watch."""

    def check(self, config: Document) -> tuple[str, ...]:
        """Look at a configuration; remarks in sentences. Raises BadConfig, with file and line."""
        loaded = load_hk(config)
        for name in loaded.file.sources:
            make_source(loaded, name)
        return tuple(check_config(loaded))

    def replay(self, config: Document, path: Path, *, source: str = "") -> Replayed:
        """A log, or a folder of them, in fast time. Raises BadConfig."""
        return replay(load_hk(config), path, source)

    def incidents(self, changes: Sequence[HkChange]) -> list[HkChange]:
        """Of all changes those that somebody would be told, each once."""
        return incidents(changes)

    def read(self, config: Document, path: Path, channels: Sequence[str], *, source: str = "", filter_bad: bool = True) -> Iterator[HkSeries]:
        """Samples of a log by channel. Raises BadConfig."""
        return read_series(load_hk(config), path, channels, source, filter_bad=filter_bad)

    def store(self, config: Document, path: Path, *, writing: bool = False) -> ConfiguredStore:
        """The store of samples at a path. Raises BadConfig where there is none to read."""
        return ConfiguredStore(load_hk(config), path, writing=writing)

    def ranges(self, config: Document, channel: str) -> tuple[HkRange, ...]:
        """The ranges of a channel that do not move. Raises BadConfig."""
        loaded = load_hk(config)
        return ranges_of(loaded, loaded.aliases.of(channel))

    def join(self, config: Document, store: Path) -> ExposureReader:
        """What reads the store for exposures; the store may come later. Raises BadConfig."""
        return ExposureReader(load_hk(config), store)

    def view(self, config: Document, path: Path, *, source: str = "") -> HkView:
        """What stands now, by the store of a daemon, or by a log or folder that is followed. Raises BadConfig."""
        loaded = load_hk(config)
        return StoreView(loaded, path) if is_store(path) else LogView(loaded, path, source)

    def picture(
        self, config: Document, path: Path, channels: Sequence[str], *, start: float, stop: float, source: str = "", form: str = "png"
    ) -> bytes | None:
        """Channels over time with their limits, as PNG or PDF; None where they have no samples there. Raises BadConfig."""
        from monitor.hk.figure import drawn

        return drawn(load_hk(config), path, channels, start, stop, source, form)

    def watch(self, config: Document, store: Path, started: float) -> Watch:
        """Sources opened where they were, checker at rest. Raises BadConfig."""
        return Watch(load_hk(config), store, started)
