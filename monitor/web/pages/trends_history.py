"""Histories: of metrics out of the store, or, where there is none, out of the files of results; of housekeeping out of its store."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.web.pages.housekeeping import SeriesAsk, series
from quicklook.core.declared import declared_metrics
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.history import Selection, is_night
from quicklook.core.hosting import Host
from quicklook.core.metrics import label_of
from quicklook.core.results import LimitUsed, MetricResult, PartResult, QAResult, UnitVerdict
from quicklook.core.validation import suggest
from quicklook.core.where import Facts
from quicklook.io.history import FileHistory
from quicklook.io.metricstore.asking import TIME_FACT, condition
from quicklook.io.metricstore.history import FACTS

_FILES = 3000
"""Results that are read at most where there is no store."""
_LATEST = 4
_LIMITS = ("normal_low", "normal_high", "warning_low", "warning_high")
_FIXED = ("time_ns", "night", "expid", "camera", "tag", "revision", "flavor", "value", "status", *_LIMITS)
_MOST_SAMPLES = 20_000
_MEDIANS = "of some old metrics only the median is kept: it has no coordinates"
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Rows in the order of time as columns of one length: `time_ns`, night, expid, camera, value, status, limits, and coordinates."""

    name: str
    unit: str
    columns: Mapping[str, npt.NDArray[Any]]
    more: bool = False
    note: str = ""

    def __len__(self) -> int:
        return len(self.columns["time_ns"])

    @property
    def coordinates(self) -> list[str]:
        """Names of the columns that tell elements apart."""
        return [c for c in self.columns if c not in _FIXED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of a metric: condition, nights from and to (0: open), tag, how many rows."""

    where: str = ""
    since: int | None = None
    until: int | None = None
    tag: str = ""
    limit: int = 2000


def night_of(text: str) -> int | None:
    """A night from YYYYMMDD or YYYY-MM-DD; None for nothing. Raises BadConfig."""
    plain = text.strip().replace("-", "")
    if not plain:
        return None
    if not is_night(plain):
        raise BadConfig(f"{text!r} is no night", what_next="Write it as YYYYMMDD, as in 20220101.")
    return int(plain)


def metric_history(host: Host, metric: str, wanted: Wanted) -> History:
    """The history of a metric. Raises BadConfig (no such metric, a condition that cannot be read)."""
    tag = wanted.tag or host.about().tag
    try:
        store = host.metrics()
    except NotReadyYet:
        return _from_files(host, metric, wanted, tag)
    table = store.history(metric, where=wanted.where, since=wanted.since, until=wanted.until, limit=wanted.limit, tag=tag)
    note = _MEDIANS if table.medians else ""
    return History(name=metric, unit=table.units.get("value", ""), columns=dict(table.columns), more=bool(table.more), note=note)


def _from_files(host: Host, metric: str, wanted: Wanted, tag: str) -> History:
    """Out of the merged results, the newest first, as far as the limits of rows and files go."""
    known = declared_metrics()
    if metric not in known:
        near = suggest(metric, sorted(known), noun="metrics")
        raise BadConfig(f"there is no metric {metric!r}{near}", what_next="`quicklook list metrics` shows them.")
    where = condition(wanted.where.strip(), {**dict.fromkeys(known[metric].dims, "text"), **FACTS})
    files = FileHistory(host.about().out)
    chosen = Selection(tag=tag, first_night=wanted.since, last_night=wanted.until)
    rows: list[dict[str, Any]] = []
    unit, read, more = "", 0, False
    for result in _results(files, chosen, metric):
        read += 1
        qa, found = next(((qa, m) for qa in result.qas for m in qa.metrics if m.name == metric and m.values), (None, None))
        if qa is not None and found is not None:
            unit = found.unit
            rows += [row for row in _rows(result, found) if where is None or where(_facts(row, result, qa))]
        if len(rows) >= wanted.limit or read >= _FILES:
            more = True
            break
    rows.sort(key=lambda r: (r["time_ns"], r["camera"]))
    rows = rows[-wanted.limit :]
    names = list(dict.fromkeys(n for row in rows for n in row)) or list(_FIXED)
    columns = {n: np.array([row.get(n, "") for row in rows], dtype=object if n not in ("time_ns", "value", *_LIMITS) else None) for n in names}
    note = "read from the files of results, for there is no store of metrics"
    return History(name=metric, unit=unit, columns=columns, more=more, note=f"{note}; of {read} results")


def _results(files: FileHistory, chosen: Selection, metric: str) -> Iterator[PartResult | UnitVerdict]:
    """Results of cameras, or of exposures as a whole where the latest of these have the metric."""
    latest = itertools.islice(files.verdicts(chosen), _LATEST)
    whole = any(m.name == metric for verdict in latest for qa in verdict.qas for m in qa.metrics)
    return files.verdicts(chosen) if whole else files.results(chosen)


def _rows(result: PartResult | UnitVerdict, metric: MetricResult) -> list[dict[str, Any]]:
    start = _start_ns(result)
    camera = result.part if isinstance(result, PartResult) else ""
    same = {
        "time_ns": start, "night": result.night, "expid": result.expid, "camera": camera, "tag": result.tag, "revision": result.revision,
        "flavor": result.tags.get("flavor", ""),
    }  # fmt: skip
    out = []
    for i, place in enumerate(itertools.product(*metric.coords.values())):
        value, status, limit = metric.values[i], metric.statuses[i], _limit(metric, i)
        low, high = limit.normal if limit else (None, None)
        warn = limit.warning if limit else (None, None)
        ends = {n: math.nan if v is None else v for n, v in zip(_LIMITS, (low, high, *warn), strict=True)}
        at = {n: label_of(c) for n, c in zip(metric.coords, place, strict=True)}
        out.append(same | at | {"value": math.nan if value is None else value, "status": status.value if status else "", **ends})
    return out


def _facts(row: Mapping[str, Any], result: PartResult | UnitVerdict, qa: QAResult) -> Facts:
    """What a condition may ask of a row, by the names that the store gives it; what was not measured is not known."""
    named = {"part": row["camera"], "program": result.tags.get("program", ""), TIME_FACT: row["time_ns"]}
    named |= {"qa": qa.name, "step": qa.step, "group": qa.group}
    return {name: "" if value != value else str(value) for name, value in {**row, **named}.items()}


def _limit(metric: MetricResult, index: int) -> LimitUsed | None:
    which = metric.limit_of[index] if index < len(metric.limit_of) else None
    return None if which is None else metric.limits[which]


def _start_ns(result: PartResult | UnitVerdict) -> int:
    """When the exposure began; where its tags do not say, noon of the day after the evening of its night, a second for each number."""
    try:
        stated = datetime.fromisoformat(result.tags.get("start", "").replace("Z", "+00:00"))
        start = stated if stated.tzinfo else stated.replace(tzinfo=UTC)
    except ValueError:
        night = f"{result.night:08d}"
        if not is_night(night):
            return 0
        start = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1, seconds=result.expid % 43200)
    return int(start.timestamp() * 1e9)


def channel_history(host: Host, channel: str, since: int | None, until: int | None) -> History:
    """Samples of a channel, at most `_MOST_SAMPLES` (of more, the least and the greatest of each stretch), with the ranges of its limit."""
    start, stop = _noon(since, 0.0), _noon(until, 0.0) + (DAY_S if until is not None else 0.0)
    found = series(host, SeriesAsk(channel=channel, start=start, stop=stop, points=_MOST_SAMPLES))
    if not found.times:
        raise NotReadyYet(f"there are no samples of {channel} in that time")
    words = sorted({t for t in found.texts if t is not None})
    values: list[float | None] = [None if t is None else float(words.index(t)) for t in found.texts] if words else found.values
    notes = [f"words are shown by their numbers: {', '.join(f'{i} {w}' for i, w in enumerate(words[:12]))}"] if words else []
    notes += ["of more samples than fit, the least and the greatest of each stretch are shown"] if found.thinned else []
    columns = {"time_ns": 1e9 * np.array(found.times), "value": np.array([math.nan if v is None else v for v in values])}
    limit = next((i for i in found.limits if i.performance or i.survival), None)
    if limit is not None and not words:
        inner, outer = limit.performance or limit.survival, limit.survival or limit.performance
        ends = (*(inner or (None, None)), *(outer or (None, None)))
        columns |= {n: np.full(len(values), math.nan if e is None else e) for n, e in zip(_LIMITS, ends, strict=True)}
    return History(name=found.channel, unit=found.unit, columns=columns, note="; ".join(notes))


def _noon(night: int | None, otherwise: float) -> float:
    """Noon UTC of the day of a night, Unix seconds."""
    return otherwise if night is None else datetime.strptime(f"{night:08d}", "%Y%m%d").replace(tzinfo=UTC).timestamp() + 43200
