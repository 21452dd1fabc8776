"""When an exposure was, for the order of its metrics."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

NEAR_NS = 3 * 86400 * 10**9
"""The time of an exposure and the beginning of its night never differ by more."""


def night_ns(night: int) -> int | None:
    """Midnight (UTC) at the beginning of the day that the night has its name from; None for what is no date."""
    try:
        return int(datetime.strptime(f"{night:08d}", "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 10**9
    except (ValueError, OverflowError):
        return None


def start_ns(text: str) -> int | None:
    """A time as the tag `start` has it (ISO, UTC); None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


def exposure_ns(night: int, start: str, seen_ns: int) -> int:
    """The start of an exposure; where that is not known or not near its night, when it was seen; where that is not near either, noon of its night.

    So a night is found by time, also where an archive is processed years later.
    """
    begins = night_ns(night)
    told = start_ns(start)
    if begins is None:
        return told if told is not None else seen_ns
    for time in (told, seen_ns):
        if time is not None and abs(time - begins) <= NEAR_NS:
            return time
    return begins + 43200 * 10**9


def number(text: object) -> float | None:
    """A finite number in a tag, or None."""
    try:
        found = float(str(text))
    except ValueError:
        return None
    return found if math.isfinite(found) else None
