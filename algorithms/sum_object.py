"""The spectrum of each object on a long slit: the sum of its apertures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.locate_object import OBJECT_ID
from algorithms.slit_extract import WIDTH
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame, SpecMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_EDGE = 1.0 / 3.0
"""A pixel shared by two apertures counts w and 1 - w: in the sum of their variances w^2 + (1 - w)^2 of it, on average a third less than it should."""


class SumObjectParams(Params):
    """Parameters of `sum_object`."""

    least_light: float = Field(0.5, gt=0.0, le=1.0, description="a sample is given if apertures with this part of the light are usable there")
    blocks: int = Field(24, ge=1, description="blocks of rows in which the light of an object is shared out to its apertures")


class SumObject(PipelineAlg[SumObjectParams]):
    """Sum the apertures of each object, at the wavelengths of its brightest aperture."""

    name = "sum_object"

    def run(self, frame: Frame, exposure: Exposure) -> Frame:
        """One spectrum an object, brightest first: FIBER is the number of its brightest aperture, APERTURE_FIRST and APERTURE_LAST its ends.

        Apertures are brought to the wavelengths of the brightest one by straight lines between samples, and so are their variances. A sample
        that is not usable in an aperture is filled in by the share of that aperture in the light around. Raises BadData where no object was found.
        """
        number = frame.fibermap.columns.get(OBJECT_ID)
        found = [] if number is None else [np.flatnonzero(np.asarray(number) == k) for k in range(1, int(np.max(number)) + 1)]
        found = [rows for rows in found if rows.size]
        if not found:
            raise BadData(f"camera {frame.camera}: no object was found on the slit, so there is no spectrum of one")
        parts = [self._sum(frame, rows) for rows in found]
        rows = np.array([p[0] for p in parts])
        old = frame.fibermap
        columns = {name: np.array(np.asarray(column)[rows]) for name, column in old.columns.items()}
        columns["APERTURE_FIRST"] = np.array([old.fiber[r[0]] for r in found], np.int32)
        columns["APERTURE_LAST"] = np.array([old.fiber[r[-1]] for r in found], np.int32)
        columns["OBJECT"] = np.array([exposure.object if k == 0 else f"{exposure.object} ({k + 1})" for k in range(len(found))])
        flux, ivar, mask = (np.stack([p[k] for p in parts]) for k in (1, 2, 3))
        return replace(
            frame,
            flux=flux,
            ivar=ivar,
            mask=mask,
            wave=np.array(frame.wave[rows]),
            sigma=np.array(frame.sigma[rows]),
            fibermap=replace(old, fiber=np.array(old.fiber[rows]), objtype=("TGT",) * len(found), columns=columns),
        )

    def _sum(self, frame: Frame, rows: Array) -> tuple[int, Array, Array, Array]:
        """Row of the brightest aperture; flux, ivar, mask [nwave] of the sum."""
        reference = int(rows[np.argmax([_light(frame, r) for r in rows])])
        wave = frame.wave[reference]
        flux, variance, good = (np.stack(a) for a in zip(*(_resampled(frame, int(r), wave) for r in rows), strict=True))
        share = self._shares(flux, good)
        known = np.where(good, share, 0.0).sum(axis=0)
        enough = known >= self.params.least_light
        total = np.where(good, flux, 0.0).sum(axis=0) / np.where(enough, known, 1.0)
        noise = np.where(good, variance, 0.0).sum(axis=0) / np.where(enough, known, 1.0) ** 2 * _shared_pixels(frame, rows)
        ivar = np.where(enough & (noise > 0), 1.0 / np.where(noise > 0, noise, 1.0), 0.0)
        mask = np.where(ivar > 0, 0, int(SpecMask.ALLBADPIX))
        return reference, total.astype(np.float32), ivar.astype(np.float32), mask.astype(np.uint32)

    def _shares(self, flux: Array, good: Array) -> Array:
        """Part of the light of the object in each aperture [n, nwave], smooth in wavelength; equal parts where there is no light."""
        n, nwave = flux.shape
        blocks = np.array_split(np.arange(nwave), min(self.params.blocks, nwave))
        middle = np.array([b.mean() for b in blocks])
        levels = np.array([[float(np.median(f[b][g[b]])) if g[b].any() else np.nan for b in blocks] for f, g in zip(flux, good, strict=True)])
        share = np.empty(flux.shape)
        for f, level in enumerate(levels):
            known = np.isfinite(level)
            share[f] = np.interp(np.arange(nwave), middle[known], level[known]) if known.any() else 0.0
        share = np.clip(share, 0.0, None)
        total = share.sum(axis=0)
        return np.where(total > 0, share / np.where(total > 0, total, 1.0), 1.0 / n)


def _light(frame: Frame, row: int) -> float:
    good = (frame.ivar[row] > 0) & (frame.mask[row] == 0)
    return float(np.median(frame.flux[row][good])) if good.any() else -np.inf


def _resampled(frame: Frame, row: int, wave: Array) -> tuple[Array, Array, Array]:
    """Flux, variance and whether it is known of one aperture at other wavelengths; both samples around must be usable."""
    own = frame.wave[row]
    at = np.clip(np.searchsorted(own, wave) - 1, 0, own.size - 2)
    part = (wave - own[at]) / (own[at + 1] - own[at])
    part = np.where(np.abs(part) < 1e-9, 0.0, np.where(np.abs(part - 1) < 1e-9, 1.0, part))
    usable = (frame.ivar[row] > 0) & (frame.mask[row] == 0)
    good = (usable[at] | (part == 1)) & (usable[at + 1] | (part == 0)) & (part >= 0) & (part <= 1)
    flux = (1 - part) * frame.flux[row][at] + part * frame.flux[row][at + 1]
    inverse = np.where(usable, 1.0 / np.where(usable, frame.ivar[row], 1.0), 0.0)
    return np.where(good, flux, 0.0), (1 - part) * inverse[at] + part * inverse[at + 1], good


def _shared_pixels(frame: Frame, rows: Array) -> float:
    """Variance of a sum of neighbouring apertures over the sum of their variances, for the pixels on their edges."""
    width = frame.fibermap.columns.get(WIDTH)
    if width is None or rows.size < 2:
        return 1.0
    own = max(float(np.mean(np.asarray(width)[rows])), 1.0)
    return 1.0 + (rows.size - 1) / rows.size * _EDGE / (own - _EDGE)
