"""The fibre flat of one flat exposure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.spectra import FiberFlat, Frame, SpecMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

_LARGEST = np.float32(1e30)
_ROUNDS = 10
_SHORTEST = 32
_EVERY = 4
"""The first ratios, which only serve the mean, come from every fourth sample."""
_MARGIN = 3.0
"""Pixels beyond the ends of a fibre's spectrum to which its flat is continued: as far as flexure may move it."""


class FiberFlatParams(Params):
    """Parameters of `compute_fiberflat`."""

    step: float = Field(1.5, gt=0.0, description="step of the wavelengths of the fibre flat, in median pixels")
    knots: float = Field(100.0, gt=1.0, description="distance of the knots of the smooth ratio of each fibre, in median pixels")
    clip: float = Field(5.0, gt=2.0, description="samples that lie off by more are left out [sigma]")
    lowest: float = Field(0.1, ge=0.0, lt=1.0, description="a fibre with less than this part of the median light is not usable")
    min_snr: float = Field(5.0, gt=0.0, description="median S/N of a sample below which the exposure is no flat")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grids:
    """Common wavelengths (first, step, n), and the intervals of the splines (first, step, n), Angstrom."""

    wave: Float64
    step: float
    first: float
    length: float
    intervals: int


class ComputeFiberFlat(PipelineAlg[FiberFlatParams]):
    """Relative throughput of the fibres from one exposure of a continuum lamp."""

    name = "compute_fiberflat"

    def run(self, frame: Frame) -> FiberFlat:
        """The fibre flat: mean over the good fibres 1 at every wavelength, smooth in wavelength.

        A fibre without light, or without usable samples, has flat 1, ivar 0 and BADFIBERFLAT; so have wavelengths that a fibre does not reach, and
        those that lie farther than half a distance of the knots from a usable sample (saturated stretches): a spline says nothing there.
        Raises BadData where the exposure is too faint to be a flat.
        """
        from algorithms.kernels import fiberflat as kernel

        if frame.flux.shape[1] < _SHORTEST:
            raise BadData(f"camera {frame.camera}: spectra of {frame.flux.shape[1]} samples are too short for a fibre flat")
        good = (frame.mask == 0) & (frame.ivar > 0) & (frame.ivar < _LARGEST) & (np.abs(frame.flux) < _LARGEST)
        ivar = np.where(good, frame.ivar, np.float32(0))
        scale = self._scales(frame, ivar)
        use = scale > self.params.lowest
        grids = self._grids(frame.wave)
        n = frame.flux.shape[0]
        pieces, variance = np.zeros((n, grids.intervals, 6)), np.zeros((n, grids.intervals))
        pieces[:, :, 0] = scale[:, None]
        kernel.drop_spikes(frame.flux, ivar, self.params.clip, 0.1)
        spectra = (frame.flux, ivar, frame.wave, use)
        mean = _mean(spectra, grids, pieces)
        kernel.ratios(*spectra, grids.wave[0], grids.step, mean, grids.first, grids.length, self.params.clip, 0, _EVERY, pieces, variance)
        mean = _mean(spectra, grids, pieces)
        kernel.ratios(*spectra, grids.wave[0], grids.step, mean, grids.first, grids.length, self.params.clip, _ROUNDS, 1, pieces, variance)
        flat, flat_var = np.ones((n, grids.wave.size), np.float32), np.full((n, grids.wave.size), np.inf, np.float32)
        kernel.sample(grids.wave, use, grids.first, grids.length, pieces, variance, flat, flat_var)
        variance_near = np.where(_near(frame.wave, ivar > 0, grids, self.params.knots / 2), flat_var, np.float32(0))
        return self._product(frame, use, grids, mean, flat, variance_near)

    def _product(self, frame: Frame, use: Raw, grids: _Grids, mean: Float64, flat: Float32, variance: Float32) -> FiberFlat:
        pixel = grids.step / self.params.step
        ends = frame.wave[:, 0] - _MARGIN * pixel, frame.wave[:, -1] + _MARGIN * pixel
        known = use[:, None] & (grids.wave >= ends[0][:, None]) & (grids.wave <= ends[1][:, None]) & (flat > 0) & (variance > 0)
        count = known.sum(axis=0)
        common = np.where(count > 0, flat.sum(axis=0, where=known, dtype=np.float64) / np.maximum(count, 1), 1.0)
        # where not every fibre reaches, the mean of those that do is not comparable: keep what it is for all
        whole = np.flatnonzero(count == count.max())
        common = np.interp(np.arange(common.size), whole, common[whole])
        return FiberFlat(
            flat=np.divide(flat, common.astype(np.float32), out=np.ones_like(flat), where=known),
            ivar=np.divide((common**2).astype(np.float32), variance, out=np.zeros_like(variance), where=known),
            mask=np.where(known, np.uint32(0), np.uint32(SpecMask.BADFIBERFLAT)),
            wave=grids.wave,
            meanspec=(mean * common).astype(np.float32),
            fiber=frame.fibermap.fiber,
        )

    def _scales(self, frame: Frame, ivar: Raw) -> Float64:
        """Light of each fibre in units of the median fibre; 0 where a fibre has less than a tenth of its samples."""
        step = max(1, frame.flux.shape[1] // 512)
        flux, weight = frame.flux[:, ::step], ivar[:, ::step]
        good = weight > 0
        enough = good.mean(axis=1) > 0.1
        level = np.array([float(np.median(f[g])) if ok else 0.0 for f, g, ok in zip(flux, good, enough, strict=True)])
        seen = good & enough[:, None]
        snr = float(np.median(flux[seen] * np.sqrt(weight[seen]))) if enough.any() else math.nan
        if not snr >= self.params.min_snr:
            wanted = self.params.min_snr
            raise BadData(f"camera {frame.camera}: the median S/N of a sample is {snr:.2g}, a flat needs {wanted:g}; check the lamp and the shutter")
        return np.asarray(level / np.median(level[enough]))

    def _grids(self, wave: Float64) -> _Grids:
        pixel = float(np.median(wave[:, -1] - wave[:, 0])) / (wave.shape[1] - 1)
        low, high = float(wave.min()) - _MARGIN * pixel, float(wave.max()) + _MARGIN * pixel
        step = self.params.step * pixel
        grid = low + step * np.arange(math.ceil((high - low) / step) + 1)
        intervals = max(1, math.ceil((high - low) / (self.params.knots * pixel)))
        return _Grids(wave=grid, step=step, first=low, length=(grid[-1] - low) / intervals, intervals=intervals)


def _near(wave: Float64, usable: Raw, grids: _Grids, pixels: float) -> Raw:
    """Which of the common wavelengths have a usable sample of their fibre within so many pixels, [nfibre, nwave]."""
    near = np.ones((len(wave), grids.wave.size), np.bool_)
    for row in np.flatnonzero(_longest_gap(usable) > pixels):
        known = wave[row, usable[row]]
        if known.size:
            reach = pixels * abs(wave[row, -1] - wave[row, 0]) / (wave.shape[1] - 1)
            after = np.searchsorted(known, grids.wave).clip(1, known.size - 1) if known.size > 1 else np.zeros(grids.wave.size, np.int64)
            near[row] = np.minimum(np.abs(known[after] - grids.wave), np.abs(known[after - 1] - grids.wave)) <= reach
    return near


def _longest_gap(usable: Raw) -> Raw:
    """Number of samples in the longest stretch without a usable one, by fibre; one at an end counts as well."""
    at = np.arange(usable.shape[1])
    last = np.maximum.accumulate(np.where(usable, at, -1), axis=1)
    return np.asarray((at - last).max(axis=1))


def _mean(spectra: tuple[Raw, Raw, Raw, Raw], grids: _Grids, pieces: Float64) -> Float64:
    """Mean spectrum of the lamp on the common wavelengths; where no fibre reaches, the nearest value."""
    from algorithms.kernels import fiberflat as kernel

    total, share = np.empty(grids.wave.size), np.empty(grids.wave.size)
    kernel.lamp(*spectra, grids.wave[0], grids.step, pieces, grids.length, grids.first, total, share)
    known = np.flatnonzero(share > 0)
    return np.asarray(np.interp(np.arange(total.size), known, total[known] / share[known]))
