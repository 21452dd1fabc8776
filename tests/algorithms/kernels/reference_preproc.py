"""Slow, plain numpy (float64) versions of the preprocessing kernels, written from the formulas in their docstrings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.preproc import Amp, Bits

Array = npt.NDArray[Any]
FLAT_LOW_BIT = 1 << 6


def _source_signal(raw: Array, bias: Array | None, amps: Sequence[Amp], index: int, corner: tuple[bool, bool]) -> Array:
    """What source amplifier `index` reads while the victim reads each of its pixels, ADU over bias and level, in the victim's order."""
    source = amps[index]
    y0, y1, x0, x1 = source.data
    signal = raw[y0:y1, x0:x1].astype(float) - source.row_level[:, None]
    if bias is not None:
        signal = signal - (bias[y0:y1, x0:x1] if bias.shape == raw.shape else bias[source.ccd[0] : source.ccd[1], source.ccd[2] : source.ccd[3]])
    if source.col_level is not None:
        signal = signal - source.col_level[None, :]
    if source.corner[0] != corner[0]:
        signal = signal[::-1]
    if source.corner[1] != corner[1]:
        signal = signal[:, ::-1]
    return signal


def signal_model(electrons: Array, usable: Array, noise_variance: float, base: Array) -> tuple[Array, Array]:
    """(variance from the model, whether a limit on the near model was nearly met) of one amplifier, both [ny, nx]."""
    filled = electrons.copy()
    last = np.zeros(electrons.shape[1])
    ny = electrons.shape[0]
    index = [min(max(2 * (ny - 1) - abs(v) if abs(v) >= ny else abs(v), 0), ny - 1) for v in range(-10, ny + 10)]
    rows = []
    for y in index:
        last = np.where(usable[y], electrons[y], last)
        rows.append(last)
    filled = np.array(rows)

    def at(k: int) -> Array:
        return filled[10 + k : 10 + k + ny]

    groups = [(-10, -9, -8, -7), (-6, -5, -4, -3), (-2, -1, 1, 2), (3, 4, 5, 6), (7, 8, 9, 10)]
    means = np.array([np.mean([at(k) for k in g], axis=0) for g in groups])
    ordered = np.sort(means, axis=0)
    far, spread = ordered[2], ordered[3] - ordered[0]
    x = np.array([-2, -1, 1, 2.0])
    weights = np.linalg.inv(np.vander(x, 4, increasing=True))[0]  # the cubic through four points, at 0
    cubic = sum(w * at(int(k)) for w, k in zip(weights, x, strict=True))
    sigma = np.sqrt(noise_variance)
    near = np.maximum(cubic, np.sqrt(np.maximum(at(-1), 0) * np.maximum(at(1), 0)) - 2 * sigma)
    low = base + np.maximum(far, -2 * sigma / np.sqrt(13.9))
    excess, width = (near - far) ** 2 / ((17 / 18 + 1 / 13.9) * low), spread**2 / low
    variance = np.where((excess > 9) | (width > 5), base + np.maximum(near, -4 * sigma / np.sqrt(13.9)) + 17 / 18, low + 1 / 13.9)
    return variance, (np.abs(excess - 9) < 0.02) | (np.abs(width - 5) < 0.02)


def correct(
    raw: Array,
    amps: Sequence[Amp],
    shape: tuple[int, int],
    *,
    bias: Array | None = None,
    dark: Array | None = None,
    exptime: float = 0.0,
    flat: Array | None = None,
    flat_low: float = 0.1,
    bad: Array | None = None,
    bits: Bits | None = None,
    unusable: int = 0xFFFF & ~FLAT_LOW_BIT,
) -> tuple[Array, Array, Array, Array]:
    """(image, ivar, mask, close decisions), each [ny, nx]: see `algorithms.kernels.preproc.correct`."""
    bits = bits or Bits()
    image, ivar = np.zeros(shape), np.zeros(shape)
    mask, close = np.ones(shape, np.int64), np.zeros(shape, bool)
    for amp in amps:
        y0, y1, x0, x1 = amp.data
        ccd = np.s_[amp.ccd[0] : amp.ccd[1], amp.ccd[2] : amp.ccd[3]]
        value = raw[y0:y1, x0:x1].astype(float)
        m = np.full(value.shape, amp.bits)
        m[value >= amp.saturation] |= bits.saturated
        signal = _source_signal(raw, bias, amps, [a is amp for a in amps].index(True), amp.corner)
        for index, coefficient in amp.crosstalk:
            signal = signal - coefficient * _source_signal(raw, bias, amps, index, amp.corner)
        electrons = signal * amp.gain
        base = amp.noise_variance + amp.gain**2 * (amp.row_variance[:, None] + (0 if amp.col_variance is None else amp.col_variance[None, :]))
        base = np.broadcast_to(base, value.shape).astype(float)
        if dark is not None:
            electrons = electrons - dark[ccd].astype(float) * exptime
            base = base + np.maximum(dark[ccd].astype(float) * exptime, 0)
        if bad is not None:
            m |= bad[ccd]
        finite = np.abs(electrons) <= 1e30
        m[~finite] |= bits.nonfinite
        electrons = np.where(finite, electrons, 0)
        response = np.ones(value.shape) if flat is None else flat[ccd].astype(float)
        usable_flat = (response > 1e-3) & (response < 1e3)
        m[~usable_flat] |= bits.flat_zero
        m[~(np.abs(response) <= 1e30)] |= bits.nonfinite
        m[usable_flat & (response < flat_low)] |= bits.flat_low
        image[ccd] = np.where(usable_flat, electrons / np.where(usable_flat, response, 1), 0)
        good = (m & unusable) == 0
        variance, close[ccd] = signal_model(electrons, good, amp.noise_variance, base)
        good &= variance > 0
        ivar[ccd] = np.where(good, response**2 / np.where(good, variance, 1), 0)
        mask[ccd] = m
    return image, ivar, mask, close


def measure_lines(block: Array) -> tuple[Array, Array, float]:
    """(mean, used, scatter) of the lines: see `algorithms.kernels.overscan.measure_lines`."""
    block = block.astype(float)
    n = block.shape[1]
    width = n // 8 if n >= 32 else min(4, n)
    count = max(1, n // width)
    groups = [block[:, g * width : n if g == count - 1 else (g + 1) * width] for g in range(count)]
    centre, variances = [], []
    for line in zip(*groups, strict=True):
        kept = [g[np.isfinite(g)] for g in line]
        means = [g.mean() for g in kept if g.size]
        centre.append(sorted(means)[(len(means) - 1) // 2] if means else np.nan)
        variances += [g.var(ddof=1) for g in kept if g.size > 1]
    dof = width - 1
    scale2 = np.median(variances) / (1 - 2 / (9 * dof)) ** 3 if variances and dof else np.inf
    if scale2 == 0:
        scale2 = np.mean(variances)
    limit = 5 * np.sqrt(scale2) + 0.5
    means, used, squares = [], [], 0.0
    for line, middle in zip(block, centre, strict=True):
        kept = line[np.abs(line - middle) <= limit]
        if kept.size:
            kept = line[np.abs(line - kept.mean()) <= limit]
        means.append(kept.mean() if kept.size else np.nan)
        used.append(kept.size)
        squares += ((kept - kept.mean()) ** 2).sum() if kept.size else 0.0
    freedom = sum(max(u - 1, 0) for u in used)
    return np.array(means), np.array(used), float(np.sqrt(squares / freedom)) if freedom else np.nan
