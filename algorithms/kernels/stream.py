"""The compiled stream of the preprocessing: the rows of one amplifier, from raw pixels to image, inverse variance and mask.

The formulas stand in `algorithms.kernels.preproc`. The rows stream through two ring buffers that stay in the cache: `near` holds the
last rows of electrons, `far` the means of four of them, so that the variance of a row is made ten rows after its electrons.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from algorithms.kernels.cosmics import collect, seek
from algorithms.kernels.rows import (
    BESIDE_LINE,
    add_dark,
    add_model,
    add_stepped,
    copy,
    divide,
    drop_nonfinite,
    fill,
    flag_flat,
    invert,
    load,
    mean4,
    median5,
    near_model,
    scale,
    set_bits,
    subtract,
    subtract_raw,
    subtract_scaled,
    times_square,
)
from quicklook.core.compiled import jit

Float32 = npt.NDArray[np.float32]
UInt16 = npt.NDArray[np.uint16]
Array = npt.NDArray[Any]

HALO = 10
"""Rows before and after a row on which its variance depends."""
_NEAR_RING, _FAR_RING = 13, 18
_F = np.float32
_U = np.uint16


class Frame(NamedTuple):
    """Arrays and settings of the whole frame, as the compiled code takes them; an absent array is a dummy of one pixel."""

    raw: Array
    bias: Float32
    dark: Float32
    flat: Float32
    bad: UInt16
    has_bias: bool
    has_dark: bool
    has_flat: bool
    has_bad: bool
    exptime: Any
    flat_low: Any
    saturated_bit: Any
    flat_zero_bit: Any
    flat_low_bit: Any
    nonfinite_bit: Any
    unusable: Any
    search: bool
    limits: Any


class Part(NamedTuple):
    """One amplifier, as the compiled code takes it. A row of `source`: y, step in y, x, step in x, y and x in the bias."""

    ny: int
    nx: int
    data_y: int
    data_x: int
    ccd_y: int
    ccd_x: int
    bias_y: int
    bias_x: int
    gain: Any
    saturation: Any
    variance: Any
    bits: Any
    row_level: Float32
    row_variance: Float32
    col_level: Float32
    col_variance: Float32
    has_col: bool
    source: npt.NDArray[np.int64]
    source_factor: Float32
    source_level: Float32
    source_col: Float32


@jit
def _mirror(v: int, n: int) -> int:
    """Row of a section of n rows that stands for row v, which may lie outside."""
    if v < 0:
        v = -v
    if v >= n:
        v = 2 * (n - 1) - v
    return min(max(v, 0), n - 1)


@jit
def _crosstalk(frame: Any, part: Any, y: int, acc: Any) -> None:
    """Subtract what the other amplifiers read at the same moment, times their factors."""
    for s in range(part.source_factor.size):
        y0, step_y, x0, step_x, bias_y, bias_x = part.source[s]
        factor = part.source_factor[s]
        subtract_raw(acc, frame.raw[y0 + step_y * y], x0, step_x, part.source_level[s, y], factor)
        if frame.has_bias:
            add_stepped(acc, frame.bias[bias_y + step_y * y], bias_x, step_x, factor)
        if part.has_col:
            add_stepped(acc, part.source_col[s], 0, 1, factor)


@jit
def _electrons(frame: Any, part: Any, y: int, acc: Any, bits: Any) -> None:
    """Row y of the section before the flat, electron, and its mask bits."""
    n = part.nx
    ccd_y, ccd_x, data_x, bias_x = part.ccd_y + y, part.ccd_x, part.data_x, part.bias_x
    load(frame.raw[part.data_y + y, data_x : data_x + n], part.row_level[y], part.saturation, frame.saturated_bit, part.bits, acc, bits)
    if frame.has_bias:
        subtract(acc, frame.bias[part.bias_y + y, bias_x : bias_x + n])
    if part.has_col:
        subtract(acc, part.col_level)
    _crosstalk(frame, part, y, acc)
    scale(acc, part.gain)
    if frame.has_dark:
        subtract_scaled(acc, frame.dark[ccd_y, ccd_x : ccd_x + n], frame.exptime)
    if frame.has_bad:
        set_bits(bits, frame.bad[ccd_y, ccd_x : ccd_x + n])
    drop_nonfinite(acc, bits, frame.nonfinite_bit)
    if frame.has_flat:
        flag_flat(frame.flat[ccd_y, ccd_x : ccd_x + n], frame.flat_low, frame.flat_zero_bit, frame.flat_low_bit, frame.nonfinite_bit, bits)


@jit
def _variance(frame: Any, part: Any, y: int, near: Any, far: Any, scratch: Any, var: Any) -> None:
    """Variance of row y before the flat, electron^2, from the rings of rows (near) and of means of four rows (far)."""
    gain2 = part.gain * part.gain
    var[:] = part.variance + gain2 * part.row_variance[y]
    if part.has_col:
        subtract_scaled(var, part.col_variance, -gain2)
    if frame.has_dark:
        add_dark(frame.dark[part.ccd_y + y, part.ccd_x : part.ccd_x + part.nx], frame.exptime, var)
    k, m = _NEAR_RING, _FAR_RING
    a, b, c, d = near[(y - 2) % k], near[(y - 1) % k], near[(y + 1) % k], near[(y + 2) % k]
    mean4(a, b, c, d, scratch[0])
    median5(far[(y - 7) % m], far[(y - 3) % m], far[(y + 6) % m], far[(y + 10) % m], scratch[0], scratch[2])
    sigma = np.sqrt(part.variance)
    near_model(a, b, c, d, BESIDE_LINE * sigma, scratch[1])
    add_model(scratch[0], scratch[1], scratch[2], sigma, var)


@jit
def stream(frame: Any, part: Any, first: int, last: int, image: Any, ivar: Any, mask: Any) -> Any:
    """Rows first to last (exclusive) of one amplifier; returns the seeds of cosmic rays, as indices of the flattened image."""
    n = part.nx
    near, far = np.zeros((_NEAR_RING, n), _F), np.zeros((_FAR_RING, n), _F)
    scratch, acc, bits = np.empty((3, n), _F), np.empty(n, _F), np.empty(n, _U)
    hits, seeds, count = np.zeros(n, _F), np.empty(4096, np.int64), 0
    x0, x1 = part.ccd_x, part.ccd_x + n
    for v in range(first - HALO, last + HALO):
        _electrons(frame, part, _mirror(v, part.ny), acc, bits)
        fill(acc, bits, frame.unusable, near[(v - 1) % _NEAR_RING], near[v % _NEAR_RING])
        k = _NEAR_RING
        mean4(near[(v - 3) % k], near[(v - 2) % k], near[(v - 1) % k], near[v % k], far[v % _FAR_RING])
        if first <= v < last:
            y = part.ccd_y + v
            copy(bits, mask[y, x0:x1])
            if frame.has_flat:
                divide(acc, frame.flat[y, x0:x1], image[y, x0:x1])
            else:
                copy(acc, image[y, x0:x1])
        if v - HALO >= first:
            y = part.ccd_y + v - HALO
            _variance(frame, part, v - HALO, near, far, scratch, acc)
            if frame.search:
                r = v - HALO
                seek(near[(r - 1) % k], near[r % k], near[(r + 1) % k], scratch[0], acc, frame.limits, hits)
                seeds, count = collect(hits, y * image.shape[1] + x0, seeds, count)
            invert(acc, mask[y, x0:x1], frame.unusable, ivar[y, x0:x1])
            if frame.has_flat:
                times_square(frame.flat[y, x0:x1], ivar[y, x0:x1])
    return seeds[:count]
