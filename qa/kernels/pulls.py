"""Sums over the pulls (residual over error) of the sky fibres, in one pass over their spectra."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]

_BIG = 1e30


@jit
def sum_pulls(
    flux: Array, ivar: Array, mask: Array, model: Array, rows: Array, cut: Array, stretch: Array,
    square: Array, count: Array, excess: Array, light: Array, counts: Array, reach: Any, sample: Array, step: int,
) -> int:  # fmt: skip
    """Add up the pulls of the spectra `rows` [n] of flux, ivar, mask [nfibre, nwave], of which `model` was subtracted.

    `cut` [n]: a sample is on a line where its model is above; `stretch` [nwave]: which stretch of wavelengths it belongs to. To be filled, zero
    at first: square, count [2, n, nstretch] (0 between lines, 1 on lines): sum of squared pulls, each pull counted as `reach` at most, and number of
    usable samples; excess [2]: what the squares of larger pulls have beyond; light [3, n]: sums of the residual, of the model and
    of the variance between lines;
    counts [m]: histogram of the pulls over -reach ... reach; sample: every `step`-th pull. Gives how many there are in `sample`.
    """
    filled, seen = 0, 0
    scale = counts.size / (2.0 * reach)
    for i in range(rows.size):
        f = rows[i]
        for k in range(flux.shape[1]):
            value, weight, sky = flux[f, k], ivar[f, k], model[f, k]
            if not (mask[f, k] == 0 and weight > 0 and weight < _BIG and abs(value) < _BIG and abs(sky) < _BIG):
                continue
            pull = value * math.sqrt(weight)
            on = 1 if sky > cut[i] else 0
            full = pull * pull
            part = min(full, reach * reach)
            square[on, i, stretch[k]] += part
            excess[on] += full - part
            count[on, i, stretch[k]] += 1.0
            if on == 0:
                light[0, i] += value
                light[1, i] += sky
                light[2, i] += 1.0 / weight
            if pull >= -reach and pull < reach:
                counts[int((pull + reach) * scale)] += 1.0
            if seen % step == 0 and filled < sample.size:
                sample[filled] = np.float32(pull)
                filled += 1
            seen += 1
    return filled
