"""Limits: for one metric, under which conditions, what is normal and what is a warning, why, and what to do.

The most specific limit wins: the one with the most conditions; of two alike, the one that was loaded later.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.metrics import Coord, MetricDef, label_of
from quicklook.core.numericwhen import meets, parse_comparison
from quicklook.core.results import LimitUsed
from quicklook.core.status import Status
from quicklook.core.validation import suggest, validate

Range = tuple[float | None, float | None]


def _strings(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    if not items or any(v is None or not str(v).strip() for v in items):
        raise ValueError("a condition without a value never holds; leave it out, or write what it is on")
    for text in (texts := tuple(label_of(v) for v in items)):
        parse_comparison(text)
    return texts


Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Validity(BaseModel):
    """Nights from which and to which a limit holds, both included; an absent end is open."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    start: datetime.date | None = Field(None, alias="from")
    end: datetime.date | None = Field(None, alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Validity:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError(f"the nights are inside out: from {self.start} to {self.end}")
        return self


class Limit(BaseModel):
    """One limit, as written in a limits file. `normal` and `warning` are [low, high], null for an open end.

    A condition of `when` is a text, a list of which one must hold, or a comparison of a number ("<300", ">=60 <300").
    A value within `normal` is NORMAL, within `warning` WARNING, else ALARM. Without `warning`, outside of `normal` is ALARM.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str
    unit: str
    normal: Range
    warning: Range | None = None
    when: dict[str, Annotated[tuple[str, ...], BeforeValidator(_strings)]] = Field(default_factory=dict)
    valid: Validity = Validity()
    reason: Sentence
    action: Sentence
    source: str = ""

    @model_validator(mode="after")
    def _check_ranges(self) -> Limit:
        for what, (low, high) in (("normal", self.normal), ("warning", self.warning_range)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"{what} range [{low}, {high}] is inside out")
        n, w = self.normal, self.warning_range
        if _floor(w) > _floor(n) or _ceiling(w) < _ceiling(n):
            raise ValueError(f"the warning range {list(w)} must contain the normal range {list(n)}")
        if n == (None, None):
            raise ValueError("the normal range is open at both ends: such a limit can never fire")
        return self

    @property
    def conditions(self) -> int:
        """How specific it is: the number of its conditions; nights from which or to which it holds are one."""
        return len(self.when) + (self.valid.start is not None or self.valid.end is not None)

    @property
    def warning_range(self) -> Range:
        """The warning range; the normal one where none was given."""
        return self.normal if self.warning is None else self.warning

    def judge(self, value: float) -> Status:
        """Status of one value; what is not a finite number is UNKNOWN."""
        if not math.isfinite(value):
            return Status.UNKNOWN
        if _floor(self.normal) <= value <= _ceiling(self.normal):
            return Status.NORMAL
        if _floor(self.warning_range) <= value <= _ceiling(self.warning_range):
            return Status.WARNING
        return Status.ALARM

    def applies(self, tags: Mapping[str, str]) -> bool:
        """Whether all conditions that are tags hold; conditions on dimensions are left to `applies_at`."""
        night = tags.get("night", "")
        if (self.valid.start or self.valid.end) and not self._valid_on(night):
            return False
        return all(meets(tags[k], v) for k, v in self.when.items() if k in tags)

    def _valid_on(self, night: str) -> bool:
        try:
            day = datetime.datetime.strptime(night, "%Y%m%d").date()
        except ValueError:
            return False
        return (self.valid.start or day) <= day <= (self.valid.end or day)

    def applies_at(self, tags: Mapping[str, str], coords: Mapping[str, Coord]) -> bool:
        """Whether the conditions on dimensions hold too; a condition that is neither tag nor dimension here does not hold."""
        return all(meets(label_of(coords[k]), v) if k in coords else k in tags for k, v in self.when.items())

    def could_apply(self, tags: Mapping[str, str], dims: Collection[str]) -> bool:
        """Whether it holds for some element of a metric over `dims`: a condition on neither a known tag nor a dimension never does."""
        return all(k in tags or k in dims for k in self.when)

    def used(self, others: Sequence[Limit] = ()) -> LimitUsed:
        """As it is shown beside the value; `others` are less specific ones that would have held in its place."""
        return LimitUsed(
            normal=self.normal,
            warning=self.warning_range,
            when={k: list(v) for k, v in self.when.items()},
            valid_from=self.valid.start.isoformat() if self.valid.start else "",
            valid_to=self.valid.end.isoformat() if self.valid.end else "",
            reason=self.reason,
            action=self.action,
            source=self.source,
            others=[o.source for o in others],
        )


def _floor(r: Range) -> float:
    return -math.inf if r[0] is None else r[0]


def _ceiling(r: Range) -> float:
    return math.inf if r[1] is None else r[1]


class LimitsFile(BaseModel):
    """The contents of a limits file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class LimitSet:
    """All limits in force, in the order in which they were loaded."""

    limits: tuple[Limit, ...] = ()

    @cached_property
    def _by_metric(self) -> dict[str, tuple[Limit, ...]]:
        """Limits of each metric, most specific first; of two alike the later one first."""
        found: dict[str, list[Limit]] = {}
        for limit in reversed(self.limits):
            found.setdefault(limit.metric, []).append(limit)
        return {name: tuple(sorted(each, key=lambda one: -one.conditions)) for name, each in found.items()}

    def of(self, metric: str) -> tuple[Limit, ...]:
        """All limits of a metric, most specific first, whether they hold now or not."""
        return self._by_metric.get(metric, ())

    def candidates(self, metric: str, tags: Mapping[str, str]) -> tuple[Limit, ...]:
        """Limits of a metric whose tag conditions hold, most specific first."""
        return tuple(limit for limit in self.of(metric) if limit.applies(tags))

    def with_more(self, more: LimitSet) -> LimitSet:
        """These and, loaded after them, others: of two that are as specific the new one wins."""
        return LimitSet((*self.limits, *more.limits))

    @cached_property
    def sha256(self) -> str:
        """Checksum of all of them; not of where they are written, which is told as seen from the folder that a command is called in."""
        return hashlib.sha256("".join(limit.model_dump_json(exclude={"source"}) for limit in self.limits).encode()).hexdigest()


def load_limits(documents: Iterable[Document], metrics: Mapping[str, MetricDef], tag_names: Collection[str]) -> LimitSet:
    """Limits from files, checked against the declared metrics.

    Raises BadConfig, with file and line, for an unknown metric, a wrong unit, a range or nights that are inside out, a condition without a value,
    with a comparison that is none, or on something that is neither a tag nor a dimension of the metric.
    """
    out: list[Limit] = []
    for doc in documents:
        for i, limit in enumerate(read_limits(doc)):
            _check(limit, doc.where(("limits", i)), metrics, tag_names)
            out.append(limit)
    return LimitSet(tuple(out))


def read_limits(doc: Document) -> tuple[Limit, ...]:
    """The limits of one file, each with its place, not held against any metric. Raises BadConfig, with file and line, for what is no limit."""
    found = validate(LimitsFile, doc).limits
    return tuple(one.model_copy(update={"source": f"{doc.source}:{doc.line(('limits', i))}"}) for i, one in enumerate(found))


def _check(limit: Limit, where: str, metrics: Mapping[str, MetricDef], tag_names: Collection[str]) -> None:
    definition = metrics.get(limit.metric)
    if definition is None:
        raise BadConfig(f"{where}: no QA measures {limit.metric!r}{suggest(limit.metric, sorted(metrics), noun='metrics')}")
    if limit.unit != definition.unit:
        raise BadConfig(f"{where}: limit of {limit.metric} is in {limit.unit!r}, the metric in {definition.unit!r}; write it in that unit")
    unknown = [k for k in limit.when if k not in tag_names and k not in definition.dims]
    if unknown:
        known = ", ".join(sorted({*tag_names, *definition.dims}))
        raise BadConfig(f"{where}: condition on {', '.join(unknown)}, which is neither a tag nor a dimension of {limit.metric}; known: {known}")
