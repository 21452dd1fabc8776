"""The command socket: who may, what is done, and that it is in the journal."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import ExitStack

import pytest
import zmq
from wire_tools import in_thread, raw_socket, wait_for

from quicklook.client import ClientKeys, Controller
from quicklook.core.errors import BadConfig, BadData, Hangs, NotReadyYet, Transient
from quicklook.core.events import CommandGiven, Heartbeat, PartVerdict, Receipt, Refused, Seen, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.core.status import Status
from quicklook.io.curvekeys import new_client, new_server
from quicklook.io.folders import exposure_folder
from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.commands import Commander, Hooks, command_endpoint, token_of, token_path
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.publishing.vitals import HEARTBEATS_KEPT_S, Vitals, latencies, memory_mb
from quicklook.service.rerun import rerunning
from quicklook.service.site import load_site
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

NIGHT, TAG = 20220101, "live"
CAMERAS = sim_instruments(("r0",), scale="tiny", seed=4)
UNIT = Unit(NIGHT, 7)


def make_site(folder, **options):
    given = {
        "instrument": "desi",
        "cameras": ["r0"],
        "raw": str(folder / "raw"),
        "calib": str(folder / "calib"),
        "out": str(folder / "out"),
        "chains": {"_default": "raw"},
        "plots": False,
        "work": {"executor": "inline"},
        "watch": {"settle_s": 0.05, "rescan_s": 0.5},
        "sinks": {"files": {}},
        "commands": {"endpoint": f"ipc://{folder}/c"},
        **options,
    }
    return load_site(None, options=given)


class Calls:
    """Hooks that remember."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.hooks = Hooks(wake=lambda: None, stop=lambda: self.seen.append("stop"), reload=self.reload)

    def reload(self) -> str:
        raise BadConfig("site.yaml:3: no such thing")


@pytest.fixture
def calls():
    return Calls()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "raw").mkdir()
    return make_site(tmp_path)


@pytest.fixture
def journal(site):
    made = Journal(journal_path(site.out), time.time_ns)
    yield made
    made.close()


@pytest.fixture
def commander(site, journal, calls):
    made = Commander.start(site, calls.hooks)
    yield made
    made.close()


@pytest.fixture
def controller(site, commander):
    with Controller(commander.endpoint, token=token_of(site.out, site.file.commands), by="astronomer", timeout_s=60) as made:
        yield made


def add_unit(journal: Journal, site, *, failed: bool = False, conclude: bool = True, unit: Unit = UNIT) -> None:
    """A unit whose one camera is done, or has failed."""
    raw = site.raw / f"{unit.expid}.fits"
    raw.write_bytes(b"x")
    now = time.time_ns()
    row = jobs.UnitRow(unit=unit, tag=TAG, revision=0, path=str(raw), expected=("r0", "b0"), tags={"flavor": "zero"}, closed_ns=now, seen_ns=now, deadline_ns=now)
    verdict = UnitDone(night=unit.night, expid=unit.expid, tag=TAG, revision=0, status=Status.ALARM, reasons=["ALARM: r0: x"], parts={"r0": Status.ALARM})
    with journal.transaction() as connection:
        jobs.add_unit(connection, row, ["r0"])
        if not conclude:
            return
        job = jobs.take_next(connection, TAG, now)
        assert job is not None
        jobs.set_verdict(connection, job.id, Status.ALARM, ["ALARM: x"])
        if failed:
            jobs.give_up(connection, job.id, Failure(error="BadData", message="m", what_next="w"))
        else:
            jobs.finish(connection, job.id)
        jobs.close_unit(connection, row, now)
        part = PartVerdict(status=Status.ALARM, reasons=[], measured=1, expected=1, seconds=2.0)
        journal.append([draft(part, unit=unit, part="r0"), draft(verdict, unit=unit), draft(Receipt(times={}, seconds_to_verdict=3.0), unit=unit)], connection)


def commands_in(journal: Journal) -> list[CommandGiven]:
    return [CommandGiven.model_validate(e.payload) for e in journal.events(kinds=["command"], limit=1000)]


