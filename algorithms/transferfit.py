"""The photon transfer curve of an amplifier, and the lines that are fitted to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_FEW = 200
_CLEAR = 5.0
"""Levels below so many times the noise without light hold pixels that noise has sorted among them; zeros say what the noise is."""
_FALLEN = 0.8
"""Where the variance is below this part of the line, and stays so, pixels are full."""


def clip_factor(clip: float) -> float:
    """Variance of a unit Gaussian that is cut at +-clip (Barr & Sherrill 1999, Am. Stat. 53, 357)."""
    density = math.exp(-0.5 * clip * clip) / math.sqrt(2 * math.pi)
    return 1.0 - 2.0 * clip * density / math.erf(clip / math.sqrt(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Variance of a single exposure (ADU^2) and its error against level (ADU), [nbin], NaN where there are few pixels; and that of zeros."""

    level: Array
    variance: Array
    error: Array
    zero: float
    zero_error: float

    @classmethod
    def of(cls, flats: Array, zeros: Array, clip: float, shared: float) -> Curve:
        """From sums (see `photontransfer.pair_sums`), clipped at `clip` sigma; `shared`: factor on the variance of means."""
        level, variance, error = _means(flats, clip, shared)
        _, zero, zero_error = _means(zeros, clip, shared)
        return cls(level=level, variance=variance, error=error, zero=float(zero[0]), zero_error=float(zero_error[0]))

    def read_noise(self, rounding: float) -> tuple[float, float]:
        """Scatter of zeros without rounding, and its error, ADU; NaN without zeros."""
        scatter = math.sqrt(max(self.zero - rounding, 0.0)) if math.isfinite(self.zero) else math.nan
        return scatter, 0.5 * self.zero_error / scatter if scatter > 0 else math.nan


def _means(sums: Array, clip: float, shared: float) -> tuple[Array, Array, Array]:
    n = sums[0]
    some = n >= _FEW
    count = np.where(some, n, 1.0)
    variance = (sums[4] / count - (sums[3] / count) ** 2) / clip_factor(clip)
    level = sums[1] / count
    return tuple(np.where(some, v, np.nan) for v in (level, variance, variance * np.sqrt(2.0 * shared / count)))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveFit:
    """Gain electron/ADU and its error; `full_well` ADU, NaN where no pixel is full. All NaN where there is no line."""

    gain: float
    gain_error: float
    full_well: float


def fit_curve(curve: Curve, *, curved: bool, highest: float, saturated: bool) -> CurveFit:
    """Fit variance = noise + level / gain (1 + c level), c = 0 unless `curved`.

    Levels from where the variance falls off the line are left out, and those above `highest` of the rest; `saturated`: whether saturated
    pixels were seen, without which the highest level says nothing of the full well.
    """
    known = np.isfinite(curve.variance)
    if known.sum() < 2:
        return CurveFit(gain=math.nan, gain_error=math.nan, full_well=math.nan)
    level, variance, error = (a[known] for a in (curve.level, curve.variance, curve.error))
    order = np.argsort(level)
    level, variance, error = level[order], variance[order], error[order]
    last = _before_the_fall(level, variance, curve.zero if math.isfinite(curve.zero) else 0.0)
    fallen = last < len(level)
    top = level[last - 1]
    use = (level <= (highest if fallen or saturated else 1.0) * top) & (variance > 0)  # full pixels have none
    if math.isfinite(curve.zero):
        use &= level > _CLEAR * math.sqrt(max(curve.zero, 0.0))
        level, variance, error = (np.append(a, v) for a, v in ((level, 0.0), (variance, curve.zero), (error, curve.zero_error)))
        use = np.append(use, True)
    if use.sum() < 2:
        return CurveFit(gain=math.nan, gain_error=math.nan, full_well=math.nan)
    gain, gain_error = _line(level[use], variance[use], error[use], curved)
    return CurveFit(gain=gain, gain_error=gain_error, full_well=float(top) if fallen or saturated else math.nan)


def _line(level: Array, variance: Array, error: Array, curved: bool, refine: int = 2) -> tuple[float, float]:
    """Gain and error; the errors of the points are widened to their scatter about the line, where that is larger."""
    top = max(float(level.max()), 1.0)
    terms = np.stack([np.ones_like(level), level / top, *([(level / top) ** 2] if curved else [])], axis=1)
    if len(level) < terms.shape[1]:
        return math.nan, math.nan
    weighted = terms / error[:, None]
    normal = weighted.T @ weighted
    if not np.linalg.cond(normal) < 1e12:
        return math.nan, math.nan
    covariance = np.linalg.inv(normal)
    best = covariance @ (weighted.T @ (variance / error))
    # what is below the line by chance must not count more for it: errors follow the line
    if refine:
        return _line(level, variance, error * np.maximum(terms @ best, 0.1 * variance) / variance, curved, refine - 1)
    slope = float(best[1]) / top
    if not slope > 0:
        return math.nan, math.nan
    freedom = len(level) - terms.shape[1]
    chi2 = float(np.sum(((variance - terms @ best) / error) ** 2)) / freedom if freedom > 0 else 1.0
    return 1.0 / slope, math.sqrt(covariance[1, 1] * max(chi2, 1.0)) / top / slope**2


def _before_the_fall(level: Array, variance: Array, noise: float) -> int:
    """Number of points, in the order of level, before the variance falls off the line through most of them, never to come back."""
    clear = level > 0.05 * level[-1]
    if level[-1] <= 0 or clear.sum() < 3:
        return len(level)
    slope = float(np.median((variance[clear] - noise) / level[clear]))
    below = clear & (variance < _FALLEN * (noise + slope * level))
    stands = np.flatnonzero(~below)
    return int(stands[-1]) + 1 if len(stands) else len(level)


def fit_times(seconds: Array, level: Array) -> float:
    """Largest relative departure of levels from a straight line against exposure time: through zero for two times, else with a shutter delay.

    NaN where fewer than two times differ, or a level is not known.
    """
    known = np.isfinite(level) & (seconds > 0) & (level > 0)
    t, v = seconds[known], level[known]
    times = np.unique(np.round(np.log(t) / 0.02)) if len(t) else np.zeros(0)
    if len(times) < 2:
        return math.nan
    terms = np.stack([t, np.ones_like(t)], axis=1) if len(times) > 2 else t[:, None]
    weighted = terms / v[:, None]
    best, *_ = np.linalg.lstsq(weighted, np.ones_like(v), rcond=None)
    return float(np.max(np.abs(weighted @ best - 1.0)))
