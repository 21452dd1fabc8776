"""How incidents of a rule are handled: when they count, who is told, who next, what folds them."""

from __future__ import annotations

from pydantic import Field

from quicklook.core.results import Record

HOUR_S = 3600.0


class Escalation(Record):
    """Who else is told when nobody has acknowledged so long after the first message."""

    after_s: float = Field(gt=0, description="seconds after the first message")
    to: tuple[str, ...] = Field(min_length=1, description="channels that are told then")


class Handling(Record):
    """What is done with the incidents of a rule. All times are seconds."""

    channels: tuple[str, ...] = Field((), description="channels that are told first; none: it is shown and not sent")
    hold_s: float = Field(0.0, ge=0, description="so long a condition must last before it is an alarm")
    clear_s: float = Field(0.0, ge=0, description="so long it must be gone before it is over")
    wait_s: float = Field(2.0, ge=0, description="so long a message waits for others of its group, and for a cause that folds it")
    again_s: float | None = Field(8 * HOUR_S, gt=0, description="what was acknowledged so long ago and is still there is told again")
    keep_s: float = Field(12 * HOUR_S, gt=0, description="an event of a frame is over so long after the last one, if no sound frame ends it before")
    latch: bool | None = Field(
        None, description="whether its worst severity is kept until somebody acknowledges; by default of states, not of frames"
    )
    group: str = Field("", description="incidents of one group that come together are one message; by default those of the rule")
    escalate: tuple[Escalation, ...] = Field((), description="who else is told, and when, in the order of time")
    inhibited_by: tuple[str, ...] = Field((), description="rules whose incidents are the cause of these: they fold them")
    equal: tuple[str, ...] = Field((), description="facts that cause and consequence must have in common")
