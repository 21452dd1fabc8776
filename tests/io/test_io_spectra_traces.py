"""Trace sets on disk in all their forms: our own, the simulator's, those of the real instrument."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spectra_made as made
from astropy.io import fits
from numpy.polynomial import legendre

from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.spectra import FiberFlat, FluxCalib, TraceSet
from quicklook.core.errors import BadConfig, BadData, MissingCalibration
from quicklook.core.keys import PartKey, Unit
from quicklook.io.calib import CalibFolder, open_calibrations
from quicklook.io.flatfile import write_fiberflat
from quicklook.io.tracefile import carry, read_traces, write_traces
from quicklook.sim import sim_instruments, write_calibrations


@pytest.mark.parametrize("widths", [True, False])
def test_traces_come_back(tmp_path: Path, widths: bool) -> None:
    given = made.traces(widths)
    write_traces(tmp_path / "psf.fits", given, made.EXPOSURE, "r0")
    back = read_traces(tmp_path / "psf.fits")
    for name in ("x", "y", "fiber") + (("xsig", "ysig") if widths else ()):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name), err_msg=name)
    assert (back.wavemin, back.wavemax, back.npix_x, back.npix_y) == (5543.0, 7826.0, 60, 110)
    assert (back.xsig is None, back.ysig is None) == (not widths, not widths)
    with fits.open(tmp_path / "psf.fits") as f:
        f.verify("exception")
        assert [h.name for h in f] == ["XTRACE", "YTRACE"] + ["XSIG", "YSIG"] * widths


def test_fibres_that_are_in_no_run_keep_their_numbers(tmp_path: Path) -> None:
    numbers = np.array([3, 4, 9, 1, 0, 7], np.int32)
    write_traces(tmp_path / "psf.fits", made.traces(fiber=numbers), made.EXPOSURE, "r0")
    np.testing.assert_array_equal(read_traces(tmp_path / "psf.fits").fiber, numbers)


def test_a_series_is_carried_to_another_domain_without_loss() -> None:
    series = np.random.default_rng(1).normal(size=(3, 5))
    carried = carry(series, (5543.0, 7827.0), (5500.0, 7826.0))
    wave = np.linspace(5550.0, 7800.0, 11)
    before = legendre.legval(2 * (wave - 5543.0) / 2284.0 - 1, series.T)
    after = legendre.legval(2 * (wave - 5500.0) / 2326.0 - 1, carried.T)
    np.testing.assert_allclose(after, before, atol=1e-12)  # rounding of float64 alone


def test_the_simulator_writes_what_is_read(tmp_path: Path) -> None:
    (camera,) = sim_instruments(("r0",), scale="tiny", seed=3)
    folder = write_calibrations(tmp_path, [camera])
    truth = camera.hardware.traces
    read = read_traces(folder / "spec" / "sm4" / "psf-r0.fits")
    for name, wanted in (("x", truth.x), ("y", truth.y), ("xsig", truth.sigma_x), ("ysig", truth.sigma_y)):
        np.testing.assert_allclose(getattr(read, name), wanted, atol=1e-12, err_msg=name)


def test_traces_of_the_real_instrument(shared_data: Path) -> None:
    """psf-r0 has a table of Gauss-Hermite terms in a domain that ends 1 Angstrom later than that of its traces."""
    path = shared_data / "desi_psf" / "psf-r0-00051060.fits"
    traces = read_traces(path)
    assert (traces.nfibre, traces.npix_x, traces.npix_y, traces.x.shape) == (500, 4114, 4128, (500, 7))
    x = traces.evaluate(traces.x, np.array([6700.0]))[:, 0]
    assert np.median(np.diff(x)) == pytest.approx(7.27, abs=0.02)  # pitch, data/INDEX.md
    assert (np.diff(x) > 12).sum() == 19
    assert traces.xsig is not None
    assert traces.ysig is not None
    table = fits.getdata(path, "PSF")
    coefficients = table["COEFF"][[str(p).strip() for p in table["PARAM"]].index("GHSIGY")]
    wave = np.array([5700.0, 6500.0, 7600.0])
    direct = legendre.legval(2 * (wave - 5543.0) / (7827.0 - 5543.0) - 1, coefficients.T)
    np.testing.assert_allclose(traces.evaluate(traces.ysig, wave), direct, atol=1e-10)
    assert 0.9 < np.median(traces.evaluate(traces.xsig, wave)) < 1.2


@pytest.mark.parametrize("camera", ["b0", "z0"])
def test_traces_with_widths_in_angstrom(shared_data: Path, camera: str) -> None:
    path = shared_data / "desi_psf" / f"psf-{camera}.fits"
    traces = read_traces(path)
    assert traces.xsig is not None
    assert traces.ysig is not None
    wave = np.linspace(traces.wavemin + 100, traces.wavemax - 100, 9)
    step = 0.01
    slope = (traces.evaluate(traces.y, wave + step) - traces.evaluate(traces.y, wave - step)) / (2 * step)
    angstrom = traces.evaluate(fits.getdata(path, "WSIGMA").astype(float), wave)
    # the derivative by differences is good to 1e-8 pixel per Angstrom
    np.testing.assert_allclose(traces.evaluate(traces.ysig, wave), angstrom * slope, rtol=1e-6)
    assert 0.9 < np.median(traces.evaluate(traces.ysig, wave)) < 1.4
    np.testing.assert_allclose(traces.evaluate(traces.xsig, wave)[:, 4], fits.getdata(path, "XSIGMA"), rtol=1e-12)


def test_what_is_no_trace_set(tmp_path: Path) -> None:
    write_traces(tmp_path / "psf.fits", made.traces(), made.EXPOSURE, "r0")
    with fits.open(tmp_path / "psf.fits") as f:
        f[0].header["WAVEMAX"] = 5000.0
        f[1].header["WAVEMAX"] = 5000.0
        f.writeto(tmp_path / "domain.fits")
        f[0].header["WAVEMAX"] = 7826.0
        f[0].data = np.full((6, 4), np.nan)
        f.writeto(tmp_path / "nan.fits")
    with pytest.raises(BadData, match="are no wavelength domain"):
        read_traces(tmp_path / "domain.fits")
    with pytest.raises(BadData, match="not finite"):
        read_traces(tmp_path / "nan.fits")


def test_calibrations_of_spectra_by_the_index(tmp_path: Path) -> None:
    """Files that number fibres from 0 are those of the spectrograph that asks for them."""
    write_traces(tmp_path / "psf.fits", made.traces(), made.EXPOSURE, "r3")
    write_fiberflat(tmp_path / "flat.fits", made.fiberflat(), made.EXPOSURE, "r3")
    lines = "calibrations:\n- {kind: traces, path: psf.fits}\n- {kind: fiberflat, path: flat.fits}\n"
    (tmp_path / "calib.yaml").write_text(lines)
    source, part = CalibFolder(tmp_path), PartKey(Unit(20220101, 1), "r3")
    tags = {"image_shape": "110,60", "first_fibre": "1500"}
    found = source.find(TraceSet, part, tags)
    assert found is not None
    assert isinstance(found[0], TraceSet)
    assert list(found[0].fiber) == list(range(1500, 1506))
    flat = source.find(FiberFlat, part, tags)
    assert flat is not None
    assert isinstance(flat[0], FiberFlat)
    assert flat[0].fiber[0] == 1500
    assert source.find(FluxCalib, part, tags) is None
    with pytest.raises(MissingCalibration, match="traces are of an image of 60 x 110 pixels, the camera has 61 x 110"):
        source.find(TraceSet, part, {"image_shape": "110,61"})


def test_calibrations_of_the_validation_kit(shared_validation: Path, tmp_path: Path) -> None:
    """A DESI tree has them by the keys PSF, FIBERFLAT, FLUXCALIB."""
    import subprocess
    import sys

    command = [sys.executable, str(shared_validation / "simulate.py"), "--out", str(tmp_path), "--scale", "small", "--expids", "103"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    source, part = open_calibrations(tmp_path / "calib"), PartKey(Unit(20220101, 103), "r0")
    tags = {"specid": "4", "arm": "r", "image_shape": "2064,1028"}
    loaded = [source.find(kind, part, tags) for kind in (TraceSet, FiberFlat, FluxCalib)]
    assert all(found is not None for found in loaded)
    traces, flat, calib = (found[0] for found in loaded if found is not None)
    assert isinstance(traces, TraceSet)
    assert isinstance(flat, FiberFlat)
    assert isinstance(calib, FluxCalib)
    assert (traces.nfibre, flat.flat.shape[0], calib.calib.ndim, calib.pairmass, calib.pseeing) == (50, 50, 1, 1.0, 1.1)
    assert not flat.ivar[13].any()
    assert calib.aterm is not None
    assert calib.aterm[0] == pytest.approx(0.12)


def test_known_bad_fibres(tmp_path: Path) -> None:
    part = PartKey(Unit(20220101, 1), "r0")
    (tmp_path / "fibers.yaml").write_text("broken: [13, 21]\nlow: [7]\n")
    (tmp_path / "calib.yaml").write_text("calibrations:\n- {kind: fibers, path: fibers.yaml}\n")
    found = CalibFolder(tmp_path).find(KnownFibers, part, {})
    assert found is not None
    assert found[0] == KnownFibers(broken=(13, 21), low=(7,))
    (tmp_path / "fibers.yaml").write_text("brokn: [13]\n")
    with pytest.raises(MissingCalibration, match="brokn"):
        CalibFolder(tmp_path).find(KnownFibers, part, {})


def test_known_bad_fibres_of_a_desi_tree(tmp_path: Path) -> None:
    part, tags = PartKey(Unit(20220101, 1), "r0"), {"specid": "4", "arm": "r"}
    path = tmp_path / "spec/sm4/sm4-r.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("sm4-r:\n  V1: {BROKENFIBERS: '13, 21', LOWTRANSMISSIONFIBERS: 7, DATE-OBS-BEGIN: '20200101'}\n")
    found = open_calibrations(tmp_path).find(KnownFibers, part, tags)
    assert found is not None
    assert found[0] == KnownFibers(broken=(13, 21), low=(7,))
    assert open_calibrations(tmp_path).find(KnownFibers, PartKey(Unit(20190101, 1), "r0"), tags) is None
    path.write_text("sm4-r:\n  V1: {BROKENFIBERS: 'all of them', DATE-OBS-BEGIN: '20200101'}\n")
    with pytest.raises(BadConfig, match="is no list of fibre numbers"):
        open_calibrations(tmp_path).find(KnownFibers, part, tags)
