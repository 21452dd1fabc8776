"""The state of things now, from the journal alone: what a listener starts from, and what `quicklook status` shows."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from typing import Any

import sqlalchemy as sa

from quicklook.core.events import Decided, Heartbeat, PartVerdict, Refused, SessionNow, UnitDone
from quicklook.core.keys import Unit
from quicklook.core.wire import PartNow, State, UnitNow
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, FILES, JOBS, UNITS, Journal

_TIMED = 50
"""So many of the last verdicts say how long a camera takes."""


def state_of(journal: Journal, *, units: int = 20, tag: str | None = None) -> State:
    """The state when the last event was written, for a tag (none: that of the last exposure). Raises what the journal raises."""
    with journal.reading() as connection:  # one view of it, whoever writes meanwhile
        seq = int(connection.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar() or 0)
        tag = tag or _last_tag(connection)
        beat = _last(connection, Heartbeat.kind, EVENTS.c.tag == tag)
        heartbeat = Heartbeat.model_validate_json(beat.payload) if beat is not None else None
        session = _last(connection, SessionNow.kind, EVENTS.c.tag == tag)
        queue = jobs.counts(connection, tag)
        running = connection.execute(sa.select(JOBS.c.unit, JOBS.c.part).where(JOBS.c.tag == tag, JOBS.c.state == jobs.RUNNING)).all()
        fields: dict[str, Any] = {
            "queue": queue,
            "running": [f"{row.unit}/{row.part}" for row in running],
            "remaining_s": _remaining_s(connection, tag, queue, heartbeat.workers if heartbeat else 1),
            "units": [_unit_now(connection, row) for row in _latest_units(connection, tag, units)],
            "heartbeat": heartbeat,
            "heartbeat_time": beat.time if beat is not None else None,
            "session": SessionNow.model_validate_json(session.payload) if session is not None else None,
            "refused": _refused(connection, tag),
            **_night(connection, tag),
        }
    return State(epoch=journal.epoch, seq=seq, time=time.time_ns(), tag=tag, **fields)


def _last_tag(connection: sa.Connection) -> str:
    tag = connection.execute(sa.select(UNITS.c.tag).order_by(UNITS.c.seen_ns.desc()).limit(1)).scalar()
    return str(tag or connection.execute(sa.select(EVENTS.c.tag).order_by(EVENTS.c.seq.desc()).limit(1)).scalar() or "live")


def _last(connection: sa.Connection, kind: str, *where: sa.ColumnElement[bool]) -> Any:
    return connection.execute(sa.select(EVENTS).where(EVENTS.c.kind == kind, *where).order_by(EVENTS.c.seq.desc()).limit(1)).first()


_REFUSALS = sa.select(EVENTS.c.time, EVENTS.c.payload).where(EVENTS.c.kind == Refused.kind, EVENTS.c.tag == sa.bindparam("of_tag"))
_NOT_TAKEN = FILES.c.state.in_((jobs.REFUSED, jobs.BARRED))
_REFUSED_MOST, _DAY_NS = 20, 86_400_000_000_000


def _refused(connection: sa.Connection, tag: str) -> list[str]:
    """Files that were refused in the day before the last exposure came, or since, and were not taken after all: path and reason, the last first."""
    last = connection.execute(sa.select(sa.func.max(UNITS.c.seen_ns)).where(UNITS.c.tag == tag)).scalar() or 0
    found = dict[str, str]()
    for time_ns, text in connection.execute(_REFUSALS.order_by(EVENTS.c.seq.desc()).limit(_REFUSED_MOST), {"of_tag": tag}):
        said = Refused.model_validate_json(text)
        path = said.path or said.file
        of_file = (FILES.c.path == path, FILES.c.tag == tag, _NOT_TAKEN)
        if time_ns > last - _DAY_NS and path not in found and connection.execute(sa.select(FILES.c.path).where(*of_file)).first():
            found[path] = f"{path}: {said.failure.message}"
    return list(found.values())


_LATER = UNITS.alias()
_IS_LATEST = sa.not_(sa.exists().where(_LATER.c.unit == UNITS.c.unit, _LATER.c.tag == UNITS.c.tag, _LATER.c.revision > UNITS.c.revision))
_LATEST = sa.select(UNITS).where(UNITS.c.tag == sa.bindparam("of_tag"), _IS_LATEST).order_by(UNITS.c.seen_ns.desc(), UNITS.c.unit.desc())


def _latest_rows(connection: sa.Connection, tag: str, limit: int, night: str = "") -> list[Any]:
    """The latest revision of each unit of a tag (and night), the latest to arrive first."""
    query = _LATEST.where(jobs.of_night(UNITS.c.unit, night)) if night else _LATEST
    return list(connection.execute(query.limit(limit) if limit >= 0 else query, {"of_tag": tag}))


def _latest_units(connection: sa.Connection, tag: str, limit: int) -> list[jobs.UnitRow]:
    found = [jobs.latest_unit(connection, Unit.parse(row.unit), tag) for row in _latest_rows(connection, tag, limit)]
    return [row for row in found if row is not None]


_OF_UNIT = (EVENTS.c.kind == sa.bindparam("of_kind"), EVENTS.c.unit == sa.bindparam("of_unit"), EVENTS.c.part.is_(None))
_OF_ROW = (*_OF_UNIT, EVENTS.c.tag == sa.bindparam("of_tag"), EVENTS.c.revision == sa.bindparam("of_revision"))
_LAST_OF_UNIT = sa.select(EVENTS.c.time, EVENTS.c.payload).where(*_OF_ROW).order_by(EVENTS.c.seq.desc()).limit(1)


def _unit_now(connection: sa.Connection, row: jobs.UnitRow) -> UnitNow:
    of_row = {"of_unit": str(row.unit), "of_tag": row.tag, "of_revision": row.revision}
    verdict, card = (connection.execute(_LAST_OF_UNIT, {**of_row, "of_kind": kind}).first() for kind in (UnitDone.kind, Decided.kind))
    said = json.loads(verdict.payload) if verdict is not None else {}
    return UnitNow(
        unit=str(row.unit),
        revision=row.revision,
        flavor=row.tags.get("flavor", ""),
        status=said.get("status"),
        decision=json.loads(card.payload)["decision"] if card is not None else None,
        reasons=said.get("reasons", []),
        parts={p.part: PartNow(state=p.state, status=p.status) for p in jobs.part_states(connection, row)},
        expected=list(row.expected),
        seen=row.seen_ns,
        concluded=verdict.time if verdict is not None else None,
    )


def _night(connection: sa.Connection, tag: str) -> dict[str, Any]:
    """The latest night: how many exposures it has, how many are concluded and how, what is still expected, how much is done."""
    night = str(connection.execute(sa.select(sa.func.max(UNITS.c.unit)).where(UNITS.c.tag == tag)).scalar() or "").partition("/")[0]
    if not night:
        return {}
    rows = _latest_rows(connection, tag, -1, night)
    latest = {(row.unit, row.revision) for row in rows}
    of_night, key = (JOBS.c.tag == tag, jobs.of_night(JOBS.c.unit, night)), (JOBS.c.unit, JOBS.c.revision)
    states = Counter[str]()
    for unit, revision, state, n in connection.execute(sa.select(*key, JOBS.c.state, sa.func.count()).where(*of_night).group_by(*key, JOBS.c.state)):
        states[state] += n if (unit, revision) in latest else 0
    same = sa.and_(UNITS.c.unit == JOBS.c.unit, UNITS.c.tag == JOBS.c.tag, UNITS.c.revision == JOBS.c.revision)
    of_open = sa.select(*key, JOBS.c.part).join(UNITS, same).where(UNITS.c.verdict_ns.is_(None), *of_night)
    parts = {(p.unit, p.part) for p in connection.execute(of_open) if (p.unit, p.revision) in latest}
    awaited = [f"{row.unit}/{part}" for row in rows if row.verdict_ns is None for part in json.loads(row.expected) if (row.unit, part) not in parts]
    whole = states.total() + len(awaited)
    return {
        "night": night,
        "exposures": len(rows),
        "concluded": sum(row.verdict_ns is not None for row in rows),
        "statuses": _statuses(connection, tag, night, latest),
        "expected": sorted(awaited)[:100],
        "progress": (states[jobs.DONE] + states[jobs.FAILED] + states[jobs.IGNORED]) / whole if whole else None,
    }


def _statuses(connection: sa.Connection, tag: str, night: str, latest: set[tuple[str, int]]) -> dict[str, int]:
    status = sa.func.json_extract(EVENTS.c.payload, "$.status").label("status")
    where = (EVENTS.c.kind == UnitDone.kind, EVENTS.c.tag == tag, EVENTS.c.part.is_(None), jobs.of_night(EVENTS.c.unit, night))
    rows = connection.execute(sa.select(EVENTS.c.unit, EVENTS.c.revision, status).where(*where).order_by(EVENTS.c.seq))
    last = {(row.unit, row.revision): str(row.status) for row in rows}
    return dict(Counter(status for key, status in last.items() if key in latest))


def _remaining_s(connection: sa.Connection, tag: str, queue: dict[str, int], workers: int) -> float | None:
    """What waits and runs, by the time that a camera took lately, over the workers; None where none was done yet."""
    left = queue.get(jobs.OPEN, 0) + queue.get(jobs.RUNNING, 0)
    if not left:
        return 0.0
    seconds = sa.func.json_extract(EVENTS.c.payload, "$.seconds")
    query = sa.select(seconds).where(EVENTS.c.kind == PartVerdict.kind, EVENTS.c.tag == tag).order_by(EVENTS.c.seq.desc()).limit(_TIMED)
    took = [float(s) for s in connection.execute(query).scalars() if s]
    return statistics.median(took) * left / max(1, workers) if took else None

