"""From results, goals and rules to a decision card. Pure."""

from __future__ import annotations

import fnmatch
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from quicklook.core.decision import Decision, DecisionCard, DecisionsFile, Finding, GoalDef, GoalReached, Rule, Summary, When
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.findings import OVERRIDE, findings, fits, listed, max_status, reasons_of_findings, standing
from quicklook.core.metrics import MetricDef
from quicklook.core.results import NOT_APPLIED, UnitVerdict
from quicklook.core.status import Status
from quicklook.core.unitparts import UnitParts
from quicklook.core.validation import validate

WHOLE = "exposure"
"""How rules name the unit as a whole among the parts."""
NO_RULE = "no_rule"
_SUMMARIES = {"median": statistics.median, "min": min, "max": max, "sum": sum}


def load_decisions(doc: Document, metrics: Mapping[str, MetricDef], qas: Collection[str]) -> DecisionsFile:
    """Rules from a file, checked against what is installed.

    Raises BadConfig, with file and line: a pattern that fits no QA or no metric, a goal in another unit than its metric, a name used twice.
    """
    file = validate(DecisionsFile, doc)
    seen: set[str] = set()
    for i, rule in enumerate(file.rules):
        if rule.name in seen:
            raise BadConfig(f"{doc.where(('rules', i))}: the name {rule.name!r} is used twice; give one of them another")
        seen.add(rule.name)
        for field, known in (("qa", [*qas, OVERRIDE]), ("metric", metrics), ("goal", file.goals)):
            given = getattr(rule.when, field)
            for pattern in (given,) if isinstance(given, str) else given:
                if pattern.strip("*") and not fnmatch.filter(known, pattern):
                    where = doc.where(("rules", i, "when", field))
                    raise BadConfig(f"{where}: {pattern!r} fits no {field}; known: {', '.join(sorted(known)) or 'none'}")
    for name, goal in file.goals.items():
        definition, where = metrics.get(goal.metric), doc.where(("goals", name))
        if definition is None:
            raise BadConfig(f"{where}: no QA measures {goal.metric!r}; `quicklook list metrics` shows what is measured")
        if definition.unit != goal.unit:
            raise BadConfig(f"{where}: goal {name} is in {goal.unit!r}, {goal.metric} in {definition.unit!r}; write it in that unit")
        if unknown := set(goal.at) - set(definition.dims):
            raise BadConfig(f"{where}: {goal.metric} has no dimension {', '.join(sorted(unknown))}; it has: {', '.join(definition.dims) or 'none'}")
    return file


def wanted_goals(
    rules: DecisionsFile, tags: Mapping[str, str], of_site: Mapping[str, float], given: Mapping[str, float]
) -> dict[str, tuple[float, str]]:
    """Goals of an exposure, each with its source: those given by hand, else those of its header, else those of the site."""
    out = {name: (value, "site") for name, value in of_site.items()}
    for name, goal in rules.goals.items():
        value = _number(tags.get(goal.tag, "")) if goal.tag else None
        if value is not None:
            out[name] = (value, f"header, {goal.tag}")
    return {**out, **{name: (value, "given by hand") for name, value in given.items()}}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def check_goals(rules: DecisionsFile, goals: Mapping[str, float], where: str) -> None:
    """Refuse a goal that no rule knows, or that is not positive. Raises BadConfig."""
    for name, value in goals.items():
        if name not in rules.goals:
            raise BadConfig(f"{where}: there is no goal {name!r}; `{rules.decisions}` knows: {', '.join(rules.goals) or 'none'}")
        if _number(str(value)) is None:
            raise BadConfig(f"{where}: the goal {name} is {value}; it must be a positive number")


def decide(rules: DecisionsFile, parts: UnitParts, verdict: UnitVerdict, goals: Mapping[str, tuple[float, str]]) -> DecisionCard:
    """The card of an exposure. The first rule that holds decides; where none does, somebody is called, for nobody has foreseen this."""
    found = findings(parts, verdict)
    reached = [_reached(name, value, source, rules.goals[name], parts) for name, (value, source) in goals.items()]
    facts = _Facts(verdict, parts, found, reached, *_counts(parts, verdict))
    holding = [(rule, told) for rule in rules.rules if (told := facts.holds(rule)) is not None]
    rule, told = holding[0] if holding else (_NOBODY, facts.words(()))
    reasons, actions = reasons_of_findings(found), dict.fromkeys(f.action for f in found if f.action and f.status is max_status(found))
    also = [r.reason.format(**words) for r, words in holding[1:] if not (r.fallback or r.decision is Decision.GO_ON)]
    if unmeasured := facts.expected - facts.measured:
        reasons.append(f"{unmeasured} of {facts.expected} QAs could not measure; of these nothing is known")
    reasons += [r for r in verdict.reasons if f"{Status.NORMAL}: step" in r and NOT_APPLIED in r]
    return DecisionCard(
        night=verdict.night, expid=verdict.expid, tag=verdict.tag, revision=verdict.revision, status=verdict.status,
        decision=rule.decision, rule=rule.name, why=_why(rule, told, verdict, found), action=rule.action.format(**told),
        reasons=reasons, actions=list(actions), also=also, causes=[c.sentence for c in verdict.causes],
        measured=facts.measured, expected=facts.expected, cameras=sum(s is not Status.UNKNOWN for s in verdict.parts.values()),
        cameras_expected=len({*parts.expected, *verdict.parts}), goals=reached, overrides=verdict.overrides,
    )  # fmt: skip


