"""What was said last of each thing (a camera, a QA, an alarm, a channel), kept in a small file for a restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from quicklook.core.errors import BadConfig, Transient
from quicklook.io import sqlite

_METADATA = sa.MetaData()
_LAST = sa.Table(
    "last",
    _METADATA,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
_POSITION = "position"
_WHAT = "what was last said for Prometheus"


@dataclass(frozen=True, slots=True)
class Thing:
    """When it was said (UTC, ns), and what."""

    time: int
    body: Mapping[str, Any]


class LastThings:
    """By kind and name. `save` writes what has changed, with the number of the event up to which it is so. Safe to read from other threads.

    Raises BadConfig where the file is none of its own, Transient where it cannot be used now; `save` raises Transient, too.
    """

    def __init__(self, path: Path, epoch: str) -> None:
        self._path, self._epoch, self._lock = path, epoch, threading.Lock()
        self._things: dict[str, dict[str, Thing]] = {}
        self._changed: set[tuple[str, str]] = set()
        self.seq = 0
        self._engine = sqlite.open_own(path, _METADATA, _WHAT)
        try:
            with self._engine.begin() as connection:
                self._load(connection)
        except (sa.exc.DatabaseError, ValueError, LookupError) as error:
            self._engine.dispose()
            raise BadConfig(f"{path} is not {_WHAT}", what_next="Move it away; a new one is made.") from error

    def _load(self, connection: sa.Connection) -> None:
        rows = connection.execute(sa.select(_LAST)).all()
        position: dict[str, Any] = next((json.loads(r.body) for r in rows if r.kind == _POSITION), {})
        if position.get("epoch") != self._epoch:  # of another journal
            connection.execute(sa.delete(_LAST))
            return
        self.seq = int(position["seq"])
        for row in rows:
            if row.kind != _POSITION:
                self._things.setdefault(row.kind, {})[row.name] = Thing(row.time, json.loads(row.body))

    def of(self, kind: str) -> dict[str, Thing]:
        """All of a kind, by name."""
        with self._lock:
            return dict(self._things.get(kind, {}))

    def get(self, kind: str, name: str = "") -> Thing | None:
        """One thing."""
        return self._things.get(kind, {}).get(name)

    def put(self, kind: str, name: str, time: int, body: Mapping[str, Any]) -> None:
        """What is said of it now."""
        with self._lock:
            self._things.setdefault(kind, {})[name] = Thing(time, body)
        self._changed.add((kind, name))

    def drop(self, kind: str, name: str) -> None:
        """Nothing is said of it any more."""
        with self._lock:
            self._things.get(kind, {}).pop(name, None)
        self._changed.add((kind, name))

    def save(self, seq: int) -> None:
        """Write what has changed; all up to event `seq` is in it."""
        position = {"kind": _POSITION, "name": "", "time": 0, "body": json.dumps({"epoch": self._epoch, "seq": seq})}
        rows = [position]
        for kind, name in self._changed:
            thing = self.get(kind, name)
            if thing is not None:
                rows.append({"kind": kind, "name": name, "time": thing.time, "body": json.dumps(thing.body)})
        gone = [{"of_kind": k, "of_name": n} for k, n in self._changed if self.get(k, n) is None]
        upsert = insert(_LAST)
        upsert = upsert.on_conflict_do_update(index_elements=["kind", "name"], set_={"time": upsert.excluded.time, "body": upsert.excluded.body})
        try:
            with self._engine.begin() as connection:
                connection.execute(upsert, rows)
                if gone:
                    connection.execute(sa.delete(_LAST).where(_LAST.c.kind == sa.bindparam("of_kind"), _LAST.c.name == sa.bindparam("of_name")), gone)
        except sa.exc.OperationalError as error:
            raise Transient(f"{self._path} cannot be written now: {error.orig}") from error
        self._changed.clear()
        self.seq = seq

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()
