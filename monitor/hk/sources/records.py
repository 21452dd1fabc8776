"""Samples as JSON: one object a line, from whoever may send them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.hk.sources.clock import FIRST, LAST, Clock, guess_number
from monitor.hk.sources.rows import Cells, FaultCount
from quicklook.core.errors import BadData
from quicklook.core.housekeeping import Batch

MOST_KEYS = 5000
MOST_NAME = 200
MOST_DEPTH = 4
AHEAD_S = 300.0
"""A time so far ahead of ours is of a clock that is wrong; it would make all later samples late."""


@dataclass(frozen=True, slots=True)
class Record:
    """Samples at one time (Unix seconds, UTC)."""

    time: float
    cells: Mapping[str, object]


def parse_line(line: bytes, clock: Clock, now: float) -> Record:
    """One object: `{"time": ..., "values": {name: value}}`, `{"time": ..., "channel": name, "value": value}`, or `{"time": ..., name: value, ...}`.

    Without a time it is now. Objects inside objects become `outer.inner`. Raises BadData for everything else.
    """
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise BadData(f"it is no JSON: {' '.join(str(error).split())[:100]}") from error
    if not isinstance(found, dict):
        raise BadData("it is no JSON object with names and values")
    time = _time(found.pop("time", None), clock, now)
    if set(found) == {"channel", "value"}:
        found = {str(found["channel"]): found["value"]}
    elif set(found) == {"values"} and isinstance(found["values"], dict):
        found = found["values"]
    cells = dict(_flat(found, "", 0))
    if not cells or len(cells) > MOST_KEYS:
        raise BadData("it has no values" if not cells else f"it has more than {MOST_KEYS} values")
    return Record(time, cells)


def _time(given: object, clock: Clock, now: float) -> float:
    if given is None:
        return now
    try:
        found = guess_number(float(given)) if isinstance(given, int | float) and not isinstance(given, bool) else clock.read(str(given))
    except (ValueError, OverflowError):
        found = None
    if found is None or not FIRST <= found <= LAST:
        raise BadData("its time cannot be read")
    if found > now + AHEAD_S:
        raise BadData("its time is in the future: the clock of the sender is wrong")
    return found


def _flat(values: Mapping[str, object], prefix: str, depth: int) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        name = f"{prefix}{key}".strip()
        if isinstance(value, dict) and depth < MOST_DEPTH:
            yield from _flat(value, f"{name}.", depth + 1)
        elif isinstance(value, list | dict):
            raise BadData(f"{name[:MOST_NAME]} is a list, and no single value")
        elif not name or len(name) > MOST_NAME or not name.isprintable():
            raise BadData("a name in it is empty, longer than 200 characters, or cannot be printed")
        else:
            yield name, value


def batches_of(records: Sequence[Record], cells: Cells, place: str, faults: FaultCount) -> list[Batch]:
    """Batches in the order of time: records of one time are joined, those of the same channels are one batch."""
    joined: list[Record] = []
    for record in sorted(records, key=lambda r: r.time):
        last = joined[-1] if joined else None
        if last is not None and last.time == record.time and not last.cells.keys() & record.cells.keys():
            joined[-1] = Record(last.time, {**last.cells, **record.cells})
        else:
            joined.append(record)
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in joined:
        groups.setdefault(tuple(record.cells), []).append(record)

    def wrong(name: str, cell: object, _row: int) -> None:
        faults.add(place, place, f"{name} holds numbers, and here {str(cell)[:40]!r}; taken as no value")

    return [
        cells.batch(np.array([r.time for r in group]), names, [list(r.cells.values()) for r in group], wrong) for names, group in groups.items()
    ]


class Inbox:
    """Takes lines, keeps records and faults until they are asked for; bounded: what is too many is counted and left out."""

    def __init__(self, most: int, zone: str) -> None:
        self.most, self._clock = most, Clock("auto", zone)
        self._records: list[Record] = []
        self._values = 0
        self._wrong: dict[str, tuple[str, int]] = {}
        self._lost = 0

    @property
    def full(self) -> bool:
        """Whether no more can be taken before they are asked for."""
        return self._values >= self.most

    def put(self, lines: bytes, where: str, now: float) -> int:
        """Take lines; returns how many were no samples."""
        wrong = 0
        for line in lines.split(b"\n"):
            if not line.strip():
                continue
            if self.full:
                self._lost += 1
                continue
            try:
                record = parse_line(line, self._clock, now)
            except BadData as error:
                wrong += 1
                first, count = self._wrong.get(str(error), (where, 0))
                if len(self._wrong) < 100 or count:
                    self._wrong[str(error)] = (first, count + 1)
            else:
                self._records.append(record)
                self._values += len(record.cells)
        return wrong

    def empty(self, faults: FaultCount) -> list[Record]:
        """All records since the last call, faults into `faults`."""
        records, wrong, lost = self._records, self._wrong, self._lost
        self._records, self._wrong, self._lost, self._values = [], {}, 0, 0
        for message, (where, count) in wrong.items():
            faults.add(where, where, f"a message was left out: {message}", count=count)
        if lost:
            faults.add("", faults.source, "more samples came than are taken at once; those beyond were left out", kind="Overflow", count=lost)
        return records
