"""The page on doing data again: its commands as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
EXPECTED = {"diff": (1,), "aim": (0, 1)}
"""Exit status by command: a diff with flips is 1, and so is an ALARM."""


@pytest.fixture(scope="module")
def said(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command of the page has said."""
    page = (repo_root / "docs/how-to/rerun.md").read_text(encoding="utf-8")
    folder, out = tmp_path_factory.mktemp("rerun"), dict[str, str]()
    (folder / "site.yaml").write_text("\n".join(re.findall(r"^    ((?:instrument|raw|calib|out|plots): .*)$", page, flags=re.M)) + "\n")
    environment = {**os.environ, "COLUMNS": "200", "QUICKLOOK_SITE": "site.yaml"}
    for line in re.findall(r"^    ((?:quicklook|cp) .*)$", page, flags=re.M):
        words = shlex.split(line)
        if words[0] == "cp":
            copy = shutil.copytree if words[1] == "-r" else shutil.copy
            copy(folder / words[-2], folder / words[-1])
            continue
        command = [sys.executable, "-m", "quicklook", *words[1:]]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode in EXPECTED.get(words[1], (0,)), f"{line}:\n{done.stdout}\n{done.stderr}"
        out[line] = done.stdout
    return out


def test_the_changed_calibration_is_seen(said: dict[str, str]) -> None:
    text = said["quicklook diff before new-flat"]
    assert "2 cameras of 2 exposures are in both" in text
    assert "they differ in: calibration fiberflat (2 cameras)" in text
    assert "verdicts flipped: 2 exposures, 2 cameras" in text
    assert re.search(r"20220101/00000101 r0 science: \w+ -> ALARM\n    sky_level_scatter", text)


def test_the_processings_are_listed(said: dict[str, str]) -> None:
    listed = next(text for line, text in said.items() if line.endswith("--list"))
    assert "new-flat@0  ALARM" in listed
    assert "before@0" in listed
