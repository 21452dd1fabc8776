"""What Prometheus is shown: gauges of what was said last. Of what is not known any more there is no series; what was not measured is NaN."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from monitor.stores.influxpoints import HK_CODES
from monitor.stores.labels import Bounds
from monitor.stores.lastthings import LastThings, Thing
from monitor.stores.prometheusfold import ALARM, BEAT, COUNT, DECISION, DISK, EXPOSURE, HK, LATENCY, MUTES, QA, VERDICT
from quicklook.core.decision import Decision
from quicklook.core.housekeeping import HkState
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.io.lineprotocol import name_of

SILENT_S = 15.0
"""A daemon that lives says something every 5 s."""
STALE = HK_CODES[HkState.STALE]
_STATES = ("pending", "firing", "acknowledged", "muted")
_CODES = "NORMAL 0, UNKNOWN 1, WARNING 2, ALARM 3"
Sample = tuple[Mapping[str, str], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to show, and how: what was said last, so long kept (s), series told apart by so many values, last values of channels by name."""

    last: LastThings
    keep_s: float
    bounds: Bounds
    version: str
    now_ns: Callable[[], int]
    channels: Callable[[], Mapping[str, tuple[str, float]]]


class Shown(Collector):
    """The families of metrics, made anew at every look."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        now = self._look.now_ns()
        beat = self._look.last.get(BEAT)
        age = math.inf if beat is None else max(0.0, (now - beat.time) / 1e9)
        yield self._family("build_info", "Version of what is running.", [({"version": self._look.version}, 1.0)])
        yield self._family("up", "1 where the daemon gave a sign of life in the last 15 s.", [({}, float(age <= SILENT_S))])
        yield self._family("heartbeat_age_seconds", "Time since the last sign of life.", [({}, None if beat is None else age)])
        if beat is not None and age <= SILENT_S:
            yield from self._daemon(beat.body)
        yield from self._exposures(now)
        yield from self._metrics(now)
        yield from self._alarms(beat)
        yield from self._housekeeping(silent=age > SILENT_S)

    def _family(self, name: str, doc: str, samples: Sequence[Sample], kind: str = "gauge") -> Metric:
        family = Metric(f"quicklook_{name}", doc, kind)
        suffix = "_total" if kind == "counter" else ""
        for labels, value in samples:
            clean = {k: name_of(v) for k, v in labels.items()}
            if all(self._look.bounds.admits(f"{name}[{k}]", v) for k, v in clean.items()):
                family.add_sample(f"{family.name}{suffix}", clean, math.nan if value is None else float(value))
        return family

    def _daemon(self, beat: Mapping[str, Any]) -> Iterator[Metric]:
        cameras = [({"state": state}, beat[state]) for state in ("waiting", "running", "done", "failed")]
        yield self._family("cameras", "Cameras of exposures by the state of the work on them.", cameras)
        yield self._family("workers", "Workers that are warm.", [({}, beat["workers"])])
        yield self._family("arriving_files", "Raw files that are noticed and not taken yet.", [({}, beat["arriving"])])
        latency = [({"quantile": q}, beat["latency_s"][name]) for q, name in (("0.5", "median"), ("0.95", "p95")) if name in beat["latency_s"]]
        yield self._family("verdict_latency_seconds", "From the last byte to the verdict, over the last exposures.", latency)
        yield self._family("memory_bytes", "Memory in use.", [({"process": name}, mb * 1e6) for name, mb in beat["memory_mb"].items()])
        if beat["disk_free_gb"] is not None:
            yield self._family("disk_free_bytes", "Room for results.", [({}, beat["disk_free_gb"] * 1e9)])
        disk = self._look.last.get(DISK)
        if disk is not None:
            yield self._family("disk_severity", f"Whether there is room for results: {_CODES}.", [({}, disk.body["severity"])])
        behind = [({"sink": name}, n) for name, n in beat["sinks"].items()]
        yield self._family("sink_behind_events", "Events that a sink has not taken yet.", behind)
        trouble = [({"what": what}, float(bool(beat[f"{what}_trouble"]))) for what in ("raw", "work")]
        yield self._family("trouble", "1 where raw files are not seen though they may come, or work is not handed out.", trouble)

    def _fresh(self, kind: str, now: int) -> dict[str, Thing]:
        return {name: thing for name, thing in sorted(self._look.last.of(kind).items()) if (now - thing.time) / 1e9 < self._look.keep_s}

    def _exposures(self, now: int) -> Iterator[Metric]:
        verdicts = self._fresh(VERDICT, now)
        yield self._family("verdict_severity", f"Verdict of each camera's last exposure: {_CODES}.", _each(verdicts, "camera", "severity"))
        yield self._family("verdict_measured", "QAs that have measured, of each camera's last exposure.", _each(verdicts, "camera", "measured"))
        yield self._family("verdict_expected", "QAs that should have measured.", _each(verdicts, "camera", "expected"))
        yield self._family("verdict_time_seconds", "When it was given, Unix time.", [({"camera": n}, t.time / 1e9) for n, t in verdicts.items()])
        for thing in self._fresh(EXPOSURE, now).values():
            body = thing.body
            yield self._family("exposure_severity", f"Verdict of the last exposure: {_CODES}.", [({"flavor": body["flavor"]}, body["severity"])])
            yield self._family("exposure_number", "Number of the last exposure.", [({}, body["expid"])])
            yield self._family("exposure_time_seconds", "When its verdict was given, Unix time.", [({}, thing.time / 1e9)])
            counts: list[Sample] = [({"which": which}, body[which]) for which in ("cameras", "missing")]
            yield self._family("exposure_cameras", "Cameras of the last exposure that have a verdict, and that did not come.", counts)
        for thing in self._fresh(DECISION, now).values():
            each: list[Sample] = [({"decision": str(d)}, float(thing.body["decision"] == d)) for d in Decision]
            yield self._family("decision", "1 for what is to be done after the last exposure.", each)
        for thing in self._fresh(LATENCY, now).values():
            yield self._family("exposure_seconds_to_verdict", "Of the last exposure, from its last byte.", [({}, thing.body["seconds"])])
        counted = self._look.last.of(COUNT)
        if counted:
            done: list[Sample] = [({"status": str(s)}, counted[s].body["n"] if s in counted else 0) for s in Status]
            yield self._family("exposures", "Exposures that were concluded, by verdict.", done, "counter")

    def _metrics(self, now: int) -> Iterator[Metric]:
        values: list[Sample] = []
        judged: list[Sample] = []
        for name, thing in self._fresh(QA, now).items():
            camera, _, qa = name.partition("/")
            for metric, told in thing.body["metrics"].items():
                labels = {"camera": camera, "qa": qa, "metric": metric}
                values += [({**labels, "unit": told["unit"], "element": at}, value) for at, value in told["values"].items()]
                if told["severity"] is not None:
                    judged.append((labels, told["severity"]))
        yield self._family("metric", "Last value; of many values the median. NaN: it was not measured.", values)
        yield self._family("metric_severity", f"Status of the last value: {_CODES}. What has no limit has none.", judged)

    def _alarms(self, beat: Thing | None) -> Iterator[Metric]:
        alarms = self._look.last.of(ALARM)
        if alarms or (beat is not None and "alarms" in beat.body["sinks"]):  # without the sink of alarms nobody knows of any
            n = Counter((t.body["state"], t.body["severity"]) for t in alarms.values())
            severities = [s for s in Severity if s.rank]
            each: list[Sample] = [({"state": state, "severity": str(s)}, n[state, str(s)]) for state in _STATES for s in severities]
            yield self._family("alarms", "Alarms that stand.", each)
        mutes = self._look.last.get(MUTES)
        if mutes is not None:
            yield self._family("mutes", "Mutes that stand.", [({}, mutes.body["n"])])

    def _housekeeping(self, *, silent: bool) -> Iterator[Metric]:
        watched = self._look.last.of(HK)
        if watched:
            states = Counter("STALE" if silent else t.body["state"] for t in watched.values())
            counts: list[Sample] = [({"state": str(s)}, states[s]) for s in HkState]
            yield self._family("hk_watched", "Things of housekeeping that are watched, by state.", counts)
            each: list[Sample] = [
                ({"subject": name, "channel": t.body["channel"], "kind": t.body["kind"]}, STALE if silent else t.body["code"])
                for name, t in sorted(watched.items())
            ]
            yield self._family("hk_state", "NORMAL or OFF 0, PENDING or UNKNOWN 1, STALE 2, VIOLATING 3. Of a silent daemon all are STALE.", each)
        values: list[Sample] = [({"channel": name, "unit": unit}, value) for name, (unit, value) in self._look.channels().items()]
        if values:
            yield self._family("hk_value", "Last value of a channel, in its unit. NaN: it is not valid.", values)


def _each(things: Mapping[str, Thing], label: str, field: str) -> list[Sample]:
    return [({label: name}, thing.body[field]) for name, thing in things.items()]
