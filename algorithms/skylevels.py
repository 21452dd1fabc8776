"""Which sky fibres to believe, and how the level of the sky varies over the focal plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels import skyfit

Array = npt.NDArray[Any]
_LIT, _DARK = 10.0, 0.1
"""A fibre gives light for certain at so many sigma of all its blocks; one with less than this part of the light of such fibres is dead."""
BLOCK = 50
"""Intervals of a block in which levels of fibres are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See `algorithms.compute_sky.SkyParams`. `free_above`: levels are free if they scatter by more than this part of them; 0: always, inf: never."""

    knots: float
    clip: float
    model_error: float
    mode_fraction: float
    reject_sigma: float
    reject_floor: float
    reject_shape: float
    free_above: float
    leave_one_out: bool
    spatial_order: int
    spatial_sigma: float


def choose(flux: Array, ivar: Array, index: Array, intervals: int, settings: Settings) -> tuple[Array, Array, bool]:
    """Which of the spectra [n] see the sky and nothing else, the level of each of them in units of the typical one, and whether these are free.

    The level of a fibre is compared with the most crowded levels of all: the shortest range that holds a fraction `mode_fraction` of the
    fibres. Light of targets in up to half of the fibres, at many levels, moves that little, while a median would follow it. Dead fibres are left
    out before, for none are more alike. Then the shape:
    a fibre with features that the others have not is rejected too. Where the most crowded levels scatter by more than `free_above`, beyond their
    noise, there is no fibre flat to speak of: levels are free, and the shape alone counts.
    """
    n = len(flux)
    blocks, error = np.empty((n, -(-intervals // BLOCK))), np.empty((n, -(-intervals // BLOCK)))
    skyfit.block_medians(flux, ivar, index, BLOCK, blocks, error)
    seen = np.isfinite(blocks).sum(axis=1) >= max(1, np.isfinite(blocks).any(axis=0).sum() // 2)
    seen &= ~_dark(blocks, error)
    if seen.sum() < 3:
        return seen, np.ones(n), settings.free_above == 0
    common = np.isfinite(blocks[seen]).sum(axis=0) * 2 > seen.sum()
    typical = np.nanmedian(blocks[seen][:, common], axis=0)
    level = np.array([_level(b[common], typical) if ok else np.nan for b, ok in zip(blocks, seen, strict=True)])
    blocks, error = blocks[:, common], error[:, common]
    noise = float(np.median([_level_error(e, typical) for e in error[seen]]))
    centre, sigma = _mode(np.sort(level[seen]), settings.mode_fraction)
    free = settings.free_above == 0 or sigma**2 - noise**2 > (settings.free_above * abs(centre)) ** 2
    if free:
        near = seen & (level > 0)
        blocks, error = blocks / level[:, None], error / level[:, None]
    else:
        near = _near_mode(level, seen, settings, noise if math.isfinite(noise) else 0.0)
    if not near.any():
        return near, level, free
    off = ((blocks - np.nanmedian(blocks[near], axis=0)) / error)[near] ** 2
    chi2 = np.array([float(np.mean(o[np.isfinite(o)])) if np.isfinite(o).any() else np.inf for o in off])
    odd = chi2 > settings.reject_shape * max(float(np.median(chi2)), 1.0)
    near[np.flatnonzero(near)[odd]] = False
    return near, level, free


def _dark(blocks: Array, error: Array) -> Array:
    """Which fibres [n] give next to nothing of the light of those that give some for certain; none where no fibre does."""
    count = np.maximum(np.isfinite(blocks).sum(axis=1), 1)
    light, noise = np.nansum(blocks, axis=1) / count, np.sqrt(np.nansum(np.where(np.isfinite(blocks), error, 0.0) ** 2, axis=1)) / count
    lit = light > _LIT * noise
    return np.asarray(light < _DARK * np.median(light[lit])) if lit.any() else np.zeros(len(blocks), bool)


def _level(blocks: Array, typical: Array) -> float:
    good = np.isfinite(blocks)
    return float(blocks[good].sum() / max(typical[good].sum(), 1e-30)) if good.any() else math.nan


def _level_error(error: Array, typical: Array) -> float:
    """Error by noise of a level, from those of its blocks (infinite where there is none)."""
    good = np.isfinite(error)
    return float(np.sqrt((error[good] ** 2).sum()) / max(typical[good].sum(), 1e-30)) if good.any() else math.inf


def _mode(values: Array, fraction: float) -> tuple[float, float]:
    """Centre and sigma of the shortest range that holds a fraction of the sorted values."""
    size = max(2, math.ceil(fraction * values.size))
    spans = values[size - 1 :] - values[: values.size - size + 1]
    best = int(np.argmin(spans))
    # the middle fraction f of a Gaussian is 2 z(f) sigma wide; 0.4: 1.05
    return float(np.median(values[best : best + size])), float(spans[best]) / 1.05


def _near_mode(level: Array, seen: Array, settings: Settings, noise: float) -> Array:
    """Levels near the most crowded ones. By chance a few are closer together than their `noise`, which the others then have still."""
    centre, sigma = _mode(np.sort(level[seen]), settings.mode_fraction)
    sigma = max(sigma, noise, settings.reject_floor * abs(centre) / settings.reject_sigma)
    return np.asarray(seen & (np.abs(level - centre) <= settings.reject_sigma * sigma))


def variation(x: Array, y: Array, used: Array, amplitude: Array, error: Array, order: int, least: float) -> Array:
    """1 + a polynomial in the place on the focal plane [nfibre], through the amplitudes of the sky fibres `used`; 1 where it is not significant.

    The scatter of the fibres about the polynomial counts as error. The highest order that is significant is taken, its mean over the sky
    fibres is nothing, and no fibre is given more than the sky fibres show.
    """
    ones = np.ones(x.size)
    good = np.isfinite(x) & np.isfinite(y)
    size = float(max(np.abs(x[good]).max(initial=0), np.abs(y[good]).max(initial=0), 1e-9))
    x, y = np.where(good, x, 0) / size, np.where(good, y, 0) / size
    for degree in range(order, 0, -1):
        terms = np.stack([x**a * y**b for a in range(degree + 1) for b in range(degree + 1 - a) if a + b > 0], axis=1)
        terms = terms - terms[used].mean(axis=0)
        found = _significant(terms[used], amplitude - np.average(amplitude, weights=1 / error**2), error, least)
        if found is not None:
            low, high = float((terms[used] @ found).min()), float((terms[used] @ found).max())
            return np.asarray(np.where(good, 1.0 + np.clip(terms @ found, low, high), ones))
    return ones


def _significant(terms: Array, value: Array, error: Array, least: float) -> Array | None:
    """Coefficients of a weighted fit, None where it improves chi2 by less than least^2 per term, in units of the scatter that is left."""
    n, m = terms.shape
    if n < 3 * (m + 1):
        return None
    w = 1.0 / np.sqrt(error**2 + np.median(error) ** 2)
    coefficients, *_ = np.linalg.lstsq(terms * w[:, None], value * w, rcond=1e-6)
    before, after = float(np.sum((value * w) ** 2)), float(np.sum(((value - terms @ coefficients) * w) ** 2))
    scale = max(after / (n - m - 1), 1.0)
    return np.asarray(coefficients) if before - after > least**2 * m * scale else None
