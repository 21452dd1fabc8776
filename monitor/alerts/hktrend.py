"""How a channel of housekeeping was before an alarm: its samples of the last hours, with the ranges of its limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np

from monitor.alerts.model import Incident
from monitor.alerts.trend import Trend
from quicklook.core.housekeeping import Floats
from quicklook.core.housekeeping_watch import HkRange, HkSeries, hk_monitor
from quicklook.io.configfiles import find_config

HOURS = 6.0
_AHEAD_S = 60.0
"""The clock of the telemetry may go before ours."""
_BINS = 40
"""So many parts of the time give their least and their largest value, before the alarm and in it: a message is no place for 200 000 samples."""


def hk_trend(incident: Incident, config: str, store: str) -> Trend | None:
    """Of an alarm that a channel of numbers has raised; None where there are no samples. Raises BadConfig, Transient."""
    channel = incident.facts.get("channel", "")
    if not channel or not config or not Path(store).is_file():
        return None
    monitor, document = hk_monitor(), find_config("hk", config)
    until = max(incident.seen, incident.told_at or 0) / 1e9 + _AHEAD_S
    with closing(monitor.store(document, Path(store))) as samples:
        series = samples.fetch([channel], until - HOURS * 3600, until).get(channel)
    return None if series is None or series.words else _trend(series, _began(incident), monitor.ranges(document, channel))


def _began(incident: Incident) -> float:
    """When the first bad sample was taken, or the last valid one of data that are stale, Unix seconds; when that was told, where it is not said."""
    try:
        return datetime.fromisoformat(incident.facts.get("since", "")).timestamp() - 1e-3  # it was rounded
    except ValueError:
        return incident.began / 1e9


def _trend(series: HkSeries, began: float, ranges: tuple[HkRange, ...]) -> Trend | None:
    given = np.asarray(series.values.data, dtype=float)
    good = np.isfinite(given) & ~np.ma.getmaskarray(series.values)
    times, values = series.times[good], given[good]
    if times.size < 2:
        return None
    n = min(int(np.searchsorted(times, began)), times.size - 1)  # the last one is in it: of data that are stale there is no other
    before, since = _thinned(times[:n], values[:n]), _thinned(times[n:], values[n:])
    kept = np.concatenate([before, since + n])
    ends = {r.level: (r.low, r.high) for r in ranges}
    return Trend(
        metric=series.channel, unit=series.unit, times=tuple(times[kept].tolist()), values=tuple(values[kept].tolist()), before=before.size,
        normal=ends.get("performance", (None, None)), warning=ends.get("survival", (None, None)),
    )  # fmt: skip


def _thinned(times: Floats, values: Floats) -> np.typing.NDArray[np.intp]:
    """The least and the largest of each part of the time, and the last one; in order."""
    if times.size <= 2 * _BINS:
        return np.arange(times.size)
    which = np.clip(np.searchsorted(np.linspace(times[0], times[-1], _BINS + 1), times, side="right") - 1, 0, _BINS - 1)

    def ends() -> Iterator[int]:
        for part in np.unique(which).tolist():
            first, last = np.searchsorted(which, [part, part + 1]).tolist()
            yield first + int(np.argmin(values[first:last]))
            yield first + int(np.argmax(values[first:last]))

    return np.unique([*ends(), times.size - 1])
