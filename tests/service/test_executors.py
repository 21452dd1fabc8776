"""Workers that do not get warm: they are replaced by ones that do without, and the work goes on."""

from __future__ import annotations

import time

import pytest
from bench_site import bench_site, write_frame

from quicklook.core.keys import Unit
from quicklook.service import worker
from quicklook.service.executors import ProcessExecutor
from quicklook.service.jobs import RUNNING, Job

SITE = """\
import os, time
from quicklook.service.processing import Processor
Processor.warm_up = lambda self: WHAT
"""


@pytest.mark.parametrize("what", ["os._exit(11)", "time.sleep(600)"])
def test_a_warm_up_that_crashes_or_hangs_stops_no_work(tmp_path, monkeypatch, what):
    (tmp_path / "sitecustomize.py").write_text(SITE.replace("WHAT", what))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the children of this process alone begin with it
    recipe = bench_site(tmp_path, cameras=["a"]).recipe()
    raw = write_frame(tmp_path, "a")
    # a deadline that is shorter than the warm-up: that does not count
    executor = ProcessExecutor(recipe, workers=1, deadline_s=60.0, warm_up_s=6.0 if "sleep" in what else 60.0)
    try:
        assert wait_for(executor, worker.Ready)
        job = Job(id=1, unit=Unit(20220101, 1), part="a", tag="live", revision=0, path=str(raw), flavor="zero", attempts=1, announced=False, state=RUNNING)
        executor.submit(job)
        assert wait_for(executor, worker.Judged)
    finally:
        executor.stop()


def test_the_deadline_of_a_job_is_not_that_of_getting_warm(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SITE.replace("WHAT", "time.sleep(3)"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1, deadline_s=0.5)
    try:
        pids = executor.pids
        assert wait_for(executor, worker.Ready)
        assert executor.pids == pids
    finally:
        executor.stop()


def test_a_worker_that_had_to_compile_is_renewed_once(tmp_path, monkeypatch):
    compiles = "__import__('quicklook.core.compiled', fromlist=['x'])._state.update(compiled=1)"
    (tmp_path / "sitecustomize.py").write_text(SITE.replace("WHAT", compiles))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    executor = ProcessExecutor(bench_site(tmp_path).recipe(), workers=1)
    try:
        (first,) = executor.pids
        assert wait_for(executor, worker.Ready)
        (second,) = executor.pids
        assert second != first
        assert executor.warm() == 1
    finally:
        executor.stop()


def wait_for(executor: ProcessExecutor, kind: type, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(isinstance(m, kind) for m in executor.wait(0.2)):
            return True
    return False
