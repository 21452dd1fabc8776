"""No step needs the internet: on a mountain whose line is cut at midnight, tables of the Earth's rotation cannot be fetched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

CUT = """\
import os, socket
def refuse(*what, **_more):
    with open(os.environ["NOTED"], "a") as file:
        print(*what, file=file)
    raise OSError(101, "Network is unreachable")
for name in ("connect", "connect_ex"):
    plain = getattr(socket.socket, name)
    def here_only(self, address, plain=plain):
        return plain(self, address) if self.family == socket.AF_UNIX else refuse("connect", address)
    setattr(socket.socket, name, here_only)
socket.getaddrinfo = socket.gethostbyname = refuse
"""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_exposure_is_processed_while_the_line_is_cut(tmp_path: Path) -> None:
    cameras = sim_instruments(("r0",), scale="tiny", seed=3)
    calib, noted = write_calibrations(tmp_path, cameras), tmp_path / "noted"
    raw = write_exposure(tmp_path, plan_exposure("science", 102), cameras)
    (tmp_path / "sitecustomize.py").write_text(CUT)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NOTED": str(noted)}
    words = ["run", "science", str(raw), "--instrument", "desi", "--calib", str(calib), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "quicklook", *words], check=False, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert list((tmp_path / "out").rglob("cframe-r0-*.fits*")), "it went to its end"
    assert not noted.exists(), noted.read_text()
    seen = subprocess.run([sys.executable, "-c", "import socket; socket.getaddrinfo('x', 1)"], check=False, capture_output=True, env=environment)
    assert seen.returncode == 1, "the line was not cut"
    assert noted.exists()
