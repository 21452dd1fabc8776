"""The reference arc: what the lines of the lamps are in a healthy instrument, from several arcs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.calibs import ReferenceArc
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]


class ReferenceArcParams(Params):
    """Parameters of `reference_arc`."""

    fibers: float = Field(0.5, gt=0, le=1, description="a line that is measured in a smaller part of the fibres is left out")


class MakeReferenceArc(PipelineAlg[ReferenceArcParams]):
    """Median over arcs of the areas and widths of their lines."""

    name = "reference_arc"

    def run(self, arcs: Sequence[ArcAreas]) -> ReferenceArc:
        """Lines that all arcs list, and that are measured in enough fibres. Raises BadData for none, or for arcs of different fibres."""
        every = list(arcs)
        if not every:
            raise BadData("there is no arc")
        first = every[0]
        if any(not np.array_equal(a.fiber, first.fiber) for a in every):
            raise BadData(f"the arcs of {first.camera} are of different fibres")
        common = [w for w in first.wave if all(w in a.wave for a in every)]
        area, sigma = (_median([getattr(a, name)[:, np.searchsorted(a.wave, common)] for a in every]) for name in ("area", "sigma"))
        kept = np.flatnonzero(np.isfinite(area).mean(axis=0) >= self.params.fibers)
        if not kept.size:
            wanted = f"{100 * self.params.fibers:g} % of the fibres"
            raise BadData(f"no line of these arcs is measured in {wanted}", what_next="Check lamps and exposure time.")
        area, sigma = (np.ascontiguousarray(a[:, kept]) for a in (area, sigma))
        return ReferenceArc(wave=np.array(common)[kept], fiber=first.fiber.copy(), area=area, sigma=sigma)


def _median(stack: list[Array]) -> Array:
    """Median over exposures of the finite values; NaN where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN is an answer here
        return np.asarray(np.nanmedian(np.stack(stack), axis=0))
