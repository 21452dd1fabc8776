"""The plots of a night: which cameras were not in order when, how fast verdicts came, metrics and housekeeping over the exposures, with limits."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, QuicklookError, describe
from quicklook.core.housekeeping_watch import HkRange, HkSeries, hk_monitor
from quicklook.core.plots import Array, Axis, Band, Line, Panel, Plot, Scatter
from quicklook.core.reporting import Absent, Block, Figure, Figures, Section
from quicklook.core.status import Status
from quicklook.io.atomic import atomic
from quicklook.io.configfiles import find_config
from quicklook.io.metricstore import MetricStore, MetricTable
from quicklook.io.metricstore.place import StoreParams
from quicklook.service.reporting.housekeeping import Span, watched_in
from quicklook.service.reporting.latency import latency_s
from quicklook.service.reporting.place import ReportPlace, RunUsed
from quicklook.service.reporting.stored import NightExposure
from quicklook.service.reporting.words import counted, listed, moment_of, png_size, ranged

KEY_METRICS = (
    "read_noise", "bias_level", "trace_shift", "width_x", "sky_continuum", "sky_brightness", "throughput", "fiducial_snr", "effective_time_ratio",
)  # fmt: skip
"""Of these the course over a night is shown, where they were measured; with them those that were out of their limits most often."""
_MOST_METRICS, _MOST_FOUND, _MOST_LIMITS, _MOST_CHANNELS, _ON_A_SHEET = 12, 4, 3, 6, 6
_READ_S = 1.0
"""So long metrics, and so long channels, are read; what there was no time for is said."""
_BINS = 400
_AFTER_S = 60.0
"""Housekeeping of so long after the last exposure belongs to the night."""
_ORDER = (Status.ALARM, Status.WARNING, Status.UNKNOWN)
_BAD = (str(Status.ALARM), str(Status.WARNING))
_RANGES = ("normal_low", "normal_high", "warning_low", "warning_high")
_WORD = re.compile(r"[a-z][a-z0-9_]+")
_WHOLE = "exposure"

Picture = Callable[[Plot], bytes]


def plots_section(
    place: ReportPlace, run: RunUsed | None, night: int, found: Sequence[NightExposure], span: Span | None, picture: Picture | None, folder: Path
) -> Section:
    """The chapter; `picture` draws a plot, whose file lies in `folder`."""
    if picture is None:
        return Section(title="Plots", blocks=[Absent(text="No plots are drawn here.")])
    measured, no_metrics = trends(place, run, night, found)
    sensed, no_channels = channels(place, run, span)
    plots = (where_not_normal(night, found), latency_plot(night, found), *measured, sensed)
    lacking = [why for why in (no_metrics, no_channels) if why]
    figures: list[Figure] = []
    for plot in plots:
        if plot is not None:
            figure, why = _drawn(plot, picture, folder / f"{plot.name}-{night:08d}.png")
            figures += [figure] if figure is not None else []
            lacking += [why] if why else []
    blocks: list[Block] = [Figures(items=figures)] if figures else []
    return Section(title="Plots", blocks=[*blocks, *(Absent(text=text) for text in lacking)])


def _drawn(plot: Plot, picture: Picture, path: Path) -> tuple[Figure | None, str]:
    try:
        with atomic(path, sync=False) as file:
            file.write(picture(dataclasses.replace(plot, caption="")))  # it stands below, in the letters of the page
    except QuicklookError as error:
        return None, f"The plot {plot.name} cannot be written: {describe(error)}."
    size = png_size(path)
    if size is None:
        return None, f"The plot {plot.name} was not drawn."
    return Figure(path=str(path.absolute()), caption=plot.caption or plot.title, width=size[0], height=size[1]), ""


def where_not_normal(night: int, found: Sequence[NightExposure]) -> Plot | None:
    """Cameras and exposures that were not NORMAL; None where all were."""
    cameras = sorted({name for e in found for name in (*e.verdict.parts, *e.verdict.missing)}, reverse=True)
    rows = {name: i for i, name in enumerate([*cameras, _WHOLE])}
    points: dict[str, list[tuple[int, int]]] = {label: [] for label in ("missing", *map(str, _ORDER))}
    for e in found:
        for name, status in (*e.verdict.parts.items(), (_WHOLE, e.verdict.status)):
            if status is not Status.NORMAL:
                points[str(status)].append((e.unit.expid, rows[name]))
        points["missing"] += [(e.unit.expid, rows[name]) for name in e.verdict.missing]
    layers = tuple(_points(label, at) for label, at in points.items() if at)
    if not layers:
        return None
    ids = [e.unit.expid for e in found]
    x = Axis(label="exposure", range=(min(ids) - 0.5, max(ids) + 0.5))
    panel = Panel(x=x, y=Axis(label="camera", names=tuple(rows), range=(-0.7, len(rows) - 0.3)), layers=layers)
    caption = "Exposures and cameras that were not NORMAL"
    return Plot(name="statuses", title=f"What was not NORMAL in night {night:08d}", panels=(panel,), caption=caption)


def _points(label: str, at: Sequence[tuple[float, float]]) -> Scatter:
    x, y = np.array(at, np.float64).T
    return Scatter(x=x, y=y, label=label)


def latency_plot(night: int, found: Sequence[NightExposure]) -> Plot | None:
    """Seconds until the verdict of each exposure; None where no receipt says it."""
    known = [(e, s) for e in found if math.isfinite(s := latency_s(e.receipt))]
    layers = tuple(
        _points(str(status), [(e.unit.expid, s) for e, s in those])
        for status in (Status.NORMAL, *_ORDER)
        if (those := [(e, s) for e, s in known if e.verdict.status is status])
    )
    if not layers:
        return None
    panel = Panel(x=Axis(label="exposure"), y=Axis(label="last byte to verdict", unit="s", range=(0, None)), layers=layers)
    caption = "Time from the last byte of an exposure to its verdict; of files that had lain there before, from when they were seen"
    return Plot(name="latency", title=f"Verdicts of night {night:08d}", panels=(panel,), caption=caption)


# ---- metrics


def trends(place: ReportPlace, run: RunUsed | None, night: int, found: Sequence[NightExposure]) -> tuple[list[Plot], str]:
    """The course of metrics over the night; and what there is to be said of those that are not shown."""
    panels: list[Panel] = []
    late: list[str] = []
    try:
        with MetricStore(_store_of(place, run)) as store:
            units = {info.name: info.unit for info in store.metrics()}
            wanted = [n for n in dict.fromkeys([*_named(found, units), *KEY_METRICS]) if n in units][:_MOST_METRICS]
            end = time.monotonic() + _READ_S
            for name in wanted:
                if time.monotonic() > end:
                    late.append(name)
                else:
                    panels += _trend(store.history(name, since=night, until=night, tag=place.tag, summary=True), name, units[name])
    except QuicklookError as error:
        return [], f"Metrics over the night are not shown: {describe(error)}."
    none = "None of the metrics that are shown over a night is in the store."
    why = f"There was no time to read {listed(late)}." if late else "" if panels else none
    caption = "Metrics over the exposures: median (circles), lowest (squares) and highest (triangles) of cameras and their elements; bands are limits"
    sheets = [tuple(panels[i : i + _ON_A_SHEET]) for i in range(0, len(panels), _ON_A_SHEET)]
    titles = [f"Metrics over night {night:08d}" + (f" ({i} of {len(sheets)})" if len(sheets) > 1 else "") for i in range(1, len(sheets) + 1)]
    each = zip(titles, sheets, strict=True)
    return [Plot(name=f"trends-{i}", title=t, panels=p, columns=2, caption=caption) for i, (t, p) in enumerate(each, 1)], why


def _store_of(place: ReportPlace, run: RunUsed | None) -> str:
    """Where the metrics are. Raises BadConfig where none are kept."""
    given = run.setting("sinks", "metrics") if run is not None else {}
    if given is None:
        raise BadConfig("the site keeps no store of metrics (the sink `metrics`)")
    try:
        return StoreParams.model_validate(given).address(place.out)
    except ValidationError as error:
        raise BadConfig("the run does not say where its store of metrics is") from error


def _named(found: Sequence[NightExposure], known: Collection[str]) -> list[str]:
    """Metrics that reasons of verdicts say to be out of their limits, the most frequent first."""
    told = ({w for r in e.verdict.reasons if any(f"{s}: " in r for s in _BAD) for w in _WORD.findall(r)} for e in found)
    counts = Counter(name for names in told for name in sorted(names) if name in known)
    return [name for name, _ in counts.most_common(_MOST_FOUND)]


def _trend(table: MetricTable, name: str, unit: str) -> Iterator[Panel]:
    """A metric by exposure, a panel for each limit that it has: median, lowest and highest of the cameras."""
    if not len(table):
        return
    rows = np.stack([np.asarray(table[column], float) for column in ("value", "low", "high", *_RANGES)], axis=1)
    known = np.isfinite(rows[:, 0])
    rows, expids, statuses = rows[known], np.asarray(table["expid"])[known], table["status"][known]
    cameras, flavors = table["camera"][known], table["flavor"][known]
    limits: dict[tuple[float | None, ...], list[int]] = {}
    for i, ends in enumerate(rows[:, 3:].tolist()):
        limits.setdefault(tuple(None if math.isnan(e) else e for e in ends), []).append(i)
    for ends, at in sorted(limits.items(), key=lambda one: -len(one[1]))[:_MOST_LIMITS]:
        bad = len(set(expids[at][np.isin(statuses[at].astype(str), _BAD)].tolist()))
        of = f" of {ranged(cameras[at].tolist(), 4)}" if {*cameras[at]} != {*cameras} else ""
        of += f" in {listed(flavors[at].tolist(), 4)}" if {*flavors[at]} != {*flavors} else ""
        told = f": not NORMAL in {counted(bad, 'exposure')}" if bad else "" if any(e is not None for e in ends) else ", without limit"
        y, layers = Axis(label=name.replace("_", " "), unit=unit), _three(expids[at], rows[at, :3])
        yield Panel(x=Axis(label="exposure"), y=y, layers=layers, title=f"{name}{of}{told}", bands=tuple(_bands(ends)))


def _three(expids: Array, rows: Array) -> tuple[Scatter, ...]:
    """Median, lowest and highest [n, (value, low, high)] of each exposure."""
    x, first = np.unique(np.sort(expids), return_index=True)
    of_each = np.split(rows[np.argsort(expids, kind="stable")], first[1:])
    lows, highs = (np.array([np.nanmin(r) for r in of_each]), np.array([np.nanmax(r) for r in of_each]))
    return tuple(Scatter(x=x.astype(float), y=y) for y in (np.array([np.median(r[:, 0]) for r in of_each]), lows, highs))


def _bands(ends: Sequence[float | None]) -> Iterator[Band]:
    """From the ends of the normal range and of that of warnings; None is without end."""
    low, high, lowest, highest = ends
    if (low, high) != (None, None):
        yield Band(low=low, high=high, kind="normal")
    if (lowest, highest) != (None, None):
        yield Band(low=lowest, high=highest, kind="warning")


# ---- housekeeping


def channels(place: ReportPlace, run: RunUsed | None, span: Span | None) -> tuple[Plot | None, str]:
    """Channels over the night, those that were out of their limits first. Where none are watched, the chapter on housekeeping says so."""
    config = run.setting("housekeeping", "config") if run is not None else None
    if span is None or not config:
        return None, ""
    try:
        monitor, document = hk_monitor(), find_config("hk", str(config))
        with closing(place.hk_store(run)) as store:
            out = [c.channel for c in watched_in(place, span).out]
            names = [n for n in dict.fromkeys([*out, *store.channels()]) if n in store.channels()]
            limited = [n for n in names if n in out or monitor.ranges(document, n)]
            found: list[HkSeries] = []
            end = time.monotonic() + _READ_S
            for name in limited[: 4 * _MOST_CHANNELS]:
                series = store.fetch([name], span[0], span[1] + _AFTER_S).get(name)
                if series is not None and not series.words and np.ma.count(series.values) > 1:
                    found.append(series)
                if len(found) == _MOST_CHANNELS or time.monotonic() > end:
                    break
    except QuicklookError as error:
        return None, f"Housekeeping over the night is not shown: {describe(error)}."
    panels = tuple(_channel(s, span, monitor.ranges(document, s.channel), out=s.channel in out) for s in found)
    caption = "Channels that have limits, over the night"
    plot = Plot(name="housekeeping", title="Housekeeping over the night", panels=panels, columns=2, caption=caption)
    return (plot if panels else None), ""


def _channel(series: HkSeries, span: Span, ranges: Sequence[HkRange], *, out: bool) -> Panel:
    """The least and the largest value in each of some hundred parts of the night."""
    good = ~np.ma.getmaskarray(series.values)
    hours, values = (series.times[good] - span[0]) / 3600, np.ma.getdata(series.values)[good].astype(float)
    at = np.unique(np.linspace(0, len(values), min(_BINS, len(values)) + 1).astype(int))[:-1]
    least, most = np.minimum.reduceat(values, at), np.maximum.reduceat(values, at)
    layer = Line(x=hours[at], y=(least + most) / 2, error=(most - least) / 2)
    ends = {r.level: (r.low, r.high) for r in ranges}
    edges = (*ends.get("performance", (None, None)), *ends.get("survival", (None, None)))
    title = f"{series.channel}: was out of limits" if out else series.channel
    x = Axis(label=f"since {moment_of(span[0])}", unit="h")
    return Panel(x=x, y=Axis(label=series.channel, unit=series.unit), layers=(layer,), title=title, bands=tuple(_bands(edges)))
