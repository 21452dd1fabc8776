"""Alarms where things go wrong: kills, clocks, changed configurations, a book that cannot be used, storms, templates and libraries that fail."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alarm_world import HANDLING
from hypothesis import given, settings
from hypothesis import strategies as st
from test_alarm_delivery import TEMPLATE, Desk
from test_alarm_sink import EPOCH, Night, S

from monitor.alerts.book import AlarmBook
from monitor.alerts.channels import ChannelConfig, PartlyRefused
from monitor.alerts.handling import Escalation, Handling
from monitor.alerts.machine import Machine
from monitor.alerts.model import Mute, Notice, NoticeKind, Signal
from monitor.alerts.outbox import Outbox
from monitor.alerts.sink import AlarmParams, Alarms
from monitor.alerts.text import Message, Writer
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import AlarmChanged, CommandGiven, DiskRoom, Draft, MutesChanged, UnitDone
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status

RULES = """alerts: mine
rules:
  - {name: slow, on: disk, when: status = ALARM, what: "{path}", handling: {clear_s: 60, wait_s: 0, channels: [hook]}}
  - {name: bad_frame, on: exposure, when: status = ALARM, what: w}
  - {name: missing, on: exposure, when: n_missing > 0, what: w}
"""
HOOK = {"hook": {"url": "http://127.0.0.1:9/", "form": "webhook"}}


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def disk(status: Status, path: str = "/out") -> DiskRoom:
    return DiskRoom(path=path, free_gb=1.0, total_gb=100.0, status=status, what_next="Make room.")


def killed(night: Night) -> Night:
    """Another process goes on with the book; the old one has not closed anything."""
    night.sink._stop.set()
    night.start()
    return night


def alarms_in(answers: Sequence[Draft]) -> dict[str, str]:
    found = [AlarmChanged.model_validate(a.payload).alarm for a in answers if a.kind == AlarmChanged.kind]
    return {a.key: a.state for a in found}


# ---- kills


def test_a_condition_that_has_just_cleared_is_over_after_a_kill_too(tmp_path: Path, rules: str) -> None:
    night = Night(tmp_path / "out", rules=rules, channels=HOOK)
    night.say(disk(Status.ALARM))
    night.say(disk(Status.NORMAL))
    killed(night)
    night.beat(14)
    assert night.states == {"slow//out": "resolved"}
    night.sink.close()


def test_a_condition_that_is_back_is_not_over_after_a_kill(tmp_path: Path, rules: str) -> None:
    night = Night(tmp_path / "out", rules=rules, channels=HOOK)
    night.say(disk(Status.ALARM))
    night.say(disk(Status.NORMAL))
    night.beat()
    night.say(disk(Status.ALARM))
    killed(night)
    night.beat(30)
    assert night.states == {"slow//out": "firing"}
    night.sink.close()


def test_a_book_that_is_locked_loses_nothing(tmp_path: Path, rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path / "out", rules=rules, channels=HOOK)
    whole = night.sink._book.save

    def locked(*_: Any) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(night.sink._book, "save", locked)
    with pytest.raises(sqlite3.OperationalError):
        night.say(disk(Status.ALARM))
    monkeypatch.setattr(night.sink._book, "save", whole)
    again = night.sink.accept(night.events[-1])
    assert alarms_in(again) == {"slow//out": "firing"}
    assert night.sink._machine.incidents["slow//out"].count == 1
    with night.sink._book.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM notices").scalar() == 1
    night.sink.close()


def test_a_book_that_is_gone_is_transient(tmp_path: Path) -> None:
    book = AlarmBook(tmp_path / "deep/alarms.sqlite")
    book.close()
    for file in (tmp_path / "deep").iterdir():
        file.unlink()
    (tmp_path / "deep").rmdir()
    with pytest.raises(Transient, match="cannot be read now"), book.reading():
        pass
    (tmp_path / "file").touch()
    with pytest.raises(Transient, match="no place for the book"):
        AlarmBook(tmp_path / "file/alarms.sqlite")


# ---- clocks


def test_a_clock_that_is_set_back_holds_up_nothing() -> None:
    handling = {"held": Handling(channels=("mail",), hold_s=20, clear_s=30, wait_s=5, escalate=(Escalation(after_s=60, to=("phone",)),))}
    day, start = 86400 * S, 1_700_000_000 * S
    machine = Machine(handling)
    said: list[str] = []

    def go(now: int, active: bool | None = None, key: str = "held/a") -> None:
        if active is not None:
            said.extend(n.kind for n in machine.signal(now, Signal(key=key, rule="held", active=active)).notices)
        said.extend(n.kind for n in machine.tick(now).notices)

    go(start + day, True)
    for seconds in range(0, 150, 5):
        go(start + seconds * S)
    assert said == ["firing", "escalated"]
    go(start + day + 200 * S)
    go(start + 300 * S, False)
    for seconds in range(300, 400, 5):
        go(start + seconds * S)
    assert said == ["firing", "escalated", "resolved"]


def test_messages_leave_after_the_clock_was_set_back(tmp_path: Path) -> None:
    sent: list[Message] = []
    desk = desk_of(tmp_path, lambda message: sent.append(message), per_hour=1)
    desk.time += 86400 * S
    desk.signal("other/a")
    desk.go_on(10)
    desk.signal("other/b")
    desk.time -= 86400 * S
    desk.go_on(10)
    assert [m.notices[0].incident.key for m in sent] == ["other/a", "other/b"]
    desk.close()


def desk_of(folder: Path, send: Any, template: str = TEMPLATE, **config: Any) -> Desk:
    """A desk with one channel, which does that with a message."""

    class Fake:
        def send(self, message: Message) -> None:
            send(message)

    folder.mkdir(exist_ok=True)
    desk = Desk(folder, {}, {"other": Handling(channels=("hook",), wait_s=0)})
    made = {"hook": (ChannelConfig(url="x", **config), Fake())}
    desk.outbox = Outbox(desk.book, made, Writer(template), lambda: desk.time)
    return desk


# ---- what fails


def test_what_a_library_stumbles_over_is_tried_again_and_blocks_nobody(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(message: Message) -> None:
        if "other/a" in message.subject:
            raise ValueError("not thought of")
        sent.append(message.subject)

    desk = desk_of(tmp_path, send)
    desk.signal("other/a")
    desk.go_on(60)
    assert desk.outbox.failing()["hook"][1].endswith("not thought of")
    desk.signal("other/b")
    desk.go_on(60)
    assert len(sent) == 1
    desk.close()


def test_those_who_have_a_message_do_not_get_it_again(tmp_path: Path) -> None:
    tried: list[str] = []

    def send(message: Message) -> None:
        tried.append(message.id)
        raise PartlyRefused("1 of 2 recipients was refused")

    desk = desk_of(tmp_path, send)
    desk.signal("other/a")
    desk.go_on(200)
    assert len(tried) == 1
    desk.close()


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{% for i in range(10**9) %}{% endfor %}", "{{ notices[0].nothing.at.all }}"])
def test_a_template_that_fails_is_refused_and_if_it_fails_later_a_plain_list_leaves(tmp_path: Path, template: str) -> None:
    path = tmp_path / "t.jinja"
    path.write_text(template)
    with pytest.raises(BadConfig, match="cannot be filled in"):
        Alarms(AlarmParams(template=str(path))).check()
    sent: list[Message] = []
    desk = desk_of(tmp_path, lambda message: sent.append(message), template)
    desk.signal("other/a")
    desk.go_on(10)
    assert "other/a is out of its limits" in sent[0].text
    desk.close()


# ---- another configuration


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"routes": {"ALARM": ["mial"]}, "channels": {"mail": HOOK["hook"]}}, r"routes \(ALARM\): there is no channel 'mial'.*did you mean 'mail'"),
        ({"template": "/none.jinja"}, "none.jinja cannot be read"),
    ],
)
def test_what_would_tell_nobody_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        Alarms(AlarmParams.model_validate(params)).check()


def test_the_tag_is_that_of_the_site(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.sink.close()
    night.sink.open(SinkContext(out=str(tmp_path), epoch=EPOCH, tag="run5"))
    night.say(disk(Status.ALARM), tag="live")
    assert not night.states
    answers = night.say(disk(Status.ALARM), tag="run5")
    assert alarms_in(answers) == {"disk_full//out": "firing"}
    assert {a.tag for a in answers} == {"run5"}
    night.sink.close()


def test_what_a_rule_has_raised_that_is_gone_is_over(tmp_path: Path, rules: str) -> None:
    night = Night(tmp_path / "out", rules=rules, channels=HOOK)
    night.say(disk(Status.ALARM))
    night.sink.close()
    Path(rules).write_text(RULES.replace("slow", "fast"))
    night.start()
    night.beat()
    assert night.states == {"slow//out": "resolved"}
    with night.sink._book.reading() as connection:
        records = connection.exec_driver_sql("SELECT record FROM notices ORDER BY n").scalars().all()
    notices = [Notice.model_validate_json(r) for r in records]
    assert [n.kind for n in notices] == [NoticeKind.FIRING, NoticeKind.RESOLVED]
    assert "is not there any more" in notices[1].incident.ended_why
    night.sink.close()


def test_what_waits_for_a_channel_that_is_gone_is_an_alarm_and_ends_go_to_those_who_are_there(tmp_path: Path, rules: str) -> None:
    night = Night(tmp_path / "out", rules=rules, channels=HOOK)
    night.say(disk(Status.ALARM))
    night.sink.close()
    Path(rules).write_text(RULES.replace("hook", "post"))
    night.params |= {"channels": {"post": HOOK["hook"]}, "routes": {"WARNING": ["post"], "ALARM": ["post"]}}
    night.start()
    night.beat(14)
    assert night.states["channel_down/hook"] == "firing"
    assert "does not have any more" in night.sink._machine.incidents["channel_down/hook"].what
    night.say(disk(Status.NORMAL))
    night.beat(14)
    with night.sink._book.reading() as connection:
        channels = connection.exec_driver_sql("SELECT channel FROM notices WHERE id LIKE '%resolved%'").scalars().all()
    assert channels == ["post"]
    night.sink._outbox._now_ns = lambda: time.time_ns() + 4 * 86400 * S
    night.sink._outbox.clean(86400.0 * 365)
    assert "hook" not in night.sink._outbox.orphans()
    night.beat(1)
    assert night.states["channel_down/hook"] == "resolved"
    night.sink.close()


def test_another_journal_is_told_what_stands(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.say(disk(Status.ALARM))
    night.say(CommandGiven(name="mute", args={"pattern": "x/*", "minutes": "900", "reason": "r"}, by="bob", via="token", done=True, said=""))
    night.sink.close()
    night.seq, night.answers = 0, []
    night.sink.open(SinkContext(out=str(tmp_path), epoch="another"))
    night.beat()
    assert night.states == {"disk_full//out": "firing"}
    assert any(a.kind == MutesChanged.kind and len(a.payload["mutes"]) == 1 for a in night.answers)
    again = night.sink.accept(night.events[-1])
    assert [d.payload for d in again] == [d.payload for d in night.answers], "and not what the other one was told"
    night.answers = []
    night.beat(3)
    assert not night.answers, "once"
    night.sink.close()


# ---- what was not measured


def test_an_exposure_that_was_not_measured_ends_only_what_is_known_of_it(tmp_path: Path, rules: str) -> None:
    night = Night(tmp_path / "out", rules=rules, channels=HOOK)
    verdict: dict[str, Any] = {"night": 20231114, "tag": "live", "revision": 0, "reasons": ["r"], "parts": {}}
    night.say(UnitDone(expid=1, missing=["b3"], status=Status.ALARM, **verdict), 1)
    assert {k.partition("/")[0] for k in night.states} == {"bad_frame", "missing"}
    night.say(UnitDone(expid=2, missing=[], status=Status.UNKNOWN, **verdict), 2)
    assert {k.partition("/")[0] for k in night.states} == {"bad_frame"}
    night.say(UnitDone(expid=3, missing=[], status=Status.NORMAL, **verdict), 3)
    assert not night.states
    night.sink.close()


def test_a_frame_that_nobody_saw_sound_is_not_called_so(tmp_path: Path) -> None:
    machine = Machine({"frame": Handling(channels=("mail",), wait_s=0, keep_s=7200)})
    machine.signal(S, Signal(key="frame/r0", rule="frame", active=True, frame=True, what="bad"))
    machine.tick(10 * S)
    (end,) = machine.tick(8000 * S).notices
    assert "nothing has said so for 2 h; nothing sound was seen" in Writer(TEMPLATE).write("mail", [end], 1).text


# ---- many, and for long


def test_thousands_at_once_hold_up_nobody() -> None:
    handling = {"cause": Handling(channels=("m",)), "folded": Handling(channels=("m",), inhibited_by=("cause",), equal=("crate",))}
    machine = Machine(handling)
    for crate in range(100):
        machine.signal(S, Signal(key=f"cause/{crate}", rule="cause", active=True, facts={"crate": str(crate)}))
    for number in range(4000):
        key, rule = (f"folded/{number}", "folded") if number % 2 else (f"plain/{number}", "plain")
        machine.signal(S, Signal(key=key, rule=rule, active=True, facts={"crate": str(number % 200)}))
    begun = time.process_time()
    out = machine.tick(10 * S)
    machine.tick(20 * S)
    for number in range(0, 4000, 2):
        machine.signal(30 * S, Signal(key=f"plain/{number}", rule="plain", active=False))
    spent = time.process_time() - begun
    assert sum(len(n.folded) for n in out.notices) == 1000
    assert spent < 5.0, "it was 25 s where each was held against each"


def test_a_cause_that_ends_leaves_its_consequences_to_another() -> None:
    machine = Machine({"folded": Handling(channels=("m",), inhibited_by=("cause",), equal=("crate",), wait_s=0)})
    for key in ("cause/1", "cause/2", "folded/1"):
        machine.signal(S, Signal(key=key, rule=key.partition("/")[0], active=True, facts={"crate": "1"}))
    machine.tick(5 * S)
    assert machine.incidents["folded/1"].folded_into == "cause/1"
    machine.signal(9 * S, Signal(key="cause/1", rule="cause", active=False))
    machine.tick(9 * S)
    assert machine.incidents["folded/1"].folded_into == "cause/2"
    machine.acknowledge(10 * S, "cause/2", "ann")
    assert machine.incidents["folded/1"].acknowledged_by == "ann"


def test_the_book_does_not_grow_for_ever(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, lambda _: None)
    for number in range(40):
        desk.signal(f"other/{number}")
        desk.signal(f"other/{number}", active=False)
    desk.go_on(60)
    desk.time += 50 * 86400 * S
    desk.signal("other/new")
    assert desk.outbox.clean(60 * 86400) == 0
    assert desk.outbox.clean(40 * 86400) > 100
    with desk.book.reading() as connection:
        left = [connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() for name in ("messages", "notices", "audit")]
    assert left == [0, 1, 2], "what is new stays: pending, firing, and its notice"
    assert len(desk.book.load()[0]) == 41, "and what stands"
    desk.close()


# ---- names


def test_alarms_are_named_as_people_name_them() -> None:
    machine = Machine({})
    for key in ("file/x[1].fits", "file/x1.fits"):
        machine.signal(1, Signal(key=key, rule="file", active=True))
    machine.acknowledge(2, "file/x[1].fits", "ann")
    assert [i.acknowledged_by for i in machine.incidents.values()] == ["ann", "ann"], "as a pattern it is the other one too"
    other = Machine({})
    other.signal(1, Signal(key="file/y{2}.fits", rule="file", active=True))
    fingerprint = other.incidents["file/y{2}.fits"].fingerprint
    other.acknowledge(2, fingerprint[:5], "bob")
    assert [i.acknowledged_by for i in other.incidents.values()] == [""], "too short to be meant"
    other.acknowledge(3, fingerprint[:6], "ann")
    assert [i.acknowledged_by for i in other.incidents.values()] == ["ann"]
    other.mute(4, Mute(id="m", pattern="file/z[3].fits", owner="bob", reason="r", made=4, until=10**18, severity=Severity.ALARM))
    other.signal(5, Signal(key="file/z[3].fits", rule="file", active=True))
    assert other.incidents["file/z[3].fits"].muted == "m"


# ---- persistence and hysteresis, against an account of their own


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((3, 7, 19, 20, 21, 29, 30, 31, 47)), st.booleans()), max_size=25))
def test_incidents_are_as_many_as_long_conditions_with_long_gaps(steps: list[tuple[int, bool]]) -> None:
    """A rule that holds for 20 s and clears after 30 s: of the times of a condition, in seconds, follows how often somebody is told."""
    spans: list[tuple[bool, int]] = []
    for seconds, active in [*steps, (100, False)]:
        before = spans.pop()[1] if spans and spans[-1][0] is active else 0
        spans.append((active, before + seconds))
    expected, firing = 0, False
    for active, seconds in spans:
        if active and not firing and seconds > 20:
            expected, firing = expected + 1, True
        firing = firing and (active or seconds <= 30)

    machine = Machine({"held": HANDLING["held"].model_copy(update={"escalate": (), "again_s": None})})
    said: list[Notice] = []
    now = 1000 * S + S // 2
    for seconds, active in [*steps, (100, False)]:
        said += machine.signal(now, Signal(key="held/a", rule="held", active=active)).notices
        for second in range(seconds):
            said += machine.tick(now + S // 2 + second * S).notices
        now += seconds * S
    assert [str(n.kind) for n in said] == ["firing", "resolved"] * expected