def test_an_exposure_is_rerun_as_a_new_revision_and_it_is_said_who_did_it(controller, journal, site):
    add_unit(journal, site)
    answer = controller.send("rerun", unit="20220101/7")
    assert answer.result == {"revision": 1}
    (given,) = commands_in(journal)
    assert (given.name, given.args, given.by, given.via, given.done) == ("rerun", {"unit": "20220101/7"}, "astronomer", "token", True)
    with journal.transaction() as connection:
        row = jobs.latest_unit(connection, UNIT, TAG)
        job = jobs.take_next(connection, TAG, time.time_ns())
    assert row is not None
    assert (row.revision, row.closed) == (1, False)
    assert job is not None
    assert (job.revision, job.part, job.attempts, job.flavor, job.announced) == (1, "r0", 1, "zero", False)
    seen = [Seen.model_validate(e.payload) for e in journal.events(kinds=["seen"])]
    assert [(s.parts, s.path) for s in seen] == [(["r0"], str(site.raw / "7.fits"))], "what is made of it later knows where it lies"
    with pytest.raises(NotReadyYet, match="being worked on"):
        controller.send("rerun", unit="20220101/7")
    assert [c.done for c in commands_in(journal)] == [True, False]


def test_what_has_failed_is_requeued_and_nothing_else(controller, journal, site):
    add_unit(journal, site, failed=True)
    add_unit(journal, site, unit=Unit(NIGHT, 8))
    assert controller.send("requeue").result == {"jobs": ["20220101/00000007/r0"]}
    with pytest.raises(BadData, match="no job under tag live has failed"):
        controller.send("requeue")
    with pytest.raises(BadData, match="no job of exposure 20220101/00000008 has failed"):
        controller.send("requeue", unit="20220101/8")


@pytest.mark.parametrize("command", ["rerun", "requeue"])
def test_of_a_file_that_was_refused_it_is_said_what_brings_it_back(controller, journal, site, command):
    journal.append([draft(Refused(file="9.fits", path=str(site.raw / "9.fits"), failure=Failure.of(BadData("it is cut off"))))])
    with pytest.raises(BadData, match="the journal knows no exposure 20220101/00000009") as caught:
        controller.send(command, unit="20220101/9")
    assert "`touch` it" in caught.value.what_next
    assert "ctl rerun" not in caught.value.what_next


