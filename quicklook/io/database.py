"""Addresses of databases: SQLite by file, PostgreSQL by URL. Passwords come from outside of configuration and are never shown."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, NoSpace, Transient, describe
from quicklook.io import sqlite
from quicklook.io.credentials import secret_of

_PG_DRIVERS = ("psycopg", "psycopg2", "pg8000")
_UNUSABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_PG_FULL = "53100"


def make_engine(url: str, what: str, *, to_read: bool = False) -> sa.Engine:
    """An engine for the path of a file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``; errors say `what` it holds. Nothing is opened yet.

    Raises BadConfig for another address, or where PostgreSQL has no driver here.
    """
    if not url:
        raise BadConfig(f"no {what} is named; write a file, sqlite:///FILE or postgresql://USER@HOST/NAME")
    try:
        made = sa.engine.make_url(url if "://" in url else f"sqlite:///{url}")
    except (sa.exc.ArgumentError, ValueError) as error:
        raise BadConfig(f"what is given as the {what} names no database; write sqlite:///FILE or postgresql://USER@HOST/NAME") from error
    kind = made.get_backend_name()
    if kind == "sqlite":
        address = sqlite.reading_url(Path(made.database)) if to_read and made.database else made
        engine = sa.create_engine(address, connect_args={"timeout": 30}, hide_parameters=True)
        sqlite.set_up(engine, to_read=to_read)
        return engine
    if kind != "postgresql":
        raise BadConfig(f"a {what} is kept in SQLite or PostgreSQL, not in {kind}")
    if made.drivername == "postgresql":
        made = made.set(drivername=f"postgresql+{_pg_driver()}")
    # who reads connects anew: a server that has frozen is found out by that alone, and a page does not wait for it without end
    pool = {"poolclass": sa.pool.NullPool} if to_read else {"pool_pre_ping": True}
    return sa.create_engine(made, hide_parameters=True, connect_args=_patience(made), **pool)


def _patience(url: sa.URL) -> dict[str, Any]:
    """A server that is away is given up after some seconds, also where its machine does not answer at all; what the address says goes before."""
    if url.get_driver_name() == "pg8000":
        return {"timeout": 10}
    wanted = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20000}
    return {k: v for k, v in wanted.items() if k not in url.query}


def _pg_driver() -> str:
    for name in _PG_DRIVERS:
        if importlib.util.find_spec(name) is not None:
            return name
    raise BadConfig("there is no driver for PostgreSQL here", what_next="Install one into this environment: pip install 'psycopg[binary]'")


def with_password(url: str, password: str) -> str:
    """An address, both as they are written (``env:NAME`` and ``file:/path`` say where). Raises BadConfig where they cannot be had.

    A PostgreSQL without a password here gets it from PGPASSWORD or ~/.pgpass, as with all its programs.
    """
    found = secret_of(url, "address of a database")
    if not password:
        return found
    try:
        return sa.engine.make_url(found).set(password=secret_of(password, "password of a database")).render_as_string(hide_password=False)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise BadConfig("there is a password, and the address names no database; write postgresql://USER@HOST/NAME") from error


def refuse_secrets(url: str, password: str) -> None:
    """Raises BadConfig where a configuration, which is shown and copied, has a password in it."""
    try:
        written = sa.engine.make_url(url).password if "://" in url and not url.startswith("file:") else None
    except (sa.exc.ArgumentError, ValueError):
        written = None
    if written or (not password.startswith(("env:", "file:")) and password):
        what_next = "Write it into a file, and `password: file:/path` (or env:NAME); or leave it to PGPASSWORD or ~/.pgpass."
        raise BadConfig("the password of the database stands in the configuration itself", what_next=what_next)


@contextmanager
def database_errors(name: str, *, opened: bool = True) -> Iterator[None]:
    """What a database raises that passes (locked, away, full), as Transient and NoSpace; not yet `opened`, what cannot be used stays as it is."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if not opened and code in _UNUSABLE:
            raise
        full = code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == _PG_FULL
        raise (NoSpace if full else Transient)(f"{name} cannot be used now: {describe(error.orig or error)}") from error
    except sa.exc.TimeoutError as error:
        raise Transient(f"{name} cannot be used now: all connections are taken") from error
