"""QAs of a whole unit: named in the chain, checked with it, run on stored metrics alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import core_toys
import pytest
from core_toys import Ticks
from pydantic import Field

from quicklook.core.chain import Chain
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, NotApplicable
from quicklook.core.judge import Judge
from quicklook.core.keys import Unit
from quicklook.core.limits import LimitSet, LimitsFile
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.results import MetricResult, QAResult
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts
from quicklook.core.unitqa import measure_unit
from quicklook.core.validation import validate

CHAIN = "chain: toy\nsteps:\n  - {name: read, qas: [level_qa]}\nunit_qas: [all_levels]\n"
ALL = MetricDef("level_sum", "adu", doc="the levels of all parts together")


class AllLevelsParams(Params):
    trouble: str = Field("", description="what goes wrong")


class AllLevels(MonitoringAlg[AllLevelsParams]):
    """Adds the levels of all parts."""

    name = "all_levels"
    metrics = (ALL,)

    def measure(self, parts: UnitParts) -> Measures:
        """Their sum."""
        if self.params.trouble == "raise":
            raise RuntimeError("no idea")
        if self.params.trouble == "not_applicable":
            raise NotApplicable("there is but one")
        return Measures((measured("level_sum", sum(m.values[0] or 0.0 for _, m in parts.with_metric("level"))),))


class Both(MonitoringAlg[Params]):
    """Wants pixels too."""

    name = "both"
    metrics = (MetricDef("both", "", doc="x"),)

    def measure(self, parts: UnitParts, level: core_toys.Level) -> Measures:
        """Never."""
        return Measures()


@pytest.fixture(autouse=True)
def more_toys(monkeypatch: pytest.MonkeyPatch, toy_registry: None) -> None:
    qas = {**core_toys.REGISTRY["qa"], **{q.name: core_toys.ref("qa", q) for q in (AllLevels, Both)}}
    monkeypatch.setattr("quicklook.core.registry.registered", lambda kind: qas if kind == "qa" else core_toys.registered(kind))


def part(name: str, level: float | None, **tags: str) -> PartSummary:
    metric = MetricResult(name="level", unit="adu", values=[level], status=Status.NORMAL, statuses=[Status.NORMAL])
    qa = QAResult(name="level_qa", step="read", group="CCDs", status=Status.NORMAL, seconds=0.1, metrics=[metric])
    return PartSummary(part=name, status=Status.NORMAL, tags=tags, qas=(qa,))


PARTS = UnitParts(unit=Unit(20220101, 7), tags={"flavor": "zero"}, parts=(part("b0", 3.0, arm="b"), part("r0", 4.5, arm="r")), expected=("b0", "r0", "z0"))
LIMIT = {"metric": "level_sum", "unit": "adu", "normal": [0, 5], "when": {"flavor": "zero"}, "reason": "r", "action": "a"}
LIMITS = LimitSet(validate(LimitsFile, Document.from_data({"limits": [LIMIT]}, "limits.yaml")).limits)


def test_a_chain_names_them(load: Callable[..., Chain]) -> None:
    chain = load(CHAIN)
    assert [q.name for q in chain.unit_qas] == ["all_levels"]
    assert [q.name for q in chain.qas] == ["level_qa"]
    assert chain.expand()["unit_qas"] == [{"qa": "all_levels", "name": "all_levels", "params": {"trouble": ""}}]
    assert chain.sha256 != load(CHAIN.replace("unit_qas: [all_levels]", "")).sha256
    assert pickle.loads(pickle.dumps(chain)).sha256 == chain.sha256


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[all_levels]", "[all_level]", r"toy.yaml:4 \(unit_qas\[0\]\): no qa is called 'all_level'; did you mean 'all_levels'"),
        ("[all_levels]", "[level_qa]", r"the name 'level_qa' is used twice"),
        ("[all_levels]", "[{qa: level_qa, name: other}]", r"toy.yaml:4 \(unit_qas\[0\]\): level_qa needs Level \(level\), and nothing gives one"),
        ("[all_levels]", "[both]", r"both needs Level"),
        ("[level_qa]", "[{qa: all_levels, name: early}]", r"toy.yaml:3 .*all_levels needs UnitParts"),
        ("[all_levels]", "[{qa: all_levels, params: {trubble: x}}]", r"did you mean 'trouble'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(load: Callable[..., Chain], old: str, new: str, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        load(CHAIN.replace(old, new))


def test_parameters_can_be_set_from_outside(load: Callable[..., Chain]) -> None:
    chain = load(CHAIN, "all_levels.trouble=raise")
    assert chain.unit_qas[0].params.resolve({}).trouble == "raise"


def test_they_are_measured_and_judged_like_others(load: Callable[..., Chain]) -> None:
    done = measure_unit(load(CHAIN), PARTS, Judge(LIMITS), Ticks())
    (qa,) = done.qas
    assert (qa.name, qa.step, qa.status, qa.metrics[0].values) == ("all_levels", "unit", Status.ALARM, [7.5])
    assert len(done.reasons) == 1
    assert done.reasons[0].startswith("ALARM: level_sum is 7.5 adu, above 5 adu (normal: 0 to 5 adu)")
    assert measure_unit(load("chain: toy\nsteps: [{name: read}]\n"), PARTS, Judge(LIMITS), Ticks()).qas == ()


@pytest.mark.parametrize(("trouble", "status"), [("raise", Status.UNKNOWN), ("not_applicable", None)])
def test_one_that_fails_or_does_not_apply(load: Callable[..., Chain], trouble: str, status: Status | None) -> None:
    (qa,) = measure_unit(load(CHAIN, f"all_levels.trouble={trouble}"), PARTS, Judge(LIMITS), Ticks()).qas
    assert qa.status is status
    assert (qa.failure.message if qa.failure else qa.not_applicable) == ("RuntimeError: no idea" if trouble == "raise" else "there is but one")


def test_parts_by_name_tag_and_metric() -> None:
    silent = PartSummary(part="z9", status=None)
    parts = UnitParts(unit=PARTS.unit, parts=(*PARTS.parts, silent, part("b1", None, arm="b")), expected=PARTS.expected)
    assert (parts.missing, parts.unjudged) == (("z0",), ("z9",))
    assert {arm: [p.part for p in some] for arm, some in parts.by_tag("arm").items()} == {"b": ["b0", "b1"], "r": ["r0"]}
    assert [p.part for p, _ in parts.with_metric("level")] == ["b0", "r0", "b1"]
    assert [p.values("level") for p in parts.parts] == [{(): 3.0}, {(): 4.5}, {}, {}]


def test_values_go_by_their_coordinates() -> None:
    metric: dict[str, Any] = {"coords": {"a": ["x", "y"], "b": [1, 2]}, "values": [1.0, None, 3.0, 4.0], "statuses": [None] * 4, "status": None}
    made = MetricResult(name="m", unit="", **metric)
    absent = made.model_copy(update={"name": "n", "not_applicable": "no"})
    qa = QAResult(name="q", step="s", group="g", status=None, seconds=0, metrics=[made, absent])
    one = PartSummary(part="p", status=None, qas=(qa,))
    assert one.values("m") == {("x", 1): 1.0, ("y", 1): 3.0, ("y", 2): 4.0}
    assert one.values("n") == {}
    assert one.metric("n") is None
