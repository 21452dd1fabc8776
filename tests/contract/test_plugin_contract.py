"""Every PA and QA that is installed holds to the contract, with good data and with bad."""

from __future__ import annotations

from typing import Any

import contract_checks
import product_factories
import pytest
from contract_checks import AnyPlugin
from product_factories import CASES, Case

from quicklook.core.product import Product
from quicklook.core.registry import PluginRef, registered

REFS = [ref for kind in ("algorithm", "qa") for ref in registered(kind).values()]
BEHAVIOUR = [c for c in contract_checks.CHECKS if c not in contract_checks.CLASS_CHECKS]
ABOUT_INPUTS = (contract_checks.check_changes_no_input, contract_checks.check_deterministic)
PLUGINS = pytest.mark.parametrize("ref", REFS, ids=lambda r: r.name)


def test_there_are_plugins() -> None:
    """An empty suite would pass."""
    assert {"preproc"} <= {r.name for r in REFS if r.kind == "algorithm"}
    assert len([r for r in REFS if r.kind == "qa"]) >= 7
    assert len(BEHAVIOUR) >= 8


@PLUGINS
@pytest.mark.parametrize("check", contract_checks.CLASS_CHECKS, ids=lambda c: c.__name__)
def test_the_class(ref: PluginRef, check: Any) -> None:
    plugin: AnyPlugin = ref.load()
    check(plugin, lambda: product_factories.inputs_of(plugin))


@PLUGINS
def test_it_has_the_name_that_it_is_registered_by(ref: PluginRef) -> None:
    assert ref.load().name == ref.name


@PLUGINS
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_what_it_does(ref: PluginRef, case: Case) -> None:
    plugin: AnyPlugin = ref.load()
    made = product_factories.inputs_of(plugin, case)  # by all who come after those that look whether it is changed, or matters which it is
    for check in BEHAVIOUR:
        check(plugin, (lambda: product_factories.inputs_of(plugin, case)) if check in ABOUT_INPUTS else lambda: made)


def test_a_product_type_without_a_factory_is_named() -> None:
    class Strange(Product):
        """Nobody has said how it is made."""

        kind = "strange"

    with pytest.raises(AssertionError, match=r"no factory makes a Strange: add one to FACTORIES in tests/contract/product_factories.py"):
        product_factories.make(Strange)


def test_every_metric_is_declared_once_in_the_project() -> None:
    seen: dict[str, Any] = {}
    for ref in registered("qa").values():
        for metric in ref.load().metrics:
            assert seen.setdefault(metric.name, metric) == metric, f"{metric.name} is declared in two ways"
