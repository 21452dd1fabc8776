"""The Grafana dashboard that is shipped: every query in it is asked of real servers that have been given a small night, and gets an answer."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from event_makers import S, alarm, beat, events_of, hk, refused, unit_drafts
from tsdb_servers import Influx, Prometheus, needs

from monitor.stores import prometheus as module
from monitor.stores import prometheustext
from monitor.stores.influx import InfluxParams, InfluxSink
from monitor.stores.prometheus import PrometheusParams, PrometheusSink
from quicklook.core.events import DiskRoom, Draft, MutesChanged, draft
from quicklook.core.housekeeping import HkState
from quicklook.core.sink import Sink, SinkContext
from quicklook.core.status import Status

VARIABLES = {"metric": "read_noise", "camera": "r0|z0", "channel": "CCD_TEMP"}


@pytest.fixture(scope="module")
def dashboard(repo_root: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((repo_root / "configs/grafana/quicklook.json").read_text())
    return made


def filled(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(f"${name}", f"({value})" if "/^" in query else value)
    return query.replace("$timeFilter", "time > 0")


def targets(dashboard: dict[str, Any], word: str) -> list[tuple[str, str]]:
    """Title of the panel and query, of all that ask in `expr` or in `query`."""
    return [(p["title"], filled(t[word])) for p in dashboard["panels"] for t in p.get("targets", []) if word in t]


def night() -> list[Draft]:
    whole = beat(sinks={"alarms": 0, "zmq": 4})
    room = draft(DiskRoom(path="/", free_gb=1, total_gb=2, status=Status.WARNING, what_next="x"))
    return [*unit_drafts(status=Status.WARNING), whole, hk(HkState.VIOLATING), alarm("hot/a", "firing"), draft(MutesChanged(mutes=[])), room, refused()]


def give(sink: Sink[Any], out: Path) -> None:
    sink.open(SinkContext(out=str(out), epoch="e"))
    for event in events_of(night(), time.time_ns() - S):
        if event.kind in sink.kinds:
            sink.accept(event)
    sink.flush()


def test_it_is_a_dashboard(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    known = {v["name"] for v in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps([panels, dashboard["annotations"]])))
    assert used - {"timeFilter", "tag_camera", "tag_metric", "tag_amp", "tag_step", "tag_channel", "tag_key", "col"} <= known


@needs("prometheus", "prometheus")
def test_every_query_of_prometheus_finds_something(scraper: Prometheus, dashboard: dict[str, Any], repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheustext, "SILENT_S", 300.0)  # as long as the test may take
    monkeypatch.setattr(module.Channels, "values", lambda self: {"CCD_TEMP": ("deg_C", -150.0)})
    sink = PrometheusSink(PrometheusParams(port=scraper.jobs["dashboard"]))
    give(sink, tmp_path)
    variables = [re.fullmatch(r"label_values\((\w+), (\w+)\)", v["definition"]) for v in dashboard["templating"]["list"] if v["type"] == "query"]
    asked = targets(dashboard, "expr") + [("variable", f'{v[1]}{{{v[2]}!=""}}') for v in variables if v]
    assert len(asked) > 25
    end = time.monotonic() + 60
    # after a scrape for which a busy machine was too slow there is nothing until the next one
    while (empty := [(title, query) for title, query in asked if not scraper.query(query)]) and time.monotonic() < end:
        time.sleep(0.1)
    rules = re.findall(r'expr: "([^"]+)"', (repo_root / "docs/how-to/grafana.md").read_text())
    assert len(rules) > 4
    while "quicklook_verdict_severity > 0" not in (firing := {rule for rule in rules if scraper.query(rule)}) and time.monotonic() < end:
        time.sleep(0.1)
    sink.close()
    assert empty == []
    assert "quicklook_verdict_severity > 0" in firing
    assert not any("quicklook_up" in rule for rule in firing)


@needs("influxd", "influxdb")
def test_every_query_of_influxdb_finds_something(dashboard: dict[str, Any], tmp_path: Path) -> None:
    asked = targets(dashboard, "query") + [(a["name"], filled(a["query"])) for a in dashboard["annotations"]["list"]]
    assert len(asked) > 7
    with Influx(tmp_path / "influx") as server:
        server.query("CREATE DATABASE quicklook")
        sink = InfluxSink(InfluxParams(url=server.url))
        give(sink, tmp_path)
        sink.close()
        empty = [(title, query) for title, query in asked if not server.query(query)]
    assert empty == []
