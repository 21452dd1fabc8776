"""Where the light of fibres lies beside their traces, and what of it is a shift along them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_HALF = 3
_PIXEL = 1.0 / 12.0
"""Variance that a pixel adds to a Gaussian, square pixel."""
_CENTRINGS = 30
_ROUNDS = 4
_CLIP = 5.0


@jit
def profile_shifts(
    pixels: Array, ivar: Array, x: Array, row: Array, sigma: Array, slope: Array, block: Array, noise2: Any, moved: Array, lean: Array, light: Array
) -> None:
    """Sums over the samples of a block, [nfibre, nblock]: `light` of A, `moved` of B, `lean` of A slope; moved / light is a shift in x, pixel.

    x, row (int), sigma, slope [nsample, nfibre], block (int) [nsample]. Every sample is a fit of A P + B P' + level to seven pixels of a row by
    least squares, P a Gaussian of unit area about the trace, with weights 1 / (noise2 + A P) from the model alone: with those of single counts a
    bright pixel would pull the fit. A sample with an unusable pixel, without light, or farther than half a pixel from its trace, is left out.
    """
    ny, nx = pixels.shape
    moved[:] = 0.0
    lean[:] = 0.0
    light[:] = 0.0
    p, d = np.empty(2 * _HALF + 1), np.empty(2 * _HALF + 1)
    for i in range(x.shape[0]):
        for f in range(x.shape[1]):
            r, c = row[i, f], x[i, f]
            if not (r >= 0 and r < ny and c >= _HALF and c < nx - _HALF - 1):
                continue
            j = math.floor(c + 0.5) - _HALF
            s2, z = sigma[i, f] * sigma[i, f] + _PIXEL, j - c
            g, q = math.exp(-0.5 * z * z / s2) / math.sqrt(2.0 * math.pi * s2), math.exp(-1.0 / s2)
            ratio = math.exp(-(z + 0.5) / s2)
            total, profile, good = 0.0, 0.0, True
            for k in range(2 * _HALF + 1):  # Gaussians at unit steps by recurrence
                p[k], d[k] = g, g * (z + k) / s2
                g *= ratio
                ratio *= q
                good = good and ivar[r, j + k] > 0.0
                total += pixels[r, j + k]
                profile += p[k]
            if not (good and total > 0.0 and total < 1e30):
                continue
            scale = total / profile
            n = sp = sd = spp = sdd = spd = sv = spv = sdv = 0.0
            for k in range(2 * _HALF + 1):
                w, v = 1.0 / (noise2 + scale * p[k]), float(pixels[r, j + k])
                n += w
                sp += w * p[k]
                sd += w * d[k]
                spp += w * p[k] * p[k]
                sdd += w * d[k] * d[k]
                spd += w * p[k] * d[k]
                sv += w * v
                spv += w * p[k] * v
                sdv += w * d[k] * v
            spp, sdd, spd = spp - sp * sp / n, sdd - sd * sd / n, spd - sp * sd / n
            spv, sdv = spv - sp * sv / n, sdv - sd * sv / n
            det = spp * sdd - spd * spd
            a, b = (spv * sdd - sdv * spd) / det, (sdv * spp - spv * spd) / det
            if a > 0.0 and abs(b) < 0.5 * a:
                light[f, block[i]] += a
                moved[f, block[i]] += b
                lean[f, block[i]] += a * slope[i, f]


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """A shift along the traces, pixel, its error, and how far one pixel of it moves the light across them (rms, pixel).

    `own` and `tilt` [nfibre, nblock]: measured shift across, and what one pixel along would make of it, both without their means over fibres and
    over blocks; NaN where nothing was measured.
    """

    shift: float
    error: float
    lever: float
    own: Array
    tilt: Array


def shift_along(across: Array, slope: Array) -> Along:
    """The shift along traces of slope dx/dy from shifts across them, [nfibre, nblock]; NaN where one was not measured.

    Light that moves by s along y lies -(dx/dy) s beside the trace in its row. Any shift across that all wavelengths of a fibre share, and any that
    all fibres share at a wavelength (translation, rotation, change of scale, errors of single traces), is taken out of both; the rest is fitted,
    with a cut at 5 sigma (1.4826 MAD). The error is that of the scatter about the fit. NaN where less than three fibres or blocks tell.
    """
    use = np.isfinite(across) & np.isfinite(slope)
    rounds, shift, error, lever = 0, math.nan, math.nan, math.nan
    own = tilt = np.full(across.shape, math.nan)
    while rounds < _ROUNDS and (use.any(axis=1).sum() >= 3) and (use.any(axis=0).sum() >= 3):
        own, tilt = _centred(across, use), _centred(-slope, use)
        size = float((tilt[use] ** 2).sum())
        free = int(use.sum()) - int(use.any(axis=1).sum()) - int(use.any(axis=0).sum())
        if size <= 0.0 or free < 1:
            break
        shift = float((own[use] * tilt[use]).sum()) / size
        rest = own - shift * tilt
        error = math.sqrt(float((rest[use] ** 2).sum()) / free / size)
        lever = math.sqrt(size / int(use.sum()))
        off = use & (np.abs(rest) > _CLIP * 1.4826 * float(np.median(np.abs(rest[use]))))
        rounds += 1
        if not off.any():
            break
        use = use & ~off
    return Along(shift=shift, error=error, lever=lever, own=own, tilt=tilt)


def _centred(values: Array, use: Array) -> Array:
    """Without the mean of each row and of each column, of the used values alone; NaN elsewhere. By turns: with gaps the two are not independent."""
    out = np.where(use, values, 0.0)
    rows, columns = np.maximum(use.sum(axis=1), 1)[:, None], np.maximum(use.sum(axis=0), 1)
    for _ in range(_CENTRINGS if not use.all() else 2):
        out = np.where(use, out - out.sum(axis=1)[:, None] / rows, 0.0)
        out = np.where(use, out - out.sum(axis=0) / columns, 0.0)
    return np.where(use, out, math.nan)
