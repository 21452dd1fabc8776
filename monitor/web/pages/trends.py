"""Page Trends: any metric or channel of housekeeping over nights, two on one axis of time, limits as bands, events marked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from monitor.web.api import Nothing
from monitor.web.pages.trends_asks import Cell, HistoryAnswer, HistoryAsk, Marked, MetricName, TrendAnswer, TrendAsk, TrendNames
from monitor.web.pages.trends_history import History, Wanted, channel_history, metric_history, night_of
from monitor.web.pages.trends_panel import trend_panel
from monitor.web.routing import Page, Route
from quicklook.core.declared import declared_metrics
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.events import Event
from quicklook.core.hosting import Host
from quicklook.core.housekeeping_watch import hk_monitor

_MARKED = ("calibration", "override", "test", "disk", "raw_folder", "command")
_MOST_MARKED, _MOST_PAGES = 200, 20
_ROOM_NS = 3600 * 10**9


def trend_names(host: Host, _ask: Nothing) -> TrendNames:
    """Metrics and channels that have a history."""
    try:
        found = [MetricName(name=m.name, unit=m.unit, dims=list(m.dims), doc=m.doc) for m in host.metrics().metrics()]
        source = "store"
    except NotReadyYet:
        found = [MetricName(name=m.name, unit=m.unit, dims=list(m.dims), doc=m.doc) for m in declared_metrics().values()]
        source = "files"
    once = {m.name: m for m in found}
    return TrendNames(metrics=[once[name] for name in sorted(once)], channels=_channels(host), source=source)


def _channels(host: Host) -> list[str]:
    place = host.housekeeping()
    if place is None:
        return []
    try:
        store = hk_monitor().store(place.config, place.store)
    except BadConfig:
        return []
    try:
        return list(store.channels())
    finally:
        store.close()


def history(host: Host, ask: HistoryAsk) -> HistoryAnswer:
    """The newest values of a metric."""
    found = metric_history(host, ask.metric, _wanted(ask, ask.where))
    columns = {name: [_cell(v) for v in column.tolist()] for name, column in found.columns.items()}
    return HistoryAnswer(metric=ask.metric, unit=found.unit, columns=columns, more=found.more)


def _wanted(ask: HistoryAsk | TrendAsk, where: str) -> Wanted:
    return Wanted(where=where, since=night_of(ask.since), until=night_of(ask.until), tag=ask.tag, limit=ask.limit)


def _cell(value: Any) -> Cell:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else str(value)


def trend(host: Host, ask: TrendAsk) -> TrendAnswer:
    """One history or two as a panel."""
    if not ask.first:
        raise BadConfig("no series is named", what_next="Choose a metric or a channel.")
    found = [_series(host, ask, ask.first, ask.first_where)]
    if ask.second:
        found.append(_series(host, ask, ask.second, ask.second_where))
    panel, notes = trend_panel(found)
    times = [float(t) for h in found for t in (h.columns["time_ns"][:1].tolist() + h.columns["time_ns"][-1:].tolist())]
    return TrendAnswer(panel=panel, rows=[len(h) for h in found], notes=notes, events=_events(host, ask.tag, times))


def _series(host: Host, ask: TrendAsk, which: str, where: str) -> History:
    kind, _, name = which.partition(":")
    if kind == "metric":
        if set("*?[") & set(name):
            raise BadConfig(f"{name} is a pattern", what_next="Choose one metric; several have different units.")
        found = metric_history(host, name, _wanted(ask, where))
        if not {"time_ns", "value"} <= set(found.columns) or found.columns["value"].dtype.kind not in "fiu":
            raise BadConfig(f"{name} has no values over time", what_next="Choose a metric; lists are shown by `quicklook query`.")
        return found
    return channel_history(host, name, night_of(ask.since), night_of(ask.until))


def _events(host: Host, tag: str, times: list[float]) -> list[Marked]:
    """What happened in that time that may have changed values: calibrations adopted, verdicts overridden, tests, commands, disks."""
    if not times:
        return []
    first, last = min(times), max(times)
    live = tag or host.about().tag
    found = [e for e in _all_marked(host, _before(host, first - _ROOM_NS)) if first - _ROOM_NS <= e.time <= last + _ROOM_NS and e.tag == live]
    return [Marked(time=e.time, kind=e.kind, text=text) for e in found if (text := _words(e))][-_MOST_MARKED:]


def _before(host: Host, time_ns: float) -> int:
    """The number up to which events are older than that: numbers and times rise together, so that the place is found by halving."""
    low, high = 0, host.last_seq()
    while low < high:
        middle = (low + high + 1) // 2
        found = host.events(middle - 1, limit=1, brief=True)
        if found and found[0].time < time_ns:
            low = min(found[0].seq, high)
        else:
            high = middle - 1
    return low


def _all_marked(host: Host, after: int) -> Iterator[Event]:
    """Events above a number of the kinds that are marked, a page of them at a time."""
    for _ in range(_MOST_PAGES):
        page = host.events(after, limit=1000, kinds=_MARKED)
        yield from page
        if len(page) < 1000:
            return
        after = page[-1].seq


def _words(event: Event) -> str:
    """What is written at the mark; nothing for what changes no values."""
    said = event.payload
    if event.kind == "calibration":
        return f"calibration {said['name']} {event.part or ''} adopted" if said.get("adopted") else ""
    if event.kind == "override":
        return f"{event.unit} {event.part or ''} overridden by {said['by']}: {said['status']}"
    if event.kind == "test":
        return f"test {said['name']}: {said['status']}"
    if event.kind == "command":
        return f"{said['name']} by {said['by']}" if said.get("name") in ("reload", "rerun") and said.get("done") else ""
    if event.kind == "disk":
        return f"disk: {said['status']}, {said['free_gb']:.3g} GB free"
    return f"raw folder {'there again' if said.get('there') else 'gone'}"


PAGE = Page(
    name="trends",
    title="Trends",
    path="/trends",
    key="r",
    template="trends.html",
    routes=(
        Route("GET", "/metrics", trend_names, "Metrics and channels that have a history"),
        Route("GET", "/history/{metric}", history, "The newest values of a metric, each element a row, with status and limits"),
        Route("GET", "/trends", trend, "One or two histories over time as a panel for plotly, with events"),
    ),
)
