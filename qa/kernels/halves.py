"""Sums of residual, sky and variance over two parts of spectra, in one pass over them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]

_BIG = 1e30


@jit
def sum_halves(flux: Array, ivar: Array, mask: Array, model: Array, rows: Array, edge: Array, reach: Any, out: Array) -> None:
    """Add up the spectra `rows` [n] of flux, ivar, mask [nfibre, nwave], of which `model` was subtracted, below and from sample `edge` [n] on.

    To be filled, zero at first: out [n, 2, 4]: sums of the residual, of the model and of the variance, and the number of samples. Left out are
    samples that are masked or no numbers, and those that lie more than `reach` errors off (a cosmic ray that was not found).
    """
    for i in range(rows.size):
        f = rows[i]
        for k in range(flux.shape[1]):
            value, weight, sky = flux[f, k], ivar[f, k], model[f, k]
            if not (mask[f, k] == 0 and weight > 0 and weight < _BIG and abs(value) < _BIG and abs(sky) < _BIG):
                continue
            if abs(value) * math.sqrt(weight) > reach:
                continue
            half = 0 if k < edge[i] else 1
            out[i, half, 0] += value
            out[i, half, 1] += sky
            out[i, half, 2] += np.float32(1.0) / weight
            out[i, half, 3] += 1.0
