"""S/N and light of many spectra in blocks of wavelength, in one pass over their samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO, _ONE, _LARGEST = _F(0), _F(1), _F(1e30)
UNIT = 1e4
"""Angstrom: wavelengths are squared in this unit, so that float32 holds them."""


@jit
def blocks(flux: Array, ivar: Array, mask: Array, wave: Array, rows: Array, snr: Array, light: Array, error: Array, count: Array) -> None:
    """Of each of equal blocks of some rows [n, nblock] (float32, count int32):

    `snr`: mean S/N per sample; `light`: mean of flux times wavelength squared (flux per frequency), wavelength in `UNIT`, straight within a block;
    `error`: that of `light`; `count`: usable samples, which are not masked, of finite flux and positive weight. 0 in a block without any.
    """
    nwave, nblock = flux.shape[1], snr.shape[1]
    for i in range(rows.size):
        r = rows[i]
        for b in range(nblock):
            first = b * nwave // nblock
            last = (b + 1) * nwave // nblock
            start = _F(wave[r, first] / UNIT)
            slope = _F((wave[r, last - 1] - wave[r, first]) / (UNIT * max(last - 1 - first, 1)))
            f, w, m = flux[r, first:last], ivar[r, first:last], mask[r, first:last]
            n, sums, lights, variances = np.int32(0), _ZERO, _ZERO, _ZERO
            for j in range(last - first):
                good = (w[j] > _ZERO) & (w[j] < _LARGEST) & (m[j] == 0) & (abs(f[j]) < _LARGEST)
                weight = w[j] if good else _ONE
                value = f[j] if good else _ZERO
                at = start + slope * _F(j)
                square = at * at
                n += np.int32(1) if good else np.int32(0)
                sums += value * np.sqrt(weight)
                lights += value * square
                variances += square * square / weight if good else _ZERO
            scale = _ONE / _F(n if n > 0 else 1)
            snr[i, b], light[i, b], error[i, b], count[i, b] = sums * scale, lights * scale, np.sqrt(variances) * scale, n
