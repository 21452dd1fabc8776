"""One small good calibration of every kind, for the tests of their files and of the index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import spectra_made as made

from quicklook.ccd.arrays import Float64
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PhotonTransfer, PixelFlat, ReferenceArc, ReferenceFlat
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.ccd.spectra import FluxCalib, TraceSet
from quicklook.core.product import Calibration

SHAPE = (110, 60)
RAW_SHAPE = (116, 90)
FIBRE = np.arange(made.NFIBRE, dtype=np.int32)
WAVE: Float64 = np.asarray(9000.0 + 0.8 * np.arange(made.NWAVE), np.float64)


def bias(shape: tuple[int, int] = RAW_SHAPE) -> Bias:
    rng = np.random.default_rng(1)
    variance = rng.uniform(0.1, 0.3, shape).astype(np.float32)
    variance[3, 4] = np.nan
    return Bias(pixels=rng.normal(0.0, 1.0, shape).astype(np.float32), variance=variance)


def dark(shape: tuple[int, int] = SHAPE) -> Dark:
    return Dark(pixels=np.random.default_rng(2).normal(0.001, 0.0002, shape).astype(np.float32))


def pixflat(shape: tuple[int, int] = SHAPE) -> PixelFlat:
    return PixelFlat(pixels=np.random.default_rng(3).normal(1.0, 0.01, shape).astype(np.float32))


def mask(shape: tuple[int, int] = SHAPE) -> BadPixelMask:
    pixels = np.zeros(shape, np.uint16)
    pixels[5], pixels[7, 8] = 1, 2 | 16
    return BadPixelMask(pixels=pixels)


def fluxcal() -> FluxCalib:
    one = np.ones(made.NWAVE, np.float32)
    return FluxCalib(calib=(0.05 + 1e-4 * np.arange(made.NWAVE)).astype(np.float32), wave=WAVE.copy(), aterm=0.1 * one, sterm=0.2 * one, pairmass=1.1, pseeing=1.2)


def fluxcal_per_fibre() -> FluxCalib:
    calib = np.full((made.NFIBRE, made.NWAVE), 30.0, np.float32)
    return FluxCalib(calib=calib, wave=WAVE.copy(), fiber=FIBRE + 500, times_exptime=True)


def pixeltraces() -> PixelTraces:
    x = np.zeros((made.NFIBRE, 3))
    x[:, 0], x[:, 1] = 8.0 + 8.0 * np.arange(made.NFIBRE), 0.5
    lit = np.ones(made.NFIBRE, np.bool_)
    lit[2] = False
    return PixelTraces(x=x, xsig=np.full((made.NFIBRE, 2), 1.1), npix_x=60, npix_y=110, fiber=FIBRE.copy(), lit=lit)


def ptc() -> PhotonTransfer:
    level = np.geomspace(100.0, 40000.0, 9) * np.ones((2, 1))
    return PhotonTransfer(
        amp=("A", "B"),
        gain=np.array([1.2, 1.3]),
        gain_error=np.array([0.01, 0.02]),
        read_noise=np.array([3.4, np.nan]),
        read_noise_error=np.array([0.1, np.nan]),
        full_well=np.array([9e4, 1e5]),
        linearity=np.array([0.004, 0.006]),
        level=level,
        variance=level / 1.2 + 8.0,
    )


def refarc() -> ReferenceArc:
    shape = (made.NFIBRE, 3)
    area = np.full(shape, 900.0)
    area[1, 2] = np.nan
    return ReferenceArc(wave=np.array([5854.1, 6404.0, 7034.4]), fiber=FIBRE.copy(), area=area, sigma=np.full(shape, 0.65))


def refflat() -> ReferenceFlat:
    return ReferenceFlat(fiber=FIBRE.copy(), level=np.linspace(90.0, 110.0, made.NFIBRE))


def psf() -> TraceSet:
    return replace(made.traces(), fiber=FIBRE.copy(), wavemin=8543.0, wavemax=10826.0)


MAKERS: dict[str, Callable[[], Calibration]] = {
    "bias": bias, "dark": dark, "pixflat": pixflat, "mask": mask, "psf": psf, "pixeltraces": pixeltraces, "fiberflat": made.fiberflat,
    "fluxcal": fluxcal, "sky": made.sky, "ptc": ptc, "refarc": refarc, "refflat": refflat,
}  # fmt: skip
