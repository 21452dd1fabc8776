"""The effective exposure time follows time, sky, and the light that arrives, as photon noise wants it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made
import qa_targets as targets

from algorithms.scores import ComputeScores
from qa.effective_time import EffectiveTime, EffectiveTimeParams
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measures

DARK, NOMINAL = 20.2, 1000.0
PARAMS = EffectiveTimeParams(nominal_time=NOMINAL, dark_sky={"r": DARK})


def observed(seconds: float, sky_mag: float, light: float, readout: float) -> Frame:
    """Calibrated spectra at the zenith: variance of the sky and of the read-out, (electron/Angstrom)^2, alone; stars and ELGs in the fibres without sky."""
    frame = targets.calibrated(light)
    width = made.WAVE[1] - made.WAVE[0]
    sky = targets.ab(sky_mag, made.WAVE) * targets.CALIB * seconds / width
    ivar = (targets.CALIB * seconds) ** 2 / (sky + readout)
    types = tuple("SKY" if i in made.SKY else "TGT" for i in range(made.NFIBRE))
    fibermap = replace(frame.fibermap, objtype=types)
    return replace(frame, ivar=np.tile(ivar, (made.NFIBRE, 1)).astype(np.float32), fibermap=fibermap)


def measure(
    seconds: float = NOMINAL, sky_mag: float = DARK, light: float = 1.0, readout: float = 0.0, *, airmass: float = 1.0, seeing: float = 1.1
) -> Measures:
    frame = observed(seconds, sky_mag, light, readout)
    exposure = targets.exposure(seconds, airmass=airmass, seeing=seeing)
    return EffectiveTime(PARAMS).measure(frame, ComputeScores().run(frame, None), targets.sky(frame, sky_mag, seconds), targets.fluxcal(), exposure)


@pytest.mark.parametrize("readout", [0.0, 100.0])
def test_the_nominal_exposure_takes_its_own_time(readout: float) -> None:
    measures = measure(readout=readout)
    kinds = measures["effective_time"].coords["target"]
    assert set(kinds) >= {"ELG", "LRG", "QSO"}
    assert "STD" not in kinds
    # one per cent: light of the stars by their noise, squared
    np.testing.assert_allclose(measures["effective_time"].values, NOMINAL, rtol=0.012)
    np.testing.assert_allclose(measures["effective_time_ratio"].values, 1.0, rtol=0.012)


def test_in_the_light_of_the_sky_time_counts_once_and_lost_light_twice() -> None:
    one = measure()["effective_time"].values
    brighter = DARK - 2.5 * np.log10(2)
    np.testing.assert_allclose(measure(seconds=2 * NOMINAL)["effective_time"].values / one, 2.0, rtol=1e-3)
    np.testing.assert_allclose(measure(sky_mag=brighter)["effective_time"].values / one, 0.5, rtol=1e-3)
    np.testing.assert_allclose(measure(light=0.5)["effective_time"].values / one, 0.25, rtol=0.03)


def test_in_the_noise_of_the_readout_time_counts_twice() -> None:
    readout = 1e6
    ratio = measure(seconds=2 * NOMINAL, readout=readout)["effective_time"].values / measure(readout=readout)["effective_time"].values
    np.testing.assert_allclose(ratio, 4.0, rtol=2e-3)


def test_airmass_and_seeing_that_are_stated_cost_time() -> None:
    """Spectra calibrated for them: the same electrons are more flux, and so are their errors."""
    loss = 10 ** (-0.4 * (0.12 * 0.5 + 0.15 * 0.4))
    frame = observed(NOMINAL, DARK, 1.0, 0.0)
    frame = replace(frame, ivar=frame.ivar * np.float32(loss**2))
    exposure = targets.exposure(NOMINAL, airmass=1.5, seeing=1.5)
    got = EffectiveTime(PARAMS).measure(frame, ComputeScores().run(frame, None), targets.sky(frame, DARK, NOMINAL), targets.fluxcal(), exposure)
    np.testing.assert_allclose(got["effective_time"].values, NOMINAL * loss**2, rtol=0.012)


def test_against_the_sum_written_out() -> None:
    from quicklook.ccd.templates import GRID, template

    frame = observed(600.0, 19.5, 0.8, 50.0)
    got = EffectiveTime(PARAMS).measure(
        frame, ComputeScores().run(frame, None), targets.sky(frame, 19.5, 600.0), targets.fluxcal(), targets.exposure(600.0)
    )
    at = got["template_snr2"].coords["target"].index("LRG")
    signal = np.interp(made.WAVE, GRID, template("LRG"))
    assert got["template_snr2"].values[at] == pytest.approx(0.8**2 * np.sum(signal * frame.ivar[0]), rel=0.02)
    nominal = (targets.CALIB * NOMINAL) ** 2 / (targets.ab(DARK, made.WAVE) * targets.CALIB * NOMINAL / 0.5 + 50.0)
    assert got["template_snr2_nominal"].values[at] == pytest.approx(np.sum(signal * nominal), rel=0.01)


def test_without_stars_the_stated_transparency_counts_and_without_either_nothing_is_said() -> None:
    frame = targets.with_columns(observed(NOMINAL, DARK, 1.0, 0.0), DESI_TARGET=np.full(made.NFIBRE, targets.ELG))
    rest = (ComputeScores().run(frame, None), targets.sky(frame, DARK, NOMINAL), targets.fluxcal())
    got = EffectiveTime(PARAMS).measure(frame, *rest, targets.exposure(NOMINAL, transparency=0.5))
    np.testing.assert_allclose(got["effective_time"].values, 0.25 * NOMINAL, rtol=1e-3)
    assert "transparency that the exposure states" in got["effective_time"].remarks[("LRG",)]
    with pytest.raises(NotApplicable, match="nothing says what light"):
        EffectiveTime(PARAMS).measure(frame, *rest, targets.exposure(NOMINAL))


def test_what_is_lost_of_the_spectra_is_lost_time() -> None:
    """The second half of every spectrum: read-out and sky are taken to be there as in the first."""
    frame = observed(NOMINAL, DARK, 1.0, 0.0)
    ivar, sky = frame.ivar.copy(), targets.sky(frame, DARK, NOMINAL)
    ivar[:, made.NWAVE // 2 :] = 0
    mask = sky.mask.copy()
    mask[:, made.NWAVE // 2 :] = 1
    frame = replace(frame, ivar=ivar)
    got = EffectiveTime(PARAMS).measure(
        frame, ComputeScores().run(frame, None), replace(sky, mask=mask), targets.fluxcal(), targets.exposure(NOMINAL, transparency=1.0)
    )
    assert (got["effective_time"].values < 0.8 * NOMINAL).all()


def test_no_exposure_time_is_bad_data() -> None:
    frame = observed(NOMINAL, DARK, 1.0, 0.0)
    with pytest.raises(BadData, match="exposure time is 0"):
        EffectiveTime(PARAMS).measure(
            frame, ComputeScores().run(frame, None), targets.sky(frame, DARK, NOMINAL), targets.fluxcal(), targets.exposure(0.0)
        )


def test_spectra_without_weight_are_unknown() -> None:
    frame = observed(NOMINAL, DARK, 1.0, 0.0)
    frame = replace(frame, ivar=np.zeros_like(frame.ivar))
    got = EffectiveTime(PARAMS).measure(
        frame, ComputeScores().run(frame, None), targets.sky(frame, DARK, NOMINAL), targets.fluxcal(), targets.exposure(NOMINAL)
    )
    assert np.isnan(got["effective_time"].values).all()
    assert got["effective_time"].remarks


@pytest.mark.parametrize("noise", [1.0, 1.4, 4.0])
def test_read_noise_beyond_the_stated_one_costs_time(noise: float) -> None:
    """The nominal exposure reads as the amplifiers are stated to: S/N2 is lost as the variance grows, and the effective time with it."""
    stated = 100.0  # variance of a sample, (electron/Angstrom)^2
    frame = replace(observed(NOMINAL, DARK, 1.0, stated * noise**2), stated_noise=np.full((made.NFIBRE, 16), noise**-2, np.float32))
    got = EffectiveTime(PARAMS).measure(
        frame, ComputeScores().run(frame, None), targets.sky(frame, DARK, NOMINAL), targets.fluxcal(), targets.exposure(NOMINAL)
    )
    at = got["effective_time"].coords["target"].index("LRG")
    light = targets.ab(DARK, made.WAVE) * targets.CALIB * NOMINAL / (made.WAVE[1] - made.WAVE[0])
    wanted = NOMINAL * np.mean((light + stated) / (light + stated * noise**2))  # the features lie all over these 100 Angstrom
    assert got["effective_time"].values[at] == pytest.approx(wanted, rel=0.02)
    assert "read noise" not in got["effective_time"].remarks[("LRG",)]


def test_what_is_not_stated_of_the_read_noise_is_said() -> None:
    assert "no read noise is stated" in measure()["effective_time"].remarks[("LRG",)]


def test_an_airmass_that_cannot_be_counts_as_for_the_calibrated_spectra() -> None:
    """The flux calibration takes its own airmass for one of 50, and so does the nominal exposure."""
    np.testing.assert_allclose(measure(airmass=50.0)["effective_time"].values, measure()["effective_time"].values, rtol=1e-6)


def test_a_calibration_that_holds_nothing_is_named() -> None:
    frame = observed(NOMINAL, DARK, 1.0, 0.0)
    dark = replace(targets.fluxcal(), calib=np.zeros_like(targets.fluxcal().calib))
    got = EffectiveTime(PARAMS).measure(
        frame, ComputeScores().run(frame, None), targets.sky(frame, DARK, NOMINAL), dark, targets.exposure(NOMINAL, transparency=1.0)
    )
    assert np.isnan(got["effective_time"].values).all()
    assert all("flux calibration" in words and "light of targets" not in words for words in got["effective_time"].remarks.values())
