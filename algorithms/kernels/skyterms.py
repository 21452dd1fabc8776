"""What `subtract_sky` can do beyond subtracting: a scale for each fibre from its emission lines, a model on other wavelengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_HALF = 20


@jit
def scales(flux: Array, ivar: Array, mask: Array, sky: Array, prior: float, lines: bool, scale: Array) -> None:
    """scale [nfibre]: by which factor `sky` is in the spectrum, by least squares with a Gaussian prior 1 +- `prior`.

    Of the whole spectrum, or with `lines` of its lines alone: these are what the sky has more than its mean over 41 samples; the spectrum is
    taken the same way, so that a smooth target has no part. Where the flux lies farther off than prior and noise allow (light of the target)
    it has no part either.
    """
    n, nwave = flux.shape
    sum_f, sum_s, count = np.zeros(nwave + 1), np.zeros(nwave + 1), np.zeros(nwave + 1)
    for i in range(n):
        for j in range(nwave):
            good = 1.0 if ivar[i, j] > 0 and mask[i, j] == 0 else 0.0
            residual = good * (float(flux[i, j]) - float(sky[i, j])) if good > 0 else 0.0
            sum_f[j + 1] = sum_f[j] + residual
            sum_s[j + 1] = sum_s[j] + (float(sky[i, j]) if good > 0 else 0.0)
            count[j + 1] = count[j] + good
        top, bottom = 0.0, 1.0 / (prior * prior)
        for j in range(nwave):
            a, b = max(0, j - _HALF), min(nwave, j + _HALF + 1)
            m = count[b] - count[a]
            if ivar[i, j] > 0 and mask[i, j] == 0 and m > _HALF:
                smooth = 1.0 / m if lines else 0.0
                line = float(sky[i, j]) - (sum_s[b] - sum_s[a]) * smooth
                r = float(flux[i, j]) - float(sky[i, j]) - (sum_f[b] - sum_f[a]) * smooth
                limit = 5.0 / np.sqrt(float(ivar[i, j])) + 5.0 * prior * abs(line)
                if abs(r) < limit:
                    top += ivar[i, j] * line * r
                    bottom += ivar[i, j] * line * line
        scale[i] = 1.0 + top / bottom


@jit
def cubic_rows(wave: Array, flux: Array, ivar: Array, mask: Array, at: Array, out: Array, out_ivar: Array, out_mask: Array) -> None:
    """Rows of a model at other wavelengths [n, nwave], by the cubic through the four nearest samples; one row serves all.

    ivar: the smaller of the two neighbours, 0 beyond the ends; mask: the bits of both.
    """
    m = wave.shape[1]
    for i in range(at.shape[0]):
        row = i if wave.shape[0] > 1 else 0
        k = 0
        for j in range(at.shape[1]):
            w = at[i, j]
            while k < m - 2 and wave[row, k + 1] <= w:
                k += 1
            if not (w >= wave[row, 0] and w <= wave[row, m - 1]):
                out[i, j], out_ivar[i, j], out_mask[i, j] = 0.0, 0.0, 0
                continue
            first = min(max(k - 1, 0), max(m - 4, 0))
            total = 0.0
            for a in range(first, min(first + 4, m)):
                term = float(flux[row, a])
                for b in range(first, min(first + 4, m)):
                    if b != a:
                        term *= (w - wave[row, b]) / (wave[row, a] - wave[row, b])
                total += term
            out[i, j] = total
            out_ivar[i, j] = min(ivar[row, k], ivar[row, min(k + 1, m - 1)])
            out_mask[i, j] = mask[row, k] | mask[row, min(k + 1, m - 1)]
