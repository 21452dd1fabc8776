"""From sums over windows to spectra: light of the neighbours taken off, variances, wavelengths; along one fibre after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.lightmodel import fill_lost, model_variance
from algorithms.kernels.lostpixels import at_row
from algorithms.kernels.profile import of_neighbour
from algorithms.kernels.tracegrid import STEP, cubic
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO, _ONE = _F(0), _F(1)
_U32 = np.uint32


@jit
def _from_neighbours(knots: Any, tables: Any, f: int, block: int) -> tuple[float, float]:
    """Fractions of the light of the fibres before and after f that fall into its window, at the end of the block."""
    before = after = 0.0
    x = knots.x[f, block + 1]
    if f > 0:
        distance = abs(knots.x[f - 1, block + 1] - x)
        before = of_neighbour(tables, knots.xsig[f - 1, block], distance)
    if f + 1 < knots.x.shape[0]:
        distance = abs(knots.x[f + 1, block + 1] - x)
        after = of_neighbour(tables, knots.xsig[f + 1, block], distance)
    return before, after


@jit
def _base(noise: Any, knots: Any, f: int, width: float, out: Array) -> Any:
    """out [ny] = variance of the window of fibre f without light; whether it is known throughout."""
    out[:] = _F(np.nan)
    for k in range(noise.variance.size):
        y0, y1, x0, x1 = noise.boxes[k]
        for y in range(y0, min(y1, out.size)):
            block = y // STEP
            s = (y - block * STEP) / STEP
            x = (1 - s) * knots.x[f, block] + s * knots.x[f, block + 1]
            if x0 <= x + 0.5 < x1:
                out[y] = noise.variance[k] * (width - 1 / 3)  # the mean of sum of w^2 over places of the window within a pixel
    return noise.variance.size > 0


@jit
def _without_neighbours(knots: Any, tables: Any, f: int, sums: Any, out: Array) -> None:
    """out [ny] = electrons of fibre f without what its neighbours give to its window; a repaired sample has none of it."""
    ny, nfibre = out.size, sums.electrons.shape[0]
    usual = sums.variance[f]
    left, right = sums.electrons[max(f - 1, 0)], sums.electrons[min(f + 1, nfibre - 1)]
    out[:] = sums.electrons[f]
    for block in range(0, (ny + STEP - 1) // STEP, 4):
        before, after = _from_neighbours(knots, tables, f, min(block + 1, knots.x.shape[1] - 2))
        one, other = _F(before), _F(after)
        for y in range(block * STEP, min((block + 4) * STEP, ny)):
            light = one * left[y] + other * right[y]
            out[y] -= light if usual[y] > _ZERO else _ZERO


@jit
def _grid(knots: Any, f: int, width: Array, out: Any) -> None:
    """Wavelength and line-spread function of fibre f into `out`; width [ny] of its rows, Angstrom."""
    ny = width.size
    for block in range((ny + STEP - 1) // STEP):
        a, b, c, d = cubic(knots.wave[f, block], knots.dwave[f, block], knots.wave[f, block + 1], knots.dwave[f, block + 1])
        y0, y1 = block * STEP, min((block + 1) * STEP, ny)
        wave, sigma = out.wave[f, y0:y1], out.sigma[f, y0:y1]
        low, rise = knots.ysig[f, block], (knots.ysig[f, block + 1] - knots.ysig[f, block]) / STEP
        for r in range(y1 - y0):
            s = r / STEP
            wave[r] = a + s * (b + s * (c + s * d))
            slope = (b + s * (2 * c + 3 * s * d)) / STEP
            width[y0 + r] = slope
            sigma[r] = slope * (low + rise * r)


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _combine(electrons: Array, sums: Any, f: int, modelled: Array, width: Array, out: Any) -> None:
    """Flux and ivar per Angstrom of fibre f; a sample of variance 0 was repaired and has its ivar already, in electron^-2."""
    flux, ivar, own, variance = out.flux[f], out.ivar[f], sums.own[f], sums.variance[f]
    for y in range(electrons.size):
        weight = own[y] * own[y] / modelled[y] if variance[y] > _ZERO else ivar[y]
        flux[y] = electrons[y] / width[y]
        ivar[y] = weight * (width[y] * width[y])


@jit
def _is_flagged(mask: Array, knots: Any, width: float, f: int, y: int) -> bool:
    """Whether a pixel of the window has a bit in the mask of the image."""
    block = y // STEP
    x = at_row(knots, f, block, (y - block * STEP) / STEP)[0]
    found = False
    for k in range(max(int(x - 0.5 * width), 0), min(int(x + 0.5 * width) + 2, mask.shape[1])):
        found |= mask[y, k] != 0
    return found


@jit
def make_spectra(mask: Array, knots: Any, tables: Any, noise: Any, alive: Array, bits: Any, first: int, last: int, sums: Any, out: Any) -> None:
    """Spectra of fibres `first` to `last` (exclusive) from the sums of all."""
    ny = out.flux.shape[1]
    electrons, filled, base, modelled, width = (np.empty(ny, _F), np.empty(ny, _F), np.empty(ny, _F), np.empty(ny, _F), np.empty(ny, _F))
    for f in range(first, last):
        _grid(knots, f, width, out)
        _without_neighbours(knots, tables, f, sums, electrons)
        fill_lost(sums.electrons[f], out.mask[f], filled)
        if _base(noise, knots, f, tables.width, base):
            model_variance(filled, sums.own[f], base, modelled)
        else:
            modelled[:] = _F(np.nan)
        for y in range(ny):
            if out.mask[f, y]:
                electrons[y] = filled[y]
            stated = sums.variance[f, y] * sums.own[f, y] * sums.own[f, y]
            if not modelled[y] > _ZERO or (stated > _F(2) * modelled[y] and _is_flagged(mask, knots, tables.width, f, y)):
                modelled[y] = stated
        _combine(electrons, sums, f, modelled, width, out)
        for y in range(ny):
            flags = _U32(0 if alive[f] else bits.bad_fibre) | _U32(0 if knots.first[f] <= y <= knots.last[f] else bits.all)
            out.mask[f, y] |= flags
            if flags:
                out.ivar[f, y] = _ZERO
