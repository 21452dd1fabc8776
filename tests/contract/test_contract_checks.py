"""The checks themselves: each finds what it is there for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import contract_checks as checks
import numpy as np
import pytest
from pydantic import Field

from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg, PipelineAlg
from quicklook.core.product import Product

X = np.arange(3.0)
NOISE = MetricDef("noise", "electron", dims=("amp",), doc="noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels(Product):
    kind = "pixels"
    values: np.ndarray


def inputs() -> dict[str, Any]:
    values = np.arange(5.0)
    values.flags.writeable = False
    return {"pixels": Pixels(values=values)}


class Nothing(Params):
    """Nothing to set."""


class GoodPa(PipelineAlg[Nothing]):
    """Doubles."""

    name = "good_pa"

    def run(self, pixels: Pixels) -> Pixels:
        """Twice the pixels."""
        values = pixels.values * 2
        values.flags.writeable = False
        return Pixels(values=values)


def plot(**change: Any) -> Plot:
    fields = {"x": Axis(label="row", unit="pixel"), "y": Axis(label="noise", unit="electron"), "layers": (Line(x=X, y=X),), "metric": "noise"}
    return Plot(name="noise", title="Noise", panels=(Panel(**{**fields, **change}),))  # type: ignore[arg-type]


class GoodQa(MonitoringAlg[Nothing]):
    """Measures."""

    name = "good_qa"
    metrics = (NOISE,)

    def measure(self, pixels: Pixels) -> Measures:
        """Noise of two amplifiers, one of them dead."""
        return Measures((measured("noise", [1.0, np.nan], amp=("A", "B"), remarks={"B": "dead"}),), plots=(plot(),), facts={"n": 3})


@pytest.mark.parametrize("plugin", [GoodPa, GoodQa])
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda c: c.__name__)
def test_good_plugins_pass(plugin: Any, check: Any) -> None:
    check(plugin, inputs)


def qa(result: Any) -> Any:
    """A QA that returns something."""

    def measure(self: Any, pixels: Pixels) -> Measures:
        """Something."""
        return result() if callable(result) else result

    return type("Odd", (MonitoringAlg,), {"name": "odd", "metrics": (NOISE,), "__doc__": "Odd.", "measure": measure, "__module__": __name__})


def pa(result: Any) -> Any:
    def run(self: Any, pixels: Pixels) -> Pixels:
        """Something."""
        return result(self, pixels)

    return type("Odd", (PipelineAlg,), {"name": "odd", "__doc__": "Odd.", "run": run, "__module__": __name__})


def noise(values: Any = (1.0,), amp: Any = ("A",), name: str = "noise", **more: Any) -> Any:
    return measured(name, values, amp=amp, **more)


def spoil(self: Any, pixels: Pixels) -> Pixels:
    pixels.values.flags.writeable = True
    pixels.values[0] = 99.0
    pixels.values.flags.writeable = False
    return pixels


def stateful(self: Any, pixels: Pixels) -> Pixels:
    self.calls = getattr(self, "calls", 0) + 1
    return Pixels(values=np.full(3, float(self.calls)))


BROKEN = [
    (checks.check_measures, qa(Measures()), "declares and does not return: noise"),
    (checks.check_measures, qa(Measures((noise([np.nan]),))), r"noise of \('A',\) is NaN and no remark says why"),
    (checks.check_measures, qa(Measures((noise([np.inf]),))), "infinite"),
    (checks.check_measures, qa(Measures((noise([1.0, 2.0], ("A", "A")),))), "a coordinate of amp twice"),
    (checks.check_measures, qa(Measures((noise([1.0], (np.int64(1),)),))), "no plain text or numbers"),
    (checks.check_measures, qa(Measures((noise(remarks={"Z": "odd"}),))), "which is not there"),
    (checks.check_measures, qa(None), "returned NoneType"),
    (checks.check_plots, qa(Measures((noise(),), plots=(plot(y=Axis(label=" ")),))), "axis without label"),
    (checks.check_plots, qa(Measures((noise(),), plots=(plot(metric="other"),))), "names a metric that odd does not declare"),
    (checks.check_plots, qa(Measures((noise(),), plots=(plot(), plot()))), "two plots of one name"),
    (checks.check_plots, qa(Measures((noise(),), plots=(plot(layers=(Line(x=X, y=X[:2]),)),))), "differ in length"),
    (checks.check_plots, qa(Measures((noise(),), plots=(plot(layers=(Line(x=X, y=np.array([None] * 3)),)),))), "objects"),
    (checks.check_units, qa(Measures((noise(),), plots=(plot(x=Axis(label="row", unit="rows per hour")),))), "is no unit"),
    (checks.check_changes_no_input, pa(spoil), "changes its inputs"),
    (checks.check_deterministic, pa(stateful), "keeps a state"),
    (checks.check_deterministic, pa(lambda self, pixels: Pixels(values=np.array([random.random()]))), "gives something else"),
    (checks.check_products, pa(lambda self, pixels: Pixels(values=np.ones(3))), "writable array"),
]


@pytest.mark.parametrize(("check", "plugin", "message"), BROKEN, ids=[m for _, _, m in BROKEN])
def test_what_is_wrong_is_found(check: Any, plugin: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(plugin, inputs)


@pytest.mark.parametrize(
    ("result", "message"),
    [(Measures((noise(name="extra"), noise())), "does not declare"), (Measures((measured("noise", 1.0),)), "declared over")],
    ids=["undeclared", "dims"],
)
def test_what_the_judge_refuses_is_refused_here(result: Measures, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checks.check_measures(qa(result), inputs)


def test_a_plugin_without_words_is_found() -> None:
    class Silent(PipelineAlg[Nothing]):
        """Does it."""

        name = "silent"

        def run(self, pixels: Pixels) -> Pixels:
            return pixels

    with pytest.raises(AssertionError, match=r"Silent\.run has no docstring"):
        checks.check_documented(Silent, inputs)


def test_a_default_that_cannot_be_written_is_found() -> None:
    class Odd(Params):
        """Odd."""

        level: float = Field(float("inf"), description="a level")

    class Takes(PipelineAlg[Odd]):
        """Takes odd parameters."""

        name = "takes"

        def run(self, pixels: Pixels) -> Pixels:
            """The same."""
            return pixels

    with pytest.raises((AssertionError, ValueError)):
        checks.check_defaults(Takes, inputs)


def test_equality_is_strict() -> None:
    assert checks.equal({"a": (np.nan, np.array([np.nan]))}, {"a": (np.nan, np.array([np.nan]))})
    assert not checks.equal(np.zeros(2, np.float32), np.zeros(2))
    assert not checks.equal((1,), [1])
    assert not checks.equal(1, 1.0)
    assert not checks.equal({"a": 1}, {"b": 1})
    assert not checks.equal(Pixels(values=X), Pixels(values=X + 1))
