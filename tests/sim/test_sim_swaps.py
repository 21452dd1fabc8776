"""Two fibres that have each other's target, where the fibre map has them the other way round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quicklook.core.errors import BadConfig
from quicklook.sim import Fault, SimInstrument, SimulatedCamera, check_faults, plan_exposure, simulate_exposure


def camera(name: str = "r0") -> SimInstrument:
    return SimInstrument(camera=name, scale="small", seed=7)


def shoot(*faults: Fault, flavor: str = "science", instrument: SimInstrument | None = None) -> SimulatedCamera:
    return simulate_exposure(instrument or camera(), plan_exposure(flavor, 20, faults=faults))  # type: ignore[arg-type]


def test_the_light_of_two_fibres_is_exchanged_and_the_targets_stay() -> None:
    healthy, faulty = shoot(), shoot(Fault(name="swapped_fibers", fibers=(4, 31)))
    assert faulty.truth.fault_info["swapped_fibers"]["fibres"] == [4, 31]
    assert np.flatnonzero(faulty.truth.bad_fibres).tolist() == [4, 31]
    np.testing.assert_array_equal(faulty.truth.targets.kind, healthy.truth.targets.kind)  # what the fibre map says
    sound = np.setdiff1d(np.arange(50), [4, 31])
    before, after = healthy.truth.spectra, faulty.truth.spectra
    assert before.flux is not None
    assert after.flux is not None
    np.testing.assert_array_equal(after.counts[sound], before.counts[sound])
    middle = slice(100, -100)
    for here, there in ((4, 31), (31, 4)):  # each at its own wavelengths, so that spectra agree as far as they are smooth
        assert np.median(after.flux[here, middle]) == pytest.approx(np.median(before.flux[there, middle]), rel=0.02)
    np.testing.assert_array_equal(after.sky, before.sky)


@pytest.mark.parametrize("strength", [1.0, 8.0])
def test_the_pair_differs_by_the_strength_and_is_the_same_in_all_arms(strength: float) -> None:
    fault = Fault(name="swapped_fibers", strength=strength)
    truth = shoot(fault).truth
    a, b = np.flatnonzero(truth.bad_fibres)
    mag = np.minimum(truth.targets.mag, 25.0)
    assert abs(mag[a] - mag[b]) == pytest.approx(strength, abs=1.5)  # the nearest among 50 fibres
    assert np.flatnonzero(shoot(fault, instrument=camera("b0")).truth.bad_fibres).tolist() == [a, b]


def test_faults_that_cannot_be() -> None:
    with pytest.raises(BadConfig, match="two by two"):
        Fault(name="swapped_fibers", fibers=(3, 5, 8))
    with pytest.raises(BadConfig, match="r0 has no fibre 50"):
        shoot(Fault(name="swapped_fibers", fibers=(3, 50)))
    with pytest.raises(BadConfig, match="r0 has no fibre 50"):
        check_faults([Fault(name="swapped_fibers", fibers=(3, 50))], [camera()])
    check_faults([replace(Fault(name="swapped_fibers"), strength=2.0)], [camera()])
