"""Samples by a query of a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from monitor.hk.sources.clock import FIRST, LAST, Clock, from_number, guess_number
from monitor.hk.sources.records import Record, batches_of
from monitor.hk.sources.rows import Cells, FaultCount
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.core.housekeeping import Batch, HkSource, SourceContext, Taken
from quicklook.core.params import Params

if TYPE_CHECKING:
    import sqlalchemy as sa

_KEY = "after"


class SqlParams(Params):
    """Parameters of `sql`."""

    url: str = Field("", description="The database, as sqlite:////path/file.db or postgresql://user@host/name, or env:NAME; no password here")
    password: str = Field("", description="Its password, as env:NAME or file:/path; a PostgreSQL without one looks into PGPASSWORD and ~/.pgpass")
    query: str = Field("", description="SELECT with :after (the last key that was taken) and :limit, in the order of the key")
    key: str = Field("time", description="Column that only grows and is never the same twice, such as a running number; :after is compared with it")
    first: str = Field("", description="What :after is in the beginning; empty: 0")
    time: str = Field("time", description="Column with the time")
    time_format: str = Field("auto", description="auto, iso, unix, unix_ms, unix_ns, mjd, jd, or a strptime format")
    zone: str = Field("UTC", description="Time zone of times that say none")
    channel: str = Field("", description="Column with the name of the channel, where a row is one sample; empty: every other column is a channel")
    value: str = Field("value", description="Column with the value, where a row is one sample")
    limit: int = Field(5000, ge=1, le=100000, description="Rows of one query")


class SqlSource(HkSource[SqlParams]):
    """Asks a database for the rows after the last one it has taken; the key of that one is remembered over restarts. It only reads."""

    name = "sql"

    def open(self, context: SourceContext) -> None:
        """Raises BadConfig: no URL, a password in it, a secret that cannot be had, no query, one without :after."""
        import sqlalchemy as sa

        from quicklook.io.database import refuse_secrets, with_password

        p, where = self.params, f"source {context.source}"
        if not p.url:
            raise BadConfig(f"{where}: `url` is empty")
        refuse_secrets(p.url, p.password)
        url = with_password(p.url, p.password)
        if ":after" not in p.query:
            form = f"SELECT ... WHERE {p.key} > :after ORDER BY {p.key} LIMIT :limit"
            raise BadConfig(f"{where}: the query must ask for rows after the last one: {form}")
        try:
            address = sa.make_url(url)
            if address.drivername == "postgresql":
                address = address.set(drivername="postgresql+psycopg")
            patience = _patience(address.get_backend_name())
            self._engine = sa.create_engine(address, pool_pre_ping=True, hide_parameters=True, connect_args=patience)
            if address.drivername == "postgresql+psycopg":
                sa.event.listen(self._engine, "connect", _times_as_text)
        except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
            raise BadConfig(f"{where}: the URL of the database cannot be used ({type(error).__name__})") from error
        self._query = sa.text(p.query)
        self._context, self._cells, self._clock = context, Cells(context), Clock(p.time_format, p.zone)
        self._after: Any = json.loads(context.positions[_KEY]) if _KEY in context.positions else _plain(p.first or 0)

    def poll(self, now: float) -> Taken:
        """The next rows. Raises Transient where the database cannot be asked, BadData where the answer has not the columns it should have."""
        import sqlalchemy as sa

        given = {"after": self._after, **({"limit": self.params.limit} if ":limit" in self.params.query else {})}
        try:
            with self._engine.connect() as connection:
                result = connection.execute(self._query, given)
                names, rows = list(result.keys()), result.fetchmany(self.params.limit)
        except sa.exc.SQLAlchemyError as error:
            original = getattr(error, "orig", None) or error
            raise Transient(f"the database cannot be asked: {type(original).__name__}: {' '.join(str(original).split())[:200]}") from error
        if not rows:
            return Taken()
        faults = FaultCount(self._context.source, now)
        batches = self._batches(names, rows, faults)
        self._after = _plain(rows[-1][names.index(self.params.key)])
        return Taken(batches=tuple(batches), faults=faults.faults, positions={_KEY: json.dumps(self._after)}, more=len(rows) == self.params.limit)

    def _batches(self, names: Sequence[str], rows: Sequence[sa.Row[Any]], faults: FaultCount) -> list[Batch]:
        p = self.params
        wanted = [p.key, p.time, *([p.channel, p.value] if p.channel else [])]
        if missing := [n for n in wanted if n not in names]:
            raise BadData(f"the query gives no column {', '.join(missing)}; it gives {', '.join(names)}")
        place, at = self._context.source, {n: names.index(n) for n in wanted}
        others = [i for i, n in enumerate(names) if n not in (p.key, p.time)]
        records = []
        for row in rows:
            time = self._time(row[at[p.time]])
            if time is None:
                faults.add(place, place, "rows whose time cannot be read; left out")
            elif p.channel and row[at[p.channel]] is None:
                faults.add(place, place, "rows without the name of a channel; left out")
            elif p.channel:
                records.append(Record(time, {str(row[at[p.channel]]): row[at[p.value]]}))
            else:
                records.append(Record(time, {names[i]: row[i] for i in others}))
        return batches_of(records, self._cells, place, faults)

    def _time(self, given: object) -> float | None:
        if isinstance(given, int | float) or type(given).__name__ == "Decimal":
            number = float(str(given))
            try:
                found = guess_number(number) if self.params.time_format == "auto" else from_number(number, self.params.time_format)
            except (ValueError, KeyError):
                return None
            return found if FIRST <= found <= LAST else None
        return self._clock.read(str(given))

    def close(self) -> None:
        """Let go of the connections."""
        if hasattr(self, "_engine"):
            self._engine.dispose()


def _patience(backend: str) -> dict[str, Any]:
    """Options of the connection: a server that does not answer is not waited for, and nothing can be changed in it."""
    if backend == "postgresql":
        return {"connect_timeout": 5, "options": "-c statement_timeout=20000 -c DateStyle=ISO -c default_transaction_read_only=on"}
    return {"timeout": 5} if backend == "sqlite" else {}


def _times_as_text(connection: Any, _record: object) -> None:
    """Times that Python has not (infinity, before Christ) would have a row, and all behind it, never come through."""
    from psycopg.types.string import TextLoader

    for name in ("timestamptz", "timestamp", "date"):
        connection.adapters.register_loader(name, TextLoader)


def _plain(value: Any) -> Any:
    """A key as it can be stored as JSON and given to the database again."""
    if isinstance(value, str):
        return int(value) if value.lstrip("-").isdigit() else value
    return value if isinstance(value, int | float) else value.isoformat(sep=" ") if hasattr(value, "isoformat") else str(value)
