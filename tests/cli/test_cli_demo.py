"""The demonstration: a night of twenty exposures, one of them faulty, is judged as it was planned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from inprocess import quicklook


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_demonstration_finds_the_faulty_exposure_and_no_other(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "quicklook", "demo", str(tmp_path / "demo")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 exposures, 19 good, 1 not good, 0 without a verdict" in done.stdout
    assert "ALARM: dead_amp" in done.stdout
    assert len(list((tmp_path / "demo").rglob("*.png"))) > 300


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    done = quicklook("demo", tmp_path)
    assert done.returncode == 2
    assert "was not made by the demonstration" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "kept"
