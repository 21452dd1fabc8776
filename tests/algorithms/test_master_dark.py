"""The master dark: rates, hot pixels, cosmic rays, and exposures of several lengths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import preproc_frames as f
import pytest

from algorithms.darknoise import settle
from algorithms.master_dark import MasterDark, MasterDarkParams
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadData

HOT = ((10, 20), (150, 90))


def truth() -> np.ndarray:
    """0.002 to 0.006 electron/s, and two hot pixels."""
    out = np.broadcast_to(np.linspace(0.002, 0.006, f.SHAPE[1]), f.SHAPE).copy()
    for i, at in enumerate(HOT):
        out[at] = 0.5 * (i + 1)
    return out


def image(seed: int, seconds: float, rays: int = 0) -> Image:
    light = truth() * seconds
    if rays:
        rng = np.random.default_rng(seed)
        light[rng.integers(0, f.SHAPE[0], rays), rng.integers(0, f.SHAPE[1], rays)] += 2000.0
    return f.run(f.frame(light, seed=seed), exptime=seconds)


def exposures(seconds: list[float], **more: Any) -> list[Exposure]:
    return [replace(f.exposure(t), flavor="dark", **more) for t in seconds]


def build(seconds: list[float], rays: int = 0, known: BadPixelMask | None = None, **params: Any) -> tuple[Dark, BadPixelMask]:
    images = [image(i, t, rays) for i, t in enumerate(seconds, start=1)]
    return MasterDark(MasterDarkParams(**params)).run(images, exposures(seconds), known, None)


def test_exposures_of_several_lengths_make_one_rate() -> None:
    dark, _ = build([300.0, 900.0, 1200.0, 600.0, 1200.0, 900.0, 1800.0], box=0)
    assert dark.variance is not None
    pull = (dark.pixels - truth()) / np.sqrt(dark.variance)
    cool = truth() < 0.1
    assert 1.4826 * np.median(np.abs(pull[cool])) == pytest.approx(1.0, abs=0.05)  # 38400 pixels: 0.6 %; the overscan level is shared by a row
    assert abs(np.mean(pull[cool])) < 0.05
    assert dark.seconds == pytest.approx(6900.0)


@pytest.mark.parametrize("zeros", [0, 4])
def test_the_noise_of_the_bias_is_in_all_exposures_alike_and_is_stated(zeros: int) -> None:
    """With a bias of four zeros its noise is larger than what is left of that of nine darks; 0: the bias is perfect."""
    rng = np.random.default_rng(8)
    sigma = np.full(f.RAW_SHAPE, 2.3 / np.sqrt(zeros) if zeros else 1e-6)
    bias = Bias(pixels=(sigma * rng.normal(size=f.RAW_SHAPE)).astype(np.float32), variance=(sigma**2).astype(np.float32))
    seconds = [300.0] * 9
    images = [f.run(f.frame(truth() * 300.0, seed=i), bias, exptime=300.0) for i in range(9)]
    dark, _ = MasterDark(MasterDarkParams(box=0)).run(images, exposures(seconds), None, bias)
    assert dark.variance is not None
    pull = ((dark.pixels - truth()) / np.sqrt(dark.variance))[truth() < 0.1]
    # the share of the bias is that of the whole detector, the amplifiers differ by 10 % in noise; without it the pull is 1.6
    assert 1.4826 * np.median(np.abs(pull - np.median(pull))) == pytest.approx(1.0, abs=0.1)


def test_noise_of_few_short_darks_is_not_handed_on() -> None:
    """Three of 300 s have an error of 0.006 electron/s and more, structure of 0.004 from side to side is kept, hot pixels are as measured."""
    measured, hot = build([300.0] * 3, box=0)
    dark, same = build([300.0] * 3)
    cool = truth() < 0.1
    assert np.std((measured.pixels - truth())[cool]) > 0.004
    assert np.std((dark.pixels - truth())[cool]) < 0.0012  # 0.0005 of columns of 120 rows, 0.0006 of rows of 80, 0.0002 of boxes
    np.testing.assert_array_equal(hot.pixels, same.pixels)
    assert measured.variance is not None
    assert dark.variance is not None
    for at in HOT:
        assert (dark.pixels[at], dark.variance[at]) == (measured.pixels[at], measured.variance[at])
    assert np.median(dark.variance) < 0.03 * np.median(measured.variance)


def test_structure_of_the_pixels_that_stands_out_of_the_noise_is_kept() -> None:
    """Rates that scatter by 0.02 electron/s with an error of 0.002: what is drawn in is one hundredth."""
    rng = np.random.default_rng(4)
    own, noise = rng.normal(0.05, 0.02, (256, 192)), rng.normal(0.0, 0.002, (256, 192))
    rate, variance = (own + noise).astype(np.float32), np.full((256, 192), 4e-6, np.float32)
    rate[3, 4], variance[3, 4] = np.nan, 0.0
    before = rate.copy()
    assert settle(rate, variance, 64, 5.0) == pytest.approx(0.99, abs=0.002)
    known = np.isfinite(before)
    assert np.max(np.abs(rate - before)[known]) < 0.0015  # a hundredth of 5 sigma, 0.1
    assert np.std((rate - own)[known]) < 0.0021
    np.testing.assert_allclose(variance[known], 3.96e-6, rtol=0.01)
    assert np.isnan(rate[3, 4])
    assert variance[3, 4] == 0


def test_the_longest_exposures_count_most() -> None:
    """With read noise alone the weight is the square of the time: the short ones cannot spoil it."""
    good, _ = build([1000.0] * 3)
    with_short, _ = build([1000.0] * 3 + [30.0] * 4)
    cool = truth() < 0.1
    assert np.std((with_short.pixels - truth())[cool]) < 1.02 * np.std((good.pixels - truth())[cool])


def test_hot_pixels_are_found_and_cosmic_rays_are_not() -> None:
    dark, mask = build([900.0] * 7, rays=40)
    found = {(int(y), int(x)) for y, x in np.argwhere(mask.pixels & PixelMask.HOT)}
    assert found == set(HOT)
    for at in HOT:
        assert dark.pixels[at] == pytest.approx(truth()[at], rel=0.05)  # Poisson noise of 3150 electron and more: 2 %
    assert np.nanmax(dark.pixels[truth() < 0.1]) < 0.05


def test_the_known_mask_is_kept_but_for_what_was_hot_before() -> None:
    before = np.zeros(f.SHAPE, np.uint16)
    before[5, 5], before[6, 6] = PixelMask.DEAD, PixelMask.HOT | PixelMask.BAD
    _, mask = build([900.0] * 3, known=BadPixelMask(pixels=before))
    assert mask.pixels[5, 5] == PixelMask.DEAD
    assert mask.pixels[6, 6] == PixelMask.BAD
    assert mask.pixels[HOT[0]] == PixelMask.HOT
    _, other = build([900.0] * 3, known=BadPixelMask(pixels=np.ones((3, 3), np.uint16)))
    assert np.count_nonzero(other.pixels) == 2


def test_a_pixel_that_nobody_saw_has_no_rate() -> None:
    def spoilt(seed: int) -> Image:
        one = image(seed, 900.0)
        mask = one.mask.copy()
        mask[30, 30] = PixelMask.SATURATED
        return replace(one, mask=mask)

    dark, mask = MasterDark().run([spoilt(i) for i in range(3)], exposures([900.0] * 3), None, None)
    assert dark.variance is not None
    assert np.isnan(dark.pixels[30, 30])
    assert (dark.variance[30, 30], mask.pixels[30, 30]) == (0.0, PixelMask.BAD)
    assert np.isnan(dark.pixels).sum() == 1


def test_an_amplifier_that_is_known_to_be_bad_has_no_dark_current() -> None:
    amps = (*(f.amplifier(n) for n in "ABC"), f.amplifier("D", bad=True))
    images = [f.run(f.frame(truth() * 900.0, seed=i, amps=amps), exptime=900.0) for i in range(3)]
    dark, mask = MasterDark().run(images, exposures([900.0] * 3), None, None)
    cut = f.amplifier("D").ccd.slices
    assert not dark.pixels[cut].any()
    assert not mask.pixels[cut].any()
    assert np.isfinite(dark.pixels).all()


def test_the_temperature_is_the_mean_of_those_that_are_known() -> None:
    images, seconds = [image(i, 900.0) for i in range(3)], [900.0] * 3
    stated = exposures(seconds, temperature_c=-110.0)
    assert MasterDark().run(images, [replace(stated[0], temperature_c=-113.0), *stated[1:]], None, None)[0].temperature_c == pytest.approx(-111.0)
    assert MasterDark().run(images, exposures(seconds), None, None)[0].temperature_c is None


@pytest.mark.parametrize(
    ("seconds", "message"),
    [([900.0, 900.0], "three exposures at least"), ([900.0, 900.0, 0.0], "took 0 s; a dark takes 1 s"), ([900.0, 900.0, float("nan")], "took nan s")],
)
def test_what_makes_no_dark_is_refused(seconds: list[float], message: str) -> None:
    images = [image(1, 900.0)] * len(seconds)
    with pytest.raises(BadData, match=message):
        MasterDark().run(images, exposures(seconds), None, None)


def test_another_read_out_is_refused() -> None:
    small = image(1, 900.0)
    odd = replace(small, amplifiers=small.amplifiers[:3])
    with pytest.raises(BadData, match="different read-outs"):
        MasterDark().run([small, small, odd], exposures([900.0] * 3), None, None)