def _why(rule: Rule, told: Mapping[str, str], verdict: UnitVerdict, found: Sequence[Finding]) -> str:
    """The reason of a rule. One that goes by the verdict alone must not speak of measurements where a person has made that verdict."""
    reason = rule.reason.format(**told)
    if rule is _NOBODY or rule.when.findings or rule.when.goal or not verdict.overrides:
        return reason
    who = listed([f"{o.part or 'the exposure'} {o.status} by {o.by}: {o.reason}" for o in standing(verdict.overrides)])
    measured = verdict.status is not Status.NORMAL and any(f.status is verdict.status and f.qa != OVERRIDE for f in found)
    return f"{reason}; and somebody has changed verdicts ({who})" if measured else f"{verdict.status} because somebody has said so ({who})"


_NOBODY = Rule(
    name=NO_RULE, decision=Decision.CALL, reason="no rule says what to do with a verdict of {status}",
    action="Look at the reasons, and have a rule for this written into the file of decisions.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Facts:
    """What rules are held against."""

    verdict: UnitVerdict
    parts: UnitParts
    found: Sequence[Finding]
    goals: Sequence[GoalReached]
    measured: int
    expected: int

    def holds(self, rule: Rule) -> dict[str, str] | None:
        """The words for the texts of a rule that holds, else None."""
        when = rule.when
        if rule.decision is Decision.GO_ON and (self.verdict.status is Status.UNKNOWN or not (self.measured or self.verdict.overrides)):
            return None
        if any(not fits(self.verdict.tags.get(tag, ""), patterns) for tag, patterns in when.tags.items()):
            return None
        if when.verdict and self.verdict.status not in when.verdict:
            return None
        some = [f for f in self.found if _is_meant(f, when)] if when.findings else []
        if when.findings and not self._enough(some, when):
            return None
        goals = [g for g in self.goals if _goal_holds(g, when)] if when.goal else []
        return None if when.goal and not goals else self.words(some, goals)

    def _enough(self, some: Sequence[Finding], when: When) -> bool:
        n = len({f.part for f in some})
        return n >= max(when.cameras, 1) and n >= when.share * len(self.verdict.parts)

    def words(self, some: Sequence[Finding], goals: Sequence[GoalReached] = ()) -> dict[str, str]:
        """What the braces of a text stand for."""
        cameras = sorted({f.part or "the exposure" for f in some})
        goal = goals[0] if goals else None
        numbers = {"n": len(cameras), "of": len(self.verdict.parts), "measured": self.measured, "expected": self.expected}
        out = {k: str(v) for k, v in numbers.items()} | {"cameras": listed(cameras), "status": str(self.verdict.status)}
        out |= {"qas": listed(sorted({f.qa for f in some})), "metrics": listed(sorted({f.metric for f in some if f.metric}))}
        if goal is None:
            return out | dict.fromkeys(("goal", "wanted", "reached", "percent", "unit"), "")
        percent = "" if goal.fraction is None else f"{100 * goal.fraction:.0f}"
        reached = "" if goal.reached is None else f"{goal.reached:.4g}"
        return out | {"goal": goal.name, "wanted": f"{goal.wanted:g}", "reached": reached, "percent": percent, "unit": goal.unit}


def _is_meant(finding: Finding, when: When) -> bool:
    asked = ((finding.qa, when.qa), (finding.metric, when.metric), (finding.group, when.group), (finding.part or WHOLE, when.part))
    return finding.status in when.wanted and all(fits(text, patterns) for text, patterns in asked if patterns)


def _goal_holds(goal: GoalReached, when: When) -> bool:
    low, high = when.reached
    fraction = goal.fraction
    return fraction is not None and fits(goal.name, (when.goal,)) and (low is None or fraction >= low) and (high is None or fraction < high)


def _counts(parts: UnitParts, verdict: UnitVerdict) -> tuple[int, int]:
    """QAs that have measured, and those that should have, over all parts and the unit as a whole.

    A part that has no result counts as one QA that has not measured.
    """
    due = [q for q in (*(q for p in parts.parts for q in p.qas), *verdict.qas) if q.status is not None]
    without = sum(not p.qas for p in parts.parts)
    return sum(q.status is not Status.UNKNOWN for q in due), len(due) + without


def _reached(name: str, wanted: float, source: str, goal: GoalDef, parts: UnitParts) -> GoalReached:
    values = []
    for part in parts.parts:
        if goal.part and not fits(part.part, goal.part):
            continue
        metric = part.metric(goal.metric)
        dims = list(metric.coords) if metric else []
        elements = part.values(goal.metric).items()
        chosen = [v for at, v in elements if all(fits(str(c), goal.at.get(d, ("*",))) for d, c in zip(dims, at, strict=True))]
        if chosen:
            values.append(_summary(goal.elements, chosen))
    reached = _summary(goal.cameras, values) if values else None
    return GoalReached(name=name, wanted=wanted, unit=goal.unit, source=source, metric=goal.metric, reached=reached)


def _summary(how: Summary, values: Sequence[float]) -> float:
    return float(_SUMMARIES[how](values))  # type: ignore[operator]
