"""QAs of the sky before it is subtracted: continuum, peaks, brightness, wavelengths; and what is left of it afterwards, by wavelength and by fibre."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra
from scipy.special import ndtr

from qa.sky_brightness import SkyBrightness, SkyBrightnessParams
from qa.sky_continuum import SkyContinuum, SkyContinuumParams
from qa.sky_peaks import SkyPeaks, SkyPeaksParams
from qa.sky_residual import SkyResidual
from qa.sky_wavelengths import SkyWavelengths
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.linelist import SkyLines, air_to_vacuum
from quicklook.ccd.spectra import FluxCalib, Frame, SkyModel
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measured

NFIBRE, NWAVE, STEP, SIGMA, TIME = 24, 1600, 0.6, 0.65, 900.0
SKY = tuple(range(0, NFIBRE, 2))
AIR = np.array([5889.951, 6300.304, 6363.776, 6498.721])
"""NIST and Osterbrock et al. (1996, PASP 108, 277), standard air: Na I, [O I], [O I], OH."""
LINES = air_to_vacuum(AIR)
LIGHT = np.array([4000.0, 9000.0, 3000.0, 2000.0])
EXPOSURE = Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="science", exptime=TIME, airmass=1.3, seeing=1.5, fibre_area_arcsec2=1.8)


def made(seed: int = 1, *, shift: float = 0.0, level: float = 90.0, noise: float = 8.0) -> tuple[Frame, SkyModel]:
    """Spectra of sky fibres (even rows) and targets (odd ones), lines `shift` Angstrom to the red of where they belong, and the noiseless sky."""
    rng = np.random.default_rng(seed)
    wave = 5800 + STEP * np.arange(NWAVE) + rng.uniform(0, STEP, (NFIBRE, 1))
    edges = np.append(wave, wave[:, -1:] + STEP, axis=1) - 0.5 * STEP
    sky = level + sum(a * np.diff(ndtr((edges - w - shift) / SIGMA), axis=1) / STEP for w, a in zip(LINES, LIGHT, strict=True))
    target = np.where(np.isin(np.arange(NFIBRE), SKY), 0.0, 300.0)[:, None]
    error = np.sqrt(noise**2 + np.asarray(sky) / STEP)
    flux = (sky + target + rng.normal(0, 1, wave.shape) * error).astype(np.float32)
    types = tuple("SKY" if i in SKY else "TGT" for i in range(NFIBRE))
    fibermap = FiberMap(fiber=np.arange(700, 700 + NFIBRE, dtype=np.int32), objtype=types, source="made")
    common = {"wave": wave, "mask": np.zeros(wave.shape, np.uint32)}
    frame = Frame(
        camera="r0", flux=flux, ivar=(error**-2).astype(np.float32), sigma=np.full(wave.shape, SIGMA, np.float32), fibermap=fibermap, **common
    )
    model = SkyModel(
        flux=np.asarray(sky, np.float32), ivar=np.ones(wave.shape, np.float32), fibers=tuple(700 + i for i in SKY[1:]), rejected=(700 + SKY[0],), **common
    )
    return frame, model


def line_list(wave: np.ndarray = LINES, strength: np.ndarray = LIGHT) -> SkyLines:
    return SkyLines(
        wave=wave, sigma=np.full(wave.shape, 0.004), window=np.full(wave.shape, 2.9), strength=strength, name=tuple(f"line_{i}" for i in range(len(wave)))
    )


def only(metric: Measured) -> float:
    assert metric.not_applicable is None, metric.not_applicable
    return float(metric.values)


# ---- continuum


def test_the_continuum_in_windows() -> None:
    frame, sky = made()
    got = SkyContinuum().measure(frame, sky, EXPOSURE)
    assert got["sky_continuum"].coords == {"window": ("5950-6200",)}
    assert got["sky_continuum"].values[0] == pytest.approx(90 / TIME, rel=0.025)  # 138 samples of 15 electron in 12 fibres, medians: 0.7 %
    assert got["sky_continuum_fibers"].coords["fiber"] == tuple(700 + i for i in SKY), "fibres that the model leaves out are looked at too"
    np.testing.assert_allclose(got["sky_continuum_fibers"].values[0], 90 / TIME, rtol=0.06)
    assert got["sky_continuum_scatter"].values[0] < 0.02
    assert "4000-4500" in str(got.facts["not_covered"])


def test_half_of_the_sky_fibres_see_a_target() -> None:
    frame, sky = made()
    flux = frame.flux.copy()
    flux[list(SKY[::2])] += 60
    assert SkyContinuum().measure(replace(frame, flux=flux), sky, EXPOSURE)["sky_continuum_scatter"].values[0] > 0.25


def test_dead_sky_fibres_say_nothing_of_the_sky() -> None:
    """Seven of twelve: were they counted, the sky would not be above zero."""
    frame, sky = made()
    flux, dead = frame.flux.copy(), list(SKY[: len(SKY) // 2 + 1])
    flux[dead] = np.random.default_rng(2).normal(0.0, 8.0, (len(dead), NWAVE))
    number = [700 + i for i in SKY]
    sky = replace(sky, fibers=tuple(number[len(dead) :]), rejected=tuple(number[: len(dead)]))
    got = SkyContinuum().measure(replace(frame, flux=flux), sky, EXPOSURE)
    assert got["sky_continuum"].values[0] == pytest.approx(90 / TIME, rel=0.03)
    assert got["sky_continuum_scatter"].values[0] < 0.03
    peaks = SkyPeaks(SkyPeaksParams(lines=(LINES[0],))).measure(replace(frame, flux=flux), sky, EXPOSURE)
    assert peaks["sky_peak"].values[0] == pytest.approx(LIGHT[0] / TIME, rel=0.03)


def test_what_the_continuum_does_not_apply_to() -> None:
    frame, sky = made()
    with pytest.raises(NotApplicable, match="no window lies between 5800"):
        SkyContinuum(SkyContinuumParams(windows=((4000, 4500),))).measure(frame, sky, EXPOSURE)
    with pytest.raises(NotApplicable, match="rests on no fibre"):
        SkyContinuum().measure(frame, replace(sky, fibers=(1, 2), rejected=()), EXPOSURE)
    with pytest.raises(BadData, match="exposure time"):
        SkyContinuum().measure(frame, sky, replace(EXPOSURE, exptime=0.0))


def test_a_window_that_is_masked_is_not_measured() -> None:
    frame, sky = made()
    mask = frame.mask.copy()
    mask[:] = 1
    got = SkyContinuum().measure(replace(frame, mask=mask), sky, EXPOSURE)
    assert np.isnan(got["sky_continuum"].values).all()
    assert got["sky_continuum"].remarks[("5950-6200",)]


# ---- peaks


def test_the_light_of_lines() -> None:
    frame, sky = made()
    got = SkyPeaks(SkyPeaksParams(lines=(LINES[0], LINES[1], 6450.0, 7342.8))).measure(frame, sky, EXPOSURE)
    assert got["sky_peak"].coords["line"] == (LINES[0], LINES[1], 6450.0)
    np.testing.assert_allclose(got["sky_peak"].values[:2], LIGHT[:2] / TIME, rtol=0.02)
    assert abs(got["sky_peak"].values[2]) < 0.02, "no line is there"
    assert got["sky_peak_scatter"].coords["line"] == (LINES[0], LINES[1]), "a scatter of a line that is not seen means nothing"
    assert got["sky_peak_scatter"].values.max() < 0.03
    assert got.facts["not_covered"] == "7342.8"
    with pytest.raises(NotApplicable, match="none of the lines"):
        SkyPeaks(SkyPeaksParams(lines=(9000.0,))).measure(frame, sky, EXPOSURE)


def test_a_fibre_flat_that_is_wrong_shows_in_the_scatter_of_peaks() -> None:
    frame, sky = made()
    factor = 1 + 0.15 * np.where(np.arange(NFIBRE) % 4 == 0, 1.0, -1.0)[:, None]
    flux, ivar = (frame.flux * factor).astype(np.float32), (frame.ivar / factor**2).astype(np.float32)
    got = SkyPeaks(SkyPeaksParams(lines=(LINES[1],))).measure(replace(frame, flux=flux, ivar=ivar), sky, EXPOSURE)
    assert got["sky_peak_scatter"].values[0] == pytest.approx(0.15 * 1.4826, rel=0.2)


# ---- brightness


@pytest.mark.parametrize("seed", range(1, 7))
def test_peaks_that_scatter_as_noise_makes_them_are_not_judged(seed: int) -> None:
    """Noise of 6 % in a fibre, of twelve whose scatter is known to a quarter. What is thrice that is told."""
    lines = SkyPeaks(SkyPeaksParams(lines=(LINES[1],)))
    frame, sky = made(seed, noise=200.0)
    assert "too faint in single fibres" in (lines.measure(frame, sky, EXPOSURE)["sky_peak_scatter"].not_applicable or "")
    factor = 1 + 0.4 * np.where(np.arange(NFIBRE) % 4 == 0, 1.0, -1.0)[:, None]
    flux = (frame.flux + (factor - 1) * sky.flux).astype(np.float32)
    assert only_of(lines.measure(replace(frame, flux=flux), sky, EXPOSURE)["sky_peak_scatter"]) > 0.2


def only_of(metric: Measured) -> float:
    assert metric.not_applicable is None, metric.not_applicable
    return float(metric.values[0])


@pytest.mark.parametrize("per_fibre", [False, True])
def test_brightness_of_a_flat_sky(per_fibre: bool) -> None:
    """A sky of 20.3 mag/arcsec2 (AB) at all wavelengths, through a calibration that is not constant; airmass and seeing do not count."""
    frame, sky = made()
    grid = np.arange(5700.0, 7400.0, 2.0)
    calib = 50 + 0.01 * (grid - 6000)
    flux = 3.631e-20 * 10 ** (-0.4 * 20.3) * 2.99792458e18 / sky.wave**2 * 1e17  # 1e-17 erg/(s cm2 Angstrom arcsec2)
    electrons = flux * np.interp(sky.wave, grid, calib) * TIME * 1.8
    own = replace(sky, flux=electrons.astype(np.float32))
    if per_fibre:
        fluxcal = FluxCalib(calib=np.tile((calib * TIME).astype(np.float32), (NFIBRE, 1)), wave=grid, fiber=np.asarray(frame.fibermap.fiber), times_exptime=True)
    else:
        term = np.full(grid.shape, 0.2, np.float32)
        fluxcal = FluxCalib(calib=calib.astype(np.float32), wave=grid, aterm=term, sterm=term)
    assert only(SkyBrightness().measure(frame, own, EXPOSURE, fluxcal)["sky_brightness"]) == pytest.approx(20.3, abs=0.002)
    half = SkyBrightness(SkyBrightnessParams(star_fraction=0.5)).measure(frame, own, EXPOSURE, fluxcal)
    assert only(half["sky_brightness"]) == pytest.approx(20.3 + 2.5 * np.log10(2), abs=0.002)


def _of_brightness(mag: float, seconds: float, noise: float = 8.0) -> Measured:
    """Brightness of a sky of that magnitude seen for so long, by a model with noise that all fibres share; 0.085 electron of 1e-17 erg a second."""
    frame, sky = made()
    grid = np.arange(5700.0, 7400.0, 2.0)
    fluxcal = FluxCalib(calib=np.full(grid.shape, 0.085, np.float32), wave=grid)
    flux = 3.631e-20 * 10 ** (-0.4 * mag) * 2.99792458e18 / sky.wave**2 * 1e17
    own = flux * 0.085 * seconds * 1.8 + noise * np.random.default_rng(4).normal(size=NWAVE)
    model = replace(sky, flux=own.astype(np.float32), ivar=np.full(own.shape, noise**-2, np.float32))
    return SkyBrightness().measure(frame, model, replace(EXPOSURE, exptime=seconds), fluxcal)["sky_brightness"]


def test_noise_is_no_dark_sky_but_a_dark_sky_is_told() -> None:
    assert "would hide a dark sky of 21.2 mag/arcsec2" in (_of_brightness(21.0, 1.0).not_applicable or "")
    assert only(_of_brightness(21.0, 900.0)) == pytest.approx(21.0, abs=0.02)
    assert only(_of_brightness(26.0, 900.0)) > 24.0, "in a long exposure a sky that is far too dark is one that was lost"
    assert only(_of_brightness(17.0, 1.0)) == pytest.approx(17.0, abs=0.1), "twilight is told in a second"


def test_what_brightness_needs() -> None:
    frame, sky = made()
    fluxcal = FluxCalib(calib=np.ones(900, np.float32), wave=np.linspace(5700, 7400, 900))
    for wrong, why in (
        ((frame, sky, replace(EXPOSURE, fibre_area_arcsec2=None), fluxcal), "area of a fibre"),
        ((frame, sky, EXPOSURE, None), "no flux calibration"),
        ((replace(frame, camera="b0"), sky, EXPOSURE, fluxcal), "cover 0 %"),
        ((replace(frame, camera="x0"), sky, EXPOSURE, fluxcal), "no band"),
    ):
        with pytest.raises(NotApplicable, match=why):
            SkyBrightness().measure(*wrong)


# ---- wavelengths


@pytest.mark.parametrize("shift", [0.0, 0.03, -0.1])
def test_zero_of_the_wavelengths(shift: float) -> None:
    """Lines at NIST's wavelengths in air, moved by hand; targets beside them do not count."""
    frame, sky = made(shift=shift)
    got = SkyWavelengths().measure(frame, sky, line_list())
    error = only(got["sky_wave_zero_error"])
    assert only(got["sky_wave_zero"]) == pytest.approx(shift, abs=max(4 * error, 0.03 * abs(shift)))  # first order in the shift
    assert error < 0.004
    assert only(got["sky_velocity_zero"]) == pytest.approx(299792.458 * shift / 6300, abs=0.6)
    np.testing.assert_allclose(got["sky_line_offset"].values, shift, atol=0.03)
    assert "5578.9" in str(got.facts["not_covered"])
    assert "6302.0" not in str(got.facts["not_covered"])


