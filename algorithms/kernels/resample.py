"""Calibrations brought to the wavelengths of each fibre, and applied in the same pass.

A calibration vector is smooth on the scale of its own steps, so that linear interpolation on a uniform grid is enough: with steps of
0.8 Angstrom the error is below 1e-5 of the value. Arrays are [nfibre, nwave]: flux and ivar float32, mask uint32, wave float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import get_threads, jit, run_tasks

Array = npt.NDArray[Any]
_F = np.float32
_UNIFORM = 0.02
"""Departure from equal steps, in steps, up to which a grid counts as uniform: wavelengths that were stored as float32 depart by 0.001."""
_BLOCK = 64
_LEAST = _F(1e-6)
_ZERO, _ONE = _F(0), _F(1)
LARGEST = _F(1e30)
"""More than that, in either direction, is no finite number."""
NO_DATA = np.uint32(1 << 8)
"""`SpecMask.NODATA`: flux or ivar is no finite number; then flux and ivar are 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Values [n, m] float32 at wavelengths first + step * (0 ... m - 1)."""

    first: float
    step: float
    values: Array


def is_uniform(wave: Array) -> bool:
    """Whether wavelengths [m] rise in equal steps."""
    if wave.size < 2 or not wave[-1] > wave[0]:
        return False
    even = np.linspace(wave[0], wave[-1], wave.size)
    return bool(np.abs(wave - even).max() <= _UNIFORM * (even[1] - even[0]))


def tabulate(wave: Array, values: Array) -> Table:
    """Rows of values [n, m] at wavelengths [m] or [n, m] as a table with equal steps; NaN where a row does not reach.

    Raises ValueError where the wavelengths do not rise.
    """
    if wave.ndim == 1 and is_uniform(wave):
        return Table(first=float(wave[0]), step=float((wave[-1] - wave[0]) / (wave.size - 1)), values=np.ascontiguousarray(values, _F))
    rows = np.broadcast_to(wave, values.shape)
    if not (np.diff(rows, axis=1) > 0).all():
        raise ValueError("wavelengths of a calibration do not rise")
    first, last = float(rows[:, 0].min()), float(rows[:, -1].max())
    n = max(2, round((last - first) / float(np.median(np.diff(rows, axis=1)))) + 1)
    grid = np.linspace(first, last, n)
    even = np.stack([np.interp(grid, rows[i], values[i], left=np.nan, right=np.nan) for i in range(len(values))])
    return Table(first=first, step=float(grid[1] - grid[0]), values=even.astype(_F))


def by_blocks(n: int, task: Any) -> None:
    """Call task(first, last) for blocks of rows, on the threads of the process."""
    edges = list(range(0, n, _BLOCK if get_threads() > 1 else max(n, 1)))
    run_tasks(lambda a: task(a, min(n, a + (_BLOCK if get_threads() > 1 else n))), edges)


def new_room(nwave: int) -> tuple[Array, Array, Array]:
    """Room to work in for `divide_flat` and `divide_calibration`: made outside, because compiled loops over arrays made inside are slower."""
    return np.empty(nwave, _F), np.empty(nwave, _F), np.empty(nwave, np.int32)


@jit
def interpolate(wave: Array, first: float, step: float, table: Array, out: Array, index: Array) -> None:
    """Values of a table [m] at wavelengths [nwave], and the interval of each sample, -1 beyond half a step from its ends."""
    m = table.size
    scale, top = 1.0 / step, m - 0.5
    for j in range(wave.size):
        u = (wave[j] - first) * scale
        k = np.int32(min(max(u, 0.0), m - 2.0))
        index[j] = k if u >= -0.5 and u <= top else np.int32(-1)
        x = _F(u - k)
        out[j] = table[k] + x * (table[k + 1] - table[k])


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _flat_flux(flux: Array, ivar: Array, q: Array, v: Array, out: Array) -> None:
    """out = flux / q where both are known. As the two loops below: one array written and few read, or the compiler does not vectorise."""
    for j in range(out.size):
        usable = (v[j] < LARGEST) & (q[j] > _LEAST) & (q[j] < LARGEST)
        known = (abs(flux[j]) <= LARGEST) & (abs(ivar[j]) <= LARGEST)
        out[j] = (flux[j] if known & usable else _ZERO) / (q[j] if usable else _ONE)


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _flat_ivar(flux: Array, ivar: Array, q: Array, v: Array, lowest: Any, divided: Array, out: Array) -> None:
    """out = ivar q^2, with the variance of the flat added; `divided`: flux over flat."""
    for j in range(out.size):
        known = (abs(flux[j]) <= LARGEST) & (abs(ivar[j]) <= LARGEST)
        enough = known & (v[j] < LARGEST) & (q[j] > _LEAST) & (q[j] < LARGEST) & (q[j] >= lowest)
        value = q[j] if enough else _ONE
        w = (ivar[j] if enough else _ZERO) * value * value
        g = divided[j] / value
        out[j] = w / (_ONE + w * g * g * (v[j] if enough else _ZERO))


@jit
def _flat_mask(flux: Array, ivar: Array, q: Array, v: Array, lowest: Any, low_bit: Any, bad_bit: Any, mask: Array, out: Array) -> None:
    none = np.uint32(0)
    for j in range(out.size):
        usable = (v[j] < LARGEST) & (q[j] > _LEAST) & (q[j] < LARGEST)
        known = (abs(flux[j]) <= LARGEST) & (abs(ivar[j]) <= LARGEST)
        bits = mask[j] | (none if known else NO_DATA)
        out[j] = bits | ((none if q[j] >= lowest else low_bit) if usable else bad_bit)


@jit
def divide_flat(
    flux: Array,
    ivar: Array,
    mask: Array,
    wave: Array,
    rows: Array,
    first: float,
    step: float,
    flat: Array,
    flat_var: Array,
    lowest: Any,
    low_bit: Any,
    bad_bit: Any,
    room: Any,
    out: Array,
    out_ivar: Array,
    out_mask: Array,
) -> None:
    """out = flux / flat, with the variance of the flat added.

    `rows` [nfibre]: the row of the flat of each fibre, -1 where it has none. `flat`, `flat_var` [n, m]; a variance that is no finite number
    says that the flat is not usable. Below `lowest` a sample gets `low_bit`, where there is no flat `bad_bit`; both have ivar 0.
    `room`: as of `new_room`.
    """
    nwave = flux.shape[1]
    q, v, index = room
    for i in range(flux.shape[0]):
        row = rows[i]
        if row < 0:
            q[:] = _ZERO
            v[:] = _ZERO
        else:
            interpolate(wave[i], first, step, flat[row], q, index)
            spread = flat_var[row]
            for j in range(nwave):
                k = index[j]
                v[j] = max(spread[k], spread[k + 1]) if k >= 0 else LARGEST
        _flat_flux(flux[i], ivar[i], q, v, out[i])
        _flat_ivar(flux[i], ivar[i], q, v, lowest, out[i], out_ivar[i])
        _flat_mask(flux[i], ivar[i], q, v, lowest, low_bit, bad_bit, mask[i], out_mask[i])


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _calibrate(flux: Array, ivar: Array, c: Array, out: Array) -> None:
    """out = flux / c; c is 0 where it is not usable."""
    for j in range(out.size):
        known = (abs(flux[j]) <= LARGEST) & (abs(ivar[j]) <= LARGEST) & (c[j] > _ZERO)
        out[j] = (flux[j] if known else _ZERO) / (c[j] if known else _ONE)


@jit
def _calibrate_ivar(flux: Array, ivar: Array, c: Array, out: Array) -> None:
    for j in range(out.size):
        known = (abs(flux[j]) <= LARGEST) & (abs(ivar[j]) <= LARGEST)
        out[j] = (ivar[j] if known else _ZERO) * (c[j] * c[j])


@jit
def _calibrate_mask(flux: Array, ivar: Array, c: Array, bad_bit: Any, mask: Array, out: Array) -> None:
    none = np.uint32(0)
    for j in range(out.size):
        known = (abs(flux[j]) <= LARGEST) & (abs(ivar[j]) <= LARGEST)
        out[j] = mask[j] | (none if known else NO_DATA) | (none if c[j] > _ZERO else bad_bit)


@jit
def divide_calibration(
    flux: Array,
    ivar: Array,
    mask: Array,
    wave: Array,
    rows: Array,
    first: float,
    step: float,
    calib: Array,
    bad_bit: Any,
    room: Any,
    out: Array,
    out_ivar: Array,
    out_mask: Array,
) -> None:
    """out = flux / calib, ivar calib^2; where the calibration does not reach or is not positive: 0, ivar 0 and `bad_bit`.

    `rows` [nfibre]: the row of `calib` [n, m] of each fibre, -1 where it has none. `room`: as of `new_room`.
    """
    c, _, index = room
    for i in range(flux.shape[0]):
        if rows[i] < 0:
            c[:] = _ZERO
        else:
            interpolate(wave[i], first, step, calib[rows[i]], c, index)
            for j in range(c.size):
                usable = (index[j] >= 0) & (c[j] > _ZERO) & (c[j] < LARGEST)
                c[j] = c[j] if usable else _ZERO
        _calibrate(flux[i], ivar[i], c, out[i])
        _calibrate_ivar(flux[i], ivar[i], c, out_ivar[i])
        _calibrate_mask(flux[i], ivar[i], c, bad_bit, mask[i], out_mask[i])


@jit
def subtract(
    flux: Array,
    ivar: Array,
    mask: Array,
    sky: Array,
    sky_ivar: Array,
    sky_mask: Array,
    scale: Array,
    bad_bit: Any,
    out: Array,
    out_ivar: Array,
    out_mask: Array,
) -> None:
    """out = flux - scale sky, with the variance of the sky added; `scale` [nfibre]. Where the sky is not known: ivar 0 and `bad_bit`."""
    zero, one = _F(0), _F(1)
    for i in range(flux.shape[0]):
        s = scale[i]
        for j in range(flux.shape[1]):
            has = sky_ivar[i, j] > zero and abs(sky[i, j]) <= LARGEST
            known = abs(flux[i, j]) <= LARGEST and abs(ivar[i, j]) <= LARGEST
            w = ivar[i, j] if known else zero
            v = s * s / sky_ivar[i, j] if has else zero
            f = flux[i, j] if known else zero
            out[i, j] = f - s * sky[i, j] if has and known else f
            out_ivar[i, j] = w / (one + w * v) if has else zero
            bits = mask[i, j] | sky_mask[i, j] | (np.uint32(0) if has else bad_bit)
            out_mask[i, j] = bits if known else bits | NO_DATA


def empty_like(flux: Array) -> tuple[Array, Array, Array]:
    """Flux, ivar and mask to be filled, of the shape of `flux`."""
    return np.empty(flux.shape, _F), np.empty(flux.shape, _F), np.empty(flux.shape, np.uint32)
