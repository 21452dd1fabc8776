"""Read noise from pairs of zeros, and the light of flats."""

from __future__ import annotations

import numpy as np
import pytest
from qa_frames import amplifier, exposure

from qa.flat_light import FlatLight
from qa.zero_pairs import ZeroPairs
from quicklook.ccd.image import Image, RawImage
from quicklook.core.errors import NotApplicable

GAIN = 1.25  # electron/ADU, as of `amplifier`
AMPS = tuple(amplifier(i) for i in range(4))


def zeros(count: int, sigma: float = 2.0, *, drift: float = 0.0, rays: bool = False) -> list[RawImage]:
    """Zeros with one structure and noise of `sigma` ADU; `drift` is a scatter of the levels of rows."""
    rng = np.random.default_rng(5)
    shape = (512, 328)
    structure = rng.normal(0, 20.0, shape)
    out = []
    for _ in range(count):
        pixels = 1000 + structure + rng.normal(0, sigma, shape) + rng.normal(0, drift, (shape[0], 1))
        if rays:
            pixels[rng.integers(0, 512, 300), rng.integers(0, 328, 300)] += 3000
        out.append(RawImage(camera="r0", pixels=np.rint(pixels).clip(0, 65535).astype(np.uint16), amplifiers=AMPS))
    return out


@pytest.mark.parametrize("options", [{}, {"drift": 5.0}, {"rays": True}], ids=["plain", "levels that drift", "cosmic rays"])
def test_the_noise_of_pairs_is_that_of_the_pixels(options: dict[str, float]) -> None:
    measures = ZeroPairs().measure(zeros(4, **options))  # type: ignore[arg-type]
    # 16384 sampled pixels in each of 3 pairs: 0.5 %; clipping at 4 sigma takes 0.1 % away
    assert measures["pair_noise"].values == pytest.approx([2.0 * GAIN] * 4, rel=0.02)
    assert measures["pair_noise_ratio"].values == pytest.approx([2.0 * GAIN / 2.5] * 4, rel=0.02)
    assert (measures["pair_noise_change"].values < 0.03).all()


def test_a_zero_that_is_noisier_changes_the_pairs() -> None:
    raws = [*zeros(3), *zeros(1, 4.0)]
    # pairs of 2 and 2, and of 2 and 4: the last has sqrt((4 + 16) / 2) = 3.16, but its structure is the same
    assert ZeroPairs().measure(raws)["pair_noise_change"].values == pytest.approx([3.16 / 2.0 - 1.0] * 4, rel=0.1)


def test_one_zero_makes_no_pair() -> None:
    with pytest.raises(NotApplicable, match="two zeros"):
        ZeroPairs().measure(zeros(1))


def flats(rate: float, times: tuple[float, ...], *, tilt: float = 0.0) -> list[Image]:
    """Images in ADU of even light of so many electron/s, brighter to the right by `tilt`."""
    ny, nx = 512, 256
    light = rate * (1 + tilt * (np.linspace(-0.5, 0.5, nx)[None, :])) * np.ones((ny, 1))
    same = {"ivar": np.ones((ny, nx), np.float32), "mask": np.zeros((ny, nx), np.uint16), "amplifiers": AMPS, "read_noise": dict.fromkeys("ABCD", 2.5)}
    return [Image(camera="r0", pixels=(light * t / GAIN).astype(np.float32), **same, applied=()) for t in times]  # type: ignore[arg-type]


def test_the_light_of_flats_is_in_electrons_a_second() -> None:
    times = (0.0, 2.0, 10.0)
    exposures = [exposure("zero" if t == 0 else "flat", t) for t in times]
    measures = FlatLight().measure(flats(300.0, times, tilt=0.2), exposures)
    # halves of a tilt of 20 % over the detector: their middles are 5 % off the mean
    assert measures["flat_light"].values == pytest.approx([285.0, 315.0, 285.0, 315.0], rel=0.01)
    assert measures["flat_gradient"].values == pytest.approx(0.2 * 15 / 16, rel=0.03)  # between the middles of the outer boxes
    with pytest.raises(NotApplicable, match="no flat"):
        FlatLight().measure(flats(300.0, times[:1]), exposures[:1])
