"""The tutorial of the test bench: its commands as they stand there."""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

PAGE = "docs/tutorials/test-bench.md"
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def blocks(page: str) -> list[str]:
    """The indented blocks of a page."""
    return [textwrap.dedent(b).strip() + "\n" for b in re.findall(r"(?:^    .*\n|^\n)+", page, flags=re.M) if b.strip()]


@pytest.fixture(scope="module")
def bench(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which all commands of the page were run, and what each has said."""
    page = (repo_root / PAGE).read_text(encoding="utf-8")
    folder, said = tmp_path_factory.mktemp("bench"), dict[str, str]()
    made = blocks(page)
    (folder / "site.yaml").write_text(next(b for b in made if b.startswith("instrument:")))
    (folder / "bench.yaml").write_text(next(b for b in made if "tests:" in b))
    environment = {**os.environ, "COLUMNS": "200", "QUICKLOOK_SITE": "site.yaml"}
    for line in re.findall(r"^    (quicklook .*)$", page, flags=re.M):
        words = [f for w in shlex.split(line)[1:] for f in (sorted(glob.glob(w, root_dir=folder)) if "*" in w else [w])]
        done = subprocess.run([sys.executable, "-m", "quicklook", *words], cwd=folder, capture_output=True, text=True, check=False, env=environment)
        allowed = (0, 3) if words[0] == "status" else (0, 1) if words[0] in ("aim", "diff") else (0,)  # status: 3 where no daemon runs
        assert done.returncode in allowed, f"{line}:\n{done.stdout}\n{done.stderr}"
        said[line] = done.stdout
    return folder, said


def outcome_of(folder: Path, name: str, run: int = 0) -> dict[str, Any]:
    """The outcome of a test, of the first run or a later one."""
    found: dict[str, Any] = json.loads((sorted(folder.glob("out/tests/*/run.json"))[run].parent / name / "test.json").read_text())
    return found


def numbers(outcome: dict[str, Any]) -> list[int]:
    return [int(u.partition("/")[2]) for u in outcome["exposures"]]


def flags(outcome: dict[str, Any]) -> list[str]:
    return [f["name"] for f in outcome["flags"]["raised"]]


def test_the_aborted_sequence_is_told_apart(bench: tuple[Path, dict[str, str]]) -> None:
    outcome = outcome_of(bench[0], "BIAS01")
    assert numbers(outcome) == [102, 103, 104, 105, 106]
    assert [int(u[-8:]) for u in outcome["aborted"]] == [100, 101]
    assert (outcome["complete"], "MISSDATA" in flags(outcome)) == (True, False)


def test_the_missing_frame_and_the_wrong_serial_raise_their_flags(bench: tuple[Path, dict[str, str]]) -> None:
    dark, flat = (outcome_of(bench[0], name) for name in ("DARK01", "FLAT01"))
    assert numbers(dark) == [117, 118, 120]
    assert (dark["timed_out"], "MISSDATA" in flags(dark), bool(dark["analyses"]["darks"])) == (True, True, True)
    assert "WRONGTEST" in flags(flat)
    assert any("ROE1_CCD2: serial is 14399-99-99, the session says 14312-04-02 (exposures 121-126)" in r for r in flat["reasons"])
    assert all("MISSDATA" not in flags(outcome_of(bench[0], name)) for name in ("BIAS01", "BIAS02", "FLAT01", "PTC01"))
    assert all("WRONGTEST" not in flags(outcome_of(bench[0], name)) for name in ("BIAS01", "BIAS02", "DARK01", "PTC01"))


def test_photon_transfer_finds_the_gains(bench: tuple[Path, dict[str, str]]) -> None:
    truth = json.loads((bench[0] / "truth.json").read_text())["ccds"]
    results = sorted(bench[0].glob("out/tests/*/PTC01/basic/ptc/calib-ptc-*.json"))[:2]
    assert len(results) == 2
    for path in results:
        built = json.loads(path.read_text())
        gain = next(m for qa in built["result"]["qas"] for m in qa["metrics"] if m["name"] == "gain")
        for amp, value in zip(gain["coords"]["amp"], gain["values"], strict=True):
            assert value == pytest.approx(truth[built["camera"]]["gain"][amp], rel=0.012), (built["camera"], amp)  # four of its errors


def test_what_is_switched_off_is_taken_from_the_run_before(bench: tuple[Path, dict[str, str]]) -> None:
    bias, dark = (outcome_of(bench[0], name, 1)["states"] for name in ("BIAS01", "DARK01"))
    assert (bias["basic"], bias["prep"]) == ("reused", "done")
    assert (dark["prep"], dark["basic"], dark["meta"]) == ("reused", "reused", "done")
    assert outcome_of(bench[0], "BIAS01", 1)["analyses"] == outcome_of(bench[0], "BIAS01")["analyses"]


def test_the_summary_and_the_status(bench: tuple[Path, dict[str, str]]) -> None:
    folder, said = bench
    summary = (sorted(folder.glob("out/tests/*/summary.txt"))[0]).read_text()
    assert "(first): 5 of 5 tests are over, the session is over" in summary
    for words in ("aborted: 100-101", "3 of 4 exposures: 117-118,120", "flags: WRONGTEST", "minutes: init"):
        assert words in summary
    assert re.search(r"DARK01 .*closed at its time-out .*MISSDATA", said["quicklook status"])
    assert len(list(folder.glob("out/tests/*/*-first.log"))) == 1


def test_the_test_that_was_aimed_at_differs_by_its_bias(bench: tuple[Path, dict[str, str]]) -> None:
    text = bench[1]["quicklook diff live with-bias"]
    assert "6 cameras of 3 exposures are in both" in text
    assert "they differ in: calibration bias" in text
    assert "values changed" in text
