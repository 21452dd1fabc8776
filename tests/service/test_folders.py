"""Which folders are watched: a number that is bounded, those in which something has come last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quicklook.service.arrival.folders import Folders
from quicklook.service.arrival.inotify import Inotify
from quicklook.service.arrival.watcher import Watcher

ROOT, NIGHT = 1, 2


def night(most: int, exposures: int) -> tuple[Folders, list[int]]:
    """A night of so many exposures, one after the other; which watches were given up for later ones."""
    folders, gone = Folders(most), list[int]()
    folders.add(ROOT, "/raw", 1.0)
    folders.add(NIGHT, "/raw/20220101", 2.0)
    for n in range(exposures):
        folders.use(NIGHT, 10.0 + n)
        given_up = folders.add(100 + n, f"/raw/20220101/{n:08d}", 10.0 + n)
        gone += [] if given_up is None else [given_up]
    return folders, gone


def test_of_many_the_last_ones_are_watched_and_those_above_them() -> None:
    folders, gone = night(most=10, exposures=50)
    assert (len(folders), gone) == (10, [100 + n for n in range(42)])
    assert (folders.get(ROOT), folders.get(NIGHT), folders.get(100)) == ("/raw", "/raw/20220101", None)


def test_a_folder_in_which_something_comes_stays() -> None:
    folders, _ = night(most=10, exposures=8)
    folders.use(100, 1000.0)
    assert folders.add(200, "/raw/20220101/x", 99.0) == 101
    assert folders.get(100) is not None


def test_an_old_folder_that_a_scan_finds_is_watched_only_where_there_is_room() -> None:
    folders, _ = night(most=10, exposures=7)
    assert folders.wants(0.0)
    folders.add(200, "/raw/20211231", 5.0)
    assert (folders.wants(4.0), folders.wants(6.0)) == (False, True)
    assert folders.add(201, "/raw/20220102", 6.0) == 200


def test_a_folder_of_another_name_costs_no_other_its_watch() -> None:
    folders, _ = night(most=10, exposures=8)
    assert folders.add(100, "/raw/20220101/renamed", 500.0) is None
    folders.drop(101)
    folders.drop(101)
    assert (folders.get(100), len(folders), folders.full) == ("/raw/20220101/renamed", 9, False)


def test_with_more_folders_than_are_watched_new_files_come_at_once_and_late_ones_with_the_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quicklook.service.arrival.inotify.Folders", lambda: Folders(8))
    for n in range(20):
        (tmp_path / f"{n:02d}").mkdir()
    watcher = Watcher(
        tmp_path, wanted=lambda p: p.suffix == ".raw", check=lambda p: None, wake=lambda: None, mode="inotify", settle_s=0.0, rescan_s=1.0
    )
    watcher.start()
    try:
        found = list[str]()
        for n in range(20, 32):
            (tmp_path / f"{n:02d}").mkdir()
            (tmp_path / f"{n:02d}" / "x.raw").write_bytes(b"good")
        (tmp_path / "00" / "late.raw").write_bytes(b"good")
        end = time.monotonic() + 60
        while len(found) < 13 and time.monotonic() < end:
            found += [f"{one.path.parent.name}/{one.path.name}" for one in watcher.poll()]
            assert isinstance(watcher._notifier, Inotify)
            assert len(watcher._notifier._folders) <= 8
            time.sleep(0.005)
    finally:
        watcher.stop()
    assert sorted(found) == ["00/late.raw", *(f"{n}/x.raw" for n in range(20, 32))]


@contextmanager
def watching(folder: Path, rescan_s: float = 3600.0) -> Iterator[tuple[Watcher, Inotify]]:
    """A watcher that waits very long for a file that is open to be closed."""
    watcher = Watcher(
        folder, wanted=lambda p: p.suffix == ".raw", check=lambda p: None, wake=lambda: None, mode="inotify", settle_s=0.0, patience_s=240.0, rescan_s=rescan_s
    )
    watcher.start()
    try:
        while watcher.pending:
            assert watcher.poll() == []
        assert isinstance(watcher._notifier, Inotify)
        yield watcher, watcher._notifier
    finally:
        watcher.stop()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "not within 60 s, a quarter of the time for which a file that is open is waited for"
        time.sleep(0.005)


def names(watcher: Watcher) -> list[str]:
    return [one.path.name for one in watcher.poll()]


@pytest.mark.parametrize("heard", ["before", "after"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_file_that_is_closed_when_its_folder_is_watched_no_more_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: str, anew: bool
) -> None:
    monkeypatch.setattr("quicklook.service.arrival.inotify.Folders", lambda: Folders(2))
    folder = tmp_path / "0"
    folder.mkdir()
    with watching(tmp_path) as (watcher, notifier):
        with (folder / "x.raw").open("wb", buffering=0) as file:
            file.write(b"good")
            until(lambda: notifier._files.get(str(folder / "x.raw")))
            if heard == "before":
                assert (watcher.poll(), watcher.arriving) == ([], 1), "who writes it has it open"
            (tmp_path / "1").mkdir()
            until(lambda: str(folder) not in notifier._folders._names.values())
        if anew:
            notifier.watch(str(folder), time.time() + 1.0)
            assert str(folder) in notifier._folders._names.values()
        until(lambda: names(watcher) == ["x.raw"])


def test_a_file_that_is_closed_after_the_tree_is_polled_is_not_waited_for(tmp_path: Path) -> None:
    with watching(tmp_path) as (watcher, notifier), (tmp_path / "x.raw").open("wb", buffering=0) as file:
        file.write(b"good")
        until(lambda: notifier._files.get(str(tmp_path / "x.raw")))
        assert (watcher.poll(), watcher.arriving) == ([], 1)
        notifier.exhausted = True
        until(lambda: names(watcher) == ["x.raw"])


def test_a_scan_comes_to_its_end_though_notifications_get_lost_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.arrival.scans._SLICE_S", -1.0)
    (tmp_path / "0" / "1" / "2").mkdir(parents=True)
    with watching(tmp_path) as (watcher, notifier):
        monkeypatch.setattr(notifier, "take", dict)
        (tmp_path / "0" / "1" / "2" / "x.raw").write_bytes(b"good")
        found = list[str]()
        for _ in range(20):
            notifier.overflows += 1
            found += names(watcher)
        assert found == ["x.raw"]


def test_what_calls_for_a_scan_while_there_is_one_gets_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.arrival.scans._SLICE_S", -1.0)
    (tmp_path / "0" / "1").mkdir(parents=True)
    with watching(tmp_path) as (watcher, notifier):
        monkeypatch.setattr(notifier, "take", dict)
        notifier.overflows += 1
        assert names(watcher) == names(watcher) == [], "the root and the first folder are behind the scan"
        (tmp_path / "0" / "x.raw").write_bytes(b"good")
        notifier.overflows += 1
        found = list[str]()
        while watcher.pending:
            found += names(watcher)
        assert found == ["x.raw"]
