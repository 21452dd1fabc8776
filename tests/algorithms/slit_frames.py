"""A long slit of known content: 24 curved apertures of 4.5 pixels, sky with lines, an object or two, noise."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.spectra import TraceSet
from quicklook.core.keys import Unit

NY, NX, NAPERTURE, WIDTH, FIRST = 400, 128, 24, 4.5, 8.3
WAVEMIN, WAVEMAX = 3990.0, 4410.0
NOISE = 3.0
"""Read noise, electron."""


def centre_of(aperture: float, row: np.ndarray | float) -> np.ndarray:
    """x of the middle of an aperture (whole number) at rows: the slit is tilted by 2 pixels over the detector."""
    return np.asarray(FIRST + WIDTH * (aperture + 0.5) - 0.5 + 2.0 * np.asarray(row) / NY)


def wave_of(row: np.ndarray | float, aperture: float) -> np.ndarray:
    """Angstrom: one a row, and a curved slit."""
    return np.asarray(4000.0 + np.asarray(row) + 0.02 * (aperture - 11.5) ** 2 / 11.5)


def traces() -> TraceSet:
    """The trace set of these apertures; all series are exact."""
    t = np.linspace(-1.0, 1.0, 200)
    wave = 0.5 * (t + 1) * (WAVEMAX - WAVEMIN) + WAVEMIN
    rows = np.stack([np.asarray(wave - 4000.0 - 0.02 * (a - 11.5) ** 2 / 11.5, np.float64) for a in range(NAPERTURE)])
    x = np.stack([centre_of(a, r) for a, r in enumerate(rows)])
    return TraceSet(
        x=np.array(np.polynomial.legendre.legfit(t, x.T, 2).T, np.float64),
        y=np.array(np.polynomial.legendre.legfit(t, rows.T, 2).T, np.float64),
        wavemin=WAVEMIN,
        wavemax=WAVEMAX,
        npix_x=NX,
        npix_y=NY,
        fiber=np.arange(NAPERTURE, dtype=np.int32),
    )


def fibermap() -> FiberMap:
    """As the reader makes it for a slit."""
    return FiberMap(fiber=np.arange(NAPERTURE, dtype=np.int32), objtype=("TGT",) * NAPERTURE, source="apertures of the slit")


def sky_of(wave: np.ndarray) -> np.ndarray:
    """Sky in a pixel, electron: a continuum and two lines."""
    lines = 400.0 * np.exp(-0.5 * ((wave - 4120.0) / 1.6) ** 2) + 250.0 * np.exp(-0.5 * ((wave - 4300.5) / 1.6) ** 2)
    return np.asarray(40.0 + 0.02 * (wave - 4200.0) + lines)


def object_of(wave: np.ndarray) -> np.ndarray:
    """Light of the first object over the whole slit, electron in a row."""
    return np.asarray(900.0 + 1.0 * (wave - 4200.0))


def image(
    *, objects: tuple[tuple[float, float], ...] = ((11.7, 1.0),), sigma: float = 2.4, noise: bool = True, seed: int = 4, bad: tuple[int, ...] = ()
) -> Image:
    """Objects as (place in apertures, light relative to `object_of`); `bad`: rows with two pixels hit by a cosmic ray near the first object."""
    y, x = np.mgrid[0:NY, 0:NX].astype(np.float64)
    place = (x - 2.0 * y / NY + 0.5 - FIRST) / WIDTH - 0.5
    wave = wave_of(y, place)
    low, high = FIRST + 2.0 * y / NY, FIRST + WIDTH * NAPERTURE + 2.0 * y / NY
    inside = np.clip(np.minimum(high, x + 0.5 + 0.5) - np.maximum(low, x - 0.5 + 0.5), 0.0, 1.0)
    expected = sky_of(wave) * inside
    for where, light in objects:
        expected += light * object_of(wave) * np.exp(-0.5 * ((place - where) * WIDTH / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
    variance = expected + NOISE**2
    rng = np.random.default_rng(seed)
    pixels = expected + (np.sqrt(variance) * rng.normal(size=expected.shape) if noise else 0.0)
    mask, ivar = np.zeros((NY, NX), np.uint16), 1.0 / variance
    for row in bad:
        k = int(centre_of(objects[0][0], row))
        pixels[row, k : k + 2] += 5000.0
        mask[row, k : k + 2] = PixelMask.COSMIC
        ivar[row, k : k + 2] = 0.0
    whole = Section(0, NY, 0, NX)
    amp = Amplifier(name="A", data=whole, ccd=whole, gain=1.0)
    return Image(
        camera="blue", pixels=pixels.astype(np.float32), ivar=ivar.astype(np.float32), mask=mask, amplifiers=(amp,), read_noise={"A": NOISE},
        noise_variance={"A": NOISE**2},
    )  # fmt: skip


def exposure(**changes: object) -> Exposure:
    """A science exposure of 100 s at airmass 1.3."""
    values = {"unit": Unit(20150519, 24), "instrument": "slit", "flavor": "science", "exptime": 100.0, "airmass": 1.3, "object": "Star"}
    return Exposure(**{**values, **changes})  # type: ignore[arg-type]
