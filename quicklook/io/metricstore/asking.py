"""What is asked of a store, and as much of it as the database can answer by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from quicklook.core.errors import BadConfig
from quicklook.core.history import is_night
from quicklook.core.status import Status
from quicklook.core.validation import suggest
from quicklook.core.where import Where, compare, number_in, parse_where
from quicklook.io.metricstore.dictionaries import plain
from quicklook.io.metricstore.packing import CODES, NAMES
from quicklook.io.metricstore.times import NEAR_NS, night_ns, start_ns

Revisions = Literal["last", "all"]
Fact = Literal["number", "night", "time", "status", "text"]
"""What a fact of a condition is. A text may be a number too; the others are nothing else."""
TIME_FACT = "time"
_ORDERED = ("<", "<=", ">", ">=")
_QUERY = re.compile(r"\s*(?P<what>[^\s,]+(?:\s*,\s*[^\s,]+)*)(?:\s+where\s+(?P<where>.+))?\s*\Z", re.IGNORECASE | re.DOTALL)
_OPERATORS = {"==": "=", "=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_NIGHT_NS = 36 * 3600 * 10**9
_DATE = re.compile(r"^(\d{4})[-/.](\d\d)[-/.](\d\d)$")
_LARGEST = 2**62
_ROUNDED_NS = 1000
"""Times of a condition are compared as doubles, which are so coarse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is wanted: names, a condition, nights or times (UTC ns) from and to, the tag ("": any), revisions, the newest `limit` rows."""

    names: tuple[str, ...]
    where: str = ""
    first_night: int | None = None
    last_night: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    tag: str = ""
    revision: Revisions = "last"
    limit: int = 100_000
    summary: bool = False

    def between(self, since: int | str | None, until: int | str | None) -> Ask:
        """From a night or time to another, both included. Raises BadConfig for what is neither."""
        first, start = _moment(since)
        last, stop = _moment(until)
        return replace(self, first_night=first, from_ns=start, last_night=last, to_ns=stop)


def parse_query(text: str) -> tuple[tuple[str, ...], str]:
    """Names and condition of ``read_noise, bias_level where camera = r0``. Raises BadConfig."""
    found = _QUERY.match(text)
    if found is None:
        form = 'quicklook query "read_noise where camera = r0 and night >= 20220101"'
        raise BadConfig(f"{text[:200]!r} cannot be read: names of metrics, then `where` and a condition", what_next=f"Write such as {form}")
    names = tuple(name.strip() for name in found["what"].split(","))
    if any(name.lower() == "where" for name in names):
        raise BadConfig("what is asked for? before `where` stands the name of a metric", what_next="`quicklook query --list` shows what there is.")
    return tuple(dict.fromkeys(names)), (found["where"] or "").strip()


def condition(text: str, facts: Mapping[str, Fact]) -> Where | None:
    """The condition of a query, over facts by name; None without any. Raises BadConfig with what is wrong where, and the nearest name.

    Nights are numbers also where they are written as dates, times are UTC ns, statuses stand in the order of their severity.
    """
    if not text:
        return None
    try:
        return parse_where(text, facts).mapped(lambda name, op, values: _MEANT[facts[name]](name, op, values))
    except BadConfig as error:
        said = f"the condition, {str(error).removeprefix('--where, ')}"
        raise BadConfig(said, what_next="Mend the condition, as in: camera = r0 and night >= 20220101 and amp in (A, B)") from error


_Compared = tuple[str, tuple[str, ...]]


def _as_numbers(name: str, op: str, values: tuple[str, ...]) -> _Compared:
    for value in values:
        if not _like_number(value):
            raise BadConfig(f"{name} {op} {value}: {name} is a number, and {value[:40]!r} is none; units are not written here")
    return op, values


def _as_nights(name: str, op: str, values: tuple[str, ...]) -> _Compared:
    nights = tuple(_DATE.sub(r"\1\2\3", value) for value in values)
    for night, value in zip(nights, values, strict=True):
        if not _like_number(night):
            raise BadConfig(f"{name} {op} {value}: {value[:40]!r} is no night; one is written such as 20220101")
    return op, nights


def _as_times(name: str, op: str, values: tuple[str, ...]) -> _Compared:
    times = [start_ns(value) for value in values]
    if None in times:
        raise BadConfig(f"{name} {op} {values[times.index(None)][:40]}: that is no time; one is written such as 2022-01-01T20:00 (UTC)")
    return op, tuple(map(str, times))


def _as_statuses(name: str, op: str, values: tuple[str, ...]) -> _Compared:
    known = [str(s) for s in NAMES if s]
    given = tuple(value.upper() for value in values)
    for status, value in zip(given, values, strict=True):
        if status not in known:
            raise BadConfig(f"{name} {op} {value}: there is no such status{suggest(status, known, noun='statuses')}")
    if op not in _ORDERED:
        return op, given
    rank = str(Status(given[0]).severity)
    return "in", tuple(s for s in known if compare(op, str(Status(s).severity), rank))


_MEANT: Mapping[Fact, Callable[[str, str, tuple[str, ...]], _Compared]] = {
    "number": _as_numbers, "night": _as_nights, "time": _as_times, "status": _as_statuses, "text": lambda _name, op, values: (op, values),
}  # fmt: skip


def _moment(given: int | str | None) -> tuple[int | None, int | None]:
    """A night, or a time as UTC ns."""
    if given is None or given == "":
        return None, None
    night = _DATE.sub(r"\1\2\3", str(given))
    if is_night(night):
        return int(night), None
    time = start_ns(str(given)) if not isinstance(given, int) else None
    if time is None:
        what_next = "Write a night such as 20220101, or a time such as 2022-01-01T20:00 (UTC)."
        raise BadConfig(f"{str(given)[:80]!r} is neither a night nor a time", what_next=what_next)
    return None, time


@dataclass(slots=True)
class Sifted:
    """Clauses of SQL with their parameters; one that holds for more rows than the condition is followed by the condition itself."""

    clauses: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)

    def add(self, column: str, op: str, *values: Any) -> None:
        """A comparison of a column with values, which are parameters always."""
        names = []
        for value in values:
            name = f"p{len(self.given)}"
            self.given[name] = value
            names.append(f":{name}")
        self.clauses.append(f"{column} IN ({', '.join(names)})" if op == "in" else f"{column} {_OPERATORS[op]} {names[0]}")

    @property
    def text(self) -> str:
        """All of them."""
        return " AND ".join(self.clauses) or "1 = 1"


def sift(sifted: Sifted, where: Where | None, numbers: Mapping[str, str], texts: Mapping[str, str], worst: str) -> None:
    """Add what the database compares as the condition does: whole numbers in columns of `numbers`, texts that are no numbers in those of `texts`.

    `worst` is the column with the status of a metric: none of its elements is worse.
    """
    for name, op, values in where.required if where is not None else ():
        if name in numbers and op != "not in":
            whole = [_whole(v) for v in values]
            if None not in whole:
                sifted.add(numbers[name], op, *whole)
        elif name in texts and op in ("=", "==", "in") and not any(map(_like_number, values)):
            sifted.add(texts[name], op, *map(plain, values))
        elif name == "status" and op in ("=", "==", "in"):
            sifted.add(worst, ">=", min((CODES[v] for v in values), default=len(CODES)))


def bounds_of_nights(ask: Ask) -> tuple[int | None, int | None]:
    """Times (UTC ns) between which that lies which has a time and no night: a night is over at noon (UTC) of the day after, or earlier."""
    begins, ends = (night_ns(n) if n is not None else None for n in (ask.first_night, ask.last_night))
    low = [t for t in (begins, ask.from_ns) if t is not None]
    high = [t for t in (None if ends is None else ends + _NIGHT_NS, ask.to_ns) if t is not None]
    return max(low, default=None), min(high, default=None)


def time_bounds(ask: Ask, where: Where | None) -> tuple[int | None, int | None]:
    """Times (UTC ns) outside of which no exposure is asked for, as far as nights and times say it."""
    first, last, begins, ends = [ask.first_night], [ask.last_night], [ask.from_ns], [ask.to_ns]
    for name, op, values in where.required if where is not None else ():
        night = _whole(values[0]) if name == "night" else None
        if night is not None and op in (">", ">=", "=", "=="):
            first.append(night)
        if night is not None and op in ("<", "<=", "=", "=="):
            last.append(night)
        if name == TIME_FACT and op in (">", ">=", "=", "=="):
            begins.append(int(values[0]) - _ROUNDED_NS)
        if name == TIME_FACT and op in ("<", "<=", "=", "=="):
            ends.append(int(values[0]) + _ROUNDED_NS)
    low = [t - NEAR_NS for n in first if n is not None and (t := night_ns(n)) is not None] + [t for t in begins if t is not None]
    high = [t + NEAR_NS for n in last if n is not None and (t := night_ns(n)) is not None] + [t for t in ends if t is not None]
    return max(low, default=None), min(high, default=None)


def one_value(where: Where | None, names: Sequence[str]) -> str | None:
    """The text that one of these facts must be; None where it may be several."""
    found = [values[0] for name, op, values in (where.required if where is not None else ()) if name in names and op in ("=", "==")]
    return found[0] if found and not _like_number(found[0]) else None


def _whole(text: str) -> int | None:
    found = number_in(text)
    return int(found) if found is not None and abs(found) < _LARGEST and found == int(found) else None


def _like_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
