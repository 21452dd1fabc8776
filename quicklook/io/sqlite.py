"""How SQLite is used here: a write-ahead log, and writers that take turns."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def set_up(engine: sa.Engine, *, to_read: bool = False) -> None:
    """Have every connection of an engine work so. An execution option `reading` makes one that never waits for writers.

    `to_read`: the file is opened for reading alone, and is left as it is.
    """
    sa.event.listen(engine, "connect", _only_wait if to_read else _configure)
    sa.event.listen(engine, "begin", _begin)


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL survives kill -9 at any moment; only a power cut may lose the last transactions, and those are redone from the raw files
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


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
