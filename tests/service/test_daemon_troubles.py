"""What goes wrong while a daemon runs: files that vanish, a full disk, workers that die late, sinks that cannot open, folders that are away."""

from __future__ import annotations

import json
import logging
import shutil
import time

import pytest
import sqlalchemy as sa
from bench_site import NIGHT, WATCH, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.core.events import Started
from quicklook.core.status import Status
from quicklook.service import daemon as daemon_module
from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import FAILED
from quicklook.service.running import outcomes
from quicklook.service.workers.worker import LOST_ELSEWHERE


@pytest.fixture
def started(tmp_path):
    """Starts daemons with an executor by hand and stops them."""
    daemons = []

    def start(**options):
        pair = by_hand(bench_site(tmp_path, **options))
        daemons.append(pair[0])
        return pair

    yield start
    for daemon in daemons:
        daemon.stop(0.5)


@pytest.mark.parametrize("what", ["moved", "truncated", "another file"])
def test_a_raw_file_that_changes_while_its_job_waits(tmp_path, monkeypatch, what):
    """It ends that job, not the daemon, nor any later start."""
    monkeypatch.setattr(daemon_module, "RETRY_PAUSES_S", (0.01,))
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    raw = write_frame(tmp_path, "a")
    hand.free = lambda: 0
    turn(daemon, lambda: said(daemon, "seen"))
    daemon.stop(0)
    if what == "moved":
        raw.rename(tmp_path / "elsewhere.fits")
    else:
        raw.write_bytes(raw.read_bytes()[:4000] if what == "truncated" else b"no FITS file at all")
    again = Daemon(bench_site(tmp_path, cameras=["a"]))
    again.start()
    try:
        turn(again, lambda: said(again, "unit_verdict"))
        verdict = said(again, "unit_verdict")[0].payload
        assert verdict["status"] == "UNKNOWN"
        assert said(again, "started")[0].payload["chain"] == "raw"
        if what == "moved":
            assert "is not there" in verdict["reasons"][0]
            assert "tried 4 times" in said(again, "failed")[0].payload["failure"]["what_next"]
        write_frame(tmp_path, "a", expid=2)
        turn(again, lambda: any(e.unit.endswith("0002") for e in said(again, "unit_verdict")))
    finally:
        again.stop()


def test_a_flavor_that_has_no_chain_any_more_ends_its_job(tmp_path, started):
    daemon, hand = started(cameras=["a"])
    write_frame(tmp_path, "a")
    hand.free = lambda: 0
    turn(daemon, lambda: said(daemon, "seen"))
    daemon.stop(0)
    daemon, hand = started(cameras=["a"], chains={"science": "raw"})
    turn(daemon, lambda: said(daemon, "unit_verdict"))
    assert said(daemon, "unit_verdict")[0].payload["status"] == "UNKNOWN"
    assert "no chain is configured for flavor 'zero'" in said(daemon, "failed")[0].payload["failure"]["message"]


@pytest.fixture
def disk():
    """Makes the disk of a journal full, by SQLite's own means, and gives room again."""
    full = {"pages": 0}

    def attach(engine):
        @sa.event.listens_for(engine, "checkout")
        def _limit(connection, record, proxy):
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA max_page_count={full['pages'] or 2**30}")
            cursor.close()

    return full, attach


def test_a_full_disk_under_the_journal_is_told_once_and_nothing_is_lost(tmp_path, started, disk, caplog, monkeypatch):
    monkeypatch.setattr("quicklook.service.daemon._LONGEST_HOLD_S", 0.05)
    full, attach = disk
    daemon, hand = started(cameras=["a"])
    attach(daemon.journal.engine)
    for expid in range(1, 30):
        write_frame(tmp_path, "a", expid=expid)
    turn(daemon, lambda: len(hand.jobs) == 8)
    full["pages"] = 1
    for size in (4000, 400, 1):  # fill up what pages there are, and what room is left in the last one
        with pytest.raises(NoSpace, match=r"journal .*journal.sqlite cannot be used now: database or disk is full"):
            for _ in range(2000):
                daemon._outcomes._say(Started(chain="x" * size), hand.jobs[0], None)
    caplog.clear()
    for job in list(hand.jobs):
        hand.judge(job)
        hand.written(job)
    for _ in range(15):
        daemon.step()
    assert [r.levelname for r in caplog.records if "nothing is lost" in r.message] == ["ERROR"]
    assert not said(daemon, "unit_verdict")
    assert not daemon.idle
    full["pages"] = 0

    def work() -> bool:
        for job in list(hand.jobs):
            hand.judge(job)
            hand.written(job)
        return len(said(daemon, "unit_verdict")) == 29

    turn(daemon, work)
    assert "can be used again" in caplog.text
    assert {e.payload["status"] for e in said(daemon, "unit_verdict")} == {"NORMAL"}
    events = daemon.journal.events(limit=10_000)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert daemon.drain(60)  # the sink has lived through it too
    assert (tmp_path / f"out/live/exposures/{NIGHT}/00000029/verdict.json").is_file()


