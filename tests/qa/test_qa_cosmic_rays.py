"""Cosmic rays counted, and pixels without a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from qa.cosmic_rays import CosmicRays, CosmicRaysParams
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


def test_the_rate_is_the_fraction_over_the_time_with_the_read_out() -> None:
    got = CosmicRays().measure(image(hit(240)), exposure(940.0))
    fraction = 240 / (NY * NX / 2)
    np.testing.assert_allclose(got["cosmic_fraction"].values, [fraction, 0.0])
    np.testing.assert_allclose(got["cosmic_rate"].values, [fraction, 0.0], rtol=1e-12)  # 940 s and 60 s of read-out are one ks


@pytest.mark.parametrize(("exptime", "applied"), [(5.0, ("cosmics",)), (float("nan"), ("cosmics",)), (900.0, ("bias",))])
def test_where_it_does_not_apply_it_says_so(exptime: float, applied: tuple[str, ...]) -> None:
    with pytest.raises(NotApplicable):
        CosmicRays().measure(image(hit(1), applied), exposure(exptime))
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
