"""Group algorithms: over the exposures of a test, one loaded at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
from core_toys import Average, Level, Offset, Scale, ScaleParams, Total

from quicklook.core.errors import MissingCalibration
from quicklook.core.group import Streamed, run_group
from quicklook.core.plugin import PipelineAlg


class Big:
    """Something large of which there must never be two."""

    def __init__(self, value: float) -> None:
        self.value = value
        ALIVE.add(self)


ALIVE: weakref.WeakSet[Big] = weakref.WeakSet()


def loader(value: float, log: list[float]) -> Callable[[], Big]:
    def load() -> Big:
        log.append(value)
        return Big(value)

    return load


def test_items_are_loaded_when_asked_for_and_not_kept() -> None:
    log: list[float] = []
    group = Streamed([loader(float(i), log) for i in range(5)])
    assert len(group) == 5
    assert log == []
    most = 0
    for big in group:
        del big
        most = max(most, len(ALIVE))
    assert log == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert most <= 1
    assert len(ALIVE) == 0


def test_a_group_can_be_gone_through_twice_and_indexed() -> None:
    log: list[float] = []
    group = Streamed([loader(float(i), log) for i in range(4)])
    assert [b.value for b in group] == [b.value for b in group] == [0.0, 1.0, 2.0, 3.0]
    assert group[-1].value == 3.0
    assert [b.value for b in group[1:3]] == [1.0, 2.0]
    assert isinstance(group[::2], Streamed)
    with pytest.raises(IndexError):
        group[4]


def test_a_loader_that_fails_is_heard() -> None:
    def broken() -> Level:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run_group(Average(), {Level: Streamed([lambda: Level(value=1.0), broken])})


def test_the_group_and_what_is_needed_once() -> None:
    levels = Streamed([lambda v=v: Level(value=v) for v in (1.0, 2.0, 6.0)])  # type: ignore[misc]
    assert run_group(Average(), {Level: levels}) == (Total(value=3.0),)
    assert run_group(Average(), {Level: levels}, {Offset: Offset(value=10.0)}) == (Total(value=13.0),)


def test_what_the_group_has_not() -> None:
    with pytest.raises(MissingCalibration, match="average needs level, and the group has none"):
        run_group(Average(), {})


def test_an_algorithm_of_one_exposure_runs_too() -> None:
    assert run_group(Scale(), {}, {Level: Level(value=2.0)}) == (Level(value=4.0),)


def test_a_wrong_product_is_refused() -> None:
    with pytest.raises(TypeError, match="scale returned Total, its signature says Level"):
        run_group(Scale(ScaleParams(fail="type")), {}, {Level: Level(value=2.0)})


def test_a_product_too_many_is_refused() -> None:
    class Odd(PipelineAlg[Any]):
        """Returns one product too many."""

        name = "odd"

        def run(self, level: Level) -> Level:
            """Two."""
            return (level, level)  # type: ignore[return-value]

    with pytest.raises(TypeError, match="odd returned 2 products, its signature says 1"):
        run_group(Odd(), {}, {Level: Level(value=1.0)})
