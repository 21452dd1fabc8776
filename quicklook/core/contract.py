"""Signatures read as contracts: what a plugin needs, by type, and what it makes."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quicklook.core.errors import BadConfig
from quicklook.core.metrics import Measures
from quicklook.core.plugin import MonitoringAlg, PipelineAlg, Plugin
from quicklook.core.product import BEFORE, Calibration, Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One argument: its name, the product type, whether it may be absent, is wanted as before the step, or as a sequence."""

    name: str
    type: type[Product]
    optional: bool = False
    before: bool = False
    sequence: bool = False

    @property
    def calibration(self) -> bool:
        """Whether it can come from the calibration index."""
        return issubclass(self.type, Calibration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a plugin takes and makes. `outputs` is empty for a QA."""

    inputs: tuple[Requirement, ...]
    outputs: tuple[type[Product], ...]

    @property
    def group(self) -> bool:
        """Whether it runs over the exposures of a group."""
        return any(r.sequence for r in self.inputs)

    def products(self, who: str, made: object) -> tuple[Product, ...]:
        """What `who` has returned, as a tuple. Raises TypeError where it is not what the signature says."""
        out: tuple[Any, ...] = made if isinstance(made, tuple) else (made,)
        if len(out) != len(self.outputs):
            raise TypeError(f"{who} returned {len(out)} products, its signature says {len(self.outputs)}")
        for product, wanted in zip(out, self.outputs, strict=True):
            if not isinstance(product, wanted):
                raise TypeError(f"{who} returned {type(product).__name__}, its signature says {wanted.__name__}")
        return out


def _product(hint: Any, what: str) -> type[Product]:
    if isinstance(hint, type) and issubclass(hint, Product):
        return hint
    raise BadConfig(f"{what} is {hint!r}; a plugin takes and makes products (subclasses of Product)")


def _requirement(name: str, hint: Any, what: str) -> Requirement:
    before = optional = sequence = False
    while True:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            before, hint = before or BEFORE in args[1:], args[0]
        elif origin in (typing.Union, types.UnionType) and type(None) in args and len(args) == 2:
            optional, hint = True, next(a for a in args if a is not type(None))
        elif origin is Sequence and args:
            sequence, hint = True, args[0]
        else:
            break
    return Requirement(name=name, type=_product(hint, what), optional=optional, before=before, sequence=sequence)


def _outputs(hint: Any, what: str) -> tuple[type[Product], ...]:
    if typing.get_origin(hint) is not tuple:
        return (_product(hint, what),)
    made = tuple(_product(a, what) for a in typing.get_args(hint))
    if not made or len(set(made)) < len(made):
        raise BadConfig(f"{what} is {hint!r}; name one product or more, each type once: the runner keeps the latest of each")
    return made


def _names(function: Any, where: str) -> list[str]:
    """Names of the arguments, which are given by keyword. Raises BadConfig for those that cannot be."""
    arguments = list(inspect.signature(function).parameters.values())[1:]
    odd = [a.name for a in arguments if a.kind not in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)]
    if odd:
        raise BadConfig(f"argument {', '.join(odd)} of {where} cannot be given by its name; write plain arguments, without * and /")
    return [a.name for a in arguments]


_KNOWN: dict[Any, Contract] = {}


def contract_of(plugin: type[Plugin[Any]]) -> Contract:
    """The contract of a PA or QA class. Raises BadConfig where its signature names anything but products."""
    if plugin not in _KNOWN:
        _KNOWN[plugin] = _read_contract(plugin)
    return _KNOWN[plugin]


def _read_contract(plugin: type[Plugin[Any]]) -> Contract:
    if issubclass(plugin, PipelineAlg):
        method = "run"
    elif issubclass(plugin, MonitoringAlg):
        method = "measure"
    else:
        raise BadConfig(f"{plugin!r} is neither a PipelineAlg nor a MonitoringAlg")
    function = getattr(plugin, method)
    where = f"{plugin.__module__}.{plugin.__qualname__}.{method}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise BadConfig(f"{where}: an annotation cannot be read ({error}); import its types at run time") from error
    inputs = tuple(_requirement(n, hints[n], f"argument {n} of {where}") for n in _names(function, where))
    if method == "measure":
        if hints["return"] is not Measures:
            raise BadConfig(f"{where} must return Measures")
        return Contract(inputs=inputs, outputs=())
    return Contract(inputs=inputs, outputs=_outputs(hints["return"], f"the return value of {where}"))
