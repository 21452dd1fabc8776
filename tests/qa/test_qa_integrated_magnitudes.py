"""Magnitudes of spectra against the imaging."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made
import qa_targets as targets

from qa.integrated_magnitudes import IntegratedMagnitudes
from quicklook.ccd.photometry import ab_flux, ab_magnitude, between_bands
from quicklook.core.errors import NotApplicable


def test_spectra_of_their_magnitudes_have_no_difference() -> None:
    measures = IntegratedMagnitudes().measure(targets.calibrated())
    assert measures["flux_delta_mag"].coords == {"target": ("ELG", "STD")}
    assert np.all(np.abs(measures["flux_delta_mag"].values) < 4 * measures["flux_delta_mag_error"].values)
    assert measures["flux_delta_mag_error"].values[1] < 0.01


@pytest.mark.parametrize("factor", [0.4, 0.75, 1.1])
def test_lost_light_is_a_difference(factor: float) -> None:
    measures = IntegratedMagnitudes().measure(targets.calibrated(factor))
    assert measures["flux_delta_mag"].values[1] == pytest.approx(-2.5 * np.log10(factor), abs=0.01)
    fibres = dict(zip(measures["delta_mag"].coords["fiber"], measures["delta_mag"].values, strict=True))
    assert fibres[500] == pytest.approx(-2.5 * np.log10(factor), abs=0.05)


def test_fibres_too_faint_to_tell_are_left_out_by_their_catalogue() -> None:
    measures = IntegratedMagnitudes().measure(targets.calibrated(noise=2.0))
    mag = ab_magnitude(targets.calibrated().fibermap.columns["FLUX_R"])
    listed = np.isin(np.arange(made.NFIBRE) + 500, measures["delta_mag"].coords["fiber"])
    assert 30 < listed.sum() < made.NFIBRE
    assert np.isfinite(measures["delta_mag"].values).all()
    assert mag[listed].max() < mag[~listed].min() + 0.3


def test_a_class_that_is_too_faint_is_left_out_and_says_so() -> None:
    delta = IntegratedMagnitudes().measure(targets.calibrated(noise=50.0))["flux_delta_mag"]
    assert ("ELG",) in delta.left_out
    assert "bright enough to tell" in delta.remarks[("ELG",)]


def test_the_colour_of_a_star_does_not_count() -> None:
    frame = targets.calibrated()
    r = np.asarray(frame.fibermap.columns["FLUX_R"])
    red = targets.with_columns(frame, FLUX_G=0.5 * r, FLUX_Z=2.0 * r)
    slope = np.log(2.0) / np.log(9260.0 / 6420.0), np.log(2.0) / np.log(6420.0 / 4730.0)
    tilt = np.where(made.WAVE > 6420, (made.WAVE / 6420) ** slope[0], (made.WAVE / 6420) ** slope[1])
    measures = IntegratedMagnitudes().measure(replace(red, flux=(frame.flux * tilt).astype(np.float32)))
    assert measures["flux_delta_mag"].values[1] == pytest.approx(0.0, abs=0.01)


def test_emission_lines_do_not_count() -> None:
    frame = targets.calibrated()
    flux = frame.flux.copy()
    flux[:, 200:206] *= 50
    measures = IntegratedMagnitudes().measure(replace(frame, flux=flux))
    assert abs(measures["flux_delta_mag"].values[1]) < 0.01


def test_where_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="not flux-calibrated"):
        IntegratedMagnitudes().measure(replace(targets.calibrated(), unit="electron/Angstrom"))
    with pytest.raises(NotApplicable, match="no targets"):
        IntegratedMagnitudes().measure(made.frame(np.ones((made.NFIBRE, made.NWAVE)), unit=targets.UNIT, fibermap=replace(made.fibermap(), objtype=("SKY",) * made.NFIBRE)))


def test_nothing_usable_is_unknown() -> None:
    frame = targets.calibrated()
    measures = IntegratedMagnitudes().measure(replace(frame, ivar=np.zeros_like(frame.ivar)))
    assert np.isnan(measures["flux_delta_mag"].values).all()
    assert measures["flux_delta_mag"].remarks[("STD",)] == "0 of 30 STD have a usable spectrum"
    assert measures["delta_mag"].not_applicable


def test_between_bands_is_straight_in_logarithms() -> None:
    fluxes = {"G": np.array([1.0, np.nan, 4.0, 0.0]), "R": np.array([4.0, 4.0, 4.0, -1.0]), "Z": np.array([16.0, 16.0, np.nan, np.inf])}
    middle = np.array([np.sqrt(4730.0 * 6420.0), np.sqrt(6420.0 * 9260.0), 3000.0])
    got = between_bands(fluxes, middle)
    np.testing.assert_allclose(got[0], [2.0, 8.0, 1.0], rtol=1e-9)
    np.testing.assert_allclose(got[1], [4.0, 8.0, 4.0], rtol=1e-9)
    np.testing.assert_allclose(got[2], [4.0, 4.0, 4.0], rtol=1e-9)
    assert np.isnan(got[3]).all()


def test_ab_flux_of_a_magnitude() -> None:
    np.testing.assert_allclose(ab_flux(20.0, 6000.0), targets.ab(20.0, 6000.0), rtol=1e-6)
    assert ab_magnitude([1.0, 100.0, 0.0]).tolist()[:2] == [22.5, 17.5]
