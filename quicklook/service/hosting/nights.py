"""Nights and the exposures of a night, each in one line, from the journal."""

from __future__ import annotations

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from quicklook.core.events import Decided, Receipt, UnitDone
from quicklook.core.hosting import NightCount, UnitLine
from quicklook.core.keys import Unit
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, UNITS

_KEPT = 30_000
_AT_ONCE = 500
_REASONS = 3

_FIELDS = {
    UnitDone.kind: ("status", "parts", "reasons", "overrides", "missing"),
    Decided.kind: ("decision", "why"),
    Receipt.kind: ("seconds_to_verdict",),
}
"""What of each event is wanted: the rest of a verdict, its QAs, may be large."""


@dataclass(frozen=True, slots=True)
class _Key:
    seq: int
    kind: str
    time: int


class UnitEvents:
    """Verdict, decision and receipt of exposures, by number of the event: what an event says never changes, and is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[int, Mapping[str, Any]] = OrderedDict()

    def of(self, connection: sa.Connection, keys: Iterable[_Key]) -> dict[int, Mapping[str, Any]]:
        """What events say, by their numbers."""
        wanted = {k.seq: k.kind for k in keys}
        with self._lock:
            found = {seq: self._known[seq] for seq in wanted if seq in self._known}
        for kind, fields in _FIELDS.items():
            lacking = [seq for seq, k in wanted.items() if k == kind and seq not in found]
            for start in range(0, len(lacking), _AT_ONCE):
                found.update(_read(connection, lacking[start : start + _AT_ONCE], fields))
        with self._lock:
            self._known.update(found)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


def _read(connection: sa.Connection, seqs: Sequence[int], fields: Sequence[str]) -> dict[int, Mapping[str, Any]]:
    whole = sa.func.json_array(*(sa.func.json_extract(EVENTS.c.payload, f"$.{name}") for name in fields)).label("said")
    rows = connection.execute(sa.select(EVENTS.c.seq, whole).where(EVENTS.c.seq.in_(seqs)))
    return {row.seq: dict(zip(fields, json.loads(row.said), strict=True)) for row in rows}


class NightStatuses:
    """How many exposures of a night have which verdict; a night of which no verdict was said since it was counted is not counted again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[int, dict[str, int]]] = {}

    def of(self, connection: sa.Connection, nights: Sequence[str], tag: str) -> dict[str, dict[str, int]]:
        """By night."""
        night = sa.func.substr(EVENTS.c.unit, 1, 8)
        verdicts = (EVENTS.c.kind == UnitDone.kind, EVENTS.c.part.is_(None), EVENTS.c.unit.is_not(None))
        last = {str(n): int(seq) for n, seq in connection.execute(sa.select(night, sa.func.max(EVENTS.c.seq)).where(*verdicts).group_by(night))}
        with self._lock:
            known = dict(self._known)
        new = {
            (tag, n): (last.get(n, 0), _statuses(connection, n, tag)) for n in nights if known.get((tag, n), (-1,))[0] != last.get(n, 0)
        }  # fmt: skip
        with self._lock:
            self._known |= new
        return {n: (known | new)[tag, n][1] for n in nights}


def nights(connection: sa.Connection, statuses: NightStatuses, tag: str) -> list[NightCount]:
    """All nights, the latest first."""
    night = sa.func.substr(UNITS.c.unit, 1, 8)
    found = {str(n): int(count) for n, count in connection.execute(
        sa.select(night, sa.func.count(sa.distinct(UNITS.c.unit))).where(UNITS.c.tag == tag).group_by(night)
    )}  # fmt: skip
    shown = sorted(found, reverse=True)[:_MOST_NIGHTS]
    of = statuses.of(connection, shown, tag)
    return [NightCount(night=n, exposures=found[n], statuses=of[n]) for n in shown]


_MOST_NIGHTS = 400


