"""Words for the service manager, logs, the folder of a run."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quicklook.core.errors import BadConfig
from quicklook.service.running import runlog
from quicklook.service.running.runfolder import begin_run, keep_configuration, latest_run
from quicklook.service.running.supervise import Notifier
from quicklook.service.site import load_site


@pytest.fixture
def manager(tmp_path: Path):
    """A service manager that listens: where, and what it has heard so far."""
    address = str(tmp_path / "n.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(5)
        yield address, lambda: listener.recv(4096).decode()


def test_the_service_manager_hears_what_the_daemon_does(manager):
    address, heard = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready("watching /raw")
    assert heard() == "READY=1\nSTATUS=watching /raw"
    notifier.alive()
    notifier.alive()  # too soon
    assert heard() == "WATCHDOG=1"
    notifier.reloading()
    first, second = heard().splitlines()
    assert (first, second.startswith("MONOTONIC_USEC=")) == ("RELOADING=1", True)
    notifier.stopping()
    assert heard() == "STOPPING=1"


def test_abstract_addresses():
    name = f"quicklook-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert listener.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    "environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}, {"NOTIFY_SOCKET": "/no/such/socket", "WATCHDOG_USEC": "x"}]
)
def test_without_a_manager_nothing_happens(environment):
    notifier = Notifier.from_environment(environment)
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    assert notifier.watchdog_s == 0


def test_a_watchdog_of_another_process_is_not_ours():
    assert Notifier.from_environment({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_s == 0


@pytest.fixture
def quiet_root():
    """The root logger as it was before, afterwards."""
    root = logging.getLogger()
    handlers, level, variable = root.handlers[:], root.level, os.environ.get("QUICKLOOK_LOG")
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = handlers, level
    os.environ.pop("QUICKLOOK_LOG", None)
    if variable is not None:
        os.environ["QUICKLOOK_LOG"] = variable


def test_a_json_log_is_an_object_a_line_and_workers_write_into_the_same(tmp_path, quiet_root):
    file = tmp_path / "log.jsonl"
    runlog.set_up("json", logging.INFO, file)
    log = logging.getLogger("quicklook.test")
    log.info("%s has\ntwo lines", "one")
    log.debug("not this")
    try:
        raise ValueError("no flat")
    except ValueError:
        log.exception("it failed")
    runlog.inherit()  # as a worker does, by the environment
    logging.getLogger("quicklook.worker").warning("from a worker")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(r["level"], r["logger"], r["message"]) for r in lines] == [
        ("INFO", "quicklook.test", "one has\ntwo lines"),
        ("ERROR", "quicklook.test", "it failed"),
        ("WARNING", "quicklook.worker", "from a worker"),
    ]
    assert "ValueError: no flat" in lines[1]["exception"]
    assert lines[0]["process"] == os.getpid()
    assert lines[0]["time"].endswith("Z")


def test_a_log_that_is_moved_away_goes_on_in_a_new_file(tmp_path, quiet_root):
    file = tmp_path / "log.txt"
    runlog.set_up("console", logging.INFO, file)
    logging.getLogger("alembic.runtime.migration").info("what it has found in itself")
    logging.getLogger("quicklook.test").info("first")
    file.rename(tmp_path / "log.1")
    logging.getLogger("quicklook.test").info("second")
    assert file.read_text().rstrip().endswith("Z INFO quicklook.test: second")
    assert (tmp_path / "log.1").read_text().splitlines()[0].endswith("quicklook.test: first"), "what others tell of themselves is left out"


def test_a_log_has_a_limit_whoever_writes_into_it(tmp_path, quiet_root):
    file = tmp_path / "log.jsonl"
    runlog.set_up("json", logging.INFO, file, most=20_000)
    write = "import logging\nfrom quicklook.service.running import runlog\nrunlog.inherit()\n"
    write += "for n in range(500): logging.getLogger('quicklook.worker').info('line %d of %s', n, 'x' * 50)"
    others = [subprocess.Popen([sys.executable, "-c", write], stderr=subprocess.DEVNULL) for _ in range(3)]
    for n in range(500):
        logging.getLogger("quicklook.test").info("line %d of %s", n, "y" * 50)
    assert [other.wait(250) for other in others] == [0, 0, 0]
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == ["log.jsonl", *(f"log.jsonl.{n}" for n in range(1, 1 + runlog.KEPT))]
    assert all(f.stat().st_size < 80_000 for f in files), "one that is moved away may get some lines more"
    lines = [json.loads(line) for f in files for line in f.read_text().splitlines()]  # none is torn, none lies in two files
    assert len({(r["process"], r["message"]) for r in lines}) == len(lines) > 300


def test_the_log_is_there_before_the_next_line_of_a_new_one(tmp_path, quiet_root):
    file = tmp_path / "log.txt"
    runlog.set_up("console", logging.INFO, file, most=100)
    logging.getLogger("quicklook.test").info("x" * 200)
    assert (file.read_text(), (tmp_path / "log.txt.1").is_file()) == ("", True)
    logging.getLogger("quicklook.test").info("short")
    assert file.read_text().endswith("short\n")


def test_a_log_without_a_limit_grows(tmp_path, quiet_root):
    runlog.set_up("console", logging.INFO, tmp_path / "log.txt")
    for _ in range(100):
        logging.getLogger("quicklook.test").info("x" * 1000)
    assert [f.name for f in tmp_path.iterdir()] == ["log.txt"]


def test_a_process_that_was_not_started_by_a_daemon_logs_as_it_did(quiet_root, monkeypatch):
    before = logging.getLogger().handlers[:]
    for text in ("", "nonsense", "json|x|0|", "|20|0|", "json|20|x|", "json|20"):
        monkeypatch.setenv("QUICKLOOK_LOG", text)
        runlog.inherit()
    assert logging.getLogger().handlers == before


def test_a_run_has_a_folder_with_its_configuration(tmp_path):
    site = load_site(None, options={"instrument": "desi", "out": str(tmp_path / "out"), "chains": {"_default": "zero"}}, overrides=["preproc.use_dark=false"])
    run = begin_run(site.out, "engineering")
    assert run.path == tmp_path / "out" / "runs" / f"{run.id}-engineering"
    assert latest_run(site.out) == run
    path = keep_configuration(run, site)
    text = path.read_text()
    assert "# -c preproc.use_dark=false" in text
    again = load_site(path)
    assert again.file == site.file
    assert yaml.safe_load(text)["watch"]["settle_s"] == site.file.watch.settle_s, "every default is written out"
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["id"], facts["label"], facts["process"]) == (run.id, "engineering", os.getpid())
    assert facts["versions"]["numpy"]
    assert [c["chain"] for c in yaml.safe_load_all((run.path / "chains.yaml").read_text())] == ["zero"]
    assert keep_configuration(run, site).name == "site-1.yaml", "after a reload"


def test_a_label_that_is_no_name(tmp_path):
    for label in ("a/b", "..", " x", "x" * 65):
        with pytest.raises(BadConfig, match="is to be a name"):
            begin_run(tmp_path, label)
    assert begin_run(tmp_path).path.parent == tmp_path / "runs"
    assert latest_run(tmp_path / "elsewhere") is None


def test_runs_that_never_began_do_not_fill_the_disk(tmp_path):
    worked = begin_run(tmp_path, "worked")
    (worked.path / "site.yaml").touch()
    for number in range(15):
        (tmp_path / "runs" / f"20000101T0000{number:02d}Z-1").mkdir()
    now = begin_run(tmp_path, "now")
    left = sorted(p.name for p in (tmp_path / "runs").iterdir() if p.name != "latest")
    assert len(left) == 12, "the last ten that failed, the one that has worked, this one"
    assert left[0] == "20000101T000005Z-1"
    assert {worked.path.name, now.path.name} <= set(left)
