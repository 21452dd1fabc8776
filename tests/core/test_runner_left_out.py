"""A step that does not apply is left out with all that rests on it; the rest is judged, and the verdict says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from core_toys import FineLevel, Level, Scale, Sum, Total

from quicklook.core.deciding import decide
from quicklook.core.decision import Decision, DecisionsFile, Rule
from quicklook.core.errors import NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.results import PartResult, UnitVerdict
from quicklook.core.runner import Outcome
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts

Run = Callable[..., Outcome]
CHAIN = """\
chain: toy
steps:
  - {name: read, qas: [level_qa]}
  - {name: scale, qas: [step_qa]}
  - {name: sum, qas: [total_qa]}
"""
WHY = "no sky fibres"


def does_not_apply(method: Any) -> Any:
    """A method with the contract of another, that does not apply."""

    @functools.wraps(method)
    def leave(*_: object, **__: object) -> None:
        raise NotApplicable(WHY)

    return leave


def test_what_rests_on_it_is_left_out_and_nothing_is_unknown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scale, "run", does_not_apply(Scale.run))
    outcome = run(CHAIN)
    result = outcome.result
    assert [(s.name, s.not_applicable, s.failure) for s in result.steps] == [
        ("read", None, None),
        ("scale", WHY, None),
        ("sum", f"it rests on step scale, which does not apply: {WHY}", None),
    ]
    assert result.status is Status.NORMAL
    assert (result.measured, result.expected) == (1, 1)
    assert {q.name: q.not_applicable for q in result.qas} == {
        "level_qa": None,
        "step_qa": f"it rests on step scale, which does not apply: {WHY}",
        "total_qa": f"it rests on step scale, which does not apply: {WHY}",
    }
    assert result.reasons == [f"NORMAL: step scale does not apply: {WHY}; left out with it: sum, 2 QAs"]
    assert outcome[Level] == Level(value=10.0)  # what there was stays what it was: no later step has made it into something else
    assert Total not in outcome.products


def test_a_product_that_is_no_longer_what_it_should_be_goes_into_no_later_step(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a flat-fielded frame that has not lost its sky: to calibrate it would make spectra that look finished."""
    monkeypatch.setattr(Sum, "run", does_not_apply(Sum.run))
    outcome = run("chain: a\nsteps: [{name: read, qas: [level_qa]}, {name: sum}, {name: scale, qas: [step_qa]}]\n")
    assert [s.not_applicable is not None for s in outcome.result.steps] == [False, True, True]
    assert FineLevel not in outcome.products
    assert outcome[Level] == Level(value=10.0)


def test_a_qa_of_what_stood_before_is_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one behind it that takes nothing which it would have made."""
    monkeypatch.setattr(Sum, "run", does_not_apply(Sum.run))
    text = "chain: a\nsteps: [{name: read}, {name: scale, qas: [step_qa]}, {name: sum, qas: [total_qa]}]\n"
    assert [q.status for q in run(text).result.qas] == [Status.NORMAL, None]


def test_the_result_goes_through_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scale, "run", does_not_apply(Scale.run))
    result = run(CHAIN).result
    assert PartResult.model_validate_json(result.model_dump_json()) == result


def test_reading_that_does_not_apply_is_a_failure(run: Run) -> None:
    def read() -> None:
        raise NotApplicable(WHY)

    result = run(CHAIN, read=read).result
    assert result.status is Status.UNKNOWN
    assert result.reasons == [f"UNKNOWN: step read failed: {WHY}"]


def test_the_card_of_the_exposure_tells_it_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scale, "run", does_not_apply(Scale.run))
    result = run(CHAIN).result
    unit = Unit(result.night, result.expid)
    verdict = UnitVerdict(
        night=unit.night, expid=unit.expid, tag="live", revision=0, status=result.status, parts={"r0": result.status},
        reasons=[f"r0: {reason}" for reason in result.reasons],
    )  # fmt: skip
    rules = DecisionsFile(decisions="test", rules=(Rule(name="fine", decision=Decision.GO_ON, reason="well", action="on"),))
    card = decide(rules, UnitParts(unit=unit, parts=(PartSummary.of(result),)), verdict, {})
    assert card.decision is Decision.GO_ON
    assert card.reasons == [f"r0: {result.reasons[0]}"]
