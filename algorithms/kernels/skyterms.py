"""What `subtract_sky` can do beyond subtracting: a scale for each fibre from its emission lines, a model on other wavelengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_HALF = 20
_EVERY = 7


@jit
def _median_ratio(ivar: Array, sky_ivar: Array) -> float:
    """Median of the variance of the model over that of the samples; 0 where there is none."""
    found, n = np.empty(ivar.size // _EVERY + 1), 0
    for j in range(0, ivar.size, _EVERY):
        if ivar[j] > 0 and sky_ivar[j] > 0:
            found[n] = float(ivar[j]) / float(sky_ivar[j])
            n += 1
    return float(np.median(found[:n])) if n > 0 else 0.0


@jit
def scales(
    flux: Array, ivar: Array, mask: Array, sky: Array, sky_ivar: Array, line_error: float, prior: float, lines: bool, rows: Array, scale: Array
) -> None:
    """scale [nfibre]: by which factor `sky` is in the spectra `rows`, by least squares with a Gaussian prior 1 +- `prior`.

    Of the whole spectrum, or with `lines` of its lines alone: these are what the sky has more than its mean over 41 samples; the spectrum is
    taken the same way, so that a smooth target has no part. Where the flux lies farther off than prior and noise allow (light of the target)
    it has no part either.

    The model is not without error, and that would make every scale smaller (regression with errors in the variable). Its noise n per sample is in
    the model and against it in the residual: n is added to the product of both and taken off the square of the model. Where its lines lie
    elsewhere than those of the fibre, which makes an error w, the square stays and the product is smaller by w / 2. An error of the strength
    of lines, the fraction `line_error`, is what is looked for. n is the variance of the sample times the median of the ratio of both variances:
    errors of lines have no part in the median. No sample is chosen by its own brightness in the model, which would choose by its noise.
    """
    nwave = flux.shape[1]
    sum_f, sum_s, count = np.zeros(nwave + 1), np.zeros(nwave + 1), np.zeros(nwave + 1)
    for i in rows:
        for j in range(nwave):
            good = 1.0 if ivar[i, j] > 0 and mask[i, j] == 0 and sky_ivar[i, j] > 0 else 0.0
            residual = good * (float(flux[i, j]) - float(sky[i, j])) if good > 0 else 0.0
            sum_f[j + 1] = sum_f[j] + residual
            sum_s[j + 1] = sum_s[j] + (float(sky[i, j]) if good > 0 else 0.0)
            count[j + 1] = count[j] + good
        ratio = _median_ratio(ivar[i], sky_ivar[i])
        top, bottom = 0.0, 1.0 / (prior * prior)
        for j in range(nwave):
            a, b = max(0, j - _HALF), min(nwave, j + _HALF + 1)
            m = count[b] - count[a]
            if count[j + 1] > count[j] and m > _HALF:
                smooth = 1.0 / m if lines else 0.0
                line = float(sky[i, j]) - (sum_s[b] - sum_s[a]) * smooth
                r = float(flux[i, j]) - float(sky[i, j]) - (sum_f[b] - sum_f[a]) * smooth
                own, error = 1.0 / float(ivar[i, j]), 1.0 / float(sky_ivar[i, j])
                if abs(r) < 5.0 * np.sqrt(own + error) + 5.0 * prior * abs(line):
                    noise = min(ratio * own, error)
                    shift = max(error - noise - (line_error * line) ** 2, 0.0)
                    noise *= 1.0 - smooth
                    top += (line * r + noise + 0.5 * shift) / (own + error)
                    bottom += (line * line - noise) / (own + error)
        scale[i] = 1.0 + top / max(bottom, 1.0 / (prior * prior))


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