@pytest.mark.parametrize(
    ("command", "args", "kind", "words"),
    [
        ("rerun", {"unit": "20220101/9"}, BadData, "knows no exposure"),
        ("rerun", {"unit": "20220101/7", "part": "z5"}, BadData, "no camera z5; it has: r0"),
        ("rerun", {"unit": "../etc"}, BadConfig, "names no unit"),
        ("override", {"unit": "20220101/7", "status": "GOOD"}, BadConfig, "not 'GOOD'"),
        ("override", {"unit": "20220101/7", "status": "NORMAL", "reason": " "}, BadConfig, "says who and why"),
        ("override", {"unit": "20220101/7", "status": "NORMAL"}, BadConfig, "says who and why"),
        ("rerun", {"unit": "20220101/7", "camera": "r0"}, BadConfig, "no argument 'camera'; it takes: unit, part"),
        ("stop", {"unit": "20220101/7"}, BadConfig, "it takes none"),
        ("shell", {}, BadConfig, "no command 'shell'; there are: status, rerun"),
        ("reload", {}, BadConfig, "site.yaml:3"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason_and_noted(controller, journal, site, command, args, kind, words):
    add_unit(journal, site)
    with pytest.raises(kind, match=words) as caught:
        controller.send(command, **args)
    assert caught.value.what_next
    (given,) = commands_in(journal)
    assert (given.done, given.name) == (False, command)
    assert given.said == str(caught.value)


def test_a_raw_file_that_is_gone_cannot_be_processed_again(controller, journal, site):
    add_unit(journal, site, failed=True)
    (site.raw / "7.fits").unlink()
    for command in ("rerun", "requeue"):
        with pytest.raises(BadData, match="is gone") as caught:
            controller.send(command, unit="20220101/7")
        assert caught.value.what_next.startswith("Bring the ")


def test_one_raw_file_that_is_gone_keeps_no_other_from_being_done_again(controller, journal, site):
    for expid in (7, 8, 9):
        add_unit(journal, site, failed=True, unit=Unit(NIGHT, expid))
    (site.raw / "8.fits").unlink()
    answer = controller.send("requeue")
    assert answer.result == {"jobs": ["20220101/00000007/r0", "20220101/00000009/r0"], "gone": [str(site.raw / "8.fits")]}
    assert answer.said == f"2 jobs that have failed are done again; not done again, since the raw file is gone: {site.raw / '8.fits'}"


@pytest.mark.parametrize("command", ["rerun", "requeue"])
def test_raw_files_on_a_mount_that_hangs_are_not_waited_for_and_lock_nobody_out(controller, journal, site, monkeypatch, command):
    add_unit(journal, site, failed=True)
    opened, held, stat = threading.Event(), threading.Event(), os.stat

    def hangs(path, **more):
        if str(path).startswith(str(site.raw)):
            held.set()
            opened.wait(120)
            held.clear()
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", hangs)
    monkeypatch.setattr(rerunning, "LOOK_S", 0.5)
    try:
        with pytest.raises(Hangs, match="7.fits hangs: a look at it has not come back"):
            controller.send(command, unit="20220101/7")
        journal.append([draft(Receipt(times={}, seconds_to_verdict=3.0), unit=UNIT)])
        assert held.is_set(), "the journal was written while the look was out"
    finally:
        opened.set()


def test_a_verdict_is_overridden_over_the_wire(controller, journal, site):
    add_unit(journal, site)
    answer = controller.send("override", unit="20220101/7", part="r0", status="normal", reason="known lamp")
    assert answer.result == {"revision": 1, "status": "NORMAL"}
    (event,) = journal.events(kinds=["override"])
    assert (event.payload["by"], event.payload["was"]) == ("astronomer", "ALARM")


def test_a_wrong_token_does_nothing_and_is_not_in_the_journal(commander, journal, calls):
    for token in ("", "x", "é" * 43):
        with Controller(commander.endpoint, token=token, timeout_s=60) as stranger, pytest.raises(BadConfig, match="token"):
            stranger.send("stop")
    assert calls.seen == []
    assert journal.events() == []


def test_strangers_in_a_hurry_delay_nobody_and_do_not_fill_the_log(commander, controller, caplog):
    with ExitStack() as stack:
        strangers = [stack.enter_context(raw_socket(zmq.DEALER, commander.endpoint)) for _ in range(20)]
        for stranger in strangers * 5:
            stranger.send(b'{"command": "stop", "token": "wrong"}')
        assert strangers[0].poll(60_000), "they are all connected by now, or soon"
        began = time.monotonic()
        assert controller.send("status").command == "status"
        assert time.monotonic() - began < 15.0, "a pause of 0.2 s for each thing that a stranger asks would be 20 s"
        assert all(stranger.poll(60_000) for stranger in strangers)
    assert len([r for r in caplog.records if "refused" in r.getMessage()]) <= 2


def test_a_name_is_one_line(site, commander, journal):
    with Controller(commander.endpoint, token=token_of(site.out, site.file.commands), by="me\n2026 INFO forged", timeout_s=60) as made:
        made.send("status")
    assert commands_in(journal)[0].by == "me 2026 INFO forged"


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"command": 3}', b'{"command": "stop", "args": {"x": {}}}', b'{"command": "' + b"x" * 65 + b'"}'])
def test_garbage_is_told_what_is_wrong(commander, body, calls):
    with raw_socket(zmq.REQ, commander.endpoint) as socket:
        socket.send(body)
        assert socket.poll(60_000)
        answer = json.loads(socket.recv())
    assert answer["error"] == "BadData"
    assert "command" in answer["what_next"]
    assert calls.seen == []


def test_the_token_is_for_its_owner_alone(commander, site, monkeypatch):
    path = token_path(site.out)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(BadConfig, match="chmod 600"):
        token_of(site.out, site.file.commands)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(BadConfig, match="too short"):
        token_of(site.out, site.file.commands)
    monkeypatch.setenv("QUICKLOOK_TOKEN", "short")
    with pytest.raises(BadConfig, match="too short"):
        token_of(site.out, site.file.commands)
    monkeypatch.setenv("QUICKLOOK_TOKEN", "from the environment")
    assert token_of(site.out, site.file.commands) == "from the environment"


def test_off_the_loopback_a_daemon_does_not_start_without_keys(tmp_path, calls):
    (tmp_path / "raw").mkdir()
    site = make_site(tmp_path, commands={"endpoint": "tcp://0.0.0.0:*"})
    with pytest.raises(BadConfig, match=r"commands: tcp://0.0.0.0:\* can be reached from other machines.*quicklook keys new"):
        Commander.start(site, calls.hooks)
    assert not token_path(site.out).exists()


def test_a_default_address_that_cannot_be_is_done_without(tmp_path, calls):
    site = make_site(tmp_path / ("x" * 120), commands={})
    assert command_endpoint(site.out, site.file.commands) == ""
    Commander.start(site, calls.hooks).close()
    off = make_site(tmp_path, commands={"endpoint": ""})
    Commander.start(off, calls.hooks).close()


def test_with_keys_commanders_alone_may(tmp_path, calls):
    new_server(tmp_path / "keys")
    boss, guest = (new_client(tmp_path / "keys", name, commands=name == "boss") for name in ("boss", "guest"))
    site = make_site(tmp_path, commands={"endpoint": "tcp://127.0.0.1:*", "keys": str(tmp_path / "keys")})
    commander = Commander.start(site, calls.hooks)
    journal = Journal(journal_path(site.out), time.time_ns)
    try:
        with Controller(commander.endpoint, keys=ClientKeys.load(boss), by="another name", timeout_s=60) as controller:
            assert controller.send("stop").said == "the daemon stops"
        assert [(c.by, c.via) for c in commands_in(journal)] == [("another name (key boss)", "key")]
        for keys in (ClientKeys.load(guest), None):
            with Controller(commander.endpoint, keys=keys, timeout_s=0.5) as stranger, pytest.raises(Transient, match="nothing answers"):
                stranger.send("stop")
        assert calls.seen == ["stop"]
    finally:
        commander.close()
        journal.close()


# ---- the state of things, and how it is going


def test_the_state_says_what_is_seen_running_done_failed_and_how_long_it_takes(journal, site):
    add_unit(journal, site)
    add_unit(journal, site, failed=True, unit=Unit(NIGHT, 8))
    add_unit(journal, site, conclude=False, unit=Unit(NIGHT, 9))
    Vitals(journal, TAG, site.out).beat(workers=2, pids=[os.getpid()], sinks=["files"])
    state = state_of(journal, units=2)
    assert (state.seq, state.night, state.exposures, state.concluded, state.tag) == (journal.last_seq(), "20220101", 3, 2, TAG)
    assert (state.queue, state.statuses) == ({"done": 1, "failed": 1, "open": 1}, {"ALARM": 2})
    assert state.expected == ["20220101/00000009/b0"]
    assert state.progress == pytest.approx(2 / 4)
    assert state.remaining_s == pytest.approx(2.0 / 2)  # one camera, 2 s each, two workers
    assert [(u.unit[-1], u.status, {p: n.state for p, n in u.parts.items()}) for u in state.units] == [("9", None, {"r0": "open"}), ("8", "ALARM", {"r0": "failed"})]
    assert state.heartbeat is not None
    assert state.heartbeat.latency_s == {"median": 3.0, "p95": 3.0, "n": 2.0}
    assert state.heartbeat.memory_mb["daemon"] == pytest.approx(state.heartbeat.memory_mb["workers"], rel=0.2)
    assert 10 < state.heartbeat.memory_mb["daemon"] < 10_000
    assert state.heartbeat.disk_free_gb is not None


def test_a_file_that_had_lain_there_makes_no_latency(journal, site):
    seen = 10**18
    for lain_s, took_s in ((0.5, 2.0), (599.0, 600.0), (86_400.0, 86_403.0)):
        receipt = Receipt(times={"closed": seen - int(lain_s * 1e9), "seen": seen}, seconds_to_verdict=took_s)
        journal.append([draft(receipt, unit=UNIT, tag=TAG)])
    Vitals(journal, TAG, site.out).beat(workers=1, pids=[], sinks=[])
    beat = state_of(journal).heartbeat
    assert beat is not None
    assert beat.latency_s == {"median": 3.0, "p95": 600.0, "n": 3.0}


def test_the_state_of_a_journal_in_which_nothing_is(journal):
    state = state_of(journal)
    assert (state.seq, state.units, state.progress, state.heartbeat, state.remaining_s) == (0, [], None, None, 0.0)


def test_latencies_by_hand():
    assert latencies([]) == {}
    assert latencies([float(i) for i in range(1, 21)]) == {"median": 10.5, "p95": 19.0, "n": 20.0}
    assert latencies([4.0]) == {"median": 4.0, "p95": 4.0, "n": 1.0}
    assert memory_mb([]) == 0


def test_heartbeats_are_dropped_after_an_hour(tmp_path):
    now = [10**18]
    journal = Journal(tmp_path / "j", lambda: now[0])
    vitals = Vitals(journal, TAG, tmp_path)
    for _ in range(121):
        vitals.beat(workers=1, pids=[], sinks=[])
        now[0] += int(60e9)
    left = [e.time for e in journal.events(kinds=[Heartbeat.kind])]
    assert min(left) >= now[0] - 60e9 - HEARTBEATS_KEPT_S * 1e9
    assert journal.last_seq() == 121
    journal.close()


# ---- a daemon


def test_a_daemon_obeys(tmp_path):
    write_calibrations(tmp_path, CAMERAS)
    (tmp_path / "raw").mkdir()
    site = make_site(tmp_path)
    write_exposure(tmp_path, plan_exposure("zero", 100, night=NIGHT), CAMERAS)
    daemon = Daemon(site)
    thread = in_thread(lambda: daemon.run(lambda: False))
    try:
        folder = exposure_folder(site.out, TAG, Unit(NIGHT, 100))
        assert wait_for(lambda: (folder / "verdict.json").is_file(), 60)

        def revision() -> int:
            return json.loads((folder / "verdict.json").read_text())["revision"]

        with Controller(f"ipc://{tmp_path}/c", token=token_of(site.out, site.file.commands), by="me", timeout_s=60) as controller:
            assert wait_for(lambda: controller.send("status").result["queue"] == {"done": 1}, 30)
            controller.send("rerun", unit="20220101/100")
            assert wait_for(lambda: revision() == 1, 60)
            with pytest.raises(BadConfig, match="cannot read its configuration"):
                controller.send("reload")
            daemon.reloading.reread = lambda: make_site(tmp_path, tag="other")
            with pytest.raises(BadConfig, match="`tag` cannot change"):
                controller.send("reload")
            daemon.reloading.reread = lambda: make_site(tmp_path, watch={"settle_s": 0.06, "rescan_s": 0.5})
            assert "is used from now on" in controller.send("reload").said
            assert wait_for(lambda: daemon.site.file.watch.settle_s == 0.06, 30)
            assert wait_for(lambda: controller.send("status").result["queue"] == {"done": 2}, 30)
            controller.send("stop")
        thread.join(30)
        assert not thread.is_alive()
    finally:
        daemon.stopping = True
        thread.join(30)
    journal = Journal(journal_path(site.out), time.time_ns)
    done = [(c.name, c.done) for c in commands_in(journal) if c.name != "status"]
    assert done == [("rerun", True), ("reload", False), ("reload", False), ("reload", True), ("stop", True)]
    journal.close()
