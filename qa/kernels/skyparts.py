"""How much of the sky model is in each spectrum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_LARGEST, _SMALLEST = 1e30, 1e-30
_DOUBT = 0.5
WINDOW = 21
"""Samples of a stretch of the spectrum in which the sky is looked for on a straight continuum."""


def telling(sky: Array, ivar: Array, most: int) -> Array:
    """Where a sky spectrum [nwave] has most structure for its noise: first samples of at most `most` stretches of `WINDOW` samples, in order.

    The information on a scale of the sky, on a free level, is the sum of ivar (sky - mean)^2.
    """
    n = sky.size // WINDOW
    good = (ivar > _SMALLEST) & (ivar < _LARGEST) & (np.abs(sky) < _LARGEST)
    s, w = (np.where(good, v, 0.0)[: n * WINDOW].reshape(n, WINDOW).astype(np.float64) for v in (sky, ivar))
    total = w.sum(axis=1)
    mean = np.divide((w * s).sum(axis=1), total, out=np.zeros(n), where=total > 0)
    told = (w * (s - mean[:, None]) ** 2).sum(axis=1)
    best = np.argsort(-told, kind="stable")[:most]
    return np.sort(best[told[best] > 0]) * WINDOW


@jit
def _highest(values: Array, weight: Array) -> tuple[float, float]:
    """The highest of the weighted means that leave one value out, and its error; NaN of less than two values."""
    best, error = math.nan, math.nan
    for out in range(values.size if values.size > 1 else 0):
        top = bottom = square = 0.0
        for i in range(values.size):
            w = weight[i] if i != out else 0.0
            top += w * values[i]
            bottom += w
            square += w * values[i] * values[i]
        if not top / bottom <= best:
            spread = max(square - top * top / bottom, 0.0) / (values.size - 2) if values.size > 2 else 1.0
            best, error = top / bottom, math.sqrt(max(spread, 1.0) / bottom)
    return best, error


@jit
def _whole(flux: Array, ivar: Array, mask: Array, sky: Array, f: Any, chunk: Any, every: Any, whole: Array) -> None:
    light, model, var, used = 0.0, 0.0, 0.0, 0
    for a in range(0, flux.shape[1], every):
        for j in range(a, min(a + chunk, flux.shape[1])):
            if mask[f, j] == 0 and ivar[f, j] > _SMALLEST and abs(flux[f, j]) < _LARGEST:
                light += flux[f, j]
                model += sky[f, j]
                var += 1.0 / ivar[f, j]
                used += 1
    whole[f, 0] = light / used if used > 0 else math.nan
    whole[f, 1] = model / used if used > 0 else math.nan
    whole[f, 2] = math.sqrt(var) / used if used > 0 else math.nan


@jit
def whole_light(flux: Array, ivar: Array, mask: Array, sky: Array, chunk: Any, every: Any, whole: Array) -> None:
    """Into `whole` [nfibre, 3]: mean flux, mean sky, and error of the mean flux, in the first `chunk` of every `every` samples; NaN: none usable."""
    for f in range(flux.shape[0]):
        _whole(flux, ivar, mask, sky, f, chunk, every, whole)


@jit
def _first_sample(wave: Array, row: Any, k: Any, f: Any) -> Any:
    """The sample of fibre `f` at the wavelength of sample `k` of fibre `row`, by the dispersion there."""
    last = wave.shape[1] - 1
    dispersion = (wave[f, min(k + WINDOW, last)] - wave[f, k]) / max(min(WINDOW, last - k), 1)
    return max(k + round((wave[row, k] - wave[f, k]) / dispersion), 0) if dispersion != 0.0 else k


@jit
def _scale(flux: Array, ivar: Array, mask: Array, sky: Array, sky_ivar: Array, f: Any, a: Any) -> tuple[float, float, float]:
    """Of the stretch from sample `a` on: the factor r of a fit r sky + level + slope; its weight, the sum of ivar (sky less level and slope)^2; and
    the part of that weight that noise of the sky has. The weight is 0 where nothing can be fitted.
    """
    n = st = stt = ss = sts = sss = sf = stf = ssf = own = 0.0
    for j in range(a, min(a + WINDOW, flux.shape[1])):
        w = float(ivar[f, j])
        if mask[f, j] == 0 and w > _SMALLEST and w < _LARGEST and abs(flux[f, j]) < _LARGEST:
            t, s, v = j - a - 0.5 * (WINDOW - 1), float(sky[f, j]), float(flux[f, j])
            n += w
            st += w * t
            stt += w * t * t
            ss += w * s
            sts += w * t * s
            sss += w * s * s
            sf += w * v
            stf += w * t * v
            ssf += w * s * v
            if sky_ivar[f, j] > _SMALLEST:
                own += w / float(sky_ivar[f, j])
    if not n > 0.0:
        return math.nan, 0.0, 0.0
    stt, sts, stf = stt - st * st / n, sts - st * ss / n, stf - st * sf / n
    sss, ssf = sss - ss * ss / n, ssf - ss * sf / n
    if stt > 0.0:
        sss, ssf = sss - sts * sts / stt, ssf - sts * stf / stt
    if not sss > 0.0:
        return math.nan, 0.0, 0.0
    return ssf / sss, sss, own * (1.0 - 2.0 / WINDOW)


@jit
def sky_parts(
    flux: Array,
    ivar: Array,
    mask: Array,
    wave: Array,
    sky: Array,
    sky_ivar: Array,
    start: Array,
    row: Any,
    chunk: Any,
    every: Any,
    whole: Array,
    lines: Array,
) -> None:
    """How much light of each fibre is sky, by all of its light (`whole`) and by the structure of the sky (`lines`). NaN: no usable sample.

    `whole` [nfibre, 3]: as `whole_light`.

    `lines` [nfibre, 2] is flux over sky and its error: the weighted mean over stretches of `WINDOW` samples, begun at the wavelengths of the samples
    `start` [n] of fibre `row`, of the factor r of a fit r sky + level + slope, by least squares with ivar as weights; its error is made larger where
    the stretches disagree by more than their noise. It is the highest of the means that leave one stretch out: a line of the target in one of them
    makes no fibre faint. Noise of the sky makes r too low by the part that it has in the structure (regression dilution: Fuller 1987, Measurement
    Error Models, section 1.1): mean and error are divided by what is left of it, 1 - sum(ivar / sky_ivar) (1 - 2 / WINDOW) / sum(ivar sky^2), the
    sky there less its level and slope; a `sky_ivar` of 0 says that its noise is not known, and counts as none. NaN where less than half is left. Half
    of what is not left is in the error, in quadrature: stretches that were chosen for their structure have more noise than others.
    """
    found, weight = np.empty(start.size), np.empty(start.size)
    for f in range(flux.shape[0]):
        _whole(flux, ivar, mask, sky, f, chunk, every, whole)
        structure, noise = 0.0, 0.0
        count = 0
        for i in range(start.size):
            factor, own_weight, own_noise = _scale(flux, ivar, mask, sky, sky_ivar, f, _first_sample(wave, row, start[i], f))
            if own_weight > 0.0:
                found[count], weight[count] = factor, own_weight
                count += 1
                structure += own_weight
                noise += own_noise
        mean, error = _highest(found[:count], weight[:count])
        left = 1.0 - noise / structure if structure > 0.0 else 0.0
        lines[f, 0] = mean / left if left > 0.5 else math.nan
        lines[f, 1] = math.hypot(error, _DOUBT * (1.0 - left)) / left if left > 0.5 else math.nan
