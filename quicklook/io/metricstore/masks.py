"""A condition over columns: which rows it holds for, with the meaning that `quicklook.core.where` gives it for one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.metrics import label_of
from quicklook.core.where import Where, compare, number_in

Column = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
_Truth = tuple[Bools, Bools]
"""Where it is true, and where it is known."""
_VECTOR: Mapping[str, Callable[[Column, float], Bools]] = {
    "=": np.equal, "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


def mask(where: Where, column: Callable[[str], Column]) -> Bools:
    """Rows for which it holds for certain. A number that is NaN and a text that is empty are not known."""

    def leaf(name: str, op: str, values: tuple[str, ...]) -> _Truth:
        found = column(name)
        return _compared(found, op, values) if found.dtype != object else _compared_texts(found, op, values)

    true, _ = where.fold(leaf, lambda t: (t[1] & ~t[0], t[1]), _joined)
    return np.asarray(true, dtype=bool)


def _joined(each: Sequence[_Truth], all_of: bool) -> _Truth:
    true, known = each[0]
    for other, other_known in each[1:]:
        if all_of:  # known where both are, or where one is known to be false
            known = (known & other_known) | (known & ~true) | (other_known & ~other)
            true = true & other
        else:
            known = (known & other_known) | (known & true) | (other_known & other)
            true = (known & true) | (known & other)
    return true & known, known


def _compared(column: Column, op: str, values: tuple[str, ...]) -> _Truth:
    known = ~np.isnan(column) if column.dtype.kind == "f" else np.ones(len(column), bool)
    numbers = [number_in(v) for v in values]
    if None in numbers:
        return _compared_texts(np.array(["" if v != v else label_of(v) for v in column.tolist()] + [None], dtype=object)[:-1], op, values)
    # whole numbers as such: a double has fewer digits than the number of an exposure may have
    whole = column.dtype.kind == "i" and all(isinstance(n, int) and abs(n) < 2**63 for n in numbers)
    compared = np.array(numbers, dtype=np.int64) if whole else np.array([float(v) for v in values])
    if op in ("in", "not in"):
        true = np.isin(column, compared)
        return (true if op == "in" else ~true) & known, known
    return _VECTOR[op](column, compared[0]) & known, known


def _compared_texts(column: Column, op: str, values: tuple[str, ...]) -> _Truth:
    """As many comparisons as there are different texts."""
    places: dict[Any, int] = {}
    at = np.fromiter((places.setdefault(v, len(places)) for v in column.tolist()), np.intp, len(column))
    labels = [label_of(v) if v is not None else "" for v in places]
    true = np.array([bool(label) and _holds(label, op, values) for label in labels], bool)
    known = np.array([bool(label) for label in labels], bool)
    return (true[at], known[at]) if len(column) else (np.zeros(0, bool), np.zeros(0, bool))


def _holds(label: str, op: str, values: tuple[str, ...]) -> bool:
    if op in ("in", "not in"):
        return any(compare("=", label, v) for v in values) is (op == "in")
    return compare(op, label, values[0])
