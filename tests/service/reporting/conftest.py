"""Two zeros of one small camera, the last with a noisy amplifier, as results on disk; and what a run of a daemon leaves beside them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from reported import HK, UNIT, Results

from quicklook.api import open_session
from quicklook.core.events import Seen, draft
from quicklook.core.housekeeping import Batch
from quicklook.core.housekeeping_watch import hk_monitor
from quicklook.core.yamlsource import parse_yaml
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.sim import Fault, plan_exposure, sim_instruments, write_calibrations, write_exposure


@pytest.fixture(scope="session")
def stored_once(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("reported")
    cameras = sim_instruments(("r0",), scale="tiny", seed=5)
    write_calibrations(folder, cameras)
    for expid, faults in ((101, ()), (102, (Fault(name="hot_noise_amp", strength=4.0),))):
        path = write_exposure(folder, plan_exposure("zero", expid, faults=faults), cameras)
        session = open_session(instrument="desi", calib=folder / "calib", out=folder / "out", tag="live", plots=expid == 102)
        done = [session.process("zero", path, "r0")]
        session.write(done[0], "zero")
        session.conclude(session.peek(path), done, time.time_ns())
    return Results(folder / "out", path)


@pytest.fixture
def results(stored_once: Results, tmp_path: Path) -> Results:
    """A copy of its own."""
    shutil.copytree(stored_once.out, tmp_path / "out")
    return Results(tmp_path / "out", stored_once.raw)


@pytest.fixture
def with_run(results: Results, tmp_path: Path) -> Results:
    """With a run of a daemon: its configuration, its log, its journal, and housekeeping of the time of the exposure."""
    (tmp_path / "hk.yaml").write_text(HK)
    run = results.out / "runs/20200101T000000Z-7"
    run.mkdir(parents=True)
    site = {
        "instrument": "desi", "cameras": ["r0"], "calib": "calib", "commands": {"token": "/etc/command.token"},
        "housekeeping": {"config": str(tmp_path / "hk.yaml"), "store": str(tmp_path / "hk.sqlite")},
        "sinks": {"alarms": {"channels": {"mail": {"url": "mailto://me:hunter2@example.org"}, "chat": {"url": "env:CHAT"}}}},
    }  # fmt: skip
    (run / "site.yaml").write_text(yaml.safe_dump(site))
    command = ["quicklook", "watch", "--set", "x.url=https://u:hunter2@example.org/a", "--token=hunter2"]
    (run / "run.json").write_text(json.dumps({"id": "1", "command": command, "versions": {"numpy": "1.2.3"}}))
    (run / "log.txt").write_text(
        "2022-01-01 INFO quicklook: something else\n"
        f"2022-01-01 INFO quicklook.daemon: {UNIT}: ALARM\n    r0: ALARM: <b>read_noise</b> password=hunter2\nnot of it\n"
    )
    journal = Journal(journal_path(results.out), time.time_ns)
    journal.append([draft(Seen(file=results.raw.name, path=str(results.raw), size=3_000_000, parts=["r0"], tags={}), unit=UNIT)])
    journal.close()
    store = hk_monitor().store(parse_yaml(HK, "hk.yaml"), tmp_path / "hk.sqlite", writing=True)
    times = results.span()[0] + np.array([0.0, 0.2, 0.4, 0.6])
    store.raw.append("log", [Batch(source="log", times=times, channels=("TEMP",), values=np.array([[4.0], [6.0], [999999.0], [8.0]]))], {})  # type: ignore[attr-defined]
    store.close()
    return results
