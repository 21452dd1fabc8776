"""Extracted spectra with known faults, for the QAs of spectra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.spectra import Frame, SkyModel

NFIBRE, NWAVE = 60, 400
SKY = tuple(range(0, NFIBRE, 3))
WAVE = 6000 + 0.5 * np.arange(NWAVE)
SIGMA = 15.0
LEVEL = 140.0


def fibermap(**columns: np.ndarray) -> FiberMap:
    """Every third fibre looks at the sky; numbers from 500 on."""
    rng = np.random.default_rng(1)
    places = {"FIBERASSIGN_X": rng.uniform(-300, 300, NFIBRE), "FIBERASSIGN_Y": rng.uniform(-300, 300, NFIBRE)}
    types = tuple("SKY" if i in SKY else "TGT" for i in range(NFIBRE))
    return FiberMap(fiber=np.arange(500, 500 + NFIBRE, dtype=np.int32), objtype=types, columns={**places, **columns}, source="made")


def sky_spectrum() -> np.ndarray:
    """Continuum with one bright line."""
    return LEVEL + 2000 * np.exp(-0.5 * ((WAVE - 6100) / 0.7) ** 2)


def frame(flux: np.ndarray, ivar: np.ndarray | None = None, **changes: object) -> Frame:
    """A frame of those spectra, errors of 15 electron/Angstrom."""
    weights = np.full(flux.shape, 1 / SIGMA**2) if ivar is None else ivar
    return Frame(
        **{  # type: ignore[arg-type]
            "camera": "r0",
            "flux": flux.astype(np.float32),
            "ivar": weights.astype(np.float32),
            "mask": np.zeros(flux.shape, np.uint32),
            "wave": np.tile(WAVE, (NFIBRE, 1)),
            "sigma": np.full(flux.shape, 0.6, np.float32),
            "fibermap": fibermap(),
            **changes,
        }
    )


def extracted(seed: int = 2) -> Frame:
    """Every fibre sees the sky."""
    return frame(sky_spectrum() + np.random.default_rng(seed).normal(0, SIGMA, (NFIBRE, NWAVE)))


def subtracted(seed: int = 2, scale: float = 1.0, line: float = 0.0) -> tuple[Frame, SkyModel]:
    """Sky-subtracted frame with noise of `scale` times its errors and a relative error `line` of the sky line, and its sky model."""
    noise = scale * np.random.default_rng(seed).normal(0, SIGMA, (NFIBRE, NWAVE))
    sky = np.tile(sky_spectrum(), (NFIBRE, 1)).astype(np.float32)
    made = SkyModel(
        flux=sky,
        ivar=np.full(sky.shape, 1e-1, np.float32),
        mask=np.zeros(sky.shape, np.uint32),
        wave=np.tile(WAVE, (NFIBRE, 1)),
        fibers=tuple(500 + i for i in SKY),
        leave_one_out=True,
    )
    residual = noise + line * (sky_spectrum() - LEVEL) * np.random.default_rng(3).normal(size=(NFIBRE, 1))
    return replace(frame(residual), stage="sframe"), made
