"""Channels over time, as a figure: values, gaps, what is no valid value, limits as bands, where limits were passed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from monitor.hk.checker import Checker
from monitor.hk.loading import HkConfig
from monitor.hk.names import select
from monitor.hk.ranges import ranges_of
from monitor.hk.replay import read_log, read_series, rows_in_order
from monitor.hk.series import ConfiguredStore
from monitor.hk.storefile import is_store
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import Batch, Floats, HkChange, HkState
from quicklook.core.housekeeping_watch import HkRange, HkSeries
from quicklook.core.plots import Axis, Band, Layer, Line, Panel, Plot, Scatter

_GAP = 8.0
"""A pause of so many usual distances between samples is one."""
_DAY_S, _HOUR_S = 86400.0, 3600.0
_ROOM = 0.6
_MOST_PANELS = 24
_MOST_JUDGED = 500_000


def drawn(config: HkConfig, path: Path, channels: Sequence[str], start: float, stop: float, source: str, form: str) -> bytes | None:
    """See `quicklook.core.housekeeping_watch.HkMonitor.picture`. Raises BadConfig."""
    from monitor.render.renderer import render_pdf, render_png

    series, batches = _samples(config, path, channels, start, stop, source)
    shown = [s for s in series if len(s.times)]
    if not shown:
        return None
    if len(shown) > _MOST_PANELS:
        raise BadConfig(f"{len(shown)} channels are too many for one figure; name {_MOST_PANELS} at most")
    changes = _judged(config, batches)
    plot = figure(config, shown, changes or [])
    if changes is None:  # a figure without marks would say that nothing happened
        plot = replace(plot, title=f"{plot.title}: more than {_MOST_JUDGED} rows, not judged against limits")
    return render_pdf(plot) if form == "pdf" else render_png(plot)


def _samples(config: HkConfig, path: Path, channels: Sequence[str], start: float, stop: float, source: str) -> tuple[list[HkSeries], list[Batch]]:
    """The channels that are shown, and all samples that tell how they stood."""
    if is_store(path):
        store = ConfiguredStore(config, path)
        try:
            known = store.raw.channels()
            names = select([config.aliases.of(c) for c in channels], known)
            found = store.fetch(names, start, stop)
            wanted = dict.fromkeys([*names, *_needed(config, names)])
            words, given = store.raw.words(), store.raw.read(list(wanted), start, stop)
        finally:
            store.close()
        return list(found.values()), [_batch(n, t, v, words if known.get(n) else None) for n, (t, v) in given.items() if len(t)]
    series = [_within(s, start, stop) for s in read_series(config, path, channels, source)]
    return series, [b for b in rows_in_order(read_log(config, path, source)[0]) if start <= b.times[0] < stop]


def _needed(config: HkConfig, names: Iterable[str]) -> Iterator[str]:
    """Channels that limits refer to, and those that tell the state of the instrument."""
    for name in names:
        yield from (b.reference for b in config.limits_on(name) if b.reference)
    for state in config.file.states:
        yield from (config.aliases.of(c) for c in state.when)


def _batch(name: str, times: Floats, values: Floats, words: dict[int, str] | None) -> Batch:
    if words is None:
        return Batch(source="", times=times, channels=(name,), values=values[:, None])
    return Batch(source="", times=times, values=np.empty((len(times), 0)), texts={name: [words.get(int(v)) if v == v else None for v in values]})


def _within(series: HkSeries, start: float, stop: float) -> HkSeries:
    kept = (series.times >= start) & (series.times < stop)
    return HkSeries(channel=series.channel, unit=series.unit, times=series.times[kept], values=series.values[kept], words=series.words)


def _judged(config: HkConfig, batches: Sequence[Batch]) -> list[HkChange] | None:
    """What changed; None of too many samples."""
    if sum(len(b.times) for b in batches) > _MOST_JUDGED:
        return None
    if not batches:
        return []
    rows = list(rows_in_order(batches))
    checker = Checker(config, float(rows[0].times[0]))
    return [c for row in rows for c in checker.feed(row)]


def figure(config: HkConfig, series: Sequence[HkSeries], changes: Sequence[HkChange]) -> Plot:
    """One panel for each channel, under each other, over the same time."""
    marks = [c.time for s in series for found in _marked(s.channel, changes).values() for c in found]  # data become stale after their last sample
    first, last = min(float(s.times[0]) for s in series), max(*(float(s.times[-1]) for s in series), *marks, -np.inf)
    unit, seconds = ("d", _DAY_S) if last - first > 4 * _DAY_S else ("h", _HOUR_S) if last - first > 2 * _HOUR_S else ("min", 60.0)
    zero = first - first % (_DAY_S if unit == "d" else _HOUR_S if unit == "h" else 60.0)
    span = ((first - zero) / seconds, (last - zero) / seconds)
    axis = Axis(label=f"since {datetime.fromtimestamp(zero, UTC):%Y-%m-%d %H:%M} UTC", unit=unit, range=span)
    panels = tuple(_panel(config, s, changes, axis, zero, seconds) for s in series)
    return Plot(name="housekeeping", title="Housekeeping", panels=panels, columns=1 if len(panels) < 5 else 2)


def _panel(config: HkConfig, series: HkSeries, changes: Sequence[HkChange], axis: Axis, zero: float, scale: float) -> Panel:
    x, good = (series.times - zero) / scale, ~np.ma.getmaskarray(series.values)
    y = np.asarray(series.values.data, dtype=float)
    names = series.words
    vertical = Axis(label=series.channel, unit=series.unit, names=names if 0 < len(names) <= 12 else ())
    if not good.any():
        return Panel(x=axis, y=vertical, layers=(), title=series.channel, message=f"{len(x)} samples, none of them a valid value")
    # a line over a gap would say what nobody has measured
    layers: list[Layer] = [Scatter(x=x[good], y=y[good]) if _has_gaps(x[good]) else Line(x=x[good], y=y[good])]
    bad = int((~good).sum())
    layers.append(Scatter(x=x[~good], y=np.full(bad, float(y[good].min())), label=f"{bad} no valid values (at the bottom)" if bad else ""))
    layers += list(_marks(series.channel, changes, x[good], y[good], zero, scale))
    bands = _bands(ranges_of(config, series.channel))
    if bands:  # a limit that is far away does not press the values flat
        low, high = float(y[good].min()), float(y[good].max())
        room = _ROOM * max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-9)
        vertical = replace(vertical, range=(low - room, high + room))
    return Panel(x=axis, y=vertical, layers=tuple(layers), title=series.channel, bands=bands)


def _has_gaps(x: Floats) -> bool:
    """Whether samples are missing between others."""
    steps = np.diff(x)
    return bool(len(steps)) and bool((steps > _GAP * np.median(steps)).any())


def _marks(channel: str, changes: Sequence[HkChange], x: Floats, y: Floats, zero: float, scale: float) -> Iterator[Scatter]:
    """Where limits were passed, where that was over, and where its data became stale: always all three, for a layer's place gives its looks."""
    for label, found in _marked(channel, changes).items():
        at = np.array([(c.time - zero) / scale for c in found], dtype=float)
        nearest = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 1)
        yield Scatter(x=at, y=y[nearest], label=f"{label} ({len(found)})" if found else "")


def _marked(channel: str, changes: Sequence[HkChange]) -> dict[str, list[HkChange]]:
    mine = [c for c in changes if c.channel == channel]
    return {
        "limit passed": [c for c in mine if c.state is HkState.VIOLATING],
        "over": [c for c in mine if c.before is HkState.VIOLATING and c.state in (HkState.NORMAL, HkState.OFF)],
        "stale": [c for c in mine if c.state is HkState.STALE and c.limit == "data" and c.before is not HkState.STALE],
    }


def _bands(ranges: Sequence[HkRange]) -> tuple[Band, ...]:
    """Within the performance range all is normal, within the survival range it is a warning."""
    kinds: dict[str, Literal["normal", "warning"]] = {"performance": "normal", "survival": "warning"}
    return tuple(Band(low=r.low, high=r.high, kind=kinds[r.level], label=f"{r.limit}, {r.level}") for r in ranges)
