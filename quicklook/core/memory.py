"""Memory of a long-lived process."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable
from typing import Any

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
