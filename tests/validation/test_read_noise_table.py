"""Real read noise: 120 amplifiers of DESI in six exposures, each judged against limits learned from the other five."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from quicklook.core.history import Sample
from quicklook.core.learn import LearnSettings
from quicklook.core.outliers import Finding, Trial, try_each
from quicklook.core.status import Status
from quicklook.io.instrument import load_instrument
from quicklook.io.metrictable import read_table
from quicklook.service.site import declared_metrics

SETTINGS = LearnSettings(by=("camera", "amp"), at_least=5)
OUT = {
    ("z1", "C"): {137628: "ALARM"},
    ("r3", "B"): {137853: "ALARM"},
    ("z7", "B"): {137628: "ALARM", 137941: "ALARM"},
    ("b5", "B"): {138083: "ALARM"},
    ("z9", "B"): {138209: "ALARM"},
    ("b5", "A"): {138083: "WARNING"},
    ("z9", "C"): {137628: "WARNING"},
    ("r1", "C"): {138083: "WARNING"},
    ("b7", "C"): {138083: "WARNING"},
    ("z2", "B"): {137941: "WARNING"},
    ("b3", "C"): {138338: "WARNING"},
}
"""What is out, by camera and amplifier and by exposure."""


@pytest.fixture(scope="module")
def path(shared_data: Path) -> Path:
    found = shared_data / "desi_telemetry" / "rdnoise_202206_6exposures.csv"
    if not found.is_file():
        pytest.skip("the table of read noise is not among the real data")
    return found


@pytest.fixture(scope="module")
def values(path: Path) -> list[Sample]:
    return read_table(path, {"read_noise": "RDNOISE"}, declared_metrics(), load_instrument("desi").cameras.tags)


@pytest.fixture(scope="module")
def trial(values: list[Sample]) -> Trial:
    return try_each(values, SETTINGS)


def of(trial: Trial, camera: str, amp: str) -> Finding:
    return next(f for f in trial.findings if f.when == {"camera": camera, "amp": amp})


def test_every_value_is_judged_by_the_five_other_exposures(trial: Trial) -> None:
    assert (trial.judged, trial.groups, trial.exposures, trial.refused) == (720, 120, 6, ())
    assert {o.limit.exposures for f in trial.findings for o in f.outliers} == {5}


def test_the_outliers_are_those(trial: Trial) -> None:
    found = {
        (f.when["camera"], f.when["amp"]): {o.sample.key.unit.expid: o.status.value for o in f.outliers} for f in trial.findings if f.outliers
    }  # fmt: skip
    assert found == OUT


def test_they_are_explained(trial: Trial) -> None:
    assert of(trial, "z1", "C").why[0].startswith("only the first exposure differs, from the second on it is steady: levels 3.501 (1 of 6")
    assert of(trial, "z7", "B").why[0] == "it jumps between two levels, 2.399 (2 of 6 exposures) and 2.478 (4)"
    together = [why for why in of(trial, "b5", "B").why if "moved together" in why]
    assert len(together) == 1
    assert "amp A (+5.4 sigma)" in together[0]
    assert "amp D (+2.8 sigma)" in together[0]
    assert any("it is unstable" in why for why in of(trial, "b3", "C").why)
    assert of(trial, "r3", "B").why == ("it is out in 1 of 6 exposures; the others scatter by 0.093 % (1 sigma) about 3.114",)


def test_what_is_out_is_far_from_the_other_five_by_plain_statistics(path: Path) -> None:
    """Independent of the code: whatever is out lies beyond all of the sound exposures of its amplifier; and of the values that are not out none lies farther
    from the median of the five others than 3 per cent, but for amplifier C of b3, whose values scatter by 6 per cent."""
    by_amp: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            by_amp[row["CAMERA"], row["AMP"]][int(row["EXPID"])] = float(row["RDNOISE"])
    assert len(by_amp) == 120
    quiet = []
    for amp, each in by_amp.items():
        for expid, value in each.items():
            others = [v for e, v in each.items() if e != expid]
            if expid in OUT.get(amp, {}):
                fellows = [v for e, v in each.items() if e not in OUT[amp]]
                assert not min(fellows) <= value <= max(fellows), (amp, expid)
            elif amp != ("b3", "C"):
                quiet.append(abs(value / statistics.median(others) - 1))
    assert max(quiet) < 0.03
    assert statistics.median(quiet) < 0.003


def test_a_fresh_bad_value_would_be_found(values: list[Sample]) -> None:
    """Ten per cent more noise in one amplifier of each arm, in the last exposure."""
    for camera in ("b0", "r0", "z0"):
        spoilt = [
            Sample(metric=s.metric, unit=s.unit, key=s.key, value=1.1 * s.value, coords=s.coords, tags=s.tags)
            if (s.key.part, s.coords["amp"], s.key.unit.expid) == (camera, "D", 138338)
            else s
            for s in values
        ]
        got = of(try_each(spoilt, SETTINGS), camera, "D")
        assert (got.status, got.outliers[0].sample.key.unit.expid) == (Status.ALARM, 138338)


def test_the_page_lists_them(trial: Trial, repo_root: Path) -> None:
    page = (repo_root / "docs/how-to/set-limits.md").read_text()
    for finding in trial.findings:
        for one in finding.outliers:
            change = 100 * one.change
            row = f"| {finding.when['camera']} {finding.when['amp']} | {one.sample.key.unit.expid} | {one.sample.value:.3f} | {change:+.1f} % | {one.sigmas:+.1f} |"
            assert row in page, row
