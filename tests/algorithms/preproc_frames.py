"""Small raw frames of four amplifiers with known light, level and noise, and a short way to preprocess them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from algorithms.preproc import Preproc, PreprocParams
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.core.keys import Unit

NY, NX, PRE, OVER, ROWS = 120, 80, 8, 32, 16
GAIN = {"A": 1.2, "B": 1.3, "C": 1.1, "D": 1.4}
NOISE = {"A": 2.6, "B": 2.9, "C": 2.4, "D": 3.1}
LEVEL = {"A": 1000.0, "B": 1010.0, "C": 990.0, "D": 1020.0}
CORNERS = {"A": "ll", "B": "lr", "C": "ul", "D": "ur"}
SHAPE = (2 * NY, 2 * NX)
RAW_SHAPE = (2 * NY + 2 * ROWS, 2 * (PRE + NX + OVER))


def amplifier(name: str, **changes: Any) -> Amplifier:
    """One of four amplifiers read from the corners: prescan, data, overscan | overscan, data, prescan; parallel overscan in the middle."""
    right, top = name in "BD", name in "CD"
    y, r = (NY + 2 * ROWS, NY + ROWS) if top else (0, NY)
    x, o, p = (PRE + NX + 2 * OVER, PRE + NX + OVER, RAW_SHAPE[1] - PRE) if right else (PRE, PRE + NX, 0)
    made = Amplifier(
        name=name,
        data=Section(y, y + NY, x, x + NX),
        ccd=Section(NY * top, NY * (1 + top), NX * right, NX * (1 + right)),
        overscan=Section(y, y + NY, o, o + OVER),
        prescan=Section(y, y + NY, p, p + PRE),
        parallel_overscan=Section(r, r + ROWS, x, x + NX),
        gain=GAIN[name],
        corner=CORNERS[name],  # type: ignore[arg-type]
        saturation=60000.0,
    )
    return replace(made, **changes)


def quadrant(name: str) -> tuple[slice, slice]:
    right, top = name in "BD", name in "CD"
    hy, hx = RAW_SHAPE[0] // 2, RAW_SHAPE[1] // 2
    return np.s_[hy * top : hy * (1 + top), hx * right : hx * (1 + right)]


def frame(light: float | np.ndarray = 0.0, seed: int = 1, amps: tuple[Amplifier, ...] | None = None, **raw: Any) -> RawImage:
    """A raw frame with `light` (expected electrons, of the trimmed image) on every amplifier."""
    rng = np.random.default_rng(seed)
    amps = amps or tuple(amplifier(n) for n in "ABCD")
    pixels = np.zeros(RAW_SHAPE)
    for amp in amps:
        where = quadrant(amp.name)
        pixels[where] = LEVEL[amp.name] + NOISE[amp.name] / GAIN[amp.name] * rng.normal(size=pixels[where].shape)
        pixels[amp.data.slices] += rng.poisson(np.broadcast_to(light, SHAPE)[amp.ccd.slices]) / GAIN[amp.name]
    return RawImage(camera="r1", pixels=np.round(pixels).clip(0, 65535).astype(np.int32), amplifiers=amps, **raw)


def exposure(exptime: float = 100.0) -> Exposure:
    return Exposure(unit=Unit(20220101, 7), instrument="test", flavor="science", exptime=exptime)


def run(raw: RawImage, *calibs: Any, exptime: float = 100.0, **params: Any) -> Image:
    """Without the search for cosmic rays, which has tests of its own."""
    found = {type(c): c for c in calibs}
    step = Preproc(PreprocParams(**{"cosmics": False, **params}))
    return step.run(raw, exposure(exptime), found.get(Bias), found.get(Dark), found.get(PixelFlat), found.get(BadPixelMask))
