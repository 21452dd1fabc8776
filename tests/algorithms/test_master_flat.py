"""The master flat of a detector under even light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.master_flat import MasterFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.core.errors import BadData
from quicklook.core.keys import Unit

NY, NX = 256, 192
RNG = np.random.default_rng(11)
RESPONSE = RNG.normal(1.0, 0.01, (NY, NX))
AMP = Amplifier(name="A", data=Section(0, NY, 0, NX), ccd=Section(0, NY, 0, NX), gain=1.0, read_noise=3.0)


def exposure(number: int, flavor: str = "flat") -> Exposure:
    return Exposure(unit=Unit(20220101, number), instrument="test", flavor=flavor, exptime=10.0)


def flat(level: float, seed: int, *, rays: int = 0) -> Image:
    """Light that falls off towards the corners, with the noise of photons; `rays` pixels are hit."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : NY * 1j, -1 : 1 : NX * 1j]
    light = level * (1 - 0.05 * (x * x + y * y))
    pixels = rng.poisson(light * RESPONSE).astype(np.float32)
    pixels[rng.integers(0, NY, rays), rng.integers(0, NX, rays)] += 5000
    ivar = (1 / (light + 9)).astype(np.float32)
    return Image(camera="r0", pixels=pixels, ivar=ivar, mask=np.zeros((NY, NX), np.uint16), amplifiers=(AMP,), read_noise={"A": 3.0})


def test_the_response_is_that_of_the_pixels_whatever_the_light() -> None:
    images = [flat(20000.0, 1), flat(40000.0, 2, rays=200), flat(30000.0, 3)]
    made = MasterFlat().run(images, [exposure(n) for n in (1, 2, 3)])
    assert made.ivar is not None
    assert (made.ivar > 0).all()
    pulls = (made.pixels - RESPONSE) * np.sqrt(made.ivar)
    # photon noise alone: the scatter of 49,000 pulls is 1 to 0.3 %
    assert np.std(pulls) == pytest.approx(1.0, abs=0.05)
    assert np.abs(pulls).max() < 6.0  # no cosmic ray is left
    assert np.median(made.ivar**-0.5) == pytest.approx(90000**-0.5, rel=0.06)


def test_zeros_among_them_are_left_out() -> None:
    images = [flat(20000.0, 1), flat(2.0, 9)]
    both = MasterFlat().run(images, [exposure(1), exposure(2, "zero")])
    alone = MasterFlat().run(images[:1], [exposure(1)])
    assert np.array_equal(both.pixels, alone.pixels)


def test_an_amplifier_without_light_is_not_measured() -> None:
    lit = flat(20000.0, 1)
    pixels, halves = np.array(lit.pixels), ((0, 96), (96, NX))
    pixels[:, :96] = 1.0
    amps = tuple(replace(AMP, name=n, data=Section(0, NY, *x), ccd=Section(0, NY, *x)) for n, x in zip("AB", halves, strict=True))
    shaded = Image(camera="r0", pixels=pixels, ivar=lit.ivar, mask=lit.mask, amplifiers=amps, read_noise={"A": 3.0, "B": 3.0})
    made = MasterFlat().run([shaded], [exposure(1)])
    assert made.ivar is not None
    assert (made.ivar[:, :96] == 0).all()
    assert (made.pixels[:, :96] == 1).all()
    assert (made.ivar[:, 96:] > 0).all()


def test_what_cannot_be_made() -> None:
    with pytest.raises(BadData, match="there is none"):
        MasterFlat().run([flat(2.0, 1)], [exposure(1, "zero")])
    with pytest.raises(BadData, match="no pixel"):
        MasterFlat().run([flat(20.0, 1)], [exposure(1)])
