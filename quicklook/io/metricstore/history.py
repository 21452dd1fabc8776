"""Histories of metrics: rows of the store from the newest back, until there are enough."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from quicklook.core.where import Where
from quicklook.io.metricstore.asking import TIME_FACT, Ask, Fact, Sifted, condition, one_value, sift, time_bounds
from quicklook.io.metricstore.elements import RANGES, Column, Dictionaries, Unfolded, dropped, joined, unfold
from quicklook.io.metricstore.masks import mask
from quicklook.io.metricstore.metrictable import TIME, MetricTable
from quicklook.io.metricstore.packing import NAMES
from quicklook.io.metricstore.tables import QAS, TAGSETS

ROW_FACTS = ("night", "expid", "camera", "part", "tag", "revision", "flavor", "program", "qa", "step", "group")
OWN_FACTS = ("value", "status")
FACTS: Mapping[str, Fact] = {
    **dict.fromkeys(ROW_FACTS, "text"), **dict.fromkeys(("expid", "revision", "value"), "number"),
    "night": "night", "status": "status", TIME_FACT: "time",
}  # fmt: skip
_NUMBERS = {"night": "r.night", "expid": "r.expid", "revision": "r.revision"}
_TEXTS = {"camera": "r.part", "part": "r.part", "tag": "r.tag", "flavor": "r.flavor", "program": "r.program"}
_SPREAD = ("low", "high")
"""Of a summary beside the value: the least and the largest element; not known of a metric that has but one."""
_RESULT = "result"
"""The number of the row of a camera; later revisions have higher ones."""
_ELEMENTS = "v.elements, v.statuses, v.limit_of"
_NO_ELEMENTS = "NULL AS elements, NULL AS statuses, NULL AS limit_of"
"""Of a summary: they may be most of what there is to be read."""
_COLUMNS = """v.time_ns, v.result, v.qa, v.axes, v.limits, v.n, v.status, v.value, v.low, v.high,
    r.night, r.expid, r.part, r.tag, r.revision, r.flavor, r.program, r.tagset"""
_SMALL, _LARGE = 200, 5000
"""Rows of a batch: where few are wanted or each may have hundreds of elements, and else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A metric that the store has: name, unit, axes, meaning, and its numbers there."""

    name: str
    unit: str
    dims: tuple[str, ...]
    doc: str
    number: int


def history(connection: sa.Connection, infos: Sequence[MetricInfo], tag_names: Sequence[str], ask: Ask) -> MetricTable:
    """The newest rows of metrics that meet a condition, in the order of time. Raises BadConfig for a condition that cannot be read."""
    dims = list(dict.fromkeys(d for info in infos for d in info.dims))
    where = condition(ask.where, {**dict.fromkeys([*tag_names, *dims], "text"), **FACTS})
    pieces: list[tuple[MetricInfo, dict[str, Column]]] = []
    more = medians = False
    for info in infos:
        found, left, lost = _of_one(connection, info, where, ask, tag_names)
        pieces += [(info, piece) for piece in found]
        more |= left
        medians |= lost
    if any("*" in name for name in ask.names):  # of many metrics those axes that something was found of
        found_dims = {d for info, piece in pieces if len(piece["value"]) for d in info.dims}
        dims = [d for d in dims if d in found_dims]
    return replace(_table(pieces, infos, dims, ask, more=more), medians=medians)


def _of_one(
    connection: sa.Connection, info: MetricInfo, where: Where | None, ask: Ask, tag_names: Sequence[str]
) -> tuple[list[dict[str, Column]], bool, bool]:
    """Columns in pieces, the newest first; whether there are older rows; whether some were looked at whose elements were dropped."""
    known, qas = Dictionaries(connection), {row.id: row for row in connection.execute(sa.select(QAS))}
    tags = _Tags(connection) if where is not None and where.names & set(tag_names) else None
    found: list[dict[str, Column]] = []
    count, lost = 0, False
    for rows in _batches(connection, info, where, ask, with_tags=tags is not None):
        if count >= ask.limit:
            return found, True, lost
        lost = lost or (not ask.summary and any(map(dropped, rows)))
        columns = _columns(rows, unfold(rows, known, summary=ask.summary), qas, where, tags, summary=ask.summary)
        count += len(columns["value"])
        found.append(columns)
    return found, count > ask.limit, lost


def _batches(connection: sa.Connection, info: MetricInfo, where: Where | None, ask: Ask, *, with_tags: bool) -> Iterator[Sequence[Any]]:
    """Rows from the newest back. Of one camera they are found by its results, else by the metric itself: SQLite is told which way to go."""
    sifted = Sifted()
    sifted.given["metric"] = info.number
    low, high = time_bounds(ask, where)
    part = one_value(where, ("camera", "part"))
    of = "r" if part is not None else "v"
    for bound, op in ((low, ">="), (high, "<=")):
        if bound is not None:
            sifted.add(f"{of}.time_ns", op, bound)
    for night, op in ((ask.first_night, ">="), (ask.last_night, "<=")):
        if night is not None:
            sifted.add("r.night", op, night)
    if ask.tag and not (where is not None and "tag" in where.names):
        sifted.add("r.tag", "=", ask.tag)
    sift(sifted, where, _NUMBERS, _TEXTS, worst="v.status")
    if ask.revision == "last":
        sifted.clauses.append("r.metrics_last")
    # in this order: SQLite takes the tables of a CROSS JOIN as they stand
    join = "CROSS JOIN" if connection.dialect.name == "sqlite" else "JOIN"
    values, results = "quicklook_values v", "quicklook_results r"
    same = "v.metric = :metric AND v.time_ns = r.time_ns AND v.result = r.id"
    source = f"{results} {join} {values} ON {same}" if of == "r" else f"{values} {join} {results} ON r.id = v.result"
    if of == "v":
        sifted.clauses.append("v.metric = :metric")
    exposure = "LEFT JOIN quicklook_exposures e ON e.night = r.night AND e.expid = r.expid AND e.tag = r.tag" if with_tags else ""
    order = "r.time_ns DESC, r.id DESC" if of == "r" else "v.time_ns DESC, v.result DESC"
    columns = f"{_COLUMNS}, {_NO_ELEMENTS if ask.summary else _ELEMENTS}{', e.tags' if with_tags else ''}"
    text = f"SELECT {columns} FROM {source} {exposure} WHERE {sifted.text} ORDER BY {order}"
    size = _SMALL if ask.limit <= _SMALL or (info.dims and not ask.summary) else _LARGE
    result = connection.execution_options(stream_results=True, yield_per=size).execute(sa.text(text), sifted.given)
    try:
        yield from result.partitions(size)
    finally:
        result.close()


class _Tags:
    """Tags of results: those of the camera before those of the exposure."""

    def __init__(self, connection: sa.Connection) -> None:
        self._sets = {row.id: json.loads(row.tags) for row in connection.execute(sa.select(TAGSETS))}

    def column(self, rows: Sequence[Any], name: str) -> Column:
        """Texts, "" where there is no such tag."""
        return _texts([self._sets.get(r.tagset, {}).get(name) or json.loads(r.tags or "{}").get(name, "") for r in rows])


def _texts(values: Sequence[str]) -> Column:
    return np.array([*values, None], dtype=object)[:-1]


def _columns(
    rows: Sequence[Any], found: Unfolded, qas: Mapping[int, Any], where: Where | None, tags: _Tags | None, *, summary: bool
) -> dict[str, Column]:
    """The columns of a batch of rows, those elements that meet the condition."""

    def of_rows(name: str) -> Column:
        if name in ("night", "expid", "revision", TIME, _RESULT):
            return np.array([getattr(r, name) for r in rows], dtype=np.int64)
        if name in ("camera", "part"):
            return _texts([r.part for r in rows])
        if name in ("qa", "step", "group"):
            return _texts([getattr(qas[r.qa], {"qa": "name", "group": "grp"}.get(name, name)) for r in rows])
        return _texts([getattr(r, name) for r in rows])

    def column(name: str) -> Column:
        if name in found.coords:
            return found.coords[name]
        if name in OWN_FACTS:
            return found.values if name == "value" else NAMES[found.codes]
        if name in ROW_FACTS or name in (TIME, TIME_FACT):
            return of_rows(TIME if name == TIME_FACT else name)[found.row]
        if tags is None or not rows:  # an axis that these rows have not
            return np.full(len(found.row), np.nan)
        return tags.column(rows, name)[found.row]

    columns = {name: column(name) for name in (TIME, "night", "expid", "camera", "tag", "revision", "flavor")}
    columns[_RESULT] = of_rows(_RESULT)[found.row]
    columns |= {**found.coords, "value": found.values, "status": NAMES[found.codes]}
    if summary:
        columns |= {name: np.array([getattr(r, name) for r in rows], dtype=np.float64)[found.row] for name in _SPREAD}
    columns |= {name: found.ranges[:, i] for i, name in enumerate(RANGES)}
    if where is None:
        return columns
    kept = mask(where, column)
    return {name: values[kept] for name, values in columns.items()}


def _table(
    pieces: Sequence[tuple[MetricInfo, dict[str, Column]]], infos: Sequence[MetricInfo], dims: Sequence[str], ask: Ask, *, more: bool
) -> MetricTable:
    """Pieces as one table: the newest rows up to the limit, in the order of time."""
    units = {info.unit for info in infos}
    several = len({info.name for info in infos}) > 1 or len(units) > 1
    spread = _SPREAD if ask.summary else ()
    order = [TIME, "night", "expid", "camera", "tag", "revision", "flavor", *([] if ask.summary else dims), "value", *spread, "status", *RANGES]
    whole = {name: joined([p[name] if name in p else np.full(len(p["value"]), np.nan) for _, p in pieces]) for name in order}
    if several:
        labels = [(info.name, info.unit, len(p["value"])) for info, p in pieces]
        named = {"metric": _texts([n for n, _, k in labels for _ in range(k)]), "unit": _texts([u for _, u, k in labels for _ in range(k)])}
        whole = {**{k: whole[k] for k in order[: order.index("value")]}, **named, **{k: whole[k] for k in order[order.index("value") :]}}
    times = whole[TIME].astype(np.int64)
    results = joined([p[_RESULT] for _, p in pieces]).astype(np.int64)
    at = np.lexsort((np.arange(len(times)), results, times))[max(len(times) - ask.limit, 0) :]
    columns = {name: _typed(name, column[at]) for name, column in whole.items()}
    unit = next(iter(units)) if len(units) == 1 else ""
    return MetricTable(
        name=", ".join(dict.fromkeys(info.name for info in infos)),
        columns=columns,
        units={name: unit for name in ("value", *spread, *RANGES)} if unit and not several else {},
        more=more or len(times) > ask.limit,
    )


def _typed(name: str, column: Column) -> Column:
    """Columns have their type also where there is no row."""
    if name in (TIME, "night", "expid", "revision"):
        return column.astype(np.int64)
    return column.astype(object) if name in ("camera", "tag", "flavor", "status", "metric", "unit") else column
