"""The same file under two names is one exposure; another content is a new revision of it."""

from __future__ import annotations

import os
import shutil

import pytest
from bench_site import NIGHT, WATCH, bench_site, by_hand, said, turn, write_frame

from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs


@pytest.fixture
def bench(tmp_path):
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    yield daemon, hand, tmp_path
    daemon.stop(0.5)


def stand_still(daemon: Daemon, turns: int = 30) -> None:
    for _ in range(turns):
        daemon.step()
    turn(daemon, lambda: not daemon.watcher.pending)


def elsewhere(folder):
    """The same name in another folder of the tree."""
    there = folder / "raw" / "copies"
    there.mkdir()
    return there / f"{NIGHT}_0001_a.fits"


@pytest.mark.parametrize("how", ["hard link", "symbolic link", "copy", "copy that keeps its time"])
def test_the_same_content_once_more_is_not_taken_again(bench, how):
    daemon, hand, folder = bench
    raw = write_frame(folder, "a")
    turn(daemon, lambda: hand.jobs)
    other = elsewhere(folder)
    if how == "hard link":
        os.link(raw, other)
    elif how == "symbolic link":
        other.symlink_to(raw)
    else:
        (shutil.copyfile if how == "copy" else shutil.copy2)(raw, other)
    stand_still(daemon)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    assert [e.revision for e in said(daemon, "unit_verdict")] == [0]
    assert len(said(daemon, "seen")) == 1


def test_a_file_that_is_moved_while_its_job_waits_is_read_where_it_is(bench):
    daemon, hand, folder = bench
    hand.free = lambda: 0
    raw = write_frame(folder, "a")
    turn(daemon, lambda: said(daemon, "seen"))
    other = elsewhere(folder)
    raw.rename(other)
    stand_still(daemon)
    del hand.free
    turn(daemon, lambda: hand.jobs)
    assert [(j.path, j.revision) for j in hand.jobs] == [(str(other), 0)]
    assert len(said(daemon, "seen")) == 1


def test_a_file_that_polling_shows_as_deleted_and_created_again_is_one_exposure(bench):
    daemon, hand, folder = bench
    raw = write_frame(folder, "a")
    turn(daemon, lambda: hand.jobs)
    away = folder / "away.fits"
    raw.rename(away)
    stand_still(daemon)
    away.rename(raw)
    stand_still(daemon)
    assert len(said(daemon, "seen")) == 1


def test_another_content_under_another_name_is_a_new_revision(bench):
    daemon, hand, folder = bench
    raw = write_frame(folder, "a")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    other = elsewhere(folder)
    raw.rename(folder / "kept.fits")
    write_frame(folder, "a", seed=1).rename(other)
    (folder / "kept.fits").rename(raw)
    turn(daemon, lambda: hand.jobs)
    assert [(j.path, j.revision) for j in hand.jobs] == [(str(other), 1)]


def test_a_copy_of_a_file_that_was_moved_after_its_verdict_is_not_taken_again(bench):
    """Whoever does the exposure again finds the file where it is now, too."""
    daemon, hand, folder = bench
    raw = write_frame(folder, "a")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    other = elsewhere(folder)
    raw.rename(other)
    stand_still(daemon)
    (folder / "raw" / "more").mkdir()
    shutil.copyfile(other, folder / "raw" / "more" / other.name)
    stand_still(daemon)
    assert (len(said(daemon, "seen")), hand.jobs) == (1, [])
    with daemon.journal.reading() as connection:
        assert connection.exec_driver_sql("SELECT path FROM jobs").scalars().all() == [str(other)]


@pytest.mark.parametrize("mode", ["inotify", "polling"])
@pytest.mark.parametrize("copies", [1, 3])
def test_a_file_that_is_copied_and_moved_between_two_looks_is_one_exposure(tmp_path, mode, copies):
    """The copies are newer: they are looked at first, when the one that was taken is gone, and where it is now is not known yet."""
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"], watch={**WATCH, "mode": mode}))
    try:
        raw = write_frame(tmp_path, "a")
        turn(daemon, lambda: hand.jobs)
        hand.judge(hand.jobs[0])
        hand.written(hand.jobs[0])
        turn(daemon, lambda: daemon.idle)
        for n in range(copies):
            (tmp_path / "raw" / f"copy{n}").mkdir()
            shutil.copyfile(raw, tmp_path / "raw" / f"copy{n}" / raw.name)
        other = elsewhere(tmp_path)
        raw.rename(other)
        turn(daemon, lambda: daemon.idle and journal_paths(daemon) == [str(other)])
        stand_still(daemon)
        assert (len(said(daemon, "seen")), hand.jobs) == (1, [])
    finally:
        daemon.stop(0.5)


def journal_paths(daemon: Daemon) -> list[str]:
    with daemon.journal.reading() as connection:
        return list(connection.exec_driver_sql("SELECT path FROM jobs").scalars())


def test_a_copy_whose_source_is_nowhere_is_taken_as_new_content(bench):
    """Nothing is left to compare it with; it waits until the tree was looked through, and is lost neither there nor at a restart."""
    daemon, hand, folder = bench
    raw = write_frame(folder, "a")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    other = elsewhere(folder)
    shutil.copyfile(raw, other)
    raw.unlink()
    turn(daemon, lambda: not daemon.watcher.arriving and not daemon.idle)
    turn(daemon, lambda: hand.jobs)
    assert [(j.path, j.revision) for j in hand.jobs] == [(str(other), 1)]


def test_what_is_written_anew_under_the_name_of_a_file_that_is_held_counts(bench):
    daemon, hand, folder = bench
    raw = write_frame(folder, "a")
    turn(daemon, lambda: hand.jobs)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    other = elsewhere(folder)
    shutil.copyfile(raw, other)
    raw.unlink()
    turn(daemon, lambda: len(daemon._arrivals._vanished))
    write_frame(folder, "a", seed=1).rename(other)
    turn(daemon, lambda: hand.jobs)
    stand_still(daemon)
    hand.judge(hand.jobs[0])
    hand.written(hand.jobs[0])
    turn(daemon, lambda: daemon.idle)
    assert [e.revision for e in said(daemon, "unit_verdict")] == [0, 1]
    size, mtime_ns = other.stat().st_size, other.stat().st_mtime_ns
    assert any((f.path, f.size, f.mtime_ns) == (str(other), size, mtime_ns) for f in files_known(daemon))


def files_known(daemon: Daemon) -> list[object]:
    with daemon.journal.reading() as connection:
        return list(jobs.files(connection, daemon.recipe.tag))


def test_what_came_late_is_found_though_the_exposure_was_moved(tmp_path):
    daemon, hand = by_hand(bench_site(tmp_path, cameras=["a"]))
    try:
        raw = write_frame(tmp_path, "a", flavor="science")
        turn(daemon, lambda: hand.jobs)
        hand.judge(hand.jobs[0])
        hand.written(hand.jobs[0])
        turn(daemon, lambda: daemon.idle)
        other = elsewhere(tmp_path)
        raw.rename(other)
        stand_still(daemon)
        other.with_name("notes-0001.txt").write_text("seeing was good")
        turn(daemon, lambda: hand.jobs)
        assert [(j.path, j.revision) for j in hand.jobs] == [(str(other), 1)]
    finally:
        daemon.stop(0.5)
