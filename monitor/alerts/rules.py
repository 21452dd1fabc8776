"""Rules of alarms (`configs/alerts/*.yaml`): which observations raise which alarm, how bad it is, what it says, how it is handled. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from monitor.alerts.handling import Handling
from monitor.alerts.model import Signal
from monitor.alerts.observing import SOURCES, Facts, Observation
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.severity import Severity
from quicklook.core.validation import suggest, validate
from quicklook.core.where import Where, parse_where

_NAMED = re.compile(r"\{(\w*)\}")


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class Rule(BaseModel):
    """One rule. The text may name facts of its source in braces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="its name, as in bad_detector")
    on: str = Field(description="what it listens to")
    when: str = Field(min_length=1, description="condition on the facts of that, as in `status = ALARM and group = CCDs`")
    what: str = Field(min_length=1, description="what is wrong, in one sentence")
    where: str = Field("", description="the place")
    severity: Annotated[Severity | None, BeforeValidator(_upper)] = Field(None, description="how bad it is; by default as the event says")
    action: str = Field("", description="what to do, where the event itself does not say")
    handling: Handling = Handling()


class AlertsFile(BaseModel):
    """The contents of a file of alarm rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alerts: str = Field(description="name")
    doc: str = Field("", description="what it is for")
    rules: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules that have been checked, with their conditions read."""

    name: str
    rules: tuple[Rule, ...]
    conditions: Mapping[str, Where]

    @property
    def handling(self) -> dict[str, Handling]:
        """By the name of the rule."""
        return {r.name: r.handling for r in self.rules}

    def signals(self, seen: Observation) -> list[Signal]:
        """What an observation says to each rule that listens: its condition is there, or it is not. What was not judged ends nothing."""
        out = []
        for rule in (r for r in self.rules if r.on == seen.on):
            condition = self.conditions[rule.name]
            active = condition(seen.facts)
            if not active and (not seen.judged or condition.names & seen.unknown):
                continue
            action = seen.facts.get("action") or rule.action
            out.append(
                Signal(
                    key=f"{rule.name}/{seen.key}".rstrip("/"),
                    rule=rule.name,
                    active=active,
                    severity=rule.severity or seen.severity,
                    frame=seen.frame,
                    what=fill(rule.what, seen.facts),
                    where=fill(rule.where, seen.facts),
                    facts={**{k: v for k, v in seen.facts.items() if v}, **({"action": action} if action else {})},
                )
            )
        return out


def fill(text: str, facts: Facts) -> str:
    """A text with its facts in place; what is not known is a question mark."""
    return _NAMED.sub(lambda found: facts.get(found[1]) or "?", text)


def load_rules(doc: Document, channels: Mapping[str, object] | None = None) -> Rules:
    """Rules from a file. `channels` are those that the site has, if they are to be checked.

    Raises BadConfig with file and line: a source, a fact or a channel that is not there, a condition that cannot be read, a name used twice, rules
    that fold each other in a circle.
    """
    file = validate(AlertsFile, doc)
    names = [r.name for r in file.rules]
    conditions = {}
    for i, rule in enumerate(file.rules):
        where = doc.where(("rules", i))
        if names.index(rule.name) != i:
            raise BadConfig(f"{where}: the name {rule.name!r} is used twice; give one of them another")
        source = SOURCES.get(rule.on)
        if source is None:
            raise BadConfig(f"{where} (on): there is no source {rule.on!r}{suggest(rule.on, list(SOURCES), noun='source')}")
        try:
            conditions[rule.name] = parse_where(rule.when, source.facts)
        except BadConfig as error:
            raise BadConfig(f"{doc.where(('rules', i, 'when'))}: {error}") from error
        for text in (rule.what, rule.where):
            for word in _NAMED.findall(text):
                if word not in source.facts:
                    raise BadConfig(f"{where}: {text!r} names {{{word}}}{suggest(word, source.facts, noun='fact')}")
        _check_handling(rule, names, channels, where)
    _check_circles({r.name: r.handling.inhibited_by for r in file.rules}, doc)
    return Rules(name=file.alerts, rules=file.rules, conditions=conditions)


def _check_handling(rule: Rule, names: list[str], channels: Mapping[str, object] | None, where: str) -> None:
    handling = rule.handling
    for cause in handling.inhibited_by:
        if cause not in names:
            raise BadConfig(f"{where}: inhibited_by names no rule {cause!r}{suggest(cause, names, noun='rule')}")
    given = [*handling.channels, *(c for step in handling.escalate for c in step.to)]
    for channel in given if channels is not None else ():
        if channel not in (channels or {}):
            raise BadConfig(f"{where}: there is no channel {channel!r}{suggest(channel, list(channels or {}), noun='channel')}")
    times = [step.after_s for step in handling.escalate]
    if times != sorted(times):
        raise BadConfig(f"{where}: the steps of `escalate` are not in the order of time; write the earliest first")


def _check_circles(causes: Mapping[str, tuple[str, ...]], doc: Document) -> None:
    """Rules that fold each other would hide each other for ever."""
    for name in causes:
        seen, todo = set[str](), list(causes[name])
        while todo:
            cause = todo.pop()
            if cause == name:
                raise BadConfig(f"{doc.where(('rules',))}: rule {name!r} folds itself, by way of `inhibited_by`; take one of these away")
            if cause not in seen:
                seen.add(cause)
                todo += causes[cause]
