"""Which fibres look at the sky, as the QAs of the sky before its subtraction need them."""

from __future__ import annotations

import numpy as np

from qa.values import row_medians
from quicklook.ccd.arrays import Raw
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import BadData, NotApplicable

_DEAD, _EVERY = 0.1, 4
"""A sky fibre with less than this part of the light of the model is dead; by every so many samples."""


def sky_rows(frame: Frame, sky: SkyModel, *, rejected: bool = False) -> Raw:
    """Rows of the fibres that the model of the sky rests on, int64 [n]; with `rejected` those too that it left out, but for those without light.

    Raises NotApplicable where there are none in this frame (a sky from a file).
    """
    rows = _rows(frame, sky.fibers)
    if rejected and sky.rejected:
        aside = _rows(frame, sky.rejected)
        rows = np.sort(np.concatenate([rows, aside[~_dead(frame, sky, aside)]]))
    if not rows.size:
        raise NotApplicable("the sky model rests on no fibre of this exposure")
    return rows


def _rows(frame: Frame, fibers: tuple[int, ...]) -> Raw:
    return np.flatnonzero(np.isin(frame.fibermap.fiber, np.array(fibers, np.int64)))


def _dead(frame: Frame, sky: SkyModel, rows: Raw) -> Raw:
    """Which of the rows have next to nothing of the light of the sky: they say nothing of it (`good_fibers` counts them)."""
    if sky.flux.shape != frame.flux.shape:
        return np.zeros(rows.size, bool)
    flux, model = frame.flux[rows, ::_EVERY], sky.flux[rows, ::_EVERY]
    good = (frame.ivar[rows, ::_EVERY] > 0) & (frame.mask[rows, ::_EVERY] == 0) & np.isfinite(flux) & np.isfinite(model)
    return np.asarray(row_medians(flux, good) < _DEAD * row_medians(model, good))


def seconds(exptime: float) -> float:
    """The exposure time. Raises BadData where it is no time."""
    if not (np.isfinite(exptime) and exptime > 0):
        raise BadData(f"the exposure time is {exptime} s, so there is no light per second; look at the header")
    return float(exptime)


def reach(frame: Frame, rows: Raw) -> tuple[float, float]:
    """Wavelengths between which all of these fibres have samples, Angstrom."""
    return float(frame.wave[rows, 0].max()), float(frame.wave[rows, -1].min())