def test_lines_in_air_would_be_found_out() -> None:
    frame, sky = made()
    with pytest.raises(AssertionError, match="alone|bright"):
        only(SkyWavelengths().measure(frame, sky, line_list(AIR + 30.0))["sky_wave_zero"])
    zero = only(SkyWavelengths().measure(frame, sky, line_list(LINES - 0.5))["sky_wave_zero"])
    assert 0.3 < zero < 0.8, "half an Angstrom off is beyond the linear range, and still an alarm"


def test_lines_with_neighbours_do_not_count() -> None:
    frame, sky = made()
    crowded, strength = np.sort(np.append(LINES, LINES + 3.0)), np.ones(2 * len(LINES))
    got = SkyWavelengths().measure(frame, sky, line_list(crowded, strength))
    assert all("no lone line" in str(m.not_applicable) for m in got.metrics)


def test_lines_that_tell_too_little_are_left_out_unless_they_stand_out() -> None:
    assert "tell it to" in str(SkyWavelengths().measure(*made(noise=500.0), line_list())["sky_wave_zero"].not_applicable)
    assert only(SkyWavelengths().measure(*made(noise=500.0, shift=0.3), line_list())["sky_wave_zero"]) == pytest.approx(0.3, abs=0.1)


def test_one_line_that_is_hit_does_not_move_the_zero() -> None:
    frame, sky = made()
    wrong = LINES.copy()
    wrong[2] += 0.3
    got = SkyWavelengths().measure(frame, sky, line_list(wrong))
    assert abs(only(got["sky_wave_zero"])) < 0.012
    assert got["sky_line_offset"].values[2] == pytest.approx(-0.3, abs=0.05)


