"""`quicklook ctl`, `quicklook keys`, `quicklook status`: what a person types."""

from __future__ import annotations

import re
import time

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.cli.status import show
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Heartbeat, Refused, draft
from quicklook.core.results import Failure
from quicklook.core.wire import State
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import Journal, journal_path, take_lock
from quicklook.service.publishing.commands import Commander, Hooks
from quicklook.service.site import load_site


def run(*args: str) -> tuple[int, str]:
    """Exit status and output; what the command raises is raised."""
    done = CliRunner(env={"COLUMNS": "150"}).invoke(app, list(args))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def journal(tmp_path):
    made = Journal(journal_path(tmp_path), time.time_ns)
    yield made
    made.close()


def test_status_of_a_folder_in_which_no_daemon_ever_was(tmp_path):
    with pytest.raises(BadConfig, match="has no journal"):
        run("status", "--out", str(tmp_path))


def test_status_says_whether_the_daemon_lives(tmp_path, journal):
    status, text = run("status", "--out", str(tmp_path))
    assert (status, "No daemon has ever given a sign of life" in text, "No exposure has arrived" in text) == (3, True, True)
    beat = Heartbeat(workers=2, waiting=0, running=0, done=0, failed=0, latency_s={"median": 1.24, "p95": 3.0, "n": 20}, memory_mb={"daemon": 120.4}, disk_free_gb=7.25)
    journal.append([draft(beat)])
    status, text = run("status", "--out", str(tmp_path))
    told = re.search(r"THE DAEMON DOES NOT RUN: its last sign of life is \d+ s old", text)  # on a busy machine it is not 0 s
    assert (status, told is not None) == (3, True), "nobody holds the lock"
    with take_lock(tmp_path):
        status, text = run("status", "--out", str(tmp_path))
    assert status == 0
    assert re.search(r"The daemon lives \(sign of life \d+ s ago\): 2 workers, daemon 120 MB, 7\.2 GB free on disk\.", text)
    assert "median 1.2 s, 95 % within 3.0 s (last 20 exposures)" in " ".join(text.split())
    status, text = run("status", "--out", str(tmp_path), "--json")
    assert State.model_validate_json(text).heartbeat == beat


def test_an_old_sign_of_life_is_none(tmp_path):
    old = Journal(journal_path(tmp_path), lambda: time.time_ns() - 3600 * 10**9)
    old.append([draft(Heartbeat(waiting=0, running=0, done=0, failed=0))])
    old.close()
    status, text = run("status", "--out", str(tmp_path))
    assert status == 3
    assert "THE DAEMON DOES NOT RUN: its last sign of life is 60 min old" in text


def test_a_file_that_is_not_taken_is_shown_until_it_is(tmp_path, journal):
    why = Failure(error="BadData", message="a.fits is truncated", what_next="")
    with journal.transaction() as connection:
        jobs.remember_file(connection, "/raw/a.fits", "live", 1, 1, jobs.REFUSED)
        journal.append([draft(Refused(file="a.fits", path="/raw/a.fits", failure=why))], connection)
    assert "Not taken: /raw/a.fits: a.fits is truncated" in run("status", "--out", str(tmp_path))[1]
    with journal.transaction() as connection:
        jobs.remember_file(connection, "/raw/a.fits", "live", 2, 2, jobs.TAKEN)
    assert "Not taken" not in run("status", "--out", str(tmp_path))[1]


def test_what_a_dead_daemon_had_begun_does_not_run_and_has_no_end(capsys):
    beat = Heartbeat(workers=0, waiting=1, running=1, done=0, failed=0)
    state = State(epoch="", seq=1, time=0, tag="live", queue={"open": 1, "running": 1}, remaining_s=2.0, heartbeat=beat, heartbeat_time=time.time_ns())
    show(state, lives=False)
    text = " ".join(capsys.readouterr().out.split())
    assert "1 waiting, 1 begun and not ended" in text
    assert "remain" not in text
    show(state, lives=True)
    text = " ".join(capsys.readouterr().out.split())
    assert "no worker is ready yet" in text
    assert "1 running, 0 done, 0 failed; about 2 s remain" in text


def test_keys_are_made_and_added(tmp_path):
    status, text = run("keys", "new", str(tmp_path / "k"))
    assert (status, (tmp_path / "k/commanders/operator.key").is_file()) == (0, True)
    assert "for-operator" in text
    run("keys", "add", str(tmp_path / "k"), "wall")
    assert (tmp_path / "k/clients/wall.key").is_file()
    with pytest.raises(BadConfig, match="not written over"):
        run("keys", "new", str(tmp_path / "k"))


def test_a_command_reaches_the_daemon_by_its_folder(tmp_path):
    site = load_site(None, options={"instrument": "desi", "out": str(tmp_path), "sinks": {}})
    asked: list[str] = []
    with pytest.raises(Transient, match="no daemon works in"):
        run("ctl", "stop", "--out", str(tmp_path))
    lock = take_lock(tmp_path)
    commander = Commander.start(site, Hooks(wake=lambda: None, stop=lambda: asked.append("stop"), reload=lambda: "it is in order"))
    try:
        if not commander.endpoint:
            pytest.skip("the path of the temporary folder is too long for a socket")
        assert run("ctl", "stop", "--out", str(tmp_path), "--by", "me") == (0, "the daemon stops\n")
        assert run("ctl", "reload", "--out", str(tmp_path))[1] == "it is in order\n"
        assert "No exposure has arrived" in run("ctl", "status", "--out", str(tmp_path))[1]
        with pytest.raises(BadConfig, match="names no unit"):
            run("ctl", "rerun", "nonsense", "--out", str(tmp_path))
        with pytest.raises(BadConfig, match="stop has no argument 'unit'"):
            run("ctl", "stop", "20220101/7", "--out", str(tmp_path))
    finally:
        commander.close()
        lock.close()
    assert asked == ["stop"]


def test_no_daemon_no_answer(tmp_path):
    (tmp_path / "command.token").touch(mode=0o600)
    (tmp_path / "command.token").write_text("x" * 40)
    with pytest.raises(Transient, match="nothing answers at"):
        run("ctl", "stop", "--out", str(tmp_path), "--endpoint", f"ipc://{tmp_path}/c", "--timeout", "0.2")
    with pytest.raises(BadConfig, match="cannot be read"):
        run("ctl", "stop", "--out", str(tmp_path / "elsewhere"), "--endpoint", f"ipc://{tmp_path}/c")
