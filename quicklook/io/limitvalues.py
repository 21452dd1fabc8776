"""Conditions of limits held against an instrument: a value that no frame of it can have makes a limit that never applies."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator

from quicklook.core.history import is_night
from quicklook.core.limits import Limit
from quicklook.core.metrics import label_of
from quicklook.core.numericwhen import is_comparison, parse_comparison
from quicklook.io.instrument import Instrument

COMMON_FLAVORS = ("science", "arc", "flat", "zero", "dark")
"""A file of limits for many instruments may name all of these."""
_NUMBERS = {
    "exptime": (0.0, 1e6, False), "night": (19000101, 29991231, True), "expid": (0, 1e15, True), "fiber": (0, 1e6, True), "wave": (0.0, 1e9, False),
}  # fmt: skip
"""Tags and coordinates that are numbers: the least and the largest that there can be, and whether they are whole."""
_NAMES = frozenset(
    ("amp", "axis", "border", "camera", "companion", "detector", "edge", "flavor", "instrument", "kind", "lamp", "objtype", "program", "role",
     "stage", "target", "telescope", "test")
)  # fmt: skip
"""Tags and coordinates that are names, of which no comparison of numbers holds."""
_AXES = ("x", "y")
_RANGES = ("exptime", "wave")
"""What is measured and not counted: two numbers are easily meant as the ends of a range."""
_ARROWS = str.maketrans({"\u2264": "<=", "\u2265": ">=", "\u2212": "-", "\u2013": "-"})
_FROM_TO = re.compile(r"(\d+(?:\.\d*)?)\s*(?:-|to|\.\.)\s*(\d+(?:\.\d*)?)")
_MOST = 2000
"""Numbers that are tried against the pattern of a camera's name."""


def doubtful_values(limits: Iterable[Limit], instrument: Instrument) -> Iterator[str]:
    """A sentence, with file and line, for each condition that no frame can meet, as far as the instrument and the kind of value tell it.

    These are flavors, cameras, tags of their names and amplifiers that it has not; nights, exposure times, numbers of exposures and of fibres, and
    wavelengths that are none; comparisons of names with numbers; and two numbers that read as a range and are two exact values.
    """
    for limit in limits:
        place = f"{limit.source}: the limit of {limit.metric} holds for"
        for name, values in limit.when.items():
            for value in values:
                if why := _objection(name, value, instrument):
                    yield f"{place} {name} {value!r}, {why}; there it never applies"
            if why := _exact(name, values):
                yield f"{place} {why}"


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
    inner = group_pattern(pattern, name)
    if name in _NUMBERS:
        return _no_number(name, value)
    if is_comparison(value):
        if name in _NAMES:
            return f"which compares numbers, and {name} is a name"
        return f"which no camera of {instrument.name} has ({pattern})" if inner and not _some_number(inner, value) else ""
    if name == "flavor":
        flavors = tuple(dict.fromkeys((*instrument.flavors, *COMMON_FLAVORS)))
        return "" if value in (*flavors, "unknown") else f"which {instrument.name} has not{_nearest(value, flavors)}"
    if name == "axis":
        return "" if value in _AXES else f"which is none{_nearest(value, _AXES)}"
    if name == "amp":
        amplifiers = tuple(dict.fromkeys(amp for layout in instrument.layouts for amp in layout.amplifiers))
        known = value in amplifiers or any("{" in amp for amp in amplifiers)
        return "" if known else f"which {instrument.name} has not{_nearest(value, amplifiers)}"
    if name == "camera" and pattern and not re.fullmatch(pattern, instrument.camera_name(value)):
        return f"but cameras of {instrument.name} are named as {pattern}"
    if inner and not re.fullmatch(inner, value):
        return f"which no camera of {instrument.name} has ({pattern})"
    return ""


def _no_number(name: str, value: str) -> str:
    """Why a value of a tag or coordinate that is a number never is that of a frame; "" where it may be."""
    low, high, whole = _NUMBERS[name]
    if test := parse_comparison(value):
        return "" if test.possible(low, high, whole=whole) else f"which no {name} can be"
    if name == "night":
        return "" if is_night(value) else "which is no night (YYYYMMDD)"
    try:
        number = float(value) if value.isascii() and "_" not in value else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        return f"which is neither a number nor a comparison (write {_meant(value)})"
    if not low <= number <= high or (whole and not number.is_integer()):
        return f"which no {name} can be"
    written = f"{number:g}" if name == "exptime" else label_of(number)
    return "" if value == written else f"which is compared as text (write {written})"


def _meant(value: str) -> str:
    """How a condition on a number is written: this one where it can be guessed, else examples."""
    plain = value.translate(_ARROWS).strip()
    if found := _FROM_TO.fullmatch(plain):
        return f"'>={found[1]} <={found[2]}'"
    if plain.startswith("!="):
        return f"two limits, one without the condition and one for {plain[2:].strip()}"
    if is_comparison(plain):
        return repr(plain)
    return plain.lstrip("= ") if plain.startswith("=") else "300, '<300', or '>=60 <300'"


def _exact(name: str, values: tuple[str, ...]) -> str:
    """That two numbers, the smaller one first, are no range; "" of all else."""
    if name not in _RANGES or len(values) != 2:
        return ""
    try:
        low, high = (float(v) for v in values)
    except ValueError:
        return ""
    return f"{name} {values[0]} and {values[1]} exactly, not between; if a range is meant, write '>={values[0]} <={values[1]}'" if low < high else ""


def _some_number(pattern: str, value: str) -> bool:
    """Whether a number that meets a comparison has the form of a part of a camera's name; whole numbers below 2000, with and without zeros before."""
    test, form = parse_comparison(value), re.compile(pattern)
    return test is not None and any(form.fullmatch(f"{n:0{width}d}") for n in range(_MOST) if test.holds(str(n)) for width in (1, 2, 3))


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
