"""The flux calibration from standard stars: the response comes out, with lines, outliers and airmass in the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.apply_fluxcal import ApplyFluxcal
from algorithms.fit_fluxcal import BALMER, FitFluxcal, FitFluxcalParams, held_out
from algorithms.kernels.response import bin_ratios, blurred, design, fit_smooth
from qa.zero_point import ZeroPoint, ab_zero_point
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import FiberFlat, Frame
from quicklook.ccd.stars import CLIPPED, HELD_OUT, MASKED, Extinction, StdStars
from quicklook.ccd.tags import TAGS
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.judge import Judge
from quicklook.core.keys import Unit
from quicklook.core.limits import load_limits
from quicklook.core.metrics import Measures
from quicklook.core.results import MetricResult
from quicklook.core.status import Status
from quicklook.io.configfiles import find_config
from quicklook.service.site import declared_metrics

WAVE = np.arange(3500.0, 5600.0, 1.0)
EXPTIME = 60.0


def response(wave: np.ndarray) -> np.ndarray:
    """Electron per 1e-17 erg/cm2: rises from the blue, falls to the red."""
    return np.asarray(0.08 * np.exp(-(((wave - 4600.0) / 700.0) ** 2)) + 0.004)


def star(wave: np.ndarray) -> np.ndarray:
    """A hot star, 1e-17 erg/(s cm2 Angstrom), with lines of hydrogen."""
    lines = sum(0.4 / (1 + ((wave - line) / 6.0) ** 2) for line in BALMER)
    return np.asarray(5e4 * (wave / 4000.0) ** -3.5 * np.clip(1 - lines, 0.1, None))


def extinction() -> Extinction:
    wave = np.arange(3200.0, 8000.0, 20.0)
    return Extinction(wave=wave, magnitude=0.4 * (wave / 4000.0) ** -4)


def stars(**changes: object) -> StdStars:
    values = {"wave": WAVE, "flux": star(WAVE)[None].copy(), "names": ("Star",)}
    return StdStars(**{**values, **changes})  # type: ignore[arg-type]


def exposure(airmass: float | None = 1.3, **changes: object) -> Exposure:
    values = {"unit": Unit(20150519, 24), "instrument": "slit", "flavor": "science", "exptime": EXPTIME, "airmass": airmass}
    return Exposure(**{**values, **changes})  # type: ignore[arg-type]


def frame(airmass: float = 1.3, seed: int = 1, grey: float = 1.0, fiber: int = 7) -> Frame:
    """A faint spectrum and that of the star."""
    k = np.interp(WAVE, extinction().wave, extinction().magnitude)
    light = grey * star(WAVE) * response(WAVE) * EXPTIME * 10 ** (-0.4 * k * airmass)
    flux = np.stack([0.01 * light, light])
    variance = flux + 30.0
    noisy = flux + np.sqrt(variance) * np.random.default_rng(seed).normal(size=flux.shape)
    return Frame(
        camera="blue",
        flux=noisy.astype(np.float32),
        ivar=(1 / variance).astype(np.float32),
        mask=np.zeros(flux.shape, np.uint32),
        wave=np.stack([WAVE, WAVE]),
        sigma=np.full(flux.shape, 1e-3, np.float32),
        fibermap=FiberMap(fiber=np.array([3, fiber], np.int32), objtype=("TGT", "TGT"), source="made"),
        stage="sframe",
    )


def fitted_at(calib: object, airmass: float) -> np.ndarray:
    """The calibration over the true response with extinction at an airmass, on WAVE."""
    k = np.interp(calib.wave, extinction().wave, extinction().magnitude)  # type: ignore[attr-defined]
    truth = response(calib.wave) * 10 ** (-0.4 * k * airmass)  # type: ignore[attr-defined]
    return np.asarray(calib.calib / truth)  # type: ignore[attr-defined]


def test_the_response_comes_out_and_flux_is_true() -> None:
    calib, fit = FitFluxcal().run([frame()], [exposure()], stars(), extinction(), None)
    assert calib.pairmass == pytest.approx(1.3)
    inside = (calib.wave > 3650) & (calib.wave < 5500)
    np.testing.assert_allclose(fitted_at(calib, 1.3)[inside], 1.0, atol=0.02)
    # at another airmass: the term of the extinction carries it
    other = ApplyFluxcal().run(frame(airmass=1.8, seed=2), calib, exposure(1.8))
    use = (WAVE > 3700) & (WAVE < 5500) & (other.ivar[1] > 0)
    ratio = other.flux[1][use] / star(WAVE)[use]
    assert abs(np.median(ratio) - 1) < 0.005
    assert np.abs(ratio.reshape(-1)[: ratio.size // 20 * 20].reshape(-1, 20).mean(axis=1) - 1).max() < 0.03
    assert calib.ivar is not None
    assert 1e-4 < np.median(1 / np.sqrt(calib.ivar) / calib.calib) < 0.01
    assert fit.stars == ("Star (20150519/00000024)",)


def test_balmer_and_telluric_bins_are_masked() -> None:
    _, fit = FitFluxcal().run([frame()], [exposure()], stars(), extinction(), None)
    for line in (4102.9, 4341.7, 4862.7):
        assert (fit.use[np.abs(fit.wave - line) < 20] == MASKED).all()
    assert (fit.use[np.abs(fit.wave - 4600) < 50] != MASKED).all()


def test_blocks_that_are_held_out_are_not_fitted_and_still_right() -> None:
    params = FitFluxcalParams(hold_out=100.0)
    calib, fit = FitFluxcal(params).run([frame()], [exposure()], stars(), extinction(), None)
    held = fit.use == HELD_OUT
    assert held.sum() > 40
    assert held_out(fit.wave[held], 100.0).all()
    off = fit.ratio[held] / fit.model[held] - 1
    assert np.sqrt(np.mean(off**2)) < 0.02
    # and what lies in them has no say: a star that is wrong there gives the same calibration
    wrong = frame()
    flux = wrong.flux.copy()
    flux[:, held_out(WAVE, 100.0)] *= 1.5
    # bins lie within blocks, since 100 is a multiple of their width
    again, _ = FitFluxcal(params).run([replace(wrong, flux=flux)], [exposure()], stars(), extinction(), None)
    np.testing.assert_array_equal(again.calib, calib.calib)
    measured = ZeroPoint().measure(calib, fit)
    assert float(measured["fluxcal_held_out"].values) == pytest.approx(float(np.sqrt(np.mean(off**2))), rel=0.05)  # weighted


def test_a_lamp_through_the_same_optics_helps_and_any_other_does_no_harm() -> None:
    dip = 1 - 0.15 * np.exp(-0.5 * ((WAVE - 4700.0) / 20.0) ** 2)  # narrower than the knots
    seen = frame()
    star_frame = replace(seen, flux=(seen.flux * dip).astype(np.float32))
    lamp = 3e4 * response(WAVE) * (WAVE / 4500.0) ** 4

    def flat(spectrum: np.ndarray) -> FiberFlat:
        ones = np.ones((1, WAVE.size), np.float32)
        return FiberFlat(
            flat=ones, ivar=1e6 * ones, mask=np.zeros(ones.shape, np.uint32), wave=WAVE.copy(), meanspec=spectrum.astype(np.float32),
            fiber=np.zeros(1, np.int32),
        )  # fmt: skip

    def worst(given: FiberFlat | None) -> tuple[float, bool]:
        calib, fit = FitFluxcal(FitFluxcalParams(clip=50.0)).run([star_frame], [exposure()], stars(), extinction(), given)
        near = (calib.wave > 4600) & (calib.wave < 4800)
        return float(np.abs(fitted_at(calib, 1.3)[near] / np.interp(calib.wave[near], WAVE, dip) - 1).max()), fit.by_lamp

    assert worst(None)[0] > 0.05
    assert worst(flat(lamp * dip))[0] < 0.03
    assert worst(flat(lamp * dip))[1] is True
    spikes = 1 + 3 * np.exp(-0.5 * ((WAVE - 5000.0) / 3.0) ** 2)
    assert worst(flat(lamp * spikes))[1] is False


def test_outliers_are_left_out() -> None:
    hit = frame()
    flux = hit.flux.copy()
    flux[:, 1000:1010] *= 1.8
    calib, fit = FitFluxcal().run([replace(hit, flux=flux)], [exposure()], stars(), extinction(), None)
    assert (fit.use[np.abs(fit.wave - 4505) < 6] == CLIPPED).any()
    near = np.abs(calib.wave - 4505) < 60
    np.testing.assert_allclose(fitted_at(calib, 1.3)[near], 1.0, atol=0.02)


def test_several_stars_at_several_airmasses_give_one_response() -> None:
    frames = [frame(1.1, 1), frame(1.6, 2, grey=0.9), frame(2.0, 3, grey=1.05), frame(1.2, 4, grey=0.3)]
    exposures = [exposure(a) for a in (1.1, 1.6, 2.0, 1.2)]
    calib, fit = FitFluxcal().run(frames, exposures, stars(fiber=np.array([7], np.int32)), extinction(), None)
    assert len(fit.stars) == 3  # one was behind a cloud
    shape = fitted_at(calib, calib.pairmass)
    inside = (calib.wave > 3650) & (calib.wave < 5500)
    assert np.std(shape[inside]) < 0.01
    assert np.median(shape[inside]) == pytest.approx(1.0, abs=0.06)


def test_what_nobody_stated_is_said() -> None:
    calib, fit = FitFluxcal().run([frame()], [exposure(None)], stars(), None, None)
    assert calib.aterm is None
    assert any("no extinction" in a for a in fit.assumed)
    assert any("airmass 1" in a for a in fit.assumed)


@pytest.mark.parametrize("airmass", [None, 0.0, 40.0])
def test_an_airmass_nobody_can_believe_makes_the_calibration_provisional(airmass: float | None) -> None:
    calib, fit = FitFluxcal().run([frame()], [exposure(airmass)], stars(), extinction(), None)
    assert calib.pairmass == 1.0
    assumed = judged(ZeroPoint().measure(calib, fit))["fluxcal_assumed"]
    assert assumed.status is Status.WARNING
    assert "airmass 1" in assumed.reason
    good = judged(ZeroPoint().measure(*FitFluxcal().run([frame()], [exposure()], stars(), extinction(), None)))
    assert good["fluxcal_assumed"].status is Status.NORMAL


def test_a_reference_of_another_star_is_an_alarm() -> None:
    """The response of a star that is ten thousand times brighter than its reference is none of any telescope, or none of this one."""
    calib, fit = FitFluxcal().run([frame()], [exposure()], stars(flux=1e-4 * star(WAVE)[None]), extinction(), None)
    wrong = judged(ZeroPoint().measure(calib, fit))["zero_point"]
    assert wrong.status is Status.ALARM
    assert judged(ZeroPoint().measure(calib, fit), "kast_blue")["zero_point"].status is Status.ALARM
    right = FitFluxcal().run([frame()], [exposure()], stars(), extinction(), None)
    assert judged(ZeroPoint().measure(*right))["zero_point"].status is Status.NORMAL


def judged(measures: Measures, *instruments: str) -> dict[str, MetricResult]:
    documents = [find_config("limits", name) for name in ("default", *instruments)]
    limits = load_limits(documents, declared_metrics(), TAGS)
    return {m.name: m for m in Judge(limits).measures(ZeroPoint.metrics, measures, {"flavor": "science"})}


def test_refusals_say_what_to_do() -> None:
    run = FitFluxcal().run
    with pytest.raises(BadData, match="a flux calibration is fitted to electrons"):
        run([replace(frame(), unit="1e-17 erg/(s cm2 Angstrom)")], [exposure()], stars(), None, None)
    with pytest.raises(BadData, match="the exposure time is 0.0 s"):
        run([frame()], [exposure(exptime=0.0)], stars(), None, None)
    dark = frame()
    with pytest.raises(BadData, match="no standard star gives light"):
        run([replace(dark, flux=np.zeros_like(dark.flux))], [exposure()], stars(), None, None)
    with pytest.raises(MissingCalibration, match="none of the 1 standard stars is on a fibre of this frame"):
        run([frame()], [exposure()], stars(fiber=np.array([99], np.int32)), None, None)
    with pytest.raises(BadData, match="no standard star gives light"):
        run([frame()], [exposure()], stars(wave=WAVE + 4000.0), None, None)


def test_bins_are_summed_as_the_slow_reference_does() -> None:
    rng = np.random.default_rng(3)
    wave = np.sort(rng.uniform(0, 100, 400))
    flux, ivar, expected = rng.normal(100, 5, 400), rng.uniform(0.01, 0.1, 400), rng.uniform(50, 60, 400)
    ivar[rng.random(400) < 0.1] = 0
    edges = np.arange(0.0, 101.0, 10.0)
    ratio, error = bin_ratios(wave, flux, ivar, expected, edges)
    for k in range(10):
        own = (wave >= edges[k]) & (wave < edges[k + 1]) & (ivar > 0)
        assert ratio[k] == pytest.approx(flux[own].sum() / expected[own].sum(), rel=1e-12)
        assert error[k] == pytest.approx(np.sqrt((1 / ivar[own]).sum()) / expected[own].sum(), rel=1e-12)


def test_a_spectrum_is_blurred_and_keeps_its_light() -> None:
    wave = np.arange(0.0, 200.0, 0.5)
    line = np.exp(-0.5 * ((wave - 100) / 2.0) ** 2)
    wide = blurred(wave, line, 3.0)
    assert wide.sum() == pytest.approx(line.sum(), rel=1e-4)
    width = np.sqrt(np.average((wave - 100) ** 2, weights=wide))
    assert width == pytest.approx(np.hypot(2.0, 3.0), rel=5e-3)


def test_the_spline_follows_a_cubic_exactly_and_its_errors_are_right() -> None:
    wave = np.arange(4000.0, 5000.0, 10.0)
    cubic = 1.0 + ((wave - 4500) / 500) ** 3
    knots = np.linspace(4000.0, 5000.0, 6)
    np.testing.assert_allclose(design(wave, knots).sum(axis=1), 1.0, rtol=1e-12)
    smooth = fit_smooth(wave, cubic, np.full(wave.size, 0.01), np.ones(wave.size, bool), knots, wave, 0.0, 5.0)
    np.testing.assert_allclose(smooth.value, cubic, atol=1e-9)
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(200):
        noisy = fit_smooth(wave, cubic + 0.01 * rng.normal(size=wave.size), np.full(wave.size, 0.01), np.ones(wave.size, bool), knots, wave, 0.0, 9.0)
        pulls.append(((noisy.value - cubic) / np.sqrt(noisy.variance))[50])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)  # 200 draws: 5 %


def test_the_zero_point_is_that_of_ab_magnitudes() -> None:
    wave = np.array([5000.0])
    # F_nu = 3631 Jy is magnitude 0: F_lambda = F_nu c / wave^2
    flux = 3.631e-20 * 2.99792458e18 / wave**2
    assert ab_zero_point(wave, 1e-17 / flux)[0] == pytest.approx(0.0, abs=2e-3)  # 48.60 is rounded
    assert np.isnan(ab_zero_point(wave, np.zeros(1)))[0]
