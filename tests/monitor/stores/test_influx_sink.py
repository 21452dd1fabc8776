"""The sink `influxdb`, against a real InfluxDB 1.6 and a real VictoriaMetrics: all arrives, in order, once, though the server goes away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from event_makers import UNIT, S, alarm, beat, events_of, hk, metric, noise, refused, unit_drafts
from tsdb_servers import Influx, Victoria, fetch, needs

from monitor.stores.influx import InfluxParams, InfluxSink
from monitor.stores.influxpoints import HK_CODES, KINDS
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import PAYLOADS, Draft, Event, Heartbeat, QADone, SinkGaveUp, draft
from quicklook.core.housekeeping import HkState
from quicklook.core.keys import Unit
from quicklook.core.results import QAResult
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.lineprotocol import line_of
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing import sinks
from quicklook.service.publishing.sinks import Feeder

influx_needed, victoria_needed = needs("influxd", "influxdb"), needs("victoria-metrics", "victoria-metrics")
NOW = 1_763_700_000 * S
NASTY = ("<script>", "a b,c=d", "\x1b[2J\n", "x" * 70_000, 'say "\\', "\u202e漢", "\ud800")


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    with Influx(tmp_path / "influx") as server:
        server.query("CREATE DATABASE quicklook")
        yield server


def opened(out: Path, **params: Any) -> InfluxSink:
    sink = InfluxSink(InfluxParams.model_validate({"timeout_s": 60.0, **params}))
    sink.check()
    sink.open(SinkContext(out=str(out)))
    return sink


def give(sink: InfluxSink, events: list[Event]) -> list[Draft]:
    out: list[Draft] = []
    for event in events:
        if event.kind in sink.kinds:
            out += sink.accept(event)
    return [*out, *sink.flush()]


@influx_needed
def test_all_that_is_said_of_an_exposure_can_be_asked_for(influx: Influx, tmp_path: Path) -> None:
    sink = opened(tmp_path, url=influx.url, tags={"site": "kpno"})
    events = events_of([*unit_drafts(values=[2.5, 5.0, None, 2.8], status=Status.ALARM), beat(), hk(HkState.VIOLATING), alarm("hot/ccd", "firing"), refused()], NOW)
    assert give(sink, events) == []
    assert give(sink, events) == [], "the same again is the same points"
    sink.close()
    where = "camera='r0' AND flavor='science' AND program='dark time' AND \"tag\"='live' AND site='kpno'"
    rows = influx.query(f"SELECT * FROM quicklook_metric WHERE metric='read_noise' AND {where}")
    assert len(rows) == 1
    assert rows[0]["time"] == next(e.time for e in events if e.kind == "qa")
    wanted = {"value": 2.8, "min": 2.5, "max": 5.0, "worst": 2.5, "n": 4, "unmeasured": 1, "status": 3, "normal_high": 3.0, "warning_high": 4.0, "expid": 7, "unit": "electron"}
    assert {k: rows[0].get(k) for k in wanted} == wanted
    rows = influx.query(f"SELECT value, status, amp FROM quicklook_element WHERE metric='read_noise' AND {where}")
    assert sorted((r["amp"], r["value"], r["status"]) for r in rows) == [("A", 2.5, 3), ("B", 5.0, 3), ("C", None, 1), ("D", 2.8, 3)]
    rows = influx.query("SELECT * FROM quicklook_element WHERE metric='arm_offset'")
    assert {r["at_camera"] for r in rows} == {"r0", "z0"}
    assert influx.query("SELECT status, status_name, measured, expected FROM quicklook_verdict WHERE camera='z0'")[0]["status_name"] == "ALARM"
    assert influx.query("SELECT seconds_to_verdict, seen_s FROM quicklook_latency WHERE camera=''")[0] | {"time": 0} == {
        "time": 0, "seconds_to_verdict": 2.5, "seen_s": 1.0,
    }  # fmt: skip
    assert influx.query("SELECT verdict_s FROM quicklook_latency WHERE camera='r0'")[0]["verdict_s"] == 2.0
    assert influx.query("SELECT waiting, memory_daemon_mb, latency_p95_s FROM quicklook_daemon")[0] | {"time": 0} == {
        "time": 0, "waiting": 3, "memory_daemon_mb": 80.0, "latency_p95_s": 3.0,
    }  # fmt: skip
    assert {r["sink"]: r["behind"] for r in influx.query("SELECT behind, sink FROM quicklook_sink")} == {"files": 0, "zmq": 4}
    found = influx.query("SELECT state, value, channel FROM quicklook_hk")[0]
    assert (found["time"], found["state"], found["value"], found["channel"]) == (1000 * S, 3, -150.0, "CCD_TEMP")
    assert influx.query("SELECT state, standing FROM quicklook_alarm WHERE rule='hot'")[0]["standing"] is True
    said = {(r["kind"], r["text"]) for r in influx.query("SELECT kind, text FROM quicklook_event")}
    assert said == {("decision", "call: y"), ("refused", "b.fits: it is cut off")}
    names = {r["name"] for r in influx.query("SHOW MEASUREMENTS")}
    assert names == {f"quicklook_{w}" for w in ("metric", "element", "qa", "step", "verdict", "exposure", "decision", "latency", "daemon", "sink", "hk", "alarm", "event")}


@influx_needed
def test_secrets_and_their_absence(tmp_path: Path) -> None:
    with Influx(tmp_path / "influx", auth=True) as server:
        server.query("CREATE USER ann WITH PASSWORD 'hunter2' WITH ALL PRIVILEGES")
        login = ("ann", "hunter2")
        events = events_of([beat()], NOW)
        sink = opened(tmp_path, url=server.url)
        with pytest.raises(Transient, match="401") as error:
            give(sink, events)
        assert "user" in error.value.what_next
        secret = tmp_path / "secret"
        secret.write_text("hunter2\n")
        secret.chmod(0o600)
        sink = opened(tmp_path, url=server.url, user="ann", password=f"file:{secret}")
        with pytest.raises(Transient, match="database not found") as error:
            give(sink, events)
        assert "CREATE DATABASE" in error.value.what_next
        server.query("CREATE DATABASE quicklook", login=login)
        assert sink.flush() == []
        assert len(server.query("SELECT * FROM quicklook_daemon", login=login)) == 1
        secret.chmod(0o644)
        with pytest.raises(BadConfig, match="can be read by others"):
            opened(tmp_path, url=server.url, user="ann", password=f"file:{secret}")


def outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Influx, away_s: float) -> None:
    """Events come all the time, one in 20 ms; the server is killed in the middle, and is back after so long."""
    monkeypatch.setattr(sinks, "_PAUSES_S", (0.2, 1.0))
    journal, stop = Journal(tmp_path / "j.sqlite", time.time_ns), threading.Event()
    sink = InfluxSink(InfluxParams(url=server.url, timeout_s=2.0))
    feeder = Feeder(journal, sink, SinkContext(out=str(tmp_path)), stop)
    thread = threading.Thread(target=feeder.run, kwargs={"rest_s": 5.0, "batch": 20})
    thread.start()
    written = 0

    def write(seconds: float) -> None:
        nonlocal written
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            written += 1
            journal.append([draft(Heartbeat(waiting=written, running=0, done=0, failed=0))])
            time.sleep(0.02)

    write(0.6)
    server.kill()
    write(away_s)
    server.start()
    write(0.6)
    end = time.monotonic() + 120
    while journal.position("influxdb") < journal.last_seq() and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    thread.join(60)
    rows = server.query("SELECT waiting FROM quicklook_daemon")
    assert [r["waiting"] for r in rows] == list(range(1, written + 1))
    times = [e.time for e in journal.events(0, limit=100_000) if e.kind == "heartbeat"]
    assert [r["time"] for r in rows] == times
    journal.close()


@influx_needed
def test_a_server_that_is_killed_and_comes_back_has_all_in_order_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, influx: Influx) -> None:
    outage(tmp_path, monkeypatch, influx, 1.5)


@pytest.mark.long
@influx_needed
def test_a_server_that_is_away_for_a_minute_has_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, influx: Influx) -> None:
    outage(tmp_path, monkeypatch, influx, 60.0)


@influx_needed
def test_lines_that_are_refused_cost_no_others_and_are_told(influx: Influx, tmp_path: Path) -> None:
    fetch(f"{influx.url}/write?db=quicklook", f'quicklook_sink,tag=live,sink=zmq behind="a text" {NOW}\n'.encode())
    sink = opened(tmp_path, url=influx.url)
    told = give(sink, events_of([beat(sinks={"a": 1, "zmq": 2, "b": 3})], NOW))
    assert [d.kind for d in told] == ["sink_gave_up"]
    said = SinkGaveUp.model_validate(told[0].payload)
    assert (said.name, said.seq) == ("influxdb", 1)
    assert "refuses 3 lines" in said.failure.message, "the type of a field is one for all its series"
    assert "type" in said.failure.message
    assert [r["waiting"] for r in influx.query("SELECT waiting FROM quicklook_daemon")] == [3]
    assert give(sink, events_of([*told], NOW)) == [], "that it was told is not written there: it might be refused, without end"


@influx_needed
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_hostile_names_are_stored_and_harm_nothing(influx: Influx, tmp_path: Path, text: str) -> None:
    sink = opened(tmp_path, url=influx.url)
    drafts = unit_drafts(UNIT)
    seen = drafts[0].model_copy(update={"payload": {**drafts[0].payload, "tags": {"flavor": text, "program": text}}})
    hostile = metric("read_noise", [1.0, 2.0], Status.NORMAL, amp=[text, "time"], time=["x"])
    qa = draft(QADone(**{**noise([1.0], Status.NORMAL).model_dump(), "metrics": [hostile]}), unit=UNIT, part=text)
    assert give(sink, [e for e in events_of([seen, qa, *drafts[1:]], NOW)]) == []
    rows = influx.query("SELECT value FROM quicklook_element WHERE metric='read_noise' AND time_='x'")
    assert sorted(r["value"] for r in rows) == [1.0, 2.0]


def shown(ask: Callable[[], list[dict[str, Any]]], n: int) -> list[dict[str, Any]]:
    """So many series: the server shows what it has after a second or more, and not all of it at once."""
    end = time.monotonic() + 120
    while len(found := ask()) < n and time.monotonic() < end:
        time.sleep(0.1)
    return found


@victoria_needed
@pytest.mark.parametrize("version", [1, 2])
def test_victoria_metrics_takes_both_paths(tmp_path: Path, version: int) -> None:
    token = tmp_path / "token"
    token.write_text("any")
    token.chmod(0o600)
    with Victoria(tmp_path / "vm") as server:
        given = {"version": 2, "org": "o", "bucket": "b", "token": f"file:{token}"} if version == 2 else {}
        sink = opened(tmp_path, url=server.url, **given)
        now = time.time_ns()
        assert give(sink, events_of([*unit_drafts(values=[2.5, 5.0, None, 2.8]), beat()], now)) == []
        found = shown(lambda: server.query('quicklook_element_value{metric="read_noise",camera="r0"}', now / 1e9 + 1), 3)
        assert {r["metric"]["amp"]: float(r["value"][1]) for r in found} == {"A": 2.5, "B": 5.0, "D": 2.8}
        (series,) = shown(lambda: server.export('quicklook_metric_status{metric="read_noise",camera="z0"}'), 1)
        assert series["values"] == [0]
        assert abs(series["timestamps"][0] - now / 1e6) < 1000
        (waiting,) = shown(lambda: server.query("quicklook_daemon_waiting", now / 1e9 + 1), 1)
        assert float(waiting["value"][1]) == 3


def test_series_are_bounded(tmp_path: Path) -> None:
    sink = opened(tmp_path, most_values=10)
    for i in range(40):
        unit = Unit(20251120, i)
        drafts = unit_drafts(unit)
        seen = drafts[0].model_copy(update={"payload": {**drafts[0].payload, "tags": {"flavor": f"f{i}", "program": f"p{i}"}}})
        made = metric("line_flux", [1.0], None, line=[4000.0 + i])
        for event in events_of([seen, draft(QADone(**QAResult(name="q", step="s", group="g", status=None, seconds=0, metrics=[made]).model_dump()), unit=unit, part="r0")], NOW):
            sink.accept(event)
    points = sink._gathered
    assert len({p.tags["flavor"] for p in points}) == 11
    assert len({p.tags["line"] for p in points if "line" in p.tags}) == 10
    assert sum(p.measurement == "quicklook_metric" for p in points) == 40


def test_many_values_are_a_summary_and_few_are_told(tmp_path: Path) -> None:
    sink = opened(tmp_path, elements=4)
    many = metric("flux", [float(i) for i in range(5)], Status.NORMAL, fiber=list(range(5)))
    qa = QAResult(name="q", step="s", group="g", status=None, seconds=0, metrics=[many, metric("empty", [], None, amp=[])])
    sink.accept(events_of([draft(QADone(**qa.model_dump()), unit=UNIT, part="r0")], NOW)[0])
    assert [p.measurement for p in sink._gathered] == ["quicklook_qa", "quicklook_metric", "quicklook_metric"]
    assert sink._gathered[1].fields["value"] == 2.0
    statistics = metric("hk_temperature", [-150.0, -1.0, 20.0, 0.1, 5.0, 6.0], None, channel=["T1", "T2", "T3"], statistic=["mean", "rms"])
    sink._gathered.clear()
    sink.accept(events_of([draft(QADone(**{**qa.model_dump(), "metrics": [statistics]}), unit=UNIT)], NOW)[0])
    found = {(p.tags["channel"], p.tags["statistic"]): p.fields["value"] for p in sink._gathered if p.measurement == "quicklook_element"}
    assert len(found) == 6
    assert found["T2", "mean"] == 20.0


def test_a_restart_knows_the_flavor(tmp_path: Path) -> None:
    first, *rest = events_of(unit_drafts(), NOW)
    opened(tmp_path).accept(first)
    sink = opened(tmp_path, time="exposure")
    for event in rest:
        sink.accept(event)
    assert {p.tags["flavor"] for p in sink._gathered} == {"science"}
    assert {p.time_ns for p in sink._gathered if "latency" in p.measurement} == {1_763_676_000 * S}
    (tmp_path / "influxdb-units.json").write_text("[garbage")
    sink = opened(tmp_path)
    sink.accept(rest[0])
    assert "flavor=" not in line_of(sink._gathered[0])


def test_every_kind_becomes_points_or_is_left_out_on_purpose() -> None:
    left_out = {"seen", "started", "plots", "plot", "plots_skipped", "product", "session", "mutes"}
    assert set(PAYLOADS) - left_out - {"report"} <= set(KINDS) <= set(PAYLOADS)
    assert set(HK_CODES) == set(HkState)
    assert {s for s, code in HK_CODES.items() if code == 0} == {HkState.NORMAL, HkState.OFF}


@pytest.mark.parametrize("params", [{"url": "http://u:hunter2@x"}, {"password": "hunter2", "user": "u"}, {"token": "hunter2"}, {"version": 2}, {"database": ""}])
def test_parameters_that_cannot_be(params: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as error:
        opened(tmp_path, **params)
    assert "hunter2" not in json.dumps([str(error.value), error.value.what_next])
