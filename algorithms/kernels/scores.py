"""Sums over the samples of each fibre."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]


@jit
def moments(flux: Array, ivar: Array, mask: Array, total: Array, mean: Array, median: Array) -> None:
    """Sum, mean and median of the usable flux of each fibre [nfibre], float64; NaN where there is none."""
    buffer = np.empty(flux.shape[1], np.float32)
    for i in range(flux.shape[0]):
        n, s = 0, 0.0
        for j in range(flux.shape[1]):
            if ivar[i, j] > 0 and mask[i, j] == 0:
                buffer[n] = flux[i, j]
                s += flux[i, j]
                n += 1
        total[i] = s if n > 0 else np.nan
        mean[i] = s / n if n > 0 else np.nan
        median[i] = np.median(buffer[:n]) if n > 0 else np.nan


@jit
def template_snr2(ivar: Array, mask: Array, wave: Array, first: float, step: float, template: Array, out: Array) -> None:
    """Sum of template (on equal steps) times ivar of each fibre [nfibre]; NaN where no sample is usable."""
    m = template.size
    for i in range(ivar.shape[0]):
        s, n = 0.0, 0
        for j in range(ivar.shape[1]):
            u = (wave[i, j] - first) / step
            if ivar[i, j] > 0 and mask[i, j] == 0 and u >= 0 and u < m - 1:
                k = int(u)
                x = u - k
                s += ivar[i, j] * ((1 - x) * template[k] + x * template[k + 1])
                n += 1
        out[i] = s if n > 0 else np.nan
