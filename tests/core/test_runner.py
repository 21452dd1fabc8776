"""The runner: products by type, failures that stay where they belong, results that say what happened."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from core_toys import FineLevel, Index, Level, Offset, Total, reading

from quicklook.core.errors import BadData, MissingCalibration, NotReadyYet, Transient
from quicklook.core.reading import Reading
from quicklook.core.results import PartResult, QAResult, StepResult
from quicklook.core.runner import Outcome
from quicklook.core.status import Status

Run = Callable[..., Outcome]

CHAIN = """\
chain: toy
steps:
  - {name: read, qas: [level_qa]}
  - {name: scale, qas: [step_qa]}
  - {name: sum, qas: [total_qa]}
"""


def qas(outcome: Outcome) -> dict[str, QAResult]:
    return {q.name: q for q in outcome.result.qas}


def test_products_go_from_step_to_step(run: Run) -> None:
    outcome = run(CHAIN)
    assert outcome[Total] == Total(value=20.0)
    assert outcome[Level] == Level(value=20.0)
    assert outcome[FineLevel] == FineLevel(value=20.0)
    assert outcome.result.status is Status.NORMAL
    assert (outcome.result.reasons, outcome.result.measured, outcome.result.expected) == ([], 3, 3)
    assert [(s.name, s.algorithm, s.failure) for s in outcome.result.steps] == [
        ("read", "read", None),
        ("scale", "scale", None),
        ("sum", "sum", None),
    ]


def test_the_latest_product_of_a_type_is_taken(run: Run) -> None:
    """`sum` makes a FineLevel, which is a Level and the latest one; where a Level itself is there, it goes before its subtypes."""
    outcome = run("chain: a\nsteps: [{name: read}, {name: scale}, {name: twice, alg: scale}]\n")
    assert outcome[Level] == Level(value=40.0)
    fine = run("chain: a\nsteps: [{name: read}, {name: scale}]\n", read=lambda: Reading(products=(FineLevel(value=3.0),)))
    assert fine[Level] == Level(value=6.0)


def test_a_qa_sees_what_stood_before_its_step(run: Run) -> None:
    assert qas(run(CHAIN))["step_qa"].metrics[0].values == [10.0]


def test_parameters_follow_the_tags(run: Run) -> None:
    text = "chain: a\nlookup: [arm]\nsteps: [{name: read}, {name: scale, params: {factor: {b: 3, r: 4}}}]\n"
    assert run(text, tags={"arm": "b"})[Level] == Level(value=30.0)
    assert run(text, tags={"arm": "r"})[Level] == Level(value=40.0)
    lost = run(text, tags={"arm": "z"}).result
    assert lost.status is Status.UNKNOWN
    assert "no value for arm=z" in lost.reasons[0]
    assert lost.steps[1].failure is not None
    assert lost.steps[1].failure.error == "BadConfig"


def test_a_qa_that_raises_is_unknown_and_the_chain_goes_on(run: Run) -> None:
    outcome = run(CHAIN, "level_qa.trouble=raise")
    bad = qas(outcome)["level_qa"]
    assert bad.status is Status.UNKNOWN
    assert bad.failure is not None
    assert (bad.failure.error, bad.failure.message) == ("RuntimeError", "RuntimeError: no idea")
    assert [m.status for m in bad.metrics] == [Status.UNKNOWN, Status.UNKNOWN]
    assert outcome[Total] == Total(value=20.0)
    assert qas(outcome)["total_qa"].status is Status.NORMAL
    assert outcome.result.status is Status.UNKNOWN
    assert (outcome.result.measured, outcome.result.expected) == (2, 3)
    assert outcome.result.reasons == ["UNKNOWN: QA level_qa failed: RuntimeError: no idea"]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("none", "level_qa"),
        ("undeclared", "returned surprise, which it does not declare"),
        ("twice", "returned twice"),
        ("dims", r"returned amps over \('fibre',\), declared over \('amp',\)"),
        ("odd_fact", "level_qa"),
        ("odd_plot", "level_qa"),
    ],
)
def test_a_qa_that_breaks_its_contract_is_unknown_and_never_ends_the_run(run: Run, trouble: str, message: str) -> None:
    outcome = run(CHAIN, f"level_qa.trouble={trouble}")
    bad = qas(outcome)["level_qa"]
    assert bad.status is Status.UNKNOWN
    assert bad.failure is not None
    assert qas(outcome)["total_qa"].status is Status.NORMAL
    assert outcome.plots == ()
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(outcome.result.reasons[0])
    outcome.result.model_dump_json()


def test_a_fact_that_is_no_number_is_null(run: Run) -> None:
    measured = qas(run(CHAIN, "level_qa.trouble=nan_fact"))["level_qa"]
    assert measured.facts == {"sigma": None, "n": 3, "rms": 2.5, "good": True}
    assert [type(measured.facts[k]) for k in ("n", "rms", "good")] == [int, float, bool]
    assert measured.status is Status.NORMAL


def test_a_metric_that_a_qa_forgets_is_unknown(run: Run) -> None:
    outcome = run(CHAIN, "level_qa.trouble=forgets")
    assert qas(outcome)["level_qa"].status is Status.UNKNOWN
    assert outcome.result.reasons == ["UNKNOWN: amps was not returned by its QA [level_qa]"]


def test_a_qa_that_does_not_apply_is_left_out_of_the_sum(run: Run) -> None:
    outcome = run(CHAIN, "level_qa.trouble=not_applicable")
    assert qas(outcome)["level_qa"].status is None
    assert qas(outcome)["level_qa"].not_applicable == "there are no sky fibres"
    assert (outcome.result.status, outcome.result.expected) == (Status.NORMAL, 2)


def test_a_metric_that_does_not_apply_is_left_out_of_the_sum(run: Run) -> None:
    outcome = run(CHAIN, "level_qa.trouble=metric_not_applicable")
    assert [m.status for m in qas(outcome)["level_qa"].metrics] == [Status.NORMAL, None]
    assert qas(outcome)["level_qa"].status is Status.NORMAL


def test_where_nothing_applies_nothing_is_green(run: Run) -> None:
    outcome = run("chain: a\nsteps: [{name: read, qas: [level_qa]}]\n", "level_qa.trouble=not_applicable")
    assert outcome.result.status is Status.UNKNOWN
    assert outcome.result.expected == 0


def test_a_chain_without_qas_is_never_green(run: Run) -> None:
    assert run("chain: a\nsteps: [{name: read}]\n").result.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("fail", "error", "message"),
    [
        ("data", "BadData", "the level is rotten"),
        ("code", "ZeroDivisionError", "division by zero"),
        ("type", "TypeError", "scale returned Total, its signature says Level"),
        ("count", "TypeError", "scale returned 2 products, its signature says 1"),
    ],
)
def test_a_step_that_fails_ends_the_chain_and_later_qas_name_the_cause(run: Run, fail: str, error: str, message: str) -> None:
    outcome = run(CHAIN, f"scale.fail={fail}")
    result = outcome.result
    assert [s.name for s in result.steps] == ["read", "scale"]
    assert result.steps[1].failure is not None
    assert result.steps[1].failure.error == error
    assert message in result.steps[1].failure.message
    assert qas(outcome)["level_qa"].status is Status.NORMAL
    for name in ("step_qa", "total_qa"):
        later = qas(outcome)[name]
        assert later.status is Status.UNKNOWN
        assert later.failure is not None
        assert message in later.failure.message
        assert "step scale failed" in later.metrics[0].reason
    assert result.status is Status.UNKNOWN
    assert [r for r in result.reasons if message in r] == result.reasons  # one cause is one reason
    assert len(result.reasons) == 1
    assert Total not in outcome.products


def test_an_alarm_before_the_failure_stays_the_verdict(run: Run) -> None:
    result = run(CHAIN, "scale.fail=data", value=200.0).result
    assert result.status is Status.ALARM
    assert any(r.startswith("ALARM: level is 200 adu, above 100 adu") for r in result.reasons)
    assert any(r.startswith("UNKNOWN: step scale failed") for r in result.reasons)


@pytest.mark.parametrize(
    ("error", "retry"),
    [(BadData("no such camera"), False), (NotReadyYet("half of it"), True), (Transient("stale handle"), True), (OSError(5, "I/O"), False)],
)
def test_reading_that_fails(run: Run, error: Exception, retry: bool) -> None:
    def read() -> Reading:
        raise error

    outcome = run(CHAIN, read=read)
    assert outcome.retry is retry
    assert outcome.result.status is Status.UNKNOWN
    assert [q.status for q in outcome.result.qas] == [Status.UNKNOWN] * 3
    assert len(outcome.result.reasons) == 1
    assert outcome.products == {}


def test_reading_that_gives_something_else_is_no_crash(run: Run) -> None:
    assert run(CHAIN, read=lambda: None).result.status is Status.UNKNOWN


def test_a_calibration_comes_from_the_index_once_and_is_told(run: Run) -> None:
    index = Index(Offset(value=5.0))
    outcome = run("chain: a\nsteps: [{name: read}, {name: needs_offset, qas: [total_qa]}, {name: sum}]\n", calibrations=index)
    assert outcome[Total] == Total(value=15.0)
    assert index.asked == 1
    assert [c.source for c in outcome.result.provenance.calibrations] == ["calib/offset.fits"]


def test_a_calibration_that_a_step_made_goes_before_the_index(run: Run) -> None:
    index = Index(Offset(value=5.0))
    outcome = run("chain: a\nsteps: [{name: read}, {name: makes_offset}, {name: sum}]\n", calibrations=index)
    assert outcome[Total] == Total(value=110.0)
    assert outcome.result.provenance.calibrations == []


def test_an_optional_calibration_may_be_absent(run: Run) -> None:
    outcome = run("chain: a\nsteps: [{name: read}, {name: sum, qas: [total_qa]}]\n")
    assert outcome[Total] == Total(value=10.0)
    assert outcome.result.status is Status.NORMAL


def test_a_required_calibration_that_is_absent(run: Run) -> None:
    outcome = run("chain: a\nsteps: [{name: read}, {name: needs_offset, qas: [total_qa]}]\n")
    failure = outcome.result.steps[1].failure
    assert failure is not None
    assert failure.error == "MissingCalibration"
    assert failure.message == "no offset for 20220101/00000007/r0: the index is empty; `make offset` makes one"
    assert failure.what_next == MissingCalibration.what_next
    assert outcome.result.status is Status.UNKNOWN


def test_a_broken_index_is_a_failed_step(run: Run) -> None:
    class Broken:
        def find(self, *_: Any) -> None:
            raise MissingCalibration("offset.fits is all NaN; make another")

    assert "all NaN" in run("chain: a\nsteps: [{name: read}, {name: sum}]\n", calibrations=Broken()).result.reasons[0]


def test_the_observer_hears_of_everything_in_order(run: Run) -> None:
    heard: list[str] = []

    class Observer:
        def begins(self, step: str, qa: str = "") -> None:
            heard.append(f"({qa or step}")

        def step(self, result: StepResult) -> None:
            heard.append(f"{result.name})")

        def qa(self, result: QAResult) -> None:
            heard.append(f"{result.name})")

    run(CHAIN, observer=Observer())
    assert heard == [word for name in ("read", "level_qa", "scale", "step_qa", "sum", "total_qa") for word in (f"({name}", f"{name})")]


def test_plots_get_the_limits_of_their_metrics(run: Run) -> None:
    (plot,) = run(CHAIN).plots
    assert [(b.kind, b.low, b.high) for b in plot.panels[0].bands] == [("warning", 0.0, 8.0), ("normal", 0.0, 4.0)]


def test_two_runs_are_equal(run: Run) -> None:
    first, second = run(CHAIN), run(CHAIN)
    assert first.result == second.result
    assert first.result.model_dump_json() == second.result.model_dump_json()
    assert first.products == second.products


def test_the_result_goes_through_json_and_pickle(run: Run) -> None:
    result = run(CHAIN, "level_qa.values=[1.0, .nan, .inf]").result
    assert PartResult.model_validate_json(result.model_dump_json()) == result
    assert pickle.loads(pickle.dumps(result)) == result


def test_what_the_reader_could_not_find_is_told(run: Run) -> None:
    outcome = run(CHAIN, read=lambda: Reading(products=(Level(value=1.0),), degraded=("no fibre map",)))
    assert outcome.result.degraded == ["no fibre map"]


def test_reasons_are_worst_first(run: Run) -> None:
    result = run(CHAIN, "level_qa.values=[6.0, .nan]", value=70.0).result
    assert result.reasons == [  # of one metric the worst element is told
        "ALARM: step is 70 adu, above 50 adu (normal: -50 to 50 adu) [step_qa]",
        "WARNING: amps of amp A is 6 electron, above 4 electron (normal: 0 to 4 electron) (2 of 2 are not NORMAL) [level_qa]",
    ]


def test_tag_revision_and_provenance(run: Run) -> None:
    result = run(CHAIN, tag="redo", revision=3).result
    assert (result.night, result.expid, result.part, result.tag, result.revision) == (20220101, 7, "r0", "redo", 3)
    assert result.tags == reading().tags
    assert result.provenance.versions["toys"] == "not installed"
    assert len(result.provenance.config_sha256) == 64
