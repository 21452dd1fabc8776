"""Plans of a night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from quicklook.core.errors import BadConfig
from quicklook.sim import FLAVORS, Fault, plan_exposure, plan_night
from quicklook.sim.plan import PlannedExposure


def test_a_night_of_twenty() -> None:
    plan = plan_night(20220101, cameras=("b0", "r0"), seed=4)
    flavors = [e.flavor for e in plan]
    assert len(plan) == 20
    assert flavors == sorted(flavors, key=FLAVORS.index)
    assert set(flavors) == set(FLAVORS)
    assert [e.expid for e in plan] == list(range(100, 120))
    faulty = [e for e in plan if e.faults]
    assert len(faulty) == 1
    assert faulty[0].flavor == "science"
    assert faulty[0].faults[0].name == "dead_amp"
    assert faulty[0].faults[0].camera in ("b0", "r0")
    for before, after in pairwise(plan):
        assert after.start >= before.start + timedelta(seconds=before.exptime)
    # all within the night: local noon at the site is 19 h UTC
    assert all(datetime(2022, 1, 1, 19, tzinfo=UTC) < e.start < datetime(2022, 1, 2, 19, tzinfo=UTC) for e in plan)


def test_same_seed_same_night() -> None:
    assert plan_night(20220101, seed=4) == plan_night(20220101, seed=4)
    assert plan_night(20220101, seed=4) != plan_night(20220101, seed=5)


@pytest.mark.parametrize("n", [1, 2, 4, 5, 7, 13, 60])
def test_any_number(n: int) -> None:
    plan = plan_night(20220101, n)
    assert len(plan) == n
    assert sum(bool(e.faults) for e in plan) == 1
    if n >= 5:
        assert {e.flavor for e in plan} == set(FLAVORS)


def test_no_fault_and_file_faults() -> None:
    assert not any(e.faults for e in plan_night(20220101, faulty=None))
    plan = plan_night(20220101, cameras=("b0", "r0"), faulty=[Fault(name="truncated_file"), Fault(name="missing_camera")])
    faults = next(e.faults for e in plan if e.faults)
    assert faults[0].camera is None
    assert faults[1].camera in ("b0", "r0")


def test_usual_values() -> None:
    zero, science = plan_exposure("zero", 1), plan_exposure("science", 2, program="bright")
    assert (zero.exptime, zero.program, zero.obstype) == (0.0, "CALIB ZERO", "ZERO")
    assert (science.exptime, science.program) == (900.0, "bright")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"night": 20221301}, "YYYYMMDD"), ({"exptime": -1.0}, "not possible"), ({"expid": -1}, "eight digits"),
     ({"flavor": "sience"}, "flavor"), ({"start": datetime(2022, 1, 1)}, "time zone"), ({"airmass": 0.5}, "airmass 0.5 is not between"),
     ({"airmass": float("nan")}, "airmass nan"), ({"seeing": -3.0}, "seeing -3"), ({"seeing": float("inf")}, "seeing inf"),
     ({"sky_factor": -1.0}, "sky_factor"), ({"exptime": float("nan")}, "not possible"), ({"flavor": "science"}, "has no flux")],
)  # fmt: skip
def test_bad_exposure(change: dict, message: str) -> None:
    good = {"expid": 1, "night": 20220101, "flavor": "zero", "program": "x", "exptime": 0.0, "start": datetime(2022, 1, 1, tzinfo=UTC)}
    PlannedExposure(**good)
    with pytest.raises(BadConfig, match=message):
        PlannedExposure(**(good | change))


def test_bad_night() -> None:
    with pytest.raises(BadConfig, match="at least"):
        plan_night(20220101, 0)
    with pytest.raises(BadConfig, match="flavor"):
        plan_exposure("sience", 1)