# ---- what is left


def test_residuals_by_wavelength_and_by_fibre() -> None:
    frame, sky = qa_spectra.subtracted()
    flux = frame.flux.copy()
    rng = np.random.default_rng(4)
    third = qa_spectra.SKY[3]
    flux[third] = rng.normal(0, 2 * qa_spectra.SIGMA, flux.shape[1])
    flux[:, 300:325] = rng.normal(0, 3 * qa_spectra.SIGMA, flux[:, 300:325].shape)
    got = SkyResidual().measure(replace(frame, flux=flux), sky)
    fibers, waves = got["sky_chi2_fiber"], got["sky_chi2_wave"]
    assert fibers.coords["fiber"][int(np.argmax(fibers.values))] == 500 + third
    assert fibers.values.max() == pytest.approx((15 * 4 + 9) / 16, rel=0.25)  # 400 samples: 7 % each way, here 25 of them of threefold noise
    assert len(waves.values) == 16
    worst = waves.coords["wave"][int(np.argmax(waves.values))]
    assert abs(float(worst) - qa_spectra.WAVE[312]) < 10
    assert waves.values.max() == pytest.approx(9, rel=0.2)
    assert [p.metric for p in got.plots[0].panels][1:3] == ["sky_chi2_wave", "sky_chi2_fiber"]


def test_fibres_with_few_samples_are_not_judged() -> None:
    frame, sky = qa_spectra.subtracted()
    mask = frame.mask.copy()
    mask[qa_spectra.SKY[1], 50:] = 1
    got = SkyResidual().measure(replace(frame, mask=mask), sky)["sky_chi2_fiber"]
    assert (500 + qa_spectra.SKY[1],) in got.left_out
    assert np.isnan(got.values).sum() == 1
