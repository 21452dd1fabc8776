"""What was found out of an array that nobody changes, kept while the array lives: several QAs ask the same of one raw image."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from quicklook.ccd.arrays import Raw

T = TypeVar("T")
_known: dict[int, tuple[weakref.ref[Any], dict[Hashable, Any]]] = {}


def remembered(array: Raw, key: Hashable, make: Callable[[], T]) -> T:
    """The result of `make`, or what it gave before for this array and key.

    `make` must depend on the array and the key alone, and its result must not be changed. Nothing is kept of an array that can be
    written, or that is a view of another one: what it holds may change. The array itself is not kept alive.
    """
    if array.flags.writeable or array.base is not None:
        return make()
    number = id(array)
    held = _known.get(number)
    if held is None or held[0]() is not array:
        held = (weakref.ref(array, lambda gone: _forget(number, gone)), {})
        _known[number] = held
    found = held[1]
    if key not in found:
        found[key] = make()
    result: T = found[key]
    return result


def _forget(number: int, gone: weakref.ref[Any]) -> None:
    """Drop what was known of an array that is gone, unless another one has its number by now."""
    held = _known.get(number)
    if held is not None and held[0] is gone:
        del _known[number]
