"""Decisions: what an observer does after an exposure, from rules that an observatory writes.

The rules stand in an order, and the first that holds decides; what else holds is told too. To go on needs that something was measured and
that the verdict is not UNKNOWN, whatever a rule says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quicklook.core.results import SCHEMA_VERSION, Override, Record
from quicklook.core.status import Status


class Decision(StrEnum):
    """Go on with the next exposure, repeat this one, stop observing, or call somebody."""

    GO_ON = "go_on"
    REPEAT = "repeat"
    STOP = "stop"
    CALL = "call"


def _strings(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) for v in items)


Statuses = Annotated[tuple[Status, ...], BeforeValidator(_strings)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_strings)]
FIELDS = ("n", "of", "cameras", "qas", "metrics", "status", "goal", "wanted", "reached", "percent", "unit", "measured", "expected")
"""What the text of a rule may name in braces."""


class When(BaseModel):
    """When a rule holds: everything that is given must. Patterns are those of a shell; a list means any of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tags: dict[str, Patterns] = Field({}, description="tags of the exposure, as in {flavor: [science]}")
    verdict: Statuses = Field((), description="status of the exposure as a whole")
    qa: Patterns = Field((), description="some QA of these names has found something")
    metric: Patterns = Field((), description="... in a metric of these names")
    group: Patterns = Field((), description="... in a QA of these groups (CCDs, Fibres, Spectra, Exposure)")
    part: Patterns = Field((), description="... in these cameras; exposure for what was found in the exposure as a whole")
    status: Statuses = Field((), description="... of these statuses; default: ALARM, where one of the four above is given")
    cameras: int = Field(1, ge=1, description="... in so many cameras at least")
    share: float = Field(0.0, ge=0.0, le=1.0, description="... in this part of the cameras that arrived at least")
    goal: str = Field("", description="a goal of this name was given and measured (a pattern)")
    reached: tuple[float | None, float | None] = Field((None, None), description="... and this part of it was reached: [at least, less than]")

    @property
    def findings(self) -> bool:
        """Whether it asks for something that was found."""
        return bool(self.qa or self.metric or self.group or self.part or self.status)

    @property
    def wanted(self) -> tuple[Status, ...]:
        """Statuses of findings that count."""
        return self.status or (Status.ALARM,)

    @model_validator(mode="after")
    def _check(self) -> When:
        if self.reached != (None, None) and not self.goal:
            raise ValueError("`reached` is of a goal; name it under `goal`")
        if (self.cameras > 1 or self.share > 0) and not self.findings:
            raise ValueError("`cameras` and `share` count where something was found; say what: `qa`, `metric`, `group`, `part` or `status`")
        return self


class Rule(BaseModel):
    """A rule: when it holds, what is decided, why in words, and what to do. The texts may name what the rule found in braces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    when: When = When()
    decision: Decision
    reason: str = Field(min_length=1)
    action: str = Field(min_length=1)
    fallback: bool = Field(False, description="for what no other rule is for: not told beside the one that decides")

    @model_validator(mode="after")
    def _check_texts(self) -> Rule:
        for text in (self.reason, self.action):
            try:
                text.format(**dict.fromkeys(FIELDS, ""))
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"the text {text!r} cannot be filled in: {error}; in braces may stand: {', '.join(FIELDS)}") from error
        return self


Summary = Literal["median", "min", "max", "sum"]


class GoalDef(BaseModel):
    """What a goal is compared with: a metric, over its elements and then over the cameras. `tag` is the tag of an exposure that may hold the goal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    unit: str
    tag: str = ""
    at: dict[str, Patterns] = Field({}, description="elements that count, by their coordinates, as in {target: [ELG]}; default: all")
    part: Patterns = Field((), description="cameras that count (patterns); default: all that have the metric")
    elements: Summary = "median"
    cameras: Summary = "median"


class DecisionsFile(BaseModel):
    """The contents of a file of decisions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decisions: str = Field(description="name")
    doc: str = Field("", description="what it is for")
    goals: dict[str, GoalDef] = Field({}, description="goals that an exposure may have, by name")
    rules: tuple[Rule, ...] = Field(min_length=1, description="rules in order: the first that holds decides")


class Finding(Record):
    """Something that is not NORMAL: where (part "" is the unit as a whole), in which QA and metric, why, what to do.

    `cause` is the place and the cause, in words, of what was not measured for a cause that others may share.
    """

    part: str
    qa: str
    group: str
    metric: str
    status: Status
    reason: str
    action: str = ""
    cause: tuple[str, str] | None = None


class GoalReached(Record):
    """A goal, where it came from, and how much of it was reached (null: it was not measured)."""

    name: str
    wanted: float
    unit: str
    source: str
    metric: str
    reached: float | None = None

    @property
    def fraction(self) -> float | None:
        """Part of it that was reached."""
        return None if self.reached is None else self.reached / self.wanted

    @property
    def sentence(self) -> str:
        """In words."""
        start = f"goal {self.name} of {self.wanted:g}{' ' + self.unit if self.unit else ''} ({self.source})"
        if self.reached is None or self.fraction is None:
            return f"{start}: {self.metric} was not measured"
        return f"{start}: {self.reached:.4g}{' ' + self.unit if self.unit else ''} reached, {100 * self.fraction:.0f} %"


class DecisionCard(Record):
    """The decision on one exposure and what it rests on.

    `rule` names the rule that decided, `why` is its reason; `reasons` are all findings, worst first, and `actions` what to do about them.
    `causes` are what has likely led to them, the likeliest first. `measured` of `expected` QAs over all cameras, `cameras` of `cameras_expected`
    cameras have a verdict that was reached.
    """

    schema_version: int = SCHEMA_VERSION
    night: int
    expid: int
    tag: str
    revision: int
    status: Status
    decision: Decision
    rule: str
    why: str
    action: str
    reasons: list[str] = Field(default_factory=list)
    actions: list[str] = Field(default_factory=list)
    also: list[str] = Field(default_factory=list)
    causes: list[str] = Field(default_factory=list)
    measured: int
    expected: int
    cameras: int
    cameras_expected: int
    goals: list[GoalReached] = Field(default_factory=list)
    overrides: list[Override] = Field(default_factory=list)

    @property
    def goal_words(self) -> list[str]:
        """The goals in words, or that none was given."""
        return [g.sentence for g in self.goals] or ["no goal was given"]
