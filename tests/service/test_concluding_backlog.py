"""The deadline of an exposure is for cameras that never come, not for work that waits; what is judged after the verdict brings another one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_site import NIGHT, WATCH, ByHand, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadData
from quicklook.core.keys import Unit
from quicklook.core.status import Status
from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import Job

UNIT_S = 0.2
SHORT = {**WATCH, "unit_s": UNIT_S}
Start = Callable[..., tuple[Daemon, ByHand]]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    daemons: list[Daemon] = []

    def start(**options: Any) -> tuple[Daemon, ByHand]:
        pair = by_hand(bench_site(tmp_path, **{"watch": SHORT, **options}))
        daemons.append(pair[0])
        return pair

    yield start
    for daemon in daemons:
        daemon.stop(0.5)


def arrive(daemon: Daemon, hand: ByHand, folder: Path, cameras: str) -> dict[str, Job]:
    """Frames of an exposure come and are handed out; returns their jobs by camera."""
    for camera in cameras:
        write_frame(folder, camera)
    turn(daemon, lambda: set(cameras) <= {j.part for j in hand.jobs})
    return {j.part: j for j in hand.jobs}


def complete(daemon: Daemon, hand: ByHand, job: Job, status: Status = Status.NORMAL) -> None:
    """One camera from its verdict to its files."""
    hand.judge(job, status)
    hand.written(job)
    turn(daemon, lambda: not hand.messages)


def pass_deadline(daemon: Daemon) -> None:
    """Turn for twice as long as cameras are waited for."""
    end = time.monotonic() + 2 * UNIT_S
    while time.monotonic() < end:
        daemon.step()


def verdicts(daemon: Daemon) -> list[tuple[int, str, dict[str, str], list[str]]]:
    """Of each verdict of an exposure: revision, status, its parts, those that are missing."""
    told = said(daemon, "unit_verdict")
    return [(e.revision, e.payload["status"], e.payload["parts"], e.payload["missing"]) for e in told]


def test_an_exposure_that_waits_in_a_backlog_has_one_verdict_when_its_turn_has_come(tmp_path: Path, started: Start) -> None:
    daemon, hand = started()
    hand.free = lambda: 0  # type: ignore[method-assign]
    for camera in "ab":
        write_frame(tmp_path, camera)
    turn(daemon, lambda: len(said(daemon, "seen")) == 2)
    pass_deadline(daemon)
    assert verdicts(daemon) == [], "both wait"
    del hand.free
    turn(daemon, lambda: len(hand.jobs) == 2)
    pass_deadline(daemon)
    assert verdicts(daemon) == [], "both run"
    first, second = list(hand.jobs)
    complete(daemon, hand, first)
    pass_deadline(daemon)
    assert verdicts(daemon) == [], "one runs"
    complete(daemon, hand, second)
    turn(daemon, lambda: daemon.idle)
    assert verdicts(daemon) == [(0, "NORMAL", {"a": "NORMAL", "b": "NORMAL"}, [])]


def test_a_job_that_is_to_be_tried_again_is_waited_for(tmp_path: Path, started: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.daemon.RETRY_PAUSES_S", (3 * UNIT_S,))
    daemon, hand = started()
    by_part = arrive(daemon, hand, tmp_path, "ab")
    complete(daemon, hand, by_part["a"])
    hand.broken(by_part["b"], retry=True)
    pass_deadline(daemon)
    assert verdicts(daemon) == []
    turn(daemon, lambda: hand.jobs)
    complete(daemon, hand, hand.jobs[0], Status.WARNING)
    turn(daemon, lambda: daemon.idle)
    assert verdicts(daemon) == [(0, "WARNING", {"a": "NORMAL", "b": "WARNING"}, [])]


def test_a_deadline_that_has_passed_while_work_waited_starts_again_when_it_is_done(tmp_path: Path, started: Start) -> None:
    daemon, hand = started(cameras=["a", "b", "c"], watch={**WATCH, "unit_s": 200.0})

    def overdue() -> None:
        with daemon.journal.transaction() as connection:
            (row,) = jobs.open_units(connection, "live")
            jobs.set_deadline(connection, row, time.time_ns() - 1)
        daemon.step()

    by_part = arrive(daemon, hand, tmp_path, "a")
    overdue()
    done_ns = time.time_ns()
    complete(daemon, hand, by_part["a"])
    with daemon.journal.reading() as connection:
        (row,) = jobs.open_units(connection, "live")
    assert row.deadline_ns > done_ns + 199 * 10**9
    by_part = arrive(daemon, hand, tmp_path, "b")  # in time: it joins
    hand.broken(by_part["b"], BadData("it is torn"))
    turn(daemon, lambda: not hand.messages)
    assert verdicts(daemon) == []
    overdue()
    turn(daemon, lambda: said(daemon, "unit_verdict"))
    [(revision, status, parts, missing)] = verdicts(daemon)
    assert (revision, status, parts, missing) == (0, "ALARM", {"a": "NORMAL", "b": "UNKNOWN"}, ["c"])
    assert len([r for r in said(daemon, "unit_verdict")[0].payload["reasons"] if r.startswith("ALARM: missing_cameras is 1")]) == 1


def test_a_deadline_that_has_not_passed_stays_as_it_is(tmp_path: Path, started: Start) -> None:
    daemon, hand = started(watch={**WATCH, "unit_s": 60.0})
    by_part = arrive(daemon, hand, tmp_path, "a")
    with daemon.journal.reading() as connection:
        before = jobs.open_units(connection, "live")
    complete(daemon, hand, by_part["a"])
    with daemon.journal.reading() as connection:
        assert jobs.open_units(connection, "live") == before


def closed_too_early(daemon: Daemon) -> None:
    """As earlier versions did at the deadline."""
    with daemon.journal.transaction() as connection:
        for row in jobs.open_units(connection, "live"):
            assert jobs.close_unit(connection, row, time.time_ns())
            assert not jobs.close_unit(connection, row, time.time_ns())


def test_what_is_judged_after_the_verdict_brings_one_of_a_new_revision(tmp_path: Path, started: Start) -> None:
    daemon, hand = started(cameras=["a", "b", "c", "d"])
    by_part = arrive(daemon, hand, tmp_path, "abc")
    complete(daemon, hand, by_part["a"], Status.WARNING)
    closed_too_early(daemon)
    complete(daemon, hand, by_part["b"])
    pass_deadline(daemon)
    assert verdicts(daemon) == [], "c is still worked on"
    hand.broken(by_part["c"], BadData("it is torn"))
    turn(daemon, lambda: daemon.idle)
    assert verdicts(daemon) == [(1, "ALARM", {"a": "WARNING", "b": "NORMAL", "c": "UNKNOWN"}, ["d"])]
    pass_deadline(daemon)
    assert len(verdicts(daemon)) == 1
    assert [e.revision for e in said(daemon, "decision")] == [e.revision for e in said(daemon, "receipt")] == [1]
    assert sorted((e.part, e.revision) for e in said(daemon, "verdict")) == [("a", 0), ("b", 0)]
    assert daemon.drain(60)
    path = tmp_path / f"out/live/exposures/{NIGHT}/00000001/verdict.json"
    assert json.loads(path.read_text())["revision"] == 1


def test_not_where_a_later_revision_has_taken_its_place(tmp_path: Path, started: Start) -> None:
    daemon, hand = started()
    by_part = arrive(daemon, hand, tmp_path, "ab")
    closed_too_early(daemon)
    with daemon.journal.transaction() as connection:
        old = jobs.latest_unit(connection, Unit(NIGHT, 1), "live")
        assert old is not None
        later = replace(old, revision=1)
        jobs.add_unit(connection, later, "")
        jobs.close_unit(connection, later, time.time_ns())
    for job in by_part.values():
        complete(daemon, hand, job)
    pass_deadline(daemon)
    assert verdicts(daemon) == []
    with daemon.journal.reading() as connection:
        assert jobs.latest_unit(connection, Unit(NIGHT, 1), "live") == replace(later, closed=True)


def test_one_that_was_opened_again_meanwhile_gets_its_verdict_there(tmp_path: Path, started: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command runs in another thread: it may close a revision between the reading and the writing of its end."""
    daemon, hand = started()
    by_part = arrive(daemon, hand, tmp_path, "ab")
    real = daemon._closing._tags_of

    def meanwhile(part: str) -> dict[str, str]:
        monkeypatch.setattr(daemon._closing, "_tags_of", real)
        closed_too_early(daemon)
        return real(part)

    monkeypatch.setattr(daemon._closing, "_tags_of", meanwhile)
    for job in by_part.values():
        complete(daemon, hand, job)
    turn(daemon, lambda: daemon.idle)
    assert verdicts(daemon) == []