def test_files_that_find_no_room_are_written_when_there_is_some(tmp_path, started, monkeypatch, caplog):
    monkeypatch.setattr(outcomes, "FULL_DISK_PAUSE_S", 0.01)
    daemon, hand = started(cameras=["a"])
    write_frame(tmp_path, "a")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    for _ in range(10):
        hand.broken(hand.jobs[0], NoSpace("x.fits cannot be written: No space left on device"), retry=True)
        turn(daemon, lambda: hand.jobs)
    assert (hand.jobs[0].attempts, hand.jobs[0].announced) == (1, True)
    told = [r for r in caplog.records if "No space left" in r.getMessage() and r.levelname == "WARNING"]
    assert len(told) == 1, "the log may be on the same disk"
    hand.written(hand.jobs[0])
    turn(daemon, lambda: said(daemon, "product"))
    assert not said(daemon, "failed")
    assert [e.payload["status"] for e in said(daemon, "unit_verdict")] == ["NORMAL"]


@pytest.mark.parametrize("error", [ValueError("any"), UnicodeEncodeError("utf-8", "x", 0, 1, "any")])
def test_a_verdict_that_is_announced_stands_whatever_comes_after(tmp_path, started, error):
    daemon, hand = started()
    for camera in "ab":
        write_frame(tmp_path, camera)
    turn(daemon, lambda: len(hand.jobs) == 2)
    first, second = hand.jobs
    hand.judge(first)
    hand.broken(first, error)
    hand.judge(second)
    hand.broken(second, error, retry=True)  # as of a worker that died after its verdict
    turn(daemon, lambda: said(daemon, "unit_verdict"))
    assert said(daemon, "unit_verdict")[0].payload["status"] == "NORMAL"
    assert len(said(daemon, "failed")) == 1
    assert len(said(daemon, "verdict")) == 2


def test_each_tag_is_worked_on_by_itself(tmp_path, started):
    live, hand = started(cameras=["a"])
    write_frame(tmp_path, "a")
    turn(live, lambda: hand.jobs)
    hand.free = lambda: 0
    write_frame(tmp_path, "a", expid=2)
    turn(live, lambda: len(said(live, "seen")) == 2)
    live.stop(0)  # one of its jobs runs, one waits
    redo, other = started(cameras=["a"], tag="redo")
    turn(redo, lambda: len(other.jobs) >= 2)
    assert [j.tag for j in other.jobs] == ["redo", "redo"], "the jobs of the other tag are not this daemon's"
    for job in list(other.jobs):
        other.judge(job)
        other.written(job)
    turn(redo, lambda: redo.idle)
    redo.stop(2)
    assert (tmp_path / f"out/redo/exposures/{NIGHT}/00000001/verdict.json").is_file()
    live, hand = started(cameras=["a"])
    turn(live, lambda: len(hand.jobs) == 2)
    assert [j.tag for j in hand.jobs] == ["live", "live"]


def test_a_sink_that_cannot_open_refuses_the_start_and_leaves_nothing_behind(tmp_path):
    site = bench_site(tmp_path, sinks={"files": {}, "zmq": {"endpoint": "tcp://*:5556"}})
    with pytest.raises(BadConfig, match=r"can be reached from other machines"):
        Daemon(site).start()
    failed = Daemon(bench_site(tmp_path, sinks={"files": {}, "zmq": {"endpoint": "ipc:///nowhere/at/all"}}))
    with pytest.raises(BadConfig, match=r"sink zmq cannot be opened: cannot bind ipc:///nowhere"):
        failed.start()
    assert failed._sinks.names == ["files", "zmq"]
    assert not any(s._thread.is_alive() for s in failed._sinks.running)
    good = Daemon(bench_site(tmp_path))
    good.start()  # the lock is free
    good.stop()


