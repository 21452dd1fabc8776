"""Sums over windows that are centred on the traces: row after row of the image, as it lies in memory, and all fibres in each.

A row is prepared with NaN for its unusable pixels, and beyond its ends, so that the sum over a window that holds one is NaN: these samples
are repaired (`algorithms.kernels.repair`). Variances of the sums from ivar are made only in rows where something needs them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from algorithms.kernels.extraction import Float32, Float64
from algorithms.kernels.profile import PHASES, add_profile, place
from algorithms.kernels.repair import repair
from algorithms.kernels.tracegrid import STEP, cubic
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ONE, _ZERO = _F(1), _F(0)
_PHASES, _LAST = _F(PHASES), np.int32(PHASES - 1)
NOT_MADE = _F(1e-30)
"""Stands for the variance from ivar of a usual sample where nothing needs it."""
_MARGIN = 48
"""Pixels of NaN before and after a prepared row; more than the widest window."""


class Places(NamedTuple):
    """Of one block of 32 rows: lower edges of the windows as `start` + a + b s + c s^2 + d s^3 (s = 0 ... 1), [nfibre], and the reciprocals of the
    own fractions against the place of the window within a pixel, `scale` [nfibre, PHASES + 1], made where it is needed, and, for windows of 7
    pixels, `even` [3, nfibre];
    of one row: `first` pixel of the windows in the prepared row, `phase` within it [nfibre]; the prepared rows [nx + 2 margins] of pixels and
    of variances; place of sigma in the tables (index and part), centres [nfibre]; room for two windows [n]."""

    start: npt.NDArray[np.int32]
    a: Float32
    b: Float32
    c: Float32
    d: Float32
    scale: Float32
    even: Float32
    first: npt.NDArray[np.int32]
    phase: Float32
    pixels: Float32
    variance: Float32
    sigma: npt.NDArray[np.int32]
    part: Float32
    centre: Float64
    own: Float32
    others: Float32


def new_places(nx: int, nfibre: int, width: float) -> Places:
    """Room to work in."""
    n, window, row = nfibre, math.ceil(width) + 1, np.full(nx + 2 * _MARGIN, np.nan, _F)
    return Places(
        start=np.empty(n, np.int32),
        a=np.empty(n, _F),
        b=np.empty(n, _F),
        c=np.empty(n, _F),
        d=np.empty(n, _F),
        scale=np.empty((n, PHASES + 1), _F),
        even=np.empty((3, n), _F),
        first=np.empty(n, np.int32),
        phase=np.empty(n, _F),
        pixels=row,
        variance=row.copy(),
        sigma=np.empty(n, np.int32),
        part=np.empty(n, _F),
        centre=np.empty(n),
        own=np.empty(window, _F),
        others=np.empty(window, _F),
    )


@jit
def _scale_of(own: Array, i: int, part: Any, phase: int) -> Any:
    """Reciprocal of the own fraction at a step of the place of the window within a pixel."""
    return _F(1.0 / ((1 - part) * own[i, phase] + part * own[i + 1, phase]))


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _even(own: Array, index: Array, parts: Array, out: Array) -> None:
    """Reciprocals of the own fractions as a + b q + c q^2, q = phase (1 - phase): whole pixels look the same from the left and from the right.
    Error below 3e-6."""
    for f in range(index.size):
        i, part = index[f], parts[f]
        end, quarter, half = _scale_of(own, i, part, 0), _scale_of(own, i, part, PHASES // 4), _scale_of(own, i, part, PHASES // 2)
        low, high = (quarter - end) / _F(3 / 16), (half - end) / _F(1 / 4)
        out[2, f] = (high - low) * _F(16)
        out[1, f] = low - out[2, f] * _F(3 / 16)
        out[0, f] = end


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _fill_scale(own: Array, index: Array, parts: Array, out: Array) -> None:
    """Reciprocals of the own fractions of all fibres at all steps."""
    for f in range(index.size):
        for p in range(PHASES + 1):
            out[f, p] = _scale_of(own, index[f], parts[f], p)


@jit
def _place_block(knots: Any, tables: Any, block: int, work: Any) -> None:
    """The windows of all fibres in a block."""
    x, dx, xsig, sigmas = knots.x, knots.dx, knots.xsig, tables.sigma
    start, first, second, third, fourth, index, parts = work.start, work.a, work.b, work.c, work.d, work.sigma, work.part
    for f in range(x.shape[0]):
        a, b, c, d = cubic(x[f, block], dx[f, block], x[f, block + 1], dx[f, block + 1])
        a -= 0.5 * tables.width - 0.5
        whole = min(max(math.floor(a), -1e6), 1e6)
        start[f] = np.int32(whole)
        first[f], second[f], third[f], fourth[f] = _F(a - whole), _F(b), _F(c), _F(d)
        i, part = place(sigmas, 0.5 * (xsig[f, block] + xsig[f, block + 1]))
        index[f], parts[f] = i, part
    if tables.width == 7.0:
        _even(tables.own, index, parts, work.even)


@jit
def _place_row(start: Array, a: Array, b: Array, c: Array, d: Array, s: Any, lowest: Any, highest: Any, first: Array, phase: Array) -> None:
    """First pixel of the windows in the prepared row, kept within it, and their places within a pixel."""
    for f in range(first.size):
        at = a[f] + s * (b[f] + s * (c[f] + s * d[f]))
        whole = np.floor(at)
        phase[f] = at - whole
        first[f] = np.int32(min(max(np.int32(start[f] + np.int32(whole)), lowest), highest) + np.int32(_MARGIN))


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _prepare(pixels: Array, ivar: Array, mask: Array, out: Array) -> Any:
    """out = pixels, NaN where ivar is 0; whether a usable pixel has a bit in its mask. Without a choice in the loop, which would be slower."""
    weighted = _ZERO
    for x in range(out.size):
        weight = ivar[x]
        weighted += weight * _F(mask[x])
        out[x] = pixels[x] + _ZERO * (_ONE / weight)
    return weighted > _ZERO


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _invert(ivar: Array, out: Array) -> None:
    for x in range(out.size):
        out[x] = _ONE / ivar[x]


@jit
def _scale_at(scale: Array, f: int, phase: Any) -> Any:
    at = phase * _PHASES
    k = min(np.int32(at), _LAST)
    low = scale[f, k]
    return low + (at - _F(k)) * (scale[f, k + 1] - low)


@jit
def _sum_seven(row: Array, first: Array, phases: Array, even: Array, total: Array) -> None:
    """Electrons over the own fraction in windows of 7 pixels, which touch eight; written so that the eight are one load."""
    for f in range(first.size):
        phase, window, value = phases[f], row[first[f] : first[f] + 8], _ZERO
        for k in range(8):
            value += window[k]
        total[f] = value - phase * window[0] - (_ONE - phase) * window[7]
    a, b, c = even[0], even[1], even[2]
    for f in range(first.size):
        q = phases[f] * (_ONE - phases[f])
        total[f] *= a[f] + q * (b[f] + q * c[f])


@jit
def _sum_any(row: Array, first: Array, phases: Array, scale: Array, width: float, total: Array) -> None:
    """As `_sum_seven`, for any width."""
    n, w32 = math.ceil(width) + 1, _F(width)
    for f in range(first.size):
        x, phase, value = first[f], phases[f], _ZERO
        for k in range(n):
            part = min(_ONE, _F(k + 1) - phase, w32 + phase - _F(k))
            value += part * row[x + k] if part > _ZERO else _ZERO
        total[f] = value * _scale_at(scale, f, phase)


@jit
def _variances(row: Array, first: Array, phases: Array, scale: Array, width: float, out: Array) -> None:
    """Variances of the sums, `row` being that of the pixels."""
    n, w32 = math.ceil(width) + 1, _F(width)
    for f in range(first.size):
        x, phase, value = first[f], phases[f], _ZERO
        for k in range(n):
            part = min(_ONE, _F(k + 1) - phase, w32 + phase - _F(k))
            value += part * part * row[x + k] if part > _ZERO else _ZERO
        factor = _scale_at(scale, f, phase)
        out[f] = value * factor * factor


@jit
def _one_scale(own: Array, i: int, part: Any, phase: Any) -> Any:
    """As `_scale_at`, of one fibre of which no table is made."""
    at = phase * _PHASES
    k = min(np.int32(at), _LAST)
    low = _scale_of(own, i, part, k)
    return low + (at - _F(k)) * (_scale_of(own, i, part, k + 1) - low)


@jit
def _raw_sum(pixels: Array, first: int, phase: Any, width: float, scale: Any) -> Any:
    """Electrons of a sample from all pixels of its window, usable or not, as they stand in the image; 0 where it runs off the image."""
    n, w32 = math.ceil(width) + 1, _F(width)
    if first < 0 or first + n > pixels.size:
        return _ZERO
    total = _ZERO
    for k in range(n):
        part = min(_ONE, _F(k + 1) - phase, w32 + phase - _F(k))
        total += part * pixels[first + k] if part > _ZERO else _ZERO
    return total * scale


@jit
def _centres(start: Array, a: Array, b: Array, c: Array, d: Array, s: Any, half: float, out: Array) -> None:
    for f in range(out.size):
        out[f] = start[f] + half + float(a[f] + s * (b[f] + s * (c[f] + s * d[f])))


@jit
def _repair_row(image: Any, tables: Any, settings: Any, bits: Any, y: int, start: int, work: Any, sums: Any, mask: Array) -> None:
    """Samples of a row whose sum is NaN: electrons and -1 / ivar; where they are lost 0, 0 and the bits in `mask` [nfibre, ny]."""
    pixels, ivar, bad, total, variance = image.pixels[y], image.ivar[y], image.mask[y], sums.total[y - start], sums.variance[y - start]
    width, nfibre, table, own, others = settings.width, total.size, tables.pixel, work.own, work.others
    firsts, phases, fractions, centres, sigma, part = work.first, work.phase, tables.own, work.centre, work.sigma, work.part
    reach = tables.reach + 0.5 * width + 1.0
    _centres(work.start, work.a, work.b, work.c, work.d, _F((y % STEP) / STEP), 0.5 * width - 0.5, centres)
    for f in range(nfibre):
        if not np.isnan(total[f]):
            continue
        first = math.floor(centres[f] - 0.5 * width + 0.5)
        own[:] = _ZERO
        others[:] = _ZERO
        add_profile(table, sigma[f], part[f], first - centres[f], _ONE, width, own)
        for g in range(max(f - 1, 0), min(f + 2, nfibre)):
            if g != f and abs(centres[g] - centres[f]) < reach:
                light = total[g]
                if light != light:
                    light = _raw_sum(pixels, firsts[g] - _MARGIN, phases[g], width, _one_scale(fractions, sigma[g], part[g], phases[g]))
                add_profile(table, sigma[g], part[g], first - centres[g], light, tables.reach, others)
        value, weight, flags = repair(pixels, ivar, bad, first, own, others, settings, bits)
        total[f], variance[f] = _F(value), _F(-1.0 / weight) if weight > 0 else _ZERO
        if not weight > 0:
            mask[f, y] = flags
            add_lost(sums, y - start, f)


@jit
def add_lost(sums: Any, row: int, f: int) -> None:
    """Note that the sample of fibre f in a row of the sums is lost."""
    sums.which[row, sums.lost[row]] = f
    sums.lost[row] += 1


@jit
def _count_nan(row: Array) -> int:
    n = 0
    for f in range(row.size):
        n += 0 if row[f] == row[f] else 1
    return n


@jit
def sum_rows(
    image: Any, knots: Any, tables: Any, settings: Any, bits: Any, always: bool, first: int, last: int, start: int, work: Any, sums: Any, mask: Array
) -> None:
    """Sums of rows `first` to `last` (exclusive) of the image, row `first` into row `first` - `start` of `sums`; `always`: variances from ivar in all
    rows. The bits of lost samples go into `mask` [nfibre, ny]."""
    nx = image.pixels.shape[1]
    n = math.ceil(tables.width) + 1
    lowest, highest = np.int32(-n), np.int32(nx)
    inner = work.pixels[_MARGIN : _MARGIN + nx]
    filled = -1  # block of which work.scale is
    for y in range(first, last):
        if y % STEP == 0 or y == first:
            _place_block(knots, tables, y // STEP, work)
        _place_row(work.start, work.a, work.b, work.c, work.d, _F((y % STEP) / STEP), lowest, highest, work.first, work.phase)
        flagged = _prepare(image.pixels[y], image.ivar[y], image.mask[y], inner)
        total, variance = sums.total[y - start], sums.variance[y - start]
        if (always or flagged or tables.width != 7.0) and filled != y // STEP:
            _fill_scale(tables.own, work.sigma, work.part, work.scale)
            filled = y // STEP
        if tables.width == 7.0:
            _sum_seven(work.pixels, work.first, work.phase, work.even, total)
        else:
            _sum_any(work.pixels, work.first, work.phase, work.scale, tables.width, total)
        sums.lost[y - start] = 0
        sums.flagged[y - start] = flagged
        if always or flagged:
            _invert(image.ivar[y], work.variance[_MARGIN : _MARGIN + nx])
            _variances(work.variance, work.first, work.phase, work.scale, tables.width, variance)
        else:
            variance[:] = NOT_MADE
        if _count_nan(total) > 0:
            _repair_row(image, tables, settings, bits, y, start, work, sums, mask)


@jit
def fill_lost(sums: Any, n: int) -> None:
    """Electrons of lost samples of the first n rows: the last value of the fibre before, or the first one after; 0 in a fibre without any."""
    nfibre = sums.total.shape[1]
    for f in range(nfibre):
        if sums.variance[0, f] == _ZERO:
            for y in range(1, n):
                if sums.variance[y, f] != _ZERO:
                    sums.total[0, f] = sums.total[y, f]
                    break
    for y in range(1, n):
        for i in range(sums.lost[y]):
            f = sums.which[y, i]
            sums.total[y, f] = sums.total[y - 1, f]
