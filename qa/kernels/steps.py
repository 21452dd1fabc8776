"""Steps and drift of a level along the lines of a strip. Plain numpy: a few thousand numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]
_FILTER = 5
_MIN_LINES = 8


@dataclass(frozen=True, slots=True)
class Step:
    """Largest step of a series: signed `height`, `line` where the upper side starts, `noise` of such a height, `drift` (range of the means)."""

    height: float
    line: int
    noise: float
    drift: float


def robust_mean(values: Series) -> float:
    """Mean of the finite values within five sigma (1.4826 MAD) of their median; NaN of none. A step in the middle stays within them."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return math.nan
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle)) or np.std(values)
    return float(values[np.abs(values - middle) <= 5.0 * spread].mean())


def largest_step(levels: Series, window: int) -> Step | None:
    """max over y of |mean(levels[y:y+N]) - mean(levels[y-N:y])|, after a running median of five that takes out glitches of one or two lines.

    N is `window`, in short series an eighth of the lines and at least four. A drift of slope s counts N s, so a slow one is no step; `drift`
    is the range of the means over N lines. `noise` is what the scatter of neighbouring lines makes of such a height, sd sqrt(2/N); for pure
    noise the largest of many places is about 3.3 times that. None where fewer than eight lines, or less than half of them, are finite.
    """
    good = np.isfinite(levels)
    if good.sum() < max(_MIN_LINES, 0.5 * levels.size):
        return None
    lines = np.arange(levels.size)
    filled = levels if good.all() else np.interp(lines, lines[good], levels[good])
    n = max(4, min(window, levels.size // 8))
    padded = np.pad(filled, _FILTER // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, _FILTER), axis=1)
    total = np.concatenate(([0.0], np.cumsum(smooth - smooth[0])))
    means = (total[n:] - total[:-n]) / n
    steps = means[n:] - means[:-n]
    at = int(np.argmax(np.abs(steps)))
    scatter = 1.4826 * float(np.median(np.abs(np.diff(filled)))) / math.sqrt(2.0)
    return Step(float(steps[at]), at + n, scatter * math.sqrt(2.0 / n), float(np.ptp(means)))


def rise(values: Series) -> float:
    """Height of the straight line of least squares through the finite values, from the first place to the last; NaN of fewer than two."""
    at = np.flatnonzero(np.isfinite(values))
    if at.size < 2:
        return math.nan
    x = at - at.mean()
    return float((x * values[at]).sum() / (x * x).sum()) * (values.size - 1)


def without_drift(values: Series, window: int) -> Series:
    """What values differ from their running mean over about `window` places (in short series an eighth), at the ends from that of the nearest
    whole window; scaled so that white noise keeps its variance. NaN, which counts for nothing, stays."""
    n = max(4, min(window, values.size // 8))
    if values.size <= n:
        return values - robust_mean(values)
    good = np.isfinite(values)
    filled = np.where(good, values, np.nanmedian(values)) if good.any() else np.zeros(values.size)
    total = np.concatenate(([0.0], np.cumsum(filled - filled[0])))
    means = (total[n:] - total[:-n]) / n + filled[0]
    place = np.clip(np.arange(values.size) - n // 2, 0, means.size - 1)
    return np.asarray((values - means[place]) / math.sqrt(1.0 - 1.0 / n))


def beyond_noise(means: Series, sigma: float, n: int) -> float:
    """Rms about their mean of finite means of n pixels each, less what the scatter sigma of the pixels makes of it (in quadrature).

    NaN of fewer than two.
    """
    means = means[np.isfinite(means)]
    return math.sqrt(max(float(np.var(means, ddof=1)) - sigma**2 / n, 0.0)) if means.size > 1 else math.nan


def thin_out(values: Series, points: int) -> tuple[Series, Series]:
    """Means over equal stretches, at most `points` of them, and the places of their middles; NaN where nothing is finite."""
    size = -(-values.size // points)
    padded = np.full(-(-values.size // size) * size, np.nan)
    padded[: values.size] = values
    blocks = padded.reshape(-1, size)
    good = np.isfinite(blocks)
    counts = good.sum(axis=1)
    sums = np.where(good, blocks, 0.0).sum(axis=1)
    means = np.divide(sums, counts, out=np.full(counts.size, np.nan), where=counts > 0)
    return np.arange(counts.size) * float(size) + 0.5 * (size - 1), means
