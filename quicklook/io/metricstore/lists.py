"""What a store has beside metrics, as lists that are asked for in the same way: verdicts, exposures, decisions, tests, flags and so on."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from quicklook.io.metricstore.asking import TIME_FACT, Ask, Fact, bounds_of_nights, condition
from quicklook.io.metricstore.elements import Column
from quicklook.io.metricstore.masks import mask
from quicklook.io.metricstore.metrictable import TIME, MetricTable
from quicklook.io.metricstore.packing import NAMES
from quicklook.io.metricstore.tables import DECISIONS, EXPOSURES, FLAGS, HOUSEKEEPING, OVERRIDES, RESULTS, TAGSETS, TESTS

_STATUSES = ("status", "was")
_TEXTS = ("reasons", "exposures")
"""Columns that are lists of sentences or names."""
_BATCH = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """A list: its table, what is shown of it under which name, which rows are of the last revision, units.

    `tags` are columns with tags that may be asked for, the first that has one counts; `source`: the table with what these are taken from.
    """

    doc: str
    table: sa.Table
    columns: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    only: Callable[[], sa.ColumnElement[bool]] | None = None
    last: Callable[[], sa.ColumnElement[bool]] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[sa.Column[str], ...] = ()
    source: sa.FromClause | None = None

    def column(self, name: str) -> sa.Column[Any]:
        """The column of the table that is shown under a name."""
        return self.table.c[self.names.get(name, name)]


def _last_decision() -> sa.ColumnElement[bool]:
    other = DECISIONS.alias()
    same = (other.c[k] == DECISIONS.c[k] for k in ("night", "expid", "tag"))
    return sa.not_(sa.select(other.c.revision).where(*same, other.c.revision > DECISIONS.c.revision).exists())


_WHERE = ("night", "expid")


def _of_exposure(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[k] == EXPOSURES.c[k] for k in ("night", "expid", "tag")))


LISTS: Mapping[str, List] = {
    "verdicts": List(
        doc="verdicts of cameras, and of exposures as a whole (camera empty)", table=RESULTS,
        columns=(TIME, *_WHERE, "camera", "tag", "revision", "flavor", "program", "status", "measured", "expected", "seconds", "reasons"),
        names={"camera": "part"}, only=lambda: RESULTS.c.status.is_not(None), last=lambda: RESULTS.c.verdict_last, units={"seconds": "s"},
        tags=(TAGSETS.c.tags, EXPOSURES.c.tags),
        source=RESULTS.outerjoin(TAGSETS, RESULTS.c.tagset == TAGSETS.c.id).outerjoin(EXPOSURES, _of_exposure(RESULTS)),
    ),
    "exposures": List(
        doc="exposures, with the seconds from the last byte to the verdict", table=EXPOSURES,
        columns=(TIME, *_WHERE, "tag", "flavor", "program", "exptime", "seconds_to_verdict", "path"), names={"exptime": "exptime_s"},
        units={"exptime": "s", "seconds_to_verdict": "s"}, tags=(EXPOSURES.c.tags,),
    ),
    "decisions": List(
        doc="what was said to do after exposures", table=DECISIONS, last=_last_decision,
        columns=(TIME, *_WHERE, "tag", "revision", "status", "decision", "rule", "why", "action", "measured", "expected"),
        tags=(EXPOSURES.c.tags,), source=DECISIONS.outerjoin(EXPOSURES, _of_exposure(DECISIONS)),
    ),
    "tests": List(
        doc="tests of sessions", table=TESTS, columns=(TIME, "run", "name", "tag", "status", "complete", "reasons", "exposures", "path"),
    ),
    "flags": List(doc="flags that tests have raised", table=FLAGS, columns=(TIME, "run", "test", "tag", "flag")),
    "overrides": List(
        doc="verdicts changed by persons", table=OVERRIDES,
        columns=(TIME, *_WHERE, "camera", "tag", "revision", "was", "status", "by", "reason"), names={"camera": "part"},
    ),
    "housekeeping": List(
        doc="changes of state of channels of housekeeping", table=HOUSEKEEPING,
        columns=(TIME, "subject", "channel", "limit", "state", "before", "severity", "direction", "value", "bound", "unit", "text", "reason", "tag"),
        names={"limit": "rule"},
    ),
}  # fmt: skip


def listed(connection: sa.Connection, name: str, tag_names: Sequence[str], ask: Ask) -> MetricTable:
    """The newest rows of a list that meet a condition, in the order of time. Raises BadConfig for a condition that cannot be read."""
    of = LISTS[name]
    where = condition(ask.where, {**(dict.fromkeys(tag_names, "text") if of.tags else {}), **_facts(of)})
    tags = of.tags if where is not None and where.names & set(tag_names) else ()
    chosen = [*(of.column(c).label(c) for c in of.columns), *(c.label(f"tags_{i}") for i, c in enumerate(tags))]
    source = of.source if tags and of.source is not None else of.table
    # what has one time stands as it came, or by its number: without that a server gives it in any order, and another one each time
    wanted = sa.select(*chosen).select_from(source).order_by(of.table.c.time_ns.desc(), *(c.desc() for c in of.table.primary_key))
    wanted = wanted.where(*_bounds(of, ask))
    if ask.tag and not (where is not None and "tag" in where.names):
        wanted = wanted.where(of.table.c.tag == ask.tag)
    if of.only is not None:
        wanted = wanted.where(of.only())
    if of.last is not None and ask.revision == "last":
        wanted = wanted.where(of.last())
    found: list[tuple[Any, ...]] = []
    result = connection.execution_options(stream_results=True, yield_per=_BATCH).execute(wanted)
    for rows in result.partitions(_BATCH):
        if len(found) > ask.limit:
            break
        kept = mask(where, functools.partial(_fact, rows, len(of.columns))) if where is not None else np.ones(len(rows), bool)
        found += [row for row, keep in zip(rows, kept, strict=True) if keep]
    result.close()
    newest = found[: ask.limit][::-1]
    columns = {c: _column(of, c, [getattr(row, c) for row in newest]) for c in of.columns}
    return MetricTable(name=name, columns=columns, units=of.units, more=len(found) > ask.limit)


def _facts(of: List) -> dict[str, Fact]:
    """What may be asked of its columns."""

    def kind(name: str) -> Fact:
        if name == "night" or name in _STATUSES:
            return "night" if name == "night" else "status"
        return "number" if isinstance(of.column(name).type, sa.Integer | sa.Double) else "text"

    return {TIME_FACT: "time", **{name: kind(name) for name in of.columns if name != TIME}}


def _bounds(of: List, ask: Ask) -> list[sa.ColumnElement[bool]]:
    """Nights by the night, where there is one, else by the time."""
    table, first, last = of.table.c, ask.first_night, ask.last_night
    if "night" not in of.columns:
        low, high = bounds_of_nights(ask)
        return [*([table.time_ns >= low] if low is not None else []), *([table.time_ns <= high] if high is not None else [])]
    out: list[sa.ColumnElement[bool]] = [*([table.night >= first] if first is not None else []), *([table.night <= last] if last is not None else [])]
    out += [table.time_ns >= ask.from_ns] if ask.from_ns is not None else []
    return [*out, table.time_ns <= ask.to_ns] if ask.to_ns is not None else out


def _fact(rows: Sequence[Any], own: int, name: str) -> Column:
    """A fact of every row: one of its `own` columns, or out of the tags behind these."""
    if name == TIME_FACT:
        return np.array([row.time_ns for row in rows], dtype=np.int64)
    if not rows or name in rows[0]._fields[:own]:
        return _typed([_shown(name, getattr(row, name)) for row in rows])
    return _typed([next((t[name] for t in map(_tags, row[own:]) if t.get(name)), "") for row in rows])


@functools.lru_cache(2000)
def _tags(text: str | None) -> Mapping[str, str]:
    found: Mapping[str, str] = json.loads(text or "{}")
    return found


def _shown(name: str, value: Any) -> Any:
    if name in _TEXTS:
        return "; ".join(map(str, json.loads(value or "[]")))
    return NAMES[value or 0] if name in _STATUSES else value


def _column(of: List, name: str, values: Sequence[Any]) -> Column:
    """A column of the type that it has in the table, also where there is no row."""
    kind = of.column(name).type
    shown = [_shown(name, v) for v in values]
    if name not in _STATUSES and isinstance(kind, sa.Double):
        return np.array([np.nan if v is None else v for v in shown], dtype=np.float64)
    if name not in _STATUSES and isinstance(kind, sa.Integer) and None not in shown:
        return np.array(shown, dtype=np.int64)
    return np.array([*("" if v is None else v for v in shown), None], dtype=object)[:-1]


def _typed(values: Sequence[Any]) -> Column:
    if values and all(type(v) is int for v in values):
        return np.array(values, dtype=np.int64)
    if values and all(isinstance(v, int | float) or v is None for v in values):
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return np.array(["" if v is None else str(v) for v in values] + [None], dtype=object)[:-1]
