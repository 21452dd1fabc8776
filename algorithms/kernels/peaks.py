"""Peaks of a one-dimensional profile: traces across the dispersion, lines along it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import finite, jit

Array = npt.NDArray[Any]


@jit
def local_maxima(profile: Array, error: Array, floor: Any, least: Any, place: Array, height: Array) -> int:
    """Local maxima of `profile` [n] that rise `least` times `error` [n] and `floor` above the lower of the two minima beside them.

    A place is that of the parabola through the highest sample and its neighbours. place, height (above the higher one of both minima) are
    filled, in rising order; returns how many there are. Samples that are not finite end a peak.
    """
    n, found = profile.size, 0
    last = -1  # lowest sample since the last peak
    for i in range(1, n - 1):
        a, b, c = profile[i - 1], profile[i], profile[i + 1]
        if not (finite(a) and finite(b) and finite(c)):
            last = -1
            continue
        if last < 0 or a < profile[last]:
            last = i - 1
        if not (b > a and b >= c):
            continue
        j = i + 1
        low = c
        while j < n and finite(profile[j]) and profile[j] <= b:
            if profile[j] < low:
                low = profile[j]
            elif profile[j] > low + least * error[i] + floor:
                break
            j += 1
        rise = b - max(profile[last], low)
        if not rise > least * error[i] + floor:
            continue
        if found >= place.size:
            return found
        curve = a - 2.0 * b + c
        place[found] = i + (0.5 * (a - c) / curve if curve < 0 else 0.0)
        height[found] = rise
        found += 1
        last = i
    return found


def peaks(profile: Array, error: Array | float, floor: float = 0.0, least: float = 5.0) -> tuple[Array, Array]:
    """Places and heights of the peaks of a profile [n], in rising order of place; see `local_maxima`."""
    place, height = np.empty(max(1, len(profile) // 2)), np.empty(max(1, len(profile) // 2))
    values, errors = np.asarray(profile, np.float64), np.broadcast_to(np.asarray(error, np.float64), np.shape(profile))
    found = local_maxima(values, np.ascontiguousarray(errors), float(floor), float(least), place, height)
    return place[:found].copy(), height[:found].copy()
