"""From sums over windows to spectra: light of the neighbours taken off, variances, flux per Angstrom; wavelengths along the fibres.

Row after row with all fibres in each; blocks of 32 rows are turned into spectra while they are in the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from algorithms.kernels.extraction import Float32
from algorithms.kernels.lightrows import HALO, RING, add_mean, model_variance
from algorithms.kernels.profile import PHASES, of_neighbour, place
from algorithms.kernels.repair import at_row
from algorithms.kernels.tracegrid import STEP, cubic
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO, _ONE = _F(0), _F(1)
_U32 = np.uint32
_NEIGHBOURS = 4
"""Blocks that share the fractions of the light of neighbours."""
_SHARE = _F(1e-5)
"""Fraction of the light of a neighbour that is worth a thought: 1e-5 of a saturated fibre is a few electrons."""
_AMPLIFIER_ROWS = 16
"""Rows after which is looked again to which amplifier a fibre belongs."""


class Room(NamedTuple):
    """Working arrays, float32: [32, nfibre] flux and ivar of a block, and the means of four rows; [nfibre] fractions of the light of the fibres
    before and after that fall into a window, own fraction, variance by light over the light, variance without light, Angstrom per row as
    b + c s + d s^2 (s = 0 ... 1 in a block) and as such, electrons, variance, far and near model."""

    flux: Float32
    ivar: Float32
    ring: Float32
    before: Float32
    after: Float32
    own: Float32
    photons: Float32
    base: Float32
    b: Float32
    c: Float32
    d: Float32
    width: Float32
    electrons: Float32
    variance: Float32
    far: Float32
    near: Float32


def new_room(nfibre: int) -> Room:
    """Room to work in."""
    blocks = (np.empty((n, nfibre), _F) for n in (STEP, STEP, RING))
    return Room(*blocks, *(np.zeros(nfibre, _F) for _ in range(13)))


@jit
def _fractions(knots: Any, tables: Any, block: int, room: Any) -> None:
    """Fractions of the light of the neighbours that fall into the windows, at the end of the block."""
    x, sigma, sigmas, other, before, after = knots.x, knots.xsig, tables.sigma, tables.other, room.before, room.after
    before[0] = after[x.shape[0] - 1] = _ZERO
    for f in range(x.shape[0] - 1):
        distance = abs(x[f + 1, block + 1] - x[f, block + 1])
        i, part = place(sigmas, sigma[f, block])
        before[f + 1] = _F(of_neighbour(other, i, part, distance))
        i, part = place(sigmas, sigma[f + 1, block])
        after[f] = _F(of_neighbour(other, i, part, distance))


@jit
def _start_block(knots: Any, tables: Any, block: int, room: Any) -> None:
    """Own fractions (their means over places of the window within a pixel) and dispersion."""
    sigmas, sigma, values, slopes = tables.sigma, knots.xsig, knots.wave, knots.dwave
    own, photons, b, c, d = room.own, room.photons, room.b, room.c, room.d
    means = np.zeros(sigmas.size)
    for i in range(means.size):
        for p in range(PHASES):
            means[i] += tables.own[i, p] / PHASES
    for f in range(own.size):
        i, part = place(sigmas, 0.5 * (sigma[f, block] + sigma[f, block + 1]))
        own[f] = _F((1 - part) * means[i] + part * means[i + 1])
        photons[f] = _F((1 - part) * tables.photons[i] + part * tables.photons[i + 1])
        _, one, two, three = cubic(values[f, block], slopes[f, block], values[f, block + 1], slopes[f, block + 1])
        b[f], c[f], d[f] = _F(one / STEP), _F(2 * two / STEP), _F(3 * three / STEP)


@jit
def _base(noise: Any, knots: Any, y: int, width: float, out: Array) -> None:
    """out [nfibre] = variance of the windows of row y without light; NaN where it is not known."""
    block = y // STEP
    s = (y - block * STEP) / STEP
    out[:] = _F(np.nan)
    for k in range(noise.variance.size):
        y0, y1, x0, x1 = noise.boxes[k]
        if not y0 <= y < y1:
            continue
        value = _F(noise.variance[k] * (width - 1 / 3))  # the mean of sum of w^2 over places of the window within a pixel
        for f in range(out.size):
            x = (1 - s) * knots.x[f, block] + s * knots.x[f, block + 1]
            if x0 <= x + 0.5 < x1:
                out[f] = value


@jit
def _begins(noise: Any, y: int) -> bool:
    """Whether an amplifier begins or ends at row y."""
    found = False
    for k in range(noise.variance.size):
        found |= noise.boxes[k, 0] == y or noise.boxes[k, 1] == y
    return found


@jit
def _without_neighbours(total: Array, variance: Array, before: Array, after: Array, out: Array) -> None:
    """out = electrons less what the neighbours give to the window; repaired and lost samples have none of it."""
    n = out.size
    left, right = total[: max(n - 2, 0)], total[2:]
    inner, usual, one, other, target = total[1 : n - 1], variance[1 : n - 1], before[1 : n - 1], after[1 : n - 1], out[1 : n - 1]
    for f in range(target.size):
        light = one[f] * left[f] + other[f] * right[f]
        target[f] = inner[f] - (light if usual[f] > _ZERO else _ZERO)
    for f in (0, n - 1):
        light = before[f] * total[max(f - 1, 0)] + after[f] * total[min(f + 1, n - 1)]
        out[f] = total[f] - (light if variance[f] > _ZERO else _ZERO)


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
def _honest(mask: Array, knots: Any, width: float, y: int, stated: Array, room: Any) -> None:
    """Variance from ivar where that of the model is not known, or where flagged pixels claim more than twice as much."""
    for f in range(stated.size):
        own = stated[f] * room.own[f] * room.own[f]
        modelled = room.variance[f]
        if not modelled > _ZERO or (own > _F(2) * modelled and _is_flagged(mask, knots, width, f, y)):
            room.variance[f] = own


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _dispersion(b: Array, c: Array, d: Array, s: Any, out: Array) -> None:
    for f in range(out.size):
        out[f] = b[f] + s * (c[f] + s * d[f])


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _per_angstrom(electrons: Array, width: Array, out: Array) -> None:
    for f in range(out.size):
        out[f] = electrons[f] / width[f]


@jit(error_model="numpy")  # type: ignore[untyped-decorator]
def _weights(variance: Array, modelled: Array, own: Array, width: Array, out: Array) -> None:
    """ivar per Angstrom^-2: usual samples from the model, repaired ones their own, lost ones 0."""
    for f in range(out.size):
        usual = variance[f] > _ZERO
        top = own[f] * own[f] if usual else _ONE
        bottom = modelled[f] if usual else -variance[f]
        weight = top / bottom
        out[f] = weight * (width[f] * width[f]) if variance[f] != _ZERO else _ZERO


@jit
def _beside_lost(y: int, which: Array, total: Array, stated: Array, room: Any, bits: Any, weights: Array, mask: Array) -> None:
    """What the neighbours of the fibres `which` get, whose samples in row y are lost, is not known: beside saturated light, which may be any
    amount, they are lost too; elsewhere its fraction of the larger one of both fibres' light (the lost one's: that of the row before) adds to
    their variance."""
    saturated = _U32(bits.spec_saturated | bits.some)
    for f in which:
        for g in range(max(f - 1, 0), min(f + 2, total.size)):
            share = room.after[g] if g < f else room.before[g]
            if g == f or stated[g] == _ZERO or not share > _SHARE:
                continue
            if mask[f, y] & _U32(bits.spec_saturated):
                mask[g, y] |= saturated
                weights[g] = _ZERO
            else:
                light = share * max(abs(total[f]), abs(total[g])) / room.width[g]
                weights[g] /= _ONE + weights[g] * light * light


@jit
def _turn(rows: Array, start: int, n: int, out: Array) -> None:
    """Rows [n, nfibre] into spectra [nfibre, ny] from sample `start` on."""
    for f in range(out.shape[0]):
        line = out[f, start : start + n]
        for r in range(n):
            line[r] = rows[r, f]


@jit
def make_rows(
    mask: Array, knots: Any, tables: Any, noise: Any, bits: Any, always: bool, first: int, last: int, before: int, sums: Any, room: Any, out: Any
) -> None:
    """Flux and ivar of the rows of blocks `first` to `last` (exclusive) from the sums of these rows and ten on either side, of which the first one
    is that of row `before`; `always`: as in `rowsums.sum_rows`. Neighbours of saturated samples get their bits in `out.mask`."""
    ny = out.flux.shape[1]
    for k in range(first * STEP - HALO, first * STEP + HALO - 3):
        add_mean(sums.total, before, ny, k, room.ring)
    for block in range(first, min(last, (ny + STEP - 1) // STEP)):
        start, rows = block * STEP, min(STEP, ny - block * STEP)
        _start_block(knots, tables, block, room)
        if block % _NEIGHBOURS == 0 or block == first:
            group = block - block % _NEIGHBOURS
            _fractions(knots, tables, min(group + 1, knots.x.shape[1] - 2), room)
        for r in range(rows):
            y = start + r
            total, stated = sums.total[y - before], sums.variance[y - before]
            if r % _AMPLIFIER_ROWS == 0 or _begins(noise, y):
                _base(noise, knots, y, tables.width, room.base)
            add_mean(sums.total, before, ny, y + HALO - 3, room.ring)
            model_variance(sums.total, before, ny, y, room.photons, room.base, room.ring, room.far, room.near, room.variance)
            if always or sums.flagged[y - before]:
                _honest(mask, knots, tables.width, y, stated, room)
            _without_neighbours(total, stated, room.before, room.after, room.electrons)
            _dispersion(room.b, room.c, room.d, _F(r / STEP), room.width)
            _per_angstrom(room.electrons, room.width, room.flux[r])
            _weights(stated, room.variance, room.own, room.width, room.ivar[r])
            lost = sums.lost[y - before]
            if lost > 0:
                _beside_lost(y, sums.which[y - before, :lost], total, stated, room, bits, room.ivar[r], out.mask)
        _turn(room.flux, start, rows, out.flux)
        _turn(room.ivar, start, rows, out.ivar)


@jit
def make_grid(knots: Any, alive: Array, bits: Any, first: int, last: int, out: Any) -> None:
    """Wavelengths and line-spread functions of fibres `first` to `last` (exclusive); fibres that are not alive and rows beyond the traces masked."""
    ny = out.wave.shape[1]
    for f in range(first, last):
        for block in range((ny + STEP - 1) // STEP):
            a, b, c, d = cubic(knots.wave[f, block], knots.dwave[f, block], knots.wave[f, block + 1], knots.dwave[f, block + 1])
            y0, y1 = block * STEP, min((block + 1) * STEP, ny)
            wave, sigma = out.wave[f, y0:y1], out.sigma[f, y0:y1]
            low, rise = knots.ysig[f, block], (knots.ysig[f, block + 1] - knots.ysig[f, block]) / STEP
            for r in range(y1 - y0):
                s = r / STEP
                wave[r] = a + s * (b + s * (c + s * d))
                sigma[r] = (b + s * (2 * c + 3 * s * d)) / STEP * (low + rise * r)
        if not alive[f]:
            out.mask[f] |= _U32(bits.bad_fibre)
            out.ivar[f] = _ZERO
        if knots.first[f] > 0 or knots.last[f] < ny - 1:
            for y in range(ny):
                if not knots.first[f] <= y <= knots.last[f]:
                    out.mask[f, y] |= _U32(bits.all)
                    out.ivar[f, y] = _ZERO
