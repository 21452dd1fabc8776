"""Metrics: what a QA declares (`MetricDef`), what it measured (`Measured`), and the bundle it returns (`Measures`)."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from quicklook.core.plots import Plot

Coord = str | int | float
METRIC_NAME = r"^[a-z][a-z0-9_]*$"
_NAME = re.compile(METRIC_NAME.replace("$", r"\Z"))


@dataclass(frozen=True, slots=True)
class MetricDef:
    """Declaration of a metric.

    `name` is unique within the project (lower case, underscores), `unit` a unit string as astropy writes it ("" for a pure
    number), `dims` the names of its axes (amp, fiber, line, ...), `doc` its meaning in one sentence. A `flag` is 1 or 0 (something is so,
    or is not): where it is judged bad, its remark is said in place of value and limit.
    """

    name: str
    unit: str
    _: KW_ONLY
    dims: tuple[str, ...] = ()
    doc: str
    flag: bool = False

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"metric name {self.name!r}: lower-case letters, digits and underscores, please")
        if not self.doc.strip():
            raise ValueError(f"metric {self.name}: doc is empty; say in a sentence what it means")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The values of one metric: float64 array with one axis per dimension, and the coordinates of every axis.

    NaN says: this element should have been measured and was not (it becomes UNKNOWN when judged). `remarks` explains single
    elements in words, by their coordinates; the judge puts them into its reasons. `left_out` are the coordinates of elements that are
    not judged, whatever their value (an amplifier that is known to be bad). `not_applicable` says why the whole metric does not apply;
    then there are no values.
    """

    name: str
    values: npt.NDArray[np.float64]
    coords: Mapping[str, tuple[Coord, ...]] = field(default_factory=dict)
    remarks: Mapping[tuple[Coord, ...], str] = field(default_factory=dict)
    left_out: frozenset[tuple[Coord, ...]] = frozenset()
    not_applicable: str | None = None

    def __post_init__(self) -> None:
        for axis, given in self.coords.items():
            if bad := [c for c in given if not _names_a_place(c)]:
                raise ValueError(f"metric {self.name}: coordinate {bad[0]!a} of {axis} is neither text nor a finite number")
        shape = tuple(len(c) for c in self.coords.values())
        if self.not_applicable is None and self.values.shape != shape:
            raise ValueError(f"metric {self.name}: values of shape {self.values.shape}, coordinates of {shape}")
        for at, text in self.remarks.items():
            if not isinstance(at, tuple) or not is_text(text):
                raise ValueError(f"metric {self.name}: the remark {text!a} at {at!a} is no text at a tuple of coordinates")
        if self.not_applicable is not None and not is_text(self.not_applicable):
            raise ValueError(f"metric {self.name}: {self.not_applicable!a} does not say in words why it does not apply")


def is_text(value: object) -> bool:
    """Whether it is text that can be written: half of a pair of surrogates, from the name of a file that is no UTF-8, cannot."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def label_of(coord: object) -> str:
    """A coordinate as conditions compare it: a whole number without its point, so that fibre 3 and fibre 3.0 are the same."""
    return str(int(coord)) if isinstance(coord, float) and coord.is_integer() else str(coord)


def _names_a_place(coord: object) -> bool:
    if isinstance(coord, str):
        return is_text(coord)
    if isinstance(coord, float | np.floating):
        return math.isfinite(coord)
    return isinstance(coord, int | np.integer | np.bool_)


def measured(
    name: str,
    values: npt.ArrayLike,
    *,
    remarks: Mapping[Coord | tuple[Coord, ...], str] | None = None,
    left_out: Collection[Coord | tuple[Coord, ...]] = (),
    **coords: Sequence[Coord],
) -> Measured:
    """`Measured` from any array-like and one keyword per dimension: ``measured("read_noise", noise, amp=("A", "B"))``.

    Raises ValueError where shape and coordinates differ. Remarks and `left_out` of a one-dimensional metric may be keyed by the bare coordinate.
    """
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    keyed = {k if isinstance(k, tuple) else (k,): v for k, v in (remarks or {}).items()}
    omitted = frozenset(k if isinstance(k, tuple) else (k,) for k in left_out)
    return Measured(name=name, values=array, coords={k: tuple(v) for k, v in coords.items()}, remarks=keyed, left_out=omitted)


def not_applicable(name: str, why: str) -> Measured:
    """A metric that does not apply here, and why; it is left out of the sum."""
    return Measured(name=name, values=np.empty(0), not_applicable=why)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a QA returns: its metrics, its plots as data, and facts worth showing that are no metrics (names, paths, dates)."""

    metrics: tuple[Measured, ...] = ()
    _: KW_ONLY
    plots: tuple[Plot, ...] = ()
    facts: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fact in self.facts.items():
            if not is_text(name) or (isinstance(fact, str) and not is_text(fact)):
                raise ValueError(f"fact {name!a} is {fact!a}, which cannot be written as text")
            if not isinstance(fact, str | int | float | bool | np.generic | None):
                raise TypeError(f"fact {name!r} is a {type(fact).__name__}; a fact is text, a number, true, false or nothing")

    def __getitem__(self, name: str) -> Measured:
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)
