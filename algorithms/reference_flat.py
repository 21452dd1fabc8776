"""The reference flat: how much light each fibre gives under the lamp in a healthy instrument, from several flats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64
from quicklook.ccd.calibs import ReferenceFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg


class ReferenceFlatParams(Params):
    """Parameters of `reference_flat`."""

    samples: float = Field(0.3, gt=0, le=1, description="a fibre of whose samples less than this part is usable has no level")


class MakeReferenceFlat(PipelineAlg[ReferenceFlatParams]):
    """Median over flats of the level of each fibre, itself a median over wavelength."""

    name = "reference_flat"

    def run(self, frames: Sequence[Frame], exposures: Sequence[Exposure]) -> ReferenceFlat:
        """Electron/(s Angstrom) before any flat-fielding; NaN for a fibre without usable samples. Raises BadData: no flat, other fibres, no time."""
        levels, fiber = [], None
        for frame, exposure in zip(frames, exposures, strict=True):
            if not (math.isfinite(exposure.exptime) and exposure.exptime > 0):
                raise BadData(f"exposure {exposure.unit}: the exposure time is {exposure.exptime} s; a level per second needs one")
            if fiber is not None and not np.array_equal(fiber, frame.fibermap.fiber):
                raise BadData(f"the flats of {frame.camera} are of different fibres")
            fiber = frame.fibermap.fiber
            levels.append(level_of_fibres(frame, self.params.samples) / exposure.exptime)
        if fiber is None:
            raise BadData("there is no flat")
        stack = np.stack(levels)
        known = np.isfinite(stack)
        ordered = np.sort(np.where(known, stack, np.inf), axis=0)
        count, column = known.sum(axis=0), np.arange(stack.shape[1])
        low, high = ordered[np.maximum(count - 1, 0) // 2, column], ordered[np.minimum(count // 2, len(stack) - 1), column]
        level = np.where(count > 0, 0.5 * np.where(count > 0, low, 0) + 0.5 * np.where(count > 0, high, 0), np.nan)
        return ReferenceFlat(fiber=fiber.astype(np.int32), level=level)


def level_of_fibres(frame: Frame, least: float) -> Float64:
    """Median flux of the usable samples of every fibre; NaN where they are less than the part `least` of all."""
    good = (frame.mask == 0) & (frame.ivar > 0)
    return np.array([float(np.median(f[g])) if g.mean() >= least else math.nan for f, g in zip(frame.flux, good, strict=True)])
