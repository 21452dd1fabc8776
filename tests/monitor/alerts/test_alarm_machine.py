"""The state machine of alarms, over generated histories: nothing lost, nothing doubled, and a restart changes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict

from alarm_world import HANDLING, STEPS, S, Step, World, steps_on
from hypothesis import given, settings

from monitor.alerts.machine import Machine
from monitor.alerts.model import Mute, NoticeKind, Signal, State
from quicklook.core.severity import Severity

MANY = settings(max_examples=150, deadline=None)


def kinds(world: World, key: str = "") -> list[str]:
    return [str(n.kind) for n in world.notices if n.incident.key.startswith(key)]


@MANY
@given(STEPS)
def test_who_was_told_of_it_is_told_of_its_end_once_and_last(steps: list[Step]) -> None:
    told: dict[str, list[str]] = defaultdict(list)
    world = World().run(steps).end()
    for notice in world.notices:
        told[notice.incident.fingerprint].append(str(notice.kind))
    for said in told.values():
        assert said[0] == "firing"
        assert Counter(said)["firing"] == 1
        assert said[-1] == "resolved"
        assert Counter(said)["resolved"] == 1
    assert len({n.id for n in world.notices}) == len(world.notices)


@MANY
@given(STEPS)
def test_what_lasts_and_nobody_mutes_is_told_or_known(steps: list[Step]) -> None:
    """An alarm is never lost: after a while each condition that is there has been told, is acknowledged, or stands folded in its cause."""
    world = World().run(steps).settle(300)
    for key, severity in world.conditions.items():
        if key.startswith("frame"):
            continue
        incident = world.machine.incidents[key]
        assert incident.severity == severity
        assert incident.active
        folded = key == "consequence/1" and "cause/x" in world.conditions
        known = incident.acknowledged_at is not None
        assert known or folded or (incident.told is not None and incident.told >= incident.severity)
        assert incident.state is not State.MUTED, "mutes last for 100 s"


@MANY
@given(STEPS)
def test_a_restart_at_any_point_changes_nothing(steps: list[Step]) -> None:
    through, reborn = World().run(steps).end(), World(reborn=True).run(steps).end()
    assert reborn.notices == through.notices
    assert reborn.changes == through.changes


@MANY
@given(STEPS)
def test_changes_are_a_chain_from_state_to_state(steps: list[Step]) -> None:
    now: dict[str, tuple[State | None, str]] = {}
    for change in World().run(steps).end().changes:
        before = now.get(change.fingerprint, (None, ""))
        assert change.before == before[0]
        assert change.before is not State.CLOSED
        assert (change.after, change.folded_into) != before
        now[change.fingerprint] = change.after, change.folded_into
    assert all(state in (State.CLOSED, State.RESOLVED) for state, _ in now.values())


def test_what_follows_from_another_is_told_to_those_who_look_on() -> None:
    """Whether the cause comes first or last, the last change of the consequence names it."""
    for keys in (("cause/x", "consequence/1"), ("consequence/1", "cause/x")):
        steps = [Step(0, "signal", key, True, Severity.ALARM) for key in keys]
        changes = [c for c in World().run([*steps, Step(1, "tick", "", False, Severity.ALARM)]).changes if c.key == "consequence/1"]
        assert changes[-1].folded_into == "cause/x", keys
        assert changes[-1].after is State.FIRING


@MANY
@given(STEPS)
def test_persistence_holds(steps: list[Step]) -> None:
    """No incident of a rule that holds for 20 s fires before; and it is over only 30 s after the condition has gone."""
    world = World()
    for step in steps:
        world.step(step)
        for incident in world.machine.incidents.values():
            rule = HANDLING[incident.rule]
            if incident.fired is not None:
                assert incident.fired - incident.began >= rule.hold_s * S
            if incident.ended is not None and not incident.frame:
                assert incident.cleared is not None
                assert incident.ended - incident.cleared >= rule.clear_s * S


@MANY
@given(STEPS)
def test_the_worst_is_never_forgotten_before_somebody_knows(steps: list[Step]) -> None:
    """Not by what is less, nor when it is over and comes back."""
    world, worst, known = World(), dict[str, Severity](), dict[str, int | None]()
    for step in steps:
        world.step(step)
        if step.do == "signal" and step.active:
            worst[step.key] = max(worst.get(step.key, Severity.NONE), step.severity)
        worst = {key: severity for key, severity in worst.items() if key in world.machine.incidents}
        for key, incident in world.machine.incidents.items():
            if incident.acknowledged_at is not None and incident.acknowledged_at != known.get(key):
                worst[key] = incident.severity
            known[key] = incident.acknowledged_at
            assert incident.worst >= worst[key]


@MANY
@given(STEPS)
def test_what_is_worse_than_what_was_told_is_told_at_once_and_what_is_known_is_not(steps: list[Step]) -> None:
    world = World()
    for step in steps:
        told = len(world.notices)
        world.step(step)
        for incident in world.machine.incidents.values():
            quiet = incident.muted or incident.folded_into or incident.acknowledged_at is not None
            if incident.active and not quiet and incident.told is not None:
                assert incident.told >= incident.severity
        for notice in world.notices[told:]:
            known = notice.incident.acknowledged_at is not None
            assert not known or notice.kind is NoticeKind.RESOLVED
            assert not notice.incident.folded_into or notice.kind is NoticeKind.RESOLVED
            assert set(notice.channels) >= {"mail"} or notice.kind is NoticeKind.ESCALATED


@MANY
@given(STEPS)
def test_what_becomes_worse_than_it_ever_was_is_neither_known_nor_muted(steps: list[Step]) -> None:
    world = World()
    for step in steps:
        before = world.machine.incidents.get(step.key)
        world.step(step)
        if step.do != "signal" or not step.active or before is None or before.ended is not None or step.severity <= before.worst:
            continue
        after = world.machine.incidents[step.key]
        assert after.acknowledged_at is None
        assert not after.muted or world.machine.mutes[after.muted].severity >= step.severity


@MANY
@given(STEPS)
def test_time_ends_mutes_folds_and_silence(steps: list[Step]) -> None:
    """After a while no mute is left, what is folded has a cause that stands, what was known for too long is told again, and goes up once for each time."""
    world = World().run(steps).settle(420)
    assert not world.machine.mutes
    for incident in world.machine.incidents.values():
        if incident.ended is None and incident.folded_into:
            cause = world.machine.incidents[incident.folded_into]
            assert cause.ended is None
            assert cause.facts["crate"] == incident.facts["crate"]
        if incident.rule == "held" and incident.active and incident.cleared is None:
            assert incident.acknowledged_at is None, "again_s is 300"
    last: dict[str, NoticeKind] = {}
    for notice in world.notices:
        assert (last.get(notice.incident.fingerprint), notice.kind) != (NoticeKind.ESCALATED, NoticeKind.ESCALATED), "there is one step"
        last[notice.incident.fingerprint] = notice.kind


@MANY
@given(steps_on(("cause/x", "consequence/1")))
def test_what_is_folded_is_told_with_its_cause_alone_and_by_itself_when_that_is_gone(steps: list[Step]) -> None:
    world = World().run([Step(0, "signal", "cause/x"), Step(0, "signal", "consequence/1"), *steps, Step(61, "tick")])
    assert all(not n.incident.folded_into or n.kind is NoticeKind.RESOLVED for n in world.notices)
    for incident in world.settle(200).machine.incidents.values():
        if incident.ended is None and incident.folded_into:
            assert world.machine.incidents[incident.folded_into].ended is None


@MANY
@given(STEPS)
def test_nothing_is_said_of_what_is_muted_but_its_end(steps: list[Step]) -> None:
    world = World().run(steps).end()
    assert all(not n.incident.muted or n.kind is NoticeKind.RESOLVED for n in world.notices)


def signal(key: str, active: bool = True, severity: Severity = Severity.WARNING, **facts: str) -> Signal:
    rule = key.partition("/")[0]
    return Signal(key=key, rule=rule, active=active, severity=severity, frame=rule == "frame", what=f"{key} is wrong", facts=facts)


def test_one_incident_one_message_one_end() -> None:
    world = World()
    world.run(
        [Step(0, "signal", "plain/a"), Step(5, "signal", "plain/a"), Step(5, "tick"), Step(5, "signal", "plain/a", active=False), Step(9, "tick")]
    )
    assert kinds(world) == ["firing", "resolved"]
    latched = world.machine.incidents["plain/a"]
    assert latched.state is State.RESOLVED
    world.step(Step(1, "ack", "plain/a"))
    assert not world.machine.incidents
    assert world.changes[-1].by == "ann"


def test_the_worst_is_kept_until_somebody_acknowledges_and_by_what_comes_back() -> None:
    world = World().run([
        Step(0, "signal", "plain/a", severity=Severity.ALARM), Step(1, "signal", "plain/a", severity=Severity.WARNING),
        Step(1, "signal", "plain/a", active=False), Step(60, "signal", "plain/a", severity=Severity.WARNING),
    ])  # fmt: skip
    now = world.machine.incidents["plain/a"]
    assert (now.severity, now.worst) == (Severity.WARNING, Severity.ALARM)
    assert kinds(world) == ["firing", "resolved", "firing"]
    world.step(Step(1, "ack", "plain/a"))
    assert world.machine.incidents["plain/a"].worst is Severity.WARNING


def test_chatter_within_the_hold_is_nobodys_business() -> None:
    world = World()
    for _ in range(50):
        world.run([Step(1, "signal", "held/a"), Step(10, "signal", "held/a", active=False)])
    assert not world.notices
    assert {c.after for c in world.changes} == {State.PENDING, State.CLOSED}


def test_flapping_within_the_clear_time_is_one_incident() -> None:
    world = World().run([Step(0, "signal", "held/a"), Step(25, "tick"), Step(5, "tick")])
    for _ in range(8):
        world.run([Step(10, "signal", "held/a", active=False), Step(20, "signal", "held/a")])
        world.step(Step(1, "ack", "held/a"))
    assert kinds(world) == ["firing"]


def test_nobody_acknowledges_so_it_goes_further_up_once() -> None:
    world = World().run([Step(0, "signal", "held/a")]).settle(400)
    assert kinds(world) == ["firing", "escalated"]
    assert world.notices[-1].channels == ("phone",)
    world.step(Step(1, "signal", "held/a", active=False))
    world.settle(100)
    assert world.notices[-1].kind is NoticeKind.RESOLVED
    assert set(world.notices[-1].channels) == {"mail", "phone"}


def test_acknowledged_is_silent_until_worse_or_too_long() -> None:
    world = World().run([Step(0, "signal", "held/a"), Step(30, "tick"), Step(5, "tick"), Step(1, "ack", "held/a")]).settle(200)
    assert kinds(world) == ["firing"]
    world.settle(200)
    assert kinds(world) == ["firing", "again", "escalated"]
    world.run([Step(1, "ack", "held/a"), Step(1, "signal", "held/a", severity=Severity.CRITICAL)])
    assert kinds(world)[-1] == "worse"
    assert world.machine.incidents["held/a"].state is State.FIRING


def test_a_cause_folds_its_consequences_whichever_comes_first() -> None:
    world = World().run([Step(0, "signal", "consequence/1"), Step(3, "signal", "cause/x"), Step(1, "signal", "consequence/2")]).settle(100)
    assert [(n.incident.key, n.folded) for n in world.notices] == [("cause/x", ("consequence/1",)), ("consequence/2", ())], (
        "another crate is not folded"
    )
    world.run([Step(1, "signal", "cause/x", active=False)])
    assert kinds(world, "consequence/1") == []
    world.settle(60)
    assert kinds(world, "consequence/1") == ["firing"], "the cause is gone, it stays"


def test_what_ends_with_its_cause_is_not_told_between() -> None:
    world = World().run([Step(0, "signal", "cause/x"), Step(1, "signal", "consequence/1")]).settle(60)
    world.run([Step(60, "signal", "cause/x", active=False), Step(1, "tick"), Step(1, "signal", "consequence/1", active=False)]).settle(60)
    assert kinds(world) == ["firing", "resolved"]
    assert {n.incident.key for n in world.notices} == {"cause/x"}


def test_who_knows_the_cause_knows_its_consequences() -> None:
    world = World().run([Step(0, "signal", "cause/x"), Step(1, "signal", "consequence/1")]).settle(60)
    world.run([Step(1, "ack", "cause/x"), Step(1, "signal", "cause/x", active=False)]).settle(60)
    assert kinds(world, "consequence") == []
    assert world.machine.incidents["consequence/1"].acknowledged_by == "ann"


def test_a_mute_ends_by_time_by_hand_and_by_what_is_worse() -> None:
    world = World().run([Step(0, "mute", "plain/a"), Step(1, "signal", "plain/a")])
    assert world.machine.incidents["plain/a"].state is State.MUTED
    assert not world.notices
    world.step(Step(1, "signal", "plain/a", severity=Severity.ALARM))
    assert kinds(world) == ["firing"]
    other = World().run([Step(0, "mute", "plain/a"), Step(1, "signal", "plain/a")]).settle(120)
    assert kinds(other) == ["firing"]
    third = World().run([Step(0, "signal", "plain/a"), Step(1, "mute", "plain/a"), Step(1, "unmute", "plain/a")])
    assert kinds(third) == ["firing", "again"]
    assert third.changes[-1].by == "bob"


def test_how_far_a_mute_goes_if_nobody_says() -> None:
    machine = Machine(HANDLING)
    assert machine.covered("plain/*") is Severity.ALARM
    machine.signal(1, signal("plain/a", severity=Severity.NOTICE))
    assert machine.covered("plain/*") is Severity.NOTICE


def test_an_event_of_a_frame_ends_by_a_sound_frame_by_a_person_or_by_time() -> None:
    def begun() -> World:
        return World().run([Step(0, "signal", "frame/r0"), Step(6, "tick"), Step(50, "signal", "frame/r0"), Step(6, "tick")])

    for step in (Step(1, "signal", "frame/r0", active=False), Step(1, "ack", "frame/r0"), Step(601, "tick")):
        world = begun()
        assert kinds(world) == ["firing"]
        assert world.machine.incidents["frame/r0"].count == 2
        world.step(step)
        assert kinds(world) == ["firing", "resolved"]
        assert not world.machine.incidents, "nobody has to acknowledge what was of a frame"


def test_over_before_it_was_told_is_told_with_its_end() -> None:
    world = World().run([Step(0, "signal", "cause/x"), Step(2, "signal", "cause/x", active=False)])
    assert kinds(world) == ["firing", "resolved"]


def test_time_does_not_go_back() -> None:
    machine = Machine(HANDLING, now=50 * S)
    machine.signal(10 * S, signal("held/a"))
    assert machine.incidents["held/a"].began > 50 * S
    machine.signal(11 * S, Signal(key="k", rule="none", active=True))
    assert machine.incidents["k"].began > machine.incidents["held/a"].began


def test_a_mute_of_a_pattern_covers_what_matches_alone() -> None:
    machine = Machine(HANDLING)
    machine.mute(1, Mute(id="m", pattern="plain/*", owner="bob", reason="warm-up", made=1, until=10**18, severity=Severity.ALARM))
    for key in ("plain/a", "cause/x"):
        machine.signal(2, signal(key, severity=Severity.ALARM))
    out = machine.tick(60 * S)
    assert [n.incident.key for n in out.notices] == ["cause/x"]
