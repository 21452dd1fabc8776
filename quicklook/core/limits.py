"""Limits: for one metric, under which conditions, what is normal and what is a warning, why, and what to do.

The most specific limit wins: the one with the most conditions; of two alike, the one that was loaded later.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.metrics import Coord, MetricDef
from quicklook.core.results import LimitUsed
from quicklook.core.status import Status
from quicklook.core.validation import validate

Range = tuple[float | None, float | None]


def _strings(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) for v in items)


class Validity(BaseModel):
    """Nights from which and to which a limit holds, both included; an absent end is open."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    start: datetime.date | None = Field(None, alias="from")
    end: datetime.date | None = Field(None, alias="to")


class Limit(BaseModel):
    """One limit, as written in a limits file. `normal` and `warning` are [low, high], null for an open end.

    A value within `normal` is NORMAL, within `warning` WARNING, else ALARM. Without `warning`, outside of `normal` is ALARM.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str
    unit: str
    normal: Range
    warning: Range | None = None
    when: dict[str, Annotated[tuple[str, ...], BeforeValidator(_strings)]] = Field(default_factory=dict)
    valid: Validity = Validity()
    reason: str = Field(min_length=1)
    action: str = Field(min_length=1)
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
        return all(tags[k] in v for k, v in self.when.items() if k in tags)

    def _valid_on(self, night: str) -> bool:
        try:
            day = datetime.datetime.strptime(night, "%Y%m%d").date()
        except ValueError:
            return False
        return (self.valid.start or day) <= day <= (self.valid.end or day)

    def applies_at(self, tags: Mapping[str, str], coords: Mapping[str, Coord]) -> bool:
        """Whether the conditions on dimensions hold too; a condition that is neither tag nor dimension here does not hold."""
        return all((str(coords[k]) in v) if k in coords else k in tags for k, v in self.when.items())

    def could_apply(self, tags: Mapping[str, str], dims: Collection[str]) -> bool:
        """Whether it holds for some element of a metric over `dims`: a condition on neither a known tag nor a dimension never does."""
        return all(k in tags or k in dims for k in self.when)

    def used(self) -> LimitUsed:
        """As it is shown beside the value."""
        when = {k: list(v) for k, v in self.when.items()}
        return LimitUsed(normal=self.normal, warning=self.warning_range, when=when, reason=self.reason, action=self.action, source=self.source)


def _floor(r: Range) -> float:
    return -math.inf if r[0] is None else r[0]


def _ceiling(r: Range) -> float:
    return math.inf if r[1] is None else r[1]


class LimitsFile(BaseModel):
    """The contents of a limits file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class LimitSet:
    """All limits in force, least specific first."""

    limits: tuple[Limit, ...] = ()

    def candidates(self, metric: str, tags: Mapping[str, str]) -> tuple[Limit, ...]:
        """Limits of a metric whose tag conditions hold, most specific first."""
        found = [limit for limit in self.limits if limit.metric == metric and limit.applies(tags)]
        order = sorted(range(len(found)), key=lambda i: (len(found[i].when), i), reverse=True)
        return tuple(found[i] for i in order)

    @property
    def sha256(self) -> str:
        """Checksum of all of them."""
        return hashlib.sha256("".join(limit.model_dump_json() for limit in self.limits).encode()).hexdigest()


def load_limits(documents: Iterable[Document], metrics: Mapping[str, MetricDef], tag_names: Collection[str]) -> LimitSet:
    """Limits from files, checked against the declared metrics.

    Raises BadConfig, with file and line, for an unknown metric, a wrong unit, an inside-out range, a condition on something that is
    neither a tag nor a dimension of the metric.
    """
    out: list[Limit] = []
    for doc in documents:
        for i, limit in enumerate(validate(LimitsFile, doc).limits):
            _check(limit, doc.where(("limits", i)), metrics, tag_names)
            out.append(limit.model_copy(update={"source": f"{doc.source}:{doc.line(('limits', i))}"}))
    return LimitSet(tuple(out))


def _check(limit: Limit, where: str, metrics: Mapping[str, MetricDef], tag_names: Collection[str]) -> None:
    definition = metrics.get(limit.metric)
    if definition is None:
        raise BadConfig(f"{where}: no QA measures {limit.metric!r}; `quicklook list metrics` shows what is measured")
    if limit.unit != definition.unit:
        raise BadConfig(f"{where}: limit of {limit.metric} is in {limit.unit!r}, the metric in {definition.unit!r}; write it in that unit")
    unknown = [k for k in limit.when if k not in tag_names and k not in definition.dims]
    if unknown:
        known = ", ".join(sorted({*tag_names, *definition.dims}))
        raise BadConfig(f"{where}: condition on {', '.join(unknown)}, which is neither a tag nor a dimension of {limit.metric}; known: {known}")
