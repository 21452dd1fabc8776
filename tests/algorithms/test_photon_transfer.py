"""Photon transfer: gain, read noise, linearity and full well that were put in come out, whatever the light."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import preproc_frames as f
import pytest

from algorithms.kernels import photontransfer as kernel
from algorithms.photon_transfer import PhotonTransferCurve, PhotonTransferParams
from algorithms.transferfit import clip_factor, fit_times
from quicklook.ccd.calibs import PhotonTransfer
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.core.errors import BadData

ADU: dict[str, Any] = {"use_gain": False, "use_dark": "no", "use_pixflat": "no"}
NAMES = tuple("ABCD")


def fibres(peak: float = 20_000.0) -> np.ndarray:
    """Light with structure: Gaussian fibres, brighter to the right."""
    x = np.arange(f.SHAPE[1])
    profile = sum(np.exp(-0.5 * ((x - c) / 1.2) ** 2) for c in range(4, f.SHAPE[1], 7))
    return np.asarray(np.broadcast_to(peak * profile * (0.3 + 0.7 * x / x[-1]), f.SHAPE))


def exposure(flavor: str, seconds: float) -> Exposure:
    return replace(f.exposure(seconds), flavor=flavor)


def image(light: Any, seed: int) -> Image:
    return f.run(f.frame(light, seed=seed), **ADU)


def build(flats: list[tuple[Any, float]], zeros: int = 2, **params: Any) -> PhotonTransfer:
    images = [image(0.0, 900 + i) for i in range(zeros)] + [image(light, 10 + i) for i, (light, _) in enumerate(flats)]
    exposures = [exposure("zero", 0.0)] * zeros + [exposure("flat", t) for _, t in flats]
    return PhotonTransferCurve(PhotonTransferParams(**params)).run(images, exposures)


def test_gain_and_read_noise_from_fibres() -> None:
    got = build([(fibres(), 10.0)] * 6, zeros=4)
    assert got.amp == NAMES
    for i, name in enumerate(NAMES):
        # 9600 pixels an amplifier, some 5000 with light, five pairs: 0.9 %
        assert abs(got.gain[i] - f.GAIN[name]) < 3.5 * got.gain_error[i]
        assert got.gain_error[i] < 0.02 * f.GAIN[name]
        # 0.6 % of 28800 differences, and the error of the gain; the level of a row adds 1 %
        assert got.read_noise[i] == pytest.approx(f.NOISE[name], rel=0.03)
    assert np.isnan(got.linearity).all()
    assert np.isnan(got.full_well).all()
    seen = np.isfinite(got.level)
    assert seen.any()
    assert (np.isfinite(got.variance) == seen).all()


def test_a_lamp_that_drifts_and_cosmic_rays_do_no_harm() -> None:
    flats = []
    for i in range(6):
        light = fibres() * (1.0 + 0.03 * i) * np.linspace(1.0, 1.0 + 0.01 * i, f.SHAPE[0])[:, None]
        rng = np.random.default_rng(i)
        light[rng.integers(0, f.SHAPE[0], 60), rng.integers(0, f.SHAPE[1], 60)] += 5000.0
        flats.append((light, 10.0))
    got = build(flats)
    np.testing.assert_allclose(got.gain, [f.GAIN[n] for n in NAMES], rtol=0.035)  # as above: 3.5 times 0.9 %


def test_without_zeros_the_overscan_gives_the_read_noise() -> None:
    got = build([(fibres(), 10.0)] * 4, zeros=0)
    np.testing.assert_allclose(got.read_noise, [f.NOISE[n] for n in NAMES], rtol=0.06)  # gain 1 %, overscan of 3840 pixels 1 %, intercept free
    assert np.isnan(got.read_noise_error).all()


def test_linearity_from_exposure_times() -> None:
    straight = [(fibres(1000.0 * t), t) for t in (2.0, 2.0, 4.0, 4.0, 8.0, 8.0, 16.0, 16.0)]
    assert build(straight).linearity.max() < 0.01
    bent = [(light * (1.0 - 0.08 * (t / 16.0)), t) for light, t in straight]
    got = build(bent)
    assert (got.linearity > 0.01).all()
    assert (got.linearity < 0.08).all()


def test_full_well_where_pixels_are_full() -> None:
    light = np.linspace(0.0, 20_000.0, f.SHAPE[0])[:, None] * np.linspace(0.7, 1.4, f.SHAPE[1])
    raws = [f.frame(light, seed=i) for i in range(4)]
    top = 15_000
    noise = [np.random.default_rng(i).integers(-4, 5, f.RAW_SHAPE) for i in range(4)]  # a pixel that is full still has the noise of its read-out
    images = [f.run(replace(r, pixels=(np.minimum(r.pixels, top) + n).astype(np.int32)), **ADU) for r, n in zip(raws, noise, strict=True)]
    zeros = [image(0.0, 900 + i) for i in range(2)]
    got = PhotonTransferCurve().run([*zeros, *images], [exposure("zero", 0.0)] * 2 + [exposure("flat", 10.0)] * 4)
    assert np.isnan(got.full_well[:2]).all()  # they are not full
    for i in (2, 3):
        assert got.full_well[i] == pytest.approx((top - f.LEVEL[NAMES[i]]) * f.GAIN[NAMES[i]], rel=0.06)  # bins of 3 % in level, gain to 2 %
    np.testing.assert_allclose(got.gain, [f.GAIN[n] for n in NAMES], rtol=0.05)


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(BadData, match="two flats of one exposure time"):
        build([(fibres(), 10.0), (fibres(), 20.0)])
    electron = [f.run(f.frame(fibres(), seed=i)) for i in range(2)]
    with pytest.raises(BadData, match="are in electron"):
        PhotonTransferCurve().run(electron, [exposure("flat", 10.0)] * 2)


def test_times_are_fitted_through_zero_for_two_and_with_a_shutter_for_more() -> None:
    assert np.isnan(fit_times(np.array([5.0, 5.0]), np.array([1.0, 1.1])))
    assert fit_times(np.array([1.0, 2.0]), np.array([1.0, 2.2])) == pytest.approx(0.1, abs=0.06)
    assert fit_times(np.array([1.0, 2.0, 4.0]), np.array([1.1, 2.1, 4.1])) == pytest.approx(0.0, abs=1e-12)


def test_the_factor_of_clipping() -> None:
    values = np.random.default_rng(1).normal(size=2_000_000)
    assert np.var(values[np.abs(values) < 2.5]) == pytest.approx(clip_factor(2.5), rel=0.003)


def test_the_sums_are_those_of_plain_numpy() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.normal(500.0, 300.0, (70, 50)).astype(np.float32) for _ in range(2))
    ivar_a, ivar_b = (np.float32(1) * (rng.random((70, 50)) > 0.1) for _ in range(2))
    box, scale, limit = 16, np.float32(0.5), np.full(20, 600.0, np.float32)
    ratio = rng.uniform(0.9, 1.1, (5, 4)).astype(np.float32)
    sums = np.zeros((5, 20))
    kernel.pair_sums(a, b, ivar_a, ivar_b, ratio, box, scale, limit, sums)
    k = np.kron(ratio, np.ones((box, box)))[:70, :50]
    d = (a - k * b) / np.sqrt(1 + k**2)
    m = 0.5 * (a + k * b) * (1 + k) / (1 + k**2)
    use = (ivar_a > 0) & (ivar_b > 0) & (np.abs(d) <= 600.0)
    place = np.minimum((0.5 * np.sqrt(np.maximum(m, 0))).astype(int), 19)
    for row, values in enumerate((np.ones_like(d), m, np.abs(d), d, d * d)):
        wanted = np.bincount(place[use], values[use], 20)
        np.testing.assert_allclose(sums[row], wanted, rtol=2e-3, atol=0.02 * np.abs(values).max())  # float32; a pixel may change its bin
    left, right = np.zeros((5, 4)), np.zeros((5, 4))
    kernel.box_sums(a, b, ivar_a, ivar_b, np.float32(800), box, left, right)
    lit = (ivar_a > 0) & (ivar_b > 0) & (a + b > 800)
    sums_a = np.zeros((5, 4))
    np.add.at(sums_a, (np.arange(70)[:, None] // box * np.ones((1, 50), int), np.ones((70, 1), int) * (np.arange(50) // box)), np.where(lit, a, 0))
    np.testing.assert_allclose(left, sums_a, rtol=1e-5)


def test_rays_take_their_surroundings_with_them() -> None:
    a, b = (np.full((40, 30), 100.0, np.float32) for _ in range(2))
    a[20, 10] = 1000.0
    ivar = [np.ones((40, 30), np.float32) for _ in range(2)]
    found = kernel.drop_rays(a, b, *ivar, np.ones((3, 2), np.float32), 16, np.float32(0), np.full(1, 50.0, np.float32), 2)
    wanted = np.ones((40, 30))
    wanted[18:23, 8:13] = 0
    assert found == 1
    np.testing.assert_array_equal(ivar[1], wanted)
    assert (ivar[0] == 1).all()
