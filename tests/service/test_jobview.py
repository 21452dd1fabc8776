"""The daemon's jobs from outside: order of work, leases, what is shown, done again, left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs, jobview
from quicklook.service.journal.jobs import Claim, UnitRow
from quicklook.service.journal.journal import JOBS, Journal, journal_path
from quicklook.service.site import load_site
from quicklook.service.workers.processing import Processor
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

NIGHT = 20220101
FAILURE = Failure(error="BadData", message="no sky fibres at all", what_next="Look at the file.")


def add(journal: Journal, expid: int, *parts: str, flavor: str = "science", raw: Path | None = None) -> Unit:
    unit = Unit(NIGHT, expid)
    path = raw or Path("/raw") / f"{expid}.fits"
    row = UnitRow(unit=unit, tag="live", revision=0, path=str(path), expected=parts, tags={"flavor": flavor}, closed_ns=1, seen_ns=1, deadline_ns=2**62)
    with journal.transaction() as connection:
        jobs.add_unit(connection, row, parts)
    return unit


@pytest.fixture
def journal(tmp_path: Path):
    made = Journal(journal_path(tmp_path), time.time_ns)
    yield made
    made.close()


def take(journal: Journal, **claim: object) -> jobs.Job | None:
    with journal.transaction() as connection:
        return jobs.take_next(connection, "live", time.time_ns(), Claim(owner="me:1", lease_ns=10**9, **claim))  # type: ignore[arg-type]


def fail(journal: Journal) -> jobs.Job:
    job = take(journal)
    assert job is not None
    with journal.transaction() as connection:
        jobs.give_up(connection, job.id, FAILURE)
        jobs.set_verdict(connection, job.id, Status.UNKNOWN, ["UNKNOWN: no sky fibres at all"])
    return job


def close(journal: Journal, unit: Unit) -> None:
    with journal.transaction() as connection:
        row = jobs.latest_unit(connection, unit, "live")
        assert row is not None
        jobs.close_unit(connection, row, time.time_ns())


def test_priorities_go_first_and_newest_first_among_equals(journal):
    for expid, flavor in ((1, "science"), (2, "arc"), (3, "science"), (4, "zero"), (5, "dark")):
        add(journal, expid, "r0", flavor=flavor)
    order = []
    while (job := take(journal, priorities={"science": 10, "_default": 1, "dark": -1})) is not None:
        order.append(job.unit.expid)
    assert order == [3, 1, 4, 2, 5]


def test_without_priorities_the_newest_goes_first(journal):
    for expid in (7, 9, 8):
        add(journal, expid, "r0")
    found = [take(journal) for _ in range(4)]
    assert [job.unit.expid if job else None for job in found] == [9, 8, 7, None]


def test_a_lease_is_renewed_by_its_owner_alone_and_its_end_is_shown(journal):
    add(journal, 1, "r0")
    take(journal)
    with journal.transaction() as connection:
        jobs.renew_leases(connection, "live", Claim(owner="other:2", lease_ns=10**15), time.time_ns())
        shown = jobview.list_jobs(connection)[0]
        assert (shown.owner, shown.visits, shown.state) == ("me:1", 1, "running")
        assert shown.lease_s is not None
        assert shown.lease_s < 2
        jobs.renew_leases(connection, "live", Claim(owner="me:1", lease_ns=10**12), time.time_ns())
        assert jobview.list_jobs(connection)[0].lease_s == pytest.approx(1000, abs=60)
        assert jobs.release_running(connection, "live") == 1
        assert (jobview.list_jobs(connection)[0].state, jobview.list_jobs(connection)[0].lease_s) == ("open", None)


def test_visits_are_counted_over_all_attempts(journal):
    add(journal, 1, "r0")
    for _ in range(3):
        job = take(journal)
        assert job is not None
        with journal.transaction() as connection:
            jobs.retry_later(connection, job.id, 0, FAILURE, attempts=0)
    with journal.reading() as connection:
        shown = jobview.list_jobs(connection)[0]
    assert (shown.attempts, shown.visits) == (0, 3)


def run(folder: Path, *args: str) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["jobs", "--out", str(folder), *args])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.output


def test_a_failed_job_shows_its_reason_and_is_done_again(journal, tmp_path):
    raw = tmp_path / "1.fits"
    raw.touch()
    unit = add(journal, 1, "r0", raw=raw)
    add(journal, 2, "b0", raw=raw, flavor="zero")
    job = take(journal)  # the newest
    assert job is not None
    assert job.part == "b0"
    fail(journal)
    text = run(tmp_path, "--failed")
    assert "20220101/00000001 r0: no sky fibres at all\n  Look at the file." in text
    assert "1 shown; in the journal: 1 running, 1 failed" in text
    with pytest.raises(NotReadyYet, match="of exposures that are being worked on: 20220101/00000001"):
        run(tmp_path, "--requeue")  # the exposure has no verdict yet
    close(journal, unit)
    assert "1 job that has failed is done again, as soon as the daemon runs" in run(tmp_path, "--requeue", str(unit), "--by", "me")
    again = take(journal)
    assert again is not None
    assert (again.unit, again.revision, again.attempts) == (unit, 1, 1)
    assert "0 shown; in the journal: 2 running" in run(tmp_path, "--failed")
    said = [e for e in journal.events() if e.kind == "command"]
    assert [(e.payload["name"], e.payload["by"], e.payload["args"]) for e in said] == [("requeue", "me", {"unit": str(unit)})]


def test_what_is_ignored_is_told_and_keeps_who_and_why(journal, tmp_path):
    unit = add(journal, 1, "b0", "r0")
    failed = fail(journal)
    run(tmp_path, "--ignore", str(unit), "--reason", "shutter stuck", "--by", "me")
    with journal.reading() as connection:
        shown = {j.part: j for j in jobview.list_jobs(connection)}
        row = jobs.latest_unit(connection, unit, "live")
        assert row is not None
        parts = {p.part: p for p in jobs.part_states(connection, row)}
    assert {j.state for j in shown.values()} == {"ignored"}
    waiting = ({"b0", "r0"} - {failed.part}).pop()
    assert shown[failed.part].failure == FAILURE, "a failed one keeps its reason"
    assert parts[waiting].announced
    assert parts[waiting].reasons == ("UNKNOWN: ignored by me: shutter stuck",)
    told = [e for e in journal.events() if e.kind == "failed"]
    assert [e.part for e in told] == [waiting], "the failed one was told when it failed"
    assert take(journal) is None
    with pytest.raises(BadData, match="has failed or waits"):
        run(tmp_path, "--ignore", str(unit), "--reason", "again")
    with pytest.raises(BadConfig, match="say why"):
        run(tmp_path, "--ignore", str(unit))


def test_what_runs_is_not_ignored(journal, tmp_path):
    unit = add(journal, 1, "r0")
    take(journal)
    with pytest.raises(NotReadyYet, match="r0 is being worked on"):
        run(tmp_path, "--ignore", str(unit), "--reason", "x")


def test_jobs_are_chosen_by_state_exposure_and_tag(journal, tmp_path):
    for expid in (1, 2, 3):
        add(journal, expid, "r0")
    take(journal)
    assert "20220101/00000003" in run(tmp_path, "--state", "running")
    assert "20220101/00000002" not in run(tmp_path, "--state", "running")
    assert "1 shown" in run(tmp_path, "20220101/2")
    assert "0 shown; in the journal: no jobs" in run(tmp_path, "--tag", "other")
    assert '"unit": "20220101/00000003"' in run(tmp_path, "--json", "--limit", "1")
    with pytest.raises(BadConfig, match="there is no state sleeping"):
        run(tmp_path, "--state", "sleeping")
    with pytest.raises(BadConfig, match="names no unit"):
        run(tmp_path, "r0")


def test_a_folder_without_a_journal(tmp_path):
    with pytest.raises(BadConfig, match="has no journal"):
        run(tmp_path / "nowhere")


def test_taking_one_of_many_is_quick(journal):
    """The queue is a table: thousands of jobs that wait cost the next one nothing that would be felt."""
    rows = [
        {"unit": f"20220101/{n:08d}", "part": "r0", "tag": "live", "revision": 0, "path": "/x", "flavor": "science", "state": "open"} for n in range(20000)
    ]
    with journal.transaction() as connection:
        connection.execute(JOBS.insert(), rows)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert take(journal, priorities={"science": 1}) is not None
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0  # 0.02 s on an idle machine


def test_priorities_are_of_flavors_that_there_are():
    with pytest.raises(BadConfig, match="has no flavor 'scince'; did you mean 'science'"):
        load_site(None, options={"instrument": "desi", "work": {"priorities": {"scince": 1}}}).check()
    load_site(None, options={"instrument": "desi", "work": {"priorities": {"science": 1, "_default": -1}}}).check()


def test_failed_work_is_done_again_while_the_daemon_runs(tmp_path, monkeypatch):
    cameras = sim_instruments(("r0",), scale="tiny", seed=3)
    calib = write_calibrations(tmp_path, cameras)
    write_exposure(tmp_path, plan_exposure("zero", 100, night=NIGHT), cameras)
    process, tried = Processor.process, list[int]()

    def fails_once(self, path, key, chain, *, revision=0, **more):
        tried.append(revision)
        if len(tried) == 1:
            raise BadData("no such luck")
        return process(self, path, key, chain, revision=revision, **more)

    monkeypatch.setattr(Processor, "process", fails_once)
    options = {
        "instrument": "desi",
        "cameras": ["r0"],
        "chains": {"_default": "zero"},
        "raw": str(tmp_path / "raw"),
        "calib": str(calib),
        "out": str(tmp_path / "out"),
        "plots": False,
        "work": {"executor": "inline"},
        "watch": {"settle_s": 0.05},
        "sinks": {},
        "commands": {"endpoint": ""},
    }
    daemon = Daemon(load_site(None, options=options))
    daemon.start()
    try:
        assert until(daemon, 1) == ["UNKNOWN"]
        assert "no such luck" in run(tmp_path / "out", "--failed")
        assert run(tmp_path / "out", "--requeue").endswith("1 job that has failed is done again\n")
        assert until(daemon, 2) == ["UNKNOWN", "NORMAL"]
    finally:
        daemon.stop()
    assert tried == [0, 1]


def until(daemon: Daemon, n: int, seconds: float = 120.0) -> list[str]:
    """Work until there are so many verdicts of exposures; returns them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        daemon.step()
        if len(found := daemon.journal.events(kinds=["unit_verdict"])) >= n and daemon.idle:
            return [e.payload["status"] for e in found]
    pytest.fail("the verdict did not come")