def test_the_raw_folder_may_come_late_and_go_away(tmp_path, started, monkeypatch, caplog):
    monkeypatch.setattr("quicklook.service.arrival.watcher._LOOK_S", 0.05)
    site_raw = tmp_path / "mount"
    daemon, hand = started(cameras=["a"], raw=str(site_raw))
    turn(daemon, lambda: said(daemon, "raw_folder"))
    shutil.copytree(tmp_path / "raw", site_raw)
    write_frame(tmp_path, "a").rename(site_raw / f"{NIGHT}_0001_a.fits")
    turn(daemon, lambda: hand.jobs)
    site_raw.rename(tmp_path / "away")
    turn(daemon, lambda: len(said(daemon, "raw_folder")) == 3)
    (tmp_path / "away").rename(site_raw)
    turn(daemon, lambda: len(said(daemon, "raw_folder")) == 4)
    assert [e.payload["there"] for e in said(daemon, "raw_folder")] == [False, True, False, True]
    assert "there is no folder" in caplog.text


# ---- a file per camera: revisions


def test_a_camera_that_comes_again_while_another_is_worked_on(tmp_path, started):
    daemon, hand = started()
    write_frame(tmp_path, "a")
    write_frame(tmp_path, "b")
    turn(daemon, lambda: len(hand.jobs) == 2)
    by_part = {j.part: j for j in hand.jobs}
    hand.judge(by_part["a"])
    hand.written(by_part["a"])
    turn(daemon, lambda: said(daemon, "verdict"))
    write_frame(tmp_path, "a", seed=1)  # changed: b is still running under revision 0
    turn(daemon, lambda: len(hand.jobs) == 3)
    new = [j for j in hand.jobs if j is not by_part["b"]]
    assert sorted((j.part, j.revision) for j in new) == [("a", 1), ("b", 1)]
    hand.judge(by_part["b"], Status.ALARM)  # of the revision that was overtaken: not said
    hand.written(by_part["b"])
    for job in new:
        hand.judge(job)
        hand.written(job)
    turn(daemon, lambda: daemon.idle)
    assert [(e.revision, e.payload["status"]) for e in said(daemon, "unit_verdict")] == [(1, "NORMAL")]
    assert sorted((e.part, e.revision) for e in said(daemon, "verdict")) == [("a", 0), ("a", 1), ("b", 1)]


def test_a_camera_whose_job_still_waits_is_done_once_with_the_new_file(tmp_path, started):
    daemon, hand = started()
    write_frame(tmp_path, "a")
    hand.free = lambda: 0
    turn(daemon, lambda: said(daemon, "seen"))
    write_frame(tmp_path, "a", seed=1)
    turn(daemon, lambda: len(said(daemon, "seen")) == 2)
    del hand.free
    turn(daemon, lambda: hand.jobs)
    assert [(j.part, j.revision) for j in hand.jobs] == [("a", 0)]


def test_what_was_judged_is_carried_into_the_next_revision(tmp_path, started):
    daemon, hand = started()
    for camera in "ab":
        write_frame(tmp_path, camera)
    turn(daemon, lambda: len(hand.jobs) == 2)
    for job in list(hand.jobs):
        hand.judge(job, Status.WARNING if job.part == "b" else Status.NORMAL)
        hand.written(job)
    turn(daemon, lambda: daemon.idle)
    write_frame(tmp_path, "a", seed=1)
    turn(daemon, lambda: hand.jobs)
    assert [(j.part, j.revision) for j in hand.jobs] == [("a", 1)]
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    assert [(e.revision, e.payload["parts"]) for e in said(daemon, "unit_verdict")] == [
        (0, {"a": "NORMAL", "b": "WARNING"}), (1, {"a": "NORMAL", "b": "WARNING"}),
    ]  # fmt: skip
    assert daemon.drain(60)
    folder = tmp_path / f"out/live/exposures/{NIGHT}/00000001"
    receipt = json.loads((folder / "receipt.json").read_text())
    assert receipt["revision"] == 1
    assert list(receipt["times_ns"].values()) == sorted(receipt["times_ns"].values())
    assert json.loads((folder / "receipt.rev0.json").read_text())["revision"] == 0


# ---- late companions


