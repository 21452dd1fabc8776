"""The sink `prometheus`: what it shows, to whom, and that a real Prometheus takes it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
from event_makers import UNIT, S, alarm, beat, events_of, hk, metric, noise, unit_drafts
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain
from tsdb_servers import Prometheus, fetch, needs

from monitor.hk.store import HkStore
from monitor.stores import prometheus, prometheustext
from monitor.stores.prometheus import PrometheusParams, PrometheusSink
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Draft, Event, JobFailed, MutesChanged, PartVerdict, QADone, draft
from quicklook.core.housekeeping import Batch, HkState
from quicklook.core.keys import Unit
from quicklook.core.results import Failure, QAResult
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status

LATER = Unit(20251120, 8)
FAILURE = Failure(error="BadData", message="x", what_next="y")
Series = dict[tuple[str, ...], float]


class Site:
    """A sink with a small journal of its own."""

    def __init__(self, out: Path, **params: Any) -> None:
        self.out, self.params, self.seq = out, params, 0
        self.start()

    def start(self, epoch: str = "e") -> None:
        self.sink = PrometheusSink(PrometheusParams.model_validate({"port": 0, **self.params}))
        self.sink.check()
        self.sink.open(SinkContext(out=str(self.out), epoch=epoch))

    def give(self, *drafts: Draft, age_s: float = 0.0) -> list[Event]:
        events = events_of(list(drafts), time.time_ns() - round(age_s * S) - len(drafts) * 1_000_000, first=self.seq + 1)
        self.seq += len(drafts)
        self.take(events)
        return events

    def take(self, events: list[Event]) -> None:
        for event in events:
            if event.kind in self.sink.kinds:
                self.sink.accept(event)
        self.sink.flush()

    def text(self, **headers: str) -> str:
        return fetch(f"http://{self.sink.address}/metrics", headers=headers).decode()

    def series(self, name: str, *labels: str) -> Series:
        """Values by the values of these labels."""
        families = {f.name: f for f in read_plain(self.text())}
        found = families.get(f"quicklook_{name}")
        return {} if found is None else {tuple(s.labels[x] for x in labels): s.value for s in found.samples}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.sink.close()


def test_what_was_said_last_is_shown(site: Site) -> None:
    assert site.series("up") == {(): 0.0}, "no daemon was heard of"
    site.give(*unit_drafts(values=[2.5, 5.0, 4.0], status=Status.WARNING), beat(sinks={"alarms": 0, "zmq": 7}), hk(HkState.VIOLATING), alarm("hot/a", "firing"))
    assert site.series("up") == {(): 1.0}
    assert 0 <= site.series("heartbeat_age_seconds")[()] < 60
    assert site.series("cameras", "state") == {("waiting",): 3.0, ("running",): 1.0, ("done",): 5.0, ("failed",): 1.0}
    assert site.series("verdict_latency_seconds", "quantile") == {("0.5",): 1.5, ("0.95",): 3.0}
    assert site.series("sink_behind_events", "sink") == {("alarms",): 0.0, ("zmq",): 7.0}
    assert site.series("memory_bytes", "process") == {("daemon",): 8e7}
    assert site.series("verdict_severity", "camera") == {("r0",): 2.0, ("z0",): 2.0}
    assert site.series("metric", "camera", "metric", "element", "unit")["r0", "read_noise", "median", "electron"] == 4.0
    assert site.series("metric", "camera", "metric", "element", "unit")["r0", "good_fibers", "", ""] == 2.5
    assert site.series("metric_severity", "camera", "metric")["z0", "read_noise"] == 2.0
    assert ("", "arm_offset") not in site.series("metric_severity", "camera", "metric"), "what has no limit has no status"
    assert site.series("decision", "decision") == {("go_on",): 0.0, ("repeat",): 0.0, ("stop",): 0.0, ("call",): 1.0}
    assert site.series("exposure_number")[()] == 7
    assert site.series("alarms", "state", "severity")["firing", "ALARM"] == 1.0
    assert site.series("hk_state", "subject", "channel") == {("CCD_TEMP/range", "CCD_TEMP"): 3.0}
    assert site.series("hk_watched", "state")[("VIOLATING",)] == 1.0
    families = {f.name: f for f in read_openmetrics(site.text(Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5"))}
    assert {s.labels["status"]: s.value for s in families["quicklook_exposures"].samples} == {"ALARM": 0, "WARNING": 1, "UNKNOWN": 0, "NORMAL": 0}


def test_what_is_not_known_never_looks_normal(site: Site) -> None:
    site.give(*unit_drafts())
    assert site.series("metric_severity", "camera", "metric")["r0", "read_noise"] == 0.0
    failed = QAResult(name="read_noise", step="read", group="CCDs", status=Status.UNKNOWN, seconds=0, failure=FAILURE)
    lost = QAResult(name="lost", step="read", group="CCDs", status=Status.UNKNOWN, seconds=0, metrics=[metric("x", [None], Status.UNKNOWN)])
    site.give(*(draft(QADone(**q.model_dump()), unit=LATER, part="r0") for q in (failed, lost)))
    values, judged = site.series("metric", "camera", "metric", "qa"), site.series("metric_severity", "camera", "metric", "qa")
    assert np.isnan(values["r0", "x", "lost"])
    assert judged["r0", "x", "lost"] == 1.0
    site.give(draft(QADone(**noise([2.5], Status.NORMAL).model_dump()), unit=LATER, part="r0"))
    again = QAResult(**{**failed.model_dump(), "name": noise([1.0], None).name})
    site.give(draft(QADone(**again.model_dump()), unit=LATER, part="r0"))
    assert judged.keys() & {("r0", "read_noise", "read_noise")}
    assert site.series("metric_severity", "camera", "metric")["r0", "read_noise"] == 1.0
    assert np.isnan(site.series("metric", "camera", "metric")["r0", "read_noise"])
    site.give(draft(JobFailed(attempts=4, failure=FAILURE), unit=LATER, part="z0"))
    assert site.series("verdict_severity", "camera")[("z0",)] == 1.0
    assert not any(camera == "z0" for camera, _ in site.series("metric", "camera", "metric"))


def test_a_camera_that_did_not_come_is_unknown(site: Site) -> None:
    first = unit_drafts()
    site.give(*first)
    later = unit_drafts(LATER, cameras=("r0",))
    later[-3] = later[-3].model_copy(update={"payload": {**later[-3].payload, "missing": ["z0"]}})
    site.give(*later)
    assert site.series("verdict_severity", "camera") == {("r0",): 0.0, ("z0",): 1.0}
    assert site.series("exposure_cameras", "which") == {("cameras",): 1.0, ("missing",): 1.0}


def test_backlog_does_not_take_the_place_of_what_is_newer(site: Site) -> None:
    site.give(*unit_drafts(LATER, status=Status.ALARM))
    site.give(*unit_drafts(UNIT))
    assert site.series("verdict_severity", "camera") == {("r0",): 3.0, ("z0",): 3.0}
    assert site.series("exposure_number")[()] == 8
    assert site.series("exposures", "status")[("NORMAL",)] == 1.0


def test_what_is_old_vanishes_and_a_silent_daemon_has_no_state(site: Site) -> None:
    site.give(*unit_drafts(), age_s=25 * 3600)
    site.give(hk(HkState.NORMAL), beat(), age_s=30)
    assert site.series("verdict_severity") == site.series("metric") == site.series("exposure_severity") == {}
    assert site.series("up") == {(): 0.0}
    assert site.series("heartbeat_age_seconds")[()] == pytest.approx(30, abs=5)
    assert site.series("cameras") == site.series("workers") == {}
    assert site.series("hk_state", "subject") == {("CCD_TEMP/range",): 2.0}
    assert site.series("hk_watched", "state")[("NORMAL",)] == 0.0


def test_alarms_come_and_go_and_nobody_says_none_who_does_not_know(site: Site) -> None:
    site.give(beat(sinks={"zmq": 0}))
    assert site.series("alarms", "state", "severity") == {}
    site.give(beat(sinks={"alarms": 0}))
    assert set(site.series("alarms", "state", "severity").values()) == {0.0}
    site.give(alarm("hot/a", "firing"), alarm("hot/b", "acknowledged", Severity.WARNING), draft(MutesChanged(mutes=[])))
    found = site.series("alarms", "state", "severity")
    assert (found["firing", "ALARM"], found["acknowledged", "WARNING"], sum(found.values())) == (1.0, 1.0, 2.0)
    assert site.series("mutes") == {(): 0.0}
    site.give(alarm("hot/a", "resolved"), alarm("hot/b", "closed"))
    assert sum(site.series("alarms", "state", "severity").values()) == 0.0


def test_a_restart_forgets_nothing_and_counts_nothing_twice(site: Site) -> None:
    events = site.give(*unit_drafts(), beat(sinks={"alarms": 0}), hk(HkState.STALE), alarm("hot/a", "firing"))
    before = [line for line in site.text().splitlines() if "age" not in line]
    site.sink.close()
    site.start()
    site.take(events)
    assert [line for line in site.text().splitlines() if "age" not in line] == before
    site.sink.close()
    site.start(epoch="another")
    assert site.series("verdict_severity") == {}


def test_overrides_and_other_tags(site: Site) -> None:
    drafts = unit_drafts()
    site.give(*drafts, *(d.model_copy(update={"tag": "again", "payload": {**d.payload, "status": "ALARM"}}) for d in drafts if d.kind == "verdict"))
    assert site.series("verdict_severity", "camera") == {("r0",): 0.0, ("z0",): 0.0}
    over = drafts[-3].model_copy(update={"revision": 1, "payload": {**drafts[-3].payload, "revision": 1, "parts": {"r0": "ALARM", "z0": "NORMAL"}}})
    site.give(over)
    assert site.series("verdict_severity", "camera") == {("r0",): 3.0, ("z0",): 0.0}
    assert sum(site.series("exposures", "status").values()) == 1.0


def test_elements_where_they_are_wanted_and_labels_are_bounded(tmp_path: Path) -> None:
    site = Site(tmp_path, elements=4, most_values=10)
    site.give(*unit_drafts())
    assert site.series("metric", "camera", "metric", "element")["r0", "read_noise", "amp=B"] == 2.6
    site.give(*(draft(PartVerdict(status=Status.NORMAL, reasons=[], measured=1, expected=1, seconds=0), unit=UNIT, part=f"c{i}") for i in range(50)))
    assert len(site.series("verdict_severity", "camera")) == 10
    made = metric("hk_temperature", [-150.0, -1.0, 20.0, 0.1, 5.0, 6.0], None, channel=["T1", "T2", "T3"], statistic=["mean", "rms"])
    site.give(draft(QADone(**QAResult(name="hk", step="unit", group="g", status=None, seconds=0, metrics=[made]).model_dump()), unit=UNIT))
    assert site.series("metric", "metric", "element")["hk_temperature", "channel=T2,statistic=mean"] == 20.0
    site.sink.close()


def test_last_values_of_housekeeping(tmp_path: Path) -> None:
    (tmp_path / "hk.yaml").write_text(
        "defaults: {fill: [999999]}\nsources: {s: {plugin: text, params: {path: x.txt}}}\n"
        "channels:\n  - {name: TEMP, unit: degC, plausible: [-200, 100]}\n  - {name: BAD, unit: K}\n  - {name: OLD, unit: K}\n"
    )
    store = HkStore(tmp_path / "hk.sqlite", writing=True)
    now = time.time()
    times = np.array([now - 5, now - 1])
    store.append("s", [Batch(source="s", times=times, channels=("TEMP", "BAD"), values=np.array([[-150.0, 1.0], [-151.5, 999999]]))], {})
    store.append("s", [Batch(source="s", times=np.array([now - 1000]), channels=("OLD",), values=np.array([[3.0]]))], {})
    store.close()
    site = Site(tmp_path, housekeeping=str(tmp_path / "hk.yaml"))
    found = site.series("hk_value", "channel")
    site.sink.close()
    assert found[("TEMP",)] == -151.5
    assert np.isnan(found[("BAD",)])
    assert set(found) == {("TEMP",), ("BAD",)}


# ---- who asks


def code(site: Site, path: str = "/metrics", **headers: str) -> int:
    try:
        fetch(f"http://{site.sink.address}{path}", headers=headers)
    except HTTPError as error:
        return error.code
    return 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/../../etc/passwd", "/%2e%2e/etc/passwd", "/metricsx"])
def test_there_is_nothing_else_there(site: Site, path: str) -> None:
    assert code(site, path) == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "telescope.example", ""])
def test_off_the_loopback_needs_a_token(host: str) -> None:
    with pytest.raises(BadConfig, match="loopback"):
        PrometheusSink(PrometheusParams(host=host)).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens_without_asking_for_the_name_of_the_host(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("a name was looked for"))
    site = Site(tmp_path, host=host)
    assert site.series("up") == {(): 0.0}
    site.sink.close()


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hunter2hunter2")
    with pytest.raises(BadConfig, match="can be read by others"):
        Site(tmp_path, token=f"file:{secret}")
    with pytest.raises(BadConfig) as error:
        Site(tmp_path, token="hunter2")
    assert "hunter2" not in str(error.value)
    secret.chmod(0o600)
    site = Site(tmp_path, token=f"file:{secret}")
    said = [code(site), code(site, Authorization="Bearer x"), code(site, Authorization="Bearer é"), code(site, Authorization="Bearer hunter2hunter2")]
    site.sink.close()
    assert said == [401, 401, 401, 200]


def test_garbage_and_those_who_say_nothing_keep_nobody_waiting(site: Site) -> None:
    host, _, port = site.sink.address.rpartition(":")
    held = [socket.create_connection((host, int(port))) for _ in range(30)]
    for sent in (b"\x00\xff" * 100, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n"):
        with socket.create_connection((host, int(port))) as one:
            one.sendall(sent)
    for one in held:
        one.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert "quicklook_up" in site.text(Accept="\x7f;;;version=x,application/openmetrics-text;version=")
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("it does not answer any more")


def test_those_who_ask_very_slowly_are_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "_DEADLINE_S", 0.4)
    host, _, port = site.sink.address.rpartition(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(8)]
    end, answered = time.monotonic() + 60, False
    while not answered and time.monotonic() < end:
        for one in slow:
            with contextlib.suppress(OSError):
                one.sendall(b"G")  # never silent for as long as a socket waits
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            answered = "quicklook_up" in site.text()
    for one in slow:
        one.close()
    assert answered


@pytest.mark.parametrize("text", ['a"b\\', "line\nquicklook_up 1", "\x1b[2J", "漢😀", "x" * 10_000])
def test_hostile_names_stay_labels(site: Site, text: str) -> None:
    site.give(draft(PartVerdict(status=Status.ALARM, reasons=[text], measured=1, expected=1, seconds=0), unit=UNIT, part=text))
    site.give(draft(QADone(**{**noise([1.0], Status.NORMAL).model_dump(), "name": text}), unit=UNIT, part=text), hk(HkState.NORMAL, channel=text))
    assert list(site.series("verdict_severity", "camera").values()) == [3.0]
    assert site.series("up") == {(): 0.0}
    assert "\x1b" not in site.text()
    list(read_openmetrics(site.text(Accept="application/openmetrics-text")))


def test_files_and_ports_that_cannot_be(site: Site, tmp_path: Path) -> None:
    port = int(site.sink.address.rpartition(":")[2])
    with pytest.raises(Transient, match="cannot be listened at"):
        Site(tmp_path / "other", port=port)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/prometheus.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(BadConfig, match="Prometheus"):
        Site(tmp_path / "bad")


# ---- the real one


@needs("prometheus", "prometheus")
def test_a_real_prometheus_scrapes_it(scraper: Prometheus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, port=scraper.jobs["sink"])
    monkeypatch.setattr(prometheustext, "SILENT_S", 300.0)  # as long as the test may take
    site.give(*unit_drafts(values=[None, 5.0, 4.0], status=Status.UNKNOWN), beat(), hk(HkState.NORMAL))

    def ask(series: str, *labels: str) -> set[tuple[str, ...]]:
        """These labels and the value of what it has; a scrape that a busy machine is too slow for leaves nothing until the next one."""
        found = scraper.query(series.replace("{", '{job="sink",', 1))
        return {(*(r["metric"][label] for label in labels), r["value"][1]) for r in found}

    def until(wanted: set[tuple[str, ...]], series: str, *labels: str) -> bool:
        end = time.monotonic() + 60
        while (holds := ask(series, *labels) == wanted) is False and time.monotonic() < end:
            time.sleep(0.1)
        return holds

    assert until({("1",)}, "up{}"), "it reads all of it"
    assert until({("r0", "1"), ("z0", "1")}, "quicklook_verdict_severity{}", "camera")
    assert until({("NaN",)}, 'quicklook_metric{camera="r0",metric="good_fibers"}')
    assert until({("read_noise", "1"), ("good_fibers", "1")}, "quicklook_metric_severity{} > 0", "metric")
    assert until({("1",)}, "quicklook_up{}")
    site.give(draft(JobFailed(attempts=1, failure=FAILURE), unit=LATER, part="z0"))
    assert until({("r0", "2")}, 'count by (camera) (quicklook_metric{camera!=""})', "camera"), "of z0 nothing is known any more"
    site.give(beat(), age_s=1000)
    assert until({("0",)}, "quicklook_up{}")
    assert until({("2",)}, "quicklook_hk_state{}")
    assert until(set(), "quicklook_workers{}")
    site.sink.close()


@pytest.mark.long
@needs("prometheus", "prometheus")
def test_a_prometheus_that_is_away_for_a_minute_knows_how_many_exposures_there_were(tmp_path: Path) -> None:
    with Prometheus(tmp_path / "prometheus", "sink") as server:
        site = Site(tmp_path, port=server.jobs["sink"])

        def until(wanted: float) -> float:
            found, end = -1.0, time.monotonic() + 30
            while found != wanted and time.monotonic() < end:
                time.sleep(0.2)
                found = next((float(r["value"][1]) for r in server.query("sum(quicklook_exposures_total)")), -1.0)
            return found

        site.give(*unit_drafts(UNIT))
        assert until(1.0) == 1.0
        server.kill()
        for number in range(8, 13):
            site.give(*unit_drafts(Unit(20251120, number)))
            time.sleep(12.0)
        server.start()
        assert until(6.0) == 6.0
        assert server.query("max_over_time(quicklook_exposure_number[10m]) - min_over_time(quicklook_exposure_number[10m])")[0]["value"][1] == "5"
        site.sink.close()
