"""Wait mode where things go wrong: nothing is called good that was not measured, nothing is lost, and the daemon goes on."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench_site import WATCH, said
from session_site import LATE, NIGHT, SESSION, change_run, of_run, outcomes, record_of, session_in, session_site, take_zero, turn

from quicklook.cli.sessionview import session_line
from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.core.session import SubTask
from quicklook.service.daemon import Daemon
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.rerun.found import read_found
from quicklook.service.sessions import subtasks
from quicklook.service.sessions.sessionplan import plan_session
from quicklook.service.sessions.steadytime import SteadyTime
from quicklook.service.sessions.subtasks import UNWRITTEN, process_main
from quicklook.service.site import load_site

HOUR_NS = 3600 * 10**9
UNLABELLED = "session: m\ntests:\n  - {name: A, expect: [{flavor: zero, count: 1}]}\n  - {name: B, expect: [{flavor: zero, count: 1}]}\n"
Daemons = list[Daemon]


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    """Daemons that a test has started; they are stopped."""
    started: Daemons = []
    yield started
    for daemon in started:
        daemon.stop()


def start(daemons: Daemons, folder: Path, text: str = SESSION, site: dict[str, object] | None = None, **settings: object) -> Daemon:
    """A daemon in place of the one before."""
    while daemons:
        daemons.pop().stop()
    daemon = Daemon(session_site(folder, text, settings=settings, **(site or {})))
    daemon.start()
    daemons.append(daemon)
    return daemon


def taken(folder: Path, *numbers: int, program: str = "BIAS01", **options: object) -> None:
    for n in numbers:
        take_zero(folder, n, program, **options)  # type: ignore[arg-type]


def spin(daemon: Daemon, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        daemon.step()


# ---- what was not measured is not good


def test_what_is_switched_off_is_not_taken_from_other_exposures(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path)
    taken(tmp_path, 1, 2, 3)
    assert outcomes(daemon)[0]["status"] == "NORMAL"
    daemon = start(daemons, tmp_path, start_expid=10, todo=("BIAS01:check=no,basic=no",))
    taken(tmp_path, 11, 12, 13, serial="S-9", noise=30.0)
    done = outcomes(daemon, 2)[1]
    assert done["status"] == "UNKNOWN"
    assert done["reasons"] == ["UNKNOWN: sub-task check was not done, and of these exposures it has not been done before"]
    assert record_of(daemon, "BIAS01")["states"]["basic"] == "skipped"


@pytest.mark.long
def test_what_is_switched_off_is_not_taken_from_another_tag(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path)
    taken(tmp_path, 1, 2, 3)
    outcomes(daemon)
    states = dict[str, str]()
    for tag in ("other", "live"):
        daemon = start(daemons, tmp_path, site={"tag": tag}, start_expid=1, todo=("BIAS01:basic=no",))
        turn(daemon, lambda: session_in(daemons[0]).run.tests)
        states[tag] = record_of(daemon, "BIAS01")["states"]["basic"]
    assert states == {"other": "skipped", "live": "reused"}


def test_an_analysis_that_found_nothing_is_unknown(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path, SESSION.replace("analyses: [zeros]", "analyses: [zeros, darks]"))
    taken(tmp_path, 1, 2, 3)
    (done,) = outcomes(daemon)
    assert done["status"] == "UNKNOWN"
    assert done["reasons"] == ["UNKNOWN: darks has found nothing: there is no exposure with results that it could work on (dark)"]


def test_a_camera_without_a_result_is_unknown_and_a_file_that_is_gone_is_told(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path, SESSION.replace("serial: S-1", "temperature_c: -120"))
    taken(tmp_path, 1, 2)
    turn(daemon, lambda: len(said(daemon, "unit_verdict")) == 2 and daemon.idle)
    for path in (tmp_path / f"raw/{NIGHT}_0001_a.fits", tmp_path / f"out/live/exposures/{NIGHT}/00000002/qa-a-00000002.json"):
        path.unlink()
    taken(tmp_path, 3)
    (done,) = outcomes(daemon)
    check = json.loads(of_run(daemon, "BIAS01/check.json").read_text())["data"]
    assert check["statuses"] == {f"{NIGHT}/00000001": "NORMAL", f"{NIGHT}/00000002": "UNKNOWN", f"{NIGHT}/00000003": "NORMAL"}
    assert "POORQUALDATA" in done["flags"]
    assert "WARNING: POORQUALDATA: exposures_unknown 1; exposure 2" in done["reasons"]
    assert any(f"{NIGHT}_0001_a.fits is not there any more" in r for r in done["reasons"])


@pytest.mark.long
def test_a_flag_says_what_is_missing_and_where(tmp_path: Path, daemons: Daemons) -> None:
    for n in (1, 3):
        taken(tmp_path, n, position=n)
    daemon = start(daemons, tmp_path, LATE, site={"cameras": ["a", "b"], "watch": {**WATCH, "unit_s": 0.5}})
    done = {str(d["name"]): d["reasons"] for d in outcomes(daemon, 2)}
    assert done["BIAS01"][0] == (
        "ALARM: MISSDATA: missing 1, missing_cameras 2, timed_out 1; position 2 of the sequence; 2 of 3 came (flavor zero, exptime 0); and 1 more"
    )
    assert done["BIAS02"][0] == "ALARM: MISSDATA: missing 2, timed_out 1; 0 of 2 came (flavor zero)"


@pytest.mark.long
def test_the_verdicts_of_the_chains_of_a_test_are_part_of_its_own(tmp_path: Path, daemons: Daemons) -> None:
    """The daemon's chain does not look at the noise, that of the test does."""
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text("chain: quiet\nsteps:\n  - {name: read, qas: [check_file]}\n")
    daemon = start(daemons, tmp_path, SESSION.replace("analyses: [zeros]", "chains: {zero: zero}"), site={"chains": {"_default": str(quiet)}})
    taken(tmp_path, 1, 2, 3, noise=12.0)
    (done,) = outcomes(daemon)
    check, prep = (json.loads(of_run(daemon, f"BIAS01/{sub}.json").read_text())["data"] for sub in ("check", "prep"))
    assert set(check["statuses"].values()) != {"ALARM"}
    assert set(prep["statuses"].values()) == {"ALARM"}
    assert done["status"] == "ALARM"
    assert {"BADDATA", "RON_OOL"} <= set(done["flags"])


