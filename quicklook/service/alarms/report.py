"""The report card of alarms: how many, of which rule, useful or noise, how long until somebody knew, rules that nobody ever acted on. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from quicklook.core.alarms import AlarmPast, ReportCard, RuleCard

DAY_NS = 86_400_000_000_000


def report_card(past: Sequence[AlarmPast], start: int, stop: int) -> ReportCard:
    """Of the incidents that fired from `start` to `stop` (UTC, ns). Raises ValueError where that is no time."""
    if stop <= start:
        raise ValueError("a report card is of some time")
    days = (stop - start) / DAY_NS
    chosen = [p for p in past if p.fired is not None and start <= p.fired < stop]
    by_rule: dict[str, list[AlarmPast]] = defaultdict(list)
    for one in chosen:
        by_rule[one.rule].append(one)
    cards = [_card(rule, of_rule, days) for rule, of_rule in by_rule.items()]
    cards.sort(key=lambda c: (-c.incidents, c.rule))
    return ReportCard(days=days, incidents=len(chosen), per_day=len(chosen) / days, rules=cards)


def _card(rule: str, of_rule: Sequence[AlarmPast], days: float) -> RuleCard:
    waits = [(p.acknowledged - p.fired) / 1e9 for p in of_rule if p.acknowledged is not None and p.fired is not None]
    useful = sum(p.mark == "useful" for p in of_rule)
    return RuleCard(
        rule=rule,
        incidents=len(of_rule),
        per_day=len(of_rule) / days,
        told=sum(bool(p.told) for p in of_rule),
        useful=useful,
        noise=sum(p.mark == "noise" for p in of_rule),
        acknowledged=len(waits),
        seconds_to_acknowledge=statistics.median(waits) if waits else None,
        acted=bool(waits or useful),
    )
