"""Spectra of several exposures added up, and the light of the sky, for the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from spectra_factories import frame

from quicklook.ccd.coadd import Coadd, SkyLevels, block_snr
from quicklook.core.product import Product

WINDOWS = np.array([6000.0, 6500.0, 7000.0])


def sky_levels(case: Any, number: int) -> SkyLevels:
    """The last window has none."""
    return SkyLevels(wave=WINDOWS.copy(), rate=np.array([0.1, 0.2 + 0.01 * number, np.nan]))


def coadd(case: Any, number: int) -> Coadd:
    """Of two exposures, the second as good as the first."""
    one = frame(case, number)
    ivar = np.asarray(2.0 * one.ivar, np.float32)
    single, n = block_snr(one.flux, one.ivar), len(one.flux)
    return Coadd(
        camera=one.camera, flux=one.flux, ivar=ivar, mask=one.mask, wave=one.wave, fibermap=one.fibermap, unit=one.unit,
        night=np.array([20220101, 20220101]), expid=np.array([100, 101]), exptime=np.array([900.0, 900.0]), hours=np.array([0.0, 0.3]),
        used=np.full(n, 2, np.int32), chi2=np.ones(n, np.float32), snr_single=np.stack([single, single]),
        snr_after=np.stack([single, block_snr(one.flux, ivar)]), sky_wave=WINDOWS.copy(), sky=np.array([[0.1, 0.2, np.nan]] * 2),
    )  # fmt: skip


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {Coadd: coadd, SkyLevels: sky_levels}
