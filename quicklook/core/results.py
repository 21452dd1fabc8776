"""What comes out of a part: results of steps and QAs, as they are written to files and sent in messages.

Values are flat lists in C order of the dimensions; what is not a finite number is null, so that the JSON is strict.
"""

from __future__ import annotations

import itertools
import math

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quicklook.core.calibration import CalibrationUsed
from quicklook.core.errors import QuicklookError, describe
from quicklook.core.metrics import METRIC_NAME
from quicklook.core.status import Status

SCHEMA_VERSION = 1

NOT_APPLIED = "does not apply"
"""How a verdict tells of a step that was left out."""

Coord = str | int | float
Fact = str | int | float | bool | None


class Record(BaseModel):
    """Base of all records: frozen, nothing extra, no NaN."""

    # of texts that are read, keys alone are kept for the next time: names and reasons of exposures would fill the memory of a daemon
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, cache_strings="keys")


class Failure(Record):
    """Why something could not be done: the kind of error, what it says, and what the operator does next."""

    error: str
    message: str
    what_next: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """From an exception."""
        what_next = error.what_next if isinstance(error, QuicklookError) else "Report it: this is a fault of the program."
        return cls(error=type(error).__name__, message=describe(error), what_next=what_next)


class LimitUsed(Record):
    """A limit as it was applied: ranges (null is an open end), its conditions, why it is there, what to do, and where it is written.

    `valid_from` and `valid_to` are the nights in which it holds (ISO dates, empty where open). `others` are the places (file:line) of limits that
    would have held too and are less specific, the next in line first.
    """

    normal: tuple[float | None, float | None]
    warning: tuple[float | None, float | None]
    when: dict[str, list[str]] = Field(default_factory=dict)
    valid_from: str = ""
    valid_to: str = ""
    reason: str = ""
    action: str = ""
    source: str = ""
    others: list[str] = Field(default_factory=list)


class Remark(Record):
    """A sentence about one element of a metric."""

    at: list[Coord]
    text: str


class MetricResult(Record):
    """A metric with its values, judged element by element.

    `status` is the worst of `statuses`; null where no limit applies or the metric does not apply. `limits` are those that were used,
    `limit_of` gives for each value the index of its limit. `worst` is the flat index of the element that decides. `left_out` are the flat
    indices of elements that are not judged, whatever the limits (an amplifier that is known to be bad). A `flag` is told by its remarks.

    Raises ValueError (ValidationError) for a name that no metric can have, and for lists that do not belong together.
    """

    name: str = Field(pattern=METRIC_NAME)
    unit: str
    doc: str = ""
    coords: dict[str, list[Coord]] = Field(default_factory=dict)
    values: list[float | None]
    status: Status | None
    statuses: list[Status | None]
    limits: list[LimitUsed] = Field(default_factory=list)
    limit_of: list[int | None] = Field(default_factory=list)
    worst: int | None = None
    reason: str = ""
    not_applicable: str | None = None
    remarks: list[Remark] = Field(default_factory=list)
    left_out: list[int] = Field(default_factory=list)
    flag: bool = False

    @model_validator(mode="after")
    def _lists_belong_together(self) -> MetricResult:
        places = math.prod(len(axis) for axis in self.coords.values())
        if self.values and len(self.values) != places:
            raise ValueError(f"metric {self.name} has {len(self.values)} values at {places} places")
        if len(self.statuses) != len(self.values) or len(self.limit_of) not in (0, len(self.values)):
            raise ValueError(f"metric {self.name}: {len(self.values)} values, {len(self.statuses)} statuses, limits of {len(self.limit_of)}")
        if not {*self.limit_of} <= {None, *range(len(self.limits))}:
            raise ValueError(f"metric {self.name} names a limit that it has not")
        if any(not 0 <= i < len(self.values) for i in (*self.left_out, *(() if self.worst is None else (self.worst,)))):
            raise ValueError(f"metric {self.name} names an element that it has not")
        return self

    @property
    def deciding(self) -> LimitUsed | None:
        """The limit that decided: of the worst element, or the one that waits for a metric that was not measured at all. None: there was none."""
        if not self.limits:
            return None
        index = self.limit_of[self.worst] if self.worst is not None and self.limit_of else 0
        return self.limits[index or 0]

    @property
    def cause(self) -> tuple[str, str] | None:
        """Where the decisive element was not measured and why, in words; None if it was measured or nobody said why."""
        if self.worst is None or self.statuses[self.worst] is not Status.UNKNOWN:
            return None
        at = next(itertools.islice(itertools.product(*self.coords.values()), self.worst, None))
        why = next((r.text for r in self.remarks if tuple(r.at) == at), "")
        place = ", ".join(f"{k} {v}" for k, v in zip(self.coords, at, strict=True))
        return (place, why) if place and why else None


