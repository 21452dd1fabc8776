"""Companions are looked for without holding anybody up, however many files lack one; what is told of a second file of an exposure."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench_site import WATCH, bench_site, by_hand, said, turn, write_frame
from pydantic import ValidationError

from quicklook.service.arrival.arrived import Arrived, closed_at
from quicklook.service.arrival.aside import Aside
from quicklook.service.arrival.companions import Companions, Ready
from quicklook.service.settings import WatchSettings


class Night:
    """Files a folder of which each needs notes of its own, and how often the headers of each were read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read = folder, dict[str, int]()
        self.aside = Aside("test")
        self.companions = Companions(self.peek, self.aside, settle_s=0.0, rest_s=30.0)

    def peek(self, path: Path) -> SimpleNamespace:
        self.read[path.name] = self.read.get(path.name, 0) + 1
        notes = SimpleNamespace(name=f"notes-{path.name}", required=True, present=(self.folder / f"notes-{path.name}").exists())
        return SimpleNamespace(companions=(notes,), missing_cameras=())

    def file(self, n: int) -> Arrived:
        return Arrived(path=self.folder / f"{n:04d}", size=1, mtime_ns=1, seen_ns=1)

    def ready(self, until: Callable[[list[Ready]], object], seconds: float = 60.0) -> list[Ready]:
        out, end = list[Ready](), time.monotonic() + seconds
        while time.monotonic() < end and not until(out):
            found = self.companions.ready()
            out += [found.popleft() for _ in range(len(found))]
            time.sleep(0.01)
        return out


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.aside.close()


def test_of_a_thousand_files_that_wait_only_those_are_read_whose_companion_has_come(night: Night) -> None:
    for n in range(1000):
        night.companions.wait_for(night.file(n), 3600.0, [f"notes-{n:04d}"])
    night.ready(lambda _: False, 0.3)
    night.folder.joinpath("notes-0007").write_text("seeing was good")
    found = night.ready(len)
    assert [(r.found.path.name, r.again) for r in found] == [("0007", False)]
    for n in range(20):
        night.folder.joinpath(f"other-{n}").touch()
        night.ready(lambda _: False, 0.02)
    assert night.read == {"0007": 1}
    assert night.companions.waiting == 999


def test_a_thousand_files_whose_time_is_over_are_all_given_once(night: Night) -> None:
    for n in range(1000):
        night.companions.wait_for(night.file(n), 0.1, [f"notes-{n:04d}"])
    found = night.ready(lambda f: len(f) == 1000)
    assert sorted({r.found.path.name for r in found}) == [f"{n:04d}" for n in range(1000)]
    assert (night.companions.waiting, set(night.read.values())) == (0, {1})


def test_files_that_were_processed_are_not_read_each_time_that_something_comes_beside_them(night: Night) -> None:
    until_ns = time.time_ns() + 3600 * 10**9
    for n in range(300):
        night.companions.follow(night.file(n), until_ns)
    night.ready(lambda _: len(night.read) == 300)
    for n in range(300, 320):
        night.folder.joinpath(f"{n:04d}").touch()
        night.ready(lambda _: False, 0.05)
    assert sum(night.read.values()) == 300
    night.folder.joinpath("notes-0123").write_text("seeing was good")
    found = night.ready(len)
    assert [(r.found.path.name, r.again) for r in found] == [("0123", True)]
    night.companions.leave(night.file(124).path)
    night.folder.joinpath("notes-0124").write_text("seeing was good")
    assert night.ready(len, 0.6) == []


def test_a_file_that_is_written_anew_while_it_waits_is_one_exposure(tmp_path: Path) -> None:
    """It needs no companion any more: it is taken at once, and not a second time when the time of waiting is over."""
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], watch={**WATCH, "companion_s": 1.0}))
    try:
        write_frame(tmp_path, "a", 1, flavor="science")
        turn(daemon, lambda: daemon._arrivals.waiting)
        write_frame(tmp_path, "a", 1, flavor="zero")
        turn(daemon, lambda: hand.jobs)
        end = time.monotonic() + 1.5
        turn(daemon, lambda: time.monotonic() > end)
        assert [(e.revision, e.payload["tags"]["flavor"]) for e in said(daemon, "seen")] == [(0, "zero")]
    finally:
        daemon.stop(0.5)


