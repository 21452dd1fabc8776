"""Cosmic rays counted, and pixels without a calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from qa.cosmic_rays import CosmicRays, CosmicRaysParams
from qa.kernels.tracks import count_groups
from qa.unusable_pixels import UnusablePixels
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import NotApplicable
from quicklook.core.keys import Unit

NY, NX = 400, 600


def image(mask: np.ndarray, applied: tuple[str, ...] = ("cosmics",), dead: dict[str, str] | None = None) -> Image:
    half = NX // 2
    amps = tuple(
        Amplifier(name=n, data=Section(0, NY, x, x + half), ccd=Section(0, NY, x, x + half), gain=1.0) for n, x in (("A", 0), ("B", half))
    )
    return Image(
        camera="r0",
        pixels=np.zeros((NY, NX), np.float32),
        ivar=np.ones((NY, NX), np.float32),
        mask=mask,
        amplifiers=amps,
        read_noise={"A": 3.0, "B": 3.0},
        applied=applied,
        dead=dead or {},
    )


def exposure(exptime: float) -> Exposure:
    return Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="science", exptime=exptime)


def hit(n: int) -> np.ndarray:
    mask = np.zeros((NY, NX), np.uint16)
    mask[:n, 10] = PixelMask.COSMIC | PixelMask.BAD
    return mask


@pytest.mark.parametrize(("flavor", "told"), [("science", False), ("dark", False), ("flat", False), ("zero", True)])
def test_without_an_exposure_time_there_is_no_flux_but_in_zeros(flavor: str, told: bool) -> None:
    got = CosmicRays().measure(image(hit(40)), replace(exposure(0.0), flavor=flavor, pixel_area_um2=225.0))
    assert (got["cosmic_flux"].not_applicable is None) is told
    assert (got["cosmic_track_rate"].not_applicable is None) is told
    assert got["cosmic_fraction"].values[0] > 0.0


def test_the_rate_is_the_fraction_over_the_time_with_the_read_out() -> None:
    got = CosmicRays().measure(image(hit(240)), exposure(940.0))
    fraction = 240 / (NY * NX / 2)
    np.testing.assert_allclose(got["cosmic_fraction"].values, [fraction, 0.0])
    np.testing.assert_allclose(got["cosmic_rate"].values, [fraction, 0.0], rtol=1e-12)  # 940 s and 60 s of read-out are one ks


def tracks(seed: int, n: int) -> tuple[np.ndarray, int]:
    """Long and short tracks, and the number of connected ones among them."""
    mask, rng = np.zeros((NY, NX), np.uint16), np.random.default_rng(seed)
    for _ in range(n):
        y, x, angle, length = rng.uniform(0, NY), rng.uniform(0, NX), rng.uniform(0, 6.3), rng.exponential(12.0) + 1
        s = np.arange(0, length, 0.3)
        row, column = (np.floor(p).astype(int) for p in (y + s * np.sin(angle), x + s * np.cos(angle)))
        inside = (row >= 0) & (row < NY) & (column >= 0) & (column < NX)
        mask[row[inside], column[inside]] = PixelMask.COSMIC
    halves = (mask[:, : NX // 2], mask[:, NX // 2 :])
    return mask, sum(ndimage.label(h, np.ones((3, 3)))[1] for h in halves)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_tracks_are_counted_whatever_their_length(seed: int) -> None:
    mask, n = tracks(seed, 60)
    got = CosmicRays().measure(image(mask), replace(exposure(0.0), flavor="zero"))["cosmic_track_rate"]
    rate = 1e6 * n / (NY * NX) / 0.06  # 60 s of read-out
    assert got.values == pytest.approx(rate, rel=0.05)  # tracks that cross may enclose a hole, which counts less one
    assert "tracks" in got.remarks[()]


def test_a_short_exposure_has_no_rate_of_amplifiers_but_tracks() -> None:
    got = CosmicRays().measure(image(hit(1)), exposure(5.0))
    assert "too short" in str(got["cosmic_rate"].not_applicable)
    assert got["cosmic_track_rate"].values == pytest.approx(1e6 / (NY * NX) / 0.065)
    assert np.isnan(CosmicRays().measure(image(hit(1)), exposure(float("nan")))["cosmic_track_rate"].values)


def test_tracks_per_square_centimetre_and_minute() -> None:
    mask, n = tracks(4, 60)
    timed = replace(exposure(540.0), pixel_area_um2=225.0)  # ten minutes with the read-out
    got = CosmicRays().measure(image(mask), timed)["cosmic_flux"]
    assert got.values == pytest.approx(n / (NY * NX * 225e-8) / 10.0, rel=0.05)
    assert "0.54 cm2 in 600 s" in got.remarks[()]
    assert "pixel_size_um" in str(CosmicRays().measure(image(mask), exposure(540.0))["cosmic_flux"].not_applicable)


@pytest.mark.parametrize("seed", range(8))
def test_groups_against_scipy(seed: int) -> None:
    """Groups less their holes: the Euler number of 8-connected pixels, whose holes are 4-connected."""
    rng = np.random.default_rng(seed)
    mask = np.where(rng.uniform(size=(70, 150)) < (0.02, 0.1, 0.3, 0.6)[seed % 4], 16, 0).astype(np.uint16) | np.uint16(4)
    mask[30:40] = 4
    section = (slice(3, 70), slice(0, 130))
    hit = np.pad(mask[section] & 16, 1) != 0
    groups, holes = ndimage.label(hit, np.ones((3, 3)))[1], ndimage.label(~hit)[1] - 1
    assert count_groups(mask, 16, section, 1024) == (hit.sum(), groups - holes, np.count_nonzero(mask[section] & 1024))


def test_where_it_does_not_apply_it_says_so() -> None:
    with pytest.raises(NotApplicable, match="not looked for"):
        CosmicRays().measure(image(hit(1), ("bias",)), exposure(900.0))
    with pytest.raises(NotApplicable, match="too small"):
        CosmicRays(CosmicRaysParams(least_pixels=NY * NX + 1)).measure(image(hit(1)), exposure(900.0))


def test_a_dead_amplifier_has_no_rate() -> None:
    got = CosmicRays().measure(image(hit(3), dead={"B": "every pixel reads 7"}), exposure(900.0))
    assert np.isnan(got["cosmic_rate"].values[1])
    assert "every pixel reads 7" in got["cosmic_rate"].remarks[("B",)]


def test_pixels_without_a_number_are_counted_and_named() -> None:
    mask = np.zeros((NY, NX), np.uint16)
    mask[0, :5] = PixelMask.NONFINITE | PixelMask.PIXFLATZERO
    mask[1, :7] = PixelMask.PIXFLATZERO
    got = UnusablePixels().measure(image(mask))["nonfinite_fraction"]
    np.testing.assert_allclose(got.values, [5 / (NY * NX / 2), 0.0])
    assert list(got.remarks) == [("A",)]