def test_another_serial_that_is_a_number_is_another_one(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path, SESSION.replace("serial: S-1", "serial: 14311"))
    taken(tmp_path, 1, 2, 3, serial="14312")
    assert outcomes(daemon)[0]["flags"] == ["WRONGTEST"]


# ---- nothing is lost


def test_without_labels_the_next_test_gets_its_exposures(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path, UNLABELLED)
    for n, names in ((1, ["A"]), (2, ["A", "B"])):
        taken(tmp_path, n)
        assert [d["name"] for d in outcomes(daemon, n)] == names


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_loses_no_exposure_and_closes_nothing(tmp_path: Path, daemons: Daemons, hours: int) -> None:
    daemon = start(daemons, tmp_path)
    session, moved = session_in(daemon), SteadyTime()
    session.now_ns = SteadyTime(wall_ns=lambda: time.time_ns() + hours * HOUR_NS)
    session.now_ns._offset = moved._offset  # the daemon began before the clock was set
    session.run = session.run.model_copy(update={"launched_ns": session.run.launched_ns - min(hours, 0) * HOUR_NS})  # as if it was ahead
    taken(tmp_path, 1, 2)
    turn(daemon, lambda: said(daemon, "session") and said(daemon, "session")[-1].payload["tests"][0]["judged"] == 2)
    assert not said(daemon, "test")
    closes = said(daemon, "session")[-1].payload["tests"][0]["closes"]
    shift = closes - session.closes_ns(session.plan.session.tests[0])
    assert abs(shift - hours * HOUR_NS) <= 10 * 10**9  # told as the clock tells it now


def test_a_restart_does_not_lengthen_a_time_out(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path)
    launched = session_in(daemon).run.launched_ns
    daemon = start(daemons, tmp_path)
    assert session_in(daemon).closes_ns(session_in(daemon).plan.session.tests[0]) == launched + 4 * HOUR_NS


def test_what_came_while_the_daemon_was_away_counts_though_the_time_out_is_past(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path)
    launched = session_in(daemon).run.launched_ns
    daemons.pop().stop()
    change_run(tmp_path, launched_ns=launched - 5 * HOUR_NS, last_test_ns=launched - 5 * HOUR_NS)
    taken(tmp_path, 1, 2, 3)
    daemon = start(daemons, tmp_path)
    done = {str(d["name"]): d for d in outcomes(daemon, 2)}
    assert (done["BIAS01"]["complete"], done["BIAS02"]["complete"]) == (True, False)


def test_only_a_complete_repetition_takes_the_place_of_the_numbers_that_were_found(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path)
    taken(tmp_path, 1, 2, 3)
    outcomes(daemon)
    first = {"BIAS01": tuple(Unit(NIGHT, n) for n in (1, 2, 3))}
    session = tmp_path / "session.yaml"
    session.write_text(session.read_text().replace("session: morning", "session: morning\ntimeout_h: 0.0002"))
    taken(tmp_path, 4)
    daemon = start(daemons, tmp_path)
    turn(daemon, lambda: session_in(daemon).run.over)
    assert sorted(d["name"] for d in outcomes(daemon, 3)) == ["BIAS01", "BIAS01.2", "BIAS02"]
    assert read_found(session) == first  # nor is an empty list written for BIAS02


# ---- runs


