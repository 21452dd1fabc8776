"""What a QA of a whole unit works on: the stored metrics of all of its parts. No pixel is needed, so that it can be run again from files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from quicklook.core.keys import Unit
from quicklook.core.product import Product
from quicklook.core.results import Coord, MetricResult, PartResult, QAResult
from quicklook.core.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSummary:
    """What is known of one part when the unit is judged: its verdict (None: it has none), its tags, and the results of its QAs."""

    part: str
    status: Status | None
    tags: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    qas: tuple[QAResult, ...] = ()

    @classmethod
    def of(cls, result: PartResult) -> PartSummary:
        """Of a merged QA, as it was made or as it was read from its file."""
        return cls(part=result.part, status=result.status, tags=result.tags, reasons=tuple(result.reasons), qas=tuple(result.qas))

    def metric(self, name: str) -> MetricResult | None:
        """A metric of this part; None where no QA returned it, or it does not apply."""
        found = (m for q in self.qas for m in q.metrics if m.name == name)
        metric = next(found, None)
        return metric if metric is not None and metric.not_applicable is None and metric.values else None

    def values(self, name: str) -> dict[tuple[Coord, ...], float]:
        """The values of a metric by their coordinates, those that were not measured left out; empty where there is no such metric."""
        metric = self.metric(name)
        if metric is None:
            return {}
        places = itertools.product(*metric.coords.values())
        return {at: value for at, value in zip(places, metric.values, strict=True) if value is not None}

    def tag(self, name: str) -> str:
        """A tag, "" where there is none."""
        return self.tags.get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitParts(Product):
    """All parts of a unit that have arrived, by name, and the names of those that every unit has (none where whatever comes is taken)."""

    kind = "unit_parts"

    unit: Unit
    tags: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[PartSummary, ...] = ()
    expected: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Expected parts that did not arrive."""
        there = {p.part for p in self.parts}
        return tuple(name for name in self.expected if name not in there)

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Parts that arrived and have no verdict."""
        return tuple(p.part for p in self.parts if p.status is None)

    def by_tag(self, name: str) -> dict[str, tuple[PartSummary, ...]]:
        """Parts in groups of one value of a tag, in order of the values; parts without the tag are left out."""
        values = sorted({p.tag(name) for p in self.parts} - {""})
        return {value: tuple(p for p in self.parts if p.tag(name) == value) for value in values}

    def with_metric(self, name: str) -> Iterator[tuple[PartSummary, MetricResult]]:
        """Parts that have a metric, and that metric."""
        for part in self.parts:
            if (metric := part.metric(name)) is not None:
                yield part, metric
