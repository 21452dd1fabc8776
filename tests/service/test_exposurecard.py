"""The scorecard of the QAs over cameras: whole exposures with faults that show where cameras are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.scorecard import Trial, cry_wolf, detections
from quicklook.core.status import Status
from quicklook.service.proofs.scorepage import WHOLE_SHOULD_FIND, exposures_page, joined
from quicklook.service.verdicts.exposurecard import ExposureBatch, plan_exposure_batches, run_exposure_batch
from quicklook.sim import sim_instruments
from quicklook.sim.exposure import simulate_exposure
from quicklook.sim.healthy import healthy_exposure
from quicklook.sim.targets import FOCAL_RADIUS_MM, focal_plane
from quicklook.sim.wholefaults import CAMERAS, WHOLE_FAULTS, with_whole_fault

FLOOR = {
    "camera_absent": ("missing_cameras", "b0"),
    "dim_arm": ("arm_agreement", "0.75"),
    "dim_spectrograph": ("spectrograph_agreement", "0.75"),
    "half_field": ("focal_plane_patterns", "0.3"),
    "radial": ("focal_plane_patterns", "0.5"),
    "quadrupole": ("focal_plane_patterns", "0.3"),
}
"""What each of these QAs must find in any exposure at this strength and above."""


@pytest.fixture(scope="module")
def absent() -> list[Trial]:
    """Tiny exposures of two cameras, of which one is absent: too small for the other QAs, which then say that they do not apply."""
    return run_exposure_batch(ExposureBatch(scale="tiny", seed=31, fault="camera_absent", cameras=("b0", "r0")))


def test_an_absent_camera_is_found_by_the_qa_that_should(absent: list[Trial]) -> None:
    assert [(t.label, t.statuses["missing_cameras"]) for t in absent] == [("b0", Status.ALARM), ("r0", Status.ALARM)]
    (found,) = (d for d in detections(absent, "camera_absent") if d.qa == "missing_cameras")
    assert found.threshold == "b0"
    assert all(set(t.statuses) <= {"missing_cameras", "arm_agreement", "spectrograph_agreement", "focal_plane_patterns"} for t in absent)


def test_the_page_has_two_parts_that_are_made_apart(absent: list[Trial]) -> None:
    healthy = [replace(absent[0], fault="", label="", status=Status.NORMAL, statuses={"missing_cameras": Status.NORMAL})]
    part = exposures_page([*healthy, *absent], "tiny", "quicklook scorecard-exposures")
    assert "| science | 1 | 0 (below 95.00%)" in part
    assert "| camera_absent | b0, r0 (which) | missing_cameras | b0 | 1/1 1/1 |" in part
    cameras = "# Scorecard: r0, small scale\n\nof cameras\n"
    both = joined(cameras, part)
    assert both == cameras + "\n" + part
    assert joined(both, "# Scorecard: z0\n\nnew\n") == "# Scorecard: z0\n\nnew\n\n" + part
    again = part.replace("1/1", "2/2")
    assert joined(both, again) == cameras + "\n" + again
    assert joined("", part) == part
    assert joined("", cameras) == cameras


def test_every_fault_of_exposures_has_five_strengths_and_a_qa() -> None:
    assert set(WHOLE_FAULTS) == set(WHOLE_SHOULD_FIND) == set(FLOOR)
    assert {len(set(f.labels)) for f in WHOLE_FAULTS.values()} == {5}


def test_what_a_fault_does() -> None:
    planned = healthy_exposure(3, 7000)
    assert with_whole_fault(planned, "camera_absent", "z0", CAMERAS) == (planned, ("b0", "r0", "r3", "r7"))
    dim, present = with_whole_fault(planned, "dim_arm", 0.75, CAMERAS)
    assert [(f.name, f.strength, f.camera) for f in dim.faults] == [("low_throughput", 0.75, "z0")]
    assert present == CAMERAS
    patterns = [with_whole_fault(planned, f, 0.2, CAMERAS)[0].field_pattern for f in ("half_field", "radial", "quadrupole")]
    assert patterns == [(0.2, 0.0, 0.0), (0.0, 0.2, 0.0), (0.0, 0.0, 0.2)]
    with pytest.raises(BadConfig, match="is none of b0, r0"):
        with_whole_fault(planned, "dim_spectrograph", 0.75, ("b0", "r0"))
    with pytest.raises(BadConfig, match="is not known"):
        with_whole_fault(planned, "gremlins", 0.75, CAMERAS)
    with pytest.raises(BadConfig, match="field_pattern"):
        replace(planned, field_pattern=(0.0, 20.0, 0.0))


def test_what_is_planned() -> None:
    batches = plan_exposure_batches("small", faults=("radial",), healthy=7, seeds=2, first_seed=4)
    assert [(b.seed, b.fault, b.frames) for b in batches] == [(4, "", 5), (5, "", 2), (4, "radial", 0), (5, "radial", 0)]
    with pytest.raises(BadConfig, match="of exposures is not known"):
        plan_exposure_batches("small", faults=("dead_amp",), healthy=1, seeds=1, first_seed=1)


@pytest.mark.long
def test_healthy_exposures_are_called_good() -> None:
    trials = run_exposure_batch(ExposureBatch(scale="small", seed=301, frames=5))
    assert cry_wolf(trials, Status.ALARM).drawn + cry_wolf(trials, Status.WARNING).drawn + cry_wolf(trials, Status.UNKNOWN).drawn == 0
    assert all(len(t.statuses) == 4 for t in trials), "a QA did not apply"


@pytest.mark.long
@pytest.mark.parametrize("fault", FLOOR)
def test_the_floor(fault: str) -> None:
    qa, strength = FLOOR[fault]
    trials = run_exposure_batch(ExposureBatch(scale="small", seed=302, fault=fault))
    found = {d.qa: d for d in detections(trials, fault)}[qa]
    assert found.threshold is not None, "not found at any strength"
    assert found.labels.index(found.threshold) <= found.labels.index(strength), found
    assert all(qa in " ".join(t.reasons) for t in trials if t.rung >= found.labels.index(strength)), "the reasons do not name the QA"


def test_a_pattern_dims_the_targets_by_their_place() -> None:
    (instrument,) = sim_instruments(("r3",), scale="tiny", seed=5)
    planned = healthy_exposure(5, 7000)
    plain, dim = (simulate_exposure(instrument, replace(planned, field_pattern=p)).truth.spectra for p in ((0.0, 0.0, 0.0), (0.3, 0.2, -0.1)))
    assert plain.target is not None
    assert dim.target is not None
    x, y = (v / FOCAL_RADIUS_MM for v in focal_plane(3, instrument.layout))
    lit = plain.target.sum(axis=1) > 0
    mag = 0.3 * x + 0.2 * (x**2 + y**2) - 0.1 * (x**2 - y**2)
    ratio = dim.target.sum(axis=1)[lit] / plain.target.sum(axis=1)[lit]
    assert ratio == pytest.approx(10 ** (-0.4 * mag[lit]))
    assert dim.sky is not None
    assert plain.sky is not None
    assert (dim.sky == plain.sky).all()
