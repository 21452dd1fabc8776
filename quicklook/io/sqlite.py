"""How SQLite is used here: a write-ahead log, and writers that take turns."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, Transient

_NEW_S = 5.0


def set_up(engine: sa.Engine, *, to_read: bool = False) -> None:
    """Have every connection of an engine work so. An execution option `reading` makes one that never waits for writers.

    `to_read`: the file is opened for reading alone, and is left as it is.
    """
    sa.event.listen(engine, "connect", _only_wait if to_read else _configure)
    sa.event.listen(engine, "begin", _begin)


def open_own(path: Path, metadata: sa.MetaData, what: str) -> sa.Engine:
    """An engine for a file that holds these tables and nothing else, made where it is not there. Errors call it `what`.

    Raises BadConfig where it is something else, Transient where it cannot be used now.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Transient(f"there is no place for {what} {path}: {error.strerror or error}") from error
    engine = sa.create_engine(f"sqlite:///{path}")
    set_up(engine)
    try:
        with engine.begin() as connection:
            make_tables(connection, metadata)
    except sa.exc.DatabaseError as error:
        engine.dispose()
        if isinstance(error, sa.exc.OperationalError):
            raise Transient(f"{what} {path} cannot be used now: {error.orig}") from error
        raise BadConfig(f"{path} is not {what}: {error.orig}", what_next="Move it away; a new one is made.") from error
    return engine


def make_tables(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Make tables that are not there, and indices that those of an earlier version lack."""
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def wait_for_tables(tables: Callable[[], int]) -> None:
    """Return when there are any (`tables`: how many), or some seconds are over: who opens a file for reading may meet it while it is made."""
    end = time.monotonic() + _NEW_S
    while not tables() and time.monotonic() < end:
        time.sleep(0.01)


def reading_url(path: Path) -> str:
    """The address of a file that is only read.

    Where nobody writes it and this user may not write beside it, SQLite reads a write-ahead log only as a file that nobody changes.
    """
    alone = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    return f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true{'&immutable=1' if alone else ''}"


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_write_ahead(cursor)
    # NORMAL survives kill -9 at any moment; only a power cut may lose the last transactions, and those are redone from the raw files
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def count_tables(execute: Callable[[str], Any]) -> int:
    """How many tables a database has."""
    return int(execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _use_write_ahead(cursor: Any) -> None:
    """Processes that open a new file at the same moment are in each other's way for an instant, and SQLite does not wait for this by itself."""
    end = time.monotonic() + _NEW_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _only_wait(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")


def _begin(connection: sa.Connection) -> None:
    # IMMEDIATE: two processes that append take turns, and neither reads the last number before it may write the next
    options = connection.get_execution_options()
    if options.get("bare", False):  # for what SQLite does outside of transactions alone
        return
    reading = options.get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
