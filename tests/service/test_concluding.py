"""The end of an exposure in the daemon: absent cameras, decision, goals; a verdict that a person changes while the daemon runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_site import NIGHT, WATCH, ByHand, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.core.events import QADone, draft
from quicklook.core.keys import Unit
from quicklook.core.results import MetricResult, Override, QAResult
from quicklook.core.status import Status
from quicklook.service.daemon import Daemon
from quicklook.service.journal.journal import journal_path
from quicklook.service.verdicts.overriding import Overruled, Place, override
from quicklook.service.workers.worker import Judged

UNIT = Unit(NIGHT, 1)
Start = Callable[..., tuple[Daemon, ByHand]]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    """Starts daemons with an executor by hand and stops them."""
    daemons: list[Daemon] = []

    def start(**options: Any) -> tuple[Daemon, ByHand]:
        pair = by_hand(bench_site(tmp_path, **options))
        daemons.append(pair[0])
        return pair

    yield start
    for daemon in daemons:
        daemon.stop(0.5)


def measured(hand: Any, job: Any, status: Status = Status.NORMAL) -> None:
    """As `ByHand.judge`, with what a QA has measured."""
    hand.judge(job, status)
    message = hand.messages.pop()
    metric = MetricResult(name="dead_amp", unit="", values=[1.0], status=status, statuses=[status], reason="dead_amp is 1", worst=0)
    qa = QAResult(name="dead_amp", step="read", group="CCDs", status=status, seconds=0.0, metrics=[metric])
    event = draft(QADone(**qa.model_dump()), unit=job.unit, part=job.part, tag=job.tag, revision=job.revision)
    hand.messages.append(Judged(job, message.status, message.reasons, (event, *message.events)))


def finish(daemon: Any, hand: Any, cameras: dict[str, Status], revision: int = 0) -> None:
    """Take cameras through to the verdict of the exposure, and all files."""
    turn(daemon, lambda: len(hand.jobs) == len(cameras))
    for job in list(hand.jobs):
        measured(hand, job, cameras[job.part])
        hand.written(job)
    turn(daemon, lambda: any(e.revision == revision for e in said(daemon, "unit_verdict")) and daemon.idle)
    assert daemon.drain(60)


def folder(tmp_path: Path, tag: str = "live") -> Path:
    return tmp_path / f"out/{tag}/exposures/{NIGHT}/00000001"


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def change(tmp_path: Path, daemon: Any, part: str, status: Status, by: str = "Ann", reason: str = "a known lamp") -> Overruled:
    place = Place(out=tmp_path / "out", tag="live", unit=UNIT, journal=journal_path(tmp_path / "out"))
    given = Override(part=part, was=status, status=status, by=by, reason=reason, time=time.time_ns())
    return override(place, given, daemon.recipe.decisions, ("a", "b"))


def test_cameras_that_never_come_are_one_alarm_and_somebody_is_called(tmp_path: Path, started: Start) -> None:
    daemon, hand = started(cameras=["a", "b", "c", "d"], watch={**WATCH, "unit_s": 0.3})
    write_frame(tmp_path, "a")
    finish(daemon, hand, {"a": Status.NORMAL})
    verdict = said(daemon, "unit_verdict")[0].payload
    assert (verdict["status"], verdict["missing"]) == ("ALARM", ["b", "c", "d"])
    assert [r for r in verdict["reasons"] if "b, c, d" in r] == [r for r in verdict["reasons"] if r.startswith("ALARM: missing_cameras is 3")]
    kinds = [(e.kind, e.part) for e in daemon.journal.events(limit=1000) if e.kind in ("qa", "unit_verdict", "decision", "receipt")]
    assert kinds == [("qa", "a"), ("qa", None), ("unit_verdict", None), ("decision", None), ("receipt", None)]
    card = load(folder(tmp_path) / "decision.json")
    assert (card["decision"], card["rule"], card["cameras"], card["cameras_expected"]) == ("call", "cameras_missing", 1, 4)
    assert load(folder(tmp_path) / "decision.rev0.json") == card


def test_what_the_cameras_measured_is_in_the_decision(tmp_path: Path, started: Start) -> None:
    daemon, hand = started()
    for camera in "ab":
        write_frame(tmp_path, camera)
    finish(daemon, hand, {"a": Status.NORMAL, "b": Status.ALARM})
    card = said(daemon, "decision")[0].payload
    assert (card["decision"], card["rule"], card["measured"], card["expected"]) == ("call", "detector", 3, 3)
    assert card["reasons"] == ["ALARM: b: dead_amp is 1"]


def test_a_site_without_rules_decides_nothing_and_one_with_wrong_goals_does_not_start(tmp_path: Path, started: Start) -> None:
    daemon, hand = started(decisions="")
    for camera in "ab":
        write_frame(tmp_path, camera)
    finish(daemon, hand, {"a": Status.NORMAL, "b": Status.NORMAL})
    assert not said(daemon, "decision")
    with pytest.raises(BadConfig, match="there is no goal 'depth'"):
        bench_site(tmp_path, goals={"depth": 3.0}).recipe()
    assert bench_site(tmp_path, goals={"efftime": 900}).recipe().goals == {"efftime": 900.0}


def test_a_verdict_is_overridden_while_the_daemon_runs(tmp_path: Path, started: Start) -> None:
    daemon, hand = started()
    for camera in "ab":
        write_frame(tmp_path, camera)
    finish(daemon, hand, {"a": Status.NORMAL, "b": Status.ALARM})
    done = change(tmp_path, daemon, "b", Status.NORMAL)
    assert (done.before.status, done.after.status, done.after.revision, done.in_journal) == (Status.ALARM, Status.NORMAL, 1, True)
    assert done.card is not None
    assert (done.card.decision, done.card.overrides[0].by) == ("go_on", "Ann")
    assert done.after.reasons[0] == "b: NORMAL: by Ann, in place of ALARM: a known lamp"
    assert "set aside: b: ALARM: as the test says" in done.after.reasons
    daemon.step()
    assert daemon.drain(60)
    events = daemon.journal.events(limit=1000)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert [(e.kind, e.revision) for e in events if e.kind in ("override", "unit_verdict", "decision")][-3:] == [
        ("override", 1), ("unit_verdict", 1), ("decision", 1)
    ]  # fmt: skip
    assert [load(folder(tmp_path) / f"verdict{n}.json")["status"] for n in (".rev0", ".rev1", "")] == ["ALARM", "NORMAL", "NORMAL"]
    # a camera that comes again makes a further revision; what was said of the other one stays, and is shown
    write_frame(tmp_path, "a", seed=5)
    finish(daemon, hand, {"a": Status.NORMAL}, revision=2)
    last = said(daemon, "unit_verdict")[-1].payload
    assert (last["status"], last["parts"], [o["by"] for o in last["overrides"]]) == ("NORMAL", {"a": "NORMAL", "b": "NORMAL"}, ["Ann"])
    assert said(daemon, "decision")[-1].payload["decision"] == "go_on"
    # the overridden one comes again: it is judged anew
    write_frame(tmp_path, "b", seed=6)
    finish(daemon, hand, {"b": Status.ALARM}, revision=3)
    last = said(daemon, "unit_verdict")[-1].payload
    assert (last["status"], last["overrides"]) == ("ALARM", [])


def test_the_exposure_as_a_whole_is_overridden(tmp_path: Path, started: Start) -> None:
    daemon, hand = started()
    for camera in "ab":
        write_frame(tmp_path, camera)
    finish(daemon, hand, {"a": Status.NORMAL, "b": Status.NORMAL})
    done = change(tmp_path, daemon, "", Status.ALARM, reason="the dome was shut")
    assert (done.after.status, done.after.parts) == (Status.ALARM, {"a": Status.NORMAL, "b": Status.NORMAL})
    assert done.card is not None
    assert done.card.decision == "repeat"
    done = change(tmp_path, daemon, "a", Status.WARNING, by="Bob", reason="faint stripes")
    assert (done.after.status, done.after.revision) == (Status.ALARM, 2), "what was said of the whole stays where it is worse"
    assert [o.by for o in done.after.overrides] == ["Ann", "Bob"]
    done = change(tmp_path, daemon, "", Status.NORMAL, reason="it was open")
    done = change(tmp_path, daemon, "b", Status.ALARM, by="Bob", reason="shutter stuck")
    assert (done.after.status, done.card.decision if done.card else "") == (Status.ALARM, "repeat"), "an alarm that is said last is not lost"
    done = change(tmp_path, daemon, "", Status.NORMAL, reason="it was not")
    assert (done.after.status, done.card.decision if done.card else "") == (Status.NORMAL, "go_on")


@pytest.mark.parametrize(
    ("first", "word", "again", "status", "stands"),
    [
        (Status.NORMAL, Status.ALARM, Status.NORMAL, "ALARM", True),  # who says that the dome was shut is not contradicted by a camera
        (Status.WARNING, Status.NORMAL, Status.ALARM, "ALARM", False),  # who said that it was good had not seen this
        (Status.WARNING, Status.NORMAL, Status.WARNING, "NORMAL", True),
    ],
)
def test_what_was_said_of_the_whole_when_a_camera_comes_again(
    tmp_path: Path, started: Start, first: Status, word: Status, again: Status, status: str, stands: bool
) -> None:
    daemon, hand = started()
    for camera in "ab":
        write_frame(tmp_path, camera)
    finish(daemon, hand, {"a": Status.NORMAL, "b": first})
    assert change(tmp_path, daemon, "", word, reason="I have looked").after.status == word
    write_frame(tmp_path, "b", seed=6)
    finish(daemon, hand, {"b": again}, revision=2)
    last = said(daemon, "unit_verdict")[-1].payload
    assert (last["status"], last["parts"]) == (status, {"a": "NORMAL", "b": str(again)})
    assert [o["by"] for o in last["overrides"]] == (["Ann"] if stands else [])
    (told,) = [r for r in last["reasons"] if "I have looked" in r]
    assert told.startswith("set aside: ") is not stands
    assert load(folder(tmp_path) / "verdict.json")["status"] == status
    assert (said(daemon, "decision")[-1].payload["decision"] == "go_on") is (status == "NORMAL")


def test_what_cannot_be_overridden_changes_nothing(tmp_path: Path, started: Start) -> None:
    daemon, hand = started()
    with pytest.raises(BadData, match=f"no verdict of exposure {NIGHT}/00000001 under tag live"):
        change(tmp_path, daemon, "", Status.NORMAL)
    for camera in "ab":
        write_frame(tmp_path, camera)
    finish(daemon, hand, {"a": Status.NORMAL, "b": Status.ALARM})
    for part, status, by, reason, error, says in (
        ("c", Status.NORMAL, "Ann", "x", BadData, "has no camera c; it has: a, b"),
        ("a", Status.NORMAL, "Ann", "x", BadConfig, "a is NORMAL already"),
        ("b", Status.NORMAL, " ", "x", BadConfig, "who and why"),
    ):
        with pytest.raises(error, match=says):
            change(tmp_path, daemon, part, status, by, reason)
    write_frame(tmp_path, "a", seed=9)
    turn(daemon, lambda: len(hand.jobs) == 1)
    with pytest.raises(NotReadyYet, match="is being worked on"):
        change(tmp_path, daemon, "b", Status.NORMAL)
    assert not said(daemon, "override")
    assert load(folder(tmp_path) / "verdict.json")["revision"] == 0
