"""Calibrations made while the daemon waits: groups that are due, and what is taken over into the index."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from bench_site import NIGHT, ByHand, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.core.events import CalibrationMade, draft
from quicklook.core.status import Status
from quicklook.io.calibstore import FolderStore
from quicklook.service.daemon import Daemon
from quicklook.service.running.outcomes import Outcomes
from quicklook.service.site import load_site
from quicklook.service.workers.worker import Assembled


def site_of(folder: Path, count: int = 5, **more: Any) -> Any:
    given = {"cameras": ["a"], "calib": str(folder / "calib"), "build": {"bias": {"count": count}}, "adopt": {"kinds": ["bias"]}, **more}
    return bench_site(folder, **given)


def arrive(daemon: Daemon, hand: ByHand, folder: Path, expid: int, status: Status = Status.NORMAL, flavor: str = "zero") -> None:
    """An exposure comes, and its only camera gets that verdict; builds are left where they are."""
    before = len(said(daemon, "verdict"))
    write_frame(folder, "a", expid, flavor=flavor)
    turn(daemon, lambda: bool(hand.jobs))
    job = hand.jobs[0]
    hand.judge(job, status)
    turn(daemon, lambda: len(said(daemon, "verdict")) > before)
    hand.written(job)
    turn(daemon, lambda: not hand.messages)
    daemon.step()


def assembled(daemon: Daemon, hand: ByHand, status: Status = Status.NORMAL) -> None:
    job = hand.builds[0]
    hand.builds.remove(job)
    made = CalibrationMade(name="bias", by="bias", path="x.fits", status=status, adopted=status is Status.NORMAL)
    hand.messages.append(Assembled(job, status, (draft(made, unit=job.unit, part=job.part, tag=job.tag),)))
    turn(daemon, lambda: not hand.messages)
    daemon.step()


def test_a_group_is_built_when_enough_of_it_are_in_order(tmp_path: Path) -> None:
    daemon, hand = by_hand(site_of(tmp_path, 5))
    for i, status in enumerate((Status.NORMAL, Status.ALARM, Status.WARNING, Status.NORMAL, Status.UNKNOWN, Status.NORMAL), start=1):
        arrive(daemon, hand, tmp_path, i, status)
    arrive(daemon, hand, tmp_path, 7, flavor="dark")
    assert hand.builds == []
    arrive(daemon, hand, tmp_path, 8)
    turn(daemon, lambda: bool(hand.builds))
    job = hand.builds[0]
    assert (job.builder, job.part, str(job.unit)) == ("bias", "a", f"{NIGHT}/00000001")
    assert [Path(p).name for p in job.files] == [f"{NIGHT}_{i:04d}_a.fits" for i in (1, 3, 4, 6, 8)]
    assert not daemon.idle
    assembled(daemon, hand)
    assert [e.payload["adopted"] for e in said(daemon, "calibration")] == [True]
    arrive(daemon, hand, tmp_path, 9)
    assert hand.builds == []  # once a night
    daemon.stop()


def test_no_build_while_an_exposure_waits(tmp_path: Path) -> None:
    daemon, hand = by_hand(site_of(tmp_path, 5))
    for i in range(1, 5):
        arrive(daemon, hand, tmp_path, i)
    hand.free = lambda: 1 - hand.running()  # type: ignore[method-assign]
    write_frame(tmp_path, "a", 5)
    turn(daemon, lambda: bool(hand.jobs))
    write_frame(tmp_path, "a", 6, flavor="arc")
    turn(daemon, lambda: len(said(daemon, "seen")) == 6)
    zero = hand.jobs[0]
    hand.judge(zero)
    hand.written(zero)
    turn(daemon, lambda: bool(hand.jobs))
    assert not hand.builds
    assert hand.jobs[0].flavor == "arc"
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: bool(hand.builds))
    daemon.stop()


def test_of_several_workers_one_is_left_free(tmp_path: Path) -> None:
    daemon, hand = by_hand(site_of(tmp_path, 5))
    hand.warm = lambda: 2  # type: ignore[method-assign]
    hand.free = lambda: 1  # type: ignore[method-assign]
    for i in range(1, 6):
        arrive(daemon, hand, tmp_path, i)
    assert not hand.builds
    hand.free = lambda: 2  # type: ignore[method-assign]
    turn(daemon, lambda: bool(hand.builds))
    daemon.stop()


def test_one_that_is_not_good_is_built_again_with_the_next_exposure(tmp_path: Path) -> None:
    daemon, hand = by_hand(site_of(tmp_path, 5))
    for i in range(1, 6):
        arrive(daemon, hand, tmp_path, i)
    assembled(daemon, hand, Status.WARNING)
    arrive(daemon, hand, tmp_path, 6, Status.ALARM)
    assert not hand.builds
    arrive(daemon, hand, tmp_path, 7)
    turn(daemon, lambda: bool(hand.builds))
    assert len(hand.builds[0].files) == 6
    daemon.stop()


def test_what_fails_in_passing_is_tried_again_and_then_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.daemon.RETRY_PAUSES_S", (0.01,))
    daemon, hand = by_hand(site_of(tmp_path, 5))
    for i in range(1, 6):
        arrive(daemon, hand, tmp_path, i)
    for attempt in (1, 2, 3, 4):
        turn(daemon, lambda: bool(hand.builds))
        assert hand.builds[0].attempts == attempt
        hand.broken(hand.builds[0], Transient("the disk is away"), retry=True)
        turn(daemon, lambda: not hand.messages)
    turn(daemon, lambda: bool(said(daemon, "failed")))
    assert said(daemon, "failed")[0].payload["failure"]["message"] == "the disk is away"
    assert daemon.idle
    daemon.stop()


class SchedulerLost(Transient):
    """As an executor says it that works elsewhere."""


@pytest.mark.parametrize("error", [SchedulerLost("the scheduler has lost it"), NoSpace("no room for the master")])
def test_what_says_nothing_of_the_group_is_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("quicklook.service.daemon.RETRY_PAUSES_S", (0.01,))
    daemon, hand = by_hand(site_of(tmp_path, 5))
    for i in range(1, 6):
        arrive(daemon, hand, tmp_path, i)
    for _ in range(6):
        turn(daemon, lambda: bool(hand.builds))
        assert hand.builds[0].attempts == 1
        hand.broken(hand.builds[0], error, retry=True)
        turn(daemon, lambda: not hand.messages)
    turn(daemon, lambda: bool(hand.builds))
    assert not said(daemon, "failed")
    daemon.stop()


def test_a_build_that_ends_the_daemon_in_whose_process_it_runs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outcomes, "leave", lambda _self: None)  # a process that dies does not say so
    daemon, hand = by_hand(site_of(tmp_path, 5, work={"executor": "inline", "attempts": 2}))
    for i in range(1, 6):
        arrive(daemon, hand, tmp_path, i)
    for attempt in (1, 2):
        turn(daemon, lambda: bool(hand.builds))
        assert hand.builds[0].attempts == attempt
        daemon.stop()
        daemon, hand = by_hand(site_of(tmp_path, 5, work={"executor": "inline", "attempts": 2}))
    turn(daemon, lambda: bool(said(daemon, "failed")))
    assert (said(daemon, "failed")[0].payload["failure"]["error"], hand.builds) == ("DaemonLost", [])
    turn(daemon, lambda: daemon.idle)
    daemon.stop()


def test_a_build_that_a_crash_has_cut_off_is_done_again(tmp_path: Path) -> None:
    daemon, hand = by_hand(site_of(tmp_path, 5))
    for i in range(1, 6):
        arrive(daemon, hand, tmp_path, i)
    turn(daemon, lambda: bool(hand.builds))
    daemon.stop()
    daemon, hand = by_hand(site_of(tmp_path, 5))
    turn(daemon, lambda: bool(hand.builds))
    assert hand.builds[0].attempts == 1, "that the daemon was stopped is no attempt"
    daemon.stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calib": ""}, "can only be adopted into a folder"),
        ({"build": {"bias": {"count": 2}}}, "needs 5 exposures at least, count is 2"),
        ({"build": {"bias": {"count": 5, "flavor": "arc"}}}, "builder bias is for zero, not for arc"),
        ({"build": {"bais": {"count": 5}}}, "did you mean 'bias'"),
        ({"build": {"bias": {"count": 0}}}, "must be 1 or greater"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        Daemon(site_of(tmp_path, **options))


def test_a_kind_without_a_form_on_disk_is_refused_at_the_start(tmp_path: Path) -> None:
    daemon = Daemon(site_of(tmp_path, adopt={"kinds": ["bias", "nonsense"]}))
    with pytest.raises(BadConfig, match="kind 'nonsense' have no form on disk"):
        daemon.start()


def test_nothing_is_taken_over_unless_it_is_wanted(tmp_path: Path) -> None:
    site = bench_site(tmp_path, cameras=["a"], calib="", build={"bias": {"count": 5}}, **_plain(tmp_path))
    daemon = Daemon(site)
    daemon.start()
    for i in range(1, 6):
        write_frame(tmp_path, "a", i)
    turn(daemon, lambda: bool(said(daemon, "calibration")) and bool(_drawn(daemon)), seconds=120.0)
    assert [e.unit for e in _drawn(daemon)] == [None]  # of no exposure: the receipt of the first one must not change
    daemon.stop()
    event = said_of(tmp_path)[0]
    assert (event["status"], event["adopted"], event["made_from"]) == ("NORMAL", False, [1, 2, 3, 4, 5])
    assert Path(event["path"]).is_relative_to(tmp_path / "out" / "live" / "calib")
    assert not (tmp_path / "calib").exists()
    drawn = tmp_path / f"out/live/calib/bias-a-{NIGHT}-00000001/plots/bias_structure-a.png"
    assert drawn.stat().st_size > 1000


def test_the_index_is_made_for_workers_to_find(tmp_path: Path) -> None:
    daemon = Daemon(site_of(tmp_path))
    daemon.start()
    assert FolderStore(tmp_path / "calib").entries() == ()
    daemon.stop()


def _drawn(daemon: Daemon) -> list[Any]:
    return [e for e in said(daemon, "plot") if e.payload["name"] == "bias_structure"]


def _plain(folder: Path) -> dict[str, Any]:
    """A chain without the checks of the header: the frames of the bench have no date."""
    path = folder / "plain.yaml"
    path.write_text("chain: plain\nsteps:\n  - {name: read, qas: [dead_amp, read_noise]}\n")
    return {"chains": {"_default": str(path)}, "plots": True, "sinks": {"files": {}, "render": {}}}


def said_of(folder: Path) -> list[dict[str, Any]]:
    """Payloads of the events on calibrations in the journal of a site that has stopped."""
    from quicklook.service.journal.journal import Journal

    journal = Journal(folder / "out" / "journal.sqlite", time.time_ns)
    found = [dict(e.payload) for e in journal.events(limit=10_000, kinds=("calibration",))]
    journal.close()
    return found


@pytest.mark.long
def test_a_night_that_calibrates_itself(tmp_path: Path) -> None:
    """Five zeros, an arc and a flat: the science exposure after them is worked on with what was made from them."""
    from quicklook.sim import WriteOptions, plan_exposure, sim_instruments, write_calibrations, write_exposure

    cameras = sim_instruments(("r0",), scale="small")
    write_calibrations(tmp_path, cameras)
    given = {
        "instrument": "desi", "raw": str(tmp_path / "raw"), "calib": str(tmp_path / "calib"), "out": str(tmp_path / "out"),
        "work": {"executor": "inline"}, "sinks": {"files": {}}, "watch": {"settle_s": 0.0, "mode": "polling", "poll_s": 0.1},
        "adopt": {"kinds": ["bias", "psf", "fiberflat"]}, "build": {"bias": {"count": 5}},
    }  # fmt: skip
    daemon = Daemon(load_site(None, options=given))
    (tmp_path / "raw").mkdir(exist_ok=True)
    daemon.start()
    for number, flavor in ((10, "zero"), (11, "zero"), (12, "zero"), (13, "zero"), (14, "zero"), (20, "arc"), (30, "flat"), (40, "science")):
        before = len(said(daemon, "unit_verdict"))
        write_exposure(tmp_path, plan_exposure(flavor, number), cameras, WriteOptions(truth=False))  # type: ignore[arg-type]
        turn(daemon, lambda n=before: len(said(daemon, "unit_verdict")) > n and daemon.idle, seconds=200.0)  # type: ignore[misc]
    daemon.stop()
    made = {e["name"]: e for e in said_of(tmp_path)}
    assert {k: (e["adopted"], e["made_from"]) for k, e in made.items()} == {
        "bias": (True, [10, 11, 12, 13, 14]), "psf": (True, [20]), "fiberflat": (True, [30]),
    }  # fmt: skip
    result = json.loads(next((tmp_path / "out").rglob("qa-r0-00000040.json")).read_text())
    assert result["status"] == "NORMAL"
    used = {c["kind"]: c for c in result["provenance"]["calibrations"]}
    for kind, event in made.items():
        assert (used[kind]["source"], used[kind]["chosen_as"]) == (event["path"], "night")
    assert Path(used["dark"]["source"]).name == "dark-r0.fits"  # of the tree, as before
    assert [e.kind for e in FolderStore(tmp_path / "calib").entries()] == ["bias", "psf", "fiberflat"]
