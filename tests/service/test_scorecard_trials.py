"""The scorecard of the QAs: its trials are frames as any other, and its floor holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.scorecard import Trial, cry_wolf, detections
from quicklook.core.status import Status
from quicklook.service.proofs.scorecard import Batch, can_have, plan_batches, run_batch, run_batches
from quicklook.service.proofs.scorepage import SHOULD_FIND, as_data, cries_wolf, page
from quicklook.sim import FAULTS, sim_instruments
from quicklook.sim.healthy import LADDERS, SPREAD, healthy_exposure, ladder

FLOOR: dict[str, tuple[str, str]] = {
    "hot_noise_amp": ("read_noise", "2"),
    "trace_shift": ("trace_shifts", "0.5"),
    "wavelength_shift": ("trace_shifts", "0.5"),
    "dead_fibers": ("good_fibers", "3"),
    "cosmics_storm": ("cosmic_rays", "10"),
    "dead_amp": ("dead_amp", "A"),
    "low_throughput": ("throughput", "0.75"),
    "lost_sky": ("sky_fibers", "21"),
    "light_leak": ("stray_light", "3.5"),
    "missing_fibermap": ("check_file", ""),
    "wrong_night": ("check_file", "1"),
}
"""What each of these QAs must find in any frame at this strength and above."""


def small(fault: str = "", frames: int = 0, seed: int = 101) -> Batch:
    return Batch(camera="r0", scale="small", flavor="science", seed=seed, fault=fault, frames=frames)


@pytest.fixture(scope="module")
def healthy() -> list[Trial]:
    return run_batch(small(frames=6))


def test_healthy_frames_are_called_good(healthy: list[Trial]) -> None:
    assert [t.reasons for t in healthy if t.status is not Status.NORMAL] == []
    assert len({t.expid for t in healthy}) == len(healthy) == 6
    assert not cries_wolf(healthy)


@pytest.mark.parametrize("fault", ["trace_shift", pytest.param("hot_noise_amp", marks=pytest.mark.long), *(
    pytest.param(f, marks=pytest.mark.long) for f in FLOOR if f not in ("trace_shift", "hot_noise_amp"))])  # fmt: skip
def test_the_floor(fault: str) -> None:
    qa, strength = FLOOR[fault]
    trials = run_batch(small(fault))
    found = {d.qa: d for d in detections(trials, fault)}[qa]
    assert found.threshold is not None, "not found at any strength"
    assert found.labels.index(found.threshold) <= found.labels.index(strength), found
    assert all(qa in " ".join(t.reasons) for t in trials if t.rung >= found.labels.index(strength)), "the reasons do not name the QA"


@pytest.mark.parametrize(("camera", "seconds"), [("b0", 60.0), *(
    pytest.param(c, s, marks=pytest.mark.long) for c in ("r0", "b0", "z0") for s in (30.0, 60.0, 120.0, 300.0) if (c, s) != ("b0", 60.0))])  # fmt: skip
def test_short_exposures_that_are_healthy_draw_no_alarm(camera: str, seconds: float) -> None:
    trials = [t for seed in (501, 504) for t in run_batch(replace(small(frames=1, seed=seed), camera=camera, exptime=seconds))]
    assert [t.reasons for t in trials if Status.ALARM in t.statuses.values()] == []
    if seconds >= 120:
        assert [t.reasons for t in trials if Status.WARNING in t.statuses.values()] == []
    if seconds >= 300:
        assert [t.reasons for t in trials if t.status is not Status.NORMAL] == []


@pytest.mark.long
@pytest.mark.parametrize(("fault", "qa", "strength"), [
    ("trace_shift", "trace_shifts", "0.5"), ("hot_noise_amp", "read_noise", "2"), ("low_throughput", "throughput", "0.75"),
    ("dead_amp", "dead_amp", "A"), ("light_leak", "stray_light", "30"), ("cosmics_storm", "cosmic_rays", "10"),
])  # fmt: skip
def test_faults_of_short_exposures_are_found(fault: str, qa: str, strength: str) -> None:
    trials = run_batch(replace(small(fault), exptime=120.0))
    found = {d.qa: d for d in detections(trials, fault)}[qa]
    assert found.threshold is not None
    assert found.labels.index(found.threshold) <= found.labels.index(strength), found


@pytest.mark.long
def test_one_healthy_frame_in_a_hundred_at_most_draws_an_alarm() -> None:
    trials = [t for batch in run_batches([small(frames=20, seed=s) for s in range(201, 206)], jobs=2) for t in batch]
    assert len(trials) == 100
    assert cry_wolf(trials, Status.ALARM).drawn <= 1
    assert cry_wolf(trials, Status.WARNING).drawn <= 5
    assert cry_wolf(trials, Status.UNKNOWN).drawn == 0


def test_the_page_says_what_was_tried(healthy: list[Trial]) -> None:
    text = page(healthy, "A scorecard", "quicklook scorecard")
    assert "| science | 6 | 0 (below 39.30%)" in text
    assert all(name in text for name in SPREAD)
    assert as_data(healthy)[0]["status"] == "NORMAL"


def test_frames_that_were_not_measured_are_no_good_frames_and_flavors_do_not_cover_for_each_other(healthy: list[Trial]) -> None:
    unknown = [replace(t, status=Status.UNKNOWN, statuses={"snr": Status.UNKNOWN}) for t in healthy]
    assert cries_wolf(unknown)
    assert cries_wolf([*unknown[:1], *healthy[1:], *(replace(t, flavor="zero") for t in healthy * 20)])


def test_one_bad_frame_of_six_is_crying_wolf(healthy: list[Trial]) -> None:
    bad = Trial(flavor="science", seed=1, expid=1, status=Status.ALARM, statuses={"snr": Status.ALARM})
    assert cries_wolf([*healthy[1:], bad])
    assert "snr 1" in page([*healthy[1:], bad], "A scorecard", "quicklook scorecard")


def test_every_fault_has_a_ladder_and_a_qa_that_should_find_it() -> None:
    (instrument,) = sim_instruments(("r0",), scale="small", seed=1)
    for name, kind in FAULTS.items():
        rungs = ladder(name, instrument)
        assert rungs
        assert len({r.label for r in rungs}) == len(rungs)
        if kind.strength is not None:
            assert len(rungs) == 5 == len(LADDERS[name])
        assert name == "missing_camera" or SHOULD_FIND[name]
    assert [len(r.fault.fibers) for r in ladder("dead_fibers", instrument)] == [1, 2, 3, 5, 10]
    with pytest.raises(BadConfig, match="not known"):
        ladder("gremlins", instrument)


def test_healthy_conditions_lie_in_the_spread_and_differ() -> None:
    planned = [healthy_exposure(5, 1000 + i) for i in range(40)]
    for name in ("transparency", "noise_factor", "sky_factor", "airmass", "seeing"):
        low, high = SPREAD[name]
        drawn = [getattr(p, name) for p in planned]
        assert low <= min(drawn) < max(drawn) <= high
        assert max(drawn) - min(drawn) > 0.7 * (high - low)
    assert healthy_exposure(5, 1000) == planned[0]
    assert healthy_exposure(6, 1000) != planned[0]


def test_what_is_planned() -> None:
    batches = plan_batches("r0", "small", flavors=("science", "zero"), faults=("dead_amp", "lost_sky"), healthy=25, seeds=2, first_seed=7)
    assert [(b.flavor, b.fault, b.frames, b.seed) for b in batches] == [
        ("science", "", 20, 7), ("science", "", 5, 8), ("science", "dead_amp", 0, 7), ("science", "dead_amp", 0, 8),
        ("science", "lost_sky", 0, 7), ("science", "lost_sky", 0, 8),
        ("zero", "", 20, 7), ("zero", "", 5, 8), ("zero", "dead_amp", 0, 7), ("zero", "dead_amp", 0, 8),
    ]  # fmt: skip
    assert not can_have("zero", "trace_shift")
    with pytest.raises(BadConfig, match="cannot be scored"):
        plan_batches("r0", "small", flavors=("science",), faults=("missing_camera",), healthy=1, seeds=1, first_seed=1)
