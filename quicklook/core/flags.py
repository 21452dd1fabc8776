"""Flags of tests: a name, and the metric, fact or condition that raises it. Pure.

They are configuration (`configs/flags/*.yaml`). What was not measured raises no flag and clears none: such a flag is *not known*.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.metrics import MetricDef
from quicklook.core.results import Record
from quicklook.core.status import Status
from quicklook.core.validation import suggest, validate
from quicklook.core.where import Where, parse_where

TEST_FACTS: Mapping[str, str] = {
    "expected": "exposures that the session expects of the test",
    "found": "of these, exposures that came",
    "missing": "of these, exposures that did not come",
    "extra": "exposures of the test beyond those that are expected",
    "strays": "exposures that say that they are of the test and are nothing that it expects",
    "aborted": "exposures of sequences that were begun anew",
    "timed_out": "1 where the test was closed at its time-out, else 0",
    "missing_cameras": "cameras that expected exposures should have and of which nothing came, summed over the exposures",
    "mismatches": "metadata of cameras that are not those of the session, as far as no flag of its own stands for them",
    "exposures_warning": "exposures with the verdict WARNING",
    "exposures_alarm": "exposures with the verdict ALARM",
    "exposures_unknown": "exposures with the verdict UNKNOWN, or without any",
    "dead_amplifiers": "amplifiers that are dead in any exposure",
    "dead_cameras": "cameras all of whose amplifiers are dead in any exposure",
    "analyses_warning": "group analyses and series with the status WARNING",
    "analyses_alarm": "group analyses and series with the status ALARM",
    "failed_subtasks": "sub-tasks that could not be done",
    "crashed_subtasks": "sub-tasks whose process ended before they did, or was stopped",
    "slow_subtasks": "sub-tasks that took longer than the session allows (`slow_s`)",
    "memory_free_mb": "memory that was left on the machine, 1e6 bytes, the least while the test was worked on",
    "hk_out": "channels of housekeeping outside of their limits while the test was taken; not known where nobody checks them",
    "stars_missing": "point sources that should be there and were not found (metric of that name); does not apply where no QA looks for them",
    "flux_out": "cameras of exposures whose light is not what the session expects (`levels`); without these, fluences outside of limits",
}
"""What a condition may ask for, and what it is."""


def _words(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


class FlagDef(BaseModel):
    """One flag. It is raised by a metric of an exposure or analysis that has one of these statuses, by metadata out of order, or by a condition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="its name, as in MISSDATA")
    doc: str = Field(min_length=1, description="what it says, and what to do")
    metric: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field((), description="metrics, or patterns with *, one of which raises it")
    at: Annotated[tuple[Status, ...], BeforeValidator(_words)] = Field((Status.ALARM,), description="statuses of these metrics that raise it")
    fact: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field((), description="metadata of the session whose mismatch raises it")
    condition: str = Field("", description="condition on facts of the test, as in `missing > 0 or timed_out = 1`")
    status: Status = Field(Status.WARNING, description="what the test becomes at least when it is raised")

    @model_validator(mode="after")
    def _one_way(self) -> FlagDef:
        if sum(map(bool, (self.metric, self.fact, self.condition))) != 1:
            raise ValueError("say one of metric, fact, condition: what raises the flag")
        return self


