"""Where the fibres are on the focal plane."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.exposure import FiberMap
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

X = MetricDef("fiber_x", "mm", dims=("fiber",), doc="Place of a fibre on the focal plane, x, as the fibre map has it.")
Y = MetricDef("fiber_y", "mm", dims=("fiber",), doc="Place of a fibre on the focal plane, y, as the fibre map has it.")
_PAIRS = (("FIBERASSIGN_X", "FIBERASSIGN_Y"), ("FIBER_X", "FIBER_Y"))
"""Where the targets should be, else where the fibres were seen (DESI data model); a broken fibre has no seen place."""


class FiberPlacesParams(Params):
    """Nothing to set."""


class FiberPlaces(MonitoringAlg[FiberPlacesParams]):
    """Keeps the places of the fibres with the metrics, so that patterns over the focal plane can be looked for without the fibre map.

    Formula: fiber_x, fiber_y = FIBERASSIGN_X, FIBERASSIGN_Y of the fibre map (else FIBER_X, FIBER_Y), in mm, to a hundredth; taken over, without an
    error.
    Source: DESI data model, columns of the fibre map.
    """

    name = "fiber_places"
    group = "Fibres"
    metrics = (X, Y)

    def measure(self, fibermap: FiberMap | None) -> Measures:
        """Of the fibres whose place is known. Raises NotApplicable where there is no fibre map, or it says nothing of places."""
        if fibermap is None:
            raise NotApplicable("there is no fibre map")
        for names in _PAIRS:
            columns = [fibermap.columns.get(name) for name in names]
            if all(c is not None and np.asarray(c).dtype.kind in "iuf" and np.asarray(c).ndim == 1 for c in columns):
                x, y = (np.round(np.asarray(c, np.float64), 2) for c in columns)
                break
        else:
            raise NotApplicable("the fibre map does not say where the fibres are")
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            raise NotApplicable("the fibre map knows no place of any fibre")
        fiber = np.asarray(fibermap.fiber)[known].tolist()
        metrics = (measured(X.name, x[known], fiber=fiber), measured(Y.name, y[known], fiber=fiber))
        return Measures(metrics, plots=(_plot(x[known], y[known], np.array(fiber)),))


def _plot(x: Raw, y: Raw, fiber: Raw) -> Plot:
    places = FocalPlane(x=x, y=y, c=fiber, c_axis=Axis(label="fibre"))
    panel = Panel(x=Axis(label="x", unit="mm"), y=Axis(label="y", unit="mm"), layers=(places,))
    return Plot(name="fiber_places", title="Fibres on the focal plane", panels=(panel,))
