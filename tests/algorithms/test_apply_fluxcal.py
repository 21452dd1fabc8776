"""Flux calibration: the formula, both forms, and what happens when something is not stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sky_frames as made

from algorithms.apply_fluxcal import FLUX_UNIT, ApplyFluxcal, ApplyFluxcalParams
from algorithms.scores import ComputeScores, stage_scores
from quicklook.ccd.spectra import Frame, SpecMask
from quicklook.ccd.templates import template
from quicklook.core.errors import BadData, MissingCalibration


def expected(frame: Frame, airmass: float, seeing: float, seconds: float = 900.0) -> np.ndarray:
    """Electrons per unit of flux, by the formula of the DESI data model."""
    cal = made.fluxcalib()
    return np.asarray(np.interp(frame.wave, cal.wave, cal.calib) * 10 ** (-0.4 * (0.15 * (seeing - 1.1) + 0.12 * (airmass - 1.0))) * seconds)


def test_average_calibration_with_its_terms() -> None:
    frame, _ = made.frame()
    got = ApplyFluxcal().run(frame, made.fluxcalib(), made.exposure())
    c = expected(frame, 1.15, 1.25)
    np.testing.assert_allclose(got.flux, frame.flux / c, rtol=1e-5)
    np.testing.assert_allclose(got.ivar, frame.ivar * c**2, rtol=1e-5)
    assert (got.unit, got.stage, got.assumed) == (FLUX_UNIT, "cframe", ())


def test_terms_can_be_switched_off() -> None:
    frame, _ = made.frame()
    got = ApplyFluxcal(ApplyFluxcalParams(airmass_term=False, seeing_term=False)).run(frame, made.fluxcalib(), made.exposure(airmass=None))
    np.testing.assert_allclose(got.flux, frame.flux / expected(frame, 1.0, 1.1), rtol=1e-5)
    assert got.assumed == ()


@pytest.mark.parametrize("value", [None, 0.0, -1.0, float("nan")])
def test_what_is_not_stated_counts_as_nominal_and_is_said(value: float | None) -> None:
    frame, _ = made.frame()
    got = ApplyFluxcal().run(frame, made.fluxcalib(), made.exposure(airmass=value))
    np.testing.assert_allclose(got.flux, frame.flux / expected(frame, 1.0, 1.25), rtol=1e-5)
    assert len(got.assumed) == 1
    assert got.assumed[0].startswith("airmass 1, that of the flux calibration")


def test_calibration_of_each_fibre() -> None:
    frame, _ = made.frame()
    cal = made.fluxcalib()
    factor = np.linspace(0.8, 1.2, made.NFIBRE)[:, None]
    own = replace(cal, calib=(cal.calib * factor * 900).astype(np.float32), aterm=None, sterm=None, times_exptime=True)
    got = ApplyFluxcal().run(frame, own, made.exposure(exptime=10.0))
    np.testing.assert_allclose(got.flux, frame.flux / (expected(frame, 1.0, 1.1) * factor), rtol=1e-5)
    turned = replace(own, calib=own.calib[::-1].copy(), fiber=frame.fibermap.fiber[::-1].copy())
    np.testing.assert_array_equal(ApplyFluxcal().run(frame, turned, made.exposure()).flux, got.flux)
    partial = replace(own, calib=own.calib[1:].copy(), fiber=frame.fibermap.fiber[1:].copy())
    first = ApplyFluxcal().run(frame, partial, made.exposure())
    assert (first.mask[0] == SpecMask.BADFLUXCALIB).all()
    assert (first.ivar[0] == 0).all()
    with pytest.raises(MissingCalibration, match="holds 39 fibres, none of them"):
        ApplyFluxcal().run(frame, replace(partial, fiber=None), made.exposure())


def test_where_it_does_not_reach() -> None:
    frame, _ = made.frame()
    cal = made.fluxcalib()
    short = replace(cal, calib=cal.calib[:200].copy(), wave=cal.wave[:200].copy(), aterm=None, sterm=None)
    got = ApplyFluxcal().run(frame, short, made.exposure())
    beyond = frame.wave > short.wave[-1] + 0.8
    assert (got.mask[beyond] == SpecMask.BADFLUXCALIB).all()
    assert (got.ivar[beyond] == 0).all()
    assert (got.mask[frame.wave < short.wave[-1]] == 0).all()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_exposure_time_that_is_none(seconds: float) -> None:
    with pytest.raises(BadData, match="so there is no flux"):
        ApplyFluxcal().run(made.frame()[0], made.fluxcalib(), made.exposure(exptime=seconds))


# ---- scores


def test_scores_of_the_stages_add_up() -> None:
    frame, _ = made.frame()
    first = ComputeScores().run(frame, None)
    assert set(first.columns) == {"SUM_RAW_COUNT_R", "MEAN_RAW_COUNT_R", "MEDIAN_RAW_COUNT_R"}
    electrons = (frame.flux * np.gradient(frame.wave, axis=1)).sum(axis=1)
    np.testing.assert_allclose(first.columns["SUM_RAW_COUNT_R"], electrons)
    assert {n.split("_")[0]: u for n, u in first.units.items()} == {"SUM": "electron", "MEAN": frame.unit, "MEDIAN": frame.unit}
    calibrated = ApplyFluxcal().run(frame, made.fluxcalib(), made.exposure())
    both = ComputeScores().run(calibrated, first)
    assert {"SUM_RAW_COUNT_R", "MEDIAN_CALIB_COUNT_R", "TSNR2_ELG_R", "TSNR2_STD_R"} <= set(both.columns)
    assert both.units["MEAN_CALIB_COUNT_R"] == FLUX_UNIT
    assert both.units["SUM_CALIB_COUNT_R"] == "1e-17 erg/(s cm2)"
    assert both.units["TSNR2_LRG_R"] == ""


def test_the_sum_does_not_depend_on_the_sampling() -> None:
    frame, _ = made.frame(noise=False)
    every = np.s_[:, ::2]
    half = replace(frame, **{k: np.ascontiguousarray(getattr(frame, k)[every]) for k in ("flux", "ivar", "mask", "wave", "sigma")})
    smooth = replace(frame, flux=np.full_like(frame.flux, 7.0)), replace(half, flux=np.full_like(half.flux, 7.0))
    sums = [stage_scores(f)[0]["SUM_RAW_COUNT_R"] for f in smooth]
    span = frame.wave[:, -1] - frame.wave[:, 0]
    # half a sample beyond each end counts: of 1000 samples a part in a thousand
    np.testing.assert_allclose(sums[0], 7.0 * span, rtol=3.0 / frame.wave.shape[1])
    np.testing.assert_allclose(sums[1], sums[0], rtol=3.0 / frame.wave.shape[1])


def test_template_snr_grows_with_exposure_and_prefers_features() -> None:
    frame, _ = made.frame()
    calibrated = ApplyFluxcal().run(frame, made.fluxcalib(), made.exposure())
    longer = replace(calibrated, ivar=calibrated.ivar * np.float32(4))
    one, four = stage_scores(calibrated)[0], stage_scores(longer)[0]
    np.testing.assert_allclose(four["TSNR2_QSO_R"], 4 * one["TSNR2_QSO_R"], rtol=1e-6)
    wave = 3500 + 2.0 * np.arange(template("ELG").size)
    assert template("ELG")[(wave > 6000) & (wave < 9600)].min() > 10 * template("ELG")[wave < 5500].max()  # [OII] is seen from z = 0.6 on
    assert np.argmax(template("STD")) in np.flatnonzero(np.abs(wave - 3930) < 60)
