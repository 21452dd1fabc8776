"""What can be chosen of a simulation: fibres, skies and lamps from files, series of exposures. All of it comes from the seed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.core.errors import BadConfig
from quicklook.sim import (
    Fault,
    SimInstrument,
    SimulatedCamera,
    check_faults,
    plan_exposure,
    plan_series,
    simulate_exposure,
    with_faults,
    write_calibrations,
    write_exposure,
)
from quicklook.sim.atlas import FIBRE_ARCSEC2, sky_spectrum
from quicklook.sim.instrument import LOW_FACTOR
from quicklook.sim.spectra import calibration, sky_continuum


def camera(**more: object) -> SimInstrument:
    return SimInstrument(camera="r0", scale="small", seed=7, **more)  # type: ignore[arg-type]


def shoot(instrument: SimInstrument, flavor: str = "science", *faults: Fault) -> SimulatedCamera:
    return simulate_exposure(instrument, plan_exposure(flavor, 20, faults=faults))  # type: ignore[arg-type]


# ---------------------------------------------------------------- fibres


def test_known_low_fibres(tmp_path: Path) -> None:
    """They have less light in every exposure and in the fibre flat, the calibrations list them, and the other fibres are as without them."""
    plain, low = camera(), camera(nlow=3)
    rows = np.array(low.low_fibres)
    assert len(rows) == 3
    assert plain.layout.dead_fibre not in rows
    assert SimInstrument(camera="b0", scale="small", seed=7, nlow=3).low_fibres == low.low_fibres
    factor = np.ones((50, 1))
    factor[rows] = LOW_FACTOR
    for flavor in ("science", "flat", "arc"):
        one, other = shoot(plain, flavor).truth, shoot(low, flavor).truth
        np.testing.assert_allclose(other.spectra.counts, factor * one.spectra.counts, rtol=1e-12)
        np.testing.assert_allclose(other.fiberflat, factor * one.fiberflat, rtol=1e-12)
        assert not other.bad_fibres.any()
    write_calibrations(tmp_path, [low])
    listed = (tmp_path / "calib/spec/sm4/sm4-r.yaml").read_text()
    assert f"LOWTRANSMISSIONFIBERS: '{','.join(str(i) for i in rows)}'" in listed
    write_exposure(tmp_path, plan_exposure("science", 20), [low])
    assert json.loads((tmp_path / "truth/truth-r0.json").read_text())["low_fibres"] == rows.tolist()


@pytest.mark.parametrize(("name", "factor"), [("dead_fibers", 0.0), ("low_fibers", 0.1)])
@pytest.mark.parametrize("flavor", ["science", "flat", "arc"])
def test_new_dead_and_low_fibres(tmp_path: Path, name: str, factor: float, flavor: str) -> None:
    instrument = camera(nlow=2)
    healthy, faulty = shoot(instrument, flavor), shoot(instrument, flavor, Fault(name=name))
    rows = np.flatnonzero(faulty.truth.bad_fibres)
    assert len(rows) == 6
    assert not {instrument.layout.dead_fibre, *instrument.low_fibres} & set(rows.tolist())
    assert faulty.truth.fault_info[name]["fibres"] == rows.tolist()
    left = np.ones((50, 1))
    left[rows] = factor
    np.testing.assert_allclose(faulty.truth.spectra.counts, left * healthy.truth.spectra.counts, rtol=1e-12)
    if flavor == "science":
        np.testing.assert_array_equal(faulty.truth.spectra.flux, healthy.truth.spectra.flux)  # type: ignore[arg-type]
    write_calibrations(tmp_path, [instrument], [Fault(name=name)])
    listed = (tmp_path / "calib/spec/sm4/sm4-r.yaml").read_text()
    assert f"LOWTRANSMISSIONFIBERS: '{','.join(str(i) for i in instrument.low_fibres)}'" in listed  # nobody knows the new ones
    assert f"BROKENFIBERS: '{instrument.layout.dead_fibre}'" in listed


def test_fibres_can_be_named() -> None:
    truth = shoot(camera(), "flat", Fault(name="low_fibers", strength=0.5, fibers=(4, 31)), Fault(name="dead_fibers", fibers=(8,))).truth
    assert np.flatnonzero(truth.bad_fibres).tolist() == [4, 8, 31]
    assert (truth.fault_info["low_fibers"]["fibres"], truth.fault_info["dead_fibers"]["fibres"]) == ([4, 31], [8])
    with pytest.raises(BadConfig, match="r0 has no fibre 50; its rows are 0 to 49"):
        check_faults([Fault(name="low_fibers", fibers=(50,))], [camera()])
    with pytest.raises(BadConfig, match="camera z9 is not simulated"):
        check_faults([Fault(name="dead_amp", camera="z9")], [camera()])


def test_numbers_of_sky_fibres_and_standards(tmp_path: Path) -> None:
    instrument = camera(nsky=20, nstd=0)
    kind = shoot(instrument).truth.targets.kind.tolist()
    assert (kind.count("SKY"), kind.count("STD"), kind.count("BAD"), len(kind)) == (20, 0, 1, 50)
    write_exposure(tmp_path, plan_exposure("science", 20), [instrument])
    said = json.loads((tmp_path / "truth/truth-r0.json").read_text())
    assert (said["nsky"], said["nstd"]) == (20, 0)
    with pytest.raises(BadConfig, match="another simulation"):
        write_exposure(tmp_path, plan_exposure("science", 21), [camera()])


@pytest.mark.parametrize("wrong", [{"nsky": 48}, {"nsky": -1}, {"nstd": 40}, {"nlow": 40}, {"nlow": -2}])
def test_numbers_of_fibres_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(BadConfig, match="too many|from 0"):
        camera(**wrong)


# ---------------------------------------------------------------- skies and lamps from files


def text_sky(path: Path) -> Path:
    wave = np.arange(6000.0, 7500.0, 0.1)
    line = 200.0 * np.exp(-0.5 * ((wave - 6700.0) / 0.3) ** 2)
    np.savetxt(path, np.column_stack([wave, line]), header="a line")
    return path


def test_a_sky_of_two_columns(tmp_path: Path) -> None:
    """One line: its place, and its electrons (0.055 per unit, Angstrom and second)."""
    instrument = camera(sky_file=str(text_sky(tmp_path / "sky.txt")))
    truth = shoot(instrument).truth
    sky, fibre = truth.spectra.sky, 20
    assert sky is not None
    dwave = np.gradient(truth.wave[fibre])
    continuum = sky_continuum("r", truth.wave[fibre]) * 900.0 * truth.fiberflat[fibre] * dwave
    line = (sky[fibre] - continuum)[np.abs(truth.wave[fibre] - 6700.0) < 12.0]
    wave = truth.wave[fibre][np.abs(truth.wave[fibre] - 6700.0) < 12.0]
    band = calibration("r", plan_exposure("science", 0), np.array([6700.0]))  # its shape is that of the throughput
    assert band[0] > 0
    assert np.average(wave, weights=line) == pytest.approx(6700.0, abs=0.01)  # a fiftieth of a row
    expected = 0.055 * 200.0 * 0.3 * np.sqrt(2 * np.pi) * 900.0
    flat = truth.fiberflat[fibre][np.argmin(np.abs(truth.wave[fibre] - 6700.0))]
    assert line.sum() / (expected * flat) == pytest.approx(1.0, abs=0.01)  # the band shape is 0.99 to 1 in the middle of an arm
    again = shoot(camera(sky_file=str(tmp_path / "sky.txt")))
    np.testing.assert_array_equal(again.raw, shoot(instrument).raw)


def test_a_sky_from_a_fits_spectrum(tmp_path: Path) -> None:
    """A line on a continuum: the continuum is the simulator's own, the line is 1.77 arcsec2 of what the file says."""
    wave = 5900.0 + 0.1 * np.arange(20_000)
    flux = 30.0 + 50.0 * np.exp(-0.5 * ((wave - 6700.0) / 0.2) ** 2)
    hdu = fits.PrimaryHDU(flux.astype("f4"))
    hdu.header.update(CRVAL1=5900.0, CDELT1=0.1, CRPIX1=1.0)
    hdu.writeto(tmp_path / "sky.fits")
    at, light = sky_spectrum(str(tmp_path / "sky.fits"), True)
    assert light.sum() == pytest.approx(FIBRE_ARCSEC2 * 50.0 * 0.2 * np.sqrt(2 * np.pi), rel=1e-3)
    assert np.average(at, weights=light) == pytest.approx(6700.0, abs=1e-3)
    truth = shoot(camera(sky_file=str(tmp_path / "sky.fits"))).truth
    assert truth.spectra.sky is not None
    near = np.abs(truth.wave[20] - 6700.0) < 8.0
    peak = truth.wave[20][near][np.argmax(truth.spectra.sky[20][near])]
    assert peak == pytest.approx(6700.0, abs=0.3)  # half a row


