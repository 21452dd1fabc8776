"""Group algorithms: a PA that asks for a ``Sequence`` of a product runs over the exposures of a group, one loaded at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from quicklook.core.contract import contract_of
from quicklook.core.errors import MissingCalibration
from quicklook.core.plugin import PipelineAlg
from quicklook.core.product import Product

T = TypeVar("T")


class Streamed(Sequence[T]):
    """A sequence whose items are loaded when they are asked for and are not kept: a group of any size in the memory of one."""

    def __init__(self, loaders: Sequence[Callable[[], T]]) -> None:
        self._loaders = tuple(loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Streamed[T]: ...
    def __getitem__(self, index: int | slice) -> T | Streamed[T]:
        if isinstance(index, slice):
            return Streamed(self._loaders[index])
        return self._loaders[index]()

    def __iter__(self) -> Iterator[T]:
        return (load() for load in self._loaders)


def run_group(
    algorithm: PipelineAlg[Any], members: Mapping[type[Product], Sequence[Any]], single: Mapping[type[Product], Product] | None = None
) -> tuple[Product, ...]:
    """Run a group algorithm: `members` gives the sequence of each type, `single` what it needs once (a calibration, say).

    Raises MissingCalibration where an input that is not optional is absent, TypeError where it returns what its signature does not say.
    """
    contract, inputs = contract_of(type(algorithm)), {}
    for need in contract.inputs:
        found = members.get(need.type) if need.sequence else (single or {}).get(need.type)
        if found is None and not need.optional:
            raise MissingCalibration(f"{algorithm.name} needs {need.type.kind}, and the group has none")
        inputs[need.name] = found
    return contract.products(algorithm.name, algorithm.run(**inputs))  # type: ignore[attr-defined]
