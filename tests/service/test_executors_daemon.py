"""Workers under the daemon: one camera that hangs costs only itself; a broken cache of kernels costs time alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bench_site import bench_site, said, turn, write_frame

from quicklook.core.errors import Transient
from quicklook.core.keys import Unit
from quicklook.core.results import Failure
from quicklook.service.daemon import Daemon
from quicklook.service.journal import jobs
from quicklook.service.journal.jobs import UnitRow
from quicklook.service.journal.journal import Journal
from quicklook.service.site import Site

HANGS = """\
import time, quicklook.core.runner as runner
plain = runner.ChainRunner._read
def read(self, state, given):
    if state.key.part == "a":
        time.sleep(600)
    plain(self, state, given)
runner.ChainRunner._read = read
"""


def test_a_camera_that_hangs_costs_only_itself(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # the deadline of a step would also end a camera in order where the machine is very busy; it is long enough for that
    daemon = Daemon(bench_site(tmp_path, work={"workers": 1, "step_deadline_s": 5.0, "attempts": 1}))
    daemon.start()
    try:
        turn(daemon, lambda: daemon.executor.warm(), 120)
        for camera in "ab":
            write_frame(tmp_path, camera)
        turn(daemon, lambda: said(daemon, "unit_verdict"), 180)
        first, second = said(daemon, "verdict"), said(daemon, "failed")
        assert [e.part for e in first] == ["b"]
        assert [e.part for e in second] == ["a"]
        assert second[0].payload["failure"]["message"] == "step read took longer than 5 s and was stopped"
        reasons = said(daemon, "unit_verdict")[0].payload["reasons"]
        assert any("a: UNKNOWN: processing failed: step read took longer than 5 s" in r for r in reasons), reasons
    finally:
        daemon.stop()


def test_what_has_failed_waits_for_the_others_of_its_exposure():
    journal = Journal(None, time.time_ns)
    row = UnitRow(unit=Unit(20220101, 1), tag="live", revision=0, path="", expected=(), tags={}, closed_ns=None, seen_ns=0, deadline_ns=0)
    older = replace(row, unit=Unit(20220101, 0))
    with journal.transaction() as connection:
        jobs.add_unit(connection, older, ["a"])
        jobs.add_unit(connection, row, ["a", "b", "c"])
        first = jobs.take_next(connection, "live", 1)
        assert first is not None
        jobs.retry_later(connection, first.id, 2, Failure.of(Transient("it hung")), first.attempts)
        taken = [jobs.take_next(connection, "live", 3) for _ in range(4)]
    assert [(j.unit.expid, j.part) for j in taken if j] == [(1, "b"), (1, "c"), (1, "a"), (0, "a")]


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_broken_cache_of_kernels_is_rebuilt_and_the_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKLOOK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    site = bench_site(tmp_path, cameras=["a"], work={"workers": 1})
    judged(site, tmp_path, 1)
    kernels = sorted((tmp_path / "cache").rglob("*.nb[ci]"))
    assert len(kernels) > 20, "kernels are cached elsewhere"
    for i, path in enumerate(kernels):
        content = path.read_bytes()
        path.write_bytes((content[: len(content) // 2], os.urandom(len(content)), b"", content[:-100] + bytes(100))[i % 4])
    spoilt = {path: path.read_bytes() for path in kernels}
    judged(site, tmp_path, 2)
    assert sum(path.read_bytes() != content for path, content in spoilt.items()) > 20


def judged(site: Site, folder: Path, expid: int) -> None:
    """A daemon takes one exposure, and nothing fails."""
    daemon = Daemon(site)
    daemon.start()
    try:
        write_frame(folder, "a", expid)
        turn(daemon, lambda: said(daemon, "unit_verdict") and said(daemon, "unit_verdict")[-1].unit.endswith(f"{expid}") and daemon.idle, 700)
        assert not said(daemon, "failed")
        assert "failed" not in " ".join(said(daemon, "unit_verdict")[-1].payload["reasons"])
    finally:
        daemon.stop()
