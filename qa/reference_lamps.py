"""How complete a reference arc and a reference flat are."""

from __future__ import annotations

import numpy as np

from qa.values import numbered, scalar
from quicklook.ccd.calibs import ReferenceArc, ReferenceFlat
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.plots import Axis, Layer, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg, NoParams

LINES = MetricDef("reference_lines", "", doc="Number of lines in a reference arc.")
MEASURED = MetricDef("reference_lines_measured", "", doc="Part of the lines of a reference arc that is measured, median over the fibres.")
FIBERS = MetricDef("reference_fibers", "", doc="Part of the fibres that have a level in a reference flat, or lines in a reference arc.")


class ReferenceArcLines(MonitoringAlg[NoParams]):
    """Counts the lines of a reference arc, and the fibres that have them.

    Formula: reference_lines = number of lines; reference_lines_measured = median over the fibres of lines with an area / lines; reference_fibers =
    fibres with any line / fibres. Counts, without an error.
    Source: own definition: how complete a reference is.
    """

    name = "reference_arc_lines"
    group = "Spectra"
    metrics = (LINES, MEASURED, FIBERS)

    def measure(self, arc: ReferenceArc) -> Measures:
        """Of a reference arc."""
        known = np.isfinite(arc.area)
        dark = ~known.any(axis=1)
        metrics = (
            scalar(LINES, len(arc.wave)),
            scalar(MEASURED, float(np.median(known.mean(axis=1)))),
            scalar(FIBERS, float(1.0 - dark.mean()), numbered("none in fibre", arc.fiber[dark])),
        )
        wave, y = Axis(label="wavelength", unit="Angstrom"), Axis(label="part of the fibres", range=(0.0, 1.05))
        return Measures(metrics, plots=(_plot(self.name, "Lines of the reference arc", wave, y, Scatter(x=arc.wave, y=known.mean(axis=0))),))


class ReferenceFlatFibers(MonitoringAlg[NoParams]):
    """Counts the fibres that have a level in a reference flat.

    Formula: reference_fibers = fibres with a finite level / fibres. A count, without an error.
    Source: own definition: how complete a reference is.
    """

    name = "reference_flat_fibers"
    group = "Fibres"
    metrics = (FIBERS,)

    def measure(self, flat: ReferenceFlat) -> Measures:
        """Of a reference flat."""
        dark = ~np.isfinite(flat.level)
        metrics = (scalar(FIBERS, float(1.0 - dark.mean()), numbered("none in fibre", flat.fiber[dark])),)
        fibre, y = Axis(label="fibre"), Axis(label="level", unit="electron / (s Angstrom)")
        return Measures(metrics, plots=(_plot(self.name, "Levels of the reference flat", fibre, y, Scatter(x=flat.fiber, y=flat.level)),))


def _plot(name: str, title: str, x: Axis, y: Axis, layer: Layer) -> Plot:
    return Plot(name=name, title=title, panels=(Panel(x=x, y=y, layers=(layer,)),))
