"""QAs of the preprocessed image: lit fraction, level, masked pixels, preview."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qa_frames import NAMES, exposure, image

from qa.image_level import ImageLevel, ImageLevelParams
from qa.lit_fraction import LitFraction, LitFractionParams
from quicklook.ccd.mask import PixelMask


def dark(ny: int = 400, nx: int = 300, sigma: float = 2.5) -> np.ndarray:
    return np.random.default_rng(3).normal(0, sigma, (ny, nx)).astype(np.float32)


def test_lit_fraction_of_known_area() -> None:
    values = dark()
    values[:50, :150] += 100  # a quarter of amplifier A
    got = LitFraction().measure(image(values))["lit_fraction"].values
    np.testing.assert_allclose(got, [0.25, 0, 0, 0], atol=1e-4)  # beyond five sigma: 3e-7 of the pixels


def test_threshold_is_in_units_of_the_read_noise() -> None:
    values = dark() + 20.0
    frame = image(values, noise={"A": 2.5, "B": 25.0, "C": 2.5, "D": 2.5})
    assert LitFraction().measure(frame)["lit_fraction"].values[0] > 0.99
    assert LitFraction().measure(frame)["lit_fraction"].values[1] == 0
    assert LitFraction(LitFractionParams(nsigma=20.0)).measure(frame)["lit_fraction"].values[0] == 0


@pytest.mark.parametrize(("flavor", "seconds", "told"), [("science", 900.0, True), ("science", 300.0, False), ("science", np.nan, False), ("flat", 900.0, False)])
def test_only_in_long_science_exposures_the_sky_must_light_the_fibres(flavor: str, seconds: float, told: bool) -> None:
    values = dark()
    values[:50, :150] += 100
    got = LitFraction().measure(image(values), exposure(flavor, seconds))
    assert (got["lit_fraction_long"].not_applicable is None) is told
    if told:
        np.testing.assert_array_equal(got["lit_fraction_long"].values, got["lit_fraction"].values)


def test_masked_pixels_are_left_out() -> None:
    values, mask = dark(), np.zeros((400, 300), np.uint16)
    values[:100, :150] += 100
    mask[:50, :150] = PixelMask.BAD
    assert LitFraction().measure(image(values, mask))["lit_fraction"].values[0] == pytest.approx(1 / 3, abs=1e-4)


def test_unknown_noise_and_masked_amplifier_are_not_measured() -> None:
    mask = np.zeros((400, 300), np.uint16)
    mask[:200, 150:] = PixelMask.BADAMP
    got = LitFraction().measure(image(dark(), mask, {"A": np.nan, "B": 2.5, "D": 2.5}))["lit_fraction"]
    assert np.isnan(got.values[:3]).all()
    assert got.remarks == {("A",): "its read noise is unknown", ("B",): "all of its pixels are masked", ("C",): "its read noise is unknown"}


def test_tall_amplifiers_are_sampled_without_bias() -> None:
    values = dark(2100, 64)
    values[:1050, :8] += 100  # a quarter of the columns of A
    got = LitFraction().measure(image(values))["lit_fraction"].values
    np.testing.assert_allclose(got, [0.25, 0, 0, 0], atol=1e-3)


def test_image_level_and_masked_fraction() -> None:
    values, mask = dark(), np.zeros((400, 300), np.uint16)
    values[:200, 150:] += 50
    mask[200:300, :150] = PixelMask.SATURATED
    values[mask > 0] = 1e6
    got = ImageLevel().measure(image(values, mask))
    np.testing.assert_allclose(got["image_level"].values, [0, 50, 0, 0], atol=0.25)  # median of 15,000: 0.026 e one sigma
    np.testing.assert_allclose(got["masked_fraction"].values, [0, 0, 0.5, 0])
    assert got["masked_fraction"].remarks == {("C",): "SATURATED 50 %"}


def test_fully_masked_amplifier_has_no_level() -> None:
    mask = np.zeros((400, 300), np.uint16)
    mask[:200, :150] = PixelMask.BADAMP | PixelMask.NONFINITE
    got = ImageLevel().measure(image(dark(), mask))
    assert np.isnan(got["image_level"].values[0])
    assert got["masked_fraction"].values[0] == 1.0
    assert got["finite_fraction"].values.tolist() == [0, 1, 1, 1]


def test_preview_has_the_right_place_scale_and_stretch() -> None:
    values = dark(300, 200)
    values[200:210, 20:30] = 3000.0
    mask = np.zeros((300, 200), np.uint16)
    mask[:, 150] = PixelMask.BAD
    frame = image(values, mask)
    before = frame.pixels.copy()
    plot = next(p for p in ImageLevel(ImageLevelParams(preview_size=60)).measure(frame).plots if p.name == "image_preview")
    np.testing.assert_array_equal(frame.pixels, before)
    picture = plot.panels[0].layers[0]
    assert picture.values.shape == (60, 40)  # type: ignore[union-attr]
    assert np.unravel_index(np.nanargmax(picture.values), (60, 40)) in [(y, x) for y in (40, 41) for x in (4, 5)]  # type: ignore[union-attr]
    assert picture.extent == (0.0, 200.0, 0.0, 300.0)  # type: ignore[union-attr]
    assert picture.mask[:, 30].all()  # type: ignore[union-attr,index]
    assert picture.mask.sum() == 60  # type: ignore[union-attr]
    assert picture.stretch == "linear"  # type: ignore[union-attr]
    assert "r0" in plot.title


def test_bright_images_are_stretched() -> None:
    values = dark(300, 200)
    values[:, ::7] += 5000
    plot = ImageLevel().measure(image(values)).plots[1]
    assert plot.panels[0].layers[0].stretch == "asinh"  # type: ignore[union-attr]


def test_every_metric_has_all_amplifiers() -> None:
    frame = image(dark())
    for qa in (LitFraction(), ImageLevel()):
        for metric in qa.measure(frame).metrics:
            assert metric.coords.get("amp", tuple(NAMES)) == tuple(NAMES)


def test_dead_and_known_bad_amplifiers_are_not_measured_in_the_words_of_all_qas() -> None:
    values, mask = dark(), np.zeros((400, 300), np.uint16)
    mask[:200] = PixelMask.BADAMP
    frame = image(values, mask)
    amps = (replace(frame.amplifiers[0], bad=True), *frame.amplifiers[1:])
    frame = replace(frame, amplifiers=amps, dead={"B": "every pixel reads 7"})
    for qa in (LitFraction(), ImageLevel()):
        for metric in qa.measure(frame).metrics:
            if metric.coords:
                assert np.isnan(metric.values).tolist() == [True, True, False, False]
                assert metric.left_out == {("A",)}
                assert metric.remarks["B",] == "the amplifier is dead: every pixel reads 7"
    assert LitFraction().measure(frame)["lit_fraction_camera"].values == 0
    panel = LitFraction().measure(frame).plots[0].panels[1]
    assert panel.title == "Along the dispersion (A: known bad, B: dead)"
    gone = replace(frame, dead={n: "no finite pixel" for n in "BCD"})
    assert LitFraction().measure(gone)["lit_fraction_camera"].not_applicable == "no amplifier is alive"


def test_lit_fraction_of_the_camera() -> None:
    values = dark()
    values[:50, :150] += 100  # a quarter of amplifier A
    assert LitFraction().measure(image(values))["lit_fraction_camera"].values == pytest.approx(1 / 16, abs=1e-4)
