"""Jobs on Dask: a real scheduler and two worker processes on the loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from bench_site import bench_site, said, turn, write_frame
from test_executors import IN_A_STEP, job_of

from quicklook.core.errors import BadConfig
from quicklook.core.provenance import version_of
from quicklook.service.daemon import Daemon
from quicklook.service.settings import WorkSettings
from quicklook.service.workers import worker
from quicklook.service.workers.daskhost import DISTRIBUTION, HostSettings, complaint
from quicklook.service.workers.executors import Bounds, executor_of

pytest.importorskip("distributed")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]  # warnings of Dask are its own

from quicklook.service.workers.daskexecutor import DaskExecutor  # noqa: E402

SLOW = IN_A_STEP.replace('"crashes":', '"waits": lambda: time.sleep(5), "crashes":')


@dataclass(frozen=True)
class Cluster:
    """Address of the scheduler, and its workers: one under a nanny, as `dask worker` starts it, one without."""

    address: str
    workers: tuple[subprocess.Popen[bytes], ...]


def wait_until(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("dask")
    (folder / "sitecustomize.py").write_text(SLOW)
    known = folder / "scheduler.json"
    env = {**os.environ, "PYTHONPATH": str(folder), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    started: list[subprocess.Popen[bytes]] = []

    def start(which: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{which}", "--scheduler-file", str(known), "--no-dashboard", *options]
        with (folder / f"{which}.log").open("ab") as log:
            started.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=folder))
        return started[-1]

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        assert wait_until(lambda: known.is_file() and known.read_text().strip().endswith("}")), (folder / "scheduler.log").read_text()
        own = ["--host", "127.0.0.1", "--nthreads", "1", "--local-directory", str(folder)]
        workers = (start("worker", "--nanny", *own), start("worker", "--no-nanny", *own))
        yield Cluster(json.loads(known.read_text())["address"], workers)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(executor: DaskExecutor, kind, seconds: float = 90.0) -> list[worker.Message]:
    end, out = time.monotonic() + seconds, list[worker.Message]()
    while time.monotonic() < end and not (out and isinstance(out[-1], kind)):
        out += [m for m in executor.wait(0.2) if not isinstance(m, worker.Ready)]
    return out


@pytest.mark.long
def test_the_daemon_gives_verdicts_by_dask(cluster, tmp_path):
    site = bench_site(tmp_path, work={"executor": "dask", "address": cluster.address})
    daemon = Daemon(site)
    daemon.start()
    try:
        assert isinstance(daemon.executor, DaskExecutor)
        turn(daemon, lambda: daemon.executor.warm() == 2, 240)
        for camera in "ab":
            write_frame(tmp_path, camera)
        turn(daemon, lambda: said(daemon, "unit_verdict") and daemon.idle, 240)
        assert sorted(e.part for e in said(daemon, "verdict")) == ["a", "b"]
        assert not said(daemon, "failed")
        # frames of this bench have no time of exposure, and nothing else to object to
        reasons = said(daemon, "unit_verdict")[0].payload["reasons"]
        assert all("night_error was not measured" in r for r in reasons), reasons
        assert len(said(daemon, "product")) >= 2
    finally:
        daemon.stop()
    assert sorted(p.name for p in site.out.rglob("qa-*.json")) == ["qa-a-00000001.json", "qa-b-00000001.json"]
    assert not list(site.out.glob(".quicklook-*")), "the probe is left behind"


@pytest.mark.long
def test_a_job_that_hangs_names_its_step_and_a_worker_that_is_lost_is_told(cluster, tmp_path):
    recipe = bench_site(tmp_path).recipe()
    executor = DaskExecutor(recipe, address=cluster.address, bounds=Bounds(step_deadline_s=1.5))
    try:
        assert wait_until(lambda: executor.warm() == 2)
        executor.submit(job_of(tmp_path / "none.fits", "hangs"))
        (broken,) = wait_for(executor, worker.Broken)
        assert isinstance(broken, worker.Broken)
        assert broken.retry
        assert broken.failure.message == "step read took longer than 1.5 s and was stopped"
    finally:
        executor.stop()
    executor = DaskExecutor(recipe, address=cluster.address)
    try:
        for number in range(2):  # one on each
            executor.submit(job_of(tmp_path / "none.fits", "waits", number))
        assert executor.free() == 0
        raw = write_frame(tmp_path, "a")
        time.sleep(1.0)
        cluster.workers[1].send_signal(signal.SIGKILL)
        lost = wait_for(executor, worker.Broken)[-1]
        assert isinstance(lost, worker.Broken)
        assert lost.retry
        assert "lost" in lost.failure.message
        assert wait_until(lambda: executor.warm() == 1)
        assert wait_for(executor, worker.Broken)  # the other one has waited, and found no file
        executor.submit(job_of(raw, "a", 3))
        judged, written = wait_for(executor, worker.Written)
        assert isinstance(judged, worker.Judged)
        assert isinstance(written, worker.Written)
    finally:
        executor.stop()


@dataclass
class Own:
    """A scheduler and a worker of one test alone, which it may stop; they come back at the same address."""

    folder: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]]

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, which: str) -> None:
        options = {
            "scheduler": ("--host", "127.0.0.1", "--port", str(self.port)),
            "worker": (self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)),
        }
        command = [sys.executable, "-m", f"distributed.cli.dask_{which}", "--no-dashboard", *options[which]]
        with (self.folder / f"{which}.log").open("ab") as log:
            env = {**os.environ, "PYTHONPATH": str(self.folder)}
            self.running[which] = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=self.folder)

    def kill(self, which: str) -> None:
        process = self.running.pop(which)
        process.kill()
        process.wait(20)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    folder = tmp_path / "dask"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLOW)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Own(folder, free.getsockname()[1], {})
    made.start("scheduler")
    made.start("worker")
    yield made
    for which in list(made.running):
        made.running[which].send_signal(signal.SIGCONT)
        made.kill(which)


@pytest.mark.long
def test_a_scheduler_that_goes_and_comes_back_loses_nothing_and_is_told(own, tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.workers.daskexecutor.CONNECT_S", 20.0)
    site = bench_site(tmp_path, cameras=["waits"], work={"executor": "dask", "address": own.address, "attempts": 1})
    daemon = Daemon(site)
    daemon.start()
    try:
        turn(daemon, lambda: daemon.executor.warm() == 1, 240)
        write_frame(tmp_path, "waits")
        turn(daemon, daemon.executor.running, 60)
        own.kill("scheduler")
        own.kill("worker")
        turn(daemon, lambda: "is away" in (said(daemon, "heartbeat")[-1].payload["work_trouble"]), 120)
        assert daemon.executor.free() == 0
        turn(daemon, lambda: not daemon.executor.running(), 120)
        assert not said(daemon, "failed"), "the loss is no attempt of the job, and there is but one"
        own.start("scheduler")
        own.start("worker")
        turn(daemon, lambda: said(daemon, "unit_verdict") and daemon.idle, 240)
        assert [e.part for e in said(daemon, "verdict")] == ["waits"]
        assert not said(daemon, "failed")
        daemon._next_beat = 0.0
        turn(daemon, lambda: said(daemon, "heartbeat")[-1].payload["work_trouble"] == "", 60)
    finally:
        daemon.stop()


@pytest.mark.long
def test_a_scheduler_that_does_not_answer_keeps_nobody_from_ending(own, tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.workers.daskexecutor.CONNECT_S", 20.0)
    executor = DaskExecutor(bench_site(tmp_path).recipe(), address=own.address)
    assert wait_until(lambda: executor.warm() == 1)
    executor.submit(job_of(tmp_path / "none.fits", "waits"))
    time.sleep(1.0)
    monkeypatch.setattr("quicklook.service.workers.daskexecutor.SILENT_S", 8.0)
    own.running["scheduler"].send_signal(signal.SIGSTOP)
    assert executor.running() == 1
    assert wait_until(lambda: executor.running() == 0, 40), "a reload would wait for it for ever"
    assert executor.free() == 0
    start = time.monotonic()
    executor.stop()
    assert time.monotonic() - start < 6
    assert wait_until(lambda: executor.free() == 0, 20)


@pytest.mark.long
def test_a_worker_that_does_not_see_the_folders_is_refused(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.workers.daskexecutor.DaskExecutor._write_probe", lambda self, recipe, threads, raw: settings(tmp_path, "gone"))
    with pytest.raises(BadConfig, match=r"workers of tcp.*does not see .*gone.*mount the same file system"):
        DaskExecutor(bench_site(tmp_path).recipe(), address=cluster.address)


def settings(folder: Path, probe: str) -> HostSettings:
    version = version_of(DISTRIBUTION)
    return HostSettings(recipe=b"", sha256="0", threads=1, bounds=Bounds(), probe=str(folder / probe), token="t", folders=(), version=version)


def test_what_a_worker_complains_of(tmp_path):
    good = settings(tmp_path, "probe")
    assert "does not see" in complaint(good)
    (tmp_path / "probe").write_text("another")
    assert "sees another file" in complaint(good)
    (tmp_path / "probe").write_text("t")
    assert complaint(good) == ""
    assert f"has no folder {tmp_path}/raw" in complaint(replace(good, folders=(str(tmp_path / "raw"),)))
    assert "install the same version" in complaint(replace(good, version="0"))


@pytest.mark.parametrize(("address", "why"), [("", "work.address is empty"), ("tcp://127.0.0.1:9", "does not answer"), ("nonsense", "does not answer")])
def test_an_address_that_cannot_be_used_is_refused(tmp_path, monkeypatch, address, why):
    monkeypatch.setattr("quicklook.service.workers.daskexecutor.CONNECT_S", 0.5)
    with pytest.raises(BadConfig, match=why):
        executor_of(bench_site(tmp_path).recipe(), WorkSettings(executor="dask", address=address))
    assert not list((tmp_path / "out").glob(".quicklook-*"))
