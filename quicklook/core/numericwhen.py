"""Conditions as a limit writes them: a text that must be equal, or comparisons of a number, such as ``<300`` or ``>=60 <300``. Pure."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

_OPERATORS: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ONE = r"(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_ALL = re.compile(rf"\s*{_ONE}(?:\s+{_ONE})?\s*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One or two comparisons with numbers, (sign, number), that must hold together."""

    parts: tuple[tuple[str, float], ...]

    def holds(self, label: str) -> bool:
        """Whether a label that is a number meets them; what is no finite number does not."""
        try:
            value = float(label)
        except ValueError:
            return False
        return math.isfinite(value) and self._met(value)

    def _met(self, value: float) -> bool:
        return all(_OPERATORS[sign](value, bound) for sign, bound in self.parts)

    def possible(self, low: float, high: float, *, whole: bool = False) -> bool:
        """Whether a number from `low` to `high`, both included, meets them; a whole number where `whole`."""
        if whole:
            tried = [low, high, *(math.floor(bound) + step for _, bound in self.parts for step in (-1, 0, 1, 2))]
        else:
            bounds = sorted([low, high, *(bound for _, bound in self.parts)])
            tried = [*bounds, *(0.5 * (a + b) for a, b in itertools.pairwise(bounds))]
        return any(low <= value <= high and self._met(value) for value in tried)


def is_comparison(text: str) -> bool:
    """Whether a condition is meant as a comparison: a plain text has none of its signs."""
    return "<" in text or ">" in text


@functools.lru_cache(maxsize=1024)
def parse_comparison(text: str) -> Comparison | None:
    """The comparison that a condition is, None for plain text. Raises ValueError for one that is malformed or that no number meets."""
    if not is_comparison(text):
        return None
    found = _ALL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no comparison with a number; write such as '<300', '>=60', or '>=60 <300' for both")
    groups = [g for g in found.groups() if g is not None]
    parts = tuple((sign, float(number)) for sign, number in zip(groups[::2], groups[1::2], strict=True))
    if len(parts) == 2 and not _possible(*parts):
        raise ValueError(f"no number is {text!r}; write the lower end first, as in '>=60 <300'")
    return Comparison(parts)


def _possible(lower: tuple[str, float], upper: tuple[str, float]) -> bool:
    """Whether they are a lower and an upper end with something between."""
    if not (lower[0].startswith(">") and upper[0].startswith("<")):
        return False
    return lower[1] < upper[1] or (lower[1] == upper[1] and lower[0] == ">=" and upper[0] == "<=")


def meets(label: str, wanted: Collection[str]) -> bool:
    """Whether a label is one of what a condition wants, or meets one of its comparisons."""
    if label in wanted:
        return True
    return any((test := parse_comparison(text)) is not None and test.holds(label) for text in wanted)
