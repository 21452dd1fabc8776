"""The journal: the append-only log of events on disk, from which every view can be rebuilt.

SQLite with a write-ahead log. It is written before anything is published; sequence numbers have no gaps, whichever
process appends; each sink keeps its own position here, so that one that was away gets everything, in order.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, NoSpace, Transient, describe
from quicklook.core.events import Draft, Event
from quicklook.core.results import SCHEMA_VERSION
from quicklook.io import sqlite
from quicklook.service.journal.counting import begin_counting
from quicklook.service.journal.migrations import LAYOUT, migrate

_LOCK_TRIES, _LOCK_PAUSE_S = 5, 0.05

_metadata = sa.MetaData()

META = sa.Table("meta", _metadata, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String, nullable=False))

EVENTS = sa.Table(
    "events",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("unit", sa.String),
    sa.Column("part", sa.String),
    sa.Column("tag", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
)

POSITIONS = sa.Table("positions", _metadata, sa.Column("sink", sa.String, primary_key=True), sa.Column("seq", sa.Integer, nullable=False))

UNITS = sa.Table(
    "units",
    _metadata,
    sa.Column("unit", sa.String, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("path", sa.String, nullable=False),
    sa.Column("expected", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("closed_ns", sa.BigInteger),
    sa.Column("seen_ns", sa.BigInteger, nullable=False),
    sa.Column("deadline_ns", sa.BigInteger, nullable=False),
    sa.Column("verdict_ns", sa.BigInteger),
)

# for what is asked at every turn or by somebody who waits, of the few rows among those of years
sa.Index("ix_units_open", UNITS.c.tag, sqlite_where=UNITS.c.verdict_ns.is_(None))
sa.Index("ix_units_seen", UNITS.c.tag, UNITS.c.seen_ns)
sa.Index("ix_units_tag_unit", UNITS.c.tag, UNITS.c.unit)
# of the unit alone and of the kind alone SQLite might take that of the kind: all events of that kind of years, to find those of a unit
sa.Index("ix_events_unit_kind", EVENTS.c.unit, EVENTS.c.kind)
# verdict, decision and receipt of exposures, beside some hundred events of their parts
sa.Index("ix_events_of_unit", EVENTS.c.kind, EVENTS.c.unit, sqlite_where=EVENTS.c.part.is_(None) & EVENTS.c.unit.is_not(None))
_REPLACED_INDICES = ("ix_events_unit",)

JOBS = sa.Table(
    "jobs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("unit", sa.String, nullable=False, index=True),
    sa.Column("part", sa.String, nullable=False),
    sa.Column("tag", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("path", sa.String, nullable=False),
    sa.Column("flavor", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("not_before_ns", sa.BigInteger, nullable=False, default=0),
    sa.Column("announced", sa.Boolean, nullable=False, default=False),
    sa.Column("status", sa.String),
    sa.Column("reasons", sa.Text, nullable=False, default="[]"),
    sa.Column("failure", sa.Text),
    sa.Column("owner", sa.String),
    sa.Column("lease_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("visits", sa.Integer, nullable=False, server_default="0"),
    sa.Column("visited_ns", sa.BigInteger),
    sa.UniqueConstraint("unit", "part", "tag", "revision"),
)

FILES = sa.Table(
    "files",
    _metadata,
    sa.Column("path", sa.String, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("lacks_until_ns", sa.BigInteger),
)

sa.Index("ix_jobs_tag_state_unit", JOBS.c.tag, JOBS.c.state, JOBS.c.unit)
sa.Index("ix_jobs_tag_unit", JOBS.c.tag, JOBS.c.unit)
sa.Index("ix_jobs_again", JOBS.c.unit, JOBS.c.part, JOBS.c.tag, JOBS.c.revision, sqlite_where=JOBS.c.revision > 0)

BUILDS = sa.Table(
    "builds",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("builder", sa.String, nullable=False),
    sa.Column("night", sa.Integer, nullable=False),
    sa.Column("part", sa.String, nullable=False),
    sa.Column("tag", sa.String, nullable=False),
    sa.Column("unit", sa.String, nullable=False),
    sa.Column("files", sa.Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("not_before_ns", sa.BigInteger, nullable=False, default=0),
    sa.Column("status", sa.String),
    sa.Column("failure", sa.Text),
    sa.UniqueConstraint("builder", "night", "part", "tag"),
)


# Made once: to build a statement takes longer than SQLite needs for it.
_LAST, _ADD = sa.select(sa.func.max(EVENTS.c.seq)), sa.insert(EVENTS)
_AFTER = sa.select(EVENTS).where(EVENTS.c.seq > sa.bindparam("after")).order_by(EVENTS.c.seq).limit(sa.bindparam("limit"))
_AFTER_OF_KINDS = _AFTER.where(EVENTS.c.kind.in_(sa.bindparam("kinds", expanding=True)))
_OF_SINK = POSITIONS.c.sink == sa.bindparam("of_sink")
_POSITION, _ADVANCE, _FIRST_POSITION = sa.select(POSITIONS.c.seq).where(_OF_SINK), sa.update(POSITIONS).where(_OF_SINK), sa.insert(POSITIONS)


def journal_path(out: Path) -> Path:
    """Where the journal of an output folder is."""
    return out / "journal.sqlite"


def lock_path(out: Path) -> Path:
    """The file that the daemon of an output folder locks as long as it lives."""
    return out / "daemon.lock"


def take_lock(out: Path) -> IO[str]:
    """Lock an output folder for a daemon, until the file that is returned is closed. Raises BadConfig where another one has it."""
    path = lock_path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise BadConfig(f"{path.parent} cannot be used as output folder: {error.strerror}; give access or name another one") from error
    for attempt in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if attempt < _LOCK_TRIES - 1:
                time.sleep(_LOCK_PAUSE_S)  # perhaps somebody only looks whether a daemon lives
                continue
            file.close()
            what_next = "Stop the other daemon or name another output folder."
            raise BadConfig(f"another daemon works in {path.parent}{_whose(path)}", what_next=what_next) from error
        break
    with suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC\n")
        file.flush()
    return file


def _whose(lock: Path) -> str:
    """What the daemon that has the lock has written into it; empty where that cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        if text := lock.read_text(encoding="utf-8").strip():
            return f" ({text})"
    return ""


