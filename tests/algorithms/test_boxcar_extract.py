"""The extraction step: on the frames of the validation kit, on real traces, and with what may be wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from algorithms.boxcar_extract import BoxcarExtract, BoxcarExtractParams, matched
from algorithms.preproc import Preproc
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.spectra import Frame, SpecMask, TraceSet
from quicklook.core.errors import BadConfig, BadData, MissingCalibration
from quicklook.core.keys import Unit

DEAD = 13
"""The dead fibre of the small scale of the validation kit."""


def traces_of(path: Path) -> TraceSet:
    with fits.open(path) as hdus:
        header, table = hdus["XTRACE"].header, {str(r["PARAM"]).strip(): r["COEFF"] for r in hdus["PSF"].data}
        pixels = dict(hdus["PSF"].header)
        x, y = hdus["XTRACE"].data.astype(float), hdus["YTRACE"].data.astype(float)
    return TraceSet(
        x=x,
        y=y,
        wavemin=header["WAVEMIN"],
        wavemax=header["WAVEMAX"],
        npix_x=pixels["NPIX_X"],
        npix_y=pixels["NPIX_Y"],
        fiber=np.arange(len(x), dtype=np.int32),
        xsig=np.array(table["GHSIGX"], float),
        ysig=np.array(table["GHSIGY"], float),
    )


def preprocessed(folder: Path, expid: int) -> Image:
    with fits.open(next(folder.glob(f"raw/*/{expid:08d}/desi-*.fits.fz"))) as hdus:
        header, pixels = hdus[1].header, np.array(hdus[1].data)
    section = lambda key, n: Section.parse(header[key + n])  # noqa: E731
    amps = tuple(
        Amplifier(name=n, data=section("DATASEC", n), ccd=section("CCDSEC", n), overscan=section("BIASSEC", n), gain=header["GAIN" + n])
        for n in "ABCD"
    )
    calib = next(folder.glob("calib/spec/sm*"))
    read = lambda kind: fits.getdata(calib / f"{kind}-r0.fits").astype(np.float32)  # noqa: E731
    exposure = Exposure(unit=Unit(20220101, expid), instrument="desi", flavor=header["FLAVOR"], exptime=header["EXPTIME"])
    bad = BadPixelMask(pixels=fits.getdata(calib / "mask-r0.fits").astype(np.uint16))
    raw = RawImage(camera="r0", pixels=pixels, amplifiers=amps)
    return Preproc().run(raw, exposure, Bias(pixels=read("bias")), Dark(pixels=read("dark")), PixelFlat(pixels=read("pixflat")), bad)


def fibermap(n: int, first: int = 0, dead: int | None = DEAD) -> FiberMap:
    status = np.zeros(n, np.int32)
    if dead is not None:
        status[dead] = 1 << 2
    return FiberMap(fiber=np.arange(first, first + n, dtype=np.int32), objtype=("TGT",) * n, columns={"FIBERSTATUS": status}, source="test")


def extract(image: Image, traces: TraceSet, fibres: FiberMap | None = None, **params: Any) -> Frame:
    return BoxcarExtract(BoxcarExtractParams(**params)).run(image, traces, fibres)


class Simulated:
    """A small r0 camera of the validation kit: flat 101 and science 102, with 3 % of the light in wings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = {e: preprocessed(folder, e) for e in (101, 102)}
        self.traces = {e: traces_of(folder / "truth" / f"psf-true-r0-{e:08d}.fits") for e in (101, 102)}
        self.truth: dict[int, dict[str, np.ndarray]] = {}
        for e in (101, 102):
            with fits.open(folder / "truth" / f"truth-r0-{e:08d}.fits") as hdus:
                self.truth[e] = {name: hdus[name].data for name in ("COUNTS", "WAVE", "COSMIC_E")}


