"""Learned limits as limits: the model, and the text of a limits file that a person reads, edits and keeps. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from quicklook.core.judge import number
from quicklook.core.learn import Learned, LearnSettings, Lesson, refused_words
from quicklook.core.limits import Limit, LimitSet, Range
from quicklook.core.numericwhen import meets

ACTION = "Compare with the same metric in the exposures before; if it stays, find out what has changed since the nights that the limit rests on."


_TOLD = 1.1
"""A factor of few values is told from here on."""


def nights_words(nights: tuple[int, int]) -> str:
    """``night 20220601``, or ``nights 20220601 to 20220605``."""
    first, last = nights
    return f"night {first:08d}" if first == last else f"nights {first:08d} to {last:08d}"


def reason_of(learned: Learned) -> str:
    """The sentence that says what the limit rests on."""
    unit = f" {learned.unit}" if learned.unit else ""
    sigma = number(math.hypot(learned.low, learned.high) / math.sqrt(2.0), 2)
    few = f" (widened {number(learned.factor, 2)} times, for so few values tell it badly)" if learned.factor > _TOLD else ""
    rests = f"in {learned.exposures} exposures ({nights_words(learned.nights)})"
    return f"Learned: median {number(learned.centre)}{unit}, spread {sigma}{unit}{few}, {rests}."


def in_force(learned: Learned, known: LimitSet | None) -> Limit | None:
    """The most specific limit of the same metric that is in force there, as far as the labels of what was learned say."""
    tags = dict(learned.when)
    each = known.of(learned.metric) if known is not None else ()
    return next((limit for limit in each if all(meets(tags[k], v) for k, v in limit.when.items() if k in tags)), None)


def to_limit(learned: Learned, known: LimitSet | None = None) -> Limit:
    """The limit that the judge takes.

    Its action is that of the limit in force; an end that is open there stays open, for beyond it a value is never bad (more light than usual).
    """
    before = in_force(learned, known)
    return Limit(
        metric=learned.metric,
        unit=learned.unit,
        normal=_open_as(learned.normal, before),
        warning=_open_as(learned.warning, before),
        when={k: (v,) for k, v in learned.when.items()},
        reason=reason_of(learned),
        action=before.action if before is not None else ACTION,
    )


def _open_as(learned: tuple[float, float], before: Limit | None) -> Range:
    if before is None:
        return learned
    low, high = (None if end is None else value for end, value in zip(before.normal, learned, strict=True))
    return low, high


def _range_text(ends: Range) -> str:
    return "[" + ", ".join("null" if end is None else repr(end) for end in ends) + "]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _when(when: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{k}: {_quoted(v)}" for k, v in when.items()) + "}"


def _entry(learned: Learned, known: LimitSet | None) -> list[str]:
    limit = to_limit(learned, known)
    outside = sum(n for n, end in zip(learned.beyond, limit.normal, strict=True) if end is not None)
    rests = f"{learned.exposures} exposures, {learned.values} values, {outside} of them outside of the normal range"
    left_out = f"; left out, ALARM for another metric: {learned.left_out}" if learned.left_out else ""
    lines = [
        f"# rests on {rests}{left_out}",
        f"- metric: {limit.metric}",
        f"  unit: {_quoted(limit.unit)}",
        f"  normal: {_range_text(limit.normal)}",
        f"  warning: {_range_text(limit.warning_range)}",
        *([f"  when: {_when(learned.when)}"] if learned.when else []),
        f"  reason: {_quoted(limit.reason)}",
        f"  action: {_quoted(limit.action)}",
    ]
    return [f"  {line}" for line in lines]


def limits_text(lesson: Lesson, settings: LearnSettings, *, known: LimitSet | None = None, about: str = "") -> str:
    """The text of a limits file (YAML) with all that was learned, the number of exposures that each limit rests on, and what was refused.

    `known` are the limits in force: the actions and the open ends are taken from them. `about` says from what was learned. The text loads as a
    limits file, unless nothing was learned.
    """
    head = [
        "# Limits proposed from history" + (f": {about}." if about else "."),
        f"# Normal range: median +- {settings.normal:g} robust spreads; warning: +- {settings.warning:g}."
        + (f" Never narrower than +- {100 * settings.narrowest:g} %." if settings.narrowest else ""),
        "# Read them before they go live, and see what they would change: quicklook judge --limits THIS_FILE",
    ]
    refused = [f"# not learned: {text}" for text in refused_words(lesson.refused, settings)]
    body = [line for one in lesson.learned for line in _entry(one, known)]
    return "\n".join([*head, *refused, "limits:" if body else "limits: []", *body]) + "\n"


def labels(when: Mapping[str, str]) -> str:
    """``camera b3, amp C``."""
    return ", ".join(f"{k} {v}" for k, v in when.items())