class QAResult(Record):
    """Result of one QA: its judged metrics, or why there are none."""

    name: str
    step: str
    group: str
    status: Status | None
    seconds: float
    metrics: list[MetricResult] = Field(default_factory=list)
    facts: dict[str, Fact] = Field(default_factory=dict)
    failure: Failure | None = None
    not_applicable: str | None = None
    plots: list[str] = Field(default_factory=list)


class StepResult(Record):
    """Result of one step: how long it took, how it failed if it did, or why it was left out as one that does not apply."""

    name: str
    algorithm: str
    seconds: float
    failure: Failure | None = None
    not_applicable: str | None = None


class Provenance(Record):
    """What is needed to make the same again: versions, chain and parameters by checksum, calibrations."""

    versions: dict[str, str]
    chain: str
    config_sha256: str
    limits_sha256: str
    calibrations: list[CalibrationUsed] = Field(default_factory=list)


class Override(Record):
    """A verdict changed by a person: of a part, or of the whole unit (part ""); what it was, who changed it, why, and when (UTC, ns)."""

    part: str = ""
    was: Status
    status: Status
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    time: int

    @property
    def words(self) -> str:
        """Who and why."""
        return f"by {self.by}, in place of {self.was}: {self.reason}"

    @property
    def sentence(self) -> str:
        """As it stands among the reasons of a verdict."""
        return f"{self.status}: {self.words}"


class PartResult(Record):
    """The merged QA of one part (a camera) of a unit (an exposure): the contents of ``qa-<camera>-<expid>.json``."""

    schema_version: int = SCHEMA_VERSION
    night: int
    expid: int
    part: str
    tag: str
    revision: int
    tags: dict[str, str]
    status: Status
    reasons: list[str]
    measured: int
    expected: int
    degraded: list[str] = Field(default_factory=list)
    steps: list[StepResult]
    qas: list[QAResult]
    provenance: Provenance
    override: Override | None = None


class Spoiled(Record):
    """Something that was found in an exposure: the metric of a part (part "": of the exposure as a whole), and its status."""

    part: str
    qa: str
    metric: str
    status: Status


class Cause(Record):
    """A likely cause of what was found: a channel of housekeeping that was out of its range at the same time, and is declared to matter for that.

    `limit` is what it violated, by `excess` in `unit`, `overlap` the part of the exposure during which it did. `sigma`: how far it was from what is
    usual of it, in robust standard deviations of the hours before, 999 at most; null where too little is known. `sentence` says it all.
    """

    channel: str
    limit: str
    spoiled: list[Spoiled]
    sentence: str
    overlap: float
    excess: float | None = None
    unit: str = ""
    sigma: float | None = None


class UnitVerdict(Record):
    """The verdict of a unit over its parts, with the results of the QAs of the unit as a whole, likely causes, the likeliest first, and what persons
    have changed, oldest first."""

    schema_version: int = SCHEMA_VERSION
    night: int
    expid: int
    tag: str
    revision: int
    tags: dict[str, str] = Field(default_factory=dict)
    status: Status
    reasons: list[str]
    parts: dict[str, Status]
    missing: list[str] = Field(default_factory=list)
    extra: list[str] = Field(default_factory=list)
    qas: list[QAResult] = Field(default_factory=list)
    overrides: list[Override] = Field(default_factory=list)
    causes: list[Cause] = Field(default_factory=list)
