"""The line protocol of InfluxDB: points as lines of text, one point a line whatever names and texts hold. Pure.

Source: InfluxDB 1.x and 2.x documentation, line protocol reference. Tags are indexed text, fields are typed values, times are ns since 1970, UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

FieldValue = float | int | bool | str | None
_LONGEST_TAG = 200
_LONGEST_TEXT = 4000
"""Characters; a series key is of at most 64 kB in InfluxDB, and so is a text."""
_INT64 = 2**63
_NAMES = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\="})
_TEXTS = str.maketrans({'"': r"\"", "\\": r"\\"})
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\\\ud800-\udfff]")
"""What the protocol has no way to say in a name or a tag: ends of lines, and a backslash before what is escaped."""
_NOT_IN_TEXTS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_RESERVED = frozenset({"time", "_field", "_measurement", "_time"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What is known of one series at one time (UTC, ns). A tag that is empty is left out, and so is a field that is None or no finite number."""

    measurement: str
    tags: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, FieldValue]
    time_ns: int


def name_of(text: str) -> str:
    """A name or the value of a tag as it is stored: what the protocol cannot say is ``_``, and it has an end."""
    return _NOT_IN_NAMES.sub("_", text[:_LONGEST_TAG]).strip()


def text_of(text: str) -> str:
    """A text as it is stored in a field: in one line, and with an end."""
    return _NOT_IN_TEXTS.sub(" ", text[:_LONGEST_TEXT])


def _key(text: str) -> str:
    name = name_of(text)
    if name in _RESERVED:  # they are dropped by servers without a word
        name = f"{name.lstrip('_')}_"
    return name.translate(_NAMES)


def _value(value: FieldValue) -> str:
    """A field as it is written; "" for what is left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return f"{value}i"
    if isinstance(value, str):
        return f'"{text_of(value).translate(_TEXTS)}"'
    return repr(float(value)) if value is not None and _is_finite(value) else ""


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def line_of(point: Point) -> str:
    """A point as one line, without its end; "" where no field is left, or the measurement has no name."""
    # names that are stored alike: one that is left out takes no other with it
    named = {key: text for name, value in point.fields.items() if (key := _key(name)) and (text := _value(value))}
    fields = ",".join(f"{name}={value}" for name, value in named.items())
    measurement = name_of(point.measurement).lstrip("#").replace(",", r"\,").replace(" ", r"\ ")
    if not fields or not measurement:
        return ""
    tags = {key: text for name, value in point.tags.items() if (key := _key(name)) and (text := name_of(value).translate(_NAMES))}
    # sorted, as servers like them best
    key = "".join(f",{name}={value}" for name, value in sorted(tags.items()))
    return f"{measurement}{key} {fields} {point.time_ns}"


def encode(points: Iterable[Point]) -> bytes:
    """Points as lines in UTF-8, each with its end."""
    return "".join(f"{line}\n" for point in points if (line := line_of(point))).encode()
