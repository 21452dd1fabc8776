"""Facts from headers, by the mapping of the instrument; what is missing, absurd or contradictory becomes a sentence, never an exception."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from quicklook.ccd.image import Header, HeaderValue
from quicklook.io.instrument import Condition, FieldSpec, Instrument, Range, between_slashes, change_case

Check = Literal["headers", "hdus", "night", "companions"]

_SEXAGESIMAL = re.compile(r"([+-]?)(\d+)[:\s](\d+)(?:[:\s](\d+(?:\.\d*)?))?\Z")
_OLD_DATE = re.compile(r"(\d\d)/(\d\d)/(\d\d)\Z")
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(slots=True)
class Problems:
    """Sentences by the check that they belong to, each once."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, check: Check, sentence: str) -> None:
        """Note one."""
        known = self.found.setdefault(check, [])
        if sentence not in known:
            known.append(sentence)

    def frozen(self) -> Mapping[str, tuple[str, ...]]:
        """As they go into an Arrival."""
        return {check: tuple(sentences) for check, sentences in self.found.items()}


class Headers:
    """Headers in the order in which keywords are looked up. Empty texts count as absent; case and blanks do not matter."""

    def __init__(self, *headers: Header) -> None:
        self._headers = headers

    def get(self, keyword: str) -> HeaderValue:
        """The first value that says something, None if there is none; texts are stripped."""
        key = keyword.strip()
        for header in self._headers:
            value = header.get(key)
            if isinstance(value, str):
                value = value.strip() or None
            if value is not None:
                return value
        return None

    def has(self, keyword: str) -> bool:
        """Whether it is written at all, with a value or without."""
        return any(keyword.strip() in header for header in self._headers)

    def matching(self, keyword: str) -> Iterator[HeaderValue]:
        """Values of a keyword, or of all that match /a regular expression/."""
        slashed = between_slashes(keyword)
        if slashed is None:
            yield self.get(keyword)
            return
        pattern = re.compile(slashed, re.IGNORECASE)
        for key in dict.fromkeys(k for header in self._headers for k in header):
            if pattern.fullmatch(key):
                yield self.get(key)


