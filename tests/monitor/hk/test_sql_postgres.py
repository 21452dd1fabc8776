"""The SQL source with a real PostgreSQL: rows of all kinds, a server that is killed and comes back, a watch that goes on over it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hk_tools import WHY
from pgserver import PgServer

from monitor.hk.monitor import HkMonitor
from quicklook.core.document import Document

START = 1577836800.0
TABLE = "CREATE TABLE hk (id serial PRIMARY KEY, at timestamptz, name text, value text)"
HOSTILE = [
    (None, "t", "1"), ("infinity", "t", "1"), ("0001-01-01 00:00:00 BC", "t", "1"), ("2020-01-01 00:00:03+00", None, "4"),
    ("2020-01-01 00:00:04+00", "t", "NaN"), ("2020-01-01 00:00:05+00", "t", "x" * 100_000), ("2020-01-01 00:00:06+00", "é\u202e☃" * 100, "1"),
    ("2020-01-01 00:00:07+00", "t", None), ("2020-01-01 00:00:08+00", "t", "1e400"), ("2020-01-01 00:00:09+00", "t", "'; DROP TABLE hk; --"),
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[PgServer]:
    made = PgServer()
    yield made
    made.close()


def rows(server: PgServer, *values: tuple[Any, ...], table: str = "") -> None:
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        if table:
            connection.execute("DROP TABLE IF EXISTS hk")
            connection.execute(table)
        for value in values:
            connection.execute("INSERT INTO hk (at, name, value) VALUES (%s, %s, %s)", value)


def config(server: PgServer) -> Document:
    query = "SELECT id, at, name, value FROM hk WHERE id > :after ORDER BY id LIMIT :limit"
    params = {"url": server.url, "query": query, "key": "id", "time": "at", "channel": "name", "limit": 4}
    limit = {"name": "high", "channels": "t", "performance": [None, 100], **WHY}
    return Document.from_data({"sources": {"db": {"plugin": "sql", "params": params}}, "limits": [limit]}, "x")


def test_a_server_that_is_killed_and_comes_back_and_a_restart(server: PgServer, tmp_path: Path) -> None:
    rows(server, *((f"2020-01-01 00:00:{i:02d}+00", "t", str(i)) for i in range(6)), table=TABLE)
    watch = HkMonitor().watch(config(server), tmp_path / "hk.db", START)
    assert not [c for c in watch.turn(START + 6) if c.kind == "source"]
    server.stop(signal.SIGQUIT)
    said = [(c.subject, str(c.state)) for t in (7, 8) for c in watch.turn(START + t) if c.kind == "source"]
    assert said == [("source:db/works", "VIOLATING")], "told once"
    server.start()
    rows(server, ("2020-01-01 00:00:09+00", "t", "500"))
    said = [(c.subject, str(c.state)) for c in watch.turn(START + 9) if c.kind == "source" or c.told]
    assert said == [("source:db/works", "NORMAL"), ("t/high", "VIOLATING")]
    watch.close()
    rows(server, ("2020-01-01 00:00:10+00", "t", "7"))
    watch = HkMonitor().watch(config(server), tmp_path / "hk.db", START + 10)
    assert [str(c.state) for c in watch.turn(START + 10) if c.subject == "t/high" and c.time > START + 9] == ["NORMAL"]
    assert watch.store.read(["t"], 0, 2e9)["t"][1].tolist() == [0, 1, 2, 3, 4, 5, 500, 7], "each row once"
    watch.close()


def test_rows_that_nobody_would_write(server: PgServer, tmp_path: Path) -> None:
    rows(server, *HOSTILE, ("2020-01-01 00:00:20+00", "t", "3"), table=TABLE)
    watch = HkMonitor().watch(config(server), tmp_path / "hk.db", START)
    found = [c for t in (21, 22, 23) for c in watch.turn(START + t)]
    assert [c for c in found if c.kind == "source" or c.state == "VIOLATING"] == []
    times, values = watch.store.read(["t"], 0, 2e9)["t"]
    assert (times[-1], values[-1]) == (START + 20, 3.0), "what is sound comes through"
    assert sum(f.count for f in watch.faults()) >= 3
    rows(server, ("2020-01-01 00:00:30+00", "t", "4"))
    watch.turn(START + 31)
    assert watch.store.read(["t"], 0, 2e9)["t"][1][-1] == 4.0
    watch.close()
