"""Workers that do not get warm, hang, grow, die: they are replaced, what was lost is named, and the work goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import UnionType
from typing import Any, cast

import pytest
from bench_site import bench_site, write_frame

from quicklook.core.keys import Unit
from quicklook.service.journal.jobs import RUNNING, Job
from quicklook.service.settings import WorkSettings
from quicklook.service.workers import worker
from quicklook.service.workers.executors import Bounds, ProcessExecutor, bounds_of
from quicklook.service.workers.warmup import warm_decompression

SITE = """\
import os, time
from quicklook.service.workers.processing import Processor
Processor.warm_up = lambda self: WHAT
"""
IN_A_STEP = """\
import os, time, quicklook.core.runner as runner
from quicklook.service.workers.processing import Processor
Processor.warm_up = lambda self: None
held, plain = [], runner.ChainRunner._read
def eat():
    held.append(b"x" * 700_000_000)
    time.sleep(600)
WHAT = {"hangs": lambda: time.sleep(600), "eats": eat, "crashes": lambda: os._exit(7)}
def read(self, state, given):
    WHAT.get(state.key.part, lambda: None)()
    plain(self, state, given)
runner.ChainRunner._read = read
"""


def of_children(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The children of this process begin with this."""
    (folder / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def job_of(path: Path, part: str = "a", number: int = 1) -> Job:
    return Job(id=number, unit=Unit(20220101, 1), part=part, tag="live", revision=0, path=str(path), flavor="zero", attempts=1, announced=False, state=RUNNING)  # fmt: skip


def wait_for(executor: ProcessExecutor, kind: type | UnionType, seconds: float = 60.0) -> list[worker.Message]:
    """Messages up to the first of a kind, that one last."""
    end, out = time.monotonic() + seconds, list[worker.Message]()
    while time.monotonic() < end:
        for message in executor.wait(0.1):
            out.append(message)
            if isinstance(message, kind):
                return out
    return []


@pytest.mark.parametrize("what", ["os._exit(11)", "time.sleep(600)"])
def test_a_warm_up_that_crashes_or_hangs_stops_no_work(tmp_path, monkeypatch, what):
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", what))
    recipe = bench_site(tmp_path, cameras=["a"]).recipe()
    raw = write_frame(tmp_path, "a")
    # a deadline that is shorter than the warm-up: that does not count
    executor = ProcessExecutor(recipe, workers=1, bounds=Bounds(deadline_s=60.0, warm_up_s=6.0 if "sleep" in what else 60.0))
    try:
        assert wait_for(executor, worker.Ready)
        executor.submit(job_of(raw))
        assert wait_for(executor, worker.Judged)
    finally:
        executor.stop()


def test_the_deadline_of_a_job_is_not_that_of_getting_warm(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", "time.sleep(3)"))
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, bounds=Bounds(deadline_s=0.5))
    try:
        pids = executor.pids
        assert wait_for(executor, worker.Ready)
        assert executor.pids == pids
    finally:
        executor.stop()


def test_a_worker_that_had_to_compile_is_renewed_once(tmp_path, monkeypatch):
    compiles = "__import__('quicklook.core.compiled', fromlist=['x'])._state.update(compiled=1)"
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", compiles))
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1)
    try:
        (first,) = executor.pids
        assert wait_for(executor, worker.Ready)
        (second,) = executor.pids
        assert second != first
        assert executor.warm() == 1
    finally:
        executor.stop()


LOST = {
    "hangs": r"step read took longer than 1 s and was stopped",
    "eats": r"its worker had \d+ MB of memory in step read, more than 500 MB, and was stopped",
    "crashes": r"its worker process ended with status 7 in step read",
}


def test_what_is_lost_with_a_worker_names_the_step(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, IN_A_STEP)
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, bounds=Bounds(step_deadline_s=1.0, memory_mb=250.0))
    try:
        for part, said in LOST.items():
            assert wait_for(executor, worker.Ready)
            monkeypatch.setattr(executor, "_bounds", Bounds(step_deadline_s=1.0 if part == "hangs" else 60.0, memory_mb=250.0))
            executor.submit(job_of(tmp_path / "none.fits", part))
            broken = wait_for(executor, worker.Broken)[-1]
            assert isinstance(broken, worker.Broken)
            assert broken.retry
            assert broken.job.part == part
            assert re.match(said, broken.failure.message), broken.failure.message
        assert executor.renewed == 0
    finally:
        executor.stop()


@pytest.mark.long
def test_a_job_that_takes_too_long_names_the_step_it_was_at(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, IN_A_STEP)
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, bounds=Bounds(deadline_s=1.5))
    try:
        assert wait_for(executor, worker.Ready)
        executor.submit(job_of(tmp_path / "none.fits", "hangs"))
        (broken,) = wait_for(executor, worker.Broken)
        assert isinstance(broken, worker.Broken)
        assert broken.failure.message == "it took longer than 1.5 s and was stopped in step read"
    finally:
        executor.stop()


@pytest.mark.parametrize("bounds", [Bounds(recycle_jobs=2), Bounds(memory_mb=10.0)])
def test_a_worker_is_renewed_after_enough_jobs_or_with_too_much_memory(tmp_path, monkeypatch, bounds):
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", "None"))
    executor = ProcessExecutor(bench_site(tmp_path, cameras=["a"]).recipe(), workers=1, bounds=bounds)
    monkeypatch.setattr("quicklook.service.workers.processexecutor.FAR_ABOVE", 100.0)  # it is to outlive its jobs
    try:
        assert wait_for(executor, worker.Ready)
        (first,) = executor.pids
        for number in range(bounds.recycle_jobs or 1):
            assert executor.pids == [first]
            executor.submit(job_of(tmp_path / "none.fits", number=number))
            assert wait_for(executor, worker.Written | worker.Broken)
        assert executor.renewed == 1
        assert executor.pids != [first]
        end = time.monotonic() + 30
        while alive(first):
            assert time.monotonic() < end, "a worker that was renewed still runs"
            executor.wait(0.1)
    finally:
        executor.stop()


