"""What scripts record: into SQLite, a real PostgreSQL and a real InfluxDB, with the same calls."""

from __future__ import annotations

import math
import os
import re
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pgserver import PgServer
from tsdb_servers import Influx, fetch, needs

from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.metrics import MetricStore, Monitor

NOW = 1_700_000_000.25
TAGS = {"wafer": "w13", "band": 90}


@pytest.fixture(scope="module")
def server() -> Iterator[PgServer]:
    made = PgServer()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "m.sqlite") if request.param == "sqlite" else request.getfixturevalue("server").url


def test_values_are_queued_written_and_found(url: str) -> None:
    with Monitor.from_configs({"sql": {"url": url}}) as monitor, MetricStore(url) as store:
        log = f"log{time.time_ns()}"
        assert not monitor.check("noise", "obs_1", TAGS, log)
        monitor.record("noise", [1.5, math.nan, math.inf], [NOW, NOW + 1, NOW + 2], TAGS, "detectors", log, {"observation": "obs_1", **TAGS})
        assert monitor.check("noise", "obs_1", TAGS, log), "what waits to be written is known"
        monitor.record("yield", 0.9, datetime.fromtimestamp(NOW, UTC), {**TAGS, "band": 150}, "detectors")
        assert (monitor.waiting, monitor.write(), monitor.waiting, monitor.write()) == (4, 4, 0, 0)
        found = store.query("detectors.noise where wafer = w13")
        assert found["time_ns"].tolist() == [1_700_000_000_250_000_000 + i * 10**9 for i in range(3)]
        assert (found["value"][0], math.isnan(found["value"][1]), found["value"][2]) == (1.5, True, math.inf)
        assert found["band"].tolist() == ["90"] * 3
        assert store.query("detectors.noise where value > 1 and band = 90", limit=1)["value"].tolist() == [math.inf]
        assert len(store.query("detectors.noise where band = 150")) == 0
        assert store.query("detectors.noise where time > 2023-11-14T22:13:21.5 and value > 0")["value"].tolist() == [math.inf]
        assert {(r.measurement, r.field) for r in store.recorded()} >= {("detectors", "noise"), ("detectors", "yield")}


def test_what_has_been_computed_is_known_to_another_process(url: str) -> None:
    log = f"log{time.time_ns()}"
    with Monitor.from_configs({"sql": {"url": url}}) as first:
        first.record("noise", 1.0, NOW, {}, "m", log, {"observation": "o'1", "wafer": 'w"1'})
        first.write()
    with Monitor.from_configs({"sql": {"url": url}}) as second:
        assert second.check("noise", "o'1", {"wafer": 'w"1'}, log)
        assert second.check("noise", "o'1", {}, log)
        assert second.check("noise", "o'1", None, log)
        others = [("knee", "o'1", {}), ("noise", "o2", {}), ("noise", "o'1", {"wafer": "w2"}), ("noise", "o'1", {"band": 90})]
        assert not any(second.check(*other, log) for other in others)
        assert not second.check("noise", "o'1", {}, f"{log}x")


def test_recorded_twice_it_is_there_once(url: str) -> None:
    with Monitor.from_configs({"sql": {"url": url}}) as monitor, MetricStore(url) as store:
        name = f"m{time.time_ns()}"
        for value in (1.0, 2.0):
            monitor.record("x", [value, 3.0], [NOW, NOW + 1], [{"a": 1}, {"a": 2}], name)
        monitor.write()
        monitor.record("x", 4.0, NOW, {"a": 1}, name)
        monitor.write()
        assert store.query(f"{name}.x")["value"].tolist() == [4.0, 3.0]


def test_nights_of_what_has_none_are_by_the_time(url: str) -> None:
    with Monitor.from_configs({"sql": {"url": url}}) as monitor, MetricStore(url) as store:
        days = [datetime(2023, 11, day, 3, tzinfo=UTC) for day in (12, 13, 14, 15, 16)]
        monitor.record("x", [12, 13, 14, 15, 16], days, {}, "by_night")
        monitor.write()
        assert store.query("by_night.x", since=20231114, until="2023-11-14")["value"].tolist() == [14, 15], "the night ends in the morning"
        assert store.query("by_night.x", since="2023-11-15T00:00")["value"].tolist() == [15, 16]
        assert store.query("by_night.x", until="2023-11-13T03:00")["value"].tolist() == [12, 13]


