"""Wait mode: a daemon that waits for the tests of a session."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from bench_site import said
from session_site import LATE, NIGHT, SESSION, change_run, of_run, outcomes, session_in, session_site, take_zero, turn

from quicklook.cli.sessionview import session_line
from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.service.daemon import Daemon
from quicklook.service.journal.journal import EVENTS
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.rerun.found import found_of, read_found
from quicklook.service.sessions.sessionplan import plan_session
from quicklook.service.sessions.testprocess import Runner
from quicklook.service.sessions.testruns import summary_text


@pytest.fixture
def daemons() -> Iterator[list[Daemon]]:
    """Daemons that a test has started; they are stopped."""
    started: list[Daemon] = []
    yield started
    for daemon in started:
        daemon.stop()


def started(daemons: list[Daemon], folder: Path, text: str = SESSION, **settings: object) -> Daemon:
    daemon = Daemon(session_site(folder, text, settings=settings))
    daemon.start()
    daemons.append(daemon)
    return daemon


def test_a_test_is_worked_on_as_soon_as_it_is_complete(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path, label="try")
    for expid in (1, 2):
        take_zero(tmp_path, expid)
    turn(daemon, lambda: len(said(daemon, "unit_verdict")) == 2)
    assert not said(daemon, "test")
    take_zero(tmp_path, 3)
    (done,) = outcomes(daemon)
    assert (done["name"], done["complete"], done["flags"]) == ("BIAS01", True, [])
    record = json.loads(of_run(daemon, "BIAS01/test.json").read_text())
    assert record["exposures"] == [f"{NIGHT}/{n:08d}" for n in (1, 2, 3)]
    assert set(record["states"].values()) == {"done"}
    assert record["analyses"]["zeros"]["a"] is not None
    assert list(of_run(daemon, "BIAS01/basic/zeros").glob("bias-a-*.fits"))
    assert of_run(daemon, "BIAS01/plots/plots-BIAS01-a.npz").is_file()
    assert read_found(tmp_path / "session.yaml")["BIAS01"] == tuple(Unit(NIGHT, n) for n in (1, 2, 3))
    assert (tmp_path / "session.yaml").read_text().startswith("# Tests of a morning.\n")
    run = session_in(daemon).run
    summary = of_run(daemon, "summary.txt").read_text()
    assert f"run {run.run} (try): 1 of 2 tests are over" in summary
    assert "3 of 3 exposures: 1-3" in summary
    assert "not yet: BIAS02" in summary
    assert of_run(daemon, f"{run.run}-try.log").is_file()
    assert of_run(daemon, "site.yaml").is_file()


def test_the_measured_noise_is_that_of_the_frames(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid, noise=4.0)
    (done,) = outcomes(daemon)
    (result,) = of_run(daemon, "BIAS01/basic/zeros").glob("calib-zeros-*.json")
    metrics = {m["name"]: m for qa in json.loads(result.read_text())["result"]["qas"] for m in qa["metrics"]}
    # 2 pairs of 6144 pixels: 4 electron to 0.9 %; expected are 3
    assert metrics["pair_noise"]["values"] == [pytest.approx(4.0, rel=0.05)]
    assert metrics["pair_noise_ratio"]["status"] == "ALARM"
    assert done["status"] == "ALARM"
    assert {"RON_OOL", "REQNOTMET"} <= set(done["flags"])


def test_what_did_not_come_is_missing_at_the_time_out(tmp_path: Path, daemons: list[Daemon]) -> None:
    for expid in (1, 2):
        take_zero(tmp_path, expid)
    daemon = started(daemons, tmp_path, LATE)
    first, second = sorted(outcomes(daemon, 2), key=lambda d: str(d["name"]))
    assert (first["complete"], first["status"]) == (False, "ALARM")
    assert "MISSDATA" in first["flags"]
    assert first["exposures"] == [f"{NIGHT}/00000001", f"{NIGHT}/00000002"]  # what came is analysed all the same
    assert "zeros" in json.loads(of_run(daemon, "BIAS01/test.json").read_text())["analyses"]
    assert (second["exposures"], "MISSDATA" in second["flags"]) == ([], True)
    turn(daemon, lambda: session_in(daemon).run.over)
    assert "the session is over" in of_run(daemon, "summary.txt").read_text()


def test_an_aborted_sequence_and_a_repeated_one(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid, position in ((1, 1), (2, 2), (3, 1), (4, 2), (5, 3)):
        take_zero(tmp_path, expid, position=position)
    (done,) = outcomes(daemon)
    assert done["exposures"] == [f"{NIGHT}/{n:08d}" for n in (3, 4, 5)]
    assert "aborted: 1-2" in of_run(daemon, "summary.txt").read_text()
    for expid, position in ((6, 1), (7, 2), (8, 3)):
        take_zero(tmp_path, expid, position=position)
    assert [d["name"] for d in outcomes(daemon, 2)] == ["BIAS01", "BIAS01.2"]
    assert found_of(tmp_path / "session.yaml", ["BIAS01"]) == {Unit(NIGHT, n): "BIAS01" for n in (6, 7, 8)}


def test_exposures_before_a_number_are_of_no_test(tmp_path: Path, daemons: list[Daemon]) -> None:
    for expid in (1, 2, 3, 4, 5):
        take_zero(tmp_path, expid)
    daemon = started(daemons, tmp_path, start_expid=3)
    (done,) = outcomes(daemon)
    assert done["exposures"] == [f"{NIGHT}/{n:08d}" for n in (3, 4, 5)]
    assert len(said(daemon, "unit_verdict")) >= 3  # the others are processed by their flavor


def test_another_serial_raises_a_flag_and_does_not_stop_the_work(tmp_path: Path, daemons: list[Daemon]) -> None:
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid, serial="S-9" if expid > 1 else "S-1")
    (done,) = outcomes(started(daemons, tmp_path))
    assert "WRONGTEST" in done["flags"]
    assert any("a: serial is S-9, the session says S-1 (exposures 2-3)" in r for r in done["reasons"])


def test_a_restart_goes_on_with_the_same_run(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2):
        take_zero(tmp_path, expid)
    turn(daemon, lambda: len(said(daemon, "unit_verdict")) == 2)
    run = session_in(daemon).run
    daemons.pop().stop()
    change_run(tmp_path, after_job=None)  # as an older program has left it
    take_zero(tmp_path, 3)
    daemon = started(daemons, tmp_path)
    assert session_in(daemon).run == run.model_copy(update={"left": False})
    (done,) = outcomes(daemon)
    assert len(done["exposures"]) == 3
    assert session_in(daemon).run.launched_ns == run.launched_ns
    daemons.pop().stop()
    assert session_in(started(daemons, tmp_path, fresh=True)).run.run != run.run


def test_a_test_that_was_over_and_not_announced_is_announced_once(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid)
    outcomes(daemon)
    with daemon.journal.transaction() as connection:
        connection.execute(sa.update(EVENTS).where(EVENTS.c.kind == "test").values(kind="session"))  # as if it had been killed just before
    daemons.pop().stop()
    change_run(tmp_path, said=[], left=False)
    daemon = started(daemons, tmp_path)
    (done,) = outcomes(daemon)
    assert done["name"] == "BIAS01"
    daemons.pop().stop()
    daemon = started(daemons, tmp_path)
    turn(daemon, lambda: said(daemon, "session"))
    assert len(said(daemon, "test")) == 1


def test_a_sub_task_that_is_switched_off_is_taken_from_before(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid)
    outcomes(daemon)
    before = json.loads(of_run(daemon, "BIAS01/basic.json").read_text())
    daemons.pop().stop()
    daemon = started(daemons, tmp_path, start_expid=1, todo=("BIAS01:basic=no",))
    turn(daemon, lambda: len(said(daemon, "test")) == 2)
    after = json.loads(of_run(daemon, "BIAS01/basic.json").read_text())
    assert (after["state"], after["data"]) == ("reused", before["data"])
    assert json.loads(of_run(daemon, "BIAS01/test.json").read_text())["analyses"]["zeros"]
    assert "basic 0.00 (reused)" in of_run(daemon, "summary.txt").read_text()


@pytest.mark.long
def test_check_only(tmp_path: Path, daemons: list[Daemon]) -> None:
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid)
    daemon = started(daemons, tmp_path, check_only=True)
    outcomes(daemon)
    record = json.loads(of_run(daemon, "BIAS01/test.json").read_text())
    assert record["states"] == {"init": "done", "check": "done", "prep": "skipped", "basic": "skipped", "meta": "skipped"}
    assert record["analyses"] == {}


@pytest.mark.long
def test_a_test_with_chains_of_its_own(tmp_path: Path, daemons: list[Daemon]) -> None:
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid)
    daemon = started(daemons, tmp_path, SESSION.replace("analyses: [zeros]", "analyses: [zeros]\n    chains: {zero: raw}"))
    outcomes(daemon)
    run = session_in(daemon).run.run
    assert len(list((tmp_path / "out" / f"test-{run}-BIAS01").rglob("qa-a-*.json"))) == 3


def test_a_process_that_is_killed_raises_a_flag(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid)
    session = session_in(daemon)
    session._runner.inline = False
    turn(daemon, lambda: session._runner._process is not None)
    assert session._runner._process is not None
    session._runner._process.kill()
    (done,) = outcomes(daemon)
    assert "SUBTASKCRASH" in done["flags"]
    assert any("its process ended with status -9" in r for r in done["reasons"])
    session._runner.inline = True
    for expid in (4, 5):
        take_zero(tmp_path, expid, "BIAS02")
    assert [d["name"] for d in outcomes(daemon, 2)] == ["BIAS01", "BIAS02"]  # the next one goes on


@pytest.mark.long
def test_work_that_takes_too_long_is_stopped(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2, 3):
        take_zero(tmp_path, expid)
    session = session_in(daemon)
    session._runner = Runner(inline=False, deadline_s=0.0, log_file=session._log.path)
    (done,) = outcomes(daemon)
    assert any("it took longer than 0 s and was stopped" in r for r in done["reasons"])


def test_how_things_stand(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    for expid in (1, 2):
        take_zero(tmp_path, expid)
    turn(daemon, lambda: said(daemon, "session") and said(daemon, "session")[-1].payload["tests"][0]["judged"] == 2)
    now = state_of(daemon.journal).session
    assert now is not None
    assert [(t.name, t.state, t.seen, t.expected, t.exposures) for t in now.tests] == [
        ("BIAS01", "receiving", 2, 3, "1-2"), ("BIAS02", "waiting", 0, 2, "")]  # fmt: skip
    assert now.tests[0].closes == session_in(daemon).run.launched_ns + 4 * 3600 * 10**9
    assert "0 of 2 tests over, 2 of 5 exposures seen (40 %)" in session_line(now)
    assert daemon.idle  # a test that is waited for keeps nobody


@pytest.mark.long
def test_the_daemon_ends_with_the_session_where_that_is_wanted(tmp_path: Path) -> None:
    daemon = Daemon(session_site(tmp_path, LATE, settings={"until_done": True}))
    end = time.monotonic() + 120
    daemon.run(lambda: time.monotonic() > end)
    assert time.monotonic() < end
    assert len(list((tmp_path / "out/tests").glob("*/*/test.json"))) == 2


def test_a_session_that_is_mended_goes_on_and_a_broken_one_is_refused(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = started(daemons, tmp_path)
    run, session = session_in(daemon).run.run, tmp_path / "session.yaml"
    daemon.reloading.reread = lambda: session_site(tmp_path)
    session.write_text(SESSION.replace("count: 3", "count: many"))
    with pytest.raises(BadConfig, match="count"):
        daemon.reload()
    assert session_in(daemon).plan.session.tests[0].expected == 3
    session.write_text(SESSION.replace("count: 3", "count: 2"))
    daemon.reload()
    turn(daemon, lambda: session_in(daemon).plan.session.tests[0].expected == 2)
    assert session_in(daemon).run.run == run
    for expid in (1, 2):
        take_zero(tmp_path, expid)
    (done,) = outcomes(daemon)
    assert done["complete"]
    assert "count: 2" in of_run(daemon, "session.yaml").read_text()
    assert "count: 3" in of_run(daemon, "session-1.yaml").read_text()  # by which it began
    assert read_found(of_run(daemon, "session.yaml"))["BIAS01"] == (Unit(NIGHT, 1), Unit(NIGHT, 2))
    kept = yaml.safe_load(of_run(daemon, "site.yaml").read_text())["session"]
    assert "MISSDATA" in [flag["name"] for flag in kept["flags"]]
    assert kept["analyses"]["zeros"]["series"]


def test_without_a_session_nothing_of_it_is_there(tmp_path: Path, daemons: list[Daemon]) -> None:
    take_zero(tmp_path, 1)
    daemon = Daemon(session_site(tmp_path, session={"file": ""}))
    daemon.start()
    daemons.append(daemon)
    turn(daemon, lambda: said(daemon, "unit_verdict"))
    assert not (tmp_path / "out/tests").exists()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("analyses: [zeros]", "analyses: [zerros]", r"session.yaml:9 \(tests\[0\].analyses\): .*did you mean 'zeros'"),
        ("analyses: [zeros]", "chains: {zero: no_such}", r"session.yaml:9 \(tests\[0\].chains.zero\): "),
        ("analyses: [zeros]", "chains: {zeero: zero}", "has no flavor 'zeero'"),
        ("session: morning", "session: morning\nflags: [no_such]", r"\(flags\): no configuration flags/no_such"),
    ],
)
def test_what_a_session_names_and_is_not_there(tmp_path: Path, old: str, new: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        plan_session(session_site(tmp_path, SESSION.replace(old, new)))


def test_the_shipped_session_is_good() -> None:
    from quicklook.service.site import load_site

    plan = plan_session(load_site(None, options={"instrument": "vis_bench", "session": {"file": "vis_bench"}}))
    assert [t.name for t in plan.session.tests] == ["BIAS01", "BIAS02", "DARK01", "FLAT01", "PTC01"]
    assert set(plan.builders) == {"zeros", "darks", "flats", "ptc"}
    assert plan.path is None  # nothing is written into what is shipped


def test_options_without_a_session_are_refused(tmp_path: Path) -> None:
    site = session_site(tmp_path, session={"file": ""})
    with pytest.raises(BadConfig, match="go with a session"):
        site.with_session(None, 5, ())


def test_a_summary_of_nothing() -> None:
    from quicklook.service.sessions.testruns import RunRecord

    record = RunRecord(run="r", label="", session="s", sha256="", tag="live", launched_ns=0, last_test_ns=0)
    assert summary_text(record, ["A", "B"]) == "Session s, run r: 0 of 2 tests are over\n\nnot yet: A, B\n"


def test_a_flag_may_name_the_series_of_an_analysis_that_another_session_has(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("flags: [{name: DRIFT, doc: Lines drift. Look., metric: trace_shift_range}]\n")
    plan = plan_session(session_site(tmp_path, SESSION.replace("session: morning", "session: morning\nflags: [default, mine.yaml]")))
    assert "DRIFT" in [f.name for f in plan.flags.flags]
    (tmp_path / "session.yaml").unlink()
    (tmp_path / "mine.yaml").write_text("flags: [{name: DRIFT, doc: Lines drift. Look., metric: trace_shift_rnge}]\n")
    with pytest.raises(BadConfig, match="no QA measures 'trace_shift_rnge'"):
        plan_session(session_site(tmp_path, SESSION.replace("session: morning", "session: morning\nflags: [default, mine.yaml]")))
