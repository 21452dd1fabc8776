"""What the noise of an overscan holds beside white noise: noisy rows, a sine from pick-up, what two amplifiers have in common.

Strips are float32 [nline, nserial] in any unit, NaN allowed: lines and pixels in the order in which they were read out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qa.kernels.noise import CLIP, Pixels, median_of
from quicklook.core.compiled import jit

Series = npt.NDArray[np.float64]
_TO_SIGMA = math.sqrt(math.pi) / 2.0  # sigma of Gaussian noise over the mean absolute difference of two pixels
_FINE = np.linspace(-0.6, 0.6, 7)  # of a bin of the transform: where the top of a peak is looked for
_NOISE = 9.0  # power that noise may have
_SKIP = 7  # cycles in a block: slower ones, the same in all pixels of a line, are drift
_FAR = 1e9  # ADU: beyond what any level is
_JUMP = 10.0  # sigma of a pixel that the level of a single line may differ from those near it: more is no noise
_NEAR = 16  # lines on either side whose level is taken for that of a line but for noise and sines


@jit
def _mean_differences(x, out):  # type: ignore[no-untyped-def]
    """Mean absolute difference of neighbouring pixels of every line; NaN where fewer than two pairs are finite."""
    for i in range(x.shape[0]):
        left, right = x[i, :-1], x[i, 1:]
        total = np.float32(0.0)
        n = 0
        for j in range(left.size):
            step = abs(right[j] - left[j])
            finite = step < np.float32(np.inf)
            total += step if finite else np.float32(0.0)
            n += finite
        out[i] = total / n if n >= 2 else np.nan


def line_noise(strip: Pixels) -> Series:
    """Noise of every line [nline], from the mean absolute difference d of neighbouring pixels: sqrt(pi) / 2 d. For white Gaussian noise it is sigma.

    Its relative error is about 0.84 / sqrt(nserial). Levels and slopes of the lines do not enter. NaN where fewer than two pairs are finite.
    """
    out = np.empty(strip.shape[0])
    _mean_differences(strip, out)
    return _TO_SIGMA * out


def block_noise(lines: Series, size: int) -> Series:
    """Medians of the noise of `size` lines each [nblock], which leave out what is left at the end: one noisy line is no noisy block. NaN of none."""
    n = max(1, lines.size // size)
    blocks = lines[: n * size].reshape(n, -1)
    ordered = np.sort(blocks, axis=1)  # NaN last
    known = np.isfinite(blocks).sum(axis=1)
    row = np.arange(n)
    middle = 0.5 * (ordered[row, np.maximum(known - 1, 0) // 2] + ordered[row, np.minimum(known // 2, blocks.shape[1] - 1)])
    return np.where(known > 0, middle, np.nan)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of an overscan: `values` float32 [nline, nserial] without the levels of the columns, and without drifts and steps along the
    lines, `residuals` without the levels of the lines, both cut at +-4 sigma of the noise `sigma` and 0 where nothing is known."""

    values: Pixels
    residuals: Pixels
    sigma: float


@jit
def _without_steps(levels, reach, out):  # type: ignore[no-untyped-def]
    """Levels less the median of those within `reach` lines of each, which follows a step and a drift; 0 where one is no number."""
    buffer = np.empty(2 * reach + 1, np.float32)
    for i in range(levels.size):
        n = 0
        for j in range(max(0, i - reach), min(levels.size, i + reach + 1)):
            if np.isfinite(levels[j]):
                buffer[n] = levels[j]
                n += 1
        out[i] = levels[i] - median_of(buffer, n) if np.isfinite(levels[i]) else np.float32(0.0)


def block_of(residuals: Pixels, levels: Series, sigma: float) -> Block:
    """From the residuals [nline, nserial] and levels [nline] of lines, and the noise of their pixels."""
    cut = np.float32(CLIP * sigma)
    kept = np.clip(residuals, -cut, cut)
    kept[np.isnan(kept)] = 0.0
    moved = np.empty(levels.size, np.float32)
    _without_steps(np.clip(levels, -_FAR, _FAR).astype(np.float32), _NEAR, moved)
    np.clip(moved, -_JUMP * sigma, _JUMP * sigma, out=moved)
    return Block(kept + moved[:, None], kept, sigma)


@jit
def _products(a, b):  # type: ignore[no-untyped-def]
    """Sums of a b, a a and b b of two arrays of one length."""
    ab = 0.0
    aa = 0.0
    bb = 0.0
    for first in range(0, a.size, 1024):  # float32 in short stretches is fast and keeps the precision
        p, q = a[first : first + 1024], b[first : first + 1024]
        sab = np.float32(0.0)
        saa = np.float32(0.0)
        sbb = np.float32(0.0)
        for j in range(p.size):
            sab += p[j] * q[j]
            saa += p[j] * p[j]
            sbb += q[j] * q[j]
        ab += float(sab)
        aa += float(saa)
        bb += float(sbb)
    return ab, aa, bb


