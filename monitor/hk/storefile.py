"""The file of the store: SQLite, written by one, read by many at the same time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.io.sqlite import count_tables, wait_for_tables

VERSION = 1
_MAGIC = b"SQLite format 3\0"
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (source TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (source, key)) WITHOUT ROWID;
CREATE TABLE channels (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, text INTEGER NOT NULL);
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
CREATE TABLE recent (id INTEGER PRIMARY KEY, start REAL NOT NULL, stop REAL NOT NULL, n INTEGER NOT NULL,
    channels TEXT NOT NULL, times BLOB NOT NULL, samples BLOB NOT NULL);
CREATE TABLE grids (id INTEGER PRIMARY KEY, start REAL NOT NULL, stop REAL NOT NULL, n INTEGER NOT NULL, times BLOB NOT NULL);
CREATE INDEX grids_stop ON grids (stop);
CREATE TABLE chunks (channel INTEGER, grid INTEGER, samples BLOB NOT NULL, PRIMARY KEY (channel, grid)) WITHOUT ROWID;
CREATE INDEX chunks_grid ON chunks (grid);
"""


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """What SQLite raises, as our errors: NoSpace, Transient (locked, the disk), BadConfig (no store, may not be written)."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said:
            raise NoSpace(f"{path} cannot be written: {said}") from error
        if "readonly" in said or "unable to open" in said:
            raise BadConfig(f"{path} cannot be opened: {said}; give access, or choose another file") from error
        raise Transient(f"{path} cannot be used now: {said}") from error
    except sqlite3.DatabaseError as error:
        raise BadConfig(f"{path} is no store of housekeeping, or is broken: {error}; move it away, and a new one is made") from error


def is_store(path: Path) -> bool:
    """Whether it is a file of SQLite, and no log."""
    if not path.is_file():
        return False
    with open(path, "rb") as f:
        return f.read(len(_MAGIC)) == _MAGIC


def open_store(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection, with the tables made where it is to be written and is new. Raises BadConfig, Transient."""
    if not writing and not path.is_file():
        raise BadConfig(f"there is no store of housekeeping at {path}")
    if writing:
        path.parent.mkdir(parents=True, exist_ok=True)
    with store_errors(path):
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if writing else 'ro'}"
        connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
        if writing:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
            # NORMAL survives kill -9; a power cut may lose the last seconds, and their positions with them
            connection.execute("PRAGMA synchronous=NORMAL")
            _make(connection)
        else:
            wait_for_tables(lambda: count_tables(connection.execute))
        found = connection.execute("SELECT value FROM meta WHERE key='version'").fetchone()
    if found is None or int(found[0]) != VERSION:
        raise BadConfig(f"{path} has version {found and found[0]} of the store, this program {VERSION}; move it away, and a new one is made")
    return connection


def _make(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
        return
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} INSERT INTO meta VALUES ('version', '{VERSION}'); COMMIT;")


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All or nothing. Raises as `store_errors`."""
    with store_errors(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
