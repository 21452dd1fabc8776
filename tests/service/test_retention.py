"""What goes from the journal, and what stays; room on the disk."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, NoSpace
from quicklook.core.events import CommandGiven, PlotsReady, Started, draft
from quicklook.core.status import Status
from quicklook.io import room as rooms
from quicklook.io.room import Room, check_room, room_of
from quicklook.service.journal import retention
from quicklook.service.journal.journal import Journal, journal_path, take_lock
from quicklook.service.running import diskroom
from quicklook.service.running.diskroom import DiskWatch, disk_watch, status_of
from quicklook.service.settings import DiskSettings, RetentionSettings

DAY_NS = 86400 * 10**9


def aged_journal(path: Path, ages_days: list[float]) -> Journal:
    """A journal with a detail and a fact of each age, the oldest first."""
    ages = iter([age for age in ages_days for _ in range(2)])
    now = time.time_ns()
    journal = Journal(path, lambda: now - int(next(ages, 0.0) * DAY_NS))
    for n in range(len(ages_days)):
        journal.append([draft(Started(chain=f"detail {n}"))])
        journal.append([draft(CommandGiven(name=f"fact {n}", by="me", via="key", done=True, said=""))])
    return journal


def left(journal: Journal) -> list[int]:
    return [e.seq for e in journal.events(limit=10000)]


@pytest.fixture
def journal(tmp_path):
    made = aged_journal(journal_path(tmp_path), [100, 50, 40, 20, 1])  # 1-2, 3-4, 5-6, 7-8, 9-10
    yield made
    made.close()


def test_details_go_and_facts_stay(journal):
    settings = RetentionSettings(details_days=30)
    assert retention.count_all(journal, settings) == {"details": 3, "facts": 0}
    assert retention.remove_all(journal, settings) == {"details": 3, "facts": 0}
    assert left(journal) == [2, 4, 6, 7, 8, 9, 10]
    assert retention.remove_all(journal, settings) == {"details": 0, "facts": 0}


def test_facts_go_where_the_site_says_so(journal):
    assert retention.remove_all(journal, RetentionSettings(details_days=0, facts_days=45)) == {"details": 0, "facts": 2}
    assert left(journal) == [1, 3, 5, 6, 7, 8, 9, 10]


def test_nothing_goes_where_everything_is_to_stay(journal):
    assert retention.rules_of(RetentionSettings(details_days=0, facts_days=0)) == []
    assert retention.remove_all(journal, RetentionSettings(details_days=0, facts_days=0)) == {"details": 0, "facts": 0}


def test_the_last_event_stays_and_numbers_go_on(tmp_path):
    journal = aged_journal(tmp_path / "j.sqlite", [100, 90])
    retention.remove_all(journal, RetentionSettings(details_days=1, facts_days=1))
    assert left(journal) == [4]
    journal._now = time.time_ns
    assert journal.append([draft(Started(chain="new"))])[0].seq == 5
    journal.close()


def test_what_a_sink_has_not_taken_stays(journal):
    journal.advance("files", 10)
    journal.advance("web", 1)
    assert retention.remove_all(journal, RetentionSettings(details_days=30)) == {"details": 1, "facts": 0}
    rule = retention.rules_of(RetentionSettings(details_days=30))[0]
    with journal.reading() as connection:
        assert retention.last_removable(connection, rule, ["files"], time.time_ns()) == 6, "the site has no sink web any more"


def test_the_daemon_removes_a_little_at_every_turn(journal, monkeypatch):
    monkeypatch.setattr(retention, "_BATCH", 2)
    monkeypatch.setattr(retention, "_FIRST_S", -1.0)
    file = SimpleNamespace(retention=RetentionSettings(details_days=30), sinks={})
    keeper = retention.keeper(SimpleNamespace(journal=journal, site=SimpleNamespace(file=file)))  # type: ignore[arg-type]
    assert keeper is not None
    counts = []
    for _ in range(5):
        keeper.turn()
        counts.append(len(left(journal)))
    assert counts == [10, 8, 7, 7, 7]
    assert keeper.idle
    file = SimpleNamespace(retention=RetentionSettings(details_days=0), sinks={})
    assert retention.keeper(SimpleNamespace(journal=journal, site=SimpleNamespace(file=file))) is None  # type: ignore[arg-type]


def run(*args: str) -> str:
    done = CliRunner().invoke(app, ["retention", *args])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_the_command_counts_removes_and_makes_the_file_smaller(journal, tmp_path):
    out = ["--out", str(tmp_path)]
    big = [draft(PlotsReady(path="x" * 500, names=[], statuses=[]))] * 2000
    journal._now = lambda: time.time_ns() - 90 * DAY_NS
    journal.append(big)
    journal._now = time.time_ns
    journal.append([draft(Started(chain="last"))])
    journal.close()
    before = journal_path(tmp_path).stat().st_size
    assert "0 details and 0 facts would be removed" in run(*out, "--details-days", "0", "--dry-run")
    with take_lock(tmp_path), pytest.raises(BadConfig, match="a daemon works in"):
        run(*out, "--compact")
    assert "details and 0 facts removed" in run(*out, "--details-days", "60", "--compact")
    assert journal_path(tmp_path).stat().st_size < before
    with pytest.raises(BadConfig, match="has no journal"):
        run("--out", str(tmp_path / "nowhere"))


# ---- room on the disk


def room(free_gb: float, total_gb: float = 1000.0) -> Room:
    return Room(path=Path("/out"), total=int(total_gb * 1e9), free=int(free_gb * 1e9))


def test_little_room_is_said_before_there_is_none_and_without_chatter():
    settings = DiskSettings(warn_gb=10, keep_gb=1)
    normal, warning, alarm = Status.NORMAL, Status.WARNING, Status.ALARM
    free_and_status = [(50, normal), (9.9, warning), (10.5, warning), (11.1, normal), (0.9, alarm), (1.05, alarm), (1.2, warning), (10.9, warning), (12, normal)]
    before = normal
    for free, expected in free_and_status:
        before = status_of(room(free), settings, before)
        assert before is expected, free


def test_a_small_disk_has_thresholds_of_its_own():
    settings = DiskSettings(warn_gb=10, keep_gb=1)
    assert status_of(room(0.9, total_gb=8), settings, Status.NORMAL) is Status.NORMAL
    assert status_of(room(0.7, total_gb=8), settings, Status.NORMAL) is Status.WARNING
    assert status_of(room(0.1, total_gb=8), settings, Status.NORMAL) is Status.ALARM


def test_what_changes_is_an_event_once(tmp_path, monkeypatch):
    free = iter([50.0, 5.0, 5.0, 0.5, 60.0])
    monkeypatch.setattr(diskroom, "room_of", lambda _folder: room(next(free)))
    journal = Journal(tmp_path / "j.sqlite", time.time_ns)
    site = SimpleNamespace(out=tmp_path, file=SimpleNamespace(disk=DiskSettings(warn_gb=10, keep_gb=1, look_s=1e-9)))
    watch = disk_watch(SimpleNamespace(site=site, journal=journal, recipe=SimpleNamespace(tag="live")))  # type: ignore[arg-type]
    assert isinstance(watch, DiskWatch)
    for _ in range(5):
        watch.turn()
        time.sleep(0.001)
    told = [(e.payload["status"], e.payload["free_gb"]) for e in journal.events()]
    assert told == [("WARNING", 5.0), ("ALARM", 0.5), ("NORMAL", 60.0)]
    journal.close()
    site.file.disk = DiskSettings(warn_gb=0, keep_gb=0)
    assert disk_watch(SimpleNamespace(site=site)) is None  # type: ignore[arg-type]


def test_products_wait_while_there_is_no_room(tmp_path, monkeypatch):
    check_room(tmp_path, 0.0)
    assert room_of(tmp_path / "not" / "there").free > 0
    monkeypatch.setattr(rooms, "room_of", lambda _folder: room(0.5))
    with pytest.raises(NoSpace, match=r"only 0\.50 GB are free for .*, of which 1\.00 GB are kept"):
        check_room(tmp_path, 1.0)
    check_room(tmp_path, 0.4)


def test_what_a_sink_that_never_took_any_waits_for_stays(journal):
    journal.advance("files", 10)
    rule = retention.rules_of(RetentionSettings(details_days=30))[0]
    with journal.reading() as connection:
        assert retention.last_removable(connection, rule, ("files",), time.time_ns()) == 6
        assert retention.last_removable(connection, rule, ("files", "away_since_ever"), time.time_ns()) == 0
        assert retention.last_removable(connection, rule, (), time.time_ns()) == 6


@pytest.mark.parametrize("days", [float("inf"), 1e300])
def test_any_number_of_days_is_one(journal, days):
    assert retention.count_all(journal, RetentionSettings(details_days=days)) == {"details": 0, "facts": 0}