@pytest.mark.parametrize(
    ("content", "words"),
    [("no numbers\n", "no file of one or two columns"), ("5000 1\n4000 1\n", "that rise"), ("5000 1 2\n", "one or two columns"),
     ("5000 -1\n5001 1\n", "below 0"), ("5000 nan\n5001 1\n", "that rise"), ("5000\n5001\n", "a sky needs two columns")],
)  # fmt: skip
def test_skies_that_are_none(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "sky.txt").write_text(content)
    with pytest.raises(BadConfig, match=words):
        camera(sky_file=str(tmp_path / "sky.txt"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for option in ("sky_file", "arc_file"):
        with pytest.raises(BadConfig, match="none"):
            camera(**{option: str(tmp_path / "none")})
    fits.PrimaryHDU(np.ones((3, 4), "f4")).writeto(tmp_path / "image.fits")
    with pytest.raises(BadConfig, match="CRVAL1"):
        camera(sky_file=str(tmp_path / "image.fits"))


def test_lines_of_a_lamp(tmp_path: Path) -> None:
    (tmp_path / "two.dat").write_text("# vacuum\n4000.0 10\n6500.0 8000\n6800.5 500\n")
    (tmp_path / "one.dat").write_text("4000.0\n6500.0\n6800.5\n")
    two, one = (shoot(camera(arc_file=str(tmp_path / name)), "arc").truth.spectra for name in ("two.dat", "one.dat"))
    np.testing.assert_allclose(two.line_wave, [6500.0, 6800.5])  # type: ignore[arg-type]
    np.testing.assert_allclose(two.line_electrons, [8000.0, 500.0])  # type: ignore[arg-type]
    assert one.line_electrons is not None
    assert ((one.line_electrons > 10**3.2) & (one.line_electrons < 10**4.8)).all()
    again = shoot(camera(arc_file=str(tmp_path / "one.dat")), "arc").truth.spectra
    np.testing.assert_array_equal(again.line_electrons, one.line_electrons)  # type: ignore[arg-type]


# ---------------------------------------------------------------- series


def test_a_series_by_numbers() -> None:
    plan = plan_series((100, 101, 102, 103), 3, seed=5, exptime=300.0, airmass=1.2)
    assert [(e.expid, e.flavor) for e in plan] == [
        (100, "arc"), (101, "flat"), (102, "science"), (103, "zero"), (104, "science"), (105, "science")
    ]  # fmt: skip
    science = [e for e in plan if e.flavor == "science"]
    assert {e.exptime for e in science} == {300.0}
    assert (science[0].airmass, science[0].sky_factor) == (1.2, 1.0)
    assert len({e.airmass for e in science}) == len({e.seeing for e in science}) == len({e.sky_factor for e in science}) == 3
    assert plan == plan_series((100, 101, 102, 103), 3, seed=5, exptime=300.0, airmass=1.2)
    assert plan[-1] == plan_series((102,), 4, seed=5, exptime=300.0, airmass=1.2)[-1]  # its conditions come from its own number


def test_a_series_of_one_flavor() -> None:
    plan = plan_series((100,), 4, flavor="arc", exptime=7.0)
    assert [(e.expid, e.flavor, e.exptime, e.airmass) for e in plan] == [(n, "arc", 7.0, 1.15) for n in range(100, 104)]
    for wrong in ((), (3, 3)):
        with pytest.raises(BadConfig, match="different numbers"):
            plan_series(wrong)


def test_which_exposure_has_the_faults() -> None:
    plan, fault = plan_series((100, 101, 102), 2), Fault(name="dead_amp")
    for given, victim in ((None, 102), (101, 101), (103, 103)):
        assert [e.expid for e in with_faults(plan, [fault], given) if e.faults] == [victim]
    assert with_faults(plan, []) == plan
    with pytest.raises(BadConfig, match="the exposures are 100, 101, 102, 103"):
        with_faults(plan, [fault], 99)
    with pytest.raises(BadConfig, match="none is named"):
        with_faults(plan, [], 102)


@pytest.mark.parametrize("kind", ["model", "uves"])
def test_the_sky_of_a_file_is_as_bright_as_that_of_the_other_simulator(validation_kit: Path, shared_data: Path, kind: str) -> None:
    """Light of the lines in the middle of the r arm, electrons per second; the throughputs differ by some per cent, and how a continuum is found."""
    spec = importlib.util.spec_from_file_location("kit_simulate", validation_kit / "simulate.py")
    assert spec is not None
    assert spec.loader is not None
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    file = shared_data / "sky" / {"model": "spec-sky.dat", "uves": "sky-uves.fits"}[kind]
    ours = shoot(camera(sky_file=str(file))).truth
    assert ours.spectra.sky is not None
    wave = np.arange(6320.0, 7000.0, 0.1)
    theirs, _ = kit.sky_model("r", wave, kind)
    continuum = (0.16 + 0.06 * (wave - 6000.0) / 3000.0 + 0.015 * np.sin(wave / 210.0)) * kit.throughput("r", wave) / kit.PEAK["r"]
    inside = (ours.wave[20] > 6320.0) & (ours.wave[20] < 7000.0)
    own = sky_continuum("r", ours.wave[20]) * np.gradient(ours.wave[20])
    light = (ours.spectra.sky[20] / ours.fiberflat[20] / 900.0 - own)[inside].sum()
    assert light == pytest.approx(((theirs - continuum) * 0.1).sum(), rel=0.08 if kind == "uves" else 0.2)
