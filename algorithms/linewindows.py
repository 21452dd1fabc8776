"""Windows around lines, cut out of an image: a first look for lines that have moved, and what each says of a small shift."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.lineblends import Blends
from algorithms.tracegeometry import Places
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import LineList
from quicklook.ccd.spectra import TraceSet

Array = npt.NDArray[Any]

BIN = 0.25
"""Pixels of a bin of a mean profile."""
MARGIN = 6
"""Rows about a line that are looked at, beyond the shift that is searched."""
_REACH = 3.0
"""Pixels beyond the window of a line in which neighbours count."""
_CLEAR = 5.0
"""A line stands out of the noise where its peak is this many times above it."""


class Windows:
    """Boxcar spectra about lines: flux, var [nline, nfibre, 2 half + 1] float32, of row `row0` [nline, nfibre] and those behind it.

    Of some `lines` (indices) and `fibres` (every n-th) of `places`, which are at `y` [nline, nfibre]; the middle row is the one nearest to y +
    shift, where shift [nline, nfibre] is of all of them.
    """

    def __init__(
        self, image: Image, places: Places, half_width: float, half: int, *, lines: Any = slice(None), fibres: slice = slice(None), shift: Any = 0.0
    ) -> None:
        from algorithms.kernels import lines as kernel

        x, slope, y, middle = (np.ascontiguousarray(a[lines][:, fibres]) for a in (places.x, places.slope, places.y, places.y + shift))
        shape = (*x.shape, 2 * half + 1)
        self.fibres, self.y, self.row0 = fibres, y, np.floor(middle + 0.5) - half
        self.flux, self.var = np.empty(shape, np.float32), np.empty(shape, np.float32)
        kernel.cut_windows(image.pixels, image.ivar, x + slope * (middle - y), slope, middle, half_width, half, self.flux, self.var)

    def profile(self, search: float, weight: Array | None = None) -> tuple[Array, int]:
        """Mean profile of all lines that stand out of the noise, in bins of a quarter of a pixel, and their number; each counts with its `weight`.

        It reaches `search` + MARGIN pixel on either side of the middle bin.
        """
        from algorithms.kernels import lines as kernel

        nbin = 2 * int((search + MARGIN) / BIN) + 1
        total, ivar = np.zeros((len(self.y), nbin)), np.zeros((len(self.y), nbin))
        kernel.stack(self.flux, self.var, self.row0, self.y, BIN, total, ivar)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(ivar > 0, total / ivar, 0.0)
            noise = np.where(ivar > 0, 1.0 / np.sqrt(ivar), 0.0)
        height = mean.max(axis=1, keepdims=True)
        clear = height > _CLEAR * noise.max(axis=1, keepdims=True)
        # a line ten times as bright counts twice: one wrong line must not decide
        each = np.where(clear, mean / np.maximum(height, 1e-9) ** 0.7, 0.0)
        return np.asarray((each if weight is None else each * weight[:, None]).sum(axis=0)), int(clear.sum())


class LineTerms:
    """What lines and their neighbours say of a small shift; `half` [nline]: rows that are taken on either side, `places` those of the lines."""

    def __init__(self, lines: LineList, chosen: Array, traces: TraceSet, places: Places, scale: Array) -> None:
        self.places = places
        self.half = np.clip(np.rint(lines.window[chosen] * scale), 2, MARGIN).astype(np.int64)
        self.blends = Blends(lines, chosen, (self.half + _REACH) / scale)
        series = np.polynomial.legendre.legvander(traces.reduced(self.blends.wave), traces.y.shape[1] - 1)
        self.offset = series @ traces.y.T - places.y[self.blends.line]
        self.blends.settle(self.offset.mean(axis=1), places.sigma_y.mean(axis=1), self.half)

    def measure(self, cut: Windows, y: Array, use: Array) -> Array:
        """The light of neighbours from the fibres with `use`, then A, B and their variances [4, nline, nfibre], as `shift_terms`, about places y."""
        from algorithms.kernels import lines as kernel

        offset, sigma = (np.ascontiguousarray(a[:, cut.fibres]) for a in (self.offset, self.places.sigma_y))
        self.blends.measure(cut.flux, cut.var, cut.row0, y, offset, sigma, use)
        out = np.empty((4, *y.shape))
        kernel.shift_terms(cut.flux, cut.var, cut.row0, y, sigma, self.half, self.blends.first, offset, self.blends.ratio, out)
        return out


@functools.lru_cache(maxsize=8)
def _trials(nbin: int, step: float, search: float, sigma: float) -> tuple[Array, Array]:
    """Shifts that are tried [ntrial], and Gaussians about each, of mean zero and length 1 [ntrial, nbin]; the same arrays for every exposure."""
    offset = (np.arange(nbin) - nbin // 2) * step
    fine = max(0.1, search / 100.0)
    trial = np.arange(-search, search + 0.5 * fine, fine)
    shape = np.exp(-0.5 * ((offset[None, :] - trial[:, None]) / sigma) ** 2)
    shape -= shape.mean(axis=1, keepdims=True)
    shape /= np.sqrt(np.sum(shape**2, axis=1, keepdims=True))
    trial.flags.writeable = shape.flags.writeable = False
    return trial, shape


def scores(profile: Array, step: float, search: float, sigma: float) -> tuple[Array, Array]:
    """Shifts within `search`, and how well a Gaussian there fits a profile [nbin] about its middle."""
    trial, shape = _trials(len(profile), step, search, sigma)
    return trial, np.asarray(shape @ profile)


def peak(profile: Array, step: float, search: float, sigma: float) -> float | None:
    """Shift at which a Gaussian fits a profile best; None where there is nothing."""
    trial, score = scores(profile, step, search, sigma)
    best = int(np.argmax(score))
    return float(trial[best]) if score[best] > 0 else None