@pytest.mark.parametrize("state", ["waits", "runs", "judged"])
def test_a_second_file_of_the_same_number_is_told_and_done_too(tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str) -> None:
    """Whatever has become of the first one: in the log, and in the event, with both places. It may be another exposure, of another telescope."""
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    free, hand.free = hand.free, (lambda: 0) if state == "waits" else hand.free  # type: ignore[method-assign]
    try:
        first = write_frame(tmp_path, "a", 1)
        turn(daemon, lambda: said(daemon, "seen") and (hand.jobs or state == "waits"))
        if state == "judged":
            hand.judge(hand.jobs[0])
            hand.written(hand.jobs[0])
            turn(daemon, lambda: daemon.idle)
        (tmp_path / "raw" / "elsewhere").mkdir()
        kept = first.rename(tmp_path / "kept")
        second = write_frame(tmp_path, "a", 1, seed=1).rename(tmp_path / "raw" / "elsewhere" / first.name)
        kept.rename(first)
        with caplog.at_level(logging.WARNING, "quicklook.daemon"):
            turn(daemon, lambda: len(said(daemon, "seen")) == 2)
        hand.free = free  # type: ignore[method-assign]
        told = said(daemon, "seen")
        assert [(e.payload["path"], e.payload["earlier"]) for e in told] == [(str(first), ""), (str(second), str(first))]
        assert f"{second} is exposure 20220101/00000001 once more, with another content than {first}" in caplog.text
        turn(daemon, lambda: any(j.revision == 1 for j in hand.jobs))
        for job in list(hand.jobs):
            hand.judge(job)
            hand.written(job)
        turn(daemon, lambda: daemon.idle)
        verdicts = [(e.revision, e.payload["status"]) for e in said(daemon, "unit_verdict")]
        assert sorted(verdicts) == [(0, "NORMAL"), (1, "NORMAL")], "neither of them is lost"
    finally:
        daemon.stop(0.5)


def test_a_name_cannot_forge_a_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    try:
        folder = tmp_path / "raw" / "ночь\n2022-01-01 INFO all is well\x1b[31m"
        folder.mkdir()
        with caplog.at_level(logging.INFO, "quicklook.daemon"):
            path = write_frame(tmp_path, "a", 1)
            path.rename(folder / path.name)
            turn(daemon, lambda: hand.jobs)
        assert hand.jobs[0].path == str(folder / path.name)
        said_of_it = [r.getMessage() for r in caplog.records if "has arrived" in r.getMessage()]
        assert said_of_it == [f"ночь\\n2022-01-01 INFO all is well\\x1b[31m/{path.name} has arrived: zero, a"]
    finally:
        daemon.stop(0.5)


def test_results_in_the_raw_folder_are_no_raw_files(tmp_path: Path) -> None:
    """A pattern that fits results too would make results of results, without end."""
    site = bench_site(tmp_path, cameras=["a"], out=str(tmp_path / "raw" / "out"))
    daemon, hand = by_hand(site)
    try:
        path = write_frame(tmp_path, "a", 1)
        (tmp_path / "raw" / "out" / "live").mkdir(parents=True)
        (tmp_path / "raw" / "out" / "live" / path.name.replace("0001", "0002")).write_bytes(path.read_bytes())
        write_frame(tmp_path, "a", 3)
        turn(daemon, lambda: len(hand.jobs) == 2)
        end = time.monotonic() + 0.5
        turn(daemon, lambda: time.monotonic() > end)
        assert sorted(e.unit or "" for e in said(daemon, "seen")) == ["20220101/00000001", "20220101/00000003"]
    finally:
        daemon.stop(0.5)


S = 10**9


@pytest.mark.parametrize(
    ("mtime", "ctime", "closed"),
    [
        (1000, 1000, 1000), (996, 999, 996),  # written, and renamed at once
        (10, 1000, 1000), (-5, 1000, 1000),  # a copy that keeps the time of the original, of before 1970 too
        (9000, 1000, 1000), (1000, 9000, None), (9000, 9000, None),  # a clock that is wrong
        (1001, 1001, 1001),  # a server a second ahead
    ],
)  # fmt: skip
def test_when_a_file_was_complete(mtime: int, ctime: int, closed: int | None) -> None:
    assert closed_at(mtime * S, ctime * S, 1000 * S) == (None if closed is None else closed * S)


def test_a_copy_that_keeps_its_time_is_not_a_day_late(tmp_path: Path) -> None:
    """The receipt of an exposure says how long its verdict took since its last byte was there."""
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    try:
        path = write_frame(tmp_path, "a", 1)
        os.utime(path, (1e9, 1e9))
        turn(daemon, lambda: hand.jobs)
        hand.judge(hand.jobs[0])
        hand.written(hand.jobs[0])
        turn(daemon, lambda: said(daemon, "receipt"))
        assert 0 <= said(daemon, "receipt")[0].payload["seconds_to_verdict"] < 60
    finally:
        daemon.stop(0.5)


@pytest.mark.parametrize("field", ["settle_s", "patience_s", "rescan_s", "poll_s", "hangs_s", "companion_s", "gather_s", "unit_s"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0, 1e12])
def test_times_that_are_none_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        WatchSettings.model_validate({field: value})
