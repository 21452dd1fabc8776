"""What scripts record: points of fields of measurements, with tags, and what has been computed already."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from quicklook.core.errors import BadConfig
from quicklook.core.validation import suggest
from quicklook.io.database import database_errors
from quicklook.io.metricstore.asking import TIME_FACT, Ask, bounds_of_nights, condition
from quicklook.io.metricstore.dictionaries import Numbers, plain, upsert
from quicklook.io.metricstore.elements import column_of
from quicklook.io.metricstore.masks import mask
from quicklook.io.metricstore.metrictable import TIME, MetricTable
from quicklook.io.metricstore.opening import name_of, open_store
from quicklook.io.metricstore.tables import DONE, POINTS, SERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a field of a measurement, at a time (UTC, ns), with its tags."""

    measurement: str
    field: str
    tags: Mapping[str, str]
    time_ns: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a log: a field has been computed for an observation, with these tags."""

    log: str
    field: str
    observation: str
    tags: Mapping[str, str]
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A field of a measurement that was recorded, with the names of its tags."""

    measurement: str
    field: str
    tags: tuple[str, ...]


class SqlRecords:
    """Points and logs in a metrics store, which is made where it is not there. What is written twice is there once. Raises as `open_store`."""

    def __init__(self, url: str) -> None:
        self._engine = open_store(url, to_read=False)
        self._name = name_of(self._engine)
        self._numbers = Numbers()

    def write(self, written: Sequence[Point], entries: Sequence[Entry]) -> str:
        """Write points and entries, all or nothing; nothing is refused. Raises Transient, NoSpace."""
        try:
            with database_errors(self._name), self._engine.begin() as connection:
                rows = {(r["series"], r["time_ns"]): r for r in (self._row(connection, p) for p in written)}
                if rows:
                    connection.execute(upsert(connection, POINTS), list(rows.values()))
                done = [{"log": plain(e.log), "field": plain(e.field), "observation": plain(e.observation)} for e in entries]
                made = [{**d, "tags": _text(e.tags), "time_ns": e.time_ns} for d, e in zip(done, entries, strict=True)]
                if made:
                    connection.execute(upsert(connection, DONE), made)
        except BaseException:
            self._numbers.forget()
            raise
        self._numbers.committed()
        return ""

    def _row(self, connection: sa.Connection, point: Point) -> dict[str, Any]:
        texts = {"measurement": plain(point.measurement), "field": plain(point.field), "tags": _text(point.tags)}
        # SQLite has no NaN: what is not known is NULL in both
        value = None if math.isnan(point.value) else point.value
        return {"series": self._numbers.of(connection, SERIES, texts), "time_ns": point.time_ns, "value": value}

    def done(self, log: str, field: str, observation: str, tags: Mapping[str, str]) -> bool:
        """Whether a log has an entry of a field and an observation whose tags have all of these. Raises Transient."""
        wanted = [DONE.c.log == plain(log), DONE.c.field == plain(field), DONE.c.observation == plain(observation)]
        with database_errors(self._name), self._engine.execution_options(reading=True).connect() as connection:
            found = [json.loads(text) for text in connection.execute(sa.select(DONE.c.tags).where(*wanted)).scalars()]
        return any(all(entry.get(plain(k)) == plain(v) for k, v in tags.items()) for entry in found)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _text(tags: Mapping[str, str]) -> str:
    return json.dumps({plain(k): plain(v) for k, v in tags.items()}, sort_keys=True, ensure_ascii=False)


def recorded(connection: sa.Connection) -> list[Recorded]:
    """Fields that were recorded, by measurement and name."""
    tags: dict[tuple[str, str], dict[str, None]] = {}
    for row in connection.execute(sa.select(SERIES).order_by(SERIES.c.measurement, SERIES.c.field)):
        tags.setdefault((row.measurement, row.field), {}).update(dict.fromkeys(json.loads(row.tags)))
    return [Recorded(measurement=m, field=f, tags=tuple(names)) for (m, f), names in tags.items()]


def points(connection: sa.Connection, name: str, ask: Ask) -> MetricTable:
    """The newest points of ``measurement.field`` that meet a condition on tags and value, in the order of time. Raises BadConfig."""
    series = [r for r in connection.execute(sa.select(SERIES)) if f"{r.measurement}.{r.field}" == name]
    if not series:
        valid = sorted({f"{r.measurement}.{r.field}" for r in recorded(connection)})
        raise BadConfig(f"nothing was recorded as {name!r}{suggest(name, valid, noun='measurements')}", what_next="Write MEASUREMENT.FIELD.")
    tags = {row.id: json.loads(row.tags) for row in series}
    names = list(dict.fromkeys(n for t in tags.values() for n in t))
    where = condition(ask.where, {TIME_FACT: "time", "value": "number", **dict.fromkeys(names, "text")})
    if where is not None and not where.names - set(names):
        tags = {number: t for number, t in tags.items() if where(t)}
    low, high = bounds_of_nights(ask)
    by_row = where is not None and bool(where.names - set(names))
    rows = _newest(connection, list(tags), low, high, None if by_row else ask.limit + 1)
    columns = {TIME: np.array([r.time_ns for r in rows], dtype=np.int64)}
    columns |= {n: column_of([tags[r.series].get(n, "") for r in rows]) for n in names}
    columns["value"] = np.array([np.nan if r.value is None else r.value for r in rows], dtype=np.float64)
    if where is not None:
        kept = mask(where, lambda n: columns[TIME if n == TIME_FACT and n not in names else n])
        columns = {n: c[kept] for n, c in columns.items()}
    more = len(columns[TIME]) > ask.limit
    return MetricTable(name=name, columns={n: c[: ask.limit][::-1] for n, c in columns.items()}, more=more)


def _newest(connection: sa.Connection, series: Iterable[int], low: int | None, high: int | None, limit: int | None) -> list[Any]:
    """Points of series, the newest first, each found by its own index."""
    found: list[Any] = []
    for number in series:
        wanted = sa.select(POINTS).where(POINTS.c.series == number).order_by(POINTS.c.time_ns.desc()).limit(limit)
        if low is not None:
            wanted = wanted.where(POINTS.c.time_ns >= low)
        if high is not None:
            wanted = wanted.where(POINTS.c.time_ns <= high)
        found += connection.execute(wanted)
    found.sort(key=lambda row: -row.time_ns)
    return found
