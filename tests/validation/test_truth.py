"""The numbers of the validation kit: guarded at the small scale always, at full scale in `make test-long`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from inprocess import quicklook

from quicklook.io.configfiles import list_configs

pytestmark = pytest.mark.skipif("science" not in list_configs("chains"), reason="the chain for science exposures is not installed")
Scores = Mapping[str, Mapping[tuple[str, str], Mapping[str, Any]]]


@pytest.fixture(scope="module")
def truth(repo_root: Path, shared_validation: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_truth", repo_root / "docs" / "make_truth.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_truth"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small(truth: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """Scores of the small scale, with the command in this process."""
    work, call = tmp_path_factory.mktemp("truth"), truth.call

    def here(command: Sequence[str | Path], statuses: Iterable[int] = (0,)) -> str:
        if tuple(command[:3]) != truth.QUICKLOOK:
            return str(call(command, statuses))
        done = quicklook(*command[3:])
        assert done.returncode in statuses, done.text
        return done.stdout

    with mock.patch.object(truth, "call", here):
        made: Scores = truth.process("small", work, work, None)
    return made


LOST_TO_A_COLUMN = 0.03
"""One of the 50 fibres of the small scale lies on a bad column (the kit's README): it is lost, and a fiftieth is masked with it."""
ONLY_FULL_SCALE = ("STD_ratio.median",)
"""Three standards of 1900 samples allow 0.15 %; the goal is 0.1 %."""


def missed(truth: ModuleType, scores: Scores, tag: str) -> list[str]:
    """Names and values of the numbers that do not reach their goals; one that is absent has not reached it."""
    out = []
    for measure in truth.MEASURES:
        if measure.goal is None or measure.path in ONLY_FULL_SCALE:
            continue
        value, n = truth.value_of(scores[tag], measure)
        if measure.path == "flux_ALL.masked_frac":
            value = None if value is None else max(0.0, value - LOST_TO_A_COLUMN)
        goal = truth.SELF_GOALS.get(measure.path, measure.goal) if tag == "self" else measure.goal
        if value is None or not goal.met(value, n):
            out.append(f"{measure.name}: {value}, must be {goal.text()}")
    return out


@pytest.mark.parametrize("tag", ["given", "self"])
def test_small_scale(truth: ModuleType, small: Scores, tag: str) -> None:
    assert missed(truth, small, tag) == []


def test_dead_fibres_are_flagged(small: Scores) -> None:
    for kind in ("frame", "cframe"):
        assert small["given"][kind, "science"]["dead"]["dead_fibre_flagged"]
        assert small["given"][kind, "science"]["dead"]["other_fibres_lost"] <= 1  # the one on the bad column


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", ["r0", "r0-uves", "r0-real"])
def test_full_scale(truth: ModuleType, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "LOST_TO_A_COLUMN", 0.0)
    monkeypatch.setitem(globals(), "ONLY_FULL_SCALE", ())
    scores = truth.process(case, tmp_path, tmp_path, None)
    assert [m for tag in ("given", "self") for m in missed(truth, scores, tag)] == []


POSITIONS = ("trace.dx_rms_px", "trace.dy_rms_px", "wavelength.rms_A")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("case", "seed"), [("b0-real", None), ("z0-real", None), ("b0", 7), ("b0-uves", 7), ("z0-uves", 7)])
def test_positions(truth: ModuleType, tmp_path: Path, case: str, seed: int | None) -> None:
    """The real traces of the other arms, with curvature, dispersion and widths that no simulator of ours has thought of; both skies in b.

    In b the noise of the few blue lines alone makes a dy of 0.006 pixel: one seed of ten misses the goal whatever is done.
    """
    truth.simulate(truth.CASES[case], tmp_path / case, seed)
    truth.run(tmp_path / case, truth.SCIENCE, tmp_path / case / "calib", tmp_path / "out", "given")
    scores = truth.score(tmp_path / "out" / "given", tmp_path / case)
    for measure in truth.MEASURES:
        if measure.flavor == "science" and measure.path in POSITIONS:
            value, n = truth.value_of(scores, measure)
            assert value is not None, measure.name
            assert measure.goal.met(value, n), f"{measure.name}: {value}, must be {measure.goal.text()}"
