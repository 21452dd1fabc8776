"""What the watcher remembers is bounded by what is in the tree, not by all that was ever in it; nothing is done twice for that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_site import WATCH, bench_site, by_hand, said, turn, write_frame

from quicklook.core.errors import BadData
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.watcher import Watcher


def check(path: Path) -> None:
    if path.read_bytes() == b"garbage":
        raise BadData("garbage")


@pytest.fixture(params=["inotify", "polling"])
def watcher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watcher]:
    made = Watcher(
        tmp_path, wanted=lambda p: p.suffix == ".raw", check=check, wake=lambda: None, mode=request.param, settle_s=0.0, rescan_s=0.05, poll_s=0.02
    )
    made.start()
    yield made
    made.stop()


def poll(watcher: Watcher, until: Callable[[list[Arrived | Rejected]], object]) -> list[Arrived | Rejected]:
    found, end = list[Arrived | Rejected](), time.monotonic() + 60
    while not until(found):
        assert time.monotonic() < end, (found, watcher._dealt)
        found += watcher.poll()
        time.sleep(0.005)
    return found


def scans(watcher: Watcher, number: int = 4) -> list[Arrived | Rejected]:
    """What is found while the whole tree is scanned so often; the last one may not be over."""
    last = watcher._scans.number + number
    return poll(watcher, lambda _: watcher._scans.number >= last)


def test_files_that_are_gone_are_forgotten_and_others_are_not(watcher: Watcher, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n:02d}").mkdir()
        (tmp_path / f"{n:02d}" / "x.raw").write_bytes(b"garbage" if n % 2 else b"good")
    watcher.known(tmp_path / "99" / "x.raw", 4, 1)  # of an earlier life, archived since
    poll(watcher, lambda found: len(found) == 20)
    assert scans(watcher) == []
    assert (len(watcher._dealt), len(watcher._dealt.refused)) == (20, 10)
    for n in range(18):
        (tmp_path / f"{n:02d}" / "x.raw").unlink()
        (tmp_path / f"{n:02d}").rmdir()
    poll(watcher, lambda _: len(watcher._dealt) < 20)
    assert scans(watcher) == []
    left = {str(tmp_path / "18" / "x.raw"), str(tmp_path / "19" / "x.raw")}
    assert (len(watcher._dealt), len(watcher._dealt.refused), all(path in watcher._dealt for path in left)) == (2, 1, True)


def test_a_folder_that_cannot_be_read_once_costs_no_memory_of_its_files(watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.raw").write_bytes(b"good")
    poll(watcher, len)
    scans(watcher)
    with monkeypatch.context() as patch:
        patch.setattr("quicklook.service.arrival.scans.walk", lambda _folder, *_more: iter([]))
        watcher._scans.reset()
        watcher._scans.ask()
        watcher.poll()
        assert not watcher._scans.running, "it is over"
    assert len(watcher._dealt) == 1
    assert scans(watcher) == []
    assert len(watcher._dealt) == 1


def test_what_comes_back_after_it_was_forgotten_is_not_done_again(tmp_path: Path) -> None:
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], watch={**WATCH, "rescan_s": 0.05, "poll_s": 0.02}))
    path = write_frame(tmp_path, "a")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    path.rename(tmp_path / "archive")
    turn(daemon, lambda: not daemon.watcher._dealt)
    (tmp_path / "archive").rename(path)
    turn(daemon, lambda: daemon.watcher._dealt)
    for _ in range(5):
        daemon.step()
    assert (len(said(daemon, "seen")), len(said(daemon, "unit_verdict")), hand.jobs) == (1, 1, [])
    daemon.stop(0.5)
