"""The job store for scripts: the same tests on SQLite and on a PostgreSQL server of our own."""

from __future__ import annotations

import json
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pgserver import PgServer
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData
from quicklook.jobs import HeldJob, JobLocked, JobState, JobStore, LeaseLost


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a server that was started for these tests."""
    server = PgServer()
    yield server.url
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    with JobStore(url) as made:
        for job in made.get():
            made.break_lease(job)
            made.remove(job)
        yield made


def test_jobs_are_found_by_class_state_and_tags(store: JobStore) -> None:
    first = store.create("reduce", {"night": 20220101, "camera": "r0"})
    store.create("reduce", {"night": 20220101, "camera": "b0"}, state="failed", reason="no sky")
    store.create("report", {"night": 20220101})
    assert (first.state, first.visits, first.visited_ns, first.owner) == (JobState.OPEN, 0, None, None)
    assert first.tags == {"night": "20220101", "camera": "r0"}
    assert len(store.get()) == 3
    assert [j.tags["camera"] for j in store.get("reduce")] == ["r0", "b0"]
    assert [j.jobclass for j in store.get(["reduce", "report"], tags={"night": 20220101})] == ["reduce", "reduce", "report"]
    assert store.get("reduce", tags={"night": 20220101, "camera": "z0"}) == []
    assert [j.reason for j in store.get(states=["failed"])] == ["no sky"]
    assert store.get(states=[]) == []
    assert len(store.get(limit=2)) == 2


def test_a_job_is_unique_by_class_and_tags_in_whatever_order(store: JobStore) -> None:
    first = store.create("reduce", {"a": 1, "b": 2})
    with pytest.raises(BadData, match="already"):
        store.create("reduce", {"b": "2", "a": "1"})
    assert store.create("reduce", {"b": "2", "a": "1"}, existing="take").id == first.id
    assert store.create("other", {"a": 1, "b": 2}).id != first.id
    assert store.create("reduce").id != first.id


def test_what_was_changed_is_written_when_the_job_is_let_go(store: JobStore) -> None:
    job = store.create("reduce", {"n": 1})
    with store.locked(job, owner="me") as held:
        held.mark_visited()
        held.state = JobState.DONE
        assert store.get(locked=True)[0].owner == "me"
        assert store.get(locked=False) == []
        with pytest.raises(JobLocked, match=r"me holds job \d+"), store.locked(job):
            pass
        with pytest.raises(JobLocked):
            store.remove(job)
    after = store.get()[0]
    assert (after.state, after.visits, after.owner) == (JobState.DONE, 1, None)
    assert after.visited_ns is not None
    assert abs(after.visited_ns - time.time_ns()) < 60e9
    store.remove(after)
    assert store.get() == []
    with pytest.raises(BadData, match="there is no job"):
        store.lock(after)


def test_an_error_keeps_the_state_and_leaves_its_reason(store: JobStore) -> None:
    def work(held: HeldJob) -> None:
        held.mark_visited()
        held.state = JobState.DONE
        raise ValueError("no flat")

    job = store.create("reduce")
    with pytest.raises(ValueError, match="no flat"), store.locked(job) as held:
        work(held)
    after = store.get()[0]
    assert (after.state, after.visits, after.reason, after.owner) == (JobState.OPEN, 1, "ValueError: no flat", None)


def test_the_first_free_one_is_taken_and_none_where_there_is_none(store: JobStore) -> None:
    jobs = [store.create("reduce", {"n": n}) for n in range(3)]
    with store.locked(jobs[0]), store.locked_one_of(jobs) as second:
        assert second is not None
        assert second.id == jobs[1].id
        second.state = JobState.IGNORED
    with store.locked(jobs[0]), store.locked_one_of(jobs[:2]) as nothing:
        assert nothing is None, "the other one is not open any more"
    assert [j.state for j in store.get()] == ["open", "ignored", "open"]


def test_a_lease_ends_by_itself_and_its_late_owner_writes_nothing(store: JobStore) -> None:
    job = store.create("reduce")
    late = store.lock(job, owner="dead", lease_s=0.0)
    time.sleep(0.01)
    held = store.lock(job, owner="alive")
    late.state = JobState.FAILED
    with pytest.raises(LeaseLost):
        store.release(late)
    with pytest.raises(LeaseLost):
        store.renew(late)
    store.renew(held, 1000.0)
    assert store.get()[0].lease_ns - time.time_ns() > 900e9
    store.break_lease(job)
    with pytest.raises(LeaseLost):
        store.release(held)
    assert store.get()[0].state is JobState.OPEN


def take_all(url: str, found: Any) -> None:
    with JobStore(url) as store:
        while True:
            with store.locked_one_of(store.get("race", states=[JobState.OPEN])) as job:
                if job is None:
                    if not store.get("race", states=[JobState.OPEN]):
                        return
                    continue
                job.mark_visited()
                job.state = JobState.DONE
                found.put(job.tags["n"])


def _race(store: JobStore, url: str, start: Callable[..., Any], found: Any) -> None:
    for n in range(12):
        store.create("race", {"n": n})
    workers = [start(target=take_all, args=(url, found)) for _ in range(3)]
    for w in workers:
        w.start()
    done = sorted(int(found.get(timeout=60)) for _ in range(12))
    for w in workers:
        w.join(60)
        assert not w.is_alive()
    assert done == list(range(12))
    assert {j.visits for j in store.get("race")} == {1}


def test_each_job_is_done_once_by_three_connections(store: JobStore, url: str) -> None:
    _race(store, url, threading.Thread, queue.Queue())


@pytest.mark.long
def test_each_job_is_done_once_by_three_processes(store: JobStore, url: str) -> None:
    context = multiprocessing.get_context("spawn")
    _race(store, url, context.Process, context.Queue())


def test_addresses_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="SQLite or PostgreSQL"):
        JobStore("mysql://somewhere/x")
    with pytest.raises(BadConfig, match="names no database"):
        JobStore("://x")
    with pytest.raises(BadConfig, match="cannot be used as a job store"):
        JobStore(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite")
    with JobStore(str(tmp_path / "by-path.sqlite")) as plain:
        plain.create("reduce")
    assert (tmp_path / "by-path.sqlite").is_file()


def test_the_command_shows_jobs_and_opens_them_again(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    with JobStore(path) as store:
        store.create("reduce", {"camera": "r0"}, state="failed", reason="no sky")
        held = store.lock(store.create("reduce", {"camera": "b0"}, state="failed"), owner="me")
        store.create("report")

    def run(*args: str) -> str:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["jobs", "--store", path, *args])
        if done.exception is not None:
            raise done.exception
        return done.output

    assert "no sky" in run("--failed")
    assert "2 jobs" in run("--failed")
    assert "1 jobs" in run("--class", "reduce", "--where", "camera=r0")
    assert [j["jobclass"] for j in json.loads(run("--json", "--id", "3"))] == ["report"]
    assert "1 jobs are open now; 1 are held, and stay as they are" in run("--failed", "--set", "open")
    with JobStore(path) as store:
        store.release(held)
        assert [(j.state, j.reason) for j in store.get("reduce")] == [("open", "no sky"), ("failed", "")]
    with pytest.raises(BadConfig, match="which jobs"):
        run("--set", "open")
    with pytest.raises(BadConfig, match="no state 'running'"):
        run("--state", "running")
    with pytest.raises(BadConfig, match="write TAG=VALUE"):
        run("--where", "camera")


@pytest.mark.parametrize("name", ["none.db", "no/folder/x.db", "", "text", "empty"])
def test_the_command_makes_no_store_and_refuses_what_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("this is no database, and much longer than the header of one is " * 10)
    Path("empty").touch()
    done = CliRunner().invoke(app, ["jobs", "--store", name])
    assert isinstance(done.exception, BadConfig), done.output
    assert done.exception.what_next
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("empty")) == ["text"]


def test_what_is_no_database_is_a_fault_of_its_address(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, and much longer than the header of one is " * 10)
    with pytest.raises(BadConfig, match="file is not a database"):
        JobStore(str(tmp_path / "text"))
