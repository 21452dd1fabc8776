"""What plugins of somebody else may do to the runner: leave the interpreter, hand over what is no value."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from core_toys import LevelQa, Scale
from pydantic import BaseModel

from quicklook.core.errors import BadConfig, NoSpace, Transient, describe
from quicklook.core.metrics import Measures, measured
from quicklook.core.registry import PluginRef
from quicklook.core.results import Failure
from quicklook.core.status import Status


@pytest.mark.parametrize("coord", [float("nan"), float("inf"), None, [1]])
def test_a_coordinate_names_a_place(coord: object) -> None:
    with pytest.raises(ValueError, match="metric noise: coordinate .* of amp is neither text nor a finite number"):
        measured("noise", [1.0], amp=[coord])  # type: ignore[list-item]


def test_a_fact_is_plain() -> None:
    with pytest.raises(TypeError, match="fact 'names' is a list; a fact is text, a number, true, false or nothing"):
        Measures(facts={"names": ["a", "b"]})  # type: ignore[dict-item]


def test_an_error_of_pydantic_is_told_without_addresses() -> None:
    class Made(BaseModel):
        n: int

    with pytest.raises(ValueError) as caught:
        Made.model_validate({"n": "x"})
    text = describe(caught.value)
    assert "http" not in text
    assert "n: Input should be a valid integer" in text


def test_what_next_of_one_error() -> None:
    error = BadConfig("x", what_next="Do this.")
    assert Failure.of(error).what_next == "Do this."
    assert BadConfig("y").what_next == BadConfig.what_next
    assert isinstance(NoSpace("z"), Transient)


def test_a_module_that_ends_the_program_when_imported(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ends_it.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    ref = PluginRef(kind="qa", name="odd", target="ends_it:Odd", distribution="other", version="1")
    with pytest.raises(BadConfig, match="cannot be imported: SystemExit: 0"):
        ref.load()


class _Leaves(BaseException):
    """As of a library that thinks it is the program."""


def raising(error: BaseException, method: Any) -> Any:
    """A method with the contract of another, that raises."""

    @functools.wraps(method)
    def leave(*_: object, **__: object) -> None:
        raise error

    return leave


CHAIN = "chain: toy\nsteps: [{name: read, qas: [level_qa]}, {name: scale, qas: [step_qa]}]\n"


@pytest.mark.parametrize("error", [SystemExit(3), _Leaves("bye")])
def test_a_plugin_that_ends_the_program_ends_its_own_work_alone(run, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LevelQa, "measure", raising(error, LevelQa.measure))
        result = run(CHAIN).result
        assert (result.status, result.qas[0].failure.error) == (Status.UNKNOWN, type(error).__name__)
        assert result.qas[1].status is Status.NORMAL
    monkeypatch.setattr(Scale, "run", raising(error, Scale.run))
    result = run(CHAIN).result
    assert (result.status, result.steps[1].failure.error) == (Status.UNKNOWN, type(error).__name__)
    assert result.qas[0].status is Status.NORMAL


def test_ctrl_c_is_not_a_failure_of_a_plugin(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scale, "run", raising(KeyboardInterrupt(), Scale.run))
    with pytest.raises(KeyboardInterrupt):
        run(CHAIN)