class FlagsFile(BaseModel):
    """The contents of a file of flags."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flags: tuple[FlagDef, ...] = Field(min_length=1)


class Raised(Record):
    """A flag that was raised, what it makes of the test, and why."""

    name: str
    status: Status
    why: str


class FlagsSaid(Record):
    """What the flags of a test say: those raised, those not, those of which nothing was measured, and those that do not apply.

    `why` says of the last two why, where that is known.
    """

    raised: list[Raised] = Field(default_factory=list)
    clear: list[str] = Field(default_factory=list)
    not_known: list[str] = Field(default_factory=list)
    not_applicable: list[str] = Field(default_factory=list)
    why: dict[str, str] = Field(default_factory=dict)

    def with_why(self, names: Sequence[str]) -> list[str]:
        """The names, each with the reason where there is one."""
        return [f"{name} ({self.why[name]})" if name in self.why else name for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A judged metric: where it was found, its status, and its reason where it has one."""

    metric: str
    where: str
    status: Status | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that flags are made from: `numbers` by name of `TEST_FACTS` (what is not there is not known), judged metrics, sentences on `mismatches` by
    tag, and the tags that were compared at all.

    By name of a fact: `told` are sentences on its number, `not_applicable` and `unknown` why there is none.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    metrics: Sequence[Found] = ()
    mismatches: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checked: Collection[str] = ()
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags of a session, ready to be used."""

    flags: tuple[FlagDef, ...]
    conditions: Mapping[str, Where]

    def say(self, facts: Facts) -> FlagsSaid:
        """Which are raised."""
        own = {name for flag in self.flags for name in flag.fact}
        others = [s for tag, told in facts.mismatches.items() if tag not in own for s in told]
        numbers = {**facts.numbers, "mismatches": float(len(others))} if facts.checked or "found" in facts.numbers else dict(facts.numbers)
        said = FlagsSaid()
        for flag in self.flags:
            known, why = self._one(flag, facts, numbers, others)
            if why:
                said.raised.append(Raised(name=flag.name, status=flag.status, why=why))
            elif known:
                said.clear.append(flag.name)
            else:
                self._silent(flag, facts, said)
        return said

    def _silent(self, flag: FlagDef, facts: Facts, said: FlagsSaid) -> None:
        """One of which nothing is known: it does not apply where one of its facts does not."""
        names = sorted(self.conditions[flag.name].names) if flag.condition else []
        applies = not any(n in facts.not_applicable for n in names)
        (said.not_known if applies else said.not_applicable).append(flag.name)
        reasons = facts.unknown if applies else facts.not_applicable
        if why := next((reasons[n] for n in names if n in reasons), ""):
            said.why[flag.name] = why

    def _one(self, flag: FlagDef, facts: Facts, numbers: Mapping[str, float], others: Sequence[str]) -> tuple[bool, str]:
        """Whether anything is known of a flag, and why it is raised, if it is."""
        if flag.metric:
            of = [f for f in facts.metrics if f.status is not None and any(fnmatch.fnmatchcase(f.metric, p) for p in flag.metric)]
            bad = [f for f in of if f.status in flag.at]
            return any(f.status is not Status.UNKNOWN for f in of), _told([f"{f.where}: {f.reason or f.metric}" for f in bad])
        if flag.fact:
            return any(f in facts.checked for f in flag.fact), _told([s for f in flag.fact for s in facts.mismatches.get(f, ())])
        where, texts = self.conditions[flag.name], {k: f"{v:g}" for k, v in numbers.items()}
        if where(texts):
            stated = ", ".join(f"{n} {texts[n]}" for n in sorted(where.names) if texts.get(n, "0") != "0")
            told = (s for n in sorted(where.names) for s in facts.told.get(n, ()))
            return True, _told([stated, *(others if "mismatches" in where.names else ()), *told])
        return all(n in texts for n in where.names), ""


def _told(sentences: Sequence[str], most: int = 3) -> str:
    more = f"; and {len(sentences) - most} more" if len(sentences) > most else ""
    return "; ".join(s for s in sentences[:most] if s) + more


def load_flags(documents: Sequence[Document], metrics: Mapping[str, MetricDef], extra_metrics: Collection[str] = ()) -> Flags:
    """Flags from files, of one name the last. `extra_metrics` are those of series.

    Raises BadConfig, with file and line: a metric that no QA measures, a condition that cannot be read.
    """
    found: dict[str, FlagDef] = {}
    conditions: dict[str, Where] = {}
    known = [*metrics, *extra_metrics]
    for doc in documents:
        for i, flag in enumerate(validate(FlagsFile, doc).flags):
            for pattern in flag.metric:
                if not fnmatch.filter(known, pattern):
                    hint = suggest(pattern, sorted(known), noun="metrics") if len(known) < 20 else "; `quicklook list metrics` shows them"
                    raise BadConfig(f"{doc.where(('flags', i, 'metric'))}: no QA measures {pattern!r}{hint}")
            if flag.condition:
                try:
                    conditions[flag.name] = parse_where(flag.condition, TEST_FACTS.keys())
                except BadConfig as error:
                    raise BadConfig(f"{doc.where(('flags', i, 'condition'))}: {str(error).removeprefix('--where, ')}") from error
            found[flag.name] = flag
    return Flags(flags=tuple(found.values()), conditions=conditions)
