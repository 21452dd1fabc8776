"""What is known of the fibres by the calibrations, put into the fibre map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import FiberStatus, fiber_status
from quicklook.ccd.spectra import TraceSet
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg


class MarkFibersParams(Params):
    """Parameters of `mark_fibers`: none."""


class MarkFibers(PipelineAlg[MarkFibersParams]):
    """Mark fibres that the calibrations know to be broken or low, so that they are masked and never alarmed as new."""

    name = "mark_fibers"

    def run(self, fibermap: FiberMap | None, traces: TraceSet, known: KnownFibers | None) -> FiberMap:
        """The fibre map with BROKENFIBER (broken) and BADFIBER (low) in FIBERSTATUS, int32 [nfibre]; int64 where a status needs more bits.

        A status that is no number counts as BADFIBER. Without a fibre map one is made for the fibres of the traces, which says that nobody knows
        what they look at.
        """
        given = fibermap or FiberMap(
            fiber=np.array(traces.fiber, np.int32),
            objtype=("TGT",) * traces.nfibre,
            source="numbers of the traces; there is no fibre map",
            stated=False,
        )
        status = fiber_status(given)
        if known is not None:
            status[np.isin(given.fiber, np.array(known.broken, np.int64))] |= int(FiberStatus.BROKENFIBER)
            status[np.isin(given.fiber, np.array(known.low, np.int64))] |= int(FiberStatus.BADFIBER)
        short = np.iinfo(np.int32)
        fits = status.min() >= short.min and status.max() <= short.max
        columns = {**given.columns, "FIBERSTATUS": status.astype(np.int32) if fits else status}
        return replace(given, columns=columns)