@jit
def _transform(x, u, v):  # type: ignore[no-untyped-def]
    """|sum x exp(-2 pi i (v line + u pixel))| of x [nline, nserial] for all v [n] and u [n]."""
    out = np.empty((v.size, u.size))
    along = np.empty(x.shape[0], np.complex128)
    for k in range(u.size):
        wave = np.exp(-2j * np.pi * u[k] * np.arange(x.shape[1]))
        for i in range(x.shape[0]):
            total = 0j
            for j in range(x.shape[1]):
                total += x[i, j] * wave[j]
            along[i] = total
        for m in range(v.size):
            out[m, k] = abs((along * np.exp(-2j * np.pi * v[m] * np.arange(x.shape[0]))).sum())
    return out


def correlation(a: Pixels, b: Pixels) -> float:
    """Coefficient of correlation of two arrays of residuals, over the lines and pixels that both have, about 0; NaN where one is 0 throughout."""
    ny, nx = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    ab, aa, bb = _products(np.ascontiguousarray(a[:ny, :nx]).ravel(), np.ascontiguousarray(b[:ny, :nx]).ravel())
    return ab / math.sqrt(aa * bb) if aa > 0 and bb > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Sine:
    """The strongest sine: `amplitude` (unit of the input), its `power` over the mean of the noise, and cycles per pixel and per line.

    `floor`: the mean power of the noise there over that of the noise of the pixels, 1 but where the levels of lines have noise of their own.
    """

    amplitude: float
    power: float
    per_pixel: float
    per_line: float
    floor: float = 1.0


def strongest_sine(blocks: list[Block]) -> Sine | None:
    """The highest peak of the power spectrum, in two dimensions, of blocks of one shape; None where there is no noise to compare with.

    A sine of frequency f in time shows in the pixels of a line as f times the time of a pixel, and from line to line as f times the time of a
    line, less its whole cycles. The lines are weighted with a Hann window w, so that drifts and steps do not spread; what changes by seven
    cycles and less in a block, and is the same in all pixels of a line, is left out. Power is |F|^2 / (n sum(w^2) sigma^2), of n pixels in a
    line: of mean 1 for white noise, n sum(w)^2 / sum(w^2) (A / 2 sigma)^2 for a sine of amplitude A. Powers of the blocks are averaged;
    the top of the peak is found between the bins. Where the levels of the lines have noise of their own, all of which lies in what is the same
    in all pixels of a line, power is over the mean of that, by the median of it: noise from line to line is no sine.
    """
    blocks = [b for b in blocks if b.sigma > 0]
    if not blocks:
        return None
    ny, nx = blocks[0].values.shape
    window = np.hanning(ny + 2)[1:-1].astype(np.float32)
    total = np.zeros((ny, nx // 2 + 1))
    parts = []
    for b in blocks:
        level = (window @ b.values) / window.sum()
        part = (b.values - level) * window[:, None]
        total += np.abs(np.fft.rfft2(part)) ** 2 / (nx * float(window @ window) * b.sigma**2)
        parts.append(part)
    total[0] = 0.0
    total[: _SKIP + 1, 0] = 0.0
    total[-_SKIP:, 0] = 0.0
    floor = _floor(total[_SKIP + 1 : -_SKIP, 0] / len(blocks), len(blocks))
    total[:, 0] /= floor
    row, column = np.unravel_index(int(np.argmax(total)), total.shape)
    power = float(total[row, column]) / len(blocks)
    v, u = (float(row) - ny * (row > ny // 2) + _FINE) / ny, (float(column) + _FINE) / nx
    if power < _NOISE:  # nothing to be gained by a finer look
        v, u = v[_FINE.size // 2 :][:1], u[_FINE.size // 2 :][:1]
    fine = np.asarray(sum(_transform(p, u, v) ** 2 for p in parts)) / len(parts)
    i, j = np.unravel_index(int(np.argmax(fine)), fine.shape)
    amplitude = 2.0 * math.sqrt(float(fine[i, j])) / (nx * float(window.sum()))
    return Sine(amplitude, power, _folded(float(u[j])), _folded(float(v[i])), floor if column == 0 else 1.0)


def _floor(power: Series, n: int) -> float:
    """Mean of powers of noise, each of n that were averaged, by their median; at least 1, that of the noise of the pixels.

    n times twice the power has a chi2 distribution of 2 n degrees of freedom, whose median is 2 n (1 - 1 / (9 n))^3.
    """
    return max(1.0, float(np.median(power)) / (1.0 - 1.0 / (9.0 * n)) ** 3) if power.size else 1.0


def _folded(frequency: float) -> float:
    """0 to 0.5 cycles."""
    return abs(frequency - round(frequency))
