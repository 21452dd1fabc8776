"""Records of results: strict, frozen, and described by a JSON schema."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData, MissingCalibration, NotApplicable, NotReadyYet, QuicklookError, Transient, describe
from quicklook.core.results import Failure, LimitUsed, MetricResult, PartResult, Provenance, QAResult, StepResult, UnitVerdict
from quicklook.core.status import Status


def part(**change: Any) -> PartResult:
    metric = MetricResult(
        name="noise",
        unit="electron",
        coords={"amp": ["A", "B"], "line": [1, 2.5]},
        values=[3.0, None, 1e-300, -0.0],
        status=Status.UNKNOWN,
        statuses=[Status.NORMAL, Status.UNKNOWN, None, None],
        limits=[LimitUsed(normal=(None, 4.0), warning=(None, 5.0), when={"amp": ["A"]})],
        limit_of=[0, 0, None, None],
        worst=1,
    )
    fields: dict[str, Any] = {
        "night": 20220101, "expid": 7, "part": "r0", "tag": "live", "revision": 0, "tags": {"flavor": "zero"}, "status": Status.UNKNOWN, "reasons": ["x"],
        "measured": 1, "expected": 2, "steps": [StepResult(name="read", algorithm="read", seconds=0.1)],
        "qas": [QAResult(name="noise", step="read", group="CCDs", status=Status.UNKNOWN, seconds=0.1, metrics=[metric], facts={"f": 1.5, "t": True, "n": 3})],
        "provenance": Provenance(versions={"python": "3"}, chain="raw", config_sha256="0", limits_sha256="1"),
    }  # fmt: skip
    return PartResult(**{**fields, **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Read Noise"}, "name"),
        ({"name": "noise\n"}, "name"),
        ({"values": [1.0]}, "1 values at 2 places"),
        ({"values": [1.0, 2.0, 3.0]}, "3 values at 2 places"),
        ({"statuses": [Status.NORMAL]}, "2 values, 1 statuses"),
        ({"limit_of": [0]}, "limits of 1"),
        ({"limit_of": [0, 1]}, "a limit that it has not"),
        ({"worst": 2}, "an element that it has not"),
        ({"left_out": [-1]}, "an element that it has not"),
    ],
)
def test_a_metric_whose_lists_do_not_belong_together_is_none(change: dict[str, Any], said: str) -> None:
    sound: dict[str, Any] = {
        "name": "noise", "unit": "", "coords": {"amp": ["A", "B"]}, "values": [1.0, 2.0], "status": Status.NORMAL, "statuses": [Status.NORMAL] * 2,
        "limits": [LimitUsed(normal=(0, 4), warning=(0, 5))], "limit_of": [0, 0], "worst": 0, "left_out": [1],
    }  # fmt: skip
    assert MetricResult(**sound).values == [1.0, 2.0]
    with pytest.raises(ValidationError, match=said):
        MetricResult(**{**sound, **change})


def test_the_merged_qa_comes_back_from_json_as_it_was() -> None:
    text = part().model_dump_json()
    data = json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    assert PartResult.model_validate(data) == part()
    assert data["qas"][0]["metrics"][0]["values"] == [3.0, None, 1e-300, -0.0]
    assert [type(v) for v in data["qas"][0]["facts"].values()] == [float, bool, int]
    assert data["schema_version"] == 1


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        (MetricResult, {"values": [math.nan]}),
        (MetricResult, {"values": [math.inf]}),
        (LimitUsed, {"normal": (0.0, math.inf)}),
        (StepResult, {"seconds": math.nan}),
        (QAResult, {"facts": {"x": -math.inf}}),
    ],
)
def test_no_record_takes_what_json_has_not(record: Any, fields: dict[str, Any]) -> None:
    good: dict[Any, dict[str, Any]] = {
        MetricResult: {"name": "n", "unit": "", "values": [1.0], "status": None, "statuses": [None]},
        LimitUsed: {"normal": (0.0, 1.0), "warning": (0.0, 1.0)},
        StepResult: {"name": "n", "algorithm": "n", "seconds": 1.0},
        QAResult: {"name": "n", "step": "s", "group": "g", "status": None, "seconds": 1.0},
    }
    record(**good[record])
    with pytest.raises(ValidationError):
        record(**{**good[record], **fields})


def test_nothing_extra_and_nothing_changed() -> None:
    with pytest.raises(ValidationError, match="extra"):
        part(colour="red")
    with pytest.raises(ValidationError, match="frozen"):
        part().status = Status.NORMAL  # type: ignore[misc]


def _properties(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema.get("$defs", {}).values()]


@pytest.mark.parametrize("record", [PartResult, UnitVerdict])
def test_the_schema_describes_every_record_and_forbids_the_rest(record: Any) -> None:
    schema = record.model_json_schema()
    json.dumps(schema, allow_nan=False)
    for one in _properties(schema):
        if one.get("type") == "object":
            assert one["additionalProperties"] is False, one["title"]
            assert one.get("description"), f"{one['title']} has no description"
    statuses = schema["$defs"]["Status"]["enum"]
    assert statuses == ["ALARM", "WARNING", "UNKNOWN", "NORMAL"]


def test_the_schema_lists_what_the_json_holds() -> None:
    schema = PartResult.model_json_schema()
    assert set(json.loads(part().model_dump_json())) == set(schema["properties"])


@pytest.mark.parametrize("error", [NotReadyYet, BadData, MissingCalibration, BadConfig, Transient, NotApplicable])
def test_a_failure_says_what_to_do_next(error: type[QuicklookError]) -> None:
    failure = Failure.of(error("it is\n  broken"))
    assert failure == Failure(error=error.__name__, message="it is broken", what_next=error.what_next)
    assert failure.what_next != QuicklookError.what_next


def test_a_fault_of_the_code_is_shown_as_such() -> None:
    failure = Failure.of(KeyError("GAIN"))
    assert failure.message == "KeyError: 'GAIN'"
    assert "fault of the program" in failure.what_next
    assert describe(ValueError()) == "ValueError"
    assert describe(BadData()) == "BadData"
