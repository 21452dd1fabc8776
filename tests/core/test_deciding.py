"""Rules, goals and findings become a card: what an observer does after an exposure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from quicklook.core.deciding import check_goals, decide, load_decisions, wanted_goals
from quicklook.core.decision import Decision, DecisionCard, DecisionsFile
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.findings import findings, max_status, said_of_whole
from quicklook.core.keys import Unit
from quicklook.core.metrics import MetricDef
from quicklook.core.results import Failure, LimitUsed, MetricResult, Override, QAResult, Remark, UnitVerdict
from quicklook.core.status import Status, total
from quicklook.core.unitparts import PartSummary, UnitParts

N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN
METRICS = {"noise": MetricDef("noise", "electron", dims=("amp",), doc="x"), "efftime": MetricDef("efftime", "s", dims=("target",), doc="x")}
QAS = ("noise", "light", "missing")
RULES: dict[str, Any] = {
    "decisions": "test",
    "goals": {"time": {"metric": "efftime", "unit": "s", "tag": "goal_time", "at": {"target": ["ELG"]}, "part": ["r*"], "cameras": "min"}},
    "rules": [
        {"name": "leak", "when": {"qa": "light", "share": 0.5}, "decision": "stop", "reason": "{n} of {of}: {cameras}", "action": "close"},
        {"name": "noisy", "when": {"metric": "noi*", "part": "r?"}, "decision": "call", "reason": "{metrics} in {cameras}", "action": "call"},
        {"name": "short", "when": {"goal": "time", "reached": [None, 0.8]}, "decision": "repeat", "reason": "{percent} % of {wanted} {unit}", "action": "a"},
        {"name": "lamp", "when": {"tags": {"flavor": ["arc", "flat"]}, "status": "ALARM"}, "decision": "repeat", "reason": "{qas}", "action": "again"},
        {"name": "fine", "decision": "go_on", "reason": "{measured}/{expected} {status}", "action": "on"},
    ],
}


def rules(**changes: Any) -> DecisionsFile:
    return load_decisions(Document.from_data({**RULES, **changes}, "rules.yaml"), METRICS, QAS)


def metric(name: str, status: Status | None, value: float | None = 1.0, **coords: Any) -> MetricResult:
    limit = LimitUsed(normal=(None, 1.0), warning=(None, 1.0), reason="r", action=f"mend {name}")
    return MetricResult(
        name=name, unit="", coords=coords, values=[value], status=status, statuses=[status], limits=[limit], limit_of=[0], worst=0,
        reason=f"{name} is 3" if status not in (None, N) else "",
    )  # fmt: skip


def qa(name: str, *metrics: MetricResult) -> QAResult:
    known = [m.status for m in metrics if m.status]
    return QAResult(name=name, step="read", group="CCDs", status=total(known) if known else None, seconds=0.0, metrics=list(metrics))


def part(name: str, *qas: QAResult) -> PartSummary:
    return PartSummary(part=name, status=total(q.status for q in qas), qas=qas)


def exposure(*parts: PartSummary, flavor: str = "science", expected: tuple[str, ...] = (), **verdict: Any) -> tuple[UnitParts, UnitVerdict]:
    unit = Unit(20220101, 7)
    tags = {"flavor": flavor, **verdict.pop("tags", {})}
    made = UnitParts(unit=unit, tags=tags, parts=parts, expected=expected)
    statuses = {p.part: p.status or U for p in parts}
    given = {
        "night": unit.night, "expid": unit.expid, "tag": "live", "revision": 0, "tags": tags, "parts": statuses, "missing": list(made.missing),
        "status": total([*statuses.values(), *([U] if made.missing else [])]), "reasons": [], **verdict,
    }  # fmt: skip
    return made, UnitVerdict(**given)


def card_of(*parts: PartSummary, goals: dict[str, tuple[float, str]] | None = None, **more: Any) -> DecisionCard:
    return decide(rules(), *exposure(*parts, **more), goals or {})


GOOD = qa("noise", metric("noise", N))


def test_all_is_well() -> None:
    card = card_of(part("r0", GOOD), part("b0", GOOD))
    assert (card.decision, card.rule, card.why, card.reasons) == (Decision.GO_ON, "fine", "2/2 NORMAL", [])
    assert (card.measured, card.expected, card.cameras, card.cameras_expected, card.goal_words) == (2, 2, 2, 2, ["no goal was given"])


def test_the_first_rule_that_holds_decides_and_the_others_are_told() -> None:
    bad = part("r0", qa("noise", metric("noise", A)), qa("light", metric("light", A)))
    card = card_of(bad, part("b0", GOOD))
    assert (card.decision, card.why, card.action) == (Decision.STOP, "1 of 2: r0", "close")
    assert card.also == ["noise in r0"]
    assert card.reasons == ["ALARM: r0: noise is 3", "ALARM: r0: light is 3"]
    assert card.actions == ["mend noise", "mend light"]


def test_a_share_counts_the_cameras_that_arrived() -> None:
    bad = part("r0", qa("light", metric("light", A)))
    assert card_of(bad, part("b0", GOOD), part("z0", GOOD)).decision is Decision.GO_ON


def test_what_many_cameras_have_in_common_is_one_reason_the_worst_first() -> None:
    cameras = [part(f"b{i}", qa("noise", metric("noise", W)), qa("light", metric("light", N))) for i in range(10)]
    card = card_of(*cameras, part("z0", qa("light", metric("light", A))))
    assert card.reasons[0] == "ALARM: z0: light is 3"
    assert card.reasons[1] == "WARNING: b0: noise is 3 (also b1, b2, b3, b4, b5, b6, b7, b8 and 1 more)"
    assert len(card.reasons) == 2
    assert card.actions == ["mend light"], "what is only a warning has no say beside an alarm"


def test_what_was_not_measured_for_one_cause_is_one_sentence() -> None:
    def unmeasured(name: str) -> MetricResult:
        told = {"coords": {"axis": ["y"]}, "remarks": [Remark(at=["y"], text="there is no line")]}
        return metric(name, U, None).model_copy(update=told)

    card = card_of(part("b0", qa("noise", unmeasured("noise"), unmeasured("light")), qa("missing", unmeasured("lost"))))
    assert card.reasons[0] == "UNKNOWN: b0: noise, light, lost of axis y were not measured: there is no line [noise, missing]"
    assert len(card.reasons) == 2


def test_a_fallback_is_not_told_beside_another() -> None:
    other = {"name": "other", "when": {"status": "ALARM"}, "decision": "call", "reason": "o", "action": "a", "fallback": True}
    known = rules(rules=[*RULES["rules"], other])
    both = exposure(part("r0", qa("noise", metric("noise", A))), flavor="arc")
    assert decide(known, *both, {}).also == ["noise"]
    alone = exposure(part("b0", qa("missing", metric("missing", A))), part("z0", GOOD), flavor="dark")
    assert decide(rules(rules=[*RULES["rules"][:4], other]), *alone, {}).rule == "other"


def test_unknown_is_never_go_on() -> None:
    card = card_of(part("b0", qa("noise", metric("noise", U, None))))
    assert (card.decision, card.rule) == (Decision.CALL, "no_rule")
    assert card.reasons == ["UNKNOWN: b0: noise is 3", "1 of 1 QAs could not measure; of these nothing is known"]


def test_what_was_not_measured_is_told_though_it_goes_on() -> None:
    failed = QAResult(
        name="light", step="read", group="CCDs", status=U, seconds=0.0, failure=Failure(error="BadData", message="no light", what_next="look")
    )
    card = card_of(part("b0", qa("noise", metric("noise", W)), failed))
    assert card.decision is Decision.GO_ON
    assert card.reasons == ["WARNING: b0: noise is 3", "UNKNOWN: b0: QA light failed: no light", "1 of 2 QAs could not measure; of these nothing is known"]


def test_where_no_limit_holds_it_is_said() -> None:
    card = card_of(part("b0", qa("level", metric("level", None))))
    assert card.decision is Decision.CALL
    assert "UNKNOWN: b0: nothing was judged: no limit holds for any metric of it" in card.reasons


def test_nothing_at_all_is_never_go_on() -> None:
    assert card_of(status=N).decision is Decision.CALL
    card = card_of(part("b0", GOOD), expected=("b0", "r0"))
    assert card.decision is Decision.CALL
    assert "UNKNOWN: r0: it did not arrive" in card.reasons
    assert (card.cameras, card.cameras_expected) == (1, 2)


def test_a_rule_may_ask_for_the_flavor() -> None:
    bad = part("b0", qa("light", metric("light", A)), GOOD)
    others = [part(f"b{i}", GOOD) for i in range(1, 4)]
    assert card_of(bad, *others, flavor="arc").why == "light"
    assert card_of(bad, *others, flavor="dark").decision is Decision.GO_ON


@pytest.mark.parametrize(("reached", "decision"), [(700.0, Decision.REPEAT), (799.9, Decision.REPEAT), (800.0, Decision.GO_ON), (None, Decision.GO_ON)])
def test_a_goal(reached: float | None, decision: Decision) -> None:
    """The lowest of the red cameras, of the class that the goal is of; 80 % of it are enough."""
    times = qa("time", metric("efftime", None, reached, target=["ELG"]))
    other = qa("time", metric("efftime", None, 1.0, target=["QSO"]))
    more = qa("time", metric("efftime", None, 950.0, target=["ELG"]))
    card = card_of(part("r0", GOOD, times), part("r1", GOOD, other), part("r2", GOOD, more), part("b0", GOOD), goals={"time": (1000.0, "site")})
    assert card.decision is (decision if reached is not None else Decision.GO_ON)
    assert card.goals[0].reached == (reached if reached is not None else 950.0)


def test_a_goal_that_was_not_measured_says_so() -> None:
    card = card_of(part("b0", GOOD), goals={"time": (1000.0, "site")})
    assert card.goal_words == ["goal time of 1000 s (site): efftime was not measured"]
    assert card.decision is Decision.GO_ON


def test_where_goals_come_from() -> None:
    known = rules()
    assert wanted_goals(known, {}, {"time": 900.0}, {}) == {"time": (900.0, "site")}
    assert wanted_goals(known, {"goal_time": "500"}, {"time": 900.0}, {}) == {"time": (500.0, "header, goal_time")}
    assert wanted_goals(known, {"goal_time": "500"}, {}, {"time": 100.0}) == {"time": (100.0, "given by hand")}
    for nonsense in ("", "nan", "-1", "soon"):
        assert wanted_goals(known, {"goal_time": nonsense}, {}, {}) == {}


def test_what_a_person_has_said_counts_in_place_of_what_was_measured() -> None:
    bad = part("r0", qa("light", metric("light", A)))
    fine = Override(part="r0", was=A, status=N, by="Ann", reason="a lamp, known", time=1)
    card = card_of(bad, status=N, overrides=[fine])
    assert (card.decision, card.reasons, card.overrides) == (Decision.GO_ON, [], [fine])
    spoilt = Override(part="", was=N, status=A, by="Bob", reason="clouds", time=2)
    card = card_of(part("r0", GOOD), status=A, flavor="arc", overrides=[spoilt])
    assert (card.decision, card.why) == (Decision.REPEAT, "override")
    assert card.reasons == ["ALARM: by Bob, in place of NORMAL: clouds"]


def said(part: str, status: Status, by: str = "jo", was: Status = A) -> Override:
    return Override(part=part, was=was, status=status, by=by, reason="known", time=1)


def default_card(*parts: PartSummary, **more: Any) -> DecisionCard:
    """Decided by the rules that come with the program."""
    path = Path(__file__).parents[2] / "configs/decisions/default.yaml"
    return decide(DecisionsFile.model_validate(yaml.safe_load(path.read_text())), *exposure(*parts, **more), {})


@pytest.mark.parametrize(("whole", "decision"), [(N, Decision.GO_ON), (W, Decision.GO_ON), (U, Decision.CALL)])
def test_a_card_says_that_a_person_has_made_the_verdict(whole: Status, decision: Decision) -> None:
    bad = part("r0", qa("dead_amp", metric("dead_amp", A)))
    card = default_card(bad, part("b0", GOOD), status=whole, overrides=[said("", whole)])
    assert (card.decision, card.why) == (decision, f"{whole} because somebody has said so (the exposure {whole} by jo: known)")


def test_a_card_of_cameras_that_are_said_to_be_good_does_not_say_that_all_is_within_its_limits() -> None:
    bad = qa("dead_amp", metric("dead_amp", A))
    card = default_card(part("r0", bad), part("b0", bad), parts={"r0": N, "b0": N}, status=N, overrides=[said("r0", N), said("b0", N, "ann")])
    assert (card.decision, card.rule) == (Decision.GO_ON, "good")
    assert card.why == "NORMAL because somebody has said so (r0 NORMAL by jo: known, b0 NORMAL by ann: known)"
    assert "within its limits" in default_card(part("b0", GOOD)).why


def test_what_is_measured_beside_what_a_person_has_said_is_told_with_it() -> None:
    doubtful, bad = part("b0", qa("noise", metric("noise", W))), part("r0", qa("dead_amp", metric("dead_amp", A)))
    card = default_card(bad, doubtful, status=W, overrides=[said("r0", N)])
    assert card.why == "there are warnings, none of which needs the exposure again; and somebody has changed verdicts (r0 NORMAL by jo: known)"
    assert card.reasons == ["WARNING: b0: noise is 3"]


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        ([], None),
        ([said("r0", A)], None),
        ([said("r0", A), said("", N)], N),
        ([said("", N), said("r0", A)], A),
        ([said("", A), said("r0", N)], A),
        ([said("", N), said("r0", A), said("r0", W)], W),
        ([said("", N), said("r0", A), said("", W)], W),
    ],
)
def test_what_is_said_last_counts_for_status_and_card_alike(overrides: list[Override], status: Status | None) -> None:
    assert said_of_whole(overrides) is status
    if status is not None:
        parts, verdict = exposure(part("r0", GOOD), part("b0", GOOD), status=status, overrides=overrides)
        assert max_status(findings(parts, verdict)) is status
        assert (default_card(part("r0", GOOD), status=status, overrides=overrides).decision is Decision.REPEAT) == (status is A)


def test_a_camera_without_a_result_counts_as_not_measured() -> None:
    card = card_of(part("r0", GOOD), PartSummary(part="b0", status=N))
    assert (card.measured, card.expected) == (1, 2)
    assert card.reasons == [
        "UNKNOWN: b0: its verdict was NORMAL, and no result of it can be read",
        "1 of 2 QAs could not measure; of these nothing is known",
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"qa": "nois"}, r"rules\[0\].when.qa.*'nois' fits no qa; known: light, missing, noise"),
        ({"metric": ["nois?", "x"]}, "'x' fits no metric"),
        ({"goal": "snr"}, "'snr' fits no goal; known: time"),
        ({"reached": [0.1, 0.2]}, "`reached` is of a goal"),
        ({"cameras": 3}, "count where something was found"),
        ({"status": "BAD"}, "BAD|must be"),
        ({"flavour": "arc"}, "unknown key 'flavour'"),
    ],
)
def test_wrong_rules_are_refused(change: dict[str, Any], says: str) -> None:
    rule = {"name": "a", "when": change, "decision": "call", "reason": "x", "action": "y"}
    with pytest.raises(BadConfig, match=says):
        rules(rules=[rule])


def test_wrong_texts_names_and_goals_are_refused() -> None:
    rule = {"name": "a", "decision": "call", "reason": "x", "action": "y"}
    with pytest.raises(BadConfig, match="cannot be filled in.*camera"):
        rules(rules=[{**rule, "reason": "{camera}"}])
    with pytest.raises(BadConfig, match="used twice"):
        rules(rules=[rule, rule])
    with pytest.raises(BadConfig, match="goal g is in 'h', efftime in 's'"):
        rules(goals={"g": {"metric": "efftime", "unit": "h"}, "time": RULES["goals"]["time"]})
    with pytest.raises(BadConfig, match="has no dimension fibre"):
        rules(goals={"time": {"metric": "efftime", "unit": "s", "at": {"fibre": 3}}})
    with pytest.raises(BadConfig, match="no QA measures 'x'"):
        rules(goals={"time": {"metric": "x", "unit": "s"}})
    with pytest.raises(BadConfig, match="--goal: there is no goal 'snr'"):
        check_goals(rules(), {"snr": 3.0}, "--goal")
    with pytest.raises(BadConfig, match="must be a positive number"):
        check_goals(rules(), {"time": -3.0}, "--goal")