def test_strange_names_are_kept(url: str) -> None:
    strange = {"time": "noon", "night": "20220101", "status": "fine", "<script>": "'; DROP TABLE quicklook_points; --", "ü\0": "\u2028\udcff", "": "x" * 3000}
    with Monitor.from_configs({"sql": {"url": url}}) as monitor, MetricStore(url) as store:
        monitor.record("a b'\0", np.float32(1.5), np.datetime64("2023-01-01T00:00"), strange, "m m")
        monitor.write()
        found = store.history("m m.a b'\ufffd")
        assert found["value"].tolist() == [1.5]
        assert len(store.history("m m.a b'\ufffd", "time = noon and night = 20220101 and status = fine and value > 1")) == 1, "tags have any name"
        assert found["<script>"].tolist() == ["'; DROP TABLE quicklook_points; --"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": [1.0, 2.0], "timestamps": [NOW] * 3}, "do not belong together"),
        ({"values": [1.0, 2.0], "tags": [{}] * 3}, "do not belong together"),
        ({"values": [], "timestamps": [NOW, NOW]}, "do not belong together"),
        ({"values": "text"}, "values are numbers"),
        ({"values": [[1.0]]}, "one number or a list"),
        ({"timestamps": "yesterday"}, "is no time"),
        ({"timestamps": math.nan}, "is no time"),
        ({"timestamps": 1e300}, "beyond the years"),
        ({"field": ""}, "needs a field"),
        ({"measurement": "a.b"}, "without a point"),
        ({"log_tags": {"wafer": 1}}, "no observation"),
    ],
)
def test_what_does_not_belong_together_is_refused_and_nothing_is_kept(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"field": "x", "values": 1.0, "timestamps": NOW, "tags": {}, "measurement": "m"}
    with Monitor.from_configs({"sql": {"url": str(tmp_path / "m.sqlite")}}) as monitor:
        with pytest.raises(BadData, match=said):
            monitor.record(**{**given, **change})
        assert monitor.waiting == 0


def test_nothing_at_all_is_nothing(tmp_path: Path) -> None:
    with Monitor.from_configs({"sql": {"url": str(tmp_path / "m.sqlite")}}) as monitor:
        monitor.record("x", [], [], {}, "m", log_tags={"observation": "empty"})
        assert (monitor.waiting, monitor.write()) == (0, 0)
        assert monitor.check("x", "empty"), "that there was nothing has been found out"


def test_configurations(tmp_path: Path) -> None:
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump({"sql": {"url": "mine.sqlite"}}))
    Monitor.from_configs(path).close()
    assert (tmp_path / "mine.sqlite").is_file(), "relative to the configuration"
    for wrong, said in (({}, "say one of"), ({"sql": {}, "influxdb": {}}, "say one of"), ({"sql": {"uri": "x"}}, "url"), ({"influxdb": {}}, "database")):
        path.write_text(yaml.safe_dump(wrong))
        with pytest.raises(BadConfig, match=said):
            Monitor.from_configs(path)
    with pytest.raises(BadConfig, match="stands in the configuration"):
        Monitor.from_configs({"sql": {"url": "postgresql://a:secret@h/x"}})


def test_a_server_that_is_away_keeps_what_waits(server: PgServer) -> None:
    name = f"m{time.time_ns()}"
    with Monitor.from_configs({"sql": {"url": server.url}}) as monitor:
        monitor.record("x", 1.0, NOW, {}, name, log_tags={"observation": name})
        server.stop()
        with pytest.raises(Transient):
            monitor.write()
        with pytest.raises(Transient):
            monitor.check("y", name)
        monitor.record("x", 2.0, NOW + 1, {}, name)
        server.start()
        assert monitor.write() == 2
        assert monitor.check("x", name)
    with MetricStore(server.url) as store:
        assert store.query(f"{name}.x")["value"].tolist() == [1.0, 2.0]


@needs("influxd", "influxdb")
def test_into_influxdb(tmp_path: Path) -> None:
    with Influx(tmp_path / "influx") as influx:
        influx.query("CREATE DATABASE mine")
        config = {"influxdb": {"url": influx.url, "database": "mine"}}
        with Monitor.from_configs(config) as monitor:
            tags = {"wafer": "w 1,=", "quote": "it's \"so\""}
            monitor.record("noise", [1.5, math.nan, 2.5], [NOW, NOW + 1, NOW + 2], tags, "detectors", log_tags={"observation": "o'1", **tags})
            assert monitor.write() == 3
            assert monitor.check("noise", "o'1", tags)
            assert monitor.check("noise", "o'1")
            assert not monitor.check("noise", "o'1", {**tags, "wafer": "other"})
            assert not monitor.check("knee", "o'1", tags)
            assert not monitor.check("noise", "' OR '1' = '1")
            found = influx.query("SELECT noise, wafer FROM detectors", db="mine")
            assert [(row["noise"], row["wafer"], row["time"]) for row in found] == [
                (1.5, "w 1,=", 1_700_000_000_250_000_000), (2.5, "w 1,=", 1_700_000_002_250_000_000),
            ]  # fmt: skip
            influx.kill()
            with pytest.raises(Transient):
                monitor.check("noise", "o'1")
            monitor.record("noise", 3.5, NOW + 3, tags, "detectors")
            with pytest.raises(Transient):
                monitor.write()
            assert monitor.waiting == 1
            influx.start()
            assert monitor.write() == 1
        with Monitor.from_configs(config) as monitor:
            fetch(f"{influx.url}/write?db=mine", f'detectors knee="a text" {int(NOW)}000000000\n'.encode())
            monitor.record("knee", 4.5, NOW, tags, "detectors")
            monitor.record("noise", [5.5, 6.5], [NOW + 4, NOW + 5], tags, "detectors")
            with pytest.raises(BadData, match="refuses 1 lines for good, as detectors.* knee=4.5"):
                monitor.write()
            assert monitor.waiting == 0, "what is refused is told once"
            assert len(influx.query("SELECT noise FROM detectors", db="mine")) == 5, "and it costs no others"
        elsewhere = Monitor.from_configs({"influxdb": {"url": influx.url, "database": "not_there"}})
        with elsewhere, pytest.raises(BadData, match="database not found"):
            elsewhere.check("noise", "o")


