"""The light of the standard stars, and whose a loss is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made
import qa_targets as targets

from qa.throughput import Throughput, ThroughputParams
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measures

DARK = 20.2
PARAMS = ThroughputParams(dark_sky={"r": DARK})


def measure(factor: float = 1.0, transparency: float | None = None, sky: float = DARK) -> Measures:
    frame = targets.calibrated(factor)
    return Throughput(PARAMS).measure(frame, targets.exposure(transparency=transparency), targets.fluxcal(), targets.sky(frame, sky))


@pytest.mark.parametrize("factor", [0.4, 0.75, 1.0, 1.1])
def test_the_light_of_the_stars_is_measured_to_two_per_cent(factor: float) -> None:
    measures = measure(factor)
    assert measures["star_light"].values == pytest.approx(factor, rel=0.01)
    assert 0 < measures["star_light_error"].values < 0.01
    middle = float(np.median(made.WAVE))
    magnitude = -2.5 * np.log10(1 / (factor * targets.CALIB * targets.ab(0.0, middle)))  # one electron of CALIB electrons per unit of flux
    assert measures["star_zero_point"].values == pytest.approx(magnitude, abs=0.015)
    assert measures["throughput"].not_applicable == "the exposure states no transparency"


def test_clouds_that_the_guide_cameras_see_are_no_loss_of_the_instrument() -> None:
    clouds, loss = measure(0.75, transparency=0.75), measure(0.75, transparency=1.0)
    assert clouds["throughput"].values == pytest.approx(1.0, rel=0.01)
    assert loss["throughput"].values == pytest.approx(0.75, rel=0.01)
    assert "30 standard stars" in loss["throughput"].remarks[()]
    assert clouds["common_light"].not_applicable == "the exposure states the transparency"


def test_without_a_transparency_the_sky_tells_a_loss_from_clouds() -> None:
    dimmer = DARK + 2.5 * np.log10(1 / 0.75)
    loss, clouds = measure(0.75, sky=dimmer), measure(0.75)
    assert loss["sky_light"].values == pytest.approx(0.75, rel=0.005)
    assert loss["common_light"].values == pytest.approx(0.75, rel=0.01)
    assert clouds["common_light"].values == pytest.approx(1.0, rel=0.005)


def test_lines_of_the_sky_do_not_count() -> None:
    frame = targets.calibrated()
    sky = targets.sky(frame, DARK)
    flux = sky.flux.copy()
    flux[:, ::10] *= 20
    got = Throughput(PARAMS).measure(frame, targets.exposure(), targets.fluxcal(), replace(sky, flux=flux))
    assert got["sky_light"].values == pytest.approx(1.0, rel=0.005)


@pytest.mark.parametrize("noise", [0.02, 0.3, 0.6])
def test_noise_of_the_sky_model_is_no_line(noise: float) -> None:
    """As in a short exposure: the samples above 1.3 of the median are then the upper half of the noise."""
    frame = targets.calibrated()
    sky = targets.sky(frame, DARK)
    level = float(np.median(sky.flux))
    flux = sky.flux + noise * level * np.random.default_rng(5).normal(size=sky.flux.shape)
    flux[:, 100:108] *= 20
    noisy = replace(sky, flux=flux.astype(np.float32), ivar=np.full(flux.shape, (noise * level) ** -2, np.float32))
    got = Throughput(PARAMS).measure(frame, targets.exposure(), targets.fluxcal(), noisy)
    assert got["sky_light"].values == pytest.approx(1.0, abs=0.01 + 4 * 1.25 * noise / np.sqrt(made.NWAVE))  # four sigma of a median


def test_a_star_unlike_the_others_is_named() -> None:
    frame = targets.calibrated()
    flux = frame.flux.copy()
    flux[4] *= 0.3
    got = Throughput(PARAMS).measure(replace(frame, flux=flux), targets.exposure(), targets.fluxcal(), None)
    assert "unlike the others: fibre 504" in got["star_light"].remarks[()]
    assert got["star_light"].values == pytest.approx(1.0, rel=0.01)
    assert got["sky_light"].not_applicable == "there is no model of the sky"
    assert got["common_light"].not_applicable


@pytest.mark.parametrize(("noise", "hidden"), [(5.0, ()), (100.0, ("throughput", "common_light")), (500.0, ("throughput", "common_light", "star_light"))])
def test_stars_in_noise_tell_nothing_and_lost_light_does(noise: float, hidden: tuple[str, ...]) -> None:
    """The noise is measured against what the catalogue promises: where all light is lost, that is told as where none is."""
    frame = targets.calibrated(noise=noise, brightest=16.5)
    for factor in (1.0, 0.01):
        faint = replace(frame, flux=(frame.flux * factor).astype(np.float32))
        got = Throughput(PARAMS).measure(faint, targets.exposure(transparency=1.0), targets.fluxcal(), None)
        assert [n for n in ("throughput", "common_light", "star_light") if "too little light" in (got[n].not_applicable or "")] == list(hidden)
        assert got["star_light_error"].not_applicable is None
        if not hidden:
            assert got["throughput"].values == pytest.approx(factor, abs=0.05)


def test_where_it_does_not_apply_or_cannot_tell() -> None:
    frame = targets.calibrated()
    elgs = targets.with_columns(frame, DESI_TARGET=np.full(made.NFIBRE, targets.ELG))
    with pytest.raises(NotApplicable, match="0 standard stars, 2 are needed"):
        Throughput().measure(elgs, targets.exposure(), targets.fluxcal(), None)
    with pytest.raises(NotApplicable, match="not flux-calibrated"):
        Throughput().measure(replace(frame, unit="electron/Angstrom"), targets.exposure(), targets.fluxcal(), None)
    with pytest.raises(BadData, match="no column DESI_TARGET"):
        Throughput().measure(targets.with_columns(frame, DESI_TARGET=None), targets.exposure(), targets.fluxcal(), None)
    dark = Throughput().measure(replace(frame, ivar=np.zeros_like(frame.ivar)), targets.exposure(transparency=1.0), targets.fluxcal(), None)
    for name in ("star_light", "star_light_error", "throughput"):
        assert np.isnan(dark[name].values)
        assert "0 of 30 standard stars" in dark[name].remarks[()]
