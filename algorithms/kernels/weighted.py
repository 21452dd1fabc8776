"""Extraction weighted by the profile, with the overlap of neighbouring fibres solved for, row by row.

For every fibre f of a row: sum over its window of P_f (D - sum over g = f-1, f, f+1 of c_g P_g) / V = 0, a tridiagonal system. Better than the
boxcar for faint fibres, but it takes the profile for known.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.extract import blocks_of, finish
from algorithms.kernels.extraction import NOISE_UNKNOWN, Bits, Float32, Settings, Spectra, UInt16, image_arrays, new_spectra, new_sums
from algorithms.kernels.profile import NO_WINGS, Profile, below, in_pixel, reach_of, window_tables
from algorithms.kernels.repair import at_row, judged
from algorithms.kernels.rowsums import add_lost, fill_lost
from algorithms.kernels.spectra import make_rows, new_room
from algorithms.kernels.tracegrid import STEP, Knots
from quicklook.core.compiled import jit, run_tasks

Array = npt.NDArray[Any]
_F = np.float32
_ZERO = _F(0)


@jit
def _profiles(wings: Any, knots: Any, settings: Any, y: int, first: Array, part: Array, other: Array) -> None:
    """For all fibres of row y: first pixel, own profile on the pixels of the window [nfibre, n], and the neighbours' there [nfibre, 2, n]."""
    block = y // STEP
    s = (y - block * STEP) / STEP
    nfibre, n = part.shape
    for f in range(nfibre):
        centre, sigma = at_row(knots, f, block, s)
        first[f] = math.floor(centre - 0.5 * settings.width + 0.5)
        edge = below(first[f] - 0.5 - centre, sigma, wings)
        for i in range(n):
            following = below(first[f] + i + 0.5 - centre, sigma, wings)
            part[f, i], edge = following - edge, following
        for side in range(2):
            g = f - 1 + 2 * side
            other[f, side, :] = 0.0
            if 0 <= g < nfibre:
                centre, sigma = at_row(knots, g, block, s)
                reach = reach_of(sigma, wings)
                for i in range(n):
                    if abs(first[f] + i - centre) < reach:
                        other[f, side, i] = in_pixel(first[f] + i, centre, sigma, wings)


@jit
def _row_equations(image: Any, y: int, first: Array, part: Array, other: Array, eq: Array, light: Array, kinds: Array) -> None:
    """Equations of row y: eq [nfibre, 4] = before, own, after, right side; light [nfibre] = fraction of the window's light on usable pixels."""
    nx = image.pixels.shape[1]
    eq[:] = 0.0
    for f in range(first.size):
        total = usable = 0.0
        kinds[f] = 0
        for i in range(part.shape[1]):
            p, k = part[f, i], first[f] + i
            total += p
            if not 0 <= k < nx:
                continue
            weight = image.ivar[y, k]
            if not weight > 0:
                kinds[f] |= image.mask[y, k] if p > 1e-3 else 0
                continue
            usable += p
            eq[f, 0] += p * other[f, 0, i] * weight
            eq[f, 1] += p * p * weight
            eq[f, 2] += p * other[f, 1, i] * weight
            eq[f, 3] += p * image.pixels[y, k] * weight
        light[f] = usable / total


@jit
def _solve_row(eq: Array, values: Array) -> None:
    """Solve the tridiagonal equations of a row; a fibre without equation has the value 0."""
    n = values.size
    upper, right = np.zeros(n), np.zeros(n)
    for f in range(n):
        low = eq[f, 0] if f > 0 else 0.0
        pivot = eq[f, 1] - low * (upper[f - 1] if f > 0 else 0.0)
        if not pivot > 0:
            continue
        upper[f] = eq[f, 2] / pivot
        right[f] = (eq[f, 3] - low * (right[f - 1] if f > 0 else 0.0)) / pivot
    for f in range(n - 1, -1, -1):
        values[f] = right[f] - (upper[f] * values[f + 1] if f + 1 < n else 0.0)


@jit
def _weighted_rows(image: Any, wings: Any, knots: Any, settings: Any, bits: Any, span: Any, sums: Any, out: Any) -> None:
    nfibre, n = sums.total.shape[1], math.ceil(settings.width) + 1
    first, part, other = np.zeros(nfibre, np.int64), np.zeros((nfibre, n)), np.zeros((nfibre, 2, n))
    eq, light, kinds, values = np.zeros((nfibre, 4)), np.zeros(nfibre), np.zeros(nfibre, np.int64), np.zeros(nfibre)
    for y in range(span[0] * STEP, min(span[1] * STEP, image.pixels.shape[0])):
        _profiles(wings, knots, settings, y, first, part, other)
        _row_equations(image, y, first, part, other, eq, light, kinds)
        _solve_row(eq, values)
        for f in range(nfibre):
            value, weight, flags = judged(light[f], values[f] * eq[f, 1], eq[f, 1], kinds[f], settings, bits)
            sums.total[y, f], sums.variance[y, f] = value, _F(-1.0 / weight) if weight > 0 else _ZERO
            out.mask[f, y] = flags
            if not weight > 0:
                add_lost(sums, y, f)


def weighted(
    pixels: Float32,
    ivar: Float32,
    mask: UInt16,
    knots: Knots,
    *,
    alive: npt.NDArray[np.bool_] | None = None,
    wings: Profile = NO_WINGS,
    settings: Settings = Settings(),  # noqa: B008
    bits: Bits = Bits(),  # noqa: B008
) -> Spectra:
    """As `algorithms.kernels.extract.boxcar`, but every pixel weighted by the profile and its ivar. The variances are those of the pixels.

    Raises ValueError for arrays that do not fit together.
    """
    ny, nfibre = pixels.shape[0], knots.x.shape[0]
    image = image_arrays(pixels, ivar, mask)
    on = np.ones(nfibre, np.bool_) if alive is None else np.ascontiguousarray(alive, np.bool_)
    tables = window_tables(settings.width, float(knots.xsig.min()), float(knots.xsig.max()), wings)
    sums, out = new_sums(nfibre, ny), new_spectra(nfibre, ny)
    run_tasks(lambda s: _weighted_rows(image, wings, knots, settings, bits, s, sums, out), blocks_of(ny))
    fill_lost(sums, ny)
    run_tasks(lambda s: make_rows(image.mask, knots, tables, NOISE_UNKNOWN, bits, False, *s, 0, sums, new_room(nfibre), out), blocks_of(ny))
    finish(knots, on, bits, out)
    return out