def daemon_lives(out: Path) -> bool:
    """Whether a daemon works in an output folder now. Raises BadConfig where this user may not see that."""
    try:
        with lock_path(out).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        what_next = "Let this user read the output folder (its group, in the systemd unit), or ask the daemon with --replay."
        raise BadConfig(f"whether a daemon works in {out} cannot be seen: {describe(error)}", what_next=what_next) from error
    return False


class Journal:
    """The journal in a file, or in memory without one. `now_ns` gives UTC in nanoseconds.

    Raises BadConfig where the file is of a newer version, or is no journal. Everything here raises NoSpace where the disk is full and
    Transient where the file is locked or cannot be reached: nothing is written then, and the same may be tried again. `to_read`: nothing is ever
    written, and a user who may only read the file can use it; BadConfig where an older program has made it.
    """

    def __init__(self, path: Path | None, now_ns: Callable[[], int], *, to_read: bool = False) -> None:
        self._now = now_ns
        if path is None:
            self.engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
        elif to_read:
            self.engine = sa.create_engine(sqlite.reading_url(path), connect_args={"timeout": 30})
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sqlite.set_up(self.engine, to_read=to_read)
        sa.event.listen(self.engine, "connect", _keep_small)
        self._reading = self.engine.execution_options(reading=True)
        self._name, self._open = str(path or "in memory"), False
        try:
            if to_read:
                sqlite.wait_for_tables(self._tables)
                with self.reading() as connection:
                    self.epoch = self._read_identity(connection, path)
                self._open = True
                return
            with self.transaction() as connection:
                sqlite.make_tables(connection, _metadata)
                for name in _REPLACED_INDICES:
                    connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
                begin_counting(connection)
                self.epoch = self._identity(connection)
                migrate(connection, _metadata, META)
            self._open = True
        except sa.exc.DatabaseError as error:
            raise _cannot_be_used(path, error) from error

    def _tables(self) -> int:
        with self.reading() as connection:
            return sqlite.count_tables(connection.exec_driver_sql)

    @staticmethod
    def _read_identity(connection: sa.Connection, path: Path | None) -> str:
        layout = connection.execute(sa.select(META.c.value).where(META.c.key == "layout")).scalar()
        epoch = connection.execute(sa.select(META.c.value).where(META.c.key == "epoch")).scalar()
        if epoch is None or int(layout or 1) != LAYOUT:
            what_next = "Use the program of the daemon; a daemon of this version brings an older journal up to date when it starts."
            raise BadConfig(f"{path} is of layout {layout or 1}, this program reads {LAYOUT}", what_next=what_next)
        return str(epoch)

    @staticmethod
    def _identity(connection: sa.Connection) -> str:
        meta = {row.key: row.value for row in connection.execute(sa.select(META))}
        if not meta:
            meta = {"epoch": str(uuid.uuid4()), "schema_version": str(SCHEMA_VERSION)}
            connection.execute(sa.insert(META), [{"key": k, "value": v} for k, v in meta.items()])
        if int(meta["schema_version"]) > SCHEMA_VERSION:
            raise BadConfig(f"the journal is of version {meta['schema_version']}, this program writes {SCHEMA_VERSION}: install the newer program")
        return str(meta["epoch"])

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A write transaction; everything in it happens or nothing does."""
        with self._troubles(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that only reads, and hinders nobody who writes."""
        with self._troubles(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the lower byte is the kind, the upper one its detail
            if code not in (_PASSING if self._open else _PASSING_AT_START):
                raise
            kind = NoSpace if code == sqlite3.SQLITE_FULL else Transient
            raise kind(f"the journal {self._name} cannot be used now: {error.orig}") from error

    def append(self, drafts: Iterable[Draft], connection: sa.Connection | None = None) -> list[Event]:
        """Number, time and store events, in the given transaction or one of their own."""
        if connection is None:
            with self.transaction() as own:
                return self.append(drafts, own)
        first = (connection.execute(_LAST).scalar() or 0) + 1
        now = self._now()
        events = [Event(**d.model_dump(), epoch=self.epoch, seq=first + i, time=now) for i, d in enumerate(drafts)]
        if events:
            connection.execute(_ADD, [_row(e) for e in events])
        return events

    def events(self, after: int = 0, *, limit: int = 1000, kinds: Sequence[str] = ()) -> list[Event]:
        """Events with a sequence number above `after`, in order."""
        given: dict[str, Any] = {"after": after, "limit": limit}
        query, given = (_AFTER_OF_KINDS, {**given, "kinds": list(kinds)}) if kinds else (_AFTER, given)
        with self.reading() as connection:
            return [self.event_of(row) for row in connection.execute(query, given)]

    def event_of(self, row: Any) -> Event:
        """A row of `EVENTS` as its event."""
        fields = dict(row._mapping)
        fields["payload"] = json.loads(fields["payload"])
        return Event(epoch=self.epoch, **fields)

    def last_seq(self) -> int:
        """The number of the last event; 0 if there is none."""
        with self.reading() as connection:
            return int(connection.execute(_LAST).scalar() or 0)

    def position(self, sink: str) -> int:
        """The last event that the sink has taken."""
        with self.reading() as connection:
            return int(connection.execute(_POSITION, {"of_sink": sink}).scalar() or 0)

    def advance(self, sink: str, seq: int, drafts: Sequence[Draft] = ()) -> list[Event]:
        """The sink has taken all up to `seq`; what it answered is appended in the same transaction."""
        with self.transaction() as connection:
            if connection.execute(_ADVANCE, {"of_sink": sink, "seq": seq}).rowcount == 0:
                connection.execute(_FIRST_POSITION, {"sink": sink, "seq": seq})
            return self.append(drafts, connection)

    def compact(self) -> None:
        """Write the file anew without what was removed. It takes as long and as much room as the file is large; nobody can write meanwhile."""
        with self._troubles(), self.engine.execution_options(bare=True).connect() as connection:
            connection.exec_driver_sql("VACUUM")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


_PASSING_AT_START = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PASSING = (*_PASSING_AT_START, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL)
"""What the system under a journal may say and take back. One that cannot be opened or written from the start is a fault of configuration."""


def _cannot_be_used(path: Path | None, error: sa.exc.DatabaseError) -> BadConfig:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    folder = path is not None and path.is_dir()
    if not folder and code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        what_next = "Give this user access to the file and its folder, or be the user of the daemon."
        return BadConfig(f"{path} cannot be used by this user: {error.orig}", what_next=what_next)
    what_next = "Move it away, or name another output folder."
    return BadConfig(f"{path} cannot be used as a journal: {error.orig}", what_next=what_next)


def _keep_small(connection: sqlite3.Connection, _record: object) -> None:
    """A tenth of a megabyte of pages for each of half a dozen connections (the system keeps the others), and 16 MB of log after a burst.

    More pages would fill over thousands of exposures, look like a leak until then, and save nothing that was measured.
    """
    for pragma in ("cache_size = -96", "journal_size_limit = 16777216"):
        connection.execute(f"PRAGMA {pragma}")


def _row(event: Event) -> dict[str, Any]:
    row = event.model_dump(exclude={"epoch"})
    row["payload"] = json.dumps(row["payload"], allow_nan=False)
    return row
