"""Sums over windows that are centred on the traces, for all fibres and the rows of a block of 32, which stay in the second-level cache.

Within a block the rows are taken one after another, as they lie in memory, and all fibres in each.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from algorithms.kernels.extraction import Float32, Float64, UInt16, image_arrays
from algorithms.kernels.lostpixels import repair_row
from algorithms.kernels.profile import PHASES, place, window_tables
from algorithms.kernels.tracegrid import STEP, Knots, cubic
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ONE, _ZERO = _F(1), _F(0)


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _invert(rows: Array, out: Array) -> None:
    for y in range(rows.shape[0]):
        for x in range(rows.shape[1]):
            out[y, x] = _ONE / rows[y, x]


@jit
def _eight(p: Array, first: int, phase: Any) -> Any:
    """Sum over a window of 7 pixels, which touches eight."""
    ends = (_ONE - phase) * p[first] + phase * p[first + 7]
    return ends + ((p[first + 1] + p[first + 2]) + (p[first + 3] + p[first + 4]) + (p[first + 5] + p[first + 6]))


@jit
def _eight_squared(p: Array, first: int, phase: Any) -> Any:
    ends = (_ONE - phase) * (_ONE - phase) * p[first] + (phase * phase) * p[first + 7]
    return ends + ((p[first + 1] + p[first + 2]) + (p[first + 3] + p[first + 4]) + (p[first + 5] + p[first + 6]))


@jit
def _any_width(p: Array, v: Array, first: int, phase: Any, width: Any, n: int) -> tuple[Any, Any]:
    total, variance = _ZERO, _ZERO
    for k in range(n):
        w = min(_ONE, _F(k + 1) - phase, width + phase - _F(k))
        if w > _ZERO:
            total += w * p[first + k]
            variance += w * w * v[first + k]
    return total, variance


class Block(NamedTuple):
    """Working arrays of one block: [32, nx] inverse of ivar; [32, nfibre] first pixel of the windows, their place within it, sums, variances,
    own fractions, ivar and flags of repaired samples; [nfibre, PHASES + 1] own fractions against the place; [nfibre] sigma of the cores."""

    inverse: Float32
    first: npt.NDArray[np.int32]
    phase: Float32
    total: Float32
    variance: Float32
    own: Float32
    ivar: Float32
    flags: npt.NDArray[np.uint32]
    table: Float32
    sigma: Float64


def scratch(nx: int, nfibre: int) -> Block:
    shape = (STEP, nfibre)
    phase, total, variance, own, ivar = (np.empty(shape, _F) for _ in range(5))
    table, sigma = np.empty((nfibre, PHASES + 1), _F), np.empty(nfibre)
    flags = np.empty(shape, np.uint32)
    return Block(np.empty((STEP, nx), _F), np.empty(shape, np.int32), phase, total, variance, own, ivar, flags, table, sigma)


@jit
def _windows(knots: Any, tables: Any, block: int, work: Any) -> None:
    """Where the windows of all fibres lie in the rows of a block."""
    for f in range(knots.x.shape[0]):
        a, b, c, d = cubic(knots.x[f, block], knots.dx[f, block], knots.x[f, block + 1], knots.dx[f, block + 1])
        a -= 0.5 * tables.width - 0.5
        work.sigma[f] = 0.5 * (knots.xsig[f, block] + knots.xsig[f, block + 1])
        i, part = place(tables, work.sigma[f])
        for p in range(PHASES + 1):
            work.table[f, p] = (1 - part) * tables.own[i, p] + part * tables.own[i + 1, p]
        for r in range(STEP):
            s = r / STEP
            low = a + s * (b + s * (c + s * d))
            first = math.floor(low)
            work.first[r, f] = first
            work.phase[r, f] = _F(low - first)


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _sum_row(pixels: Array, inverse: Array, width: float, r: int, work: Any) -> None:
    """Sums of all fibres over one row; the variance is infinite where a pixel is unusable or the window runs off the image."""
    n, seven, w32 = math.ceil(width) + 1, width == 7.0, _F(width)
    first, phases, table = work.first[r], work.phase[r], work.table
    for f in range(first.size):
        x, phase = first[f], phases[f]
        if not (x >= 0 and x + n <= pixels.size):
            work.total[r, f], work.variance[r, f], work.own[r, f] = _ZERO, _F(np.inf), _ONE
            continue
        at = phase * _F(PHASES)
        p = min(int(at), PHASES - 1)
        fraction = table[f, p] + (at - _F(p)) * (table[f, p + 1] - table[f, p])
        if seven:
            total, variance = _eight(pixels, x, phase), _eight_squared(inverse, x, phase)
        else:
            total, variance = _any_width(pixels, inverse, x, phase, w32, n)
        scale = _ONE / fraction
        work.total[r, f], work.variance[r, f], work.own[r, f] = total * scale, variance * scale * scale, fraction


@jit
def sum_block(image: Any, knots: Any, tables: Any, wings: Any, settings: Any, bits: Any, block: int, work: Any, sums: Any, out: Any) -> None:
    """Sums of all fibres over the rows of a block, repaired where a pixel is unusable; ivar and mask of those samples go into `out`."""
    ny, start = image.pixels.shape[0], block * STEP
    rows = min(STEP, ny - start)
    _invert(image.ivar[start : start + rows], work.inverse)
    _windows(knots, tables, block, work)
    for r in range(rows):
        pixels = image.pixels[start + r]
        _sum_row(pixels, work.inverse[r], tables.width, r, work)
        repair_row(pixels, image.ivar[start + r], image.mask[start + r], wings, settings, bits, r, work)
    for f in range(knots.x.shape[0]):
        for r in range(rows):
            sums.electrons[f, start + r] = work.total[r, f]
            sums.variance[f, start + r] = work.variance[r, f]
            sums.own[f, start + r] = work.own[r, f]
        out.mask[f, start : start + rows] = 0
        for r in range(rows):
            if work.variance[r, f] == _ZERO:
                out.ivar[f, start + r] = work.ivar[r, f]
                out.mask[f, start + r] = work.flags[r, f]


@jit
def _estimate(image: Any, knots: Any, tables: Any, electrons: Array, good: Array) -> None:
    ny, nx = image.pixels.shape
    n = math.ceil(tables.width) + 1
    for k in range(electrons.shape[1]):
        y = k * STEP
        for f in range(electrons.shape[0]):
            low = knots.x[f, k] - 0.5 * tables.width + 0.5
            if y >= ny or not (low >= 0 and low + n < nx):
                continue
            first = int(low)
            total, usable = _any_width(image.pixels[y], image.ivar[y], first, _F(low - first), _F(tables.width), n)
            i, part = place(tables, knots.xsig[f, k])
            electrons[f, k] = total / ((1 - part) * tables.own[i, 0] + part * tables.own[i + 1, 0])
            good[f, k] = usable > _ZERO
            for j in range(first, first + n):
                good[f, k] &= image.ivar[y, j] > _ZERO


def first_estimates(pixels: Float32, ivar: Float32, mask: UInt16, knots: Knots, width: float) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Electrons at the rows of the knots, [nfibre, nknot], without a thought of neighbours, and whether all pixels of the window are usable."""
    image = image_arrays(pixels, ivar, mask)
    electrons, good = np.zeros(knots.x.shape), np.zeros(knots.x.shape, np.bool_)
    _estimate(image, knots, window_tables(width, float(knots.xsig.min()), float(knots.xsig.max())), electrons, good)
    return electrons, good
