"""Steps of the background at the border of two amplifiers. Plain numpy: some hundred thousand pixels.

Of each side the pixels, electron, and which of them are good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float32, Raw

Series = npt.NDArray[np.float64]
_FEW = 8
_MEDIAN_ERROR = 1.2533  # error of a median over that of a mean, of Gaussian noise


@dataclass(frozen=True, slots=True)
class Step:
    """Second side minus first: `height` and its `error` (unit of the input), from `places` places along the border; NaN where they are too few."""

    height: float = math.nan
    error: float = math.nan
    places: int = 0


def near_and_far(side: Float32, good: Raw) -> tuple[Series, Series]:
    """Of a side [m, n] of m pixels away from the border, the nearest first, at n places along it: means of the good pixels of the near and of the
    far half [n]; NaN where less than half of them are good."""
    half = side.shape[0] // 2
    return _means(side[:half], good[:half]), _means(side[half:], good[half:])


def _means(values: Float32, good: Raw) -> Series:
    count = np.add.reduce(good, axis=0, dtype=np.float32)
    total = np.add.reduce(np.where(good, values, np.float32(0)), axis=0)
    return np.where(2 * count >= len(values), total / np.maximum(count, 1), np.nan).astype(np.float64)


def step_across(first: Float32, first_good: Raw, second: Float32, second_good: Raw, darkest: float) -> Step:
    """Step at a border that the light crosses: every place along it is carried on to the border from both sides [m, n], in a straight line.

    Of the places the part `darkest` with the least light on both sides together tells: the sum of two sides has noise of its own that
    is not that of their difference, so that the choice favours none. The median of their steps; its error from their scatter.
    """
    a, b = near_and_far(first, first_good), near_and_far(second, second_good)
    light = a[0] + a[1] + b[0] + b[1]
    known = np.isfinite(light)
    if known.sum() < _FEW:
        return Step()
    dark = known & (light <= np.quantile(light[known], darkest))
    return _median((1.5 * b[0] - 0.5 * b[1] - 1.5 * a[0] + 0.5 * a[1])[dark])


def step_along(first: Float32, first_good: Raw, second: Float32, second_good: Raw, rows: int, gap: int) -> Step:
    """Step at a border that runs along the spectra: means of `rows` lines of a side [n, m] make a profile across them, whose valleys are compared.

    The valley of each stretch: the `gap` neighbouring pixels that are least in every second of its lines; what they are is taken from the
    lines between, so that noise does not make it deeper. The median of the differences over the stretches; its error from their scatter.
    """
    return _median(_valleys(second, second_good, rows, gap) - _valleys(first, first_good, rows, gap))


def _valleys(side: Float32, good: Raw, rows: int, gap: int) -> Series:
    where, what = (_profiles(side, good, rows, gap, first) for first in (0, 1))
    known = np.isfinite(where + what)
    at = np.argmin(np.where(known, where, np.inf), axis=1)
    place = np.arange(len(at))
    return np.where(known[place, at], what[place, at], np.nan)


def _profiles(side: Float32, good: Raw, rows: int, gap: int, first: int) -> Series:
    """Running means over `gap` pixels of the means of every second line, from `first` on, of each stretch of `rows`; NaN where half are bad."""
    n = side.shape[0] // rows
    use = good[: n * rows].reshape(n, rows, -1)[:, first::2]
    values = np.where(use, side[: n * rows].reshape(n, rows, -1)[:, first::2], np.float32(0)).sum(axis=1)
    counts = use.sum(axis=1, dtype=np.float32)
    profile = np.where(2 * counts >= use.shape[1], values / np.maximum(counts, 1), np.nan).astype(np.float64)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(profile, gap, axis=1).mean(axis=2))


def _median(values: Series) -> Step:
    values = values[np.isfinite(values)]
    if values.size < _FEW:
        return Step(places=int(values.size))
    middle = float(np.median(values))
    scatter = 1.4826 * float(np.median(np.abs(values - middle)))
    return Step(middle, _MEDIAN_ERROR * scatter / math.sqrt(values.size), int(values.size))


def ratio_across(first: Float32, first_good: Raw, second: Float32, second_good: Raw, brightest: float) -> Step:
    """Light on the second side of a border that it crosses over that on the first, less one: both at the border, as `step_across` has them.

    Sums over the part `brightest` of the places, but for those farther than four times their scatter from the ratio; the error from that scatter.
    """
    a, b = near_and_far(first, first_good), near_and_far(second, second_good)
    light = a[0] + a[1] + b[0] + b[1]
    known = np.isfinite(light)
    if known.sum() < _FEW:
        return Step()
    bright = known & (light >= np.quantile(light[known], 1.0 - brightest)) & (light > 0)
    here, there = (1.5 * a[0] - 0.5 * a[1])[bright], (1.5 * b[0] - 0.5 * b[1])[bright]
    if bright.sum() < _FEW or not here.sum() > 0:
        return Step(places=int(bright.sum()))
    off = there - here * (there.sum() / here.sum())
    kept = np.abs(off - np.median(off)) <= 4.0 * 1.4826 * np.median(np.abs(off - np.median(off)))
    here, there = here[kept], there[kept]
    if not here.sum() > 0:
        return Step(places=int(kept.sum()))
    ratio = there.sum() / here.sum()
    return Step(float(ratio - 1.0), float(np.sqrt(np.square(there - ratio * here).sum()) / here.sum()), int(kept.sum()))