def test_the_script_of_the_how_to_runs_as_it_is_written(tmp_path: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (repo_root / "docs/how-to/query-metrics.md").read_text()
    script = textwrap.dedent(re.search(r"(    from quicklook\.metrics import Monitor\n.*?)\n\n(?=\S)", text, re.DOTALL)[1])  # type: ignore[index]
    (tmp_path / "monitor.yaml").write_text(re.search(r"# ({sql: .*?}})", script)[1])  # type: ignore[index]
    monkeypatch.chdir(tmp_path)
    for noise in ([1.0, 2.0], [5.0, 6.0]):  # the second time it has been computed already
        exec(script, {"noise": np.array(noise), "times": np.array([NOW, NOW + 1])})
    asked = re.search(r'`quicklook query "(detectors[^"]+)"`', text)
    assert asked is not None
    with MetricStore("metrics.sqlite") as store:
        assert store.query(asked[1])["value"].tolist() == [1.0, 2.0]


@needs("influxd", "influxdb")
def test_a_script_of_the_simons_observatory_runs_as_it_is(tmp_path: Path) -> None:
    """Calls and configuration as its documentation has them, on a log that its own program has begun."""
    with Influx(tmp_path / "influx", auth=True) as influx:
        influx.query("CREATE USER monitor WITH PASSWORD 'crepe' WITH ALL PRIVILEGES")
        login = ("monitor", "crepe")
        influx.query("CREATE DATABASE pipeline", login=login)
        line = b"obs_process_log,observation=obs_1,wafer=w1 white_noise_level=1\nobs_process_log,telescope=SAT1 bound=1\n"
        fetch(f"{influx.url}/write?db=pipeline&u=monitor&p=crepe", line)
        path = tmp_path / "monitor.yaml"
        config = {"host": "127.0.0.1", "port": str(influx.port), "database": "pipeline", "username": "monitor", "password": "crepe", "path": "", "ssl": False}
        path.write_text(yaml.safe_dump(config))
        monitor = Monitor.from_configs(str(path))
        assert monitor.check("white_noise_level", "obs_1", {"wafer": "w1"})
        assert not monitor.check("white_noise_level", "obs_1", {"wafer": "w2"})
        values = np.array([10.0, 11.0])
        tag_list = [{"telescope": "SAT1", "wafer": "w2", "detector": f"d{i}"} for i in range(2)]
        log_tags = {"observation": "obs_1", "wafer": "w2"}
        monitor.record("white_noise_level", values, np.ones(2) * NOW, tag_list, "detector_stats", log_tags=log_tags)
        monitor.record("bound", [3], [NOW], [{"telescope": "SAT1"}], "books", log_tags={})
        assert monitor.write() == 3
        assert monitor.check("white_noise_level", "obs_1", tags={"wafer": "w2"})
        found = influx.query("SELECT white_noise_level, detector FROM detector_stats", db="pipeline", login=login)
        assert [(row["white_noise_level"], row["detector"]) for row in found] == [(10.0, "d0"), (11.0, "d1")]
        assert [row["bound"] for row in influx.query("SELECT bound FROM books", db="pipeline", login=login)] == [3.0]
        monitor.close()
    with pytest.raises(BadConfig, match="database"):
        Monitor.from_configs({"host": "h"})
    for wrong in ({"host": "a b", "database": "d"}, {"host": "h/x", "port": 0, "database": "d", "user": "x"}, {"host": "u:secret@h", "database": "d"}):
        with pytest.raises(BadConfig) as refused:
            Monitor.from_configs(wrong)
        assert "secret" not in str(refused.value)


def test_a_secret_of_influxdb_is_in_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "QL_TOKEN", "top-secret")
    config = {"influxdb": {"url": "http://127.0.0.1:1", "version": 2, "org": "o", "bucket": "b", "database": "d", "token": "env:QL_TOKEN"}}
    with Monitor.from_configs(config) as monitor:
        monitor.record("x", 1.0, NOW, {}, "m")
        for ask in (monitor.write, lambda: monitor.check("x", "o")):
            with pytest.raises(Transient) as away:
                ask()
            assert "top-secret" not in str(away.value)
