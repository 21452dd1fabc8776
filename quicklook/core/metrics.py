"""Metrics: what a QA declares (`MetricDef`), what it measured (`Measured`), and the bundle it returns (`Measures`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from quicklook.core.plots import Plot

Coord = str | int | float
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class MetricDef:
    """Declaration of a metric.

    `name` is unique within the project (lower case, underscores), `unit` a unit string as astropy writes it ("" for a pure
    number), `dims` the names of its axes (amp, fibre, line, ...), `doc` its meaning in one sentence.
    """

    name: str
    unit: str
    _: KW_ONLY
    dims: tuple[str, ...] = ()
    doc: str

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"metric name {self.name!r}: lower-case letters, digits and underscores, please")
        if not self.doc.strip():
            raise ValueError(f"metric {self.name}: doc is empty; say in a sentence what it means")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The values of one metric: float64 array with one axis per dimension, and the coordinates of every axis.

    NaN says: this element should have been measured and was not (it becomes UNKNOWN when judged). `remarks` explains single
    elements in words, by their coordinates; the judge puts them into its reasons. `not_applicable` says why the whole metric
    does not apply; then there are no values.
    """

    name: str
    values: npt.NDArray[np.float64]
    coords: Mapping[str, tuple[Coord, ...]] = field(default_factory=dict)
    remarks: Mapping[tuple[Coord, ...], str] = field(default_factory=dict)
    not_applicable: str | None = None

    def __post_init__(self) -> None:
        shape = tuple(len(c) for c in self.coords.values())
        if self.not_applicable is None and self.values.shape != shape:
            raise ValueError(f"metric {self.name}: values of shape {self.values.shape}, coordinates of {shape}")


def measured(
    name: str,
    values: npt.ArrayLike,
    *,
    remarks: Mapping[Coord | tuple[Coord, ...], str] | None = None,
    **coords: Sequence[Coord],
) -> Measured:
    """`Measured` from any array-like and one keyword per dimension: ``measured("read_noise", noise, amp=("A", "B"))``.

    Raises ValueError where shape and coordinates differ. A remark of a one-dimensional metric may be keyed by the bare coordinate.
    """
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    keyed = {k if isinstance(k, tuple) else (k,): v for k, v in (remarks or {}).items()}
    return Measured(name=name, values=array, coords={k: tuple(v) for k, v in coords.items()}, remarks=keyed)


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

    def __getitem__(self, name: str) -> Measured:
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)