ORPHANED = """
import sys, time
sys.path.insert(0, TESTS)
from pathlib import Path
from types import UnionType
from typing import Any, cast
from bench_site import bench_site
from quicklook.service.workers.executors import ProcessExecutor

if __name__ == "__main__":
    executor = ProcessExecutor(bench_site(Path(FOLDER)).recipe(), workers=1)
    print(*executor.pids, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is on Linux alone")
def test_a_worker_whose_parent_is_killed_ends_though_it_hangs(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", "time.sleep(600)"))
    script = tmp_path / "orphaned.py"
    script.write_text(ORPHANED.replace("TESTS", repr(str(Path(__file__).parent))).replace("FOLDER", repr(str(tmp_path))))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait(60)
    end = time.monotonic() + 60
    while alive(pid):
        assert time.monotonic() < end, "the worker has outlived its parent"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_a_killed_worker_has_left_of_its_warm_up_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, fresh, living = (tmp_path / f"quicklook-warm-{name}" for name in (f"{ended.pid}-x", f"{ended.pid}-y", f"{os.getpid()}-z"))
    for folder in (dead, fresh, living):
        folder.mkdir()
        (folder / "frame").write_text("left")
    for folder in (dead, living):
        os.utime(folder, (1e9, 1e9))
    warm_decompression()
    assert sorted(tmp_path.iterdir()) == sorted([fresh, living])


def test_the_bounds_are_those_of_the_site():
    settings = WorkSettings(deadline_s=3.0, step_deadline_s=2.0, memory_limit_mb=700.0, recycle_jobs=5, calibrations_gb=2.0, waiting_mb=10.0)
    same = Bounds(deadline_s=3.0, step_deadline_s=2.0, memory_mb=700.0, recycle_jobs=5, calibrations_gb=2.0, waiting_mb=10.0)
    assert bounds_of(settings) == same
    assert bounds_of(settings, 10**9).waiting_mb < 0.01, "so many workers have that much of the machine each"


class Stuck:
    """A process that hangs in the system: told to end it does not, nor when it is killed."""

    pid = exitcode = None

    def terminate(self) -> None:
        """It does not hear."""

    kill = terminate

    def is_alive(self) -> bool:
        return True

    def join(self, timeout: float | None = None) -> None:
        time.sleep(60.0 if timeout is None else timeout)


def test_workers_that_hang_in_the_system_keep_nobody_from_ending():
    executor = ProcessExecutor.__new__(ProcessExecutor)
    executor._workers, executor._leaving = [], [(cast(Any, Stuck()), 0.0) for _ in range(16)]
    start = time.monotonic()
    executor.stop()
    assert time.monotonic() - start < 15  # one time to end for all of them; one for each would be half a minute


PATIENT = """
import quicklook.service.workers.worker as patient
patient._NEXT_S = 10.0
"""


def test_verdicts_go_before_files(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", "None") + PATIENT)
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, bounds=Bounds(waiting_mb=1000.0))
    try:
        file = write_frame(tmp_path, "a")
        said = wait_for(executor, worker.Ready)
        for number in (1, 2):
            assert executor.free() == 1
            executor.submit(job_of(file, part="a" if number == 1 else "b", number=number))
            said += wait_for(executor, worker.Judged)
        assert executor.running() == 1
        assert [m.held > 0 for m in said if isinstance(m, worker.Judged)] == [True, False], "the second has no such camera"
        end = time.monotonic() + 60.0
        # both may come at once
        while sum(isinstance(m, worker.Written) for m in said) < 2 and time.monotonic() < end:
            said += executor.wait(0.1)
        told = [(type(m).__name__, m.job.id) for m in said if not isinstance(m, worker.Ready)]
        assert told == [("Judged", 1), ("Judged", 2), ("Written", 1), ("Written", 2)]
        assert executor.running() == 0
    finally:
        executor.stop()


def test_files_do_not_wait_beyond_their_room(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, SITE.replace("WHAT", "None") + PATIENT.replace("10.0", "1.0"))
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, bounds=Bounds(waiting_mb=0.0))
    try:
        wait_for(executor, worker.Ready)
        executor.submit(job_of(write_frame(tmp_path, "a")))
        assert isinstance(wait_for(executor, worker.Judged)[-1], worker.Judged)
        assert executor.free() == 0
        assert isinstance(wait_for(executor, worker.Written)[-1], worker.Written)
        assert executor.free() == 1
    finally:
        executor.stop()


def test_a_worker_that_dies_names_what_it_has_not_written(tmp_path, monkeypatch):
    of_children(tmp_path, monkeypatch, IN_A_STEP + PATIENT)
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, bounds=Bounds(waiting_mb=1000.0))
    try:
        file = write_frame(tmp_path, "a")
        wait_for(executor, worker.Ready)
        executor.submit(job_of(file, number=1))
        wait_for(executor, worker.Judged)
        executor.submit(job_of(file, part="crashes", number=2))
        broken, end = [], time.monotonic() + 60.0
        while len(broken) < 2 and time.monotonic() < end:
            broken += [m for m in executor.wait(0.1) if isinstance(m, worker.Broken)]
        assert {m.job.id: m.failure.error for m in broken} == {1: worker.LOST_ELSEWHERE, 2: "WorkerLost"}
        assert all(m.retry for m in broken)
    finally:
        executor.stop()
