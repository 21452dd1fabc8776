"""What was found in a unit: everything that is not NORMAL, from the results of its parts and of the unit as a whole. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from quicklook.core.decision import Finding
from quicklook.core.results import MetricResult, Override, QAResult, UnitVerdict
from quicklook.core.status import Status, total
from quicklook.core.unitparts import PartSummary, UnitParts

OVERRIDE = "override"
"""How rules name what a person has said, in place of a QA."""
_SHOWN = 8


def fits(text: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits any of the patterns of a shell."""
    return any(fnmatch.fnmatchcase(text, p) for p in patterns)


def listed(names: Sequence[str]) -> str:
    """Names with commas; of many the first ones, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def max_status(found: Sequence[Finding]) -> Status:
    """The worst status among findings; NORMAL where there is none."""
    return max((f.status for f in found), key=lambda s: s.severity, default=Status.NORMAL)


def said_of_whole(overrides: Sequence[Override]) -> Status | None:
    """What persons have made of a unit as a whole: what was said of it last, or later of a part where that is worse; None where nothing was.

    `overrides` are those of a verdict, oldest first.
    """
    at = _last_of_whole(overrides)
    if at < 0:
        return None
    later = {o.part: o.status for o in overrides[at + 1 :]}
    return total([overrides[at].status, *later.values()])


def _last_of_whole(overrides: Sequence[Override]) -> int:
    return max((i for i, o in enumerate(overrides) if not o.part), default=-1)


def standing(overrides: Sequence[Override]) -> list[Override]:
    """What counts of what persons have said, the last of each part; what is worse than was said later of the whole does not."""
    at = _last_of_whole(overrides)
    last = {o.part: i for i, o in enumerate(overrides)}
    return [overrides[i] for i in last.values() if i >= at or overrides[i].status.severity <= overrides[at].status.severity]


def findings(parts: UnitParts, verdict: UnitVerdict) -> list[Finding]:
    """Everything that is not NORMAL, worst first. What a person has overridden counts by what the person said, and not by what was measured."""
    by_hand = {o.part: o for o in verdict.overrides}
    out: list[Finding] = []
    for part in parts.parts:
        if part.part not in by_hand:
            out += _of_part(part)
    out += [f for qa in verdict.qas for f in _of_qa("", qa)]
    told = " ".join(f.reason for f in out if not f.part)
    out += [_unmeasured(name, "it did not arrive") for name in parts.missing if name not in told]
    if whole := by_hand.get(""):
        out = [f for f in out if f.status.severity <= whole.status.severity]
    for override in standing(verdict.overrides):
        if override.status is not Status.NORMAL:
            out.append(Finding(part=override.part, qa=OVERRIDE, group="", metric="", status=override.status, reason=override.words))
    return sorted(out, key=lambda f: -f.status.severity)


def _of_part(part: PartSummary) -> list[Finding]:
    found = [f for qa in part.qas for f in _of_qa(part.part, qa)]
    if found or (part.status is Status.NORMAL and part.qas):
        return found
    if part.status is Status.NORMAL:
        return [_unmeasured(part.part, "its verdict was NORMAL, and no result of it can be read")]
    unjudged = part.qas and all(qa.status is None for qa in part.qas)
    whole = "nothing was judged: no limit holds for any metric of it" if unjudged else f"its verdict is {part.status}"
    reason = "no verdict was reached" if part.status is None else "; ".join(part.reasons) or whole
    return [_unmeasured(part.part, reason, part.status or Status.UNKNOWN)]


def _unmeasured(part: str, reason: str, status: Status = Status.UNKNOWN) -> Finding:
    return Finding(part=part, qa="", group="", metric="", status=status, reason=reason)


def _of_qa(part: str, qa: QAResult) -> list[Finding]:
    if qa.failure is not None:
        if qa.status is None:
            return []
        reason, action = qa.failure.message, qa.failure.what_next
        if qa.failure.error != "NotRun":  # else the step failed, which is one cause for many
            reason = f"QA {qa.name} failed: {reason}"
        return [Finding(part=part, qa=qa.name, group=qa.group, metric="", status=Status.UNKNOWN, reason=reason, action=action)]
    return [
        Finding(
            part=part, qa=qa.name, group=qa.group, metric=m.name, status=m.status, reason=m.reason or f"{m.name} is {m.status}", action=action_of(m),
            cause=m.cause,
        )
        for m in qa.metrics
        if m.status is not None and m.status is not Status.NORMAL
    ]  # fmt: skip


def action_of(metric: MetricResult) -> str:
    """What to do about a metric that is not NORMAL, as its limit says; "" where there is none."""
    if metric.status in (None, Status.NORMAL) or not metric.limits:
        return ""
    index = metric.limit_of[metric.worst] if metric.worst is not None and metric.limit_of else 0
    return metric.limits[index or 0].action


def reasons_of_findings(found: Sequence[Finding]) -> list[str]:
    """Sentences on all findings, in their order: one for a metric, with all cameras in which it is so; one for the cause of what did not run."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for f in found:
        key = (f.status, f.part, *f.cause) if f.cause else (f.status, f.metric) if f.metric else (f.status, "", f.reason)
        groups.setdefault(key, []).append(f)
    return [_sentence(some) for some in groups.values()]


def _sentence(some: Sequence[Finding]) -> str:
    cameras = list(dict.fromkeys(f.part for f in some))
    first = some[0]
    if first.cause and len(some) > 1:
        place, why = first.cause
        at = f"{first.part}: " if first.part else ""
        by = ", ".join(dict.fromkeys(f.qa for f in some))
        return f"{first.status}: {at}{', '.join(f.metric for f in some)} of {place} were not measured: {why} [{by}]"
    place = f"{first.part}: " if first.part else ""
    others = [c for c in cameras if c != first.part]
    also = f" (also {listed(others)})" if others else ""
    by = f" [{first.qa}]" if first.metric and not first.reason.startswith(f"{first.qa} ") else ""
    return f"{first.status}: {place}{first.reason}{by}{also}"