def test_a_late_companion_makes_a_new_revision_even_after_a_restart(tmp_path, started):
    options = {"cameras": ["a"], "watch": {**WATCH, "settle_s": 0.1}}
    daemon, hand = started(**options)
    write_frame(tmp_path, "a", flavor="science")
    start = time.monotonic()
    turn(daemon, lambda: hand.jobs)
    assert time.monotonic() - start > WATCH["companion_s"]
    hand.judge(hand.jobs[0], Status.UNKNOWN)
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    daemon.stop(2)
    daemon, hand = started(**options)
    for _ in range(20):
        daemon.step()
    assert not hand.jobs
    (tmp_path / "raw" / "notes-0001.txt").write_text("seeing was good")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    assert [(e.revision, e.payload["status"]) for e in said(daemon, "unit_verdict")] == [(0, "UNKNOWN"), (1, "NORMAL")]
    for _ in range(20):
        daemon.step()
    assert not hand.jobs, "it is done again once"


def test_a_companion_in_time_makes_no_second_revision(tmp_path, started):
    daemon, hand = started(cameras=["a"])
    (tmp_path / "raw" / "notes-0001.txt").write_text("seeing was good")
    write_frame(tmp_path, "a", flavor="science")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    for _ in range(40):
        daemon.step()
    assert len(said(daemon, "seen")) == 1


def test_a_journal_that_is_locked_or_gone_for_a_moment_is_waited_for(tmp_path, started, monkeypatch, caplog):
    daemon, hand = started(cameras=["a"])
    write_frame(tmp_path, "a")
    turn(daemon, lambda: hand.jobs)
    real, failing = daemon.journal.transaction, [3]

    def transaction():
        if failing[0]:
            failing[0] -= 1
            raise Transient("the journal cannot be used now: database is locked")
        return real()

    monkeypatch.setattr(daemon.journal, "transaction", transaction)
    hand.judge(hand.jobs[0])
    hand.broken(hand.jobs[0])
    with caplog.at_level(logging.ERROR):
        turn(daemon, lambda: said(daemon, "unit_verdict"))
    assert said(daemon, "unit_verdict")[0].payload["parts"] == {"a": "NORMAL"}
    with daemon.journal.reading() as connection:
        assert jobs.counts(connection, "live") == {FAILED: 1}


class SchedulerLost(Transient):
    """As an executor says it that works elsewhere."""


def test_what_another_machine_loses_is_no_attempt_that_counts(tmp_path, started, monkeypatch):
    monkeypatch.setattr(daemon_module, "RETRY_PAUSES_S", (0.01,))
    assert SchedulerLost.__name__ == LOST_ELSEWHERE
    daemon, hand = started(cameras=["a"])
    write_frame(tmp_path, "a")
    for _ in range(10):
        turn(daemon, lambda: hand.jobs)
        assert hand.jobs[0].attempts == 1
        hand.broken(hand.jobs[0], SchedulerLost("the scheduler has lost it"), retry=True)
        turn(daemon, lambda: not hand.messages)
    turn(daemon, lambda: hand.jobs)
    assert not said(daemon, "failed")


def test_why_no_work_is_handed_out_stands_in_the_heartbeat(tmp_path, started):
    daemon, hand = started(cameras=["a"])
    hand.trouble = "the scheduler is away"
    daemon._next_beat = 0.0
    before = len(said(daemon, "heartbeat"))
    turn(daemon, lambda: len(said(daemon, "heartbeat")) > before)
    assert said(daemon, "heartbeat")[-1].payload["work_trouble"] == "the scheduler is away"


def test_what_may_pass_is_tried_three_times_more_with_growing_pauses(tmp_path, started, monkeypatch):
    assert list(daemon_module.RETRY_PAUSES_S) == sorted(daemon_module.RETRY_PAUSES_S)
    monkeypatch.setattr(daemon_module, "RETRY_PAUSES_S", (0.01, 0.02, 0.03))
    pauses, later = list[float](), jobs.retry_later
    monkeypatch.setattr(jobs, "retry_later", lambda c, i, ns, *rest: (pauses.append((ns - time.time_ns()) / 1e9), later(c, i, ns, *rest)))
    daemon, hand = started(cameras=["a"])
    write_frame(tmp_path, "a")
    for attempt in range(1, 5):
        turn(daemon, lambda: hand.jobs)
        assert hand.jobs[0].attempts == attempt
        hand.broken(hand.jobs[0], Transient("the network is away"), retry=True)
        turn(daemon, lambda: not hand.messages)
    turn(daemon, lambda: said(daemon, "failed"))
    assert said(daemon, "failed")[0].payload["failure"]["message"] == "the network is away"
    assert pauses == pytest.approx([0.01, 0.02, 0.03], abs=0.009)
