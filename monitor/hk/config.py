"""What a file in configs/hk/ may say: sources, channels, states of the instrument, limits. Every problem is told with its file and line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from quicklook.core.numericwhen import parse_comparison
from quicklook.core.severity import Severity

Range = tuple[float | None, float | None]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
FILL = (1e20, 999999.0, -273.15)
MISSING = ("", "n/a", "na", "nan", "none", "null", "-", "--", "inf", "-inf")


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _conditions(value: Any) -> Any:
    texts = tuple(_word(v) for v in _listed(value))
    for text in texts:
        parse_comparison(text)
    return texts


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ordered(given: Range, what: str) -> Range:
    low, high = given
    if low is not None and high is not None and low > high:
        raise ValueError(f"{what} [{low}, {high}] is inside out")
    if low is None and high is None:
        raise ValueError(f"{what} is open at both ends: it can never say anything")
    return given


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourceSpec(_Model):
    """A source: which plugin, with which parameters. `match` is a pattern of file names that it reads in a replay."""

    plugin: Name
    params: dict[str, Any] = Field(default_factory=dict)
    match: str = ""
    silent_after_s: Seconds | None = Field(300.0, description="without any sample for so long the source is silent; null: it may be silent for ever")
    silent_severity: Severity = Severity.ALARM
    feed_after_s: Seconds | None = Field(None, description="a feed in it (columns with own times) may be silent for so long while it speaks")
    feed_severity: Severity = Severity.WARNING


class ChannelSpec(_Model):
    """What is known of channels: one name, or all that match a pattern (`CCD*_temp`); a later one is laid over an earlier one."""

    name: Name
    aliases: tuple[Name, ...] = ()
    unit: str | None = None
    kind: Literal["number", "text"] | None = None
    fill: Annotated[tuple[float, ...], BeforeValidator(_listed)] | None = None
    plausible: Range | None = None
    scale: float | None = Field(None, description="physical = scale * given + offset; fill values are compared with what was given")
    offset: float | None = None
    stale_after_s: Seconds | None = None
    invalid_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="so many samples in a row that are no valid value are stale too")
    frozen_after_s: Seconds | None = Field(None, description="not one change for so long, while samples come, is stale too")
    stale_severity: Severity | None = None
    watched: bool | None = Field(None, description="whether it must be there even where no limit names it")

    @field_validator("plausible")
    @classmethod
    def _in_order(cls, given: Range | None) -> Range | None:
        return None if given is None else _ordered(given, "the plausible range")

    @model_validator(mode="after")
    def _alias_of_one(self) -> ChannelSpec:
        if self.aliases and any(c in self.name for c in "*?["):
            raise ValueError(f"aliases belong to one channel, and {self.name!r} is a pattern")
        return self


class StateSpec(_Model):
    """A state of the instrument: it is in the first whose conditions all hold, on the latest valid values, for at least `after_s`."""

    name: Name
    when: dict[str, Annotated[tuple[str, ...], BeforeValidator(_conditions)]] = Field(min_length=1)
    after_s: Annotated[float, Field(ge=0)] = 0.0


class Persistence(_Model):
    """A limit is violated when `count` of the last `of` judgements were outside, and over when the last `clear` were inside."""

    count: Annotated[int, Field(ge=1, le=64)] = 1
    of: Annotated[int, Field(ge=1, le=64)] = 1
    clear: Annotated[int, Field(ge=1, le=1000)] = 1

    @model_validator(mode="after")
    def _possible(self) -> Persistence:
        if self.count > self.of:
            raise ValueError(f"{self.count} of {self.of} samples can never be: write count no larger than of")
        return self


class Level(_Model):
    """One set of a limit: the range within which all is well, and how much each side matters."""

    range: Range
    severity: Severity | None = None
    low: Severity | None = None
    high: Severity | None = None

    @field_validator("range")
    @classmethod
    def _in_order(cls, given: Range) -> Range:
        return _ordered(given, "the range")


def _level(value: Any) -> Any:
    return {"range": value} if isinstance(value, list | tuple) else value


class LimitSpec(_Model):
    """One limit on one or more channels. `performance` is where the data suffer (WARNING), `survival` where the hardware does (ALARM)."""

    name: Name
    channels: Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]
    but: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    kind: Literal["absolute", "relative", "identity", "rate"] = "absolute"
    unit: str = ""
    performance: Annotated[Level, BeforeValidator(_level)] | None = None
    survival: Annotated[Level, BeforeValidator(_level)] | None = None
    reference: str | float | None = Field(None, description="relative: a channel, or a number; {name} stands for what * matched")
    factor: float = Field(1.0, description="relative: value - factor * reference is judged")
    equals: Annotated[tuple[str | int | float | bool, ...], BeforeValidator(_listed)] = ()
    mask: Annotated[int, Field(ge=1, lt=2**53)] | None = Field(None, description="identity: bits of a word that are compared")
    severity: Severity | None = Field(None, description="identity: how much it matters")
    over_s: Seconds = Field(60.0, description="rate: the change is taken over at least so long")
    gap_s: Seconds | None = Field(None, description="rate: over a longer gap no rate is taken; default 10 times over_s")
    per_s: Seconds = Field(1.0, description="rate: the range is a change in so many seconds: 3600 for an hour")
    states: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    persistence: Persistence = Persistence()
    hysteresis: Annotated[float, Field(ge=0)] = 0.0
    reason: Sentence
    action: Sentence

    @model_validator(mode="after")
    def _consistent(self) -> LimitSpec:
        if (self.kind == "identity") != bool(self.equals):
            raise ValueError("`equals` belongs to a limit of kind identity, and such a limit needs it")
        if self.kind == "identity" and (self.performance or self.survival):
            raise ValueError("a limit of kind identity has no ranges; write `equals` and `severity`")
        if self.kind != "identity" and not (self.performance or self.survival):
            raise ValueError("it has neither a `performance` nor a `survival` range: it can never fire")
        if (self.kind == "relative") != (self.reference is not None):
            raise ValueError("`reference` belongs to a limit of kind relative, and such a limit needs it")
        if self.mask is not None and not all(isinstance(v, int) for v in self.equals):
            raise ValueError("a mask compares bits: `equals` must be whole numbers (0x2A for a hexadecimal word)")
        self._nested()
        return self

    def _nested(self) -> None:
        if self.performance is not None and self.survival is not None:
            (plow, phigh), (slow, shigh) = self.performance.range, self.survival.range
            if (slow is not None and (plow is None or slow > plow)) or (shigh is not None and (phigh is None or shigh < phigh)):
                raise ValueError(f"the survival range {[slow, shigh]} must contain the performance range {[plow, phigh]}")
        ranges = [level.range for level in (self.performance, self.survival) if level is not None]
        widths = [high - low for low, high in ranges if low is not None and high is not None]
        if widths and 2 * self.hysteresis >= min(widths):
            raise ValueError(f"hysteresis {self.hysteresis} leaves nothing of a range that is {min(widths)} wide")


class Defaults(_Model):
    """What holds for every channel that says nothing else."""

    fill: tuple[float, ...] = FILL
    missing: tuple[str, ...] = MISSING
    stale_after_s: Seconds = 300.0
    invalid_rows: Annotated[int, Field(ge=1)] | None = None
    stale_severity: Severity = Severity.WARNING


class StoreSpec(_Model):
    """How long and how much is kept."""

    keep_days: Annotated[float, Field(gt=0, le=36500)] = 90.0
    max_mb: Annotated[float, Field(ge=1)] = 5000.0


class JoinedSpec(_Model):
    """Channels whose statistics over each exposure stand in its verdict, and what they matter for: cameras, and QAs or metrics (patterns)."""

    channels: Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]
    but: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    parts: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field(("*",), description="cameras; {name} stands for what * matched")
    spoils: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field((), description="QAs and metrics that it may spoil: then it can be a cause")
    why: str = Field("", description="how it spoils them, in a sentence")
    nearest_s: Seconds | None = Field(None, description="so far from the exposure a sample still counts where none is within; default stale_after_s")

    @model_validator(mode="after")
    def _explained(self) -> JoinedSpec:
        if self.spoils and not self.why.strip():
            raise ValueError("`spoils` makes it a possible cause; say in `why` how it spoils them")
        return self


class ExposuresSpec(_Model):
    """How housekeeping is joined to frames. `offset_s` is added to the times of headers, where the clock of the telemetry goes before theirs."""

    margin_s: Annotated[float, Field(ge=0, le=3600)] = Field(1.0, description="samples so long before and after an exposure count as within it")
    offset_s: Annotated[float, Field(ge=-86400, le=86400)] = 0.0
    history_h: Annotated[float, Field(gt=0, le=720)] = Field(6.0, description="what is usual of a channel is told by so many hours before")
    channels: tuple[JoinedSpec, ...] = ()


class HkFile(_Model):
    """The contents of a file in configs/hk/."""

    defaults: Defaults = Defaults()
    sources: dict[Name, SourceSpec] = Field(min_length=1)
    channels: tuple[ChannelSpec, ...] = ()
    states: tuple[StateSpec, ...] = ()
    limits: tuple[LimitSpec, ...] = ()
    store: StoreSpec = StoreSpec()
    exposures: ExposuresSpec = ExposuresSpec()
