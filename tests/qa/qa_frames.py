"""Small synthetic frames whose truth is known, for the tests of the QAs of frames."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

import qa
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.core.keys import Unit
from quicklook.core.metrics import MetricDef
from quicklook.core.plugin import MonitoringAlg


def all_metrics() -> dict[str, MetricDef]:
    """Every metric that a QA of this project declares: limits files name those of spectra too."""
    modules = [importlib.import_module(f"qa.{m.name}") for m in pkgutil.iter_modules(qa.__path__) if not m.ispkg]
    classes = [c for m in modules for c in vars(m).values() if isinstance(c, type) and issubclass(c, MonitoringAlg)]
    return {metric.name: metric for c in classes for metric in getattr(c, "metrics", ())}


NAMES = "ABCD"
NY, NX, OVER, PRE = 256, 128, 32, 4
"""Rows, columns, overscan and prescan columns of each of the four amplifiers."""


def exposure(flavor: str = "zero", exptime: float = 0.0) -> Exposure:
    """An exposure of that flavor."""
    return Exposure(unit=Unit(20220101, 7), instrument="test", flavor=flavor, exptime=exptime)


def amplifier(index: int, *, ny: int = NY, nx: int = NX, over: int = OVER, pre: int = PRE, **changes: object) -> Amplifier:
    """Amplifier A, B (below), C or D (above); B and D are read from the right: their overscan lies left of their data."""
    right, upper = index % 2, index // 2
    half = pre + nx + over
    y = (upper * ny, (upper + 1) * ny)
    x = [half + over, half + over + nx, half, half + over, half + over + nx, 2 * half] if right else [pre, pre + nx, pre + nx, half, 0, pre]
    values: dict[str, object] = {
        "name": NAMES[index],
        "data": Section(*y, x[0], x[1]),
        "ccd": Section(*y, right * nx, (right + 1) * nx),
        "overscan": Section(*y, x[2], x[3]) if over else None,
        "prescan": Section(*y, x[4], x[5]) if pre else None,
        "gain": 1.25,
        "read_noise": 2.5,
        "corner": ("ll", "lr", "ul", "ur")[index],
    }
    return Amplifier(**{**values, **changes})  # type: ignore[arg-type]


def pixels(
    sigma: float = 2.0,
    *,
    seed: int = 1,
    level: float = 1000.0,
    ny: int = NY,
    nx: int = NX,
    over: int = OVER,
    pre: int = PRE,
    dtype: npt.DTypeLike = np.uint16,
) -> npt.NDArray[np.generic]:
    """Raw values of four amplifiers: `level` plus Gaussian noise (ADU), rounded where the type is of integers."""
    rng = np.random.default_rng(seed)
    values = rng.normal(level, sigma, (2 * ny, 2 * (pre + nx + over)))
    integer = np.dtype(dtype).kind in "iu"
    return np.rint(values).astype(dtype) if integer else values.astype(dtype)


def raw_image(values: npt.NDArray[np.generic], amps: tuple[Amplifier, ...] | None = None, **sizes: int) -> RawImage:
    """A raw image of four amplifiers with those pixels."""
    return RawImage(camera="r0", pixels=values.copy(), amplifiers=amps or tuple(amplifier(i, **sizes) for i in range(4)))


def image(values: npt.NDArray[np.float32], mask: npt.NDArray[np.uint16] | None = None, noise: Mapping[str, float] | None = None) -> Image:
    """A preprocessed image of four equal amplifiers."""
    ny, nx = values.shape[0] // 2, values.shape[1] // 2
    amps = tuple(amplifier(i, ny=ny, nx=nx) for i in range(4))
    bits = np.zeros(values.shape, np.uint16) if mask is None else mask
    ivar = np.where(bits == 0, 1.0 / 6.25, 0.0).astype(np.float32)
    return Image(camera="r0", pixels=values, ivar=ivar, mask=bits, amplifiers=amps, read_noise=noise or dict.fromkeys(NAMES, 2.5))
