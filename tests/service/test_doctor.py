"""The doctor: what is in order is ok, what is not is named with what to do."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import Hangs
from quicklook.core.events import RawFolder, draft
from quicklook.io.metricstore.opening import open_store
from quicklook.io.room import Room
from quicklook.service.arrival import patience
from quicklook.service.journal.journal import Journal, journal_path, take_lock
from quicklook.service.running import doctor, hostchecks
from quicklook.service.running.hostchecks import Finding
from quicklook.service.site import load_site
from quicklook.sim import sim_instruments, write_calibrations

CAMERAS = sim_instruments(("r0",), scale="tiny", seed=3)


@pytest.fixture(scope="module")
def calib(tmp_path_factory) -> Path:
    return write_calibrations(tmp_path_factory.mktemp("calib"), CAMERAS)


def site_of(folder: Path, calib: Path, **more):
    (folder / "raw").mkdir(exist_ok=True)
    options = {"instrument": "desi", "cameras": ["r0"], "raw": str(folder / "raw"), "calib": str(calib) if calib.name else "", "out": str(folder / "out"), **more}
    return load_site(None, options=options)


def worst(found: list[Finding], topic: str) -> Finding:
    """The worst finding of a topic; one that was not looked at fails."""
    mine = [f for f in found if f.topic == topic]
    assert mine, f"{topic} was not looked at; {[f.topic for f in found]}"
    return max(mine, key=lambda f: ("ok", "warning", "problem").index(f.status))


def test_a_site_in_order_has_no_problem(tmp_path, calib):
    told: list[Finding] = []
    found = doctor.examine_site(site_of(tmp_path, calib, sinks={"files": {}}), told.append)
    assert told == found
    assert [f for f in found if f.status == "problem"] == []
    topics = {f.topic for f in found}
    wanted = {"configuration", "user", "raw files", "results", "clock", "time", "night", "watching", "inotify", "disk", "memory", "cores", "kernel cache", "daemon"}
    assert wanted <= topics, wanted - topics
    assert worst(found, "calibration psf").said.startswith("1 hold on night")
    assert all(bool(f.what_next) == (f.status != "ok") for f in found), "who warns says what to do"


def test_what_the_night_would_not_survive_is_a_problem(tmp_path, calib):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        site = site_of(tmp_path, calib, sinks={"zmq": {"endpoint": endpoint, "replay": ""}})
        os.rmdir(tmp_path / "raw")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/command.token").write_text("x" * 40)
        os.chmod(tmp_path / "out/command.token", 0o644)
        found = doctor.examine_site(site)
    assert worst(found, "raw files").said == f"there is no folder {tmp_path / 'raw'}"
    assert worst(found, "events").status == "problem"
    assert "cannot be bound" in worst(found, "events").said
    assert worst(found, "token").what_next == f"Run: chmod 600 {tmp_path / 'out/command.token'}"


def test_calibrations_that_chains_need_and_that_are_not_there(tmp_path, calib):
    site = site_of(tmp_path, calib, cameras=["r0", "z9"])
    found = doctor.examine_site(site)
    assert (worst(found, "calibration psf").status, worst(found, "calibration psf").said) == ("problem", "there is none for z9")
    nowhere = Path("")
    without = doctor.examine_site(site_of(tmp_path, nowhere))
    assert "its chains need" in worst(without, "calibrations").said
    assert worst(doctor.examine_site(site_of(tmp_path, nowhere, chains={"_default": "raw"})), "configuration").status == "ok"


def test_a_metrics_store_that_the_daemon_could_not_use(tmp_path, calib):
    def said(**params) -> Finding:
        site = site_of(tmp_path, calib, sinks={"metrics": params})
        return one(doctor._guarded("metrics store", partial(doctor._metrics_store, site)))

    assert worst(doctor.examine_site(site_of(tmp_path, calib, sinks={"metrics": {"url": "/dev/null/x"}})), "metrics store").status == "problem"
    assert (said().status, said().said.endswith("is not there yet; the daemon makes it")) == ("ok", True)
    assert said(url="/dev/null/x.sqlite").status == "problem"
    path = tmp_path / "other.sqlite"
    path.write_bytes(b"no database " * 500)
    assert (said(url=str(path)).status, "file is not a database" in said(url=str(path)).said) == ("problem", True)
    path.unlink()
    engine = open_store(str(path), to_read=False)
    assert (said(url=str(path)).status, said(url=str(path)).said.endswith("MB")) == ("ok", True)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE quicklook_store_version SET version_num = '0999'")
    engine.dispose()
    assert (said(url=str(path)).status, said(url=str(path)).what_next) == ("problem", "Install the newer program.")
    away = said(url="postgresql://ql@127.0.0.1:1/x")
    assert (away.status, "cannot be used now" in away.said) == ("problem", True)


def test_a_configuration_that_cannot_be_used(tmp_path, calib):
    found = doctor.examine_site(site_of(tmp_path, calib, chains={"_default": "no_such_chain"}))
    assert worst(found, "configuration").status == "problem"
    assert "no_such_chain" in worst(found, "configuration").said
    assert worst(found, "cores").said, "the other checks go on"


def test_a_daemon_that_runs_and_says_nothing(tmp_path, calib):
    site = site_of(tmp_path, calib)
    journal = Journal(journal_path(site.out), lambda: time.time_ns() - 60 * 10**9)
    journal.append([draft(RawFolder(path="x", there=True))])
    journal.close()
    with take_lock(site.out):
        said = worst(list(doctor._daemon(site)), "daemon")
    assert (said.status, "has said nothing for 60 s" in said.said) == ("problem", True)
    assert worst(list(doctor._daemon(site)), "daemon").said == "it does not run now"


def test_a_check_that_fails_is_a_warning_and_the_others_go_on(tmp_path, calib, monkeypatch):
    monkeypatch.setattr(hostchecks, "memory_findings", lambda *_: 1 / 0)
    found = doctor.examine_site(site_of(tmp_path, calib))
    assert worst(found, "memory").said == "it could not be checked: ZeroDivisionError: division by zero"
    assert worst(found, "cores").said, "the other checks go on"


# ---- of the machine


def one(findings) -> Finding:
    (only,) = findings
    return only


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    assert one(hostchecks.folder_findings("results", tmp_path / "new", write=True)).said.endswith("can be made")
    assert one(hostchecks.folder_findings("raw files", tmp_path, write=False)).said.endswith("can be read")

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hostchecks.tempfile, "TemporaryFile", refuse)
    refused = one(hostchecks.folder_findings("results", tmp_path, write=True))
    assert (refused.status, "Permission denied" in refused.said) == ("problem", True)


def test_network_file_systems(tmp_path, monkeypatch):
    monkeypatch.setattr(hostchecks.tree, "choose_mode", lambda _path: "polling")
    monkeypatch.setattr(hostchecks.tree, "file_system_type", lambda _path: "nfs4")
    found = list(hostchecks.file_system_findings(tmp_path, tmp_path, "auto"))
    assert [(f.topic, f.status) for f in found] == [("watching", "ok"), ("journal", "problem")]
    assert next(hostchecks.file_system_findings(tmp_path, tmp_path, "inotify")).status == "warning"


def test_inotify_that_can_watch_too_little(tmp_path, monkeypatch):
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.setattr(hostchecks, "_number", lambda path: 5 if path.name == "max_user_watches" else 100)
    found = one(hostchecks.inotify_findings(tmp_path))
    assert (found.status, found.said.split(",")[0]) == ("warning", f"3 folders under {tmp_path}")
    monkeypatch.setattr(hostchecks, "MOST", 2)
    found = one(hostchecks.inotify_findings(tmp_path))
    assert (found.status, found.said.split(", 5 can be")[0]) == ("ok", "3 folders, the 2 with the latest files are watched")


def test_cores_and_memory(monkeypatch):
    monkeypatch.setattr(hostchecks.os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    assert one(hostchecks.core_findings(0, 1)).said == "4 cores for 4 workers with 1 threads each"
    assert one(hostchecks.core_findings(3, 2)).status == "warning"
    monkeypatch.setattr(hostchecks, "available_memory", lambda: 3e9)
    assert one(hostchecks.memory_findings(0, 1)).status == "warning"
    assert one(hostchecks.memory_findings(2, 1)).status == "ok"


@pytest.mark.parametrize(("free_gb", "status"), [(50.0, "ok"), (5.0, "warning"), (0.5, "problem")])
def test_room_on_the_disk(tmp_path, monkeypatch, free_gb, status):
    monkeypatch.setattr(hostchecks, "room_of", lambda folder: Room(path=folder, total=10**12, free=int(free_gb * 1e9)))
    assert next(hostchecks.disk_findings("disk", tmp_path, 10.0, 1.0)).status == status


def test_a_disk_that_is_too_small_for_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(hostchecks, "room_of", lambda folder: Room(path=folder, total=3 * 10**6, free=29 * 10**5))
    found = one(hostchecks.disk_findings("disk", tmp_path, 10.0, 1.0))
    assert (found.status, found.said.split(" for ")[0]) == ("problem", "0.003 of 0.003 GB are free")


@pytest.mark.parametrize(("kept", "status"), [(True, "ok"), (False, "warning"), (None, "warning")])
def test_the_clock(tmp_path, monkeypatch, kept, status):
    monkeypatch.setattr(hostchecks, "clock_is_kept", lambda: kept)
    found = {f.topic: f for f in hostchecks.clock_findings(tmp_path)}
    assert found["clock"].status == status
    now = time.time
    monkeypatch.setattr(hostchecks, "time", SimpleNamespace(time=lambda: now() - 100, tzname=time.tzname))
    assert [f.status for f in hostchecks.clock_findings(tmp_path)][-1] == "problem", "the disk has another clock"
    assert one(hostchecks.future_findings(now())).said == "the newest raw file is 100 s in the future"


def test_a_user_that_may_open_few_files(monkeypatch):
    monkeypatch.setattr(hostchecks.resource, "getrlimit", lambda _what: (256, 256))
    assert [f.said for f in hostchecks.user_findings()][-1] == "256 at most"


def test_the_command(tmp_path, calib):
    (tmp_path / "raw").mkdir()
    where = ["--instrument", "desi", "--raw", str(tmp_path / "raw"), "--calib", str(calib), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["doctor", *where])
    assert done.exit_code in (0, 1)  # ports of the default may be taken
    assert "ok       raw files: " in done.output
    assert done.output.splitlines()[-1].endswith(" problems")
    found = json.loads(CliRunner().invoke(app, ["doctor", *where, "--json"]).output)
    assert {f["status"] for f in found} <= {"ok", "warning", "problem"}


# ---- a file system that hangs


@pytest.fixture
def shut(tmp_path, monkeypatch):
    """The folder of raw files is on a hard mount whose server is gone: no look into it comes back."""
    opened, stat, scandir = threading.Event(), os.stat, os.scandir

    def before(real, path="."):
        if str(path).startswith(str(tmp_path / "raw")):
            opened.wait(280)
        return real(path)

    monkeypatch.setattr(os, "scandir", lambda path=".": before(scandir, path))
    monkeypatch.setattr(os, "stat", lambda path, **more: before(lambda p: stat(p, **more), path))
    monkeypatch.setattr(patience, "PATIENCE_S", 6.0)
    yield opened
    opened.set()


def test_a_folder_that_hangs_is_named_and_the_others_are_looked_at(tmp_path, calib, shut):
    begun = time.monotonic()
    found = doctor.examine_site(site_of(tmp_path, calib))
    assert time.monotonic() - begun < 250
    hung = worst(found, "raw files")
    assert (hung.status, hung.said) == ("problem", f"{tmp_path / 'raw'} hangs: a look at it has not come back for 6 s")
    assert "file systems" not in {f.topic for f in found}, "it is not looked at again"
    assert {"results", "disk", "cores", "calibration psf", "daemon"} <= {f.topic for f in found}
    assert [f.topic for f in found if f.status == "problem" and "hangs" in f.said] == ["raw files"]


def test_work_that_goes_on_is_given_all_the_time_it_needs():
    some = patience.Patience(3.0)

    def work() -> int:
        for n in range(10):
            some.look(n)
            time.sleep(0.4)
        return 7

    assert some.run(work, "x") == 7
    some = patience.Patience(0.3)
    with pytest.raises(ZeroDivisionError):
        some.run(lambda: 1 / 0, "x")
    with pytest.raises(Hangs, match="^x hangs"):
        some.run(lambda: time.sleep(60), "x")
