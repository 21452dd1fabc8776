"""Light is conserved and falls where the traces say."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.sim import SimInstrument, plan_exposure, simulate_exposure
from quicklook.sim.light import image_of, light_path, spread_continuum, spread_lines
from quicklook.sim.spectra import calibration
from quicklook.sim.targets import ab_flux


def test_lines_keep_their_electrons_and_place(tiny: SimInstrument) -> None:
    path = light_path(tiny.layout, tiny.hardware.traces)
    wave = np.array([6320.0, 6340.0, 6361.3])
    counts = spread_lines(path, wave, np.array([100.0, 200.0, 300.0]))
    np.testing.assert_allclose(counts.sum(axis=1), 600.0, rtol=1e-9)
    one = spread_lines(path, wave[1:2], np.array([1.0]))
    centre = (one * np.arange(tiny.layout.ny)).sum(axis=1)
    # a Gaussian of more than one pixel integrated over pixels keeps its centre to better than 1e-4 pixel
    np.testing.assert_allclose(centre, path.traces.at(path.traces.y, wave[1:2])[:, 0], atol=1e-4)


def test_wide_line_is_wider(tiny: SimInstrument) -> None:
    path = light_path(tiny.layout, tiny.hardware.traces)
    rows = np.arange(tiny.layout.ny)
    for width in (0.0, 2.0):
        one = spread_lines(path, np.array([6340.0]), np.array([1.0]), width)
        centre = (one * rows).sum(axis=1, keepdims=True)
        spread = np.sqrt((one * (rows - centre) ** 2).sum(axis=1))
        sigma = path.traces.at(path.traces.sigma_y, np.array([6340.0]))[:, 0]
        expected = np.sqrt(sigma**2 + (width / path.dwave.mean()) ** 2 + 1.0 / 12.0)  # 1/12: width of a pixel
        np.testing.assert_allclose(spread, expected, rtol=0.005)


def test_line_off_the_image_is_lost(tiny: SimInstrument) -> None:
    path = light_path(tiny.layout, tiny.hardware.traces)
    edge = float(path.on_image(path.wave)[0, -1]) + 20.0 * tiny.layout.dispersion
    assert spread_lines(path, np.array([edge]), np.array([1e6]))[0].sum() == 0.0


def test_smooth_light_is_kept(tiny: SimInstrument) -> None:
    path = light_path(tiny.layout, tiny.hardware.traces)
    counts = spread_continuum(path, np.full(path.wave.shape, 10.0))
    # the line-spread function does not change a flat spectrum; the dispersion varies by 1e-5 over its width
    np.testing.assert_allclose(counts, 10.0 * path.on_image(path.dwave), rtol=1e-3)


@pytest.mark.parametrize("wings", [0.0, 0.03])
def test_image_holds_the_counts(tiny: SimInstrument, wings: float) -> None:
    layout, path = tiny.layout, light_path(tiny.layout, tiny.hardware.traces)
    counts = np.random.default_rng(1).uniform(0.0, 1e4, (layout.nfibre, layout.ny))
    image = image_of(path, counts, layout, wings)
    assert image.dtype == np.float32
    # float32 sums of some hundred pixels
    np.testing.assert_allclose(image.sum(axis=1, dtype=np.float64), counts.sum(axis=0), rtol=2e-6)


def test_profile_centre_and_width(tiny: SimInstrument) -> None:
    layout, path = tiny.layout, light_path(tiny.layout, tiny.hardware.traces)
    counts = np.zeros((layout.nfibre, layout.ny))
    counts[4] = 1.0
    image = image_of(path, counts, layout, 0.0).astype(np.float64)
    columns = np.arange(layout.nx)
    centre = image @ columns
    np.testing.assert_allclose(centre, path.on_image(path.x)[4], atol=1e-3)
    spread = np.sqrt((image * (columns - centre[:, np.newaxis]) ** 2).sum(axis=1))
    np.testing.assert_allclose(spread, np.sqrt(path.on_image(path.sigma_x)[4] ** 2 + 1.0 / 12.0), rtol=1e-3)


def test_science_truth_adds_up(tiny: SimInstrument) -> None:
    truth = simulate_exposure(tiny, plan_exposure("science", 5)).truth
    spectra = truth.spectra
    assert spectra.sky is not None
    assert spectra.target is not None
    assert spectra.flux is not None
    np.testing.assert_allclose(spectra.counts, spectra.sky + spectra.target)
    assert (spectra.target[truth.targets.kind == "SKY"] == 0.0).all()
    assert (spectra.sky[truth.targets.kind == "SKY"] > 0.0).all()
    assert (spectra.counts[tiny.layout.dead_fibre] == 0.0).all()


def test_standard_star_has_its_magnitude(small: SimInstrument) -> None:
    exposure = plan_exposure("science", 5)
    truth = simulate_exposure(small, exposure).truth
    assert truth.spectra.flux is not None
    stars = np.flatnonzero(truth.targets.kind == "STD")
    for star in stars:
        ratio = truth.spectra.flux[star] / ab_flux(float(truth.targets.mag[star]), truth.wave[star])
        assert np.median(ratio) == pytest.approx(1.0, abs=0.02)  # scaled on rows beyond the image too
    # 1e-17 erg/(s cm2 A) for 900 s on 8.66 m2 at 6500 A and a throughput near 0.3: about 75 electrons per A
    peak = calibration("r", exposure, np.array([6700.0]))[0]
    assert 50.0 < peak < 90.0


def test_targets_are_the_same_in_all_arms_and_differ_between_tiles() -> None:
    red, blue = (SimInstrument(camera=c, scale="small", seed=3) for c in ("r1", "b1"))
    kinds = [simulate_exposure(i, plan_exposure("zero", 9)).truth.targets.kind for i in (red, blue)]
    np.testing.assert_array_equal(*kinds)
