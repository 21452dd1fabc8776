"""What every plugin must hold to, ours and those of others.

Each check takes a plugin class and a function that makes its inputs afresh, and raises AssertionError in words. They know nothing of
detectors: what products look like is the business of `product_factories`. A package of somebody else runs them on its own plugins:

    @pytest.mark.parametrize("check", contract_checks.CHECKS, ids=lambda c: c.__name__)
    def test_contract(check):
        check(MyAlgorithm, lambda: product_factories.inputs_of(MyAlgorithm))
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from quicklook.core.contract import contract_of
from quicklook.core.errors import NotApplicable, QuicklookError
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet
from quicklook.core.metrics import Measured, Measures
from quicklook.core.plots import Axis, Bars, FocalPlane, Image, Layer, Plot, Scatter, Table, pack, unpack
from quicklook.core.plugin import MonitoringAlg, PipelineAlg, Plugin
from quicklook.core.product import Product
from quicklook.core.results import QAResult

AnyPlugin = type[Plugin[Any]]
Inputs = Mapping[str, Any]
MakeInputs = Callable[[], Inputs]


def call(plugin: Plugin[Any], inputs: Inputs) -> Any:
    """What a plugin with its parameters makes of inputs; the reason in words where it does not apply or refuses them."""
    try:
        return plugin.run(**inputs) if isinstance(plugin, PipelineAlg) else plugin.measure(**inputs)  # type: ignore[attr-defined]
    except NotApplicable as reason:
        return f"not applicable: {reason}"
    except QuicklookError as error:
        return f"{type(error).__name__}: {error}"


def equal(a: Any, b: Any) -> bool:
    """Equal to the last bit: types, dtypes, shapes, values (NaN equals NaN)."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and _same_values(a, b)
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, Sequence) and not isinstance(a, str | bytes):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def _same_values(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") if a.dtype.names is None else a.tobytes() == b.tobytes()


def arrays(item: Any) -> Iterator[np.ndarray]:
    """All arrays in a product or a result."""
    if isinstance(item, np.ndarray):
        yield item
    elif dataclasses.is_dataclass(item):
        for f in dataclasses.fields(item):
            yield from arrays(getattr(item, f.name))
    elif isinstance(item, Mapping):
        for value in item.values():
            yield from arrays(value)
    elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
        for value in item:
            yield from arrays(value)


# ---- of the class


def check_documented(plugin: AnyPlugin, make: MakeInputs) -> None:
    """A sentence on the plugin and on its method: what `list --long` and the reference show."""
    assert (plugin.__dict__.get("__doc__") or "").strip(), f"{plugin.__qualname__} has no docstring of its own"
    method = plugin.run if issubclass(plugin, PipelineAlg) else plugin.measure  # type: ignore[attr-defined]
    assert (method.__doc__ or "").strip(), f"{plugin.__qualname__}.{method.__name__} has no docstring: what it gives, and what it raises"
    assert (inspect.getmodule(plugin).__doc__ or "").strip(), f"module {plugin.__module__} has no docstring"  # type: ignore[union-attr]
    assert (plugin.params_type.__doc__ or "").strip(), f"{plugin.params_type.__qualname__} has no docstring"


def check_defaults(plugin: AnyPlugin, make: MakeInputs) -> None:
    """It can be made with its defaults; every parameter has a default that can be written to a chain file, and a description."""
    made = plugin()
    for name, default, description in plugin.get_default_config():
        assert description.strip(), f"parameter {name} has no description"
        assert default is not None or "null" in description.lower() or "none" in description.lower() or "not" in description.lower(), (
            f"parameter {name} is null by default: say in its description what that means"
        )
    written = json.loads(json.dumps(made.params.model_dump(mode="json"), allow_nan=False))
    assert plugin.params_type.model_validate(written) == made.params, "defaults, written out and read again, are others"


def check_contract(plugin: AnyPlugin, make: MakeInputs) -> None:
    """Its signature can be read, and what it takes is what the factories make."""
    contract = contract_of(plugin)
    assert contract.inputs, f"{plugin.name} takes nothing"
    assert issubclass(plugin, MonitoringAlg) or contract.outputs, f"{plugin.name} makes nothing"
    inputs = make()
    assert list(inputs) == [r.name for r in contract.inputs]
    assert any(v is not None for v in inputs.values())


# ---- of what it does


def check_changes_no_input(plugin: AnyPlugin, make: MakeInputs) -> None:
    """Its inputs are the same bytes afterwards; nobody could have written to their arrays."""
    inputs = make()
    before = pickle.dumps(inputs)
    for array in arrays(inputs):
        assert not array.flags.writeable, "an array of an input can be written to: its type makes it read-only when it is made"
    call(plugin(), inputs)
    assert equal(pickle.loads(before), pickle.loads(pickle.dumps(inputs))), f"{plugin.name} changes its inputs"


def check_deterministic(plugin: AnyPlugin, make: MakeInputs) -> None:
    """Two runs are equal: with one instance, with another one, and with inputs made again."""
    one, inputs = plugin(), make()
    first = call(one, inputs)
    assert equal(first, call(one, inputs)), f"{plugin.name} gives something else when it is called again: it keeps a state"
    assert equal(first, call(plugin(), make())), f"{plugin.name} gives something else with a new instance"


def check_pickles(plugin: AnyPlugin, make: MakeInputs) -> None:
    """It goes to a worker and back, and gives the same there."""
    again = pickle.loads(pickle.dumps(plugin()))
    result = call(plugin(), make())
    assert equal(call(again, make()), result), f"{plugin.name} gives something else when it was pickled"
    assert equal(pickle.loads(pickle.dumps(result)), result), f"what {plugin.name} gives cannot be pickled"


def check_works_without_what_is_optional(plugin: AnyPlugin, make: MakeInputs) -> None:
    """Inputs that may be absent are absent: it gives a result, or says in words why not."""
    optional = [r.name for r in contract_of(plugin).inputs if r.optional]
    result = call(plugin(), {k: None if k in optional else v for k, v in make().items()})
    assert isinstance(result, Product | Measures | tuple | str), f"{plugin.name} returned {type(result).__name__}"


def check_products(plugin: AnyPlugin, make: MakeInputs) -> None:
    """A PA returns what its signature says, in arrays that nobody can change, without sharing its inputs' memory for writing."""
    if not issubclass(plugin, PipelineAlg):
        return
    made = call(plugin(), make())
    if isinstance(made, str):
        return
    for product in contract_of(plugin).products(plugin.name, made):
        for array in arrays(product):
            assert not array.flags.writeable, f"{plugin.name} returns a writable array in {type(product).__name__}"
            assert array.size, f"{plugin.name} returns an empty array in {type(product).__name__}"


def check_measures(plugin: AnyPlugin, make: MakeInputs) -> None:
    """A QA returns the metrics that it declares, over the dimensions it declares; finite, or NaN with a remark that says why."""
    if not issubclass(plugin, MonitoringAlg):
        return
    measures = call(plugin(), make())
    if isinstance(measures, str):
        assert len(measures.partition(": ")[2]) > 3, f"{plugin.name} does not apply and does not say why"
        return
    assert isinstance(measures, Measures), f"{plugin.name} returned {type(measures).__name__}"
    Judge(LimitSet()).measures(plugin.metrics, measures, {})
    missing = {d.name for d in plugin.metrics} - {m.name for m in measures.metrics}
    assert not missing, f"{plugin.name} declares and does not return: {', '.join(sorted(missing))}; use not_applicable, or NaN with a remark"
    for metric in measures.metrics:
        _check_values(plugin.name, metric)
    QAResult(name=plugin.name, step="s", group=plugin.group, status=None, seconds=0.0, facts=dict(measures.facts))


def _check_values(qa: str, metric: Measured) -> None:
    if metric.not_applicable is not None:
        assert metric.not_applicable.strip(), f"{qa}: {metric.name} does not apply and does not say why"
        return
    assert metric.values.dtype == np.float64, f"{qa}: {metric.name} holds {metric.values.dtype}"
    assert not np.isinf(metric.values).any(), f"{qa}: {metric.name} is infinite; say NaN and why"
    for dim, names in metric.coords.items():
        assert len(set(names)) == len(names), f"{qa}: {metric.name} has a coordinate of {dim} twice"
        assert all(type(c) in (str, int, float) for c in names), f"{qa}: coordinates of {metric.name} are no plain text or numbers"
    for index in np.argwhere(np.isnan(metric.values)):
        at = tuple(names[i] for names, i in zip(metric.coords.values(), index, strict=True))
        assert metric.remarks.get(at, "").strip(), f"{qa}: {metric.name} of {at} is NaN and no remark says why"
    for at in metric.remarks:
        assert all(c in names for c, names in zip(at, metric.coords.values(), strict=True)), (
            f"{qa}: a remark of {metric.name} on {at}, which is not there"
        )


def check_units(plugin: AnyPlugin, make: MakeInputs) -> None:
    """Units of metrics and of axes are units to astropy."""
    if not issubclass(plugin, MonitoringAlg):
        return
    for metric in plugin.metrics:
        _check_unit(f"metric {metric.name}", metric.unit)
    measures = call(plugin(), make())
    for plot in measures.plots if isinstance(measures, Measures) else ():
        for axis in _axes(plot):
            _check_unit(f"plot {plot.name}, axis {axis.label!r}", axis.unit)


def _check_unit(what: str, unit: str) -> None:
    from astropy import units

    with units.add_enabled_aliases({"ADU": units.adu}):
        try:
            units.Unit(unit)
        except ValueError as error:
            raise AssertionError(f"{what}: {unit!r} is no unit: {error}") from error


def _axes(plot: Plot) -> Iterator[Axis]:
    for panel in plot.panels:
        yield from (panel.x, panel.y)
        for layer in panel.layers:
            if isinstance(layer, Scatter | Image | FocalPlane) and layer.c_axis is not None:
                yield layer.c_axis


def check_plots(plugin: AnyPlugin, make: MakeInputs) -> None:
    """Plots have a title and labelled axes, name metrics that there are, hold arrays that fit each other, and can be stored without pickle."""
    measures = call(plugin(), make()) if issubclass(plugin, MonitoringAlg) else ""
    if not isinstance(measures, Measures):
        return
    names = [p.name for p in measures.plots]
    assert len(set(names)) == len(names), f"two plots of one name: {names}"
    metrics = {m.name for m in plugin.metrics}
    for plot in measures.plots:
        assert plot.title.strip(), f"plot {plot.name} has no title"
        assert plot.panels, f"plot {plot.name} has no panel"
        assert all(a.label.strip() for a in _axes(plot)), f"plot {plot.name} has an axis without label"
        assert {p.metric for p in plot.panels} - {None} <= metrics, f"plot {plot.name} names a metric that {plugin.name} does not declare"
        for panel in plot.panels:
            assert not panel.bands, f"plot {plot.name} has bands: those are the judge's"
            for layer in panel.layers:
                _check_layer(plot.name, layer)
    skeleton, table = pack(measures.plots)
    assert equal(unpack(json.loads(json.dumps(skeleton, allow_nan=False)), table), measures.plots), "plots, stored and read again, are others"
    assert all(a.dtype.kind in "biuf" for a in table.values()), "a plot holds an array of objects"


def _check_layer(plot: str, layer: Layer) -> None:
    if isinstance(layer, Image):
        assert layer.values.ndim == 2, f"plot {plot}: an image of shape {layer.values.shape}"
        assert layer.mask is None or layer.mask.shape == layer.values.shape, f"plot {plot}: mask and image differ in shape"
        assert layer.values.size <= 1_500_000, f"plot {plot}: an image of {layer.values.size} pixels is a product, not a plot; bin it"
        return
    if isinstance(layer, Table):
        lengths = {len(row) for row in (layer.header, *layer.rows)}
    elif isinstance(layer, Bars):
        assert not layer.statuses, f"plot {plot}: bars have statuses: those are the judge's"
        lengths = {len(layer.names), len(layer.heights), len(layer.words or layer.names)}
    else:
        lengths = {len(a) for a in (layer.x, layer.y, getattr(layer, "c", None)) if a is not None}
    assert len(lengths) == 1, f"plot {plot}: a {type(layer).__name__} whose arrays differ in length: {lengths}"


CHECKS = (
    check_documented,
    check_defaults,
    check_contract,
    check_changes_no_input,
    check_deterministic,
    check_pickles,
    check_works_without_what_is_optional,
    check_products,
    check_measures,
    check_units,
    check_plots,
)
"""Every check, in the order in which a reader wants to hear of it."""

CLASS_CHECKS = (check_documented, check_defaults, check_contract)
"""Those that look at the class alone: once is enough, whatever the data."""
