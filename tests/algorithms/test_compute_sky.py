"""The model of the sky: right within its own errors, for every fibre, whatever some of the sky fibres see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sky_frames as made

from algorithms.compute_sky import ComputeSky, SkyParams
from algorithms.kernels import skyterms
from algorithms.subtract_sky import SubtractSky, SubtractSkyParams
from quicklook.ccd.spectra import Frame, SkyModel, SpecMask
from quicklook.core.errors import BadData, NotApplicable

CHI2 = 0.06
"""Tolerance of a mean squared pull of the 20 x 600 samples of the sky fibres: four sigma of sqrt(2 / 12000) = 0.013."""


def residual(frame: Frame, **params: object) -> tuple[Frame, SkyModel]:
    sky = ComputeSky(SkyParams(**params)).run(frame)  # type: ignore[arg-type]
    return SubtractSky().run(frame, sky), sky


def on_lines(truth: made.Truth) -> np.ndarray:
    return np.asarray(truth.sky > 2 * np.median(truth.sky))


def test_sky_fibres_left_out_of_their_own_model_have_pulls_of_one() -> None:
    frame, truth = made.frame()
    got, sky = residual(frame)
    rows = list(made.SKY)
    pull = made.pulls(got.flux[rows], 0.0, got.ivar[rows])
    assert np.mean(pull**2) == pytest.approx(1.0, abs=CHI2)
    assert abs(np.median(pull)) < 0.04  # 1.25 / sqrt(12000), three sigma
    lines = on_lines(truth)[rows]
    assert np.mean(made.pulls(got.flux[rows][lines], 0.0, got.ivar[rows][lines]) ** 2) == pytest.approx(1.0, abs=0.15)  # 900 samples: three sigma
    assert sky.leave_one_out
    assert sky.fibers == tuple(made.FIRST_FIBRE + i for i in made.SKY)


def test_the_model_of_targets_is_right_within_its_error() -> None:
    frame, truth = made.frame()
    sky = ComputeSky().run(frame)
    rows = list(range(1, made.NFIBRE, 2))
    known = sky.ivar[rows] > 0
    pull = ((sky.flux[rows] - truth.sky[rows]) * np.sqrt(sky.ivar[rows]))[known]
    assert 0.7 < np.mean(pull**2) < 1.4  # the same 500 coefficients in every fibre: 6 % and correlated
    error = (sky.flux[rows] / truth.sky[rows] - 1)[known]
    assert np.std(error) < 0.045  # 20 fibres of S/N 6.6 a sample on the continuum, 1.25 coefficients a sample: 0.038


def test_noiseless_lines_are_met_at_every_resolution() -> None:
    frame, truth = made.frame(noise=False)
    sky = ComputeSky().run(frame)
    error = np.abs(sky.flux - truth.sky)[sky.ivar > 0]
    assert error.max() < 0.004 * truth.sky.max()  # the noise of the brightest line is 1.5 %
    flat = replace(frame, sigma=np.full_like(frame.sigma, np.median(frame.sigma)))
    assert np.abs(ComputeSky().run(flat).flux - truth.sky)[sky.ivar > 0].max() > 3 * error.max()  # the test would see a model without widths


def test_leave_one_out_differs_from_the_full_model_as_it_must() -> None:
    frame, _ = made.frame()
    full, _ = residual(frame, leave_one_out=False, line_error=False)
    alone, _ = residual(frame, line_error=False)
    rows = list(made.SKY)
    with_own = np.mean(made.pulls(full.flux[rows], 0.0, full.ivar[rows]) ** 2)
    without = np.mean(made.pulls(alone.flux[rows], 0.0, alone.ivar[rows]) ** 2)
    # 1.25 coefficients a sample and 20 fibres: (1 - 0.0625) / (1 + 0.0625) of the variance is left
    assert with_own / without == pytest.approx(0.882, abs=0.02)
    targets = list(range(1, made.NFIBRE, 2))
    np.testing.assert_array_equal(full.flux[targets], alone.flux[targets])


def test_every_second_sky_fibre_with_a_target_is_rejected() -> None:
    rng = np.random.default_rng(5)
    target = np.zeros((made.NFIBRE, made.NWAVE))
    lost = list(made.SKY)[::2]
    target[lost] = 140 * rng.uniform(0.4, 3.0, (len(lost), 1)) * (1 + 0.3 * np.linspace(-1, 1, made.NWAVE))
    frame, _truth = made.frame(target=target)
    got, sky = residual(frame)
    assert sky.rejected == tuple(made.FIRST_FIBRE + i for i in lost)
    clean = [i for i in made.SKY if i not in lost]
    assert np.mean(made.pulls(got.flux[clean], 0.0, got.ivar[clean]) ** 2) == pytest.approx(1.0, abs=0.08)
    np.testing.assert_allclose(np.median(got.flux[lost] / target[lost], axis=1), 1.0, atol=0.06)


def test_a_sky_fibre_with_a_feature_of_its_own_is_rejected_and_a_line_is_clipped() -> None:
    target = np.zeros((made.NFIBRE, made.NWAVE))
    target[4, 300:380] = 120.0
    assert ComputeSky().run(made.frame(target=target)[0]).rejected == (made.FIRST_FIBRE + 4,)
    line = np.zeros_like(target)
    line[4, 300:306] = 400.0
    sky, clean = ComputeSky().run(made.frame(target=line)[0]), ComputeSky().run(made.frame()[0])
    known = (sky.ivar[5] > 0) & (clean.ivar[5] > 0)
    assert (np.abs(sky.flux - clean.flux)[5] * np.sqrt(clean.ivar[5]))[known].max() < 2.0  # 20 sigma of the model, were it left in


def test_no_good_sky_fibre_is_rejected() -> None:
    for seed in range(6):
        assert ComputeSky().run(made.frame(seed=seed)[0]).rejected == ()


def test_cosmics_and_lost_samples_do_not_matter() -> None:
    frame, _ = made.frame()
    flux, ivar, mask = frame.flux.copy(), frame.ivar.copy(), frame.mask.copy()
    rng = np.random.default_rng(6)
    for row in made.SKY:
        at = rng.choice(made.NWAVE, 6, replace=False)
        flux[row, at] += rng.uniform(200, 1e5, 6)
    ivar[2, 100:160] = 0
    mask[6, 200:230] = SpecMask.COSMIC
    flux[6, 200:230], flux[2, 100:160] = 1e6, np.nan
    hit = replace(frame, flux=flux, ivar=ivar, mask=mask)
    clean = ComputeSky().run(frame)
    sky = ComputeSky().run(hit)
    good = (sky.ivar > 0) & (clean.ivar > 0)
    off = np.abs(sky.flux - clean.flux)[good] * np.sqrt(clean.ivar[good])
    assert off.max() < 4.5  # in sigma of the model; most is the loss of single samples
    assert np.sqrt(np.mean(off**2)) < 0.5
    assert np.isfinite(sky.flux).all()


def test_errors_of_wavelengths_are_found_and_added() -> None:
    rng = np.random.default_rng(7)
    frame, truth = made.frame()
    moved = replace(frame, wave=frame.wave + 0.03 * rng.normal(size=(made.NFIBRE, 1)))
    got, sky = residual(moved)
    assert sky.wave_error == pytest.approx(0.03, rel=0.35)  # scatter of 20 draws: 16 %
    rows = list(made.SKY)
    assert np.mean(made.pulls(got.flux[rows], 0.0, got.ivar[rows]) ** 2) == pytest.approx(1.0, abs=CHI2)
    bare, _ = residual(moved, line_error=False)
    lines = on_lines(truth)[rows]
    assert np.mean(made.pulls(got.flux[rows][lines], 0.0, got.ivar[rows][lines]) ** 2) == pytest.approx(1.0, abs=0.15)
    assert np.mean(made.pulls(bare.flux[rows][lines], 0.0, bare.ivar[rows][lines]) ** 2) > 1.5


def test_a_gradient_over_the_focal_plane_is_followed_and_nothing_else() -> None:
    x = made.fibermap().columns["FIBERASSIGN_X"]
    frame, truth = made.frame(level=(1 + 0.08 * x / 300)[:, None])
    got, _sky = residual(frame)
    rows = list(range(1, made.NFIBRE, 2))
    left = np.median((got.flux / truth.sky)[rows], axis=1)
    assert np.abs(left).max() < 0.03
    assert abs(np.polyfit(x[rows], left, 1)[0] * 300) < 0.015
    plain, _ = residual(frame, spatial_order=0)
    assert abs(np.polyfit(x[rows], np.median((plain.flux / truth.sky)[rows], axis=1), 1)[0] * 300) > 0.05
    even = ComputeSky().run(made.frame()[0])
    np.testing.assert_array_equal(even.flux, ComputeSky(SkyParams(spatial_order=0)).run(made.frame()[0]).flux)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_few_sky_fibres_make_a_model_with_larger_errors(n: int) -> None:
    frame, truth = made.frame()
    few = replace(frame, fibermap=made.fibermap(made.SKY[:n]))
    sky = ComputeSky().run(few)
    rows = list(range(1, made.NFIBRE, 2))
    known = sky.ivar[rows] > 0
    assert known.mean() > 0.9
    pull = ((sky.flux[rows] - truth.sky[rows]) * np.sqrt(sky.ivar[rows]))[known]
    assert np.mean(pull**2) < 2.0


def test_rectified_spectra_have_a_model_too() -> None:
    frame, _truth = made.frame()
    wave = np.tile(6000 + 0.53 * np.arange(made.NWAVE), (made.NFIBRE, 1))
    sigma = np.full(wave.shape, 0.6, np.float32)
    rng = np.random.default_rng(8)
    flux = made.sky_density(wave, sigma) + rng.normal(size=wave.shape) / np.sqrt(frame.ivar)
    got, sky = residual(replace(frame, wave=wave, sigma=sigma, flux=flux.astype(np.float32)))
    assert (sky.ivar > 0).mean() > 0.98
    rows = list(made.SKY)
    assert np.mean(made.pulls(got.flux[rows], 0.0, got.ivar[rows]) ** 2) == pytest.approx(1.0, abs=0.1)


def test_unknown_resolution_is_no_failure() -> None:
    frame, _ = made.frame()
    sky = ComputeSky().run(replace(frame, sigma=np.zeros_like(frame.sigma)))
    assert (sky.ivar > 0).mean() > 0.9


def test_without_sky_fibres_it_says_so() -> None:
    frame, _ = made.frame()
    with pytest.raises(NotApplicable, match="no sky fibre in the fibre map"):
        ComputeSky().run(replace(frame, fibermap=made.fibermap(())))
    status = np.where(np.isin(np.arange(made.NFIBRE), made.SKY), 1 << 2, 0)
    with pytest.raises(BadData, match="0 of 20 sky fibres are usable by their FIBERSTATUS"):
        ComputeSky().run(replace(frame, fibermap=made.fibermap(FIBERSTATUS=status)))
    with pytest.raises(BadData, match="none of its 20 sky fibres can be used"):
        ComputeSky().run(replace(frame, ivar=np.zeros_like(frame.ivar)))
    below = replace(frame, flux=-np.abs(frame.flux))  # as of a cloud: more was taken off than there is
    with pytest.raises(BadData, match="none of its 20 sky fibres can be used"):
        ComputeSky(SkyParams(free_levels=True)).run(below)


def test_a_stuck_positioner_is_still_a_sky_fibre() -> None:
    frame, _ = made.frame()
    status = np.full(made.NFIBRE, 1 << 1)
    assert len(ComputeSky().run(replace(frame, fibermap=made.fibermap(FIBERSTATUS=status))).fibers) == 20


# ---- subtract_sky


def test_the_variance_of_the_model_is_added() -> None:
    frame, _ = made.frame()
    sky = ComputeSky().run(frame)
    got = SubtractSky().run(frame, sky)
    known = sky.ivar > 0
    np.testing.assert_allclose(got.flux[known], (frame.flux - sky.flux)[known], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(1 / got.ivar[known], (1 / frame.ivar + 1 / np.where(known, sky.ivar, 1))[known], rtol=1e-4)
    assert (got.ivar[~known] == 0).all()
    assert ((got.mask[~known] & SpecMask.BADSKY) > 0).all()
    assert (got.stage, got.unit) == ("sframe", frame.unit)


def test_a_model_from_a_file_on_other_wavelengths() -> None:
    frame, truth = made.frame(noise=False)
    sigma = np.full((1, 4000), np.median(frame.sigma), np.float32)
    wave = np.linspace(5985, 6340, 4000)[None, :]
    flux = made.sky_density(wave, sigma).astype(np.float32)
    sky = SkyModel(flux=flux, ivar=np.ones_like(flux), mask=np.zeros(flux.shape, np.uint32), wave=wave, fibers=())
    got = SubtractSky().run(frame, sky)
    middle = ~on_lines(truth)
    assert np.percentile(np.abs(got.flux[middle]), 98) < 0.1 * np.median(truth.sky)  # the wings of lines differ with the resolution
    assert np.abs(np.median(got.flux[middle])) < 0.01 * np.median(truth.sky)
    assert (got.ivar > 0).all()
    short = replace(sky, wave=np.linspace(6050, 6100, 4000)[None, :])
    cut = SubtractSky().run(frame, short)
    outside = (frame.wave < 6050) | (frame.wave > 6100)
    assert (cut.ivar[outside] == 0).all()
    assert (cut.mask[outside] == SpecMask.BADSKY).all()
    with pytest.raises(BadData, match="the sky model has 3 rows, the frame 40"):
        rows = {k: np.repeat(getattr(sky, k), 3, axis=0) for k in ("flux", "ivar", "mask", "wave")}
        SubtractSky().run(frame, replace(sky, **rows))


def test_rows_of_a_model_are_matched_by_fibre() -> None:
    frame, _ = made.frame()
    sky = ComputeSky().run(frame)
    right = SubtractSky().run(frame, sky)
    order = np.random.default_rng(2).permutation(made.NFIBRE)
    assert sky.fiber is not None
    moved = replace(sky, fiber=sky.fiber[order], **{k: getattr(sky, k)[order] for k in ("flux", "ivar", "mask", "wave")})
    got = SubtractSky().run(frame, moved)
    np.testing.assert_array_equal(got.flux, right.flux)
    np.testing.assert_array_equal(got.ivar, right.ivar)
    with pytest.raises(BadData, match="no row for 40 fibres"):
        SubtractSky().run(frame, replace(moved, fiber=np.asarray(moved.fiber) + 10_000))


@pytest.mark.parametrize("lines", [True, False])
def test_scales_are_not_smaller_for_the_errors_of_the_model(lines: bool) -> None:
    """A model with half of the noise of the spectra: taken for true, it would make every scale smaller by 2.5 % (lines) or 1 %."""
    rng = np.random.default_rng(21)
    n, m = 300, 800
    true = np.full(m, 60.0)
    for centre in range(40, m, 60):
        true += 90 * np.exp(-0.5 * ((np.arange(m) - centre) / 2.0) ** 2)
    variance = true + 50
    flux, model = (true + rng.normal(size=(n, m)) * np.sqrt(v) for v in (variance, 0.5 * variance))
    flux[5] *= 1.04
    scale, weight = np.ones(n, np.float32), np.broadcast_to((1 / variance).astype(np.float32), (n, m)).copy()
    arrays = (flux.astype(np.float32), weight, np.zeros((n, m), np.uint32), model.astype(np.float32), 2 * weight)
    rows = np.arange(1, n)
    skyterms.scales(*arrays, 0.0, 0.5, lines, rows, scale)
    own = float(scale[rows[rows != 5]].std())
    assert own < 0.05
    assert scale[rows[rows != 5]].mean() == pytest.approx(1.0, abs=max(4 * own / np.sqrt(n), 0.004))  # n is known to a tenth: a tenth of the effect
    assert scale[5] == pytest.approx(1.04, abs=4 * own)
    assert scale[0] == 1.0


def test_the_whole_spectrum_scales_sky_fibres_alone() -> None:
    frame, _ = made.frame()
    sky = ComputeSky().run(frame)
    plain, scaled = SubtractSky().run(frame, sky), SubtractSky(SubtractSkyParams(throughput="all")).run(frame, sky)
    targets, rows = list(range(1, made.NFIBRE, 2)), list(made.SKY)
    np.testing.assert_array_equal(scaled.flux[targets], plain.flux[targets])
    assert not np.array_equal(scaled.flux[rows], plain.flux[rows])


@pytest.mark.parametrize("scatter", [0.0, 0.01, 0.1])
def test_levels_are_free_where_there_is_no_fibre_flat(scatter: float) -> None:
    """Without a choice by hand: levels that scatter by a tenth are those of fibres; by 1 % they are within the errors of a flat."""
    level = 1 + scatter * np.random.default_rng(22).normal(size=(made.NFIBRE, 1))
    frame, truth = made.frame(level=level)
    names = replace(frame.fibermap, columns={})
    bare = replace(frame, fibermap=names)
    found, free, fixed = (ComputeSky(SkyParams(free_levels=f)).run(bare) for f in ("auto", True, False))
    np.testing.assert_array_equal(found.flux, (free if scatter == 0.1 else fixed).flux)
    assert found.rejected == (free if scatter == 0.1 else fixed).rejected
    if scatter == 0.1:
        rows = list(made.SKY)
        got = SubtractSky().run(bare, found)
        assert np.mean(made.pulls(got.flux[rows], 0.0, got.ivar[rows]) ** 2) == pytest.approx(1.0, abs=CHI2)
        assert np.median(found.flux[rows] / truth.sky[rows]) == pytest.approx(1.0, abs=0.02)
    placed = ComputeSky().run(frame)
    np.testing.assert_array_equal(placed.flux, ComputeSky(SkyParams(free_levels=False)).run(frame).flux)


def test_throughput_from_the_lines() -> None:
    scale = np.ones((made.NFIBRE, 1))
    scale[[3, 9]] = [[1.03], [0.96]]
    target = np.zeros((made.NFIBRE, made.NWAVE))
    target[11] = 500.0
    frame, truth = made.frame(level=scale, target=target)
    sky = ComputeSky().run(frame)
    fitted = SubtractSky(SubtractSkyParams(throughput="lines", throughput_prior=0.05)).run(frame, sky)
    plain = SubtractSky().run(frame, sky)
    lines = on_lines(truth)
    for row in (3, 9):
        assert abs(fitted.flux[row][lines[row]].mean()) < 0.35 * abs(plain.flux[row][lines[row]].mean())
    assert np.median(fitted.flux[11]) == pytest.approx(500, rel=0.02)  # the light of a target is not taken for sky


def test_that_nobody_says_what_the_fibres_see_is_no_camera_without_sky_fibres() -> None:
    frame, _ = made.frame()
    with pytest.raises(BadData, match="nobody says which fibres see the sky"):
        ComputeSky().run(replace(frame, fibermap=replace(made.fibermap(()), stated=False)))


@pytest.mark.parametrize("dead", [3, 9, 12])
def test_dead_sky_fibres_do_not_set_the_level(dead: int) -> None:
    """They are more alike than any others: 9 of 20 hold the most crowded levels, 12 of 20 the median."""
    frame, truth = made.frame()
    lost = list(made.SKY)[:dead]
    flux = frame.flux.copy()
    noise = np.random.default_rng(3).normal(size=(dead, made.NWAVE)) * np.sqrt(made.NOISE2) / made.PIXEL
    flux[lost] = noise
    sky = ComputeSky().run(replace(frame, flux=flux))
    assert sky.rejected == tuple(made.FIRST_FIBRE + i for i in lost)
    rows = list(range(1, made.NFIBRE, 2))
    assert np.median(sky.flux[rows] / truth.sky[rows]) == pytest.approx(1.0, abs=0.02)
