"""Spectra of the exposures of one fibre map, added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.coadd import Coadd, SkyLevels, block_snr
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

_THREE = 3
"""Of two that differ nobody knows which one is right."""


class CoaddParams(Params):
    """Parameters of `coadd_spectra`."""

    clip: float = Field(6.0, ge=0, description="a sample farther from the mean of the others is left out, sigma; 0: none is")
    tolerance: float = Field(0.2, ge=0, description="part of that mean by which exposures may differ beside noise: clouds, light that misses a fibre")


@dataclass(slots=True)
class _Sums:
    """Sums over exposures, [nfibre, nwave]: of weights, of weighted values and of their squares; the number of them; what all bits have in common."""

    w: Float64
    wf: Float64
    wff: Float64
    n: Raw
    mask: Raw

    @classmethod
    def like(cls, frame: Frame) -> _Sums:
        """Empty ones."""
        w, wf, wff = (np.zeros(frame.flux.shape) for _ in range(3))
        return cls(w, wf, wff, np.zeros(frame.flux.shape, np.int16), np.full(frame.flux.shape, 0xFFFFFFFF, np.uint32))

    def add(self, flux: Float64, ivar: Float64, sign: int = 1) -> None:
        """Add (or take away) an exposure."""
        self.w += sign * ivar
        self.wf += sign * (ivar * flux)
        self.wff += sign * (ivar * flux * flux)
        self.n += np.where(ivar > 0, sign, 0).astype(np.int16)

    def mean(self) -> tuple[Float64, Float64]:
        """Weighted mean and its inverse variance, 0 where there is nothing."""
        seen = (self.n > 0) & (self.w > 0)
        return np.where(seen, self.wf / np.where(seen, self.w, 1.0), 0.0), np.where(seen, self.w, 0.0)

    def chi2(self) -> Float64:
        """Of the exposures about their mean, for each fibre, per degree of freedom; NaN with fewer than two of them."""
        mean, w = self.mean()
        square = np.where(self.n > 1, self.wff - w * mean * mean, 0.0).sum(axis=1)
        free = np.where(self.n > 1, self.n - 1, 0).sum(axis=1)
        return np.where(free > 0, np.maximum(square, 0.0) / np.maximum(free, 1), np.nan)


class CoaddSpectra(PipelineAlg[CoaddParams]):
    """Adds up calibrated spectra of the same targets, weighted with their inverse variances; leaves out samples that are far from all others.

    A sample goes to the nearest one of the first exposure: wavelengths are off by half a sample at most, and the noise of the samples stays
    independent, so that the S/N of the sum is what it says. One exposure is in memory at a time; they are gone through twice.
    """

    name = "coadd_spectra"

    def run(self, frames: Sequence[Frame], exposures: Sequence[Exposure], levels: Sequence[SkyLevels]) -> Coadd:
        """Raises BadData where frames are not of one camera, unit and length of spectra, or share no fibre with the first."""
        first = frames[0]
        sums, single, after = _Sums.like(first), [], []
        for frame in frames:
            flux, ivar, mask = self._on(first, frame)
            sums.add(flux, ivar)
            sums.mask &= mask
            single.append(block_snr(flux, ivar))
            after.append(block_snr(*sums.mean()))
        rejected = self._clip(first, frames, sums)
        mean, weight = sums.mean()
        after[-1] = block_snr(mean, weight)
        return Coadd(
            camera=first.camera, unit=first.unit, fibermap=first.fibermap, wave=first.wave, flux=mean.astype(np.float32),
            ivar=weight.astype(np.float32), mask=np.where(weight > 0, 0, sums.mask).astype(np.uint32), rejected=rejected,
            chi2=sums.chi2().astype(np.float32), used=sums.n.max(axis=1).astype(np.int32),
            snr_single=np.stack(single).astype(np.float32), snr_after=np.stack(after).astype(np.float32),
            **_of_exposures(exposures, levels),
        )  # fmt: skip

    def _clip(self, first: Frame, frames: Sequence[Frame], sums: _Sums) -> float:
        """Take away, at each place, the sample that is farthest from the mean of the others, if it is far; returns the part that was taken.

        One at each place: beside it those that are right are far from the mean of the others too.
        """
        if len(frames) < _THREE or self.params.clip == 0:
            return 0.0
        worst, flux_there, ivar_there = (np.zeros(first.flux.shape) for _ in range(3))
        for frame in frames:
            flux, ivar, _ = self._on(first, frame)
            others = np.maximum(sums.w - ivar, 0.0)
            many = (ivar > 0) & (sums.n >= _THREE) & (others > 0)
            safe, own = np.where(many, others, 1.0), np.where(many, ivar, 1.0)
            mean = (sums.wf - ivar * flux) / safe
            off = np.where(many, (flux - mean) ** 2 / (1.0 / own + 1.0 / safe + (self.params.tolerance * mean) ** 2), 0.0)
            more = off > worst
            worst[more], flux_there[more], ivar_there[more] = off[more], flux[more], ivar[more]
        far = worst > self.params.clip**2
        total = int(sums.n.sum(dtype=np.int64))
        sums.add(flux_there, np.where(far, ivar_there, 0.0), -1)
        return int(far.sum()) / max(total, 1)

    @staticmethod
    def _on(first: Frame, frame: Frame) -> tuple[Float64, Float64, Raw]:
        """Flux, inverse variance and mask of a frame, in the rows and samples of the first."""
        if (frame.camera, frame.unit, frame.flux.shape[1]) != (first.camera, first.unit, first.flux.shape[1]):
            raise BadData(f"spectra of {frame.camera} in {frame.unit} cannot be added to those of {first.camera} in {first.unit}")
        rows = _rows(first, frame)
        at = np.maximum(rows, 0)
        flux = frame.flux[at].astype(np.float64)
        ivar = np.where((rows[:, None] >= 0) & np.isfinite(frame.flux[at]) & np.isfinite(frame.ivar[at]), frame.ivar[at], 0.0).astype(np.float64)
        flux[ivar == 0] = 0.0
        return _shifted(first.wave, frame.wave[at], flux, ivar, frame.mask[at])


def _rows(first: Frame, frame: Frame) -> Raw:
    """The row of a frame that has each fibre of the first, -1 where none has. Raises BadData where they share none."""
    there = {int(f): i for i, f in enumerate(frame.fibermap.fiber)}
    rows = np.array([there.get(int(f), -1) for f in first.fibermap.fiber])
    if (rows < 0).all():
        raise BadData(f"two frames of {frame.camera} share no fibre")
    return rows


def _shifted(wave: Float64, own: Float64, flux: Float64, ivar: Float64, mask: Raw) -> tuple[Float64, Float64, Raw]:
    """Spectra moved by whole samples to where `wave` is nearest; rows that are in place already stay."""
    step = np.abs(np.gradient(wave, axis=1))
    away = (np.abs(own - wave) > 0.5 * step).any(axis=1)
    for i in np.flatnonzero(away):
        grid = wave[i]
        ahead = grid[-1] > grid[0]
        place = np.interp(grid, own[i], np.arange(grid.size), left=math.nan, right=math.nan) if ahead else np.full(grid.size, math.nan)
        known = np.isfinite(place)
        index = np.where(known, np.rint(np.where(known, place, 0.0)), 0).astype(int)
        # every sample counts once, though the grids run apart
        once = known & np.concatenate(([True], np.diff(index) > 0))
        flux[i], ivar[i], mask[i] = np.where(once, flux[i][index], 0.0), np.where(once, ivar[i][index], 0.0), mask[i][index]
    return flux, ivar, mask


def _of_exposures(exposures: Sequence[Exposure], levels: Sequence[SkyLevels]) -> dict[str, Raw]:
    found, light = list(exposures), list(levels)
    starts = [e.start for e in found]
    first = min((s for s in starts if s is not None), default=None)
    hours = [math.nan if s is None or first is None else (s - first).total_seconds() / 3600 for s in starts]
    return {
        "night": np.array([e.unit.night for e in found], np.int64),
        "expid": np.array([e.unit.expid for e in found], np.int64),
        "exptime": np.array([e.exptime for e in found], np.float64),
        "hours": np.array(hours, np.float64),
        "sky_wave": light[0].wave.copy(),
        "sky": np.stack([one.rate for one in light]).astype(np.float64),
    }
