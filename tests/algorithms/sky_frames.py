"""Spectra of a small instrument with known truth: 40 fibres on shifted wavelengths, each with its own resolution, looking at sky and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import FiberFlat, FluxCalib, Frame
from quicklook.core.keys import Unit

NFIBRE, NWAVE, PIXEL = 40, 600, 0.53
SKY = tuple(range(0, NFIBRE, 2))
"""Rows of the sky fibres."""
LINES = np.array([6020.3, 6044.8, 6047.9, 6101.2, 6160.0, 6199.1, 6230.7, 6275.5])
LIGHT = np.array([400.0, 3000.0, 1500.0, 8000.0, 900.0, 5000.0, 200.0, 2500.0])
"""Sky lines: vacuum wavelength (Angstrom) and electrons."""
NOISE2 = 53.0
"""Variance of the read noise of an extracted sample, electron^2."""
FIRST_FIBRE = 1000


@dataclass(frozen=True)
class Truth:
    """What is behind a frame: sky and target [nfibre, nwave], electron/Angstrom, noiseless and not flat-fielded, and the fibre flat."""

    sky: np.ndarray
    target: np.ndarray
    flat: np.ndarray


def grid(seed: int = 1, sigma_scatter: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths [nfibre, nwave] and sigma of the line-spread function, Angstrom."""
    rng = np.random.default_rng(seed)
    wave = 6000.0 + rng.uniform(-10, 10, (NFIBRE, 1)) * PIXEL + PIXEL * np.arange(NWAVE) * (1 + 1e-5 * np.arange(NWAVE))
    sigma = 0.6 * (1 + sigma_scatter * rng.uniform(-1, 1, (NFIBRE, 1))) * (1 + 0.05 * np.linspace(-1, 1, NWAVE))
    return wave, np.broadcast_to(sigma, wave.shape).astype(np.float32)


def edges(wave: np.ndarray) -> np.ndarray:
    """Ends of the samples [nfibre, nwave + 1]."""
    middle = 0.5 * (wave[:, 1:] + wave[:, :-1])
    return np.concatenate([2 * wave[:, :1] - middle[:, :1], middle, 2 * wave[:, -1:] - middle[:, -1:]], axis=1)


def sky_density(wave: np.ndarray, sigma: np.ndarray, continuum: float = 140.0) -> np.ndarray:
    """Electron/Angstrom of the sky as fibres see it: a sloping continuum, and lines integrated over the samples."""
    e = edges(wave)
    out = continuum * (1 + 0.1 * np.sin((wave - 6000) / 60.0))
    for centre, light in zip(LINES, LIGHT, strict=True):
        cumulative = 0.5 * erf((e - centre) / (np.sqrt(2) * np.concatenate([sigma[:, :1], sigma], axis=1)))
        out = out + light * np.diff(cumulative, axis=1) / np.diff(e, axis=1)
    return out


def fibermap(sky: tuple[int, ...] = SKY, **columns: np.ndarray) -> FiberMap:
    """Sky fibres in the rows `sky`, targets elsewhere, spread over the focal plane."""
    rng = np.random.default_rng(9)
    made = {"FIBERASSIGN_X": rng.uniform(-300, 300, NFIBRE), "FIBERASSIGN_Y": rng.uniform(-300, 300, NFIBRE), **columns}
    types = tuple("SKY" if i in sky else "TGT" for i in range(NFIBRE))
    return FiberMap(fiber=np.arange(FIRST_FIBRE, FIRST_FIBRE + NFIBRE, dtype=np.int32), objtype=types, columns=made, source="made")


def frame(
    seed: int = 2, *, noise: bool = True, flat: np.ndarray | None = None, target: np.ndarray | None = None, level: np.ndarray | float = 1.0
) -> tuple[Frame, Truth]:
    """A frame as extraction makes it, and its truth. `target` [nfibre, nwave] electron/Angstrom; `level`: factor of the sky in each fibre [nfibre, 1]."""
    wave, sigma = grid()
    flat = np.ones(wave.shape) if flat is None else flat
    sky = level * sky_density(wave, sigma) * flat
    target = np.zeros(wave.shape) if target is None else target * flat
    width = np.diff(edges(wave), axis=1)
    variance = (sky + target) * width + NOISE2
    rng = np.random.default_rng(seed)
    electrons = (sky + target) * width + (np.sqrt(variance) * rng.normal(size=wave.shape) if noise else 0.0)
    made = Frame(
        camera="r0",
        flux=(electrons / width).astype(np.float32),
        ivar=(width**2 / variance).astype(np.float32),
        mask=np.zeros(wave.shape, np.uint32),
        wave=wave,
        sigma=sigma.copy(),
        fibermap=fibermap(),
    )
    return made, Truth(sky=sky, target=target, flat=flat)


def changed(of: Frame, **arrays: np.ndarray) -> Frame:
    """The frame with other arrays."""
    return replace(of, **arrays)


def fiberflat(step: float = 0.8, seed: int = 3) -> FiberFlat:
    """A smooth fibre flat without noise."""
    rng = np.random.default_rng(seed)
    wave = np.arange(5980.0, 6340.0, step)
    x = np.linspace(-1, 1, wave.size)
    flat = 1 + 0.05 * rng.normal(size=(NFIBRE, 1)) + 0.02 * rng.normal(size=(NFIBRE, 1)) * x
    shape = flat.shape
    return FiberFlat(
        flat=flat.astype(np.float32),
        ivar=np.full(shape, 1e6, np.float32),
        mask=np.zeros(shape, np.uint32),
        wave=wave,
        meanspec=np.ones(wave.size, np.float32),
        fiber=np.arange(FIRST_FIBRE, FIRST_FIBRE + NFIBRE, dtype=np.int32),
    )


def fluxcalib(**changes: object) -> FluxCalib:
    """An average flux calibration with terms of airmass and seeing."""
    wave = np.arange(5980.0, 6340.0, 0.8)
    one = np.ones(wave.size, np.float32)
    values = {"calib": (0.07 * (1 + 0.1 * np.linspace(-1, 1, wave.size))).astype(np.float32), "wave": wave, "aterm": 0.12 * one, "sterm": 0.15 * one}
    return FluxCalib(**{**values, "pairmass": 1.0, "pseeing": 1.1, **changes})  # type: ignore[arg-type]


def exposure(**changes: object) -> Exposure:
    """A science exposure of 900 s."""
    values = {"unit": Unit(20220101, 7), "instrument": "desi", "flavor": "science", "exptime": 900.0, "airmass": 1.15, "seeing": 1.25}
    return Exposure(**{**values, **changes})  # type: ignore[arg-type]


def pulls(flux: np.ndarray, truth: np.ndarray | float, ivar: np.ndarray) -> np.ndarray:
    """(flux - truth) / error of the samples that have an error."""
    good = ivar > 0
    return np.asarray(((flux.astype(np.float64) - truth) * np.sqrt(ivar))[good])
