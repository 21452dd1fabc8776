"""What is known of the fibres by the calibrations, put into the fibre map."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.spectra import TraceSet
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

BROKENFIBER, BADFIBER = 1 << 2, 1 << 16
"""Bits of FIBERSTATUS (DESI data model, fibermask)."""


class MarkFibersParams(Params):
    """Parameters of `mark_fibers`: none."""


class MarkFibers(PipelineAlg[MarkFibersParams]):
    """Mark fibres that the calibrations know to be broken or low, so that they are masked and never alarmed as new."""

    name = "mark_fibers"

    def run(self, fibermap: FiberMap | None, traces: TraceSet, known: KnownFibers | None) -> FiberMap:
        """The fibre map with BROKENFIBER (broken) and BADFIBER (low) in FIBERSTATUS.

        Without a fibre map one is made for the fibres of the traces, which says that nobody knows what they look at.
        """
        given = fibermap or FiberMap(
            fiber=np.array(traces.fiber, np.int32), objtype=("TGT",) * traces.nfibre, source="numbers of the traces; there is no fibre map"
        )
        status = np.array(given.columns.get("FIBERSTATUS", np.zeros(len(given.fiber))), np.int32)
        if known is not None:
            status[np.isin(given.fiber, np.array(known.broken, np.int64))] |= BROKENFIBER
            status[np.isin(given.fiber, np.array(known.low, np.int64))] |= BADFIBER
        return FiberMap(fiber=given.fiber, objtype=given.objtype, columns={**given.columns, "FIBERSTATUS": status}, source=given.source)