def test_a_session_that_is_over_is_not_begun_again_by_a_reload_or_a_kill(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path, LATE)
    turn(daemon, lambda: session_in(daemon).run.over)
    run = session_in(daemon).run.run
    daemon.reloading.reread = lambda: session_site(tmp_path)
    daemon.reload()
    old = session_in(daemon)
    turn(daemon, lambda: session_in(daemon) is not old)
    spin(daemon, 1.0)
    assert (session_in(daemon).run.run, session_in(daemon).run.over, len(said(daemon, "test"))) == (run, True, 2)
    daemons.pop().stop()
    change_run(tmp_path, left=False)  # as if it had been killed
    assert session_in(start(daemons, tmp_path)).run.run == run
    assert session_in(start(daemons, tmp_path)).run.run != run  # it was stopped in good order, and is started again: somebody wants another one


@pytest.mark.long
def test_a_reload_with_a_further_test_opens_the_session_again(tmp_path: Path, daemons: Daemons) -> None:
    daemon = start(daemons, tmp_path, LATE)
    turn(daemon, lambda: session_in(daemon).run.over)
    run, session = session_in(daemon).run.run, tmp_path / "session.yaml"
    session.write_text(SESSION.replace("tests:", "tests:\n  - name: MORE\n    of: {program: more}\n    expect: [{flavor: zero, count: 1}]"))
    daemon.reloading.reread = lambda: session_site(tmp_path)
    daemon.reload()
    turn(daemon, lambda: not session_in(daemon).run.over)
    taken(tmp_path, 1, program="more")
    assert outcomes(daemon, 3)[-1]["name"] == "MORE"
    assert session_in(daemon).run.run == run


def test_a_state_that_cannot_be_read_is_told(tmp_path: Path, daemons: Daemons, caplog: pytest.LogCaptureFixture) -> None:
    start(daemons, tmp_path)
    daemons.pop().stop()
    (path,) = tmp_path.glob("out/tests/*/run.json")
    path.write_text("{")
    with caplog.at_level(logging.WARNING, "quicklook.session"):
        start(daemons, tmp_path)
    assert f"{path} cannot be read" in caplog.text


# ---- the daemon goes on


def test_a_test_that_cannot_be_written_stops_nothing_and_is_done_when_it_can(tmp_path: Path, daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.service.sessions.session._PAUSE_NS", 200_000_000)
    daemon = start(daemons, tmp_path)
    of_run(daemon, "BIAS01").write_text("a file where its folder is to be")
    taken(tmp_path, 1, 2, 3)
    turn(daemon, lambda: session_in(daemon)._trouble)
    taken(tmp_path, 4, 5, program="BIAS02")
    assert outcomes(daemon)[0]["name"] == "BIAS02"
    spin(daemon, 0.5)
    assert not session_in(daemon)._works
    now = state_of(daemon.journal).session
    assert now is not None
    assert "; IT CANNOT GO ON, and tries again: NotADirectoryError" in session_line(now)
    of_run(daemon, "BIAS01").unlink()
    assert outcomes(daemon, 2)[1]["name"] == "BIAS01"


def test_a_process_that_cannot_write_says_so_and_is_no_crash(tmp_path: Path, daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = start(daemons, tmp_path)
    taken(tmp_path, 1)
    turn(daemon, lambda: session_in(daemon).takings and session_in(daemon).takings[0].units)
    (tmp_path / "file").write_text("")
    work = replace(session_in(daemon)._work(session_in(daemon).takings[0]), folder=tmp_path / "file" / "BIAS01")
    monkeypatch.setattr("quicklook.service.sessions.subtasks.os.nice", lambda _: 0)
    monkeypatch.setattr("quicklook.service.sessions.subtasks.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        process_main(work, os.devnull)
    assert ended.value.code == UNWRITTEN


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("flavor: dark, count: 4", "flavor: drak, count: 4", r"\(tests\[2\].expect\[0\].flavor\): vis_bench has no flavor 'drak'; did you mean 'dark'"),
        ("ROE1_CCD1:", "ROE1_CDD1:", r"\(hardware.ROE1_CDD1\): vis_bench has no camera 'ROE1_CDD1'"),
    ],
)
def test_what_would_silently_fit_nothing_is_refused(tmp_path: Path, repo_root: Path, old: str, new: str, why: str) -> None:
    session = tmp_path / "s.yaml"
    session.write_text((repo_root / "configs/sessions/vis_bench.yaml").read_text().replace(old, new))
    with pytest.raises(BadConfig, match=why):
        plan_session(load_site(None, options={"instrument": "vis_bench", "session": {"file": str(session)}}))


@pytest.mark.long
def test_a_test_whose_work_failed_is_shown_as_failed(tmp_path: Path, daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_test: object) -> dict[str, object]:
        raise ValueError("no")

    monkeypatch.setitem(subtasks._WORKS, SubTask.META, fails)
    daemon = start(daemons, tmp_path)
    taken(tmp_path, 1, 2, 3)
    assert "SUBTASKCRASH" in outcomes(daemon)[0]["flags"]
    turn(daemon, lambda: said(daemon, "session")[-1].payload["tests"][0]["state"] == "failed")
    now = state_of(daemon.journal).session
    assert now is not None
    assert "1 of 2 tests over (1 failed)" in session_line(now)
