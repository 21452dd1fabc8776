"""Signatures read as contracts."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import pytest
from core_toys import Average, FineLevel, Level, LevelQa, Offset, StepQa, Sum, Total

from quicklook.core.contract import Requirement, contract_of
from quicklook.core.errors import BadConfig
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plugin import MonitoringAlg, PipelineAlg
from quicklook.core.product import Before, Product


def algorithm(function: Any) -> type[PipelineAlg[Params]]:
    """A PA whose `run` is the function."""
    return type("Made", (PipelineAlg,), {"name": "made", "__doc__": "Made for a test.", "run": function, "__module__": __name__})


def qa(function: Any) -> type[MonitoringAlg[Params]]:
    metrics = (MetricDef("a", "", doc="a"),)
    return type("MadeQa", (MonitoringAlg,), {"name": "made_qa", "__doc__": "Made.", "metrics": metrics, "measure": function, "__module__": __name__})


def test_inputs_and_a_tuple_of_outputs() -> None:
    contract = contract_of(Sum)
    assert contract.inputs == (Requirement(name="level", type=Level), Requirement(name="offset", type=Offset, optional=True))
    assert contract.outputs == (Total, FineLevel)
    assert [r.calibration for r in contract.inputs] == [False, True]
    assert not contract.group


def test_before_and_sequence() -> None:
    assert contract_of(StepQa).inputs[1] == Requirement(name="before", type=Level, before=True)
    assert contract_of(StepQa).outputs == ()
    assert contract_of(Average).inputs[0] == Requirement(name="levels", type=Level, sequence=True)
    assert contract_of(Average).group


def test_every_way_to_write_optional_and_before() -> None:
    def run(self: Any, a: Level | None, b: Before[Level] | None, c: Before[Level | None], d: typing.Sequence[Level] | None) -> Total: ...

    got = contract_of(algorithm(run)).inputs
    assert [r.optional for r in got] == [True, True, True, True]
    assert [r.before for r in got] == [False, True, True, False]
    assert [r.sequence for r in got] == [False, False, False, True]
    assert {r.type for r in got} == {Level}


def test_a_contract_is_read_once() -> None:
    assert contract_of(LevelQa) is contract_of(LevelQa)


def run_number(self: Any, level: float) -> Total: ...
def run_list(self: Any, levels: list[Level]) -> Total: ...
def run_either(self: Any, level: Level | Total) -> Total: ...
def run_bare_sequence(self: Any, levels: Sequence) -> Total: ...  # type: ignore[type-arg]
def run_bare_typing_sequence(self: Any, levels: typing.Sequence) -> Total: ...  # type: ignore[type-arg]
def run_any_number(self: Any, *levels: Level) -> Total: ...
def run_any_keyword(self: Any, **levels: Level) -> Total: ...
def run_positional_only(self: Any, level: Level, /) -> Total: ...
def run_gives_nothing(self: Any, level: Level) -> None: ...
def run_gives_maybe(self: Any, level: Level) -> Total | None: ...
def run_gives_any_number(self: Any, level: Level) -> tuple[Total, ...]: ...
def run_gives_number(self: Any, level: Level) -> tuple[Total, int]: ...
def run_gives_twice(self: Any, level: Level) -> tuple[Total, Total]: ...


@pytest.mark.parametrize("function", [f for name, f in globals().items() if name.startswith("run_")], ids=lambda f: f.__name__)
def test_what_is_no_contract_is_refused_by_name(function: Any) -> None:
    with pytest.raises(BadConfig, match=r"test_contract\.Made\.run"):
        contract_of(algorithm(function))


def test_an_annotation_that_cannot_be_read_is_refused() -> None:
    def run(self: Any, level: NotImported) -> Total: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(BadConfig, match="'NotImported' is not defined.*import its types at run time"):
        contract_of(algorithm(run))


def test_a_qa_returns_measures() -> None:
    def measure(self: Any, level: Level) -> Level: ...

    with pytest.raises(BadConfig, match="measure must return Measures"):
        contract_of(qa(measure))


def test_a_qa_may_take_nothing() -> None:
    def measure(self: Any) -> Measures: ...

    assert contract_of(qa(measure)).inputs == ()


def test_something_else_has_no_contract() -> None:
    with pytest.raises(BadConfig, match="neither a PipelineAlg nor a MonitoringAlg"):
        contract_of(Product)  # type: ignore[arg-type]