@pytest.fixture(scope="module")
def simulated(shared_validation: Path, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    out = tmp_path_factory.mktemp("validation")
    command = [
        sys.executable,
        str(shared_validation / "simulate.py"),
        "--out",
        str(out),
        "--scale",
        "small",
        "--expids",
        "101,102",
        "--wings",
        "0.03",
    ]
    done = subprocess.run(command, check=False, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr[-500:]
    return Simulated(out)


def measures(sim: Simulated, expid: int, frame: Frame) -> dict[str, float]:
    """chi2 per sample, flux ratio and masked fraction of live fibres, as validation/score.py defines them."""
    truth = sim.truth[expid]
    step = np.gradient(truth["WAVE"], axis=1)
    live = np.arange(len(step)) != DEAD
    electrons, ivar = (frame.flux * step)[live, 20:-20], (np.where(frame.mask == 0, frame.ivar, 0) / step**2)[live, 20:-20]
    expected, ok = truth["COUNTS"][live, 20:-20], ivar > 0
    pull = (electrons - expected)[ok] * np.sqrt(ivar[ok])
    weighted = (electrons * ivar)[ok].sum() / (expected * ivar)[ok].sum()
    return {
        "chi2": float(np.mean(pull**2)),
        "ratio": float(electrons[ok].sum() / expected[ok].sum()),
        "weighted": float(weighted),
        "masked": float(1 - ok.mean()),
        "outliers": float(np.mean(np.abs(pull) > 5)),
    }


@pytest.mark.parametrize("expid", [101, 102])
@pytest.mark.parametrize("method", ["boxcar", "profile"])
def test_extraction_meets_the_numbers(simulated: Simulated, expid: int, method: str) -> None:
    found = measures(simulated, expid, extract(simulated.images[expid], simulated.traces[expid], fibermap(50), method=method))
    assert found["chi2"] == pytest.approx(1.0, abs=0.02)
    # a small science frame tells the wings within a tenth of themselves: 7e-4 of the light
    assert found["ratio"] == pytest.approx(1.0, abs=1e-3 if expid == 101 else 2e-3)
    assert found["weighted"] == pytest.approx(1.0, abs=3e-3)  # no bias of the weights; the noise of the sum is 1e-3
    assert found["masked"] < 0.01
    assert found["outliers"] < 1e-4


def test_wings_are_corrected_for(simulated: Simulated) -> None:
    """Without them the flat, all fibres alike, loses little: what leaves one window comes from the next; the last of a bundle loses half."""
    with_wings, without = (extract(simulated.images[101], simulated.traces[101], fibermap(50), wings=w) for w in (True, False))
    step, expected = np.gradient(simulated.truth[101]["WAVE"], axis=1), simulated.truth[101]["COUNTS"]
    ratio = [np.median((f.flux * step / np.maximum(expected, 1))[[0, 24, 25, 49]]) for f in (with_wings, without)]
    assert ratio[0] == pytest.approx(1.0, abs=1e-3)
    assert ratio[1] < 0.998


def test_wavelengths_are_those_of_the_traces(simulated: Simulated) -> None:
    frame = extract(simulated.images[102], simulated.traces[102], fibermap(50))
    assert np.abs(frame.wave - simulated.truth[102]["WAVE"]).max() < 1e-5  # Angstrom
    assert frame.unit == "electron/Angstrom"
    assert frame.sigma == pytest.approx(1.08 * np.gradient(frame.wave, axis=1), rel=0.15)


def test_cosmic_rays_are_found(simulated: Simulated) -> None:
    """NUMBERS.md: 99.7 % above 20 e, 99.9 % above 100 e; 90 % and 95 % under the flat lamp. A small camera has 4400 and 800 such pixels."""
    for expid, least in ((102, (0.996, 0.997)), (101, (0.9, 0.93))):
        image, hits = simulated.images[expid], simulated.truth[expid]["COSMIC_E"]
        flagged = image.mask & PixelMask.COSMIC != 0
        assert flagged[hits > 20].mean() > least[0]
        assert flagged[hits > 100].mean() > least[1]
        assert (image.ivar[flagged] == 0).all()
        near = hits > 5
        for axis in (0, 1):
            near = np.any([np.roll(near, k, axis) for k in range(-2, 3)], axis=0)
        assert np.count_nonzero(flagged & ~near) < 370  # 3000 in a full camera, eight times as large


def test_broken_fibres_are_masked(simulated: Simulated) -> None:
    frame = extract(simulated.images[102], simulated.traces[102], fibermap(50))
    assert (frame.ivar[DEAD] == 0).all()
    assert (frame.mask[DEAD] & SpecMask.BADFIBER != 0).all()
    assert (frame.mask & SpecMask.BADFIBER != 0).sum() == frame.mask.shape[1]
    kept = extract(simulated.images[102], simulated.traces[102], fibermap(50), bad_fiberstatus=0)
    assert (kept.ivar[DEAD] > 0).mean() > 0.9


def test_saturated_light_is_no_light(simulated: Simulated) -> None:
    image = simulated.images[102]
    mask, ivar = image.mask.copy(), image.ivar.copy()
    x = round(float(np.polynomial.legendre.legval(0.0, simulated.traces[102].x[20])))
    row = round(float(np.polynomial.legendre.legval(0.0, simulated.traces[102].y[20])))
    mask[row, x], ivar[row, x] = PixelMask.SATURATED, 0.0
    frame = extract(replace(image, mask=mask, ivar=ivar), simulated.traces[102], fibermap(50))
    assert frame.ivar[20, row] == 0
    assert frame.mask[20, row] & SpecMask.SATURATED


def test_without_a_fibre_map_it_says_so(simulated: Simulated) -> None:
    frame = extract(simulated.images[102], simulated.traces[102])
    assert "fibre map" in frame.assumed[0]
    assert frame.fibermap.source == "none"
    assert (frame.mask & SpecMask.BADFIBER == 0).all()


def test_traces_of_another_detector_are_refused(simulated: Simulated) -> None:
    traces = simulated.traces[102]
    with pytest.raises(MissingCalibration, match=r"camera r0: traces for 4114 x 2064 pixels, the image has 1028 x 2064"):
        extract(simulated.images[102], replace(traces, npix_x=4114))
    with pytest.raises(MissingCalibration, match=r"y does not rise with wavelength in 50 of 50 traces"):
        extract(simulated.images[102], replace(traces, y=-traces.y))


def test_widths_may_be_unknown(simulated: Simulated) -> None:
    traces = replace(simulated.traces[102], xsig=None, ysig=None)
    frame = extract(simulated.images[102], traces, fibermap(50), profile_sigma=1.05, lsf_sigma=1.2)
    assert frame.sigma == pytest.approx(1.2 * np.gradient(frame.wave, axis=1), rel=1e-3)


def test_fibres_are_matched_by_number() -> None:
    traces = TraceSet(x=np.zeros((3, 2)), y=np.zeros((3, 2)), wavemin=1.0, wavemax=2.0, npix_x=9, npix_y=9, fiber=np.array([7, 3, 5], np.int32))
    whole = FiberMap(
        fiber=np.arange(10, dtype=np.int32),
        objtype=tuple(["TGT", "SKY", "BAD", "TGT", "SKY", "TGT", "TGT", "SKY", "TGT", "TGT"]),
        columns={"N": np.arange(10)},
        source="x",
    )
    found = matched(whole, traces)
    assert found.fiber.tolist() == [7, 3, 5]
    assert found.objtype == ("SKY", "TGT", "TGT")
    assert found.columns["N"].tolist() == [7, 3, 5]
    with pytest.raises(BadData, match=r"no row for 1 of 3 fibres, first 7"):
        matched(FiberMap(fiber=np.arange(6, dtype=np.int32), objtype=("TGT",) * 6, source="x"), traces)


@pytest.mark.parametrize(("first", "missing"), [(1, 1), (-1, 1), (100, 100), (500, 100)])
def test_fibres_are_never_matched_by_row(first: int, missing: int) -> None:
    """A fibre map, or traces, off by some fibres are of other fibres, though there are as many of them."""
    zero = np.zeros((100, 2))
    traces = TraceSet(x=zero, y=zero, wavemin=1.0, wavemax=2.0, npix_x=9, npix_y=9, fiber=np.arange(500, 600, dtype=np.int32))
    with pytest.raises(
        BadData, match=rf"no row for {missing} of 100 fibres.*it is of fibres {500 + first} to {599 + first}, the traces of 500 to 599"
    ):
        matched(fibermap(100, first=500 + first, dead=None), traces)


@pytest.mark.parametrize("width", [14.0, 40.0])
def test_a_window_that_reaches_into_the_next_fibres_is_refused(simulated: Simulated, width: float) -> None:
    with pytest.raises(
        BadConfig, match=rf"boxcar_extract.width is {width:g} pixel: windows reach into the next fibres, 7\.\d\d pixel away; .* allow 10"
    ):
        extract(simulated.images[102], simulated.traces[102], fibermap(50), width=width)


@pytest.mark.parametrize("width", [3.0, 10.0])
def test_other_windows_are_right_too(simulated: Simulated, width: float) -> None:
    found = measures(simulated, 102, extract(simulated.images[102], simulated.traces[102], fibermap(50), width=width))
    assert found["chi2"] == pytest.approx(1.0, abs=0.03)  # at 10 the light of neighbours in cut pixels counts by w, not w^2: 2 %
    assert found["ratio"] == pytest.approx(1.0, abs=4e-3)  # a tenth of the light in half of the wings that a window of 3 pixels loses


def test_real_traces(shared_data: Path) -> None:
    """Light put on the traces of psf-r0-00051060 by their own series comes back, and wavelengths agree with a bisection of y."""
    traces = traces_of(shared_data / "desi_psf" / "psf-r0-00051060.fits")
    assert traces.nfibre == 500
    rows = slice(1984, 2048)
    ny, nx = traces.npix_y, traces.npix_x
    wave = np.linspace(traces.wavemin, traces.wavemax, 60001)
    light, places = np.zeros((ny, nx), np.float32), {}
    for f in (0, 24, 25, 250, 499):
        y, x = (np.polynomial.legendre.legval(traces.reduced(wave), c[f]) for c in (traces.y, traces.x))
        sigma = np.polynomial.legendre.legval(traces.reduced(wave), traces.xsig[f])  # type: ignore[index]
        for row in range(rows.start, rows.stop):
            w = float(np.interp(row, y, wave))
            centre, s, k = float(np.interp(w, wave, x)), float(np.interp(w, wave, sigma)), np.arange(nx)
            light[row] += 1000 * np.exp(-0.5 * ((k - centre) / s) ** 2) / (s * np.sqrt(2 * np.pi))
            places[f, row] = w
    amp = Amplifier(name="A", data=Section(0, ny, 0, nx), ccd=Section(0, ny, 0, nx), gain=1.0)
    image = Image(
        camera="r0",
        pixels=light,
        ivar=np.full(light.shape, 0.1, np.float32),
        mask=np.zeros(light.shape, np.uint16),
        amplifiers=(amp,),
        read_noise={"A": 3.0},
    )
    frame = extract(image, traces, wings=False)
    step = np.gradient(frame.wave, axis=1)
    for (f, row), w in places.items():
        assert frame.wave[f, row] == pytest.approx(w, abs=1e-4)  # of the linear interpolation in the test
        assert frame.flux[f, row] * step[f, row] == pytest.approx(1000, rel=4e-3)  # the test puts light at the middle of pixels


def test_the_stated_read_noise_of_the_amplifiers_goes_with_the_spectra() -> None:
    """Two amplifiers, below and above the middle: one reads as stated, one twice that, with a variance of 4 of its own beside the read noise."""
    ny, nx = 64, 40
    amps = tuple(
        Amplifier(name=n, data=Section(y0, y1, 0, nx), ccd=Section(y0, y1, 0, nx), gain=1.0, read_noise=noise)
        for n, y0, y1, noise in (("A", 0, 32, 3.0), ("B", 32, 64, 1.5))
    )
    image = Image(
        camera="r0", pixels=np.zeros((ny, nx), np.float32), ivar=np.ones((ny, nx), np.float32), mask=np.zeros((ny, nx), np.uint16),
        amplifiers=amps, read_noise={"A": 3.0, "B": 3.0}, noise_variance={"A": 9.0, "B": 13.0},
    )  # fmt: skip
    half = 0.5 * (ny - 1)
    traces = TraceSet(
        x=np.array([[12.0, 0.0], [28.0, 0.0]]), y=np.tile([half, half], (2, 1)), wavemin=6000.0, wavemax=6000.0 + ny - 1, npix_x=nx, npix_y=ny,
        fiber=np.arange(2, dtype=np.int32), xsig=np.ones((2, 1)), ysig=np.ones((2, 1)),
    )  # fmt: skip
    got = extract(image, traces).stated_noise
    assert got is not None
    np.testing.assert_allclose(got, np.tile(np.repeat([1.0, (13 - 9 + 1.5**2) / 13], 8), (2, 1)), rtol=1e-6)
    unstated = extract(replace(image, amplifiers=tuple(replace(a, read_noise=None) for a in amps)), traces).stated_noise
    assert unstated is not None
    assert np.isnan(unstated).all()
