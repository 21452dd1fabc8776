"""The image of a long slit: its two edges, followed along the dispersion, and the contiguous apertures between them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.traceseries import fit_series
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph, TraceFit
from quicklook.core.errors import BadData

Array = npt.NDArray[Any]

_INSIDE = 15
"""Pixels beside an edge whose median is the level of the light there."""
_REACH = 6
_DEGREE = 3
_DARK, _DIM = 0.25, 0.7
"""Parts of the light: where the faintest pixels have less than the first there is a dark margin; with more than the second there is none."""
_SPECTRUM = 0.1
"""Light of a lamp varies along the dispersion by this part at least."""


def trace_slit(
    camera: str, mean: Array, var: Array, shape: tuple[int, int], rows: int, known: Spectrograph, edge: float, degree: int
) -> tuple[PixelTraces, TraceFit]:
    """Apertures of equal width between the edges of a slit.

    mean, var [nblock, nx]: blocks of `rows` rows of a flat; shape (ny, nx) of the image. An edge is where the light crosses the part `edge` of the
    step from outside to inside. The traces are the middles of `known.fibres` apertures. Raises BadData where no slit is seen.
    """
    row = (np.arange(len(mean)) + 0.5) * rows - 0.5
    t = 2.0 * row / (shape[0] - 1) - 1.0
    start, low, high = _first(camera, mean, var, edge)
    n, degree = max(1, known.fibres), min(degree, _DEGREE)
    found = [_follow(mean, var, start, at, side, edge) for at, side in ((low, 1), (high, -1))]
    place, error = (np.stack([f[i] for f in found]) for i in (0, 1))
    if min(np.isfinite(error).sum(axis=1)) < 2 * (degree + 1):
        raise BadData(f"camera {camera}: the edges of the slit are seen on too few rows; take a brighter flat")
    series, used = fit_series(t, place, error, degree, np.array([-1.0, 1.0]))
    rest = np.where(used, place - series @ np.polynomial.legendre.legvander(t, degree).T, np.nan)
    part = (np.arange(n) + 0.5) / n
    x = (1.0 - part)[:, None] * series[0] + part[:, None] * series[1]
    xsig = np.tile((series[1] - series[0]) / n / math.sqrt(12.0), (n, 1))
    scatter = np.sqrt(np.nanmean(rest**2, axis=1))
    flux, seen = _light(mean, var, x @ np.polynomial.legendre.legvander(t, degree).T, (series[1] - series[0])[0] / n)
    lit = seen > 0
    number = (np.arange(n) + known.first_fibre).astype(np.int32)
    traces = PixelTraces(x=x, xsig=xsig, npix_x=shape[1], npix_y=shape[0], fiber=number, lit=lit, slit=True)
    fit = TraceFit(
        camera=camera, fiber=number.copy(), rms=(1.0 - part) * scatter[0] + part * scatter[1], sigma=xsig[:, 0].copy(), flux=flux,
        coverage=np.full(n, float(np.isfinite(error).all(axis=0).mean())), centre=x @ np.polynomial.legendre.legvander(np.zeros(1), degree)[0],
        expected=n, pitch=float((series[1] - series[0])[0] / n), dark=tuple(int(f) for f in number[~lit]), slit=True,
    )  # fmt: skip
    return traces, fit


def _first(camera: str, mean: Array, var: Array, edge: float) -> tuple[int, float, float]:
    """The block in the middle of the brightest part, and both edges there: of the longest lit run.

    Where no part of the profile is dark the slit reaches over the detector, and what is dim is counted from no light at all.
    """
    light = np.where(np.isfinite(var), mean, 0.0)
    n = min(9, len(light))
    start = int(np.argmax(np.convolve(light.sum(axis=1), np.ones(n), mode="valid"))) + n // 2
    part = slice(max(0, start - n // 2), start + n // 2 + 1)
    profile, noise = np.median(light[part], axis=0), np.sqrt(np.median(np.where(np.isfinite(var[part]), var[part], 0.0), axis=0))
    bottom, top = np.percentile(profile, (2, 90))
    least = 10.0 * max(float(np.median(noise)), 1e-6)
    low, high = _longest(profile, bottom + edge * (top - bottom))
    if bottom > _DARK * top and not (bottom < _DIM * top and all(_steps(profile, at, side, top - bottom) for at, side in ((low, 1), (high, -1)))):
        along = np.percentile(np.median(light, axis=1), (5, 95))
        # an offset of the bias is the same in every row, a lamp is not
        if along[1] - along[0] < max(least, _SPECTRUM * top):
            raise BadData(f"camera {camera}: no slit stands out across the dispersion; is the lamp on, and is this a flat?")
        low, high = _longest(profile, edge * bottom)
    elif top - bottom < least:
        raise BadData(f"camera {camera}: no slit stands out across the dispersion; is the lamp on, and is this a flat?")
    return start, low, high


def _longest(profile: Array, level: float) -> tuple[float, float]:
    """First and last pixel of the longest run above a level; of the whole profile where nothing is."""
    lit = profile > level
    if not lit.any():
        return 0.0, float(len(profile) - 1)
    closed = lit.copy()
    for i in np.flatnonzero(~lit):  # dust on the slit does not end it
        closed[i] = lit[max(0, i - 8) : i].any() and lit[i + 1 : i + 9].any()
    change = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(int)))
    starts, ends = change[::2], change[1::2]
    longest = int(np.argmax(ends - starts))
    return float(starts[longest]), float(ends[longest] - 1)


def _steps(profile: Array, at: float, side: int, height: float) -> bool:
    """Whether the light sets in within a few pixels, by half of `height`; an edge of the detector is a step too."""
    inner, outer = _beside(len(profile), round(at), side)
    return len(outer) < 4 or float(np.median(profile[inner]) - np.median(profile[outer])) > 0.5 * height


def _beside(nx: int, middle: int, side: int) -> tuple[Array, Array]:
    """Pixels inside of an edge, and outside of it: there are few or none where the edge is that of the detector."""
    inner = np.clip(np.arange(middle + side * 4, middle + side * (4 + _INSIDE), side), 0, nx - 1)
    outer = np.arange(middle - side * 4, middle - side * (4 + _INSIDE), -side)
    return inner, outer[(outer >= 0) & (outer < nx)]


def _follow(mean: Array, var: Array, start: int, at: float, side: int, edge: float) -> tuple[Array, Array]:
    """Place and error of an edge in every block, from `start` on in both directions; side 1: the light begins there, -1: it ends."""
    place, error = np.full(len(mean), np.nan), np.full(len(mean), math.inf)
    for direction in (1, -1):
        now = at
        for b in range(start, len(mean) if direction > 0 else -1, direction):
            place[b], error[b] = _crossing(mean[b], var[b], now, side, edge)
            if np.isfinite(error[b]):
                now = 0.7 * now + 0.3 * place[b] if b != start else place[b]
    return place, error


def _crossing(profile: Array, var: Array, at: float, side: int, edge: float) -> tuple[float, float]:
    """Where the profile crosses its level near `at`, and the error of that; an edge of the detector is exact."""
    nx, middle = len(profile), round(at)
    inner, outer = _beside(nx, middle, side)
    good = np.isfinite(var)
    if not (good[inner].any() and (len(outer) == 0 or good[outer].any())):
        return np.nan, math.inf
    if len(outer) < 4:
        return (-0.5, 0.05) if side > 0 else (nx - 0.5, 0.05)
    high, low = np.median(profile[inner][good[inner]]), np.median(profile[outer][good[outer]])
    noise = math.sqrt(float(np.median(var[inner][good[inner]])))
    if high - low < 8.0 * noise:
        return np.nan, math.inf
    level = low + edge * (high - low)
    j = np.arange(max(1, middle - _REACH), min(nx - 1, middle + _REACH))
    above = profile[j] >= level if side > 0 else profile[j + 1] >= level
    below = profile[j - 1] < level if side > 0 else profile[j + 2 if j[-1] + 2 < nx else j + 1] < level
    ok = above & below & good[j]
    if not ok.any():
        return np.nan, math.inf
    k = int(j[ok][np.argmin(np.abs(j[ok] - at))])
    a, b = (k - 1, k) if side > 0 else (k + 1, k + 2)
    b = min(b, nx - 1)
    slope = profile[b] - profile[a]
    if slope == 0:
        return np.nan, math.inf
    return a + (level - profile[a]) / slope, max(0.02, noise / abs(slope))


def _light(mean: Array, var: Array, centre: Array, width: float) -> tuple[Array, Array]:
    """Median over the blocks of the light in each aperture, electron in a row, and the number of blocks where it was seen."""
    n = len(centre)
    flux, seen = np.full(n, np.nan), np.zeros(n, int)
    nx = mean.shape[1]
    for i in range(n):
        each, noise = [], []
        for b in range(len(mean)):
            j = np.arange(max(0, math.ceil(centre[i, b] - 0.5 * width)), min(nx, math.floor(centre[i, b] + 0.5 * width) + 1))
            good = j[np.isfinite(var[b, j])] if len(j) else j
            if len(good):
                each.append(float(mean[b, good].mean() * width))
                noise.append(float(np.sqrt(var[b, good].sum()) / len(good) * width))
        values, errors = np.array(each), np.array(noise)
        if len(values):
            flux[i], seen[i] = np.median(values), int((values > 5.0 * errors).sum())
    return flux, seen
