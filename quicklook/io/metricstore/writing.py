"""Events into the store. What comes twice is the same row; what comes together is written together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.events import (
    Decided,
    Event,
    HkChanged,
    Overridden,
    PartVerdict,
    ProductWritten,
    QADone,
    Receipt,
    Seen,
    TestDone,
    UnitDone,
)  # fmt: skip
from quicklook.core.keys import Unit
from quicklook.io.database import database_errors
from quicklook.io.metricstore.dictionaries import Numbers, plain, upsert
from quicklook.io.metricstore.metricrows import metric_rows
from quicklook.io.metricstore.opening import name_of
from quicklook.io.metricstore.packing import CODES
from quicklook.io.metricstore.tables import DECISIONS, EXPOSURES, FLAGS, HOUSEKEEPING, OVERRIDES, POSITIONS, RESULTS, TAGSETS, TESTS, VALUES
from quicklook.io.metricstore.times import exposure_ns, number

QA_FILE = "qa"
"""The product that is the merged QA of a part: its tags say what the camera is."""
_KEY = ("night", "expid", "tag", "part")
_HEAD = 16384


@dataclass(slots=True)
class _Batch:
    """What one transaction gathers, to be written with few statements."""

    connection: sa.Connection
    values: list[dict[str, Any]] = field(default_factory=list)
    measured: set[tuple[Any, ...]] = field(default_factory=set)
    judged: set[tuple[Any, ...]] = field(default_factory=set)


class Writer:
    """Writes events into an open store. `out` is the output folder, to which paths in events are relative."""

    def __init__(self, engine: sa.Engine, out: str | Path = "") -> None:
        self._engine, self._out, self._name = engine, Path(out), name_of(engine)
        self._numbers = Numbers()

    def write(self, events: Sequence[Event]) -> list[tuple[Event, Exception]]:
        """Write events in order: all in one transaction, or, where one cannot be stored, each in its own; returns those, with why.

        Raises Transient where the database is away, and NoSpace: then nothing was written.
        """
        try:
            self._together(events)
            return []
        except (sa.exc.SQLAlchemyError, ValueError, KeyError, TypeError, RuntimeError):
            return [(event, error) for event in events if (error := self._alone(event)) is not None]

    def _alone(self, event: Event) -> Exception | None:
        try:
            self._together([event])
        except (sa.exc.SQLAlchemyError, ValueError, KeyError, TypeError, RuntimeError) as error:
            return error
        return None

    def _together(self, events: Sequence[Event]) -> None:
        try:
            with database_errors(self._name), self._engine.begin() as connection:
                batch = _Batch(connection)
                for event in events:
                    self._take(batch, event)
                self._finish(batch, events)
        except BaseException:
            self._numbers.forget()
            raise
        self._numbers.committed()

    def _finish(self, batch: _Batch, events: Sequence[Event]) -> None:
        if batch.values:
            batch.connection.execute(upsert(batch.connection, VALUES), batch.values)
        _mark_last(batch.connection, batch.measured, RESULTS.c.metrics_last, RESULTS.c.has_metrics)
        _mark_last(batch.connection, batch.judged, RESULTS.c.verdict_last, RESULTS.c.status.is_not(None))
        last = {event.epoch: event.seq for event in events if event.epoch}
        if last:
            batch.connection.execute(upsert(batch.connection, POSITIONS), [{"epoch": e, "seq": s} for e, s in last.items()])

    def _take(self, batch: _Batch, event: Event) -> None:
        takes = _OF_UNIT.get(event.kind)
        if takes is not None and event.unit is not None:
            takes(self, batch, event, Unit.parse(event.unit))
        elif event.kind == TestDone.kind:
            _test(batch.connection, event)
        elif event.kind == HkChanged.kind:
            _housekeeping(batch.connection, event)

    # ---- exposures

    def _seen(self, batch: _Batch, event: Event, unit: Unit) -> None:
        said = event.payload
        row = _exposure(unit, event.tag, said["tags"], event.time)
        row |= {"path": plain(said["path"] or said["file"]), "size": said["size"], "seen_ns": event.time}
        taken = {name: value for name, value in row.items() if name not in _KEY}
        batch.connection.execute(upsert(batch.connection, EXPOSURES, update=taken).values(**row))

    def _receipt(self, batch: _Batch, event: Event, unit: Unit) -> None:
        seconds = event.payload["seconds_to_verdict"]
        if seconds is not None:
            same = (EXPOSURES.c.night == unit.night, EXPOSURES.c.expid == unit.expid, EXPOSURES.c.tag == plain(event.tag))
            batch.connection.execute(sa.update(EXPOSURES).where(*same).values(seconds_to_verdict=seconds))

    # ---- verdicts and metrics

    def _result(self, batch: _Batch, event: Event, unit: Unit) -> tuple[int, int]:
        """Number and time of the row of a part (or of the exposure as a whole) in this revision; made where there is none."""
        key = {"night": unit.night, "expid": unit.expid, "tag": plain(event.tag), "part": plain(event.part or ""), "revision": event.revision}
        known = tuple(key.values())
        number_, time_ns = self._numbers.get((*known, "id")), self._numbers.get((*known, "time"))
        if number_ is None or time_ns is None:
            number_, time_ns = self._row_of(batch.connection, key, event)
            self._numbers.put((*known, "id"), number_)
            self._numbers.put((*known, "time"), time_ns)
        return number_, time_ns

    @staticmethod
    def _row_of(connection: sa.Connection, key: Mapping[str, Any], event: Event) -> tuple[int, int]:
        wanted = sa.select(RESULTS.c.id, RESULTS.c.time_ns).where(*(RESULTS.c[k] == v for k, v in key.items()))
        found = connection.execute(wanted).first()
        if found is None:
            same = (EXPOSURES.c[k] == key[k] for k in ("night", "expid", "tag"))
            of = connection.execute(sa.select(EXPOSURES.c.time_ns, EXPOSURES.c.flavor, EXPOSURES.c.program).where(*same)).first()
            about = of._asdict() if of is not None else {"time_ns": exposure_ns(key["night"], "", event.time), "flavor": "", "program": ""}
            connection.execute(upsert(connection, RESULTS, keep=True).values(**key, **about))
            found = connection.execute(wanted).one()
        return int(found.id), int(found.time_ns)

    def _qa(self, batch: _Batch, event: Event, unit: Unit) -> None:
        self._metrics(batch, event, unit, [event.payload])

    def _metrics(self, batch: _Batch, event: Event, unit: Unit, qas: Sequence[Mapping[str, Any]]) -> None:
        result, time_ns = self._result(batch, event, unit)
        rows = [row for qa in qas for row in metric_rows(batch.connection, self._numbers, qa, result, time_ns)]
        batch.values += rows
        if rows and self._numbers.get(("has metrics", result)) is None:
            batch.connection.execute(sa.update(RESULTS).where(RESULTS.c.id == result).values(has_metrics=True, whole=True))
            batch.measured.add((unit.night, unit.expid, plain(event.tag), plain(event.part or "")))
            self._numbers.put(("has metrics", result), 1)

    def _part_verdict(self, batch: _Batch, event: Event, unit: Unit) -> None:
        said = event.payload
        row = {"measured": said["measured"], "expected": said["expected"], "seconds": said["seconds"], "path": plain(said["path"])}
        self._verdict(batch, event, unit, row)

    def _unit_verdict(self, batch: _Batch, event: Event, unit: Unit) -> None:
        row = _exposure(unit, event.tag, event.payload["tags"], event.time)
        batch.connection.execute(upsert(batch.connection, EXPOSURES, keep=True).values(**row))  # the one that was seen says more
        self._metrics(batch, event, unit, event.payload["qas"])
        self._verdict(batch, event, unit, {})

    def _verdict(self, batch: _Batch, event: Event, unit: Unit, row: Mapping[str, Any]) -> None:
        result, _ = self._result(batch, event, unit)
        said = event.payload
        values = {**row, "status": CODES[said["status"]], "verdict_ns": event.time, "reasons": plain(json.dumps(said["reasons"], ensure_ascii=False))}
        batch.connection.execute(sa.update(RESULTS).where(RESULTS.c.id == result).values(**values))
        batch.judged.add((unit.night, unit.expid, plain(event.tag), plain(event.part or "")))

    def _product(self, batch: _Batch, event: Event, unit: Unit) -> None:
        """The merged QA was written: what it says of the camera that the events do not."""
        if event.part and event.payload["name"] == QA_FILE and (tags := _tags_in(self._out / event.payload["path"])):
            self.tags_of_part(batch, event, unit, tags)

    def tags_of_part(self, batch: _Batch, event: Event, unit: Unit, tags: Mapping[str, str]) -> None:
        """Tags of a part, as far as its exposure has not the same."""
        result, _ = self._result(batch, event, unit)
        same = (EXPOSURES.c.night == unit.night, EXPOSURES.c.expid == unit.expid, EXPOSURES.c.tag == plain(event.tag))
        of_unit = json.loads(batch.connection.execute(sa.select(EXPOSURES.c.tags).where(*same)).scalar() or "{}")
        own = {plain(k): plain(v) for k, v in tags.items() if of_unit.get(plain(k)) != plain(v)}
        text = json.dumps(own, ensure_ascii=False, sort_keys=True)
        tagset = self._numbers.of(batch.connection, TAGSETS, {"tags": text})
        batch.connection.execute(sa.update(RESULTS).where(RESULTS.c.id == result).values(tagset=tagset))

    def _decision(self, batch: _Batch, event: Event, unit: Unit) -> None:
        said = event.payload
        row = {"night": unit.night, "expid": unit.expid, "tag": plain(event.tag), "revision": event.revision, "time_ns": event.time}
        row |= {name: plain(said[name]) for name in ("decision", "rule", "why", "action")}
        row |= {"status": CODES[said["status"]], "measured": said["measured"], "expected": said["expected"]}
        batch.connection.execute(upsert(batch.connection, DECISIONS).values(**row, card=plain(json.dumps(said, ensure_ascii=False))))

    def _override(self, batch: _Batch, event: Event, unit: Unit) -> None:
        said = event.payload
        row = {"epoch": event.epoch, "seq": event.seq, "night": unit.night, "expid": unit.expid, "tag": plain(event.tag), "revision": event.revision}
        row |= {"time_ns": said["time"], "was": CODES[said["was"]], "status": CODES[said["status"]]}
        row |= {name: plain(said[name]) for name in ("part", "by", "reason")}
        batch.connection.execute(upsert(batch.connection, OVERRIDES).values(**row))


_OF_UNIT: Mapping[str, Callable[[Writer, _Batch, Event, Unit], None]] = {
    Seen.kind: Writer._seen,
    Receipt.kind: Writer._receipt,
    QADone.kind: Writer._qa,
    PartVerdict.kind: Writer._part_verdict,
    UnitDone.kind: Writer._unit_verdict,
    ProductWritten.kind: Writer._product,
    Decided.kind: Writer._decision,
    Overridden.kind: Writer._override,
}
KINDS = (*_OF_UNIT, TestDone.kind, HkChanged.kind)
"""Kinds of events of which something is stored."""


def _exposure(unit: Unit, tag: str, tags: Mapping[str, str], time: int) -> dict[str, Any]:
    facts = {plain(k): plain(v) for k, v in tags.items()}
    known = {"flavor": facts.get("flavor", ""), "program": facts.get("program", ""), "exptime_s": number(facts.get("exptime", ""))}
    at = {"night": unit.night, "expid": unit.expid, "tag": plain(tag), "time_ns": exposure_ns(unit.night, facts.get("start", ""), time)}
    return {**at, **known, "tags": json.dumps(facts, ensure_ascii=False)}


def _tags_in(path: Path) -> Mapping[str, str]:
    """The tags of a merged QA, which stand at its beginning; none where it is not there any more."""
    try:
        with path.open(encoding="utf-8") as f:
            head = f.read(_HEAD)
        found = json.JSONDecoder().raw_decode(head, head.index("{", head.index('"tags":')))[0]
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark_last(connection: sa.Connection, keys: set[tuple[Any, ...]], column: sa.Column[bool], counts: sa.ColumnElement[bool]) -> None:
    """Of the revisions of each of these parts, mark the highest that counts."""
    for key in sorted(keys):
        same = [RESULTS.c[name] == value for name, value in zip(_KEY, key, strict=True)]
        last = connection.execute(sa.select(sa.func.max(RESULTS.c.revision)).where(*same, counts)).scalar()
        connection.execute(sa.update(RESULTS).where(*same).values({column: RESULTS.c.revision == last}))


def _test(connection: sa.Connection, event: Event) -> None:
    said = event.payload
    row = {"run": plain(said["run"]), "name": plain(said["name"]), "tag": plain(event.tag), "time_ns": event.time, "path": plain(said["path"])}
    lists = {name: plain(json.dumps(said[name], ensure_ascii=False)) for name in ("reasons", "exposures")}
    connection.execute(upsert(connection, TESTS).values(**row, **lists, status=CODES[said["status"]], complete=said["complete"]))
    of_test = {"run": row["run"], "test": row["name"], "tag": row["tag"]}
    connection.execute(sa.delete(FLAGS).where(*(FLAGS.c[k] == v for k, v in of_test.items())))
    if said["flags"]:
        flags = [{**of_test, "flag": plain(flag), "time_ns": event.time} for flag in dict.fromkeys(said["flags"])]
        connection.execute(upsert(connection, FLAGS), flags)


def _housekeeping(connection: sa.Connection, event: Event) -> None:
    rows = []
    for at, change in enumerate(event.payload["changes"]):
        row = {"epoch": event.epoch, "seq": event.seq, "number": at, "time_ns": int(change["time"] * 1e9), "tag": plain(event.tag)}
        row["rule"] = plain(change["limit"])
        row |= {name: plain(change[name]) for name in ("subject", "channel", "state", "before", "severity", "direction", "unit", "text", "reason")}
        rows.append({**row, "value": change["value"], "bound": change["bound"]})
    if rows:
        connection.execute(upsert(connection, HOUSEKEEPING), rows)
