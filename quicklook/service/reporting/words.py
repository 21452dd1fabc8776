"""Numbers, ranges, times and names as a report writes them. Pure."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from quicklook.core.judge import number, range_words

NO_UNIT = "–"
"""How a table says that a metric is a pure number."""
_SHOWN = 6
_MOST_PLACES = 12
_NUMBERED = re.compile(r"(?P<name>.*?)(?P<number>[0-9]{1,9})")


def value_words(value: float | None) -> str:
    """Four digits, or that it was not measured."""
    return "not measured" if value is None or not math.isfinite(value) else number(value)


def row_words(values: Sequence[float], normal: tuple[float | None, float | None] = (None, None)) -> list[str]:
    """Numbers of one row with the same decimals, so that they stand below their commas: three digits of the largest, more where they differ by less,
    fewer where a thousandth of its limit is less than that. What is outside of a limit never reads as the limit."""
    finite = [v for v in values if math.isfinite(v)]
    largest = max((abs(v) for v in finite), default=0.0)
    places = _places(finite, largest, normal) if largest == 0 or 1e-4 <= largest < 1e7 else None
    return [_cell(v, places) for v in values]


def _cell(value: float, places: int | None) -> str:
    if not math.isfinite(value):
        return "not measured"
    if value == 0:
        return "0"
    written = f"{value:.3g}" if places is None else f"{value:.{places}f}"
    return written if written.strip("-0.") else f"{value:.2g}"  # what is little is not nothing


def _places(values: Sequence[float], largest: float, normal: tuple[float | None, float | None]) -> int:
    if all(v == int(v) for v in values):
        return 0
    apart = max(values) - min(values)
    wanted = max(2 - _power(largest), min(1 - _power(apart), 4 - _power(largest)) if apart else 0)
    bounds = [b for b in normal if b is not None]
    if finest := min((abs(b) for b in bounds if b), default=0.0):
        wanted = min(wanted, max(3 - _power(finest), 2 - _power(max(largest, finest))))
    places = max(wanted, 0)
    while places < _MOST_PLACES and any(v != b and round(v, places) == round(b, places) for b in bounds for v in _outside(values, normal)):
        places += 1
    return places


def _outside(values: Sequence[float], normal: tuple[float | None, float | None]) -> list[float]:
    low, high = (-math.inf if normal[0] is None else normal[0]), (math.inf if normal[1] is None else normal[1])
    return [v for v in (min(values), max(values)) if not low <= v <= high]


def _power(value: float) -> int:
    return math.floor(math.log10(value)) if value > 0 else 0


def duration_words(seconds: float) -> str:
    """``0.85 s``, ``12.3 s``, ``4 min 05 s``, ``3 h 00 min``, ``12 d 4 h``."""
    if not math.isfinite(seconds):
        return "not known"
    if abs(seconds) < 60:
        return f"{seconds:.2f} s" if abs(seconds) < 10 else f"{seconds:.1f} s"
    sign, whole = "-" if seconds < 0 else "", round(abs(seconds))
    for size, name, small, below, width in ((86400, "d", 3600, "h", 1), (3600, "h", 60, "min", 2), (60, "min", 1, "s", 2)):
        if whole >= size:
            return f"{sign}{whole // size} {name} {whole % size // small:0{width}d} {below}"
    return f"{whole} s"


def limit_words(bounds: tuple[float | None, float | None]) -> str:
    """A range; "anything" where it has no end."""
    return range_words(*bounds)


def listed(names: Iterable[str], most: int = _SHOWN) -> str:
    """``b0, r0 and 28 more``."""
    each = list(dict.fromkeys(names))
    more = f" and {len(each) - most} more" if len(each) > most else ""
    return ", ".join(each[:most]) + more


def ranged(names: Iterable[str], most: int = _SHOWN) -> str:
    """``b0-b9, r0, r3``: three or more names that count up are one range; of many ranges the first, and how many names more."""
    runs: list[list[str]] = []
    before: tuple[str, int] | None = None
    for name in sorted(dict.fromkeys(names), key=_natural):
        this = _numbered(name)
        if this is not None and before is not None and this == (before[0], before[1] + 1):
            runs[-1].append(name)
        else:
            runs.append([name])
        before = this
    told = list(itertools.chain.from_iterable(_run_words(run) for run in runs))
    shown, rest = told[:most], told[most:]
    more = f" and {sum(n for _, n in rest)} more" if rest else ""
    return ", ".join(text for text, _ in shown) + more


def _run_words(run: Sequence[str]) -> list[tuple[str, int]]:
    return [(f"{run[0]}-{run[-1]}", len(run))] if len(run) > 2 else [(name, 1) for name in run]


def _numbered(name: str) -> tuple[str, int] | None:
    """A name that ends in a number, without needless zeros."""
    found = _NUMBERED.fullmatch(name)
    return (found["name"], int(found["number"])) if found and str(int(found["number"])) == found["number"] else None


def _natural(name: str) -> tuple[str, int, str]:
    return (*(_numbered(name) or (name, -1)), name)


def counted(n: int, noun: str) -> str:
    """``1 exposure``, ``2 exposures``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def moment(ns: int) -> str:
    """``2022-01-01 23:05:07 UTC``."""
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_of(seconds: float) -> str:
    """Of Unix seconds."""
    return moment(round(seconds * 1e9))


def now_words() -> str:
    """Now."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def png_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG, pixels; None where the file is no whole PNG, or not there."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
            file.seek(-12, 2)
            whole = file.read(8)[4:] == b"IEND"
    except OSError:
        return None
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or not whole:
        return None
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    return (width, height) if 0 < width <= 32_768 and 0 < height <= 32_768 else None


def spread(values: Sequence[float]) -> str:
    """``3``, or ``3 to 5``."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"
