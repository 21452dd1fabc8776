"""What the command line says of sessions, and the bench that it simulates."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.cli.sessionview import session_line, session_table
from quicklook.core.events import SessionNow, SessionTestNow
from quicklook.core.status import Status


def run(*arguments: str) -> str:
    """What a command says that goes well."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_what_is_installed() -> None:
    assert "vis_bench" in run("list", "sessions").split()
    assert {"arcs", "darks", "flats", "ptc", "sciences", "zeros"} <= set(run("list", "analyses").split())
    assert "MISSDATA          Exposures or cameras that the session expects did not come." in run("list", "flags")


def test_what_is_installed_is_explained() -> None:
    assert "Tests: BIAS01, BIAS02, DARK01, FLAT01, PTC01" in run("list", "sessions", "--long")
    assert "darks                Dark current, hot pixels" in run("list", "analyses", "--long")


def test_a_session_is_validated() -> None:
    said = run("validate", "--instrument", "vis_bench", "--session", "vis_bench")
    assert "session vis_bench: 5 tests (exposures): BIAS01 (5), BIAS02 (10), DARK01 (4), FLAT01 (6), PTC01 (12)" in said


def test_the_bench_takes_what_it_is_told(tmp_path: Path) -> None:
    said = run("simulate-bench", str(tmp_path), "--tests", "BIAS01", "--ccds", "1", "--abort", "BIAS01:1", "--miss", "BIAS01:5",
               "--serial", "BIAS01:ROE1_CCD1=X", "--first", "7")  # fmt: skip
    assert [line.split()[:3] for line in said.splitlines()] == [[str(7 + k), "BIAS01", p] for k, p in enumerate("11234")]
    assert len(list((tmp_path / "raw").rglob("EUC_*.fits"))) == 5
    assert (tmp_path / "truth.json").is_file()


@pytest.mark.parametrize("options", [
        ("--abort", "BIAS01"), ("--serial", "BIAS01:X"), ("--start", "now"), ("--scale", "huge"), ("--tests", "NO"), ("--tests", ""),
        ("--serial", "BIAS01:ROE1_CCD9=X"), ("--start", "9999-12-31T23:59:00"),
    ])  # fmt: skip
def test_what_it_cannot_take(options: tuple[str, str], tmp_path: Path) -> None:
    from quicklook.core.errors import BadConfig

    done = CliRunner().invoke(app, ["simulate-bench", str(tmp_path), *options])
    assert isinstance(done.exception, BadConfig)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    from quicklook.core.errors import BadConfig

    (tmp_path / "raw").write_text("a file where the folder is to be")
    done = CliRunner().invoke(app, ["simulate-bench", str(tmp_path), "--tests", "BIAS01", "--ccds", "1"])
    assert isinstance(done.exception, BadConfig)
    assert "cannot be written" in str(done.exception)


def test_the_bench_says_what_the_session_calls_a_test_and_logs_an_exposure_once(tmp_path: Path) -> None:
    session = tmp_path / "s.yaml"
    session.write_text("session: s\ntests:\n  - {name: A, of: {program: nine lives}, expect: [{flavor: zero, count: 1}]}\n")
    for _ in range(2):
        run("simulate-bench", str(tmp_path), "--session", str(session), "--ccds", "1")
    (log,) = (tmp_path / "raw").rglob("EXP_LOG_*.txt")
    head, row = (line.split("\t") for line in log.read_text().splitlines())
    assert row[head.index("TEST")] == "nine lives"


def test_how_a_session_is_shown() -> None:
    from rich.console import Console

    tests = [
        SessionTestNow(name="A", state="closed", expected=4, seen=3, judged=3, exposures="1-3", status=Status.ALARM, flags=["MISSDATA"], minutes={"check": 0.5}),
        SessionTestNow(name="B", state="receiving", expected=6, seen=2, judged=1, exposures="4-5", aborted="9", closes=2**62),
        SessionTestNow(name="C", state="running", subtask="basic", expected=2, seen=2, judged=2, exposures="6-7"),
    ]
    now = SessionNow(run="r", name="s", tests=tests, exposure_s=300.0)
    line = session_line(now)
    assert line.startswith("Session s, run r: 1 of 3 tests over, 7 of 12 exposures seen (58 %); exposures that are still expected take 5 min;")
    console = Console(width=160, file=io.StringIO())
    console.print(session_table(now))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("closed at its time-out", "ALARM", "MISSDATA", "receiving; aborted: 9", "running: basic", "2 of 6, 1 judged", "0.50"):
        assert words in shown
