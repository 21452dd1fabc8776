"""What the simulator does to spectra: faults of light and sky, real traces, spectral calibrations, truth that can be scored."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.io.flatfile import read_fiberflat, read_fluxcalib
from quicklook.io.spectrafile import write_frame
from quicklook.io.tracefile import read_traces
from quicklook.sim import Fault, SimInstrument, SimulatedCamera, plan_exposure, sim_instruments, simulate_exposure, write_calibrations, write_exposure


def science(instrument: SimInstrument, *faults: Fault) -> SimulatedCamera:
    return simulate_exposure(instrument, plan_exposure("science", 20, faults=faults))


@pytest.mark.parametrize(("name", "axis"), [("trace_shift", "x"), ("wavelength_shift", "y")])
def test_a_shift_moves_the_traces_by_its_strength(tiny: SimInstrument, name: str, axis: str) -> None:
    healthy, faulty = science(tiny), science(tiny, Fault(name=name, strength=-1.25))
    for one, moved in (("x", -1.25), ("y", -1.25)):
        difference = getattr(faulty.truth.traces, one) - getattr(healthy.truth.traces, one)
        np.testing.assert_allclose(difference[:, 0], moved if one == axis else 0.0, atol=1e-12)
        assert not difference[:, 1:].any()
    assert (healthy.raw != faulty.raw).any()


def test_clouds_dim_all_light_and_leave_the_true_flux(tiny: SimInstrument) -> None:
    healthy, dim = science(tiny).truth.spectra, science(tiny, Fault(name="low_throughput", strength=0.3)).truth.spectra
    for name in ("counts", "sky", "target"):
        np.testing.assert_allclose(getattr(dim, name), 0.3 * getattr(healthy, name), rtol=1e-12, err_msg=name)
    assert healthy.flux is not None
    np.testing.assert_array_equal(dim.flux, healthy.flux)


def test_every_second_sky_fibre_sees_something(tiny: SimInstrument) -> None:
    healthy, lost = science(tiny).truth, science(tiny, Fault(name="lost_sky", strength=19.0)).truth
    sky = np.flatnonzero(lost.targets.kind == "SKY")
    hit = np.flatnonzero(lost.bad_fibres)
    np.testing.assert_array_equal(hit, sky[::2])
    assert lost.fault_info["lost_sky"]["fibres"] == hit.tolist()
    assert lost.spectra.target is not None
    assert healthy.spectra.target is not None
    assert lost.spectra.sky is not None
    others = np.setdiff1d(np.arange(len(lost.bad_fibres)), hit)
    np.testing.assert_array_equal(lost.spectra.target[others], healthy.spectra.target[others])
    assert (lost.spectra.target[hit].mean(axis=1) > lost.spectra.sky[hit].mean(axis=1)).all()  # magnitude 19 outshines the sky
    np.testing.assert_array_equal(lost.spectra.sky, healthy.spectra.sky)


def test_a_storm_has_more_cosmic_rays(small: SimInstrument) -> None:
    usual, storm = science(small).truth.n_cosmics, science(small, Fault(name="cosmics_storm", strength=6.0)).truth.n_cosmics
    assert storm / usual == pytest.approx(6.0, rel=0.35)  # about 220 tracks and six times as many: four sigma


@pytest.mark.parametrize("name", ["lost_sky", "low_throughput"])
def test_faults_of_the_sky_need_a_sky(name: str) -> None:
    with pytest.raises(BadConfig, match="no fibre sees the sky"):
        plan_exposure("flat", 1, faults=(Fault(name=name),))


@pytest.mark.parametrize("wrong", [("cosmics_storm", -1.0), ("low_throughput", float("nan"))])
def test_strengths_that_mean_nothing(wrong: tuple[str, float]) -> None:
    with pytest.raises(BadConfig, match="is not between"):
        Fault(name=wrong[0], strength=wrong[1])


def test_holes_in_the_pixel_flat(tmp_path: Path, tiny: SimInstrument) -> None:
    whole = fits.getdata(write_calibrations(tmp_path / "a", [tiny]) / "spec/sm4/pixflat-r0.fits")
    holed = fits.getdata(write_calibrations(tmp_path / "b", [tiny], [Fault(name="nan_calib", strength=64.0)]) / "spec/sm4/pixflat-r0.fits")
    bad = np.isnan(holed)
    assert np.isfinite(whole).all()
    assert 70 <= bad.sum() <= 80  # 64 pixels, some of them twice or in the block of 4 x 4
    np.testing.assert_array_equal(whole[~bad], holed[~bad])
    assert np.isfinite(tiny.hardware.pixflat).all()


def test_the_sky_can_vary_over_the_focal_plane() -> None:
    flat, tilted = (SimInstrument(camera="r0", scale="tiny", seed=7, sky_gradient=g) for g in (0.0, 0.2))
    ratio = science(tilted).truth.spectra.sky / np.maximum(science(flat).truth.spectra.sky, 1e-30)  # type: ignore[operator]
    live = np.arange(10) != tilted.layout.dead_fibre
    per_fibre = ratio[live].mean(axis=1)
    assert np.ptp(ratio[live], axis=1).max() < 1e-9
    radius = 400.0 * np.sqrt((np.arange(10) + 10.0) / 30.0)
    assert (np.abs(per_fibre - 1.0) <= 0.2 * radius[live] / 400.0 + 1e-12).all()
    assert per_fibre.max() > 1.05


# ---------------------------------------------------------------- spectral calibrations


def test_spectral_calibrations_are_true(tmp_path: Path, tiny: SimInstrument) -> None:
    folder = write_calibrations(tmp_path, [tiny])
    camera = simulate_exposure(tiny, plan_exposure("science", 20, airmass=1.5, seeing=0.9))
    truth = camera.truth
    live = np.arange(10) != tiny.layout.dead_fibre
    flat = read_fiberflat(folder / "spec/sm4/fiberflat-r0.fits")
    at_rows = np.array([np.interp(truth.wave[i], flat.wave, flat.flat[i]) for i in range(10)])
    error = (at_rows - truth.fiberflat)[live]
    assert error.std() < 0.0011  # its noise is 0.001, interpolation makes it less
    assert not flat.ivar[tiny.layout.dead_fibre].any()
    calib = read_fluxcalib(folder / "spec/sm4/fluxcalib-r0.fits")
    assert calib.aterm is not None
    assert calib.sterm is not None
    loss = calib.aterm * (1.5 - calib.pairmass) + calib.sterm * (0.9 - calib.pseeing)
    per_flux = np.interp(truth.wave, calib.wave, calib.calib * 10.0 ** (-0.4 * loss)) * 900.0
    expected = truth.spectra.flux * per_flux * truth.fiberflat * np.gradient(truth.wave, axis=1)
    # the calibration is linear between samples of 0.8 Angstrom, and dw is taken by differences
    np.testing.assert_allclose(expected[live, 2:-2], truth.spectra.target[live, 2:-2], rtol=1e-4)  # type: ignore[index]


def test_a_calibration_of_each_fibre(tmp_path: Path, tiny: SimInstrument) -> None:
    folder = write_calibrations(tmp_path, [dataclasses.replace(tiny, camera="r3")])
    every = read_fluxcalib(folder / "fluxcalib-perfibre-r3.fits")
    average = read_fluxcalib(folder / "spec/sm7/fluxcalib-r3.fits")
    assert every.times_exptime
    assert every.fiber is not None
    assert every.fiber[0] == 1500
    nominal = 10.0 ** (-0.4 * (0.12 * 0.15 + 0.15 * 0.15))
    np.testing.assert_allclose(every.calib, np.broadcast_to(average.calib * 900.0 * nominal, every.calib.shape), rtol=1e-5)  # float32


# ---------------------------------------------------------------- real traces


@pytest.mark.parametrize("camera", ["b0", "r0", "z0"])
def test_light_on_the_traces_of_the_real_instrument(shared_data: Path, camera: str) -> None:
    """At the small scale: two bundles from the middle, the rows from the middle, moved by whole pixels."""
    path = shared_data / "desi_psf" / {"r0": "psf-r0-00051060.fits"}.get(camera, f"psf-{camera}.fits")
    (instrument,) = sim_instruments((camera,), scale="small", seed=3, trace_files={camera: str(path)})
    real, layout = read_traces(path), instrument.layout
    ours = instrument.hardware.traces
    for got, given in ((ours.x, real.x), (ours.y, real.y)):
        moved = given[225:275, 0] - got[:, 0]
        assert np.ptp(moved) < 1e-9
        assert moved[0] == pytest.approx(round(moved[0]), abs=1e-9)
        np.testing.assert_array_equal(got[:, 1 : given.shape[1]], given[225:275, 1:])
    truth = simulate_exposure(instrument, plan_exposure("flat", 7)).truth
    assert truth.xcen.min() > 5
    assert truth.xcen.max() < layout.nx - 5
    rows = np.arange(0, layout.ny, 97)
    wave = truth.wave[:, rows]
    y = np.array([np.polynomial.legendre.legval(real.reduced(wave[i]), truth.traces.y[i]) for i in range(50)])
    np.testing.assert_allclose(y, np.broadcast_to(rows, y.shape), atol=1e-6)
    light = truth.image_e - instrument.hardware.dark * 120.0
    np.testing.assert_allclose((light / instrument.hardware.pixflat).sum(axis=1), truth.spectra.counts.sum(axis=0), rtol=1e-3)


def test_traces_that_do_not_fit(tmp_path: Path, shared_data: Path, tiny: SimInstrument) -> None:
    path = write_calibrations(tmp_path, [tiny]) / "spec/sm4/psf-r0.fits"
    with pytest.raises(BadConfig, match="are 10 fibres on 160 x 256 pixels; r at scale small has 50"):
        _ = SimInstrument(camera="r0", trace_file=str(path)).hardware
    with pytest.raises(BadConfig, match="is not there"):
        _ = SimInstrument(camera="r0", trace_file=str(tmp_path / "none.fits")).hardware
    with pytest.raises(BadConfig, match="which are not simulated"):
        sim_instruments(("b0",), trace_files={"r0": str(path)})


# ---------------------------------------------------------------- scoring


def perfect(camera: SimulatedCamera) -> dict[str, Frame]:
    """Frames as an ideal pipeline would make them from photons alone: Poisson noise about the truth."""
    truth, rng = camera.truth, np.random.default_rng(4)
    counts = truth.spectra.counts
    assert truth.spectra.sky is not None
    dwave = np.gradient(truth.wave, axis=1)
    dead = camera.instrument.layout.dead_fibre
    got = rng.normal(counts, np.sqrt(np.maximum(counts, 1e-9)))
    ivar = np.where(counts > 0, dwave**2 / np.maximum(counts, 1e-9), 0.0)
    table = FiberMap(fiber=truth.targets.fiber, objtype=tuple("SKY" if k == "SKY" else "TGT" for k in truth.targets.kind), source="made")
    calib = np.where(truth.spectra.flux != 0, truth.spectra.target / np.where(truth.spectra.flux != 0, truth.spectra.flux, 1.0), 1.0)  # type: ignore[operator]

    def frame(stage: str, flux: np.ndarray, weight: np.ndarray, unit: str) -> Frame:
        weight[dead] = 0.0
        return Frame(
            camera=camera.instrument.camera, flux=flux.astype(np.float32), ivar=weight.astype(np.float32), mask=np.zeros(flux.shape, np.uint32),
            wave=np.ascontiguousarray(truth.wave), sigma=np.ones(flux.shape, np.float32), fibermap=table, unit=unit, stage=stage,
        )  # fmt: skip

    calibrated = (got - truth.spectra.sky) / calib
    weight = np.where((counts > 0) & (truth.spectra.flux != 0), calib**2 / np.maximum(counts, 1e-9), 0.0)
    return {
        "frame": frame("frame", got / dwave, ivar.copy(), "electron/Angstrom"),
        "cframe": frame("cframe", calibrated, weight, "1e-17 erg/(s cm2 Angstrom)"),
    }


def test_score_reads_truth_of_spectra(tmp_path: Path, validation_kit: Path, small: SimInstrument) -> None:
    planned = plan_exposure("science", 20)
    write_exposure(tmp_path, planned, [small])
    camera = simulate_exposure(small, planned)
    exposure = Exposure(unit=Unit(20220101, 20), instrument="desi", flavor="science", exptime=900.0)
    for stage, frame in perfect(camera).items():
        write_frame(tmp_path / f"products/{stage}-r0-00000020.fits", frame, exposure)
    command = [sys.executable, str(validation_kit / "score.py"), str(tmp_path / "products"), "--truth", str(tmp_path / "truth")]
    subprocess.run([*command, "--json", str(tmp_path / "score.json")], check=True, capture_output=True)
    products = {p["kind"]: p["scores"] for p in json.loads((tmp_path / "score.json").read_text())["products"]}
    # 49 fibres of 1900 rows: 0.46 % of statistical error of a chi2
    assert products["frame"]["extraction"]["chi2_dof"] == pytest.approx(1.0, abs=0.015)
    assert products["frame"]["extraction"]["ratio_sum"] == pytest.approx(1.0, abs=1e-3)  # ten million electrons: 3e-4
    assert products["frame"]["wavelength"]["rms_A"] < 1e-6
    assert products["frame"]["dead"]["dead_fibre_flagged"]
    assert products["cframe"]["flux_ALL"]["chi2_dof"] == pytest.approx(1.0, abs=0.018)
    assert products["cframe"]["STD_ratio"]["median"] == pytest.approx(1.0, abs=0.002)
