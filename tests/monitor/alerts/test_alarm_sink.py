"""The sink of alarms on events of a journal: rules, frames and states, people, and a restart in the middle."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers import HookServer

from monitor.alerts.sink import AlarmParams, Alarms
from quicklook.core.errors import BadConfig
from quicklook.core.events import (
    AlarmChanged,
    CommandGiven,
    DiskRoom,
    Draft,
    Event,
    Heartbeat,
    JobFailed,
    PartVerdict,
    Payload,
    QADone,
    RawFolder,
    Refused,
    Seen,
    UnitDone,
    draft,
)
from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status

S = 1_000_000_000
EPOCH = "0b8f"


class Night:
    """Events with numbers and times, given to a sink."""

    def __init__(self, folder: Path, **params: Any) -> None:
        self.folder, self.params = folder, params
        self.seq, self.time, self.events = 0, 1_700_000_000 * S, list[Event]()
        self.answers: list[Draft] = []
        self.start()

    def start(self) -> None:
        self.sink = Alarms(AlarmParams.model_validate(self.params))
        self.sink.check()
        self.sink.open(SinkContext(out=str(self.folder), epoch=EPOCH))

    def restart(self) -> None:
        self.sink.close()
        self.start()

    def say(self, payload: Payload, unit: int | None = None, part: str | None = None, after_s: float = 1.0, tag: str = "live") -> Sequence[Draft]:
        self.seq, self.time = self.seq + 1, self.time + round(after_s * S)
        made = draft(payload, unit=Unit(20231114, unit) if unit is not None else None, part=part, tag=tag)
        event = Event(**made.model_dump(), epoch=EPOCH, seq=self.seq, time=self.time)
        self.events.append(event)
        out = self.sink.accept(event)
        self.answers += out
        return out

    def beat(self, n: int = 1, **values: Any) -> None:
        for _ in range(n):
            self.say(Heartbeat(waiting=values.get("waiting", 0), running=0, done=0, failed=0), after_s=5)

    def seen(self, unit: int, flavor: str = "science") -> None:
        self.say(Seen(file=f"/raw/{unit}.fits", size=1, parts=["r0"], tags={"flavor": flavor}), unit)

    def qa(self, unit: int, status: Status | None, name: str = "read_noise", part: str = "r0", **more: Any) -> None:
        self.say(QADone(name=name, step="read", group="CCDs", status=status, seconds=0.1, **more), unit, part)

    @property
    def states(self) -> dict[str, str]:
        """How each alarm stands, by what the journal was told."""
        out = {}
        for one in self.answers:
            if one.kind == AlarmChanged.kind:
                alarm = AlarmChanged.model_validate(one.payload).alarm
                out[alarm.key] = alarm.state
        return {k: v for k, v in out.items() if v != "closed"}


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.sink.close()


def test_a_frame_raises_and_the_next_sound_one_of_its_flavor_ends(night: Night) -> None:
    night.seen(1)
    night.qa(1, Status.ALARM)
    assert night.states == {"bad_detector/read_noise/r0/science": "firing"}
    night.seen(2, "flat")
    night.qa(2, Status.NORMAL)
    assert len(night.states) == 1, "a flat says nothing of a science frame"
    night.seen(3)
    night.qa(3, Status.UNKNOWN)
    night.qa(3, None)
    assert len(night.states) == 1, "what was not measured ends nothing"
    night.seen(4)
    night.qa(4, Status.NORMAL)
    assert night.states == {}


def test_backlog_neither_ends_nor_renews_what_is_newer(night: Night) -> None:
    night.seen(10)
    night.qa(10, Status.ALARM)
    night.seen(3)
    night.qa(3, Status.NORMAL)
    assert len(night.states) == 1


def test_reruns_under_another_tag_are_nobodys_alarm(night: Night) -> None:
    night.say(QADone(name="read_noise", step="read", group="CCDs", status=Status.ALARM, seconds=0.1), 1, "r0", tag="rerun")
    assert not night.states


def test_states_of_the_system(night: Night) -> None:
    night.say(DiskRoom(path="/out", free_gb=1.0, total_gb=100.0, status=Status.ALARM, what_next="Make room."))
    night.say(RawFolder(path="/raw", there=False))
    night.say(Refused(file="/raw/x.fits", failure=Failure(error="BadData", message="cut", what_next="Send it again.")))
    night.say(JobFailed(attempts=3, failure=Failure(error="BadData", message="no", what_next="Look.")), 5, "r0")
    assert {k.partition("/")[0]: v for k, v in night.states.items()} == {
        "disk_full": "firing", "raw_folder_gone": "pending", "file_refused": "pending", "work_failed": "firing",
    }  # fmt: skip
    night.beat(13)
    assert set(night.states.values()) == {"firing"}
    night.say(DiskRoom(path="/out", free_gb=50.0, total_gb=100.0, status=Status.NORMAL, what_next="Nothing."))
    night.say(RawFolder(path="/raw", there=True))
    night.say(Seen(file="/raw/x.fits", size=9, parts=["r0"]), 6)
    night.say(PartVerdict(status=Status.NORMAL, reasons=[], measured=9, expected=9, seconds=1.0), 5, "r0")
    assert {k.partition("/")[0]: v for k, v in night.states.items()} == {"disk_full": "resolved", "raw_folder_gone": "resolved"}
    night.say(CommandGiven(name="acknowledge", args={"alarm": "*"}, by="ann", via="token", done=True, said=""))
    assert night.states == {}


def test_a_folder_of_raw_files_that_is_another_one_now_ends_what_was_said_of_the_one_before(night: Night) -> None:
    night.say(RawFolder(path="/raw", there=False))
    night.beat(13)
    assert night.states == {"raw_folder_gone": "firing"}
    night.say(RawFolder(path="/raw2", there=True))
    assert night.states == {"raw_folder_gone": "resolved"}


def test_what_comes_at_once_in_several_events_is_told_at_once(tmp_path: Path) -> None:
    rule = "alerts: mine\nrules:\n  - {name: full, on: disk, when: status = ALARM, what: w, handling: {channels: [hook]}}\n"
    (tmp_path / "rules.yaml").write_text(rule)
    night = Night(tmp_path / "out", rules=str(tmp_path / "rules.yaml"), channels={"hook": {"url": "http://127.0.0.1:9/", "form": "webhook"}})
    for path in ("/a", "/b", "/c"):
        night.say(DiskRoom(path=path, free_gb=1.0, total_gb=2.0, status=Status.ALARM, what_next="w"), after_s=0.1)
    night.say(Heartbeat(waiting=0, running=0, done=0, failed=0), after_s=1.85)  # the first has waited for two seconds, the last has not
    with night.sink._book.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(DISTINCT made) FROM notices").scalar() == 1
        assert connection.exec_driver_sql("SELECT count(*) FROM notices").scalar() == 3
    night.sink.close()


def test_one_bad_exposure_is_one_message(tmp_path: Path) -> None:
    """The verdict of the exposure and the call for somebody are consequences of the bad detector, and fold into it; so they do into absent cameras."""
    verdict: dict[str, Any] = {"night": 20231114, "tag": "live", "revision": 0, "status": Status.ALARM, "reasons": ["ALARM: bad"], "parts": {}}
    for missing, said in (([], "bad_detector"), (["b3", "r3"], "cameras_missing")):
        with HookServer() as hook:
            night = Night(
                tmp_path / said, channels={"hook": {"url": hook.url, "form": "webhook"}}, routes={key: ["hook"] for key in ("WARNING", "ALARM")}
            )
            night.seen(1)
            if not missing:
                night.qa(1, Status.ALARM)
            night.say(UnitDone(expid=1, missing=missing, **verdict), 1)
            night.beat(6)
            assert [i.rule for i in night.sink._machine.incidents.values() if i.told] == [said]
            end = time.monotonic() + 60
            while not hook.got and time.monotonic() < end:
                time.sleep(0.1)
            assert [a["labels"]["alertname"] for body in hook.got for a in body["alerts"]] == [said]
            night.sink.close()


def test_people_acknowledge_and_mute_through_the_journal(night: Night) -> None:
    night.seen(1)
    night.say(
        CommandGiven(name="mute", args={"pattern": "bad_detector/*", "minutes": "30", "reason": "warm-up"}, by="bob", via="token", done=True, said="")
    )
    night.qa(1, Status.ALARM)
    assert set(night.states.values()) == {"muted"}
    mutes = [a for a in night.answers if a.kind == "mutes"]
    assert mutes[-1].payload["mutes"][0]["owner"] == "bob"
    night.say(CommandGiven(name="unmute", args={"mute": mutes[-1].payload["mutes"][0]["id"]}, by="ann", via="token", done=True, said=""))
    assert set(night.states.values()) == {"firing"}
    night.say(CommandGiven(name="acknowledge", args={"alarm": "bad_detector/*"}, by="ann", via="token", done=False, said="refused"))
    assert set(night.states.values()) == {"firing"}, "a command that was refused does nothing"


def test_a_restart_anywhere_changes_nothing_and_no_event_counts_twice(tmp_path: Path) -> None:
    rng = random.Random(5)
    with HookServer() as hook:
        params = {
            "channels": {"hook": {"url": hook.url, "form": "webhook", "per_hour": 1000}},
            "routes": {s: ["hook"] for s in ("WARNING", "ALARM", "CRITICAL")},
        }
        plain, broken = Night(tmp_path / "a", **params), Night(tmp_path / "b", **params)
        for number in range(60):
            kind, status = rng.randrange(4), rng.choice([Status.ALARM, Status.NORMAL, Status.UNKNOWN])
            for night in (plain, broken):
                if kind == 0:
                    night.seen(number, rng.choice(["science"]))
                elif kind == 1:
                    night.qa(number, status)
                elif kind == 2:
                    night.say(RawFolder(path="/raw", there=status is Status.NORMAL))
                else:
                    night.beat(3)
            if number % 5 == 0:
                broken.restart()
                for event in broken.events[-3:]:  # as after a crash before the journal knew
                    again = broken.sink.accept(event)
                    if event is broken.events[-1]:
                        assert [d.payload for d in again] == [d.payload for d in broken.answers[len(broken.answers) - len(again) :]]
        assert broken.sink._machine.incidents == plain.sink._machine.incidents
        assert broken.states == plain.states
        for night in (plain, broken):
            night.sink.close()


def test_a_channel_that_is_down_is_an_alarm_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path, channels={"hook": {"url": "http://127.0.0.1:9/", "form": "webhook"}}, routes={"ALARM": ["hook"]})
    monkeypatch.setattr(night.sink._outbox, "failing", lambda: {"hook": (3, "refused")})
    night.beat(14)
    assert night.states == {"channel_down/hook": "firing"}
    monkeypatch.setattr(night.sink._outbox, "failing", dict)
    night.beat()
    assert night.states == {"channel_down/hook": "resolved"}
    night.sink.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alerts: x\nrules:\n - {name: a, on: qas, when: status = ALARM, what: w}", "did you mean 'qa'"),
        ("alerts: x\nrules:\n - {name: a, on: qa, when: statsu = ALARM, what: w}", "statsu"),
        ("alerts: x\nrules:\n - {name: a, on: qa, when: status = ALARM, what: 'camera {prat}'}", "did you mean 'part'"),
        ("alerts: x\nrules:\n - {name: a, on: qa, when: status = ALARM, what: w, handling: {channels: [mial]}}", "no channel 'mial'"),
        (
            "alerts: x\nrules:\n - {name: a, on: qa, when: status = ALARM, what: w, handling: {inhibited_by: [b]}}\n - {name: b, on: qa, when: status = ALARM, what: w, handling: {inhibited_by: [a]}}",
            "folds itself",
        ),
        ("alerts: x\nrules:\n - {name: a, on: qa, when: status = ALARM, what: w}\n - {name: a, on: qa, when: status = ALARM, what: w}", "used twice"),
        ("alerts: x\nrules:\n - {name: a, on: qa, when: status = ALARM, what: w, severity: loud}", "LOUD"),
        ("alerts: x\nrules: []", "rules"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=said) as error:
        Alarms(AlarmParams(rules=str(path))).check()
    assert "rules.yaml" in str(error.value)


def test_the_outside_hears_of_the_daemon_while_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("monitor.alerts.sink.get", lambda address, *_: asked.append(address))
    night = Night(tmp_path, dead_man={"url": "https://outside.example/x"})
    night.sink._ping()
    assert not asked, "no heartbeat has come"
    night.time = time.time_ns() - 60 * S
    night.beat()
    night.sink._ping()
    assert not asked, "the last one is too old"
    night.time = time.time_ns()
    night.beat()
    night.sink._ping()
    night.sink._ping()
    assert asked == ["https://outside.example/x"], "once a minute"
    night.sink.close()
