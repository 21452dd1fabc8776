"""The page of truth: the kit's own numbers are read right, and goals are judged right."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def truth(repo_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_truth", repo_root / "docs" / "make_truth.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_truth"] = module
    spec.loader.exec_module(module)
    return module


def test_public_numbers_agree_with_the_reference_scores(truth: ModuleType, shared_validation: Path) -> None:
    """The table of the README, cell by cell, against reference-r0.json, for every measure that has a row."""
    public = truth.public_scores()["r0"]
    reference = json.loads((shared_validation / "reference-r0.json").read_text())["products"]
    scores = {(p["kind"], p["flavor"]): p["scores"] for p in reference}
    compared = 0
    for measure in truth.MEASURES:
        value, _ = truth.value_of(scores, measure)
        assert measure.row in public, measure.name
        cell = public[measure.row][measure.place]
        if value is not None:
            # the table is rounded to its last digit
            assert cell == pytest.approx(value, abs=max(6e-4, 0.005 * abs(value))), measure.name
            compared += 1
    assert compared > 25


def test_goals(truth: ModuleType) -> None:
    assert truth.one(0.02).met(0.985, 1_000_000)
    assert not truth.one(0.02).met(0.975, 1_000_000)
    assert truth.one(0.02).met(0.93, 2000)  # three sigma of 2000 samples: 0.095
    assert not truth.ratio(0.001).met(0.9985, 10)
    assert truth.most(0.006).met(-0.005, None)
    assert not truth.least(0.997).met(0.9969, None)
    assert truth.one(0.02).distance(0.99) < truth.one(0.02).distance(1.02)
    assert truth.least(0.9).distance(0.99) < truth.least(0.9).distance(0.95)


def test_the_page(truth: ModuleType, shared_validation: Path) -> None:
    scores = {("frame", "science"): {"extraction": {"chi2_dof": 1.005, "ratio_sum": 0.95, "n": 10**6}}}
    page = truth.page({"r0": {"given": scores, "self": {}}}, None)
    assert "| extraction, chi2/dof | 1.0050 | 0.9880 | 1 ± 0.02 | yes | yes |" in page
    assert "| extraction, sum ratio | 0.95000 | 0.99790 | 1 ± 0.001 | **no** | **no** |" in page
    assert "| fibre flat, rms | - | 0.0049 | ≤ 0.003 | - | - |" in page


def test_unknown_cases_are_refused(truth: ModuleType, shared_validation: Path) -> None:
    assert truth.main(["--cases", "q7"]) == 2
