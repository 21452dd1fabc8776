"""The watcher: each complete file once; nothing before its last byte; nothing lost."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.service.watcher import Arrived, Rejected, Watcher, choose_mode, file_system_type

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


def names(found):
    return sorted(f.path.name for f in found if isinstance(f, Arrived))


def test_a_file_that_is_there_and_one_that_comes_are_each_taken_once(watcher, tmp_path):
    (tmp_path / "old.raw").write_bytes(WHOLE)
    (tmp_path / "20220101").mkdir()
    (tmp_path / "20220101" / "new.raw").write_bytes(WHOLE)
    (tmp_path / "notes.txt").write_bytes(WHOLE)
    assert names(collect(watcher, 1.5)) == ["new.raw", "old.raw"]
    assert collect(watcher, 0.6) == []


def test_a_slow_file_is_taken_after_its_last_byte(watcher, tmp_path):
    done = []

    def write() -> None:
        with (tmp_path / "slow.raw").open("wb") as file:
            for piece in (b"x" * 400, b"y" * 400, b"END"):
                file.write(piece)
                file.flush()
                time.sleep(0.25)
        done.append(time.monotonic())

    thread = threading.Thread(target=write)
    thread.start()
    found = collect(watcher, 4, until=bool)
    thread.join()
    assert names(found) == ["slow.raw"]
    assert found[0].size == 803
    assert time.monotonic() - done[0] < 2.0


def test_a_temporary_name_that_is_renamed_is_one_file(watcher, tmp_path):
    (tmp_path / ".tmp.raw").write_bytes(WHOLE)
    time.sleep(0.2)
    os.rename(tmp_path / ".tmp.raw", tmp_path / "final.raw")
    assert names(collect(watcher, 1.5)) == ["final.raw"]


def test_truncated_is_refused_after_patience_and_taken_when_completed(watcher, tmp_path):
    path = tmp_path / "cut.raw"
    path.write_bytes(WHOLE[:500])
    refused = collect(watcher, 3, until=bool)
    assert isinstance(refused[0], Rejected)
    assert "500 bytes" in refused[0].failure.message
    with path.open("ab") as file:
        file.write(WHOLE[500:])
    assert names(collect(watcher, 3, until=bool)) == ["cut.raw"]


def test_garbage_is_refused_at_once_and_told_once(watcher, tmp_path):
    (tmp_path / "bad.raw").write_bytes(b"garbage")
    found = collect(watcher, 1.5)
    assert [type(f) for f in found] == [Rejected]


def test_a_file_of_an_earlier_life_is_not_taken_again(watcher, tmp_path):
    path = tmp_path / "old.raw"
    path.write_bytes(WHOLE)
    stat = path.stat()
    watcher.known(path, stat.st_size, stat.st_mtime_ns)
    assert collect(watcher, 0.8) == []
    path.write_bytes(WHOLE[3:])
    assert names(collect(watcher, 2, until=bool)) == ["old.raw"]


def test_a_folder_that_is_not_there_or_goes_away_is_found_when_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.watcher._LOOK_S", 0.05)
    folder = tmp_path / "mount"
    late = Watcher(folder, wanted=wanted, check=check, wake=lambda: None, settle_s=0.05, rescan_s=60)
    late.start()
    try:
        assert not late.there
        for name in ("first", "second"):
            folder.mkdir()
            (folder / f"{name}.raw").write_bytes(WHOLE)
            assert names(collect(late, 3, until=bool)) == [f"{name}.raw"]
            (folder / f"{name}2.raw").write_bytes(WHOLE)  # by notification, though the folder is another one: the next scan is far off
            assert names(collect(late, 3, until=bool)) == [f"{name}2.raw"]
            os.rename(folder, tmp_path / f"away {name}")
            collect(late, 1, until=lambda _: not late.there)
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
        (found,) = collect(odd, 3, until=bool)
    finally:
        odd.stop()
    assert found.failure.message == "ZeroDivisionError: division by zero"


def test_mode_is_chosen_by_file_system(tmp_path, monkeypatch):
    assert file_system_type(Path("/proc/self")) == "proc"
    assert choose_mode(tmp_path) == "inotify"
    monkeypatch.setattr("quicklook.service.watcher.file_system_type", lambda path: "nfs4")
    assert choose_mode(tmp_path) == "polling"
