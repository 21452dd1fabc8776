"""The other sources: FITS tables, headers of frames, databases, ZeroMQ, HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
import zmq

from monitor.hk.sources.fits_table import FitsTableParams, FitsTableSource
from monitor.hk.sources.headers import HeaderParams, HeaderSource
from monitor.hk.sources.http_push import HttpParams, HttpSource
from monitor.hk.sources.sql import SqlParams, SqlSource
from monitor.hk.sources.zmq_lines import ZmqParams, ZmqSource
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import HkSource, SourceContext, Taken

MISSING = frozenset(["", "n/a", "nan"])
START = 1577836800.0  # 2020-01-01


@pytest.fixture(autouse=True)
def _search_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.hk.sources.files._SHARE", 0)


def opened(source: HkSource[Any], positions: dict[str, str] | None = None) -> HkSource[Any]:
    source.open(SourceContext(source="s", positions=positions or {}, missing=MISSING))
    return source


def drained(source: HkSource[Any]) -> tuple[Taken, dict[str, str]]:
    """All that is there, as one; and all positions."""
    parts: list[Taken] = []
    positions: dict[str, str] = {}
    for _ in range(50):
        parts.append(source.take("s", START + 1e6))
        positions |= parts[-1].positions
        if not parts[-1].more:
            break
    return Taken(batches=tuple(b for p in parts for b in p.batches), faults=tuple(f for p in parts for f in p.faults), failed=parts[-1].failed), positions


def samples(taken: Taken) -> dict[str, list[tuple[float, object]]]:
    out: dict[str, list[tuple[float, object]]] = {}
    for b in taken.batches:
        for i, name in enumerate(b.channels):
            out.setdefault(name, []).extend(zip(b.times.tolist(), b.values[:, i].tolist(), strict=True))
        for name, words in b.texts.items():
            out.setdefault(name, []).extend(zip(b.times.tolist(), words, strict=True))
    return out


# FITS tables


def write_table(path: Path, n: int, start: int = 0) -> None:
    mjd = 58849.0 + np.arange(start, start + n) / 1440
    data = {"mjd": mjd, "t": np.arange(start, start + n, dtype="f4"), "n": np.full(n, 999999), "w": np.array(["open", "N/A"] * n)[:n], "v": np.zeros((n, 2))}
    with fitsio.FITS(str(path), "rw", clobber=True) as f:
        f.write(data)


def test_fits_table_and_what_is_added_to_it(tmp_path: Path) -> None:
    path = tmp_path / "t.fits"
    write_table(path, 3)
    source = opened(FitsTableSource(FitsTableParams(path=str(path), time="mjd", time_format="mjd", scan_s=1e-6)))
    taken, positions = drained(source)
    found = samples(taken)
    assert found["t"] == [(START, 0.0), (pytest.approx(START + 60), 1.0), (pytest.approx(START + 120), 2.0)]
    assert [v for _, v in found["w"]] == ["open", None, "open"]
    assert found["n"][0][1] == 999999
    assert {"v[0]", "v[1]"} <= found.keys()
    assert not drained(source)[0].batches
    write_table(path, 5)
    later = opened(FitsTableSource(FitsTableParams(path=str(path), time="mjd", time_format="mjd", scan_s=1e-6)), positions)
    assert [v for _, v in samples(drained(later)[0])["t"]] == [3.0, 4.0]


def test_broken_fits_tables_are_faults_and_the_next_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(b"not a FITS file at all" * 300)
    write_table(tmp_path / "b.fits", 2)
    whole = (tmp_path / "b.fits").read_bytes()
    (tmp_path / "c.fits").write_bytes(whole[:-2860])
    fitsio.write(str(tmp_path / "d.fits"), np.zeros((4, 4)))
    source = opened(FitsTableSource(FitsTableParams(path=str(tmp_path / "*.fits"), scan_s=1e-6)))
    taken, _ = drained(source)
    assert len(samples(taken)["t"]) == 2
    assert {Path(f.where).name for f in taken.faults} == {"a.fits", "d.fits"}  # c is not complete: it is waited for
    assert not drained(source)[0].faults


# headers


def test_keywords_of_frames_by_extension(tmp_path: Path) -> None:
    with fitsio.FITS(str(tmp_path / "f.fits"), "rw") as f:
        f.write(None, header={"DATE-OBS": "2020-01-01T00:00:10", "DOMETEMP": 4.5, "OBSERVER": "x"})
        f.write(np.zeros((2, 2), dtype="i2"), extname="R0", header={"DETTEMP": -140.0, "SHUTTER": "open"})
        f.write(np.zeros((2, 2), dtype="i2"), extname="B0", header={"DETTEMP": -163.5, "DATE-OBS": "2020-01-01T00:00:20"})
    (tmp_path / "g.fits").write_bytes(b"SIMPLE  = garbage")
    source = opened(HeaderSource(HeaderParams(path=str(tmp_path / "*.fits"), keywords=("*TEMP", "SHUTTER"), scan_s=1e-6)))
    taken, positions = drained(source)
    assert samples(taken) == {
        "DOMETEMP": [(START + 10, 4.5)],
        "R0.DETTEMP": [(START + 10, -140.0)],
        "R0.SHUTTER": [(START + 10, "open")],
        "B0.DETTEMP": [(START + 20, -163.5)],
    }
    assert str(tmp_path / "f.fits") in positions
    assert not drained(source)[0].batches


# databases


def test_sql_goes_on_after_the_last_key(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE hk (id INTEGER PRIMARY KEY, time REAL, name TEXT, value TEXT)")
        db.executemany("INSERT INTO hk (time, name, value) VALUES (?, ?, ?)", [(START + i // 2, "ab"[i % 2], str(i)) for i in range(10)])
    query = "SELECT id, time, name, value FROM hk WHERE id > :after ORDER BY id LIMIT :limit"
    params = SqlParams(url=f"sqlite:///{path}", query=query, key="id", channel="name", limit=4)
    taken, positions = drained(opened(SqlSource(params)))
    assert samples(taken) == {"a": [(START + i, 2.0 * i) for i in range(5)], "b": [(START + i, 2.0 * i + 1) for i in range(5)]}
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO hk (time, name, value) VALUES (?, 'a', 'broken')", (START + 10,))
        db.execute("INSERT INTO hk (time, name, value) VALUES (?, 'a', '7')", (START + 11,))
    again = opened(SqlSource(params), positions)
    taken, _ = drained(again)
    np.testing.assert_array_equal([v for _, v in samples(taken)["a"]], [np.nan, 7.0])
    assert "'broken'" in taken.faults[0].message
    again.close()


def test_sql_with_a_column_a_channel_and_a_database_that_is_away(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    params = SqlParams(url=f"sqlite:///{path}", query="SELECT time, a, b FROM hk WHERE time > :after ORDER BY time")
    source = opened(SqlSource(params))
    assert "no such table" in source.take("s", 0).failed
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE hk (time REAL, a REAL, b TEXT)")
        db.execute("INSERT INTO hk VALUES (?, 1.5, 'on')", (START,))
    assert samples(drained(source)[0]) == {"a": [(START, 1.5)], "b": [(START, "on")]}
    source.close()


def test_sql_refuses_what_it_cannot_go_on_with(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    for url, query, password in (
        ("", "", ""), ("sqlite://", "SELECT 1", ""), ("nothing://x", ":after", ""), ("env:HK_NO_URL", ":after", ""),
        ("postgresql://ann:hunter2@h/x", ":after", ""), ("postgresql://ann@h/x", ":after", "hunter2"), ("postgresql://ann@h/x", ":after", f"file:{secret}"),
    ):  # fmt: skip
        with pytest.raises(BadConfig) as refused:
            opened(SqlSource(SqlParams(url=url, query=query, password=password)))
        assert "hunter2" not in str(refused.value)


def test_sql_takes_its_address_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE hk (time REAL, a REAL)")
        db.execute("INSERT INTO hk VALUES (?, 1.5)", (START,))
    monkeypatch.setenv("HK_URL", f"sqlite:///{path}")
    source = opened(SqlSource(SqlParams(url="env:HK_URL", query="SELECT time, a FROM hk WHERE time > :after ORDER BY time")))
    assert samples(drained(source)[0]) == {"a": [(START, 1.5)]}
    source.close()


# ZeroMQ


def test_json_lines_over_zeromq_and_garbage_between(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/hk"
    source = opened(ZmqSource(ZmqParams(address=address, bind=True)))
    sender: Any = zmq.Context.instance().socket(zmq.PUB)
    sender.connect(address)
    try:
        found: dict[str, list[tuple[float, object]]] = {}
        faults: dict[str, int] = {}
        end = time.monotonic() + 60
        n = 0
        while len(found.get("c.t", [])) < 20 and time.monotonic() < end:
            for line in ({"time": START + n, "values": {"c": {"t": n}, "w": "ok"}}, {"time": START + n, "channel": "x", "value": n}):
                sender.send_multipart([b"hk", json.dumps(line).encode()])
            for junk in (b"\xff\xfe", b"{", b"[1]", b"{}", b'{"time": "never", "a": 1}', b'{"a": [1]}', b"[" * 100000, b'{"time": 5e9, "a": 1}'):
                sender.send_multipart([b"hk", junk])
            n += 1
            time.sleep(0.01)
            taken = source.take("s", START + 100)
            for name, each in samples(taken).items():
                found.setdefault(name, []).extend(each)
            for fault in taken.faults:
                faults[fault.message[:40]] = faults.get(fault.message[:40], 0) + fault.count
        assert {"c.t", "w", "x"} == found.keys()
        assert all(t - START == v for t, v in found["c.t"])
        assert len(faults) >= 6
    finally:
        sender.close(0)
        source.close()


def test_zeromq_wants_an_address() -> None:
    for address in ("", "tcp:/nowhere"):
        with pytest.raises(BadConfig):
            opened(ZmqSource(ZmqParams(address=address)))


# HTTP


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[HttpSource]:
    """Bears with senders as long as its parameter says, s, else so long that those of a busy machine are not cut off."""
    monkeypatch.setenv("HK_TOKEN", "secret")
    source = HttpSource(HttpParams(port=0, token_env="HK_TOKEN", max_kb=8, max_connections=4, max_s=getattr(request, "param", 60.0)))
    opened(source)
    yield source
    source.close()


def post(source: HttpSource, body: bytes, path: str = "/hk", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=60)
    connection.request("POST", path, body, {"Authorization": "Bearer secret", **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def test_samples_are_pushed(server: HttpSource) -> None:
    lines = b"\n".join(json.dumps({"time": START + i, "a": i, "w": "on"}).encode() for i in range(5))
    assert post(server, lines) == 204
    found = samples(server.take("s", START))
    assert [v for _, v in found["a"]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found["w"][0] == (START, "on")


def test_what_is_refused_is_counted_and_stops_nothing(server: HttpSource) -> None:
    assert post(server, b'{"a": 1}', Authorization="Bearer wrong") == 401
    assert post(server, b'{"a": 1}', path="/other") == 404
    assert post(server, b"x" * 9000) == 413
    assert post(server, b"garbage\n{}") == 400
    for raw in (b"\x16\x03\x01 nonsense\r\n\r\n", b"POST /hk HTTP/1.1\r\nAuthorization: Bearer secret\r\n\r\n", b"POST /hk HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"GET " + b"a" * 70000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                s.recv(1000)
    taken = server.take("s", START)
    assert not taken.batches
    assert sum(f.count for f in taken.faults if "refused" in f.message) >= 6
    assert "secret" not in str(taken)
    assert post(server, b'{"a": 1}') == 204


@pytest.mark.parametrize("server", [0.5], indirect=True)
def test_slow_senders_are_cut_off_and_hold_nobody_up(server: HttpSource) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(4)]
    for s in slow:
        s.sendall(b"POST /hk HTTP/1.1\r\nX: ")
    time.sleep(0.2)
    deadline, status = time.monotonic() + 60, 0
    while status != 204 and time.monotonic() < deadline:
        for s in slow:
            try:
                s.sendall(b"a")
            except OSError:
                continue
        server.take("s", START)
        try:
            status = post(server, b'{"a": 1}')
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    assert status == 204
    for s in slow:
        s.close()


def test_an_open_address_wants_a_token(tmp_path: Path) -> None:
    for params in (HttpParams(host="0.0.0.0", port=0), HttpParams(token_env="HK_NO_TOKEN"), HttpParams(token_file=str(tmp_path / "none"))):
        with pytest.raises(BadConfig):
            opened(HttpSource(params))
