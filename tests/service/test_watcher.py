"""The watcher: each complete file once; nothing before its last byte; nothing lost."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig, BadData, NotReadyYet, Transient
from quicklook.service.arrival.arrived import Arrived, Rejected
from quicklook.service.arrival.inotify import Inotify
from quicklook.service.arrival.tree import Folder, choose_mode, file_system_type
from quicklook.service.arrival.watcher import Watcher

WHOLE = b"x" * 1000 + b"END"


def check(path: Path) -> None:
    content = path.read_bytes()
    if content.startswith(b"garbage"):
        raise BadData("garbage")
    if not content.endswith(b"END"):
        raise NotReadyYet(f"{len(content)} bytes, no END")


def wanted(path: Path) -> bool:
    return path.suffix == ".raw" and not path.name.startswith(".")


@pytest.fixture(params=["inotify", "polling"])
def watcher(request, tmp_path):
    w = Watcher(
        tmp_path, wanted=wanted, check=check, wake=lambda: None, mode=request.param, settle_s=0.1, patience_s=0.6, rescan_s=0.4, poll_s=0.1
    )
    w.start()
    yield w
    w.stop()


def collect(watcher: Watcher, seconds: float, until=lambda found: False):
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end and not until(found):
        found += watcher.poll()
        time.sleep(0.01)
    return found


def all_of(watcher: Watcher, n: int):
    """So many, and what comes in more than a scan after them."""
    return [*collect(watcher, 60, until=lambda found: len(found) >= n), *collect(watcher, 0.6)]


def names(found):
    return sorted(f.path.name for f in found if isinstance(f, Arrived))


def test_a_file_that_is_there_and_one_that_comes_are_each_taken_once(watcher, tmp_path):
    (tmp_path / "old.raw").write_bytes(WHOLE)
    (tmp_path / "20220101").mkdir()
    (tmp_path / "20220101" / "new.raw").write_bytes(WHOLE)
    (tmp_path / "notes.txt").write_bytes(WHOLE)
    assert names(all_of(watcher, 2)) == ["new.raw", "old.raw"]


def test_a_slow_file_is_taken_after_its_last_byte(watcher, tmp_path):
    done = []
    watcher._candidates._patience_s = 60.0

    def write() -> None:
        with (tmp_path / "slow.raw").open("wb") as file:
            for piece in (b"x" * 400, b"y" * 400, b"END"):
                file.write(piece)
                file.flush()
                time.sleep(0.25)
        done.append(time.monotonic())

    thread = threading.Thread(target=write)
    thread.start()
    found = collect(watcher, 60, until=bool)
    thread.join()
    assert names(found) == ["slow.raw"]
    assert found[0].size == 803
    assert time.monotonic() - done[0] < 30.0, "it was taken when the patience was over"


def test_a_temporary_name_that_is_renamed_is_one_file(watcher, tmp_path):
    (tmp_path / ".tmp.raw").write_bytes(WHOLE)
    time.sleep(0.2)
    os.rename(tmp_path / ".tmp.raw", tmp_path / "final.raw")
    assert names(all_of(watcher, 1)) == ["final.raw"]


@pytest.mark.parametrize("begins", [b"x" * 500, b"garbage"])
def test_a_file_that_is_completed_while_it_is_read_is_taken_once(watcher, tmp_path, begins):
    """What is found then belongs neither to the size that it had nor to the one that it has."""
    path, plain = tmp_path / "slow.raw", watcher._candidates._check

    def slow(file: Path) -> None:
        if file.stat().st_size == len(begins):
            first = plain if begins == b"garbage" else lambda _path: None
            try:
                first(file)
            finally:
                file.write_bytes(WHOLE)
        return plain(file)

    watcher._candidates._check = slow
    path.write_bytes(begins)
    (found,) = all_of(watcher, 1)
    assert isinstance(found, Arrived)
    assert found.size == len(WHOLE)


def test_truncated_is_refused_after_patience_and_taken_when_completed(watcher, tmp_path):
    path = tmp_path / "cut.raw"
    path.write_bytes(WHOLE[:500])
    refused = collect(watcher, 60, until=bool)
    assert isinstance(refused[0], Rejected)
    assert "500 bytes" in refused[0].failure.message
    with path.open("ab") as file:
        file.write(WHOLE[500:])
    assert names(collect(watcher, 60, until=bool)) == ["cut.raw"]


def test_garbage_is_refused_at_once_and_told_once(watcher, tmp_path):
    (tmp_path / "bad.raw").write_bytes(b"garbage")
    assert [type(f) for f in all_of(watcher, 1)] == [Rejected]


def test_a_file_of_an_earlier_life_is_not_taken_again(watcher, tmp_path):
    path = tmp_path / "old.raw"
    path.write_bytes(WHOLE)
    stat = path.stat()
    watcher.known(path, stat.st_size, stat.st_mtime_ns)
    assert collect(watcher, 0.8) == []
    path.write_bytes(WHOLE[3:])
    assert names(collect(watcher, 60, until=bool)) == ["old.raw"]


def test_a_folder_that_is_not_there_or_goes_away_is_found_when_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.arrival.watcher._LOOK_S", 0.05)
    folder = tmp_path / "mount"
    late = Watcher(folder, wanted=wanted, check=check, wake=lambda: None, settle_s=0.05, rescan_s=3600)
    late.start()
    try:
        assert not late.there
        for name in ("first", "second"):
            folder.mkdir()
            (folder / f"{name}.raw").write_bytes(WHOLE)
            assert names(collect(late, 60, until=bool)) == [f"{name}.raw"]
            (folder / f"{name}2.raw").write_bytes(WHOLE)  # by notification, though the folder is another one: the next scan is far off
            assert names(collect(late, 60, until=bool)) == [f"{name}2.raw"]
            os.rename(folder, tmp_path / f"away {name}")
            collect(late, 60, until=lambda _: not late.there)
            assert not late.there
    finally:
        late.stop()


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadConfig, match="is no folder"):
        Watcher(tmp_path / "file", wanted=wanted, check=check, wake=lambda: None).start()


def test_a_check_that_fails_by_a_fault_of_its_own_is_a_refusal(tmp_path):
    (tmp_path / "a.raw").write_bytes(WHOLE)
    odd = Watcher(tmp_path, wanted=wanted, check=lambda path: 1 / 0, wake=lambda: None, settle_s=0.05)
    odd.start()
    try:
        (found,) = collect(odd, 60, until=bool)
    finally:
        odd.stop()
    assert found.failure.message == "ZeroDivisionError: division by zero"


def test_mode_is_chosen_by_file_system(tmp_path, monkeypatch):
    assert file_system_type(Path("/proc/self")) == "proc"
    assert choose_mode(tmp_path) == "inotify"
    monkeypatch.setattr("quicklook.service.arrival.tree.file_system_type", lambda path: "nfs4")
    assert choose_mode(tmp_path) == "polling"


# ---- what makes a file complete


def test_a_file_that_is_still_open_is_waited_for_though_it_looks_whole(tmp_path):
    """Written in place into a file of its final size, with pauses longer than `settle_s`."""
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, mode="inotify", settle_s=0.05, patience_s=600)
    w.start()
    try:
        with (tmp_path / "slow.raw").open("wb", buffering=0) as file:
            file.write(WHOLE)
            for _ in range(3):
                assert not collect(w, 0.3), "it is open"
                file.seek(0)
                file.write(b"y" * 10)
        (found,) = collect(w, 60, until=bool)
    finally:
        w.stop()
    assert isinstance(found, Arrived)


def test_a_file_that_cannot_be_read_for_now_is_tried_again(tmp_path):
    answers = [Transient("stale file handle"), Transient("stale file handle")]

    def later(path: Path) -> str:
        if answers:
            raise answers.pop()
        return "facts"

    (tmp_path / "a.raw").write_bytes(WHOLE)
    w = Watcher(tmp_path, wanted=wanted, check=later, wake=lambda: None, settle_s=0.05, rescan_s=3600)
    w.start()
    try:
        (found,) = collect(w, 60, until=bool)
    finally:
        w.stop()
    assert isinstance(found, Arrived)
    assert found.facts == "facts"


def test_a_file_that_a_full_disk_has_cut_is_said_to_be_that(tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.arrival.candidates.free_bytes", lambda path: 4096)
    (tmp_path / "cut.raw").write_bytes(WHOLE[:500])
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, settle_s=0.05, patience_s=0.1)
    w.start()
    try:
        (found,) = collect(w, 60, until=bool)
    finally:
        w.stop()
    assert isinstance(found, Rejected)
    assert "the disk is full: 4096 bytes are left" in found.failure.message


def test_the_newest_file_comes_first(tmp_path):
    for n in (3, 1, 4, 2):
        (tmp_path / f"{n}.raw").write_bytes(WHOLE)
        os.utime(tmp_path / f"{n}.raw", (1e9 + n, 1e9 + n))
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, settle_s=0.05)
    w.start()
    try:
        found = collect(w, 60, until=lambda f: len(f) == 4)
    finally:
        w.stop()
    assert [f.path.stem for f in found] == ["4", "3", "2", "1"]


# ---- trees


def test_folders_that_come_with_files_in_them_and_links_to_folders_are_entered(watcher, tmp_path):
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")
    elsewhere.mkdir()
    (elsewhere / "linked.raw").write_bytes(WHOLE)
    (tmp_path / "link").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    deep = tmp_path / "2022" / "01" / "01"
    deep.mkdir(parents=True)
    (deep / "deep.raw").write_bytes(WHOLE)
    (tmp_path / "file.raw").symlink_to(elsewhere / "linked.raw")
    (tmp_path / "broken.raw").symlink_to(elsewhere / "nothing")
    assert names(collect(watcher, 60, until=lambda f: len(f) == 3)) == ["deep.raw", "file.raw", "linked.raw"]
    (elsewhere / "later.raw").write_bytes(WHOLE)
    assert names(collect(watcher, 60, until=bool)) == ["later.raw"]
    assert collect(watcher, 0.6) == []


def test_a_folder_that_is_moved_within_the_tree_is_watched_under_its_new_name(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, mode="inotify", settle_s=0.05, rescan_s=3600)
    w.start()
    try:
        collect(w, 60, until=lambda _: not w.pending)
        (tmp_path / "a").rename(tmp_path / "z")
        collect(w, 0.2)
        (tmp_path / "z" / "b" / "c.raw").write_bytes(WHOLE)
        (found,) = collect(w, 60, until=bool)
    finally:
        w.stop()
    assert found.path == tmp_path / "z" / "b" / "c.raw"


def test_an_overflow_of_the_kernel_s_queue_is_noticed_and_the_tree_scanned(tmp_path, caplog):
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, mode="inotify", settle_s=0.05, rescan_s=3600)
    w.start()
    try:
        collect(w, 60, until=lambda _: not w.pending)
        notifier = w._notifier
        assert isinstance(notifier, Inotify)
        notifier.take = lambda: {}  # all notifications are lost
        (tmp_path / "lost.raw").write_bytes(WHOLE)
        assert collect(w, 0.5) == []
        assert notifier._read(struct.pack("iIII", -1, 0x4000, 0, 0))  # as inotify(7) says it: IN_Q_OVERFLOW of no watch
        assert names(collect(w, 60, until=bool)) == ["lost.raw"]
    finally:
        w.stop()
    assert w.overflows == 1
    assert "it is scanned again" in caplog.text


def test_more_folders_than_can_be_watched_are_polled(tmp_path, caplog):
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, mode="inotify", settle_s=0.05, rescan_s=3600, poll_s=0.1)
    w.start()
    try:
        assert w._notifier is not None
        w._notifier.exhausted = True
        collect(w, 60, until=lambda _: w.mode == "polling")
        (tmp_path / "a.raw").write_bytes(WHOLE)
        assert names(collect(w, 60, until=bool)) == ["a.raw"]
    finally:
        w.stop()
    assert "fs.inotify.max_user_watches" in caplog.text


def test_where_there_is_no_inotify_it_is_polled(tmp_path, monkeypatch):
    def none(folder, wake):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("quicklook.service.arrival.watcher.Inotify", none)
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, settle_s=0.05, rescan_s=3600, poll_s=0.1)
    w.start()
    try:
        assert w.mode == "polling"
        (tmp_path / "a.raw").write_bytes(WHOLE)
        assert names(collect(w, 60, until=bool)) == ["a.raw"]
    finally:
        w.stop()


def test_the_empty_folder_that_a_file_system_leaves_is_not_the_folder(tmp_path, monkeypatch):
    """A mount point stays as an empty folder when its file system goes; what is mounted again is another device."""
    monkeypatch.setattr("quicklook.service.arrival.watcher._LOOK_S", 0.0)
    states = [Folder(1, 2, True), Folder(5, 7, False), Folder(6, 2, True)]
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None)
    there = []
    try:
        for state in states:
            monkeypatch.setattr("quicklook.service.arrival.watcher.identity", lambda path, state=state: state)
            w.poll()
            there.append(w.there)
    finally:
        w.stop()
    assert there == [True, False, True]


@pytest.mark.parametrize(("kind", "mode"), [("nfs4", "polling"), ("fuse.sshfs", "polling"), ("fuse", "polling"), ("autofs", "polling"), ("ext4", "inotify"), ("tmpfs", "inotify"), ("", "inotify")])
def test_network_file_systems_are_polled(tmp_path, monkeypatch, kind, mode):
    monkeypatch.setattr("quicklook.service.arrival.tree.file_system_type", lambda path: kind)
    assert choose_mode(tmp_path) == mode


def test_a_tree_with_a_folder_on_a_network_file_system_is_polled(tmp_path, monkeypatch, caplog):
    """The folder of a night may be a link to where the instrument writes, though the folder of all is local."""
    far, real = tmp_path / "far", os.stat
    far.mkdir()

    def stat(path, **options):
        found = real(path, **options)
        return os.stat_result((*found[:2], 4711, *found[3:10])) if str(path) == str(far) else found

    monkeypatch.setattr("quicklook.service.arrival.tree.os.stat", stat)
    monkeypatch.setattr("quicklook.service.arrival.tree.file_system_type", lambda path: "nfs4" if path == far else "ext4")
    w = Watcher(tmp_path, wanted=wanted, check=check, wake=lambda: None, settle_s=0.0, rescan_s=3600, poll_s=0.05)
    w.start()
    try:
        assert w.mode == "inotify"
        collect(w, 60, until=lambda _: w.mode == "polling")
        (far / "a.raw").write_bytes(WHOLE)
        assert names(collect(w, 60, until=bool)) == ["a.raw"]
    finally:
        w.stop()
    assert f"{far} is on a file system that other machines write to" in caplog.text
