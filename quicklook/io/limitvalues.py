"""Conditions of limits held against an instrument: a value that no frame of it can have makes a limit that never applies."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from quicklook.core.history import is_night
from quicklook.core.limits import Limit
from quicklook.io.instrument import Instrument

COMMON_FLAVORS = ("science", "arc", "flat", "zero", "dark")
"""A file of limits for many instruments may name all of these."""


def doubtful_values(limits: Iterable[Limit], instrument: Instrument) -> Iterator[str]:
    """A sentence, with file and line, for each condition on a flavor, a camera, a tag of its name, a night or an amplifier that no frame can have."""
    for limit in limits:
        for name, values in limit.when.items():
            for value in values:
                if why := _objection(name, value, instrument):
                    yield f"{limit.source}: the limit of {limit.metric} holds for {name} {value!r}, {why}; there it never applies"


def shadowed(limits: Iterable[Limit]) -> Iterator[str]:
    """A sentence for each limit that never applies, for a later one in the same file has the same conditions. (Of another file it is meant.)"""
    later: dict[tuple[object, ...], Limit] = {}
    for limit in reversed(tuple(limits)):
        file = limit.source.rpartition(":")[0]
        key = (file, limit.metric, limit.valid, *sorted((k, tuple(sorted(v))) for k, v in limit.when.items()))
        if (other := later.setdefault(key, limit)) is not limit:
            yield f"{limit.source}: the limit of {limit.metric} never applies: that at {other.source} has the same conditions and comes later"


def _objection(name: str, value: str, instrument: Instrument) -> str:
    pattern = instrument.cameras.tags
    if name == "flavor":
        flavors = tuple(dict.fromkeys((*instrument.flavors, *COMMON_FLAVORS)))
        return "" if value in (*flavors, "unknown") else f"which {instrument.name} has not{_nearest(value, flavors)}"
    if name == "night":
        return "" if is_night(value) else "which is no night (YYYYMMDD)"
    if name == "amp":
        amplifiers = tuple(dict.fromkeys(amp for layout in instrument.layouts for amp in layout.amplifiers))
        known = value in amplifiers or any("{" in amp for amp in amplifiers)
        return "" if known else f"which {instrument.name} has not{_nearest(value, amplifiers)}"
    if name == "camera" and pattern and not re.fullmatch(pattern, instrument.camera_name(value)):
        return f"but cameras of {instrument.name} are named as {pattern}"
    inner = group_pattern(pattern, name)
    if inner and not re.fullmatch(inner, value):
        return f"which no camera of {instrument.name} has ({pattern})"
    return ""


def _nearest(value: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(value, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (it has {', '.join(known)})"


def group_pattern(pattern: str, name: str) -> str:
    """What stands in the named group of a regular expression, such as ``[brz]`` for arm; "" where it has no such group."""
    start = pattern.find(f"(?P<{name}>")
    if start < 0:
        return ""
    begin = end = start + len(f"(?P<{name}>")
    depth, in_class = 1, False
    while end < len(pattern) and depth:
        char = pattern[end]
        if char == "\\":
            end += 1
        elif in_class or char == "[":
            in_class = char != "]"
        else:
            depth += (char == "(") - (char == ")")
        end += 1
    return pattern[begin : end - 1]
