"""What the base classes refuse when a plugin class is made."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from core_toys import LevelQa, Scale, ScaleParams

from quicklook.core.errors import BadConfig
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plugin import MonitoringAlg, NoParams, PipelineAlg
from quicklook.core.product import Product

METRIC = MetricDef("a", "", doc="a")


def run(self: Any, level: Product) -> Product: ...
def measure(self: Any, level: Product) -> Measures: ...


GOOD_PA = {"name": "one", "__doc__": "Does it.", "run": run}
GOOD_QA = {"name": "one", "__doc__": "Does it.", "measure": measure, "metrics": (METRIC,)}


def bare(self: Any, level) -> Product: ...  # type: ignore[no-untyped-def]
def no_return(self: Any, level: Product): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (PipelineAlg, {"name": ""}, "has no `name`"),
        (PipelineAlg, {"name": None}, "has no `name`"),
        (PipelineAlg, {"__doc__": " "}, "has no docstring"),
        (PipelineAlg, {"run": None}, "defines no `run`: its signature is its contract"),
        (PipelineAlg, {"run": bare}, "annotate level"),
        (PipelineAlg, {"run": no_return}, "annotate the return value"),
        (MonitoringAlg, {"measure": None}, "defines no `measure`"),
        (MonitoringAlg, {"measure": bare}, "annotate level"),
        (MonitoringAlg, {"metrics": ()}, "declares no metrics"),
        (MonitoringAlg, {"metrics": (METRIC, METRIC)}, "declares a metric twice"),
    ],
)
def test_a_class_that_breaks_the_contract_cannot_be_made(base: type, change: dict[str, Any], message: str) -> None:
    good = GOOD_PA if base is PipelineAlg else GOOD_QA
    type("Fine", (base,), dict(good))
    with pytest.raises(TypeError, match=f"Broken.*{message}"):
        type("Broken", (base,), {**good, **change})


def test_a_name_is_not_inherited() -> None:
    with pytest.raises(TypeError, match="has no `name`"):
        type("Heir", (Scale,), {"__doc__": "Does the same."})


def test_parameters_are_found_in_the_base() -> None:
    assert Scale.params_type is ScaleParams
    assert type("Fine", (PipelineAlg,), dict(GOOD_PA)).params_type is NoParams
    heir = type("Heir", (Scale,), {"name": "heir", "__doc__": "Does the same."})
    assert heir.params_type is ScaleParams


def test_defaults_and_parameters_given() -> None:
    assert Scale().params == ScaleParams()
    assert Scale(ScaleParams(factor=3.0)).params.factor == 3.0
    assert Scale.get_default_config()[0] == ("factor", 2.0, "what the level is multiplied with")


def test_parameters_of_another_plugin_are_refused() -> None:
    with pytest.raises(BadConfig, match="level_qa: parameters are ScaleParams, it takes LevelQaParams"):
        LevelQa(ScaleParams())  # type: ignore[arg-type]


def test_a_plugin_is_pickled_with_its_parameters() -> None:
    assert pickle.loads(pickle.dumps(Scale(ScaleParams(factor=3.0)))).params.factor == 3.0


def test_a_product_names_its_kind() -> None:
    with pytest.raises(TypeError, match="a product names its `kind`"):
        type("Nameless", (Product,), {})


def test_the_base_class_of_parameters_is_not_taken_for_parameters_of_another_generic() -> None:
    class Mine(Params):
        """None."""

    class Takes(PipelineAlg[Mine]):
        """Does it."""

        name = "takes"

        def run(self, level: Product) -> Product:
            """The same."""
            return level

    assert Takes.params_type is Mine
