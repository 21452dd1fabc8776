"""Judging again: nothing changes with the same limits, and with others what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from core_toys import QAS

from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet
from quicklook.core.metrics import Measures, MetricDef, measured, not_applicable
from quicklook.core.rejudge import change_of, change_of_whole, rejudge, stored_measures
from quicklook.core.results import Override, PartResult, Provenance, QAResult, UnitVerdict
from quicklook.core.status import Status, worst

N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN
Limits = Callable[[str], LimitSet]
METRICS = {m.name: m for qa in QAS for m in qa.metrics}
AMPS, LEVEL, FLAG = METRICS["amps"], METRICS["level"], MetricDef("step", "adu", dims=("amp",), doc="a flag", flag=True)
TAGS = {"flavor": "zero", "camera": "r0", "arm": "r", "night": "20220101"}

BASE = """
limits:
  - {metric: amps, unit: electron, normal: [1, 4], warning: [0, 8], reason: as always, action: look}
  - {metric: amps, unit: electron, normal: [1, 9], when: {amp: C}, reason: noisy, action: look}
  - {metric: level, unit: adu, normal: [0, 10], reason: as always, action: look}
"""


def part_of(judge: Judge, *measures: Measures, **change: Any) -> PartResult:
    """A part whose QAs returned that, judged."""
    qas = []
    for i, one in enumerate(measures):
        metrics = judge.measures([AMPS, LEVEL], one, TAGS)
        qas.append(QAResult(name=f"qa{i}", step="read", group="g", status=worst(m.status for m in metrics), seconds=0.1, metrics=metrics))
    part = PartResult(
        night=20220101, expid=7, part="r0", tag="live", revision=2, tags=TAGS, status=U, reasons=[], measured=0, expected=0, steps=[], qas=qas,
        provenance=Provenance(versions={}, chain="c", config_sha256="", limits_sha256=""),
    )  # fmt: skip
    return rejudge(judge, part.model_copy(update=change), definitions={})


ODD = (
    Measures((measured("amps", [2.0, 9.0, 8.0, math.nan], amp=("A", "B", "C", "D"), remarks={"D": "dead"}), measured("level", 5.0))),
    Measures((measured("amps", [2.0, 99.0, math.nan], amp=("A", "B", "C"), left_out=("B", "C")), measured("level", math.inf))),
    Measures((not_applicable("amps", "no amplifier is lit"),)),
    Measures((measured("amps", [], amp=()), measured("level", -1.0))),
    Measures(),
)


def test_the_same_limits_give_the_same_to_the_last_byte(limits: Limits) -> None:
    judge = Judge(limits(BASE))
    stored = PartResult.model_validate_json(part_of(judge, *ODD).model_dump_json())
    assert {m.status for q in stored.qas for m in q.metrics} == {N, A, U, None}
    assert rejudge(judge, stored, definitions=METRICS).model_dump_json() == stored.model_dump_json()
    change = change_of(judge, stored, definitions=METRICS)
    assert (change.changed, change.metrics, change.before, change.after) == (False, (), A, A)


def test_other_limits_change_what_they_say_and_nothing_else(limits: Limits) -> None:
    stored = part_of(Judge(limits(BASE)), ODD[0])
    wider = limits(BASE).with_more(limits("limits: [{metric: amps, unit: electron, normal: [1, 9], reason: wider, action: look}]"))
    after = rejudge(Judge(wider), stored, definitions=METRICS)
    amps = after.qas[0].metrics[0]
    assert amps.statuses == [N, N, N, U]
    assert amps.reason == "amps of amp D was not measured: dead"
    assert (after.status, after.provenance.limits_sha256) == (U, wider.sha256)
    assert after.qas[0].metrics[1] == stored.qas[0].metrics[1]
    change = change_of(Judge(wider), stored, definitions=METRICS)
    assert [(m.name, m.before, m.after, m.worse, m.elements, m.source) for m in change.metrics] == [("amps", A, U, -2, 1, "limits.yaml:1")]
    assert (str(change.key), change.flavor, change.revision, change.changed) == ("20220101/00000007/r0", "zero", 2, True)
    assert change.used == {"limits.yaml:1", "limits.yaml:4", "limits.yaml:5"}


def test_an_element_that_is_left_out_stays_so_whatever_the_limit(limits: Limits) -> None:
    stored = part_of(Judge(limits("limits: []")), ODD[1])
    again = rejudge(Judge(limits(BASE)), stored, definitions=METRICS).qas[0].metrics[0]
    assert again.statuses == [N, None, None]
    assert stored_measures(again).left_out == {("B",), ("C",)}  # type: ignore[union-attr]


def test_a_limit_that_comes_or_goes(limits: Limits) -> None:
    none, some = Judge(limits("limits: []")), Judge(limits(BASE))
    stored = part_of(none, *ODD)
    assert (stored.status, stored.expected) == (U, 0)  # nothing was judged
    judged = rejudge(some, stored, definitions=METRICS)
    assert judged.status is A
    assert [m.reason for m in judged.qas[4].metrics] == ["amps was not returned by its QA", "level was not returned by its QA"]
    assert rejudge(none, judged, definitions=METRICS).model_dump_json() == stored.model_dump_json()


def test_a_flag_keeps_its_words(limits: Limits) -> None:
    judge = Judge(limits("limits: [{metric: step, unit: adu, normal: [0, 0], reason: r, action: a}]"))
    result = judge.metric(FLAG, measured("step", [0, 1], amp="AB", remarks={"B": "every pixel reads 7"}), TAGS)
    part = part_of(judge).model_copy(update={"qas": [QAResult(name="q", step="s", group="g", status=A, seconds=0.0, metrics=[result])]})
    assert rejudge(judge, part, definitions={}).qas[0].metrics[0].reason == "step of amp B: every pixel reads 7"
    old = part.model_copy(update={"qas": [part.qas[0].model_copy(update={"metrics": [result.model_copy(update={"flag": False})]})]})
    assert rejudge(judge, old, definitions={"step": FLAG}).qas[0].metrics[0].reason == "step of amp B: every pixel reads 7"


def test_a_qa_that_failed_or_did_not_apply_stays_so(run: Any, limits: Limits) -> None:
    chain = "chain: toy\nsteps: [{{name: read, qas: [{{qa: level_qa, params: {{trouble: {}}}}}]}}]\n"
    for trouble in ("raise", "not_applicable", "undeclared", "none"):
        stored = run(chain.format(trouble)).result
        again = rejudge(Judge(limits(BASE)), stored, definitions=METRICS)
        assert (again.status, again.reasons) == (stored.status, stored.reasons)
        assert [m.reason for m in again.qas[0].metrics] == [m.reason for m in stored.qas[0].metrics]
        assert [m.limits for m in again.qas[0].metrics] != [m.limits for m in stored.qas[0].metrics] or trouble == "not_applicable"


def test_where_the_unit_of_a_metric_has_changed_nothing_is_judged(limits: Limits) -> None:
    stored = part_of(Judge(limits(BASE)), ODD[0])
    old = stored.qas[0].metrics[0].model_copy(update={"unit": "adu"})
    part = stored.model_copy(update={"qas": [stored.qas[0].model_copy(update={"metrics": [old]})]})
    assert rejudge(Judge(limits(BASE)), part, definitions=METRICS).qas[0].metrics[0] == old


def test_what_a_person_has_decided_stands(limits: Limits) -> None:
    by_hand = Override(part="r0", was=A, status=N, by="Ada", reason="a known cable", time=1)
    part = part_of(Judge(limits(BASE)), ODD[0]).model_copy(update={"override": by_hand, "status": N, "reasons": [by_hand.sentence]})
    again = rejudge(Judge(limits("limits: [{metric: level, unit: adu, normal: [9, 10], reason: r, action: a}]")), part, definitions=METRICS)
    assert (again.status, again.reasons) == (N, [by_hand.sentence])
    assert again.qas[0].metrics[1].status is A


def test_an_exposure_as_a_whole(limits: Limits) -> None:
    qas = part_of(Judge(limits(BASE)), ODD[0]).qas
    verdict = UnitVerdict(night=20220101, expid=7, tag="live", revision=0, tags=TAGS, status=A, reasons=[], parts={"r0": N}, qas=qas)
    change = change_of_whole(Judge(limits("limits: []")), verdict, definitions=METRICS)
    assert change is not None
    assert (change.key.part, change.before, change.after) == ("", A, U)
    assert change_of_whole(Judge(limits(BASE)), verdict.model_copy(update={"qas": []}), definitions=METRICS) is None