def test_an_exposure_that_was_concluded_without_what_is_ignored_is_concluded_anew(journal, tmp_path):
    unit = add(journal, 1, "b0", "r0")
    job = take(journal)
    assert job is not None
    with journal.transaction() as connection:
        jobs.set_verdict(connection, job.id, Status.NORMAL, [])
        jobs.finish(connection, job.id)
    close(journal, unit)  # its deadline has passed while r0 waited
    with pytest.raises(BadData, match="has no camera z9; it has: b0, r0"):
        run(tmp_path, "--ignore", str(unit), "--camera", "z9", "--reason", "x")
    run(tmp_path, "--ignore", str(unit), "--reason", "shutter stuck", "--by", "me")
    with journal.reading() as connection:
        row = jobs.latest_unit(connection, unit, "live")
        assert row is not None
        parts = jobs.part_states(connection, row)
        due = jobs.perhaps_due(connection, "live")
    assert (row.revision, row.closed, due) == (1, False, [row])
    assert [(p.part, p.state, p.announced, p.status) for p in parts] == [("b0", "done", True, "NORMAL"), ("r0", "ignored", True, "UNKNOWN")]


def test_that_a_daemon_ends_is_no_attempt_of_what_it_was_at(journal):
    add(journal, 1, "r0")
    for visits in range(1, 6):
        job = take(journal)
        assert job is not None
        assert job.attempts == 1
        with journal.transaction() as connection:
            assert jobs.release_running(connection, "live") == 1
        with journal.reading() as connection:
            (shown,) = jobview.list_jobs(connection)
        assert (shown.attempts, shown.visits, shown.state) == (0, visits, "open")


@pytest.mark.parametrize(
    "words",
    [
        ("--store", "x.db", "--requeue"), ("--store", "x.db", "20220101/1"), ("--class", "x"), ("--id", "1"), ("--set", "open"),
        ("--requeue", "--camera", "r0"), ("--camera", "r0"), ("--requeue", "--ignore", "20220101/1", "--reason", "x"),
    ],
)  # fmt: skip
def test_options_that_say_nothing_together_are_refused(journal, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    add(journal, 1, "r0")
    with pytest.raises(BadConfig, match="--"):
        run(tmp_path, *words)
    assert not (tmp_path / "x.db").exists()


def test_the_exposure_is_never_cut_in_a_narrow_terminal_or_a_pipe(journal, tmp_path):
    add(journal, 1, "r0")
    for columns in ("80", None):
        done = CliRunner(env={"COLUMNS": columns}).invoke(app, ["jobs", "--out", str(tmp_path)])
        assert "20220101/00000001" in done.output
