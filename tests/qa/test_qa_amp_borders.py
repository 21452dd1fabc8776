"""Steps at the borders of amplifiers, put in and found again."""

from __future__ import annotations

import numpy as np
import pytest
from qa_frames import amplifier, exposure, image

from qa.amp_borders import AmpBorders
from qa.kernels.borders import ratio_across, step_across
from quicklook.ccd.image import Image
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures

NY, NX = 256, 240
"""Of one amplifier."""
SIGMA = 3.0


def noise(seed: int = 1, sigma: float = SIGMA) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, sigma, (2 * NY, 2 * NX)).astype(np.float32)


def fibres(counts: float, *, gaps: bool = True) -> np.ndarray:
    """Traces along y, 7.3 pixels apart, in bundles of 12 with gaps; the light changes along them."""
    x, y = np.arange(2 * NX), np.arange(2 * NY)
    centres = 4.0 + 7.3 * np.arange(64) + (10.0 * (np.arange(64) // 12) if gaps else 0.0)
    profile = np.exp(-0.5 * (x[None, :] - centres[:, None]) ** 2).sum(axis=0) / np.sqrt(2.0 * np.pi)
    return (counts * (1.0 + 0.4 * np.sin(y / 150.0))[:, None] * profile[None, :]).astype(np.float32)


def lit(counts: float, seed: int = 1) -> np.ndarray:
    light = fibres(counts)
    rng = np.random.default_rng(seed)
    return (rng.poisson(light) + rng.normal(0.0, SIGMA, light.shape)).astype(np.float32)


def steps(values: np.ndarray, flavor: str, **more: object) -> dict[str, np.ndarray]:
    got = AmpBorders().measure(image(values, **more), exposure(flavor))  # type: ignore[arg-type]
    assert got["amp_border_step"].coords["border"] == ("A-B", "A-C", "B-D", "C-D")
    return {m.name: m.values for m in got.metrics if m.not_applicable is None}


@pytest.mark.parametrize("flavor", ["zero", "dark"])
def test_steps_without_light(flavor: str) -> None:
    values = noise()
    values[:NY, NX:] += 5.0  # B
    got = steps(values, flavor)
    # every place: 3 electron sqrt(2 (1.5^2 + 0.5^2) / 8); 240 and more of them
    np.testing.assert_allclose(got["amp_border_step"], [5.0, 0.0, -5.0, 0.0], atol=5 * 0.2)
    np.testing.assert_allclose(got["amp_border_error"], 1.2533 * 3.0 * np.sqrt(5.0 / 8.0) / np.sqrt([256, 240, 240, 256]), rtol=0.3)
    assert (got["amp_border_excess"] > 3.0).tolist() == [True, False, True, False]


def test_a_slope_across_the_border_is_no_step() -> None:
    values = noise() + np.linspace(0.0, 200.0, 2 * NY, dtype=np.float32)[:, None] + np.linspace(0.0, 100.0, 2 * NX, dtype=np.float32)[None, :]
    np.testing.assert_allclose(steps(values, "dark")["amp_border_step"], 0.0, atol=5 * 0.2)


@pytest.mark.parametrize("flavor", ["science", "flat", "arc"])
@pytest.mark.parametrize("counts", [30.0, 3000.0])
@pytest.mark.parametrize("height", [0.0, 10.0])
def test_steps_of_the_background_between_fibres(flavor: str, counts: float, height: float) -> None:
    values = lit(counts)
    values[NY:, :NX] += height  # C
    got = steps(values, flavor)
    expected = np.array([0.0, height, 0.0, -height])
    assert (np.abs(got["amp_border_step"] - expected) < 5 * got["amp_border_error"] + 0.5).all(), got
    assert (got["amp_border_excess"][expected == 0] < 1.0).all(), got
    assert (got["amp_border_excess"][expected != 0] > 3.0).all(), got


def test_noise_of_one_amplifier_is_no_step() -> None:
    values = lit(300.0)
    values[:NY, NX:] += np.random.default_rng(4).normal(0.0, 9.0, (NY, NX)).astype(np.float32)
    got = steps(values, "science")
    assert (np.abs(got["amp_border_step"]) < 5 * got["amp_border_error"]).all(), got


def test_a_wrong_gain_shows_in_a_flat() -> None:
    values = lit(5000.0)
    values[NY:, :NX] *= 1.05
    got = steps(values, "flat")["amp_border_ratio"]
    np.testing.assert_allclose(got, [0.05, 0.0], atol=0.01)  # 70 bright columns of sixteen pixels of 1000 electron and more
    assert "amp_border_ratio" not in steps(values, "arc")


@pytest.mark.parametrize("gain", [0.85, 1.08, 1.0])
def test_a_wrong_gain_shows_in_science_where_there_is_light_enough(gain: float) -> None:
    values = lit(250.0)
    values[NY:, :NX] *= gain
    got = steps(values, "science")
    # 70 columns of 100 electron in the brightest pixel, eight pixels each: 10 / sqrt(8) electron, 1.6 times that at the border: a per cent of all
    np.testing.assert_allclose(got["amp_border_ratio"], [gain - 1.0, 0.0], atol=0.05)
    excess = got["amp_border_ratio_excess"]
    assert excess[1] == 0.0
    assert (excess[0] > 0.02) == (abs(gain - 1.0) > 0.1) or gain == 1.08  # of 8 per cent four errors leave little
    assert "amp_border_ratio" not in steps(lit(10.0), "science"), "noise tells no ratio"


@pytest.mark.parametrize("lower", [0.9, 1.1])
def test_two_wrong_gains_on_one_side_are_told_together_where_neither_is_alone(lower: float) -> None:
    """Borders of some sixty bright columns of 60 electron in the brightest pixel: each is known to two per cent, both together to three quarters of that."""
    found = 0
    for seed in range(6):
        values = lit(150.0, seed)
        values[:NY] *= lower
        got = AmpBorders().measure(image(values), exposure("science"))
        alone = np.abs(got["amp_border_ratio"].values) - 4.0 * np.array(_errors(got))
        excess = got["amp_border_ratio_excess"].values
        assert (excess >= alone - 1e-3).all()  # the remarks have two digits
        found += bool((excess > 0.005).all() and (alone < excess).any())
    assert found >= 4


def _errors(got: Measures) -> list[float]:
    """Of the ratios of the borders alone, from their remarks: ``+0.1 +- 0.02; all borders there together ...``."""
    return [float(words.split("+- ")[1].split(";")[0]) for words in got["amp_border_ratio"].remarks.values()]


@pytest.mark.parametrize("seed", range(8))
def test_one_wrong_gain_is_of_its_border_alone(seed: int) -> None:
    values = lit(1000.0, seed)
    values[NY:, :NX] *= 0.85
    got = steps(values, "science")["amp_border_ratio_excess"]
    assert got[0] > 0.02
    assert got[1] == 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counts", [0.0, 3.0, 30.0])
def test_noise_of_a_faint_flat_is_no_wrong_gain(counts: float, seed: int) -> None:
    got = steps(lit(counts, seed), "flat")["amp_border_ratio_excess"]
    assert not (got > 0.02).any(), got


def test_a_line_of_the_sky_at_the_border_is_no_wrong_gain() -> None:
    y = np.arange(2 * NY)
    light = fibres(2000.0) * (0.3 + np.exp(-0.5 * ((y - NY - 6) / 3.0) ** 2))[:, None]
    rng = np.random.default_rng(3)
    values = (rng.poisson(light) + rng.normal(0.0, SIGMA, light.shape)).astype(np.float32)
    got = steps(values, "science")
    assert not (got.get("amp_border_ratio_excess", np.zeros(1)) > 0.02).any(), got


def test_ratio_across_is_of_the_second_side_over_the_first() -> None:
    """Even where it is far from 1: 0.85 is -0.15, as the metric says, not 2 (b - a) / (a + b) = -0.162."""
    rng = np.random.default_rng(8)
    bright = rng.uniform(100.0, 300.0, 80)[None, :] * np.ones((16, 1))
    good = np.ones((16, 80), bool)
    first, second = bright.astype(np.float32), (0.85 * bright).astype(np.float32)
    got = ratio_across(first, good, second, good, 0.5)
    assert got.height == pytest.approx(-0.15, abs=1e-6)
    assert got.places == 40
    noisy = ratio_across(first + rng.normal(0, 5, first.shape).astype(np.float32), good, second, good, 0.5)
    # of 40 places 5 electron in eight pixels of each half, in a straight line: 5 sqrt(2.5 / 8) / 250 / sqrt(40) of the light, times 0.85
    assert noisy.error == pytest.approx(0.85 * 5.0 * np.sqrt(2.5 / 8.0) / 250.0 / np.sqrt(40.0), rel=0.4)


def test_masked_pixels_and_dead_amplifiers_are_left_out() -> None:
    values, mask = noise(), np.zeros((2 * NY, 2 * NX), np.uint16)
    values[NY - 3 : NY, 40:80] = 1e4
    mask[NY - 3 : NY, 40:80] = 16
    np.testing.assert_allclose(steps(values, "zero", mask=mask)["amp_border_step"], 0.0, atol=5 * 0.2)
    one = image(values, mask)
    dead = Image(
        camera="r0", pixels=one.pixels, ivar=one.ivar, mask=one.mask, amplifiers=one.amplifiers, read_noise=one.read_noise, dead={"D": "no noise"}
    )
    got = AmpBorders().measure(dead, exposure("zero"))["amp_border_step"]
    assert np.isnan(got.values).tolist() == [False, False, True, True]
    assert got.remarks["B-D",] == "D: the amplifier is dead: no noise"
    everything = np.full_like(mask, 1)
    blind = AmpBorders().measure(image(values, everything), exposure("science"))["amp_border_step"]
    assert np.isnan(blind.values).all()
    assert blind.remarks["A-B",] == "too few good pixels at the border"


def test_one_amplifier_has_no_border() -> None:
    one = image(noise())
    alone = Image(camera="r0", pixels=one.pixels, ivar=one.ivar, mask=one.mask, amplifiers=(amplifier(0, ny=NY, nx=NX),), read_noise={})
    with pytest.raises(NotApplicable, match="border"):
        AmpBorders().measure(alone, exposure("zero"))


def test_step_across_against_a_loop() -> None:
    rng = np.random.default_rng(6)
    first, second = (rng.normal(m, 1.0, (8, 50)).astype(np.float32) for m in (0.0, 2.0))
    good = rng.uniform(size=(2, 8, 50)) > 0.2
    each, light = [], []
    for j in range(50):
        means = [s[h, j][g[h, j]] for s, g in ((first, good[0]), (second, good[1])) for h in (slice(0, 4), slice(4, 8))]
        if min(len(m) for m in means) < 2:
            continue
        a, b, c, d = (float(np.mean(m)) for m in means)
        each.append(1.5 * c - 0.5 * d - 1.5 * a + 0.5 * b)
        light.append(a + b + c + d)
    dark = np.array(each)[np.array(light) <= np.quantile(light, 0.5)]
    got = step_across(first, good[0], second, good[1], 0.5)
    assert got.height == pytest.approx(np.median(dark), abs=1e-5)
    assert got.places == len(dark)
