"""Events: typed, and strict JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from quicklook.core.alarms import AlarmNow, MuteNow
from quicklook.core.events import PAYLOADS, Event, Heartbeat, PartVerdict, PlotDrawn, QADone, Refused, Seen, StepDone, UnitDone, draft
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.keys import Unit
from quicklook.core.results import Failure, MetricResult
from quicklook.core.severity import Severity
from quicklook.core.status import Status

FAILURE = Failure(error="BadData", message="it is cut off", what_next="look")
METRIC = MetricResult(
    name="noise", unit="electron", coords={"amp": ["A", "B"]}, values=[3.0, None], status=Status.UNKNOWN, statuses=[Status.NORMAL, Status.UNKNOWN]
)
EXAMPLES: dict[str, dict[str, Any]] = {
    "seen": {"file": "a.fits", "size": 3, "parts": ["r0"], "tags": {"flavor": "zero"}},
    "refused": {"file": "a.fits", "failure": FAILURE},
    "started": {"chain": "raw"},
    "step": {"name": "preproc", "algorithm": "preproc", "seconds": 0.1, "failure": FAILURE},
    "qa": {
        "name": "noise",
        "step": "read",
        "group": "CCDs",
        "status": Status.UNKNOWN,
        "seconds": 0.1,
        "metrics": [METRIC],
        "facts": {"a": 1, "b": None},
    },
    "verdict": {
        "status": Status.ALARM,
        "reasons": ["ALARM: x"],
        "measured": 1,
        "expected": 2,
        "seconds": 0.2,
        "times": {"read": 5},
        "path": "qa.json",
    },
    "unit_verdict": {
        "night": 20220101,
        "expid": 7,
        "tag": "live",
        "revision": 0,
        "status": Status.NORMAL,
        "reasons": [],
        "parts": {"r0": Status.NORMAL},
    },
    "plots": {"path": "p.npz", "names": ["a"], "statuses": [Status.NORMAL]},
    "plot": {"name": "a", "path": "a.png", "sha256": "0", "size": 5},
    "plots_skipped": {"names": ["a"], "path": "p.npz", "by": 9, "by_revision": 1},
    "product": {"name": "preproc", "path": "a.fits", "sha256": "0", "size": 5},
    "calibration": {
        "name": "bias",
        "by": "bias",
        "path": "bias-r0.fits",
        "status": Status.NORMAL,
        "adopted": True,
        "made_from": [1, 2],
        "left_out": ["3: ALARM"],
    },
    "decision": {
        "night": 20220101,
        "expid": 7,
        "tag": "live",
        "revision": 0,
        "status": Status.ALARM,
        "decision": "call",
        "rule": "detector",
        "why": "x",
        "action": "y",
        "reasons": ["ALARM: r0: x"],
        "measured": 3,
        "expected": 4,
        "cameras": 1,
        "cameras_expected": 2,
        "goals": [{"name": "efftime", "wanted": 900.0, "unit": "s", "source": "site", "metric": "effective_time"}],
    },
    "override": {"part": "r0", "was": Status.ALARM, "status": Status.NORMAL, "by": "somebody", "reason": "known", "time": 5},
    "receipt": {"times": {"closed": 1, "r0/read": 2}, "seconds_to_verdict": 1.5},
    "failed": {"attempts": 3, "failure": FAILURE},
    "sink_gave_up": {"name": "db", "seq": 4, "failure": FAILURE},
    "raw_folder": {"path": "raw", "there": False},
    "alarm": {
        "name": "bad_detector/read_noise/r0/science",
        "alarm": AlarmNow(
            key="bad_detector/read_noise/r0/science",
            fingerprint="676eabaf904724eb",
            rule="bad_detector",
            state="firing",
            severity=Severity.ALARM,
            worst=Severity.ALARM,
            frame=True,
            what="camera r0: read noise",
            facts={"part": "r0"},
            began=1,
            fired=1,
            told=["mail"],
        ),
    },
    "mutes": {"mutes": [MuteNow(id="mute-7", pattern="hk/*", owner="bob", reason="warm-up", until=9, severity=Severity.ALARM)]},
    "hk": {
        "changes": [
            HkChange(
                subject="ccd_temp/cold",
                channel="ccd_temp",
                limit="cold",
                kind="absolute",
                state=HkState.VIOLATING,
                before=HkState.NORMAL,
                severity=Severity.ALARM,
                time=10.0,
                since=8.0,
                value=-110.0,
                bound=-119.0,
                direction="high",
                level="performance",
                unit="degC",
            ),
        ],
    },
    "mirrored": {"name": "archive", "file": "20220101/desi-00000102.fits.fz", "done": True},
    "disk": {"path": "out", "free_gb": 0.5, "total_gb": 1000.0, "status": Status.ALARM, "what_next": "make room"},
    "heartbeat": {"waiting": 0, "running": 1, "done": 2, "failed": 0, "sinks": {"zmq": 4}, "latency_s": {"median": 1.5, "p95": 2.0, "n": 20.0}},
    "session": {"run": "20220101T000000-0a1b", "name": "bench", "tests": [{"name": "BIAS01", "state": "waiting", "expected": 10}], "exposure_s": 5.0},
    "report": {"of": "test", "name": "BIAS01", "format": "pdf", "path": "a.pdf", "sha256": "0", "size": 5, "seconds": 0.5},
    "test": {
        "run": "20220101T000000-0a1b",
        "name": "BIAS01",
        "status": Status.NORMAL,
        "reasons": [],
        "complete": True,
        "exposures": ["20220101/00000007"],
        "flags": ["MISSDATA"],
        "path": "tests/BIAS01.json",
    },
    "command": {"name": "rerun", "args": {"unit": "20220101/7"}, "by": "somebody", "via": "token", "done": True, "said": "it is"},
}


def event(kind: str = "heartbeat", **change: Any) -> Event:
    made = draft(PAYLOADS[kind](**EXAMPLES[kind]), unit=Unit(20220101, 7), part="r0")
    return Event(**{**made.model_dump(), "epoch": "e", "seq": 1, "time": 1_700_000_000_000_000_000, **change})


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_every_kind_of_event_goes_through_json_and_comes_back_typed(kind: str) -> None:
    assert set(EXAMPLES) == set(PAYLOADS), "a new kind of event needs an example here"
    text = event(kind).model_dump_json()
    json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    again = Event.model_validate_json(text)
    assert again == event(kind)
    typed = again.typed()
    assert type(typed) is PAYLOADS[kind]
    assert typed == PAYLOADS[kind](**EXAMPLES[kind])


@pytest.mark.parametrize(
    ("made", "topic"),
    [
        (event("qa"), "qa/r0/noise"),
        (event("verdict"), "verdict/r0/-"),
        (event("unit_verdict", part=None), "unit_verdict/-/-"),
        (event("plot"), "plot/r0/a"),
        (event("step"), "step/r0/preproc"),
    ],
)
def test_topics_are_kind_part_name(made: Event, topic: str) -> None:
    assert made.topic == topic


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (PartVerdict, {"seconds": math.nan}),
        (PartVerdict, {"seconds": math.inf}),
        (QADone, {"seconds": -math.inf}),
        (QADone, {"facts": {"sigma": math.nan}}),
        (StepDone, {"seconds": math.nan}),
    ],
)
def test_no_payload_takes_what_json_has_not(payload: Any, field: dict[str, Any]) -> None:
    payload(**EXAMPLES[payload.kind])
    with pytest.raises(ValidationError, match="finite"):
        payload(**{**EXAMPLES[payload.kind], **field})


@pytest.mark.parametrize("bad", [math.nan, math.inf, [1.0, math.nan], {"deep": [{"x": -math.inf}]}])
def test_an_envelope_never_writes_what_json_has_not(bad: Any) -> None:
    """Whatever got into the payload: the text is strict JSON, with null for what no number is."""
    text = event(payload={"x": bad}).model_dump_json()
    written = json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    assert "null" in json.dumps(written["payload"]["x"])


def test_a_kind_that_is_not_known_is_carried_but_not_typed() -> None:
    strange = event(kind="heartbeat").model_copy(update={"kind": "weather"})
    assert strange.topic == "weather/r0/-"
    with pytest.raises(KeyError):
        strange.typed()


def test_a_payload_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        event("plot").model_copy(update={"kind": "verdict"}).typed()


@pytest.mark.parametrize("change", [{"seq": 0}, {"seq": -1}, {"seq": "x"}, {"time": 1.5}, {"epoch": None}, {"colour": "red"}, {"payload": 3}])
def test_a_malformed_envelope_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        event(**change)


def test_a_draft_has_the_kind_of_its_payload() -> None:
    made = draft(Seen(file="a", size=1, parts=[]), unit=Unit(20220101, 7), tag="redo", revision=2)
    assert (made.kind, made.unit, made.part, made.tag, made.revision) == ("seen", "20220101/00000007", None, "redo", 2)
    assert draft(Heartbeat(waiting=0, running=0, done=0, failed=0)).unit is None


def test_events_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event().seq = 5  # type: ignore[misc]


def test_the_schema_of_every_record_can_be_written() -> None:
    for payload in (*PAYLOADS.values(), Event):
        schema = payload.model_json_schema()
        assert schema["additionalProperties"] is False, payload
        json.dumps(schema, allow_nan=False)


def test_subclasses_keep_their_records() -> None:
    assert UnitDone.kind == "unit_verdict"
    assert PlotDrawn.kind == "plot"
    assert Refused(file="a", failure=FAILURE).failure.what_next == "look"
