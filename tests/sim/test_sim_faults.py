"""Each fault does what its description says, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from quicklook.core.errors import BadConfig
from quicklook.sim import FAULTS, Fault, SimInstrument, SimulatedCamera, fault_summary, parse_fault, plan_exposure, simulate_exposure

Slices = Callable[[str], tuple[slice, slice]]


def with_and_without(instrument: SimInstrument, fault: Fault, flavor: str = "science") -> tuple[SimulatedCamera, SimulatedCamera]:
    healthy = simulate_exposure(instrument, plan_exposure(flavor, 20))
    return healthy, simulate_exposure(instrument, plan_exposure(flavor, 20, faults=(fault,)))


def changed(healthy: SimulatedCamera, faulty: SimulatedCamera, amp: int) -> tuple[bool, bool]:
    """Whether pixels differ in the area of an amplifier, and outside of it."""
    inside = np.zeros(healthy.raw.shape, bool)
    inside[healthy.instrument.layout.amps[amp].area.slices] = True
    different = healthy.raw != faulty.raw
    return bool(different[inside].any()), bool(different[~inside].any())


def test_registry_has_every_fault_with_words() -> None:
    expected = {
        "dead_amp", "saturated_amp", "hot_noise_amp", "bias_step", "light_leak", "saturated", "missing_fibermap", "wrong_night",
        "truncated_file", "missing_camera", "missing_keywords", "cosmics_storm", "trace_shift", "wavelength_shift", "lost_sky",
        "low_throughput", "nan_calib", "dead_fibers", "low_fibers", "swapped_fibers",
    }  # fmt: skip
    assert expected == set(FAULTS)
    assert all(kind.description and bool(kind.strength_doc) == (kind.strength is not None) for kind in FAULTS.values())


@pytest.mark.parametrize(("name", "constant"), [("dead_amp", None), ("saturated_amp", 65535)])
def test_amp_reads_one_value(tiny: SimInstrument, name: str, constant: int | None, card_slices: Slices) -> None:
    healthy, faulty = with_and_without(tiny, Fault(name=name, amp="D"))
    assert changed(healthy, faulty, 3) == (True, False)
    for section in ("DATASECD", "BIASSECD", "ORSECD", "PRESECD"):
        values = faulty.raw[card_slices(str(faulty.header[section]))]
        assert np.ptp(values) == 0
        assert values[0, 0] == (round(tiny.hardware.pedestal[3]) if constant is None else constant)
    assert faulty.truth.faults == (name,)
    assert faulty.truth.fault_info == {name: {"amp": "D"}}


def test_hot_noise(tiny: SimInstrument, card_slices: Slices) -> None:
    healthy, faulty = with_and_without(tiny, Fault(name="hot_noise_amp", strength=4.0))
    assert changed(healthy, faulty, 2) == (True, False)
    section = card_slices(str(faulty.header["BIASSECC"]))
    ratio = (faulty.raw - tiny.hardware.bias)[section].std() / (healthy.raw - tiny.hardware.bias)[section].std()
    assert ratio == pytest.approx(4.0, rel=0.03)  # the same noise numbers four times larger; rounding adds 1 % to the lesser
    assert faulty.header["RDNOISEC"] == healthy.header["RDNOISEC"]
    assert faulty.truth.rdnoise["C"] == pytest.approx(4.0 * healthy.truth.rdnoise["C"])
    assert faulty.truth.fault_info["hot_noise_amp"]["rdnoise"] == faulty.truth.rdnoise["C"]


@pytest.mark.parametrize("amp", "ABCD")
def test_bias_step(tiny: SimInstrument, amp: str, card_slices: Slices) -> None:
    healthy, faulty = with_and_without(tiny, Fault(name="bias_step", strength=50.0, amp=amp), "zero")
    assert changed(healthy, faulty, "ABCD".index(amp)) == (True, False)
    step = (faulty.raw - healthy.raw)[card_slices(str(faulty.header["BIASSEC" + amp]))].mean(axis=1)
    first_read = step if amp in "AB" else step[::-1]
    assert set(step.tolist()) == {0.0, 50.0}
    assert first_read[0] == 0.0
    assert first_read[-1] == 50.0
    assert (step == 50.0).mean() == pytest.approx(0.5, abs=0.1)  # the row overscan is read after the image


def test_light_leak(tiny: SimInstrument, card_slices: Slices) -> None:
    healthy, faulty = with_and_without(tiny, Fault(name="light_leak", strength=500.0), "dark")
    excess = (faulty.truth.image_e - healthy.truth.image_e) / tiny.hardware.pixflat
    assert excess[0, -1] == pytest.approx(500.0, rel=0.02)
    assert excess[-1, 0] < 20.0
    overscan = card_slices(str(faulty.header["BIASSECB"]))
    np.testing.assert_array_equal(faulty.raw[overscan], healthy.raw[overscan])


@pytest.mark.parametrize("flavor", ["science", "flat", "arc"])
def test_saturated(tiny: SimInstrument, flavor: str) -> None:
    healthy, faulty = with_and_without(tiny, Fault(name="saturated", strength=3e6), flavor)
    assert (healthy.raw == 65535).sum() == 0
    count = int((faulty.raw == 65535).sum())
    assert count > 50
    assert faulty.truth.fault_info["saturated"]["n_saturated_pixels"] == count
    assert faulty.truth.bad_fibres.sum() == 3
    bad = faulty.truth.bad_fibres == 1
    np.testing.assert_allclose(faulty.truth.spectra.counts[bad].mean(axis=1), 3e6)
    np.testing.assert_array_equal(faulty.truth.spectra.counts[~bad], healthy.truth.spectra.counts[~bad])


@pytest.mark.parametrize("flavor", ["zero", "dark"])
def test_saturated_needs_light(flavor: str) -> None:
    with pytest.raises(BadConfig, match="no fibre is lit"):
        plan_exposure(flavor, 1, faults=(Fault(name="saturated"),))


def test_wrong_night_and_missing_keywords(tiny: SimInstrument) -> None:
    healthy, late = with_and_without(tiny, Fault(name="wrong_night"))
    assert (healthy.header["NIGHT"], late.header["NIGHT"]) == (20220101, 20220102)
    _, bare = with_and_without(tiny, Fault(name="missing_keywords", amp="C"))
    assert set(healthy.header) - set(bare.header) == {"EXPTIME", "FLAVOR", "GAINC", "BIASSECC"}
    _, chosen = with_and_without(tiny, Fault(name="missing_keywords", keys=("DATE-OBS",)))
    assert set(healthy.header) - set(chosen.header) == {"DATE-OBS"}
    np.testing.assert_array_equal(healthy.raw, bare.raw)


def test_fault_of_another_camera_changes_nothing(tiny: SimInstrument) -> None:
    healthy, other = with_and_without(tiny, Fault(name="dead_amp", camera="z5"))
    np.testing.assert_array_equal(healthy.raw, other.raw)
    assert other.truth.faults == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "dead_apm"}, {"name": "dead_amp", "amp": "E"}, {"name": "dead_amp", "keys": ("A",)}, {"name": "truncated_file", "strength": 1.5},
        {"name": "light_leak", "amp": "A"}, {"name": "dead_amp", "fibers": (3,)}, {"name": "dead_amp", "strength": 2.0},
        {"name": "wrong_night", "strength": 0.5}, {"name": "wrong_night", "strength": 1.5}, {"name": "low_fibers", "strength": 1.1},
        {"name": "swapped_fibers", "fibers": (3,)}, {"name": "swapped_fibers", "fibers": (3, 3)},
    ],
)  # fmt: skip
def test_bad_fault(wrong: dict) -> None:
    with pytest.raises(BadConfig, match=wrong["name"]):
        Fault(**wrong)


@pytest.mark.parametrize("name", [name for name, kind in FAULTS.items() if kind.strength is not None])
@pytest.mark.parametrize("strength", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_strengths_are_numbers_that_can_be(name: str, strength: float) -> None:
    with pytest.raises(BadConfig, match=re.escape(f"fault {name}: strength {strength:g} is not between")):
        Fault(name=name, strength=strength)


@pytest.mark.parametrize("name", [name for name, kind in FAULTS.items() if kind.strength is not None and kind.level == "pixels"])
@pytest.mark.parametrize("end", [0, 1])
def test_the_strongest_and_the_weakest_can_be_simulated(tiny: SimInstrument, name: str, end: int) -> None:
    faulty = simulate_exposure(tiny, plan_exposure("science", 20, faults=(Fault(name=name, strength=FAULTS[name].limits[end]),)))
    assert faulty.raw.min() >= 0
    assert faulty.raw.max() <= 65535
    assert np.isfinite(faulty.truth.image_e).all()
    assert np.isfinite(faulty.truth.wave).all()
    assert np.isfinite(faulty.truth.spectra.flux).all()  # type: ignore[arg-type]


def test_text_of_a_fault() -> None:
    assert parse_fault("dead_amp") == Fault(name="dead_amp")
    assert parse_fault("hot_noise_amp:4.5, camera=b1, amp=D") == Fault(name="hot_noise_amp", strength=4.5, camera="b1", amp="D")
    assert parse_fault("low_fibers:0.3,fibers=5+17") == Fault(name="low_fibers", strength=0.3, fibers=(5, 17))
    assert parse_fault("missing_keywords,keys=EXPTIME+FLAVOR").keys == ("EXPTIME", "FLAVOR")
    for wrong, words in (("light_leak:much", "are numbers"), ("dead_amp,amplifier=C", "'amplifier' is not one of"), ("low_fibers,fibers=a", "are numbers")):
        with pytest.raises(BadConfig, match=words):
            parse_fault(wrong)


def test_summary_names_camera_and_fault() -> None:
    text = fault_summary(plan_exposure("zero", 1, faults=(Fault(name="dead_amp", camera="r0"), Fault(name="wrong_night"))))
    assert "dead_amp in r0" in text
    assert "wrong_night in all cameras" in text
