"""Memory of a long-lived process."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

log = logging.getLogger(__name__)


@functools.cache
def _trim() -> Callable[[int], Any] | None:
    """`malloc_trim` of the GNU C library; None where the system has another."""
    try:
        trim: Callable[[int], Any] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError) as error:  # TypeError: Windows has no library without a name
        log.debug("free memory is not given back: %s", error)
        return None
    return trim


def give_back() -> bool:
    """Give memory that is free, yet held by the allocator, back to the system; whether that was possible.

    Between two exposures of a full camera it is some 40 MB; it takes a few milliseconds, for moments when nobody waits.
    """
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True


def array_bytes(things: Iterable[Any]) -> int:
    """Bytes of memory in the arrays that dataclasses, mappings and sequences hold, each buffer once; what is mapped from a file counts nothing."""
    buffers: dict[int, int] = {}
    seen: set[int] = set()
    left = list(things)
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            if not isinstance(thing, np.memmap):
                buffers[id(thing)] = thing.nbytes
        elif dataclasses.is_dataclass(thing):
            left += [getattr(thing, f.name) for f in dataclasses.fields(thing)]
        elif isinstance(thing, Mapping):
            left += thing.values()
        elif isinstance(thing, list | tuple):
            left += thing
    return sum(buffers.values())
