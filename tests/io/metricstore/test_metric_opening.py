"""Opening a store: made, brought up to date, refused, by one process or several at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pgserver import PgServer
from store_events import Told, exposure

from quicklook.core.errors import BadConfig, NotReadyYet, Transient
from quicklook.io import sqlite as sqlite_use
from quicklook.io.database import make_engine
from quicklook.io.metricstore import MetricStore
from quicklook.io.metricstore.opening import HEAD, name_of, open_store, upgrade
from quicklook.io.metricstore.place import StorePlace
from quicklook.io.metricstore.tables import METADATA, VERSION_TABLE
from quicklook.io.metricstore.writing import Writer


def version(engine: sa.Engine) -> str:
    with engine.execution_options(reading=True).connect() as connection:
        return str(connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar())


def test_the_steps_make_the_tables_that_the_program_knows(url: str) -> None:
    engine = open_store(url, to_read=False)
    with engine.execution_options(reading=True).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_server_default": False})
        assert compare_metadata(context, METADATA) == []
    assert version(engine) == HEAD
    engine.dispose()


def test_an_older_store_is_brought_up_to_date_with_what_it_has(url: str) -> None:
    old = make_engine(url, "store")
    with old.begin() as connection:
        upgrade(connection, "0001")
        connection.execute(sa.text("INSERT INTO quicklook_metrics (digest, name, unit) VALUES ('d', 'read_noise', 'electron')"))
    with pytest.raises(BadConfig, match="tables of version 0001"):
        MetricStore(url)
    engine = open_store(url, to_read=False)
    with MetricStore(url) as store:
        assert [(i.name, i.unit) for i in store.metrics()] == [("read_noise", "electron")]
        assert store.recorded() == []
    Writer(engine).write(exposure(Told(), 7))
    with engine.execution_options(reading=True).connect() as connection:
        shown = connection.execute(sa.text("SELECT camera, value, status FROM quicklook_history WHERE metric = 'dead_fibers'")).all()
    assert [tuple(row) for row in shown] == [("r0", 7.0, "")]
    engine.dispose()
    old.dispose()


def test_a_store_whose_tables_are_the_same_is_read_as_it_is(url: str) -> None:
    old = make_engine(url, "store")
    with old.begin() as connection:
        upgrade(connection, "0003")
        # four doubles as they were written then
        connection.execute(sa.text("INSERT INTO quicklook_metrics (digest, name, unit, dims) VALUES ('d', 'level', 'adu', 'amp')"))
        connection.execute(sa.text("INSERT INTO quicklook_axes (digest, coords) VALUES ('a', '{\"amp\": [\"A\", \"B\"]}')"))
        connection.execute(sa.text("INSERT INTO quicklook_qas (digest, name) VALUES ('q', 'level')"))
        made = "INSERT INTO quicklook_results (night, expid, revision, time_ns, metrics_last) VALUES (20220101, 7, 0, 5, true)"
        connection.execute(sa.text(made))
        blob = sa.text("INSERT INTO quicklook_values (metric, time_ns, result, qa, axes, n, elements) VALUES (1, 5, 1, 1, 1, 2, :blob)")
        connection.execute(blob, {"blob": b"\0" + np.array([7.0, 8.0]).tobytes()})
    with MetricStore(url) as store:
        assert store.query("level")["value"].tolist() == [7.0, 8.0]
    assert version(old) == "0003", "who reads changes nothing"
    open_store(url, to_read=False).dispose()
    assert version(old) == HEAD
    with MetricStore(url) as store:
        assert store.query("level")["value"].tolist() == [7.0, 8.0]
    old.dispose()


def test_a_newer_store_is_refused_and_left_as_it_is(url: str) -> None:
    engine = open_store(url, to_read=False)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))
    for to_read in (True, False):
        with pytest.raises(BadConfig, match=r"version 0999, this program knows") as refused:
            open_store(url, to_read=to_read)
        assert "newer program" in refused.value.what_next
    assert version(engine) == "0999"
    engine.dispose()


_OPENS = """
import sys
from quicklook.io.metricstore.opening import open_store
print("ready", flush=True)
sys.stdin.readline()
open_store(sys.argv[1], to_read=False).dispose()
"""


def test_processes_that_open_a_new_store_at_once_make_it_once(url: str) -> None:
    command = [sys.executable, "-c", _OPENS, url]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [p.stdout.readline() for p in started if p.stdout] == ["ready\n"] * 3
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=250)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    engine = make_engine(url, "store")
    assert version(engine) == HEAD
    engine.dispose()


def test_a_new_file_that_others_open_too_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    answers = iter([busy, busy, None, busy])

    class Cursor:
        def execute(self, _text: str) -> None:
            if (error := next(answers)) is not None:
                raise error

    sqlite_use._use_write_ahead(Cursor())
    monkeypatch.setattr(sqlite_use, "_NEW_S", -1.0)
    with pytest.raises(sqlite3.OperationalError):
        sqlite_use._use_write_ahead(Cursor())


def test_where_there_is_none_reading_makes_none(url: str) -> None:
    with pytest.raises(NotReadyYet, match="there is no store yet") as none:
        MetricStore(url)
    assert "--rebuild" in none.value.what_next


@pytest.mark.parametrize("content", [b"text " * 400, b"SQLite format 3\0" + b"\xff" * 2000])
def test_what_is_no_store_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.sqlite"
    path.write_bytes(content)
    for to_read in (True, False):
        with pytest.raises(BadConfig, match="cannot be used"):
            open_store(str(path), to_read=to_read)
    assert path.read_bytes() == content


def test_a_database_of_somebody_else_keeps_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("INSERT INTO mine VALUES (1)")
    other.close()
    open_store(str(path), to_read=False).dispose()
    again = sqlite3.connect(path)
    assert again.execute("SELECT x FROM mine").fetchall() == [(1,)]
    again.close()


@pytest.mark.parametrize("url", ["mysql://h/x", "://x", "", "postgresql://h:port/x", "sqlite:////dev/null/x.sqlite"])
def test_addresses_that_cannot_be_used(url: str) -> None:
    with pytest.raises(BadConfig):
        open_store(url, to_read=False)


def test_a_server_that_is_away_is_waited_for(pg_server: PgServer) -> None:
    with pytest.raises(Transient, match="cannot be used now"):
        open_store(f"postgresql://ql@127.0.0.1:1/x{pg_server.port}", to_read=False)


def test_passwords_stand_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    secret = "hunter2-very-secret"
    for wrong in ({"url": f"postgresql://ql:{secret}@h/x"}, {"url": "postgresql://ql@h/x", "password": secret}):
        with pytest.raises(BadConfig, match="stands in the configuration") as refused:
            StorePlace(**wrong).check()
        assert secret not in f"{refused.value} {refused.value.what_next}"
    server = PgServer(secret)
    try:
        (tmp_path / "password").write_text(f"{secret}\n")
        (tmp_path / "password").chmod(0o600)
        monkeypatch.setenv("QL_STORE", server.url.replace("ql@", f"ql:{secret}@"))
        places = [StorePlace(url=server.url, password=f"file:{tmp_path}/password"), StorePlace(url="env:QL_STORE")]
        for place in places:
            place.check()
            engine = open_store(place.address(tmp_path), to_read=False)
            assert secret not in f"{place!r} {name_of(engine)}"
            engine.dispose()
        with pytest.raises(Transient) as refused:
            open_store(server.url.replace("ql@", "ql:wrong-secret@"), to_read=False)
        assert "wrong-secret" not in str(refused.value)
        server.stop()
        with pytest.raises(Transient) as away:
            open_store(places[1].address(tmp_path), to_read=False)
        assert secret not in f"{away.value} {caplog.text}"
    finally:
        server.close()


@pytest.mark.long
def test_the_steps_are_in_the_wheel(tmp_path: Path, repo_root: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(repo_root)]
    subprocess.run(command, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    steps = [n for n in names if n.startswith("quicklook/io/metricstore/migrations/")]
    assert {"quicklook/io/metricstore/migrations/env.py", "quicklook/io/metricstore/migrations/versions/s0001_results.py"} <= set(steps)