def number_of(value: HeaderValue) -> float | None:
    """A header value as a number, also one that was written as a text; None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def holds(condition: Condition, value: HeaderValue) -> bool:
    """Whether a value fits a condition of the configuration."""
    if isinstance(condition, Range):
        if condition.present is not None and condition.present != (value is not None):
            return False
        if condition.min is None and condition.max is None:
            return True
        number = number_of(value)
        return number is not None and (condition.min is None or number >= condition.min) and (condition.max is None or number <= condition.max)
    if isinstance(condition, tuple):
        return any(holds(c, value) for c in condition)
    return _equal(condition, value)


def _equal(wanted: str | int | float | bool, value: HeaderValue) -> bool:
    if value is None:
        return False
    if isinstance(wanted, bool) or isinstance(value, bool):
        return str(wanted).lower()[0] == str(value).lower()[0]
    if isinstance(wanted, str):
        slashed = between_slashes(wanted)
        text = str(value).strip()
        return text.lower() == wanted.strip().lower() if slashed is None else bool(re.search(slashed, text, re.IGNORECASE))
    number = number_of(value)
    return number is not None and math.isclose(number, wanted, rel_tol=1e-9, abs_tol=1e-9)


def all_hold(conditions: Mapping[str, Condition], headers: Headers) -> bool:
    """Whether every condition holds."""
    return all(any(holds(c, v) for v in headers.matching(key)) for key, c in conditions.items())


def text_of(spec: FieldSpec, headers: Headers) -> str:
    """The text of a field, empty where nothing says it."""
    for rule in spec.rules:
        if all_hold(rule.when, headers):
            return rule.value
    for keyword in spec.keywords:
        value = headers.get(keyword)
        if value is not None:
            return change_case(_mapped(spec, value), spec.case)
    return spec.default or ""


def _mapped(spec: FieldSpec, value: HeaderValue) -> str:
    for wanted, meaning in spec.values.items():
        if _equal(wanted, value) or (number_of(wanted) is not None and _equal(float(wanted), value)):
            return meaning
    return " ".join(str(value).split())


def number_field(what: str, spec: FieldSpec, headers: Headers, problems: Problems, low: float = -math.inf, high: float = math.inf) -> float | None:
    """The number of a field; None where no keyword has one within [low, high]. What is there and is no such number is a problem."""
    for keyword in spec.keywords:
        value = headers.get(keyword)
        if value is None:
            continue
        number = number_of(value)
        if number is not None and math.isfinite(number) and low <= number <= high:
            return number
        problems.add("headers", f"{keyword} = {value} is no {what}")
    default = number_of(spec.default)
    return default if default is not None and math.isfinite(default) else None


def whole_field(what: str, spec: FieldSpec, headers: Headers, problems: Problems, high: float) -> int | None:
    """As `number_field`, for numbers that are whole and not negative."""
    number = number_field(what, spec, headers, problems, 0, high)
    if number is None or number == int(number):
        return None if number is None else int(number)
    problems.add("headers", f"{'/'.join(spec.keywords)} = {number} is no {what}")
    return None


def angle_field(what: str, spec: FieldSpec, headers: Headers, problems: Problems, hours: bool) -> float | None:
    """An angle in degree: a number is in degree; a text with colons is in hours where `hours`, else in degrees."""
    low, high = (0.0, 360.0) if hours else (-90.0, 90.0)
    for keyword in spec.keywords:
        value = headers.get(keyword)
        degrees = number_of(value)
        if isinstance(value, str) and (match := _SEXAGESIMAL.match(value.strip())):
            sign, *parts = match.groups()
            size = sum(float(p or 0) / 60**i for i, p in enumerate(parts))
            degrees = (-size if sign == "-" else size) * (15 if hours else 1)
        if degrees is not None and math.isfinite(degrees) and low <= degrees <= high:
            return degrees
        if value is not None:
            problems.add("headers", f"{keyword} = {value} is no {what}")
    return None


def start_of(instrument: Instrument, headers: Headers, problems: Problems) -> datetime | None:
    """Start of the exposure, UTC; None where no keyword says it with its time of day."""
    for candidate in instrument.header.start:
        parts = [headers.get(k) for k in candidate.split("+")]
        if any(p is None for p in parts):
            continue
        time = _parse_time([p for p in parts if p is not None])
        if time is None:
            if len(parts) == 1 and not _date_only(str(parts[0])):
                problems.add("headers", f"{candidate} = {parts[0]} is no time")
            continue
        time -= timedelta(hours=instrument.site.utc_offset_hours)
        if 1970 <= time.year <= 2100:
            return time
        problems.add("headers", f"{candidate} = {' '.join(map(str, parts))} is no time of an exposure")
    return None


def _date_only(text: str) -> bool:
    return len(text.strip()) <= 10 and bool(re.match(r"\d{4}-\d\d-\d\d\Z|\d\d/\d\d/\d\d\Z", text.strip()))


def _parse_time(parts: Sequence[str | int | float]) -> datetime | None:
    first = parts[0]
    days = number_of(first)
    if len(parts) == 1 and days is not None:
        return _MJD_EPOCH + timedelta(days=days) if 0 < days < 200_000 else None
    text = str(first).strip().replace(" ", "T")
    if len(parts) > 1 and "T" not in text:
        text = f"{text}T{str(parts[1]).strip()}"
    day, _, clock = text.partition("T")
    if not clock:
        return None
    if old := _OLD_DATE.match(day):
        day = f"{2000 + int(old[3]) if int(old[3]) < 50 else 1900 + int(old[3])}-{old[2]}-{old[1]}"
    return _iso_time(f"{day}T{clock}")


def _iso_time(text: str) -> datetime | None:
    """ISO time with any number of decimals; 60 seconds are the next minute."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d?\d:\d\d)(?::(\d?\d(?:\.\d*)?))?(Z|[+-]\d\d:?\d\d)?\Z", text)
    if not match:
        return None
    try:
        minute = datetime.strptime(match[1], "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
        zone = timedelta(0)
        if match[3] and match[3] != "Z":
            size = timedelta(hours=int(match[3][1:3]), minutes=int(match[3][-2:]))
            zone = size if match[3][0] == "+" else -size
        return minute + timedelta(seconds=min(float(match[2] or 0), 61.0)) - zone
    except (ValueError, OverflowError):
        return None
