"""What is said of a sky that is too faint to tell, as in short exposures: nothing, where noise alone may have made it; all of it, where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qa_spectra import LEVEL, NFIBRE, NWAVE, SIGMA, SKY, sky_spectrum, subtracted

from qa.sky_continuum import SkyContinuum, SkyContinuumParams
from qa.sky_residual import SkyResidual, SkyResidualParams
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.keys import Unit

FAINT = 0.01
"""Of the light of the sky of a long exposure: 1.4 electron/Angstrom under a noise of 15."""


def faint(seed: int = 2, *, added: np.ndarray | float = 0.0, model_noise: float = 0.0) -> tuple[Frame, SkyModel]:
    """A sky-subtracted frame under a faint sky, `added` [n sky fibres, 1] electron/Angstrom of it left in the sky fibres; noise in the model."""
    frame, sky = subtracted(seed)
    flux = frame.flux.copy()
    flux[list(SKY)] += np.broadcast_to(np.asarray(added, np.float32), (len(SKY), NWAVE))
    noise = np.random.default_rng(seed + 100).normal(0, model_noise, (NFIBRE, NWAVE)) if model_noise else 0.0
    model = np.tile(FAINT * sky_spectrum(), (NFIBRE, 1)) + noise
    weight = np.full(model.shape, 1 / model_noise**2 if model_noise else 1e6, np.float32)
    return replace(frame, flux=(flux - noise).astype(np.float32)), replace(sky, flux=model.astype(np.float32), ivar=weight)


def expected_noise() -> float:
    """What noise makes of residual over sky in one fibre, from the samples that are not on the line."""
    line = sky_spectrum() > 2 * np.median(sky_spectrum())
    return float(SIGMA * np.sqrt((~line).sum()) / (FAINT * sky_spectrum()[~line]).sum())


@pytest.mark.parametrize("seed", range(2, 7))
def test_noise_is_neither_left_over_sky_nor_scatter(seed: int) -> None:
    got = SkyResidual().measure(*faint(seed))
    for name in ("sky_residual", "sky_level_scatter"):
        assert "so faint a sky" in (got[name].not_applicable or "")


def test_sky_that_is_left_over_is_seen_where_noise_does_not_explain_it() -> None:
    error = 1.2533 * expected_noise() / np.sqrt(len(SKY))
    got = SkyResidual().measure(*faint(added=6 * error * FAINT * LEVEL))["sky_residual"]
    assert got.not_applicable is None
    assert got.values == pytest.approx(6 * error, abs=3 * error)
    assert got.remarks[()] == f"known to {error:.2g}"


def test_fibres_that_differ_are_seen_beyond_the_noise() -> None:
    noise = expected_noise()
    levels = 8 * noise * FAINT * LEVEL * np.linspace(-1, 1, len(SKY))[:, np.newaxis]
    got = SkyResidual().measure(*faint(added=levels))["sky_level_scatter"]
    assert got.not_applicable is None
    assert got.values == pytest.approx(1.4826 * 4 * noise, rel=0.3)  # 20 evenly spread fibres: the median distance is half of the largest
    assert "beyond its noise" in got.remarks[()]


def test_a_continuum_that_noise_may_have_made_is_not_judged() -> None:
    """One of a long exposure is, though it be next to nothing: there the shutter was closed."""
    settings = SkyContinuumParams(windows=((6000.0, 6090.0), (6110.0, 6190.0)))
    frame, sky = subtracted(5)
    dark = SkyContinuum(settings)
    assert "so short an exposure tells it to" in (dark.measure(frame, sky, exposure(1.0))["sky_continuum"].not_applicable or "")
    below = replace(frame, flux=frame.flux - np.float32(1.0))
    assert dark.measure(below, sky, exposure(1.0))["sky_continuum_scatter"].not_applicable == "so short an exposure shows no continuum"
    assert np.isnan(dark.measure(below, sky, exposure(900.0))["sky_continuum_scatter"].values).all()
    closed = dark.measure(frame, sky, exposure(900.0))["sky_continuum"]
    assert not closed.left_out
    np.testing.assert_allclose(closed.values, 0.0, atol=4 * 0.0006)  # 1.25 x 1.25 x 15 / sqrt(128 x 20) / 900
    bright = dark.measure(replace(frame, flux=frame.flux + np.float32(20.0)), sky, exposure(1.0))["sky_continuum"]
    assert not bright.left_out
    np.testing.assert_allclose(bright.values, 20.0, atol=4 * 0.5)


def test_a_bright_sky_is_stated_as_it_is() -> None:
    frame, sky = subtracted()
    loose = SkyResidual(SkyResidualParams(residual_known=1.0, scatter_known=1.0)).measure(frame, sky)
    got = SkyResidual(SkyResidualParams(residual_known=0.003, scatter_known=0.01)).measure(frame, sky)
    assert got["sky_residual"].values == loose["sky_residual"].values
    assert got["sky_level_scatter"].values == loose["sky_level_scatter"].values


def test_noise_of_the_model_is_no_line() -> None:
    """Else its highest samples would count as lines, and what is left between them would seem too much."""
    measures = SkyResidual(SkyResidualParams(residual_known=1.0)).measure(*faint(model_noise=SIGMA / np.sqrt(len(SKY))))
    assert abs(float(measures["sky_residual"].values)) < 4 * 1.2533 * expected_noise() / np.sqrt(len(SKY))
    on = measures["sky_chi2_on_lines"]
    assert on.not_applicable is not None or on.values == pytest.approx(1.0, abs=0.4)


def test_a_cosmic_ray_in_a_few_samples_is_no_bad_line() -> None:
    frame, sky = subtracted()
    lines = np.where(np.isin(np.arange(NFIBRE), [0, 3])[:, None], sky.flux, np.float32(LEVEL))  # 12 samples
    flux = frame.flux.copy()
    flux[0, 200], flux[3, 201] = 40 * SIGMA, 30 * SIGMA
    got = SkyResidual().measure(replace(frame, flux=flux), replace(sky, flux=lines.astype(np.float32)))["sky_chi2_on_lines"]
    assert "samples of sky lines tell it to" in (got.not_applicable or "")


def exposure(seconds: float) -> Exposure:
    return Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="science", exptime=seconds)


@pytest.mark.parametrize(("spread", "told"), [(0.0, False), (0.1, False), (8.0, True)])
def test_the_scatter_of_a_faint_continuum_is_judged_beyond_the_noise(spread: float, told: bool) -> None:
    """Windows of 6000-6090 and 6110-6190 Angstrom; `spread` of the fibres in units of what noise makes."""
    settings = SkyContinuumParams(windows=((6000.0, 6090.0), (6110.0, 6190.0)))
    frame, sky = subtracted(5)
    noise = np.sqrt(np.pi / 2) * SIGMA / np.sqrt(128)
    level = 2.0 * noise + np.zeros((NFIBRE, 1))
    level[list(SKY)] += spread * noise * np.random.default_rng(6).normal(size=(len(SKY), 1))
    got = SkyContinuum(settings).measure(replace(frame, flux=(frame.flux + level).astype(np.float32)), sky, exposure(30.0))["sky_continuum_scatter"]
    judged = got.not_applicable is None and len(got.left_out) < 2
    assert judged is told
