"""A file system that does not answer costs nobody but its own files; what cannot be looked into is said, and taken when it can."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_site import WATCH, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadData, Transient
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.aside import Aside, NoAnswer
from quicklook.service.arrival.watcher import Watcher


class Gate:
    """Calls go through it; while it is shut they do not come back, as on a hard mount whose server is gone."""

    def __init__(self) -> None:
        self.open, self.held = threading.Event(), 0
        self.open.set()

    def before(self, real: Callable[..., object]) -> Callable[..., object]:
        """`real`, behind the gate."""

        def call(*args: object, **more: object) -> object:
            self.held += 1
            self.open.wait(60)
            self.held -= 1
            return real(*args, **more)

        return call


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


# ---- calls in a thread of their own


def test_an_answer_that_comes_late_is_kept_for_who_asked(gate: Gate) -> None:
    told, aside, calls = threading.Event(), Aside("test"), list[int]()
    aside._late = told.set
    assert aside.ask("a", lambda: 1) == 1
    assert not told.is_set(), "who waits for the answer need not be woken"
    gate.open.clear()

    def slow() -> int:
        calls.append(1)
        gate.open.wait(60)
        return 2

    for key in ("b", "b", "c"):
        with pytest.raises(NoAnswer):
            aside.ask(key, slow, 0.01)
    assert aside.busy
    assert aside.out_s > 0
    gate.open.set()
    assert told.wait(60)
    assert aside.ask("c", lambda: 3, 60) == 3
    assert aside.ask("b", slow, 0) == 2
    assert (len(calls), aside.busy, aside.out_s) == (1, False, 0.0)
    aside.close()


def test_what_a_call_raises_is_raised_where_it_is_asked_for() -> None:
    aside = Aside("test")
    with pytest.raises(ZeroDivisionError):
        aside.ask("a", lambda: 1 / 0, 10)
    assert aside.ask("a", lambda: 1, 10) == 1
    aside.close()


# ---- the daemon beside a file system that hangs


def test_a_file_system_that_hangs_costs_nothing_but_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """stat(2) of the folder does not return: verdicts go on, it is said, and all is taken once when it does return."""
    from quicklook.service.arrival import watcher

    monkeypatch.setattr(watcher, "identity", gate.before(watcher.identity))
    monkeypatch.setattr(watcher, "_LOOK_S", 0.0)
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], watch={**WATCH, "hangs_s": 0.3}))
    try:
        write_frame(tmp_path, "a", 1)
        turn(daemon, lambda: hand.jobs)
        gate.open.clear()
        turn(daemon, lambda: gate.held)
        write_frame(tmp_path, "a", 2)
        hand.judge(hand.jobs[0])
        hand.written(hand.jobs[0])
        turn(daemon, lambda: said(daemon, "unit_verdict"))
        turn(daemon, lambda: said(daemon, "raw_folder"))
        (entered,) = said(daemon, "seen")
        assert not daemon.idle
        daemon._next_beat = 0.0
        longest = 0.0
        for _ in range(5):
            start = time.monotonic()
            daemon.step()
            longest = max(longest, time.monotonic() - start)
        assert longest < 15  # a turn rests for a second at most where there is nothing to do; the look is out for a minute
        beat = said(daemon, "heartbeat")[-1].payload
        (told,) = said(daemon, "raw_folder")
        assert told.payload["there"] is False
        assert "does not answer" in told.payload["trouble"]
        assert beat["raw_trouble"] == told.payload["trouble"]
        gate.open.set()
        turn(daemon, lambda: hand.jobs)
        turn(daemon, lambda: len(said(daemon, "raw_folder")) == 2)
        assert said(daemon, "raw_folder")[1].payload == {"path": str(tmp_path / "raw"), "there": True, "trouble": ""}
        assert [e.unit for e in said(daemon, "seen")] == [entered.unit, "20220101/00000002"]
    finally:
        daemon.stop(0.5)


def test_work_waits_while_raw_files_cannot_be_read_and_what_hung_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """A worker that hangs in a raw file is killed at its deadline, time and again; that must not use up the attempts of each exposure of a night."""
    from quicklook.service.arrival import watcher
    from quicklook.service.running import outcomes as module

    monkeypatch.setattr(module, "FULL_DISK_PAUSE_S", 0.0)
    monkeypatch.setattr(watcher, "identity", gate.before(watcher.identity))
    monkeypatch.setattr(watcher, "_LOOK_S", 0.0)
    site = bench_site(tmp_path, cameras=["a"], watch={**WATCH, "hangs_s": 0.1}, work={"executor": "inline", "attempts": 1})
    daemon, hand = by_hand(site)
    try:
        free, hand.free = hand.free, lambda: 1 - hand.running()  # type: ignore[method-assign]
        write_frame(tmp_path, "a", 1)
        write_frame(tmp_path, "a", 2)
        turn(daemon, lambda: len(said(daemon, "seen")) == 2 and hand.jobs)
        gate.open.clear()
        turn(daemon, lambda: said(daemon, "raw_folder"))
        hand.broken(hand.jobs[0], Transient("step read took longer than 60 s"), retry=True)
        for _ in range(10):
            daemon.step()
        assert hand.jobs == [], "nobody begins what would hang"
        hand.free = free  # type: ignore[method-assign]
        gate.open.set()
        turn(daemon, lambda: len(hand.jobs) == 2)
        assert said(daemon, "failed") == []
    finally:
        daemon.stop(0.5)


def test_the_daemon_starts_and_stops_while_the_file_system_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    from quicklook.service.arrival import lookout, watcher

    monkeypatch.setattr(lookout, "_START_S", 0.2)
    monkeypatch.setattr(watcher, "identity", gate.before(watcher.identity))
    gate.open.clear()
    write_frame_in = bench_site(tmp_path, cameras=["a"], watch={**WATCH, "hangs_s": 0.1})
    write_frame(tmp_path, "a", 1)
    daemon, hand = by_hand(write_frame_in)
    turn(daemon, lambda: said(daemon, "raw_folder"))
    gate.open.set()
    turn(daemon, lambda: hand.jobs)
    gate.open.clear()
    monkeypatch.setattr(watcher, "_LOOK_S", 0.0)
    turn(daemon, lambda: gate.held)
    start = time.monotonic()
    daemon.stop(0.5)
    assert time.monotonic() - start < 30, "it has waited for the look that is out for a minute"


def test_a_companion_that_cannot_be_looked_for_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """Nor does a file that is compared with another one of its exposure, byte by byte."""
    from quicklook.service.arrival import duplicates

    monkeypatch.setattr(duplicates.filecmp, "cmp", gate.before(duplicates.filecmp.cmp))
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    try:
        raw = write_frame(tmp_path, "a", 1)
        turn(daemon, lambda: hand.jobs)
        gate.open.clear()
        other = tmp_path / "raw" / "copies"
        other.mkdir()
        (other / raw.name).write_bytes(raw.read_bytes())
        turn(daemon, lambda: gate.held)
        write_frame(tmp_path, "a", 2)
        turn(daemon, lambda: len(hand.jobs) == 2)
        assert daemon._arrivals.waiting
        gate.open.set()
        turn(daemon, lambda: not daemon._arrivals.waiting)
        assert [e.unit[-4:] for e in said(daemon, "seen")] == ["0001", "0002"]
        assert [j.revision for j in hand.jobs] == [0, 0]
    finally:
        daemon.stop(0.5)


# ---- what may not be read


def check(path: Path) -> None:
    """As a reader does; root may read everything, so it is told by the mode."""
    if not path.stat().st_mode & 0o400:
        raise BadData(f"{path} may not be read") from PermissionError(13, "Permission denied")


def collect(watcher: Watcher, until: Callable[[list[Arrived | Rejected]], object], seconds: float = 60.0) -> list[Arrived | Rejected]:
    found, end = list[Arrived | Rejected](), time.monotonic() + seconds
    while time.monotonic() < end and not until(found):
        found += watcher.poll()
        time.sleep(0.005)
    return found


def watcher_of(folder: Path, mode: str, rescan_s: float, check: Callable[[Path], object] = check) -> Watcher:
    made = Watcher(
        folder, wanted=lambda p: p.suffix == ".raw", check=check, wake=lambda: None, mode=mode, settle_s=0.0, rescan_s=rescan_s, poll_s=0.02
    )
    made.start()
    return made


@pytest.mark.parametrize(("mode", "rescan_s"), [("inotify", 3600.0), ("inotify", 0.1), ("polling", 0.1)])
def test_a_file_that_may_not_be_read_is_taken_when_it_may(tmp_path: Path, mode: str, rescan_s: float) -> None:
    """By the notification of chmod where there are any, else by the next scan."""
    (tmp_path / "a.raw").write_bytes(b"x")
    (tmp_path / "a.raw").chmod(0)
    watcher = watcher_of(tmp_path, mode, rescan_s)
    try:
        found = collect(watcher, len)
        assert isinstance(found[0], Rejected)
        assert found[0].barred
        if rescan_s < 1:
            watcher._let_go()  # as on a file system that does not tell
        (tmp_path / "a.raw").chmod(0o600)
        found = [f for f in collect(watcher, lambda f: any(isinstance(one, Arrived) for one in f)) if isinstance(f, Arrived)]
        assert [f.path.name for f in found] == ["a.raw"]
        assert collect(watcher, lambda _: False, 0.3) == []
    finally:
        watcher.stop()


def test_what_cannot_be_read_for_long_is_refused_and_tried_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.arrival.candidates._TRANSIENT_S", 0.1)
    fails = [True]

    def broken(_path: Path) -> None:
        if fails:
            raise Transient("Input/output error")

    (tmp_path / "a.raw").write_bytes(b"x")
    watcher = watcher_of(tmp_path, "polling", 0.1, broken)
    try:
        assert isinstance(collect(watcher, len)[0], Rejected)
        fails.clear()
        assert collect(watcher, lambda f: any(isinstance(one, Arrived) for one in f))
    finally:
        watcher.stop()


def test_that_it_may_not_be_read_is_told_once_and_after_a_restart_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quicklook.io.reader import FitsReader

    real, site = FitsReader.peek, bench_site(tmp_path, cameras=["a"], watch={**WATCH, "rescan_s": 0.05})
    monkeypatch.setattr(FitsReader, "peek", lambda self, path: (check(Path(path)), real(self, path))[1])
    path = write_frame(tmp_path, "a", 1)
    path.chmod(0)
    for life in (1, 2):
        daemon, _hand = by_hand(site)
        scans = daemon.watcher._scans.number + 4
        turn(daemon, lambda daemon=daemon, scans=scans: said(daemon, "refused") and daemon.watcher._scans.number > scans)  # type: ignore[misc]
        assert len(said(daemon, "refused")) == 1, life
        assert said(daemon, "refused")[0].payload["path"] == str(path)
        daemon.stop(0.5)
    stat = path.stat()
    path.chmod(0o600)
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    daemon, hand = by_hand(site)
    turn(daemon, lambda: hand.jobs)
    daemon.stop(0.5)


def test_a_file_for_which_there_was_no_chain_is_taken_when_there_is_one(tmp_path: Path) -> None:
    """The file is not at fault: mending the configuration is enough."""
    (tmp_path / "raw").mkdir()
    write_frame(tmp_path, "a", 1, flavor="arc")
    daemon, _hand = by_hand(bench_site(tmp_path, cameras=["a"], chains={"zero": "raw"}))
    turn(daemon, lambda: said(daemon, "refused"))
    assert "arc" in said(daemon, "refused")[0].payload["failure"]["message"]
    daemon.stop(0.5)
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    turn(daemon, lambda: hand.jobs)
    assert len(said(daemon, "refused")) == 1
    daemon.stop(0.5)


def test_a_folder_that_may_not_be_looked_into_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of a night, and the folder of all: nothing of it is seen, which nobody may take for a quiet night."""
    from quicklook.service.arrival import tree

    shut, scan, access = [tmp_path / "raw" / "20220101"], os.scandir, os.access

    def scandir(folder: str) -> object:
        if Path(folder) in shut:
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(tree.os, "scandir", scandir)
    monkeypatch.setattr(tree.os, "access", lambda path, mode: Path(path) not in shut and access(path, mode))
    monkeypatch.setattr("quicklook.service.arrival.watcher._LOOK_S", 0.05)
    site = bench_site(tmp_path, cameras=["a"])
    shut[0].mkdir()
    daemon, hand = by_hand(site)
    try:
        turn(daemon, lambda: said(daemon, "raw_folder"))
        write_frame(tmp_path, "a", 1)
        turn(daemon, lambda: hand.jobs)
        shut[:] = [tmp_path / "raw"]
        turn(daemon, lambda: len(said(daemon, "raw_folder")) >= 2 and not said(daemon, "raw_folder")[-1].payload["there"])
        assert not daemon.watcher.pending
        shut.clear()
        turn(daemon, lambda: said(daemon, "raw_folder")[-1].payload["there"])
        told = [(e.payload["there"], e.payload["trouble"]) for e in said(daemon, "raw_folder")]
        assert told[0][0] is True
        assert "20220101 cannot be looked into: Permission denied" in told[0][1]
        assert ("may not be looked into: permission denied" in told[-2][1], told[-2][0], told[-1]) == (True, False, (True, ""))
    finally:
        daemon.stop(0.5)
