"""Opening a store: its engine, its tables brought up to date, what it says when it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, NotReadyYet, describe
from quicklook.io.database import database_errors, make_engine
from quicklook.io.metricstore.tables import VERSION_TABLE

HEAD, READABLE = "0004", "0003"
"""The last step of `migrations`, what a store says that is up to date; and the first since which no table has changed: it is read as it is."""
_LOCK = 7141592653
"""Any number that nobody else takes for a lock in PostgreSQL."""
_VERSION = sa.table(VERSION_TABLE, sa.column("version_num"))


def store_path(out: str | Path) -> Path:
    """Where the store of an output folder is, unless another one is named."""
    return Path(out) / "metrics.sqlite"


def name_of(engine: sa.Engine) -> str:
    """The address of a store for people, without its password."""
    if engine.url.get_backend_name() == "sqlite":
        return f"the metrics store {(engine.url.database or '').removeprefix('file:')}"
    return f"the metrics store {engine.url.set(query={}).render_as_string(hide_password=True)}"


def open_store(url: str, *, to_read: bool) -> sa.Engine:
    """An engine on a store with the tables of this program. Made, or brought up to date, unless it is only read.

    Raises NotReadyYet where there is none to read, BadConfig where it is no store, is newer than this program (or older, and is only read) or may
    not be used, Transient where it cannot be reached now.
    """
    engine = make_engine(url, "metrics store", to_read=to_read)
    name = name_of(engine)
    try:
        with _refused(name):
            _look(engine, name, to_read=to_read)
    except BaseException:
        engine.dispose()
        raise
    return engine


def examine_store(url: str) -> str:
    """What there is, in words, without changing it. Raises as `open_store` does where it could not be written."""
    engine = make_engine(url, "metrics store", to_read=True)
    name, file = name_of(engine), _file(engine)
    try:
        if file is not None:
            _refuse_unwritable(file, name)
            if not file.exists():
                return f"{name} is not there yet; the daemon makes it"
        with _refused(name), database_errors(name, opened=False), engine.execution_options(reading=True).connect() as connection:
            found = _version(connection)
        _refuse_newer(name, found)
    finally:
        engine.dispose()
    size = f", {file.stat().st_size / 1e6:.1f} MB" if file is not None else ""
    return f"{name}{size}" if found == HEAD else f"{name}{size}; the daemon makes or renews its tables"


def stamp_of(engine: sa.Engine) -> tuple[int, int, bool] | None:
    """Which file is there under the name of a store, and whether somebody writes it; None where there is none, or it is in a server.

    Who keeps a store open looks whether it is the same one still: a file that was moved away can be written and read on as if nothing had happened.
    """
    file = _file(engine)
    try:
        found = os.stat(file) if file is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino, file.with_name(f"{file.name}-wal").exists()) if file is not None and found is not None else None


@contextmanager
def _refused(name: str) -> Iterator[None]:
    """What a database raises that does not pass, as BadConfig."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        what_next = "Name a file in a folder that is there and may be written, or a database that this user may use; move away what is no store."
        raise BadConfig(f"{name} cannot be used: {describe(error.orig or error)}", what_next=what_next) from error


def _file(engine: sa.Engine) -> Path | None:
    """The file of a store; None where it is in a server."""
    sqlite = engine.url.get_backend_name() == "sqlite"
    return Path((engine.url.database or "").removeprefix("file:")) if sqlite else None


def _refuse_unwritable(file: Path, name: str) -> None:
    """Raises BadConfig where a file, or the folder that it is in or would be made in, may not be written: SQLite has files beside it."""
    folder = next(p for p in file.absolute().parents if p.exists())
    allowed = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    if not allowed or (file.exists() and not os.access(file, os.R_OK | os.W_OK)):
        raise BadConfig(f"{name} may not be written by this user (number {os.getuid()})", what_next="Give access, or name another file.")


def _refuse_newer(name: str, found: str | None) -> None:
    if found is not None and found > HEAD:
        raise BadConfig(f"{name} has tables of version {found}, this program knows {HEAD}", what_next="Install the newer program.")


def _look(engine: sa.Engine, name: str, *, to_read: bool) -> None:
    file = _file(engine)
    if to_read and file is not None and not file.is_file():
        raise _none_yet(name)
    if file is not None and not to_read:
        try:
            file.absolute().parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfig(f"{name} cannot be made: {error.strerror}; give access or name another file") from error
    with database_errors(name, opened=False), engine.execution_options(reading=True).connect() as connection:
        found = _version(connection)
    if found == HEAD:
        return
    _refuse_newer(name, found)
    if to_read and found is not None and found >= READABLE:
        return
    if to_read and found is None:
        raise _none_yet(name)
    if to_read:
        what_next = "Start the daemon of this version, or `quicklook query --rebuild`: it is brought up to date then."
        raise BadConfig(f"{name} has tables of version {found}, this program reads {HEAD}", what_next=what_next)
    with database_errors(name, opened=False), engine.begin() as connection:
        upgrade(connection)


def _none_yet(name: str) -> NotReadyYet:
    what_next = "Name the sink `metrics` in the site, or fill it from what is there: `quicklook query --rebuild`."
    return NotReadyYet(f"there is no store yet: {name}", what_next=what_next)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
    return None if found is None else str(found)


def upgrade(connection: sa.Connection, to: str = "head") -> None:
    """Run the steps that are missing, within the given transaction: all of them or none. Who comes second waits and finds nothing to do."""
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
