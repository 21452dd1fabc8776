"""Background, scattered light and dark trails: what was put in comes out."""

from __future__ import annotations

import numpy as np
import pytest
from preproc_frames import SHAPE, frame, run

from algorithms.kernels.background import correct_dark_trails, median_background
from algorithms.scattered_light import ScatteredLight, ScatteredLightParams
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import MissingCalibration

NY, NX = 200, 150


def image_of(pixels: np.ndarray) -> Image:
    whole = Section(0, NY, 0, NX)
    amp = Amplifier(name="A", data=whole, ccd=whole, gain=1.0)
    shape = pixels.shape
    return Image(
        camera="r1",
        pixels=pixels.astype(np.float32),
        ivar=np.full(shape, 0.1, np.float32),
        mask=np.zeros(shape, np.uint16),
        amplifiers=(amp,),
        read_noise={"A": 3.0},
    )


def traces() -> TraceSet:
    """Three bundles of four fibres 7 pixels apart, gaps of 18 pixels, tilted."""
    x = np.concatenate([7.0 * np.arange(4) + 10 + 39 * b for b in range(3)])
    return TraceSet(
        x=np.stack([x, np.full(12, 3.0)], axis=1),
        y=np.stack([np.full(12, NY / 2), np.full(12, NY / 2 + 10)], axis=1),
        wavemin=5000.0,
        wavemax=5100.0,
        npix_x=NX,
        npix_y=NY,
        fiber=np.arange(12, dtype=np.int32),
    )


def slope() -> np.ndarray:
    y, x = np.mgrid[0:NY, 0:NX]
    return 40 + 0.05 * y + 0.1 * x


def test_median_background_is_the_smooth_part() -> None:
    rng = np.random.default_rng(1)
    pixels = slope() + 3 * rng.normal(size=(NY, NX))
    pixels[50:60, 20:40] += 5000  # a few bright pixels do not count
    ivar = np.full((NY, NX), 0.1, np.float32)
    ivar[:, 100:130] = 0
    found = median_background(pixels.astype(np.float32), ivar, 50)
    inner = np.s_[25:-25, 50:90]  # beyond the middle of the last box that is known it is constant
    assert np.abs(found - slope())[inner].max() < 1.0  # 2500 pixels a box: 0.08 electron; 200 bright ones in one shift its median by 0.4
    assert np.all(median_background(pixels.astype(np.float32), np.zeros_like(ivar), 50) == 0)


def test_preproc_subtracts_a_background_where_it_is_asked_to() -> None:
    light = np.full(SHAPE, 30.0)
    assert np.median(run(frame(light)).pixels) == pytest.approx(30, abs=0.3)
    flat = run(frame(light), background_box=60)
    assert np.median(flat.pixels) == pytest.approx(0, abs=0.1)
    assert "background" in flat.applied


@pytest.mark.parametrize("from_right", [False, True])
def test_dark_trails_are_filled(from_right: bool) -> None:
    rng = np.random.default_rng(2)
    truth = np.where(rng.random((5, 80)) < 0.1, 1000.0, 20.0)
    order = truth[:, ::-1] if from_right else truth
    k = np.arange(1, 80)
    kernel = 0.02 * np.exp(-k / 6.0) / np.exp(-np.arange(1, 500) / 6.0).sum()
    seen = np.array([[v - (kernel[:i][::-1] * row[:i]).sum() for i, v in enumerate(row)] for row in order])
    image = (seen[:, ::-1] if from_right else seen).astype(np.float32)
    assert np.abs(image - truth).max() > 3
    correct_dark_trails(image, [(0, 5, 0, 80)], [from_right], 0.02, 6.0)
    np.testing.assert_allclose(image, truth, atol=0.01)


def test_scattered_light_is_taken_from_the_gaps() -> None:
    rng = np.random.default_rng(3)
    t = traces()
    light = np.zeros((NY, NX))
    wave = np.linspace(5000, 5100, 2000)
    x, y = t.evaluate(t.x, wave), t.evaluate(t.y, wave)
    for f in range(12):
        centre = np.interp(np.arange(NY), y[f], x[f])[:, None]
        light += 400 * np.exp(-0.5 * (np.arange(NX) - centre) ** 2)
    pixels = light + slope() + 3 * rng.normal(size=(NY, NX))
    found = ScatteredLight(ScatteredLightParams(rows=50)).run(image_of(pixels), t)
    inside = np.s_[25:-25, 45:85]  # between the two gaps
    assert np.abs((found.pixels - light)[inside].mean()) < 0.5
    assert found.applied == ("scattered light",)


def test_scattered_light_needs_gaps_and_the_right_traces() -> None:
    before = image_of(slope())
    found = ScatteredLight(ScatteredLightParams(gap=30)).run(before, traces())
    assert "no gap of 30 pixels" in found.skipped["scattered light"]
    assert np.array_equal(found.pixels, before.pixels)
    with pytest.raises(MissingCalibration, match=r"traces for 150 x 200 pixels, the image has 150 x 100"):
        ScatteredLight().run(image_of(slope()[:100]), traces())
