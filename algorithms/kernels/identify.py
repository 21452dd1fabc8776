"""Identification of lines: every wavelength scale within given limits is tried, and judged by how many lines find one of the list."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]


@jit
def _best_offset(total: Array, skip: int, apart: int) -> int:
    """Index of the largest value that is farther than `apart` from `skip`; -1 where there is none."""
    best = -1
    for i in range(total.size):
        if (skip < 0 or abs(i - skip) > apart) and (best < 0 or total[i] > total[best]):
            best = i
    return best


@jit
def search(
    t: Array, weight: Array, scale: Array, bend: Array, gain: Array, margin: int, bin_width: Any, apart: int, score: Array, place: Array
) -> None:
    """Scores of all wavelength scales c + s (t + q P2(t)), P2 the Legendre polynomial.

    t [nline]: places of the lines, -1 ... 1 over the detector; weight [nline]; scale [ns]: s, Angstrom per half detector; bend [nq]: q; gain
    [noff + 2 margin]: what a line is worth at a wavelength, in bins of `bin_width` Angstrom; bin margin + o is that of offset o, the wavelength
    c. A line that falls outside of it is worth nothing. score, place [ns, nq, 2] are filled: the best sum over the lines and its offset, and the best
    one that is farther than `apart` bins from it.
    """
    noff = gain.size - 2 * margin
    total = np.empty(noff)
    for i in range(scale.size):
        for j in range(bend.size):
            total[:] = 0.0
            for k in range(t.size):
                p2 = 1.5 * t[k] * t[k] - 0.5
                first = margin + math.floor(scale[i] * (t[k] + bend[j] * p2) / bin_width + 0.5)
                w = weight[k]
                if first >= 0 and first + noff <= gain.size:
                    for o in range(noff):
                        total[o] += w * gain[first + o]
            best = _best_offset(total, -1, apart)
            second = _best_offset(total, best, apart)
            score[i, j, 0], place[i, j, 0] = total[best], best
            score[i, j, 1], place[i, j, 1] = (total[second], second) if second >= 0 else (-math.inf, -1)


@jit
def spectra(pixels: Array, ivar: Array, x: Array, half: Array, flux: Array, var: Array) -> None:
    """Sums over x +- half on every row, pixels at the edges counted by their part.

    pixels, ivar [ny, nx]; x [nfibre, ny] pixel; half [nfibre]; flux, var [nfibre, ny] float64 are filled. var is infinite where a pixel is unusable,
    or the window reaches out of the image.
    """
    ny, nx = pixels.shape
    for f in range(x.shape[0]):
        for i in range(ny):
            lo, hi = x[f, i] - half[f] + 0.5, x[f, i] + half[f] + 0.5
            flux[f, i], var[f, i] = 0.0, math.inf
            if not (lo >= 0.0 and hi <= nx):
                continue
            total, variance = 0.0, 0.0
            for j in range(math.floor(lo), min(math.ceil(hi), nx)):
                part = min(hi, j + 1.0) - max(lo, float(j))
                if not ivar[i, j] > 0.0:
                    variance = math.inf
                    break
                total += part * pixels[i, j]
                variance += part / ivar[i, j]
            if variance < math.inf:
                flux[f, i], var[f, i] = total, variance


@jit
def correlate(a: Array, b: Array, first: int, out: Array) -> None:
    """out[k] = sum of a[i] b[i + first + k]: where b is moved by first + k against a."""
    n = a.size
    for k in range(out.size):
        shift, total = first + k, 0.0
        for i in range(max(0, -shift), min(n, n - shift)):
            total += a[i] * b[i + shift]
        out[k] = total