def _statuses(connection: sa.Connection, night: str, tag: str) -> dict[str, int]:
    status = sa.func.json_extract(EVENTS.c.payload, "$.status")
    of_night = (EVENTS.c.kind == UnitDone.kind, EVENTS.c.part.is_(None), EVENTS.c.unit.is_not(None), jobs.of_night(EVENTS.c.unit, night))
    query = sa.select(EVENTS.c.unit, status).where(*of_night, EVENTS.c.tag == tag).order_by(EVENTS.c.revision, EVENTS.c.seq)
    last = {str(unit): str(said) for unit, said in connection.execute(query)}
    return dict(Counter(last.values()))


def night_lines(connection: sa.Connection, known: UnitEvents, night: int, tag: str) -> list[UnitLine]:
    """The latest revision of each exposure of a night, the latest to arrive first."""
    rows = jobs.units_of_night(connection, tag, night)
    keys = _keys(connection, night, tag)
    said = known.of(connection, [k for of_unit in keys.values() for k in of_unit.values()])
    lines = [_line(connection, row, keys.get((str(row.unit), row.revision), {}), said) for row in rows]
    return sorted(lines, key=lambda line: (line.seen, line.unit), reverse=True)


def _keys(connection: sa.Connection, night: int, tag: str) -> dict[tuple[str, int], dict[str, _Key]]:
    """Of each revision of each exposure the last event of each of these kinds."""
    columns = (EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.unit, EVENTS.c.revision, EVENTS.c.time)
    of_night = (EVENTS.c.part.is_(None), EVENTS.c.unit.is_not(None), jobs.of_night(EVENTS.c.unit, night), EVENTS.c.tag == tag)
    out: dict[tuple[str, int], dict[str, _Key]] = {}
    for kind in _FIELDS:
        for row in connection.execute(sa.select(*columns).where(EVENTS.c.kind == kind, *of_night).order_by(EVENTS.c.seq)):
            out.setdefault((row.unit, row.revision), {})[kind] = _Key(row.seq, row.kind, row.time)
    return out


def _line(connection: sa.Connection, row: jobs.UnitRow, keys: Mapping[str, _Key], said: Mapping[int, Mapping[str, Any]]) -> UnitLine:
    """`keys` are the events of this revision, by kind."""
    of = {kind: said.get(key.seq, {}) for kind, key in keys.items()}
    verdict, decision, receipt = of.get(UnitDone.kind), of.get(Decided.kind, {}), of.get(Receipt.kind, {})
    return UnitLine(
        unit=str(row.unit),
        expid=row.unit.expid,
        revision=row.revision,
        flavor=row.tags.get("flavor", ""),
        program=row.tags.get("program", ""),
        exptime_s=_number(row.tags.get("exptime")),
        file=row.path.rpartition("/")[2],
        tags=row.tags,
        seen=row.seen_ns,
        concluded=keys[UnitDone.kind].time if verdict is not None else None,
        status=verdict["status"] if verdict else None,
        decision=decision.get("decision"),
        why=decision.get("why") or "",
        reasons=(verdict["reasons"] or [])[:_REASONS] if verdict else [],
        parts=verdict["parts"] or {} if verdict else part_words(connection, row),
        expected=list(row.expected),
        overridden=bool(verdict and verdict["overrides"]),
        seconds_to_verdict=receipt.get("seconds_to_verdict"),
    )


def part_words(connection: sa.Connection, row: jobs.UnitRow) -> dict[str, str]:
    """Of each camera of an exposure without a verdict its status, or the state of its work."""
    return {p.part: str(p.status) if p.status else p.state for p in jobs.part_states(connection, row)}


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < float("inf") else None


def latest_unit(connection: sa.Connection, tag: str) -> Unit | None:
    """The exposure that arrived last under a tag."""
    query = sa.select(UNITS.c.unit).where(UNITS.c.tag == tag).order_by(UNITS.c.seen_ns.desc(), UNITS.c.unit.desc()).limit(1)
    found = connection.execute(query).scalar()
    return Unit.parse(str(found)) if found else None
