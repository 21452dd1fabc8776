"""Calibrated spectra of targets of known magnitude, and what a chain would know beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import qa_spectra as made

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FluxCalib, Frame, SkyModel
from quicklook.core.keys import Unit

UNIT = "1e-17 erg/(s cm2 Angstrom)"
STAR, ELG = 1 << 33, 1 << 1


def ab(mag: np.ndarray | float, wave: np.ndarray | float) -> np.ndarray:
    """1e-17 erg/(s cm2 Angstrom) of an AB magnitude, from 3631 Jy."""
    return np.asarray(3631e-23 * 10 ** (-0.4 * np.asarray(mag)) * 2.99792458e18 / np.asarray(wave) ** 2 / 1e-17)


def calibrated(factor: float = 1.0, seed: int = 4, brightest: float = 20.0, noise: float = 0.35) -> Frame:
    """Targets of known magnitude; half ELG, the rest stars. `factor` of their light arrives."""
    rng = np.random.default_rng(seed)
    mag = rng.uniform(brightest, 23.3, made.NFIBRE)
    kind = np.where(np.arange(made.NFIBRE) % 2, ELG, STAR).astype(np.int64)
    mag[kind == STAR] = rng.uniform(16.5, 18.5, np.count_nonzero(kind == STAR))
    truth = factor * ab(mag[:, None], made.WAVE)
    variance = noise**2 + 0.05 * truth
    flux = truth + np.sqrt(variance) * rng.normal(size=variance.shape)
    nanomaggies = 10 ** (-0.4 * (mag - 22.5))
    fibermap = made.fibermap(DESI_TARGET=kind, FLUX_R=nanomaggies, FLUX_G=nanomaggies, FLUX_Z=nanomaggies)
    return made.frame(flux, 1 / variance, fibermap=replace(fibermap, objtype=("TGT",) * made.NFIBRE), unit=UNIT, stage="cframe")


def with_columns(frame: Frame, **columns: np.ndarray | None) -> Frame:
    """Other columns of the fibre map; None takes one away."""
    new = {k: v for k, v in {**frame.fibermap.columns, **columns}.items() if v is not None}
    return replace(frame, fibermap=replace(frame.fibermap, columns=new))


def exposure(seconds: float = 900.0, transparency: float | None = None, airmass: float = 1.0, seeing: float = 1.1) -> Exposure:
    """A dark science exposure."""
    return Exposure(
        unit=Unit(20220101, 102), instrument="desi", flavor="science", program="dark", exptime=seconds, airmass=airmass, seeing=seeing,
        transparency=transparency,
    )  # fmt: skip


CALIB = 0.07
"""Electrons per second of 1e-17 erg/(s cm2)."""


def fluxcal() -> FluxCalib:
    """Flat, with terms of airmass and seeing."""
    wave = np.arange(5900.0, 6300.0, 2.0)
    one = np.ones(wave.size, np.float32)
    return FluxCalib(calib=np.float32(CALIB) * one, wave=wave, aterm=np.float32(0.12) * one, sterm=np.float32(0.15) * one, pairmass=1.0, pseeing=1.1)


def sky(frame: Frame, mag: float, seconds: float = 900.0) -> SkyModel:
    """A sky without lines of that magnitude in a fibre, in every fibre; it rests on every third of them."""
    flux = np.tile(ab(mag, made.WAVE) * CALIB * seconds, (made.NFIBRE, 1)).astype(np.float32)
    return SkyModel(
        flux=flux, ivar=np.full(flux.shape, 1e6, np.float32), mask=np.zeros(flux.shape, np.uint32), wave=frame.wave.copy(),
        fibers=tuple(500 + i for i in made.SKY), leave_one_out=True,
    )  # fmt: skip
