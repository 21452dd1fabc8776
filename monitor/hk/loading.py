"""A configuration file of housekeeping, checked as a whole, and what it says of one channel."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from monitor.hk.config import ChannelSpec, Defaults, HkFile, LimitSpec
from monitor.hk.names import Aliases, is_pattern, matched
from quicklook.core.declared import declared_metrics
from quicklook.core.document import Document
from quicklook.core.registry import registered
from quicklook.core.severity import Severity
from quicklook.core.validation import raise_problems, suggest, validate


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """All that is configured of one channel. `low`, `high`: plausible range of the physical value."""

    name: str
    unit: str = ""
    text: bool = False
    fill: tuple[float, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    scale: float = 1.0
    offset: float = 0.0
    stale_after_s: float = 300.0
    invalid_rows: float = math.inf
    frozen_after_s: float = math.inf
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundLimit:
    """A limit on one channel; `reference` is the channel, or "" where `constant` is what the value is relative to."""

    spec: LimitSpec
    channel: str
    reference: str = ""
    constant: float = math.nan

    @property
    def subject(self) -> str:
        """Its name for good."""
        return f"{self.channel}/{self.spec.name}"


@dataclass(frozen=True)
class HkConfig:
    """A configuration that was checked. Raises BadConfig (`load_hk`) where it cannot be used."""

    file: HkFile
    document: Document

    @cached_property
    def aliases(self) -> Aliases:
        """Names that sources give, to those of the configuration."""
        return Aliases((a, c.name) for c in self.file.channels for a in c.aliases)

    def facts(self, name: str) -> ChannelFacts:
        """What is configured of a channel: the specs that match, a later one laid over an earlier one."""
        merged: dict[str, object] = {}
        for spec in self.file.channels:
            if matched(spec.name, name) is not None:
                merged |= {k: v for k, v in spec.model_dump().items() if v is not None and k not in ("name", "aliases")}
        found = ChannelSpec.model_validate({"name": name, **merged})
        return _facts(found, self.file.defaults, self._of_words(name, found))

    def _of_words(self, name: str, found: ChannelSpec) -> bool:
        if found.kind is not None:
            return found.kind == "text"
        return any(isinstance(v, str | bool) for limit in self.file.limits if _names(limit, name) is not None for v in limit.equals)

    def limits_on(self, name: str) -> Iterator[BoundLimit]:
        """The limits that name a channel, in the order of the file."""
        for spec in self.file.limits:
            star = _names(spec, name)
            if star is None:
                continue
            reference = spec.reference if isinstance(spec.reference, str) else ""
            constant = float(spec.reference) if isinstance(spec.reference, int | float) else math.nan
            yield BoundLimit(spec=spec, channel=name, reference=self.aliases.of(reference.replace("{name}", star)), constant=constant)

    @cached_property
    def expected(self) -> tuple[str, ...]:
        """Channels that must be there: named, not by a pattern, by a limit or as watched."""
        by_limits = (c for limit in self.file.limits for c in limit.channels if not is_pattern(c))
        by_name = (c.name for c in self.file.channels if c.watched and not is_pattern(c.name))
        return tuple(n for n in dict.fromkeys([*map(self.aliases.of, by_limits), *by_name]) if n not in self.unwatched)

    @cached_property
    def unwatched(self) -> frozenset[str]:
        """Channels whose data may be stale without anybody being told."""
        return frozenset(c.name for c in self.file.channels if c.watched is False)

    @cached_property
    def missed(self) -> frozenset[str]:
        """Channels that are named, and so are missed when their data are stale; those that have a limit are missed too."""
        return frozenset(c.name for c in self.file.channels) | frozenset(self.expected)

    @cached_property
    def text_channels(self) -> frozenset[str]:
        """Names, as sources give them too, of channels that are known to hold words."""
        known = {c.name for c in self.file.channels} | {c for limit in self.file.limits for c in limit.channels}
        words = {n for n in known if not is_pattern(n) and self.facts(self.aliases.of(n)).text}
        return frozenset(words | {a for c in self.file.channels if c.name in words for a in c.aliases})

    @cached_property
    def number_channels(self) -> frozenset[str]:
        """Names and patterns, as sources give them too, of channels that hold numbers: a limit on numbers is on them, or they have a range."""
        limited = {c for limit in self.file.limits if _of_numbers(limit) for c in limit.channels}
        limited |= {limit.reference for limit in self.file.limits if isinstance(limit.reference, str) and "{" not in limit.reference}
        ranged = {c.name for c in self.file.channels if c.kind != "text" and (c.kind == "number" or c.plausible is not None or c.scale is not None)}
        known = (limited | ranged) - self.text_channels
        return frozenset(known | {a for c in self.file.channels if c.name in known for a in c.aliases})


def _of_numbers(limit: LimitSpec) -> bool:
    return not any(isinstance(v, str | bool) for v in limit.equals)


def _names(spec: LimitSpec, name: str) -> str | None:
    if any(matched(p, name) is not None for p in spec.but):
        return None
    return next((star for p in spec.channels if (star := matched(p, name)) is not None), None)


def _facts(spec: ChannelSpec, defaults: Defaults, text: bool) -> ChannelFacts:
    low, high = spec.plausible or (None, None)
    rows = spec.invalid_rows if spec.invalid_rows is not None else defaults.invalid_rows
    return ChannelFacts(
        name=spec.name,
        unit=spec.unit or "",
        text=text,
        fill=defaults.fill if spec.fill is None else spec.fill,
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
        scale=1.0 if spec.scale is None else spec.scale,
        offset=spec.offset or 0.0,
        stale_after_s=spec.stale_after_s or defaults.stale_after_s,
        invalid_rows=math.inf if rows is None else rows,
        frozen_after_s=spec.frozen_after_s or math.inf,
        severity=spec.stale_severity or defaults.stale_severity,
    )


def load_hk(document: Document) -> HkConfig:
    """The configuration, checked. Raises BadConfig with all problems, each with file and line."""
    file = validate(HkFile, document)
    raise_problems(_problems(file, document))
    config = HkConfig(file, document)
    _ = config.aliases
    raise_problems(_unit_problems(config, document))
    return config


def _problems(file: HkFile, doc: Document) -> Iterator[str]:
    yield from _twice([limit.name for limit in file.limits], "limits", doc)
    yield from _twice([state.name for state in file.states], "states", doc)
    states = [s.name for s in file.states]
    for i, limit in enumerate(file.limits):
        for name in limit.states:
            if name not in states:
                yield f"{doc.where(('limits', i, 'states'))}: no state is called {name!r}{suggest(name, states, noun='states')}"
        if limit.name == "data":
            yield f"{doc.where(('limits', i, 'name'))}: 'data' is the name of what is said of a channel without data; take another one"


def _twice(names: Iterable[str], what: str, doc: Document) -> Iterator[str]:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            yield f"{doc.where((what, i, 'name'))}: {name!r} is there twice; each needs a name of its own"
        seen.add(name)


def _unit_problems(config: HkConfig, doc: Document) -> Iterator[str]:
    """Limits in another unit than the channel that they name."""
    for i, limit in enumerate(config.file.limits):
        for name in limit.channels:
            facts = None if is_pattern(name) else config.facts(name)
            if facts and facts.unit and limit.unit and limit.kind == "absolute" and facts.unit != limit.unit:
                yield f"{doc.where(('limits', i, 'unit'))}: the limit is in {limit.unit!r}, channel {name} in {facts.unit!r}; write it in that unit"


def check_config(config: HkConfig) -> Iterator[str]:
    """Remarks on what can be used and is odd: references that nothing names."""
    for limit in config.file.limits:
        if not isinstance(limit.reference, str) or "{" in limit.reference:
            continue
        name = config.aliases.of(limit.reference)
        if name not in config.expected and not any(matched(c.name, name) is not None for c in config.file.channels):
            yield f"limit {limit.name}: its reference {limit.reference} is no channel that is named here; without it nothing is judged"
    yield from _spoiled_nothing(config)


def _spoiled_nothing(config: HkConfig) -> Iterator[str]:
    """Channels that are declared to spoil what nobody measures."""
    wanted = {p for joined in config.file.exposures.channels for p in joined.spoils}
    known = (*registered("qa"), *declared_metrics()) if wanted else ()
    for pattern in sorted(wanted):
        if not fnmatch.filter(known, pattern):
            yield f"exposures: {pattern!r} under `spoils` fits no QA and no metric{suggest(pattern, sorted(known), noun='QAs')}"


def value_text(value: object) -> str:
    """A word as it is compared: spaces around it and capitals do not count."""
    return str(value).strip().lower()


