"""The page on running the daemon: its commands as they stand there, on a small night; its unit."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quicklook.service.journal.jobview import STATES

EXPECTED = {"doctor": (0, 1)}
"""Ports of the default may be taken on the machine that runs this."""


def page_of(repo_root: Path) -> str:
    return (repo_root / "docs/how-to/run-the-daemon.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_its_commands(repo_root: Path, tmp_path: Path) -> None:
    page = page_of(repo_root)
    site = "\n".join(re.findall(r"^    ((?:instrument|raw|calib|out|work|disk|retention): .*)$", page, flags=re.M))
    (tmp_path / "site.yaml").write_text(f"{site}\ncameras: [r0]\nsinks: {{files: {{}}}}\n")
    environment = {**os.environ, "COLUMNS": "200"}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "quicklook", *words], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode in EXPECTED.get(words[0], (0,)), f"{words}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run("simulate", ".", "--scale", "tiny", "--camera", "r0", "--flavor", "zero", "--exposures", "2", "--expid", "101")
    lines = re.findall(r"^    (quicklook .*)$", page, flags=re.M)
    said = {line: run(*shlex.split(line)[1:]) for line in lines}
    assert len(said) >= 8
    assert "2 shown; in the journal: 2 done" in said["quicklook jobs --site site.yaml"]
    assert "Reconciled." in said["quicklook ledger --site site.yaml --night 20220101"]
    latest = tmp_path / "out/runs/latest"
    assert {p.name for p in latest.iterdir()} == {"log.txt", "site.yaml", "chains.yaml", "run.json"}
    assert latest.resolve().name.endswith("-first")
    assert "20220101/00000102: NORMAL" in (latest / "log.txt").read_text()


def test_the_page_has_every_state_of_a_job(repo_root: Path) -> None:
    assert set(STATES) == set(re.findall(r"^\| (\w+) \| ", page_of(repo_root).partition("# Jobs")[2].partition("# The ledger")[0], flags=re.M)) - {"state"}


def test_the_unit_is_one_that_systemd_takes(repo_root: Path, tmp_path: Path) -> None:
    unit = repo_root / "configs/systemd/quicklook.service"
    text = unit.read_text(encoding="utf-8")
    for line in ("Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "KillSignal=SIGTERM", "Restart=always"):
        assert line in text
    watchdog = re.search(r"^WatchdogSec=(\d+)$", text, flags=re.M)
    assert watchdog is not None
    assert int(watchdog[1]) >= 30
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    copy = tmp_path / "quicklook.service"
    copy.write_text(text.replace("/opt/quicklook/bin/quicklook", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    mine = [line for line in done.stderr.splitlines() if "quicklook.service" in line]
    assert not mine, mine
